"""What settings were worth on a window, row by row: measured once, then remembered in the study's file."""

import hashlib
import io
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.catalogue import Catalogue
from training.evaluation import evaluate
from training.interactions import BoolArray, Interactions, LongArray
from training.judged import PROTOCOLS, SERVED, Protocol
from training.ranking_metrics import DoubleArray
from training.recipe import fit_served
from training.settings import Hyperparameters
from training.split import Window

OF_THE_RUN = ("threads", "as_of", "served_version")
"""Hyperparameters that tell about a run, and not about what it learns from given events."""

_TABLE = """
CREATE TABLE IF NOT EXISTS shop_measurements (
    settings TEXT NOT NULL, window_start INTEGER NOT NULL, window_end INTEGER NOT NULL,
    seconds REAL NOT NULL, measured BLOB NOT NULL,
    PRIMARY KEY (settings, window_start, window_end)
)
"""


@dataclass(frozen=True)
class Measured:
    """n rows, one a user and window; all settings have the same rows in the same windows."""

    users: LongArray
    """The users' numbers in the events."""
    values: dict[Protocol, dict[str, DoubleArray]]
    """By protocol and metric."""
    seconds: float
    """What it took."""

    def __len__(self) -> int:
        return len(self.users)

    def where(self, mask: BoolArray) -> "Measured":
        """Only the rows under the mask."""
        values = {
            protocol: {name: column[mask] for name, column in metrics.items()}
            for protocol, metrics in self.values.items()
        }
        return Measured(self.users[mask], values, self.seconds)


def joined(parts: Sequence[Measured]) -> Measured:
    """The rows of one or more windows, one after the other."""
    values = {
        protocol: {name: np.concatenate([part.values[protocol][name] for part in parts]) for name in metrics}
        for protocol, metrics in parts[0].values.items()
    }
    users = np.concatenate([part.users for part in parts])
    return Measured(users, values, sum(part.seconds for part in parts))


@dataclass(frozen=True)
class Memory:
    """A table of measurements in a file of SQLite, beside Optuna's own."""

    path: Path

    def find(self, settings: Hyperparameters, window: Window) -> Measured | None:
        """What was measured; None where nothing was."""
        with self._connected() as connection:
            row = connection.execute(
                "SELECT measured, seconds FROM shop_measurements "
                "WHERE settings = ? AND window_start = ? AND window_end = ?",
                _key(settings, window),
            ).fetchone()
        return _read(*row) if row else None

    def keep(self, settings: Hyperparameters, window: Window, measured: Measured) -> None:
        """Remember; the same again replaces it."""
        with self._connected() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO shop_measurements VALUES (?, ?, ?, ?, ?)",
                (*_key(settings, window), measured.seconds, _written(measured)),
            )

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            connection.execute(_TABLE)
            yield connection


@dataclass(frozen=True)
class Judge:
    """Measures settings on windows of the events that it is given, and knows no others."""

    events: Interactions
    catalogue: Catalogue | None
    max_users: int | None
    seed: int
    memory: Memory

    def measured(self, settings: Hyperparameters, window: Window) -> Measured:
        """What settings are worth on a window, fitted on what came before it."""
        known = self.memory.find(settings, window)
        if known is not None:
            return known
        started = time.monotonic()
        evaluation = evaluate(
            [window],
            events=self.events,
            served_at=lambda each: fit_served(
                self.events.before(each.start), now=each.start, settings=settings, catalogue=self.catalogue
            ),
            max_users=self.max_users,
            seed=self.seed,
            models=(SERVED,),
        )
        rows = {protocol: evaluation.judged[protocol][SERVED].rows for protocol in PROTOCOLS}
        values = {protocol: dict(each.values) for protocol, each in rows.items()}
        measured = Measured(rows["session"].users, values, time.monotonic() - started)
        self.memory.keep(settings, window, measured)
        return measured

    def measured_all(self, settings: Hyperparameters, windows: Sequence[Window]) -> Measured:
        """The same on several windows."""
        return joined([self.measured(settings, window) for window in windows])


def _key(settings: Hyperparameters, window: Window) -> tuple[str, int, int]:
    of_model = {name: text for name, text in settings.strings().items() if name not in OF_THE_RUN}
    digest = hashlib.sha256(json.dumps(of_model, sort_keys=True).encode()).hexdigest()
    return digest, window.start, window.end


def _written(measured: Measured) -> bytes:
    columns = {
        f"{protocol}/{name}": column
        for protocol, metrics in measured.values.items()
        for name, column in metrics.items()
    }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, users=measured.users, **columns)
    return file.getvalue()


def _read(content: bytes, seconds: float) -> Measured:
    with np.load(io.BytesIO(content)) as columns:
        values: dict[Protocol, dict[str, DoubleArray]] = {protocol: {} for protocol in PROTOCOLS}
        for name in columns.files:
            protocol, separator, metric = name.partition("/")
            if separator:
                values["batch" if protocol == "batch" else "session"][metric] = columns[name]
        return Measured(columns["users"], values, seconds)
