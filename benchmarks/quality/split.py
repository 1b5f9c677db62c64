"""The split, written once as files, so that the peers and we provably answer for the same."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.errors import TooLittleDataError
from training.interactions import Interactions
from training.judged import PROTOCOLS
from training.split import Window, windows
from training.visitors import Visitor, visitors


@dataclass(frozen=True)
class Case:
    """A user with truth in a window, and what of it is new to them, by protocol."""

    window: int
    user_id: str
    truth: frozenset[str]
    unseen: dict[str, frozenset[str]]


@dataclass(frozen=True)
class Split:
    """The windows, latest first, and all cases, by window and in the order of users."""

    windows: list[Window]
    cases: list[Case]

    @property
    def tuning(self) -> list[int]:
        """The windows that peers choose their settings on: the earlier half."""
        return list(range(len(self.windows) - len(self.windows) // 2, len(self.windows)))

    @property
    def judged(self) -> list[int]:
        """The windows that the bars stand on: the later half, and the middle one of an odd number."""
        return list(range(len(self.windows) - len(self.windows) // 2))


def write_split(
    events: Interactions, folder: Path, *, days: float, count: int, max_users: int | None, seed: int
) -> Split:
    """Write the split of `events` to `folder`, as `benchmarks.peers.split` describes and reads it.

    Raises TooLittleDataError where the events are too few for two windows, or have no truth in one half.
    """
    end = int(events.timestamps[-1]) + 1
    found = windows(events, days=days, count=count, end=end)
    if len(found) < 2:
        raise TooLittleDataError(
            f"the events are too few for two windows of {days:g} days, one to tune on and one to judge by: "
            "ask for shorter ones (--days)"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases: list[Case] = []
    for number, window in enumerate(found):
        guests = visitors(events, window, max_users=max_users, seed=seed)
        _write_window(folder / f"window-{number}", events.before(window.start), guests)
        cases += _cases(number, guests)
    split = Split(found, cases)
    for half, numbers in {"tune on": split.tuning, "judge by": split.judged}.items():
        if not any(case.window in numbers for case in cases):
            raise TooLittleDataError(
                f"nobody carted or bought in the windows to {half}: ask for other --days"
            )
    description = {
        "targets": list(events.targets),
        "windows": [{"from": window.start, "to": window.end} for window in found],
        "tuning": split.tuning,
    }
    (folder / "split.json").write_text(json.dumps(description, indent=2) + "\n")
    return split


def _write_window(folder: Path, training: Interactions, guests: Sequence[Visitor]) -> None:
    folder.mkdir()
    pq.write_table(_named(training), folder / "training.parquet")
    live = [(guest.user_id, *event) for guest in guests for event in reversed(guest.live)]
    names = ["user_id", "item_id", "event_type", "timestamp"]
    _write(folder / "live.parquet", live, names, numbers=("timestamp",))
    first = [(guest.user_id, guest.first_target) for guest in guests]
    _write(folder / "visitors.parquet", first, ["user_id", "first_target"], numbers=("first_target",))
    truth = [(guest.user_id, item) for guest in guests for item in sorted(guest.truth)]
    _write(folder / "truth.parquet", truth, ["user_id", "item_id"])


def _named(events: Interactions) -> pa.Table:
    kinds = np.array(events.event_type_names, dtype=object)
    return pa.table(
        {
            "user_id": pa.array(events.user_ids[events.users], pa.string()),
            "item_id": pa.array(events.item_ids[events.items], pa.string()),
            "event_type": pa.array(kinds[events.event_types], pa.string()),
            "timestamp": pa.array(events.timestamps, pa.int64()),
        }
    )


def _write(
    file: Path, rows: Sequence[tuple[object, ...]], names: Sequence[str], numbers: Sequence[str] = ()
) -> None:
    columns = {
        name: pa.array([row[place] for row in rows], pa.int64() if name in numbers else pa.string())
        for place, name in enumerate(names)
    }
    pq.write_table(pa.table(columns), file)


def _cases(number: int, guests: Sequence[Visitor]) -> list[Case]:
    return [
        Case(
            window=number,
            user_id=guest.user_id,
            truth=frozenset(guest.truth),
            unseen={protocol: frozenset(guest.truth - guest.touched(protocol)) for protocol in PROTOCOLS},
        )
        for guest in guests
    ]
