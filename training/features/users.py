"""How a user shops."""

from collections.abc import Mapping

import numpy as np

from training.features.rows import Floats, Rows, in_days


def user_features(rows: Rows) -> Mapping[str, Floats]:
    """How the user shops."""
    events, items = rows.user("events"), rows.user("items")
    return {
        "user_events": np.log1p(events),
        "user_items": np.log1p(items),
        "user_targets": np.log1p(rows.user("targets")),
        "user_days": np.log1p(rows.user("days")),
        "user_age": in_days(rows.user("last_age")),
        "user_first_age": in_days(rows.user("first_age")),
        "user_target_share": rows.user("target_items") / np.maximum(items, 1),
        "user_again_share": rows.user("again_items") / np.maximum(rows.user("target_items"), 1),
    }
