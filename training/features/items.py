"""How a candidate sells."""

from collections.abc import Mapping

import numpy as np

from training.features.aggregates import RECENT_DAYS
from training.features.rows import Floats, Rows, in_days

PRIOR_PEOPLE = 5.0
"""How many average people a rate of an item begins with."""


def item_features(rows: Rows) -> Mapping[str, Floats]:
    """How the item sells: by now and ever, how surely, how often to the same people."""
    people, targets = rows.item("people"), rows.item("target_people")
    is_own = rows.is_own.astype(np.float32)
    own_target = (rows.pair("target_days", 0) > 0).astype(np.float32)
    items = rows.known.aggregates.items
    mean = items["target_people"].sum() / max(items["people"].sum(), 1)
    mean_again = items["again_people"].sum() / max(items["target_people"].sum(), 1)
    recent = {
        f"item_{name}_{days}d": np.log1p(rows.item(f"{name}_{days}"))
        for name in ("events", "targets")
        for days in RECENT_DAYS
    }
    return {
        **recent,
        "item_events": np.log1p(rows.item("events")),
        "item_targets": np.log1p(rows.item("targets")),
        # Without the user's own part: it is told by the pair, and would give the answer away.
        "item_conversion": _rate(targets - own_target, people - is_own, mean),
        "item_again": _rate(
            rows.item("again_people") - (rows.pair("target_days", 0) > 1), targets - own_target, mean_again
        ),
        "item_age": in_days(rows.item("first_age")),
    }


def _rate(hits: Floats, of: Floats, mean: float) -> Floats:
    rates: Floats = ((hits + PRIOR_PEOPLE * mean) / (of + PRIOR_PEOPLE)).astype(np.float32)
    return rates
