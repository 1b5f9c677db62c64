"""What the user did to a candidate."""

from collections.abc import Mapping

import numpy as np

from training.features.aggregates import SECONDS_A_DAY
from training.features.rows import Floats, Rows, in_days


def pair_features(rows: Rows) -> Mapping[str, Floats]:
    """What the user did to the item: how often, how lately, and whether it is due again."""
    kinds = rows.known.events.event_type_names
    counts = {f"pair_{name}": np.log1p(rows.pair(f"n_{kind}", 0)) for kind, name in enumerate(kinds)}
    strengths = {
        f"pair_strength_{half_life:g}d": np.log(rows.own(values, 0) + 1e-3)
        for half_life, values in rows.known.strengths.items()
    }
    since_target = rows.pair("last_target_age", -1)
    target_days = rows.pair("target_days", 0)
    own_interval = (rows.pair("first_target_age", 0) - since_target) / np.maximum(target_days - 1, 1)
    items = rows.known.aggregates.items
    of_items = (items["again_time"] / np.maximum(items["again_intervals"], 1))[rows.pool.items]
    interval = np.where(target_days > 1, own_interval, of_items)
    due = np.where((since_target >= 0) & (interval > 0), since_target / np.maximum(interval, 1), -1)
    return {
        **counts,
        **strengths,
        "pair_days": rows.pair("days", 0),
        "pair_age": in_days(rows.pair("last_age", -1)),
        "pair_first_age": in_days(rows.pair("first_age", -1)),
        "pair_recency_rank": np.log1p(rows.own(rows.known.recency_ranks, 1e3)),
        "pair_target_age": in_days(since_target),
        "pair_target_days": target_days,
        "pair_after_target": np.where(since_target >= 0, since_target - rows.pair("last_age", 0), 0)
        / SECONDS_A_DAY,
        "pair_due": np.minimum(due, 20),
    }
