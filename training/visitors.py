"""Who carted or bought within a window, and what is known of them when they are answered."""

from dataclasses import dataclass

import numpy as np

from contract.events import Event
from training.interactions import BoolArray, Interactions, LongArray
from training.judged import Protocol
from training.lists import Lists
from training.split import Window


@dataclass(frozen=True)
class Visitor:
    """One user with truth in a window; `live` is what they did in it before, newest first."""

    user_id: str
    truth: set[str]
    first_target: int
    live: list[Event]
    user: int = -1
    """Their number in the events."""
    touched_before: frozenset[str] = frozenset()
    """The items of their events before the window."""
    events_before: int = 0
    """How many events they had before the window."""

    def touched(self, protocol: Protocol) -> frozenset[str]:
        """The items of all events that the protocol lets be known."""
        if protocol == "batch":
            return self.touched_before
        return self.touched_before.union(event.item_id for event in self.live)

    def history(self, protocol: Protocol) -> int:
        """How many events the protocol lets be known."""
        return self.events_before + (len(self.live) if protocol == "session" else 0)


def visitors(events: Interactions, window: Window, *, max_users: int | None, seed: int) -> list[Visitor]:
    """Who has a target event within the window; a random sample of `max_users` where there are more."""
    inside = events.between(window.start, window.end)
    users = inside.where(inside.is_target).distinct_users()
    if max_users is not None and len(users) > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
    chosen = np.zeros(len(events.user_ids), dtype=np.bool_)
    chosen[users] = True
    theirs = events.where(chosen[events.users] & (events.timestamps < window.end))
    order = np.argsort(theirs.users, kind="stable")
    bounds = np.searchsorted(theirs.users[order], users, side="right")
    is_target = theirs.is_target
    return [
        _visitor(theirs, is_target, rows, window.start) for rows in np.split(order, bounds[:-1]) if len(rows)
    ]


def _visitor(events: Interactions, is_target: BoolArray, rows: LongArray, start: int) -> Visitor:
    moments = events.timestamps[rows]
    n_before = int(np.searchsorted(moments, start))
    inside = rows[n_before:]
    targets = inside[is_target[inside]]
    first = int(events.timestamps[targets[0]])
    n_known = int(np.searchsorted(moments, first))
    user = int(events.users[rows[0]])
    return Visitor(
        user_id=events.user_ids[user],
        truth=set(events.item_ids[events.items[targets]].tolist()),
        first_target=first,
        live=Lists.events_of(events, rows[n_before:n_known][::-1]),
        user=user,
        touched_before=frozenset(events.item_ids[events.items[rows[:n_before]]].tolist()),
        events_before=n_before,
    )
