"""How good what is served would have been, on days held out, by two protocols.

- `batch`: history ends where the window starts; that is what a mailing knows.
- `session`: models end where the window starts, the visitor's history runs up to, not including, their
  first cart or purchase in the window; that is what a shop page knows.

Truth is the distinct items that a user carts or buys within the window. All users with truth count,
those without any history, too. What is measured is what the API would answer: stored lists and history
through `contract.blending.blend`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import structlog
from tqdm import tqdm

from contract.events import Event
from training.interactions import Interactions, LongArray
from training.lists import Lists
from training.served import Served
from training.split import Window

log = structlog.get_logger()

Protocol = Literal["batch", "session"]
PROTOCOLS: tuple[Protocol, ...] = ("batch", "session")
K = 10

Metrics = dict[str, float]
"""`users`, `precision@10`, `recall@10`, `hit_rate@10`, `ndcg@10`."""


@dataclass
class Tally:
    """Metrics of one model, one value a user."""

    hits: list[int] = field(default_factory=list)
    truths: list[int] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)

    def add(self, recommended: Sequence[str], truth: set[str]) -> None:
        """Count one user's list, of which the first ten are judged, against their truth."""
        found = [rank for rank, item in enumerate(recommended[:K]) if item in truth]
        self.hits.append(len(found))
        self.truths.append(len(truth))
        self.gains.append(float(np.sum(DISCOUNTS[found]) / np.sum(DISCOUNTS[: min(K, len(truth))])))

    def metrics(self) -> Metrics:
        """Averages over users; Järvelin and Kekäläinen 2002 for NDCG, with binary gains."""
        hits, truths = np.array(self.hits), np.array(self.truths)
        if not len(hits):
            return {"users": 0}
        return {
            "users": len(hits),
            f"precision@{K}": float(np.mean(hits / K)),
            f"recall@{K}": float(np.mean(hits / truths)),
            f"ndcg@{K}": float(np.mean(self.gains)),
            f"hit_rate@{K}": float(np.mean(hits > 0)),
        }


DISCOUNTS = 1 / np.log2(np.arange(K) + 2)


@dataclass(frozen=True)
class Visitor:
    """One user with truth in a window; `live` is what they did in it before, newest first."""

    user_id: str
    truth: set[str]
    first_target: int
    live: list[Event]


def visitors(events: Interactions, window: Window, *, max_users: int, seed: int) -> list[Visitor]:
    """Who carts or buys within the window; a random sample of `max_users` where there are more."""
    inside = events.between(window.start, window.end)
    users = inside.where(inside.is_target).distinct_users()
    if len(users) > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
    inside = inside.where(np.isin(inside.users, users))
    order = np.argsort(inside.users, kind="stable")
    starts = np.searchsorted(inside.users[order], users, side="left")
    ends = np.searchsorted(inside.users[order], users, side="right")
    return [
        _visitor(inside, order[start:end], int(user))
        for user, start, end in zip(users, starts, ends, strict=True)
    ]


def _visitor(events: Interactions, rows: LongArray, user: int) -> Visitor:
    targets = rows[events.is_target[rows]]
    first = int(events.timestamps[targets[0]])
    earlier = rows[events.timestamps[rows] < first]
    return Visitor(
        user_id=events.user_ids[user],
        truth=set(events.item_ids[events.items[targets]].tolist()),
        first_target=first,
        live=Lists.events_of(events, earlier[::-1]),
    )


def answer(
    served: Served[Lists], visitor: Visitor, protocol: Protocol, *, start: int, limit: int = K
) -> list[str]:
    """What the API would answer: at the window's `start` in batch, just before the cart in session."""
    if protocol == "batch":
        return served.answer(visitor.user_id, [], now=start, limit=limit)
    return served.answer(visitor.user_id, visitor.live, now=visitor.first_target, limit=limit)


def evaluate(
    windows: Sequence[Window],
    *,
    events: Interactions,
    served_at: Callable[[Window], Served[Lists]],
    max_users: int,
    seed: int,
) -> dict[str, dict[str, Metrics]]:
    """Metrics by protocol and model, pooled over all windows.

    `served_at` gives what was learnt from what came before a window, and from nothing later.
    Models are `served` and each of the lists' baselines. Raises LookAheadError where lists know more.
    """
    tallies: dict[str, dict[str, Tally]] = {protocol: {} for protocol in PROTOCOLS}
    for window in windows:
        served = served_at(window)
        lists = served.lists
        _refuse_look_ahead(lists, window)
        everybody = {name: lists.named(popular.items[:K]) for name, popular in lists.baselines.items()}
        found = visitors(events, window, max_users=max_users, seed=seed)
        for visitor in tqdm(found, desc="evaluating", unit="user", leave=False, disable=None):
            for protocol in PROTOCOLS:
                recommended = answer(served, visitor, protocol, start=window.start)
                for name, items in {"served": recommended, **everybody}.items():
                    tallies[protocol].setdefault(name, Tally()).add(items, visitor.truth)
    return {
        protocol: {name: tally.metrics() for name, tally in by_model.items()}
        for protocol, by_model in tallies.items()
    }


class LookAheadError(Exception):
    """Lists that know events of the days that they are to be judged on: the code is wrong."""


def _refuse_look_ahead(lists: Lists, window: Window) -> None:
    if len(lists.events) and lists.events.timestamps[-1] >= window.start:
        raise LookAheadError(
            f"lists know events up to {lists.events.timestamps[-1]}, the window starts at {window.start}"
        )
