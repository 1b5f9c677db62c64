"""Candidate sources: each proposes, for every user, items with scores.

A source is one class in one file with this protocol, registered in `training/candidates/sources.py`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

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
    """Sort rows by user and score, ties by item, and cut each user to `per_user`. Users are 0 or more."""
    scores = scores.astype(np.float32, copy=False)
    keys = (users.astype(np.uint64) << np.uint64(32)) | _descending(scores)
    order = np.argsort(keys)  # of whole numbers: several times quicker than a sort by three keys
    order, keys = _possible(order, keys[order], per_user)
    as_next = keys[1:] == keys[:-1]
    tied = np.flatnonzero(np.r_[as_next, False] | np.r_[False, as_next])
    among = order[tied]
    order[tied] = among[np.lexsort((items[among], keys[tied]))]
    kept = order[rank_within(users[order]) < per_user]
    return Candidates(users[kept], items[kept], scores[kept])


def _descending(scores: FloatArray) -> npt.NDArray[np.uint64]:
    """Whole numbers that ascend as the scores descend: the bits of a float, with its sign undone."""
    bits = (scores + np.float32(0)).view(np.int32)  # −0 is 0
    ascending = np.where(bits < 0, ~bits.view(np.uint32), bits.view(np.uint32) | np.uint32(1 << 31))
    return (~ascending).astype(np.uint64)


def _possible(
    order: npt.NDArray[np.intp], keys: npt.NDArray[np.uint64], per_user: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint64]]:
    """Without the rows that come after the last place of their user, and are not tied with it."""
    users = keys >> np.uint64(32)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.empty(0, np.intp)
    lengths = np.diff(np.r_[starts, len(users)])
    last_places = keys[starts + np.minimum(lengths, per_user) - 1]
    kept = keys <= np.repeat(last_places, lengths)
    return order[kept], keys[kept]


def no_candidates() -> Candidates:
    """What a source proposes that knows nothing."""
    return Candidates(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
