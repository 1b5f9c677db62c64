"""Candidate sources: each proposes, for every user, items with scores.

A source is one class in one file with this protocol. `SOURCES` in `training/candidates/registry.py`
names those that the training uses.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.interactions import FloatArray, IntArray, Interactions, rank_within


@dataclass(frozen=True)
class Candidates:
    """Rows (user, item, score), grouped by user ascending, within a user best first."""

    users: IntArray
    items: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.users)

    def ranks(self) -> IntArray:
        """0 for each user's best item, 1 for the next."""
        return rank_within(self.users).astype(np.int32)


class CandidateSource(Protocol):
    """Where items worth showing come from."""

    name: str

    def fit(self, events: Interactions, now: int) -> None:
        """Learn from events that are all older than `now`, ms UTC."""

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """At most `per_user` items for each of `users`; a user may get fewer, or none."""


def best_per_user(users: IntArray, items: IntArray, scores: FloatArray, per_user: int) -> Candidates:
    """Sort rows by user and score, ties by item, and cut each user to `per_user`."""
    order = np.lexsort((items, -scores, users))
    ranks = rank_within(users[order])
    kept = order[ranks < per_user]
    return Candidates(users[kept], items[kept], scores[kept].astype(np.float32))


def no_candidates() -> Candidates:
    """What a source proposes that knows nothing."""
    return Candidates(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
