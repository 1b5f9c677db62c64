"""How much each kind of event tells of a cart or a purchase, learnt from the events themselves."""

import numpy as np

from training.interactions import Interactions

LEAST = 0.01
PRIOR_EVENTS = 20.0
"""How many average events a kind begins with."""


def learned_event_weights(events: Interactions) -> dict[str, float]:
    """By kind: of the pairs of user and item that had such an event, the share that had a target after it.

    Within `LEAST` and 1; a target itself weighs 1. It is what sources that add up events weigh them by: a
    favourite of a shop whose people buy their favourites weighs much there, and little elsewhere.
    """
    is_target = events.is_target
    pairs = events.users.astype(np.int64) * max(1, len(events.item_ids)) + events.items
    last_target = _last_moment(pairs[is_target], events.timestamps[is_target], pairs)
    targets = {name for kind, name in enumerate(events.event_type_names) if _is_target(events, kind)}
    counts, followed = {}, {}
    for kind, name in enumerate(events.event_type_names):
        rows = np.flatnonzero(events.event_types == kind)
        distinct, first = np.unique(pairs[rows], return_index=True)
        counts[name] = len(distinct)
        followed[name] = int((last_target[rows[first]] > events.timestamps[rows[first]]).sum())
    others = [name for name in counts if name not in targets]
    mean = sum(followed[name] for name in others) / max(1, sum(counts[name] for name in others))
    learned = {
        name: (followed[name] + PRIOR_EVENTS * mean) / (counts[name] + PRIOR_EVENTS) for name in others
    }
    return {
        name: 1.0 if name in targets else float(np.clip(learned[name], LEAST, 1.0))
        for name in events.event_type_names
    }


def _is_target(events: Interactions, kind: int) -> bool:
    return events.event_type_names[kind] in events.targets


def _last_moment(keys: np.ndarray, moments: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each of `wanted` the last of `moments` under the same key, oldest first; −1 where there is none."""
    reversed_keys, rows = np.unique(keys[::-1], return_index=True)
    if not len(reversed_keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    places = np.searchsorted(reversed_keys, wanted).clip(max=len(reversed_keys) - 1)
    return np.where(reversed_keys[places] == wanted, moments[::-1][rows][places], -1)
