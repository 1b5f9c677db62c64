"""What rankers learn from: candidates as they really were generated, and which of them came true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.candidates.generator import Generator
from training.candidates.pool import Pool
from training.features.aggregates import aggregate
from training.features.matrix import feature_matrix
from training.features.rows import Known, known
from training.interactions import BoolArray, FloatArray, IntArray, Interactions, LongArray, distinct
from training.split import Window


@dataclass(frozen=True)
class Examples:
    """The candidates of users who carted or bought within a window, as they were at its start."""

    names: tuple[str, ...]
    """Of the features."""
    pool: Pool
    matrix: FloatArray
    """Candidates × features."""
    came_true: BoolArray
    """Which candidates the user carted or bought within the window."""
    users: IntArray
    """All users who did, and had events before, ascending: each one a group."""
    n_true: LongArray
    """Of each of `users`: how many items they carted or bought, found among the candidates or not."""

    @property
    def groups(self) -> LongArray:
        """The place of each candidate's user among `users`."""
        return np.searchsorted(self.users, self.pool.users).astype(np.int64)

    def only(self, users: BoolArray) -> "Examples":
        """The examples of some of `users`, by a mask."""
        rows = users[self.groups]
        return Examples(
            self.names, self.pool.only(rows), self.matrix[rows], self.came_true[rows], self.users[users],
            self.n_true[users],
        )  # fmt: skip


@dataclass(frozen=True)
class Featured:
    """A generator and what features are made of, at the same moment."""

    generator: Generator
    known: Known

    def candidates(self, users: IntArray, per_source: int) -> tuple[Pool, tuple[str, ...], FloatArray]:
        """The candidates of `users`, the features' names, and their matrix."""
        pool = self.generator.pool(users, per_source)
        names, matrix = feature_matrix(pool, self.known)
        return pool, tuple(names), matrix


def featured(generator: Generator, *, threads: int) -> Featured:
    """Add the counts that features are made of."""
    aggregates = aggregate(generator.events, generator.now, threads=threads)
    return Featured(generator, known(generator.events, aggregates))


def examples(
    stage: Featured, events: Interactions, window: Window, users: IntArray, *, per_source: int
) -> Examples:
    """Of `users`, those with events before the window: their candidates at its start, and what came true.

    `events` are numbered as the stage's, and hold the window's.
    """
    had_events = distinct(stage.generator.events.users)
    users = users[np.isin(users, had_events)]
    inside = events.between(window.start, window.end)
    truth = inside.where(inside.is_target & np.isin(inside.users, users))
    n_items = max(1, len(stage.generator.items))
    true_keys = distinct(truth.users.astype(np.int64) * n_items + truth.items)
    pool, names, matrix = stage.candidates(users, per_source)
    return Examples(
        names=names,
        pool=pool,
        matrix=matrix,
        came_true=np.isin(pool.keys, true_keys),
        users=users,
        n_true=np.bincount(
            np.searchsorted(users, (true_keys // n_items).astype(np.int32)), minlength=len(users)
        ),
    )


def stacked(parts: Sequence[Examples]) -> tuple[FloatArray, BoolArray, LongArray]:
    """Matrix, came true, groups (ascending) of those groups in which something came true."""
    matrices, truths, groups = [], [], []
    offset = 0
    for part in parts:
        of_rows = part.groups
        hits = np.bincount(of_rows, weights=part.came_true, minlength=len(part.users))
        useful = hits[of_rows] > 0
        matrices.append(part.matrix[useful])
        truths.append(part.came_true[useful])
        groups.append(of_rows[useful] + offset)
        offset += len(part.users)
    return np.concatenate(matrices), np.concatenate(truths), np.concatenate(groups)
