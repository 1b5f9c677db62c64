"""One run: our retrain and the peer's in turn on the smallest shop, then ours alone on larger ones."""

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import Bar, write
from benchmarks.measured import measure
from benchmarks.quality.run import PEERS_PYTHON
from benchmarks.training.ours import Retrained, read_retrained
from benchmarks.training.shops import MadeShop, made_shop
from training.errors import BadInputError
from training.settings import Hyperparameters

SIZES = (1.0, 3.0, 10.0, 30.0)
"""Millions of events."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be measured."""

    millions: tuple[float, ...] = SIZES
    peer: bool = True
    turns: int = 1
    """How often ours and the peer alternate on the smallest shop; the medians count."""


@dataclass(frozen=True)
class Turn:
    """One retrain of ours."""

    retrained: Retrained
    peak_mb: float
    """Of the process, in 10⁶ bytes, reading included."""


Times = Mapping[str, Sequence[float]]
"""Seconds of each turn, by the peer's form."""


def run() -> list[Bar]:
    """All sizes, with the peer."""
    return measure_training(Asked())


def measure_training(asked: Asked) -> list[Bar]:
    """Measure, write `build/benchmarks/training.json`, and print a table of the parts.

    Raises BadInputError where the peer is asked for and not installed, or answered for other users.
    """
    if asked.peer and not PEERS_PYTHON.exists():
        raise BadInputError(
            f"{PEERS_PYTHON}: the peers are not installed; "
            "`make bench-training` does it, --no-peer does without"
        )
    smallest, *larger = [made_shop(millions) for millions in sorted(set(asked.millions))]
    ours: dict[float, list[Turn]] = {smallest.millions: []}
    peers: dict[str, list[dict[str, Any]]] = {name: [] for name in _forms()} if asked.peer else {}
    candidates = _candidates_per_user(smallest) if asked.peer else None
    for _ in range(asked.turns):
        ours[smallest.millions].append(_ours(smallest))
        for name, documents in peers.items():
            documents.append(_peer(smallest, name, candidates))
            _refuse_other_users(ours[smallest.millions][-1], documents[-1])
    for shop in larger:
        ours[shop.millions] = [_ours(shop)]
    found = bars(ours, {name: [each["seconds"] for each in turns] for name, turns in peers.items()})
    raw = {str(millions): [asdict(turn) for turn in turns] for millions, turns in ours.items()}
    write("training", found, {"candidates_per_user": candidates, "ours": raw, "rectools": peers})
    print(table_of_parts(ours))
    return found


def _forms() -> dict[str, list[str]]:
    """The peer's options: as CatBoost is by default, and with as many trees as ours."""
    return {
        "retrain_vs_rectools": [],
        "retrain_vs_rectools_same_trees": ["--trees", str(Hyperparameters().ranker_iterations)],
    }


def _candidates_per_user(shop: MadeShop) -> float:
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        out = Path(folder) / "candidates.json"
        measure(sys.executable, "-m", "benchmarks.training.candidates", shop.file, "--out", out)
        return float(json.loads(out.read_text()))


def _ours(shop: MadeShop) -> Turn:
    print(f"training: ours on {shop.events:,} events …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        out = Path(folder) / "ours.json"
        measured = measure(sys.executable, "-m", "benchmarks.training.ours", shop.file, "--out", out)
        return Turn(read_retrained(out), measured.peak_mb)


def _peer(shop: MadeShop, name: str, candidates: float | None) -> dict[str, Any]:
    print(f"training: RecTools on {shop.events:,} events ({name}) …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        out = Path(folder) / "rectools.json"
        length = Hyperparameters().personal_length
        measured = measure(
            PEERS_PYTHON, "-m", "benchmarks.peers.retrain", shop.file, "--out", out,
            "--candidates", str(candidates), "--length", str(length), *_forms()[name],
        )  # fmt: skip
        return {**json.loads(out.read_text()), "peak_mb": measured.peak_mb}


def _refuse_other_users(ours: Turn, peer: Mapping[str, Any]) -> None:
    if peer["users"] != ours.retrained.users:
        raise BadInputError(f"RecTools answered for {peer['users']} users, ours for {ours.retrained.users}")


def bars(ours: Mapping[float, Sequence[Turn]], peers: Times) -> list[Bar]:
    """What stands on a size that was not measured is left out or, as it says less, has no limit."""
    smallest = min(ours)
    seconds = {millions: _median_seconds(turns) for millions, turns in ours.items()}
    found = [
        Bar(name, statistics.median(times) / seconds[smallest], _limit(name, smallest), "higher")
        for name, times in peers.items()
    ]
    if len(ours) > 1:
        whole = {SIZES[0], SIZES[-1]} <= ours.keys()
        events = [turns[0].retrained.events for turns in ours.values()]
        exponent = growth_exponent(events, list(seconds.values()))
        found.append(Bar("growth_exponent", exponent, 1.15 if whole else None, "lower"))
    for millions, turns in ours.items():
        peak = max(turn.peak_mb for turn in turns)
        limit = 6000 if millions == SIZES[-1] else None
        found.append(Bar(f"peak_mb_{millions:g}m", peak, limit, "lower"))
    return found


def _median_seconds(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.retrained.seconds for turn in turns)


def _limit(name: str, millions: float) -> float | None:
    return 5.0 if name == "retrain_vs_rectools" and millions == SIZES[0] else None


def growth_exponent(events: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log time over log events, by least squares: 1 where time grows as events do."""
    slope, _ = np.polyfit(np.log(events), np.log(seconds), 1)
    return float(slope)


def table_of_parts(ours: Mapping[float, Sequence[Turn]]) -> str:
    """Seconds, and the peak of memory by a part's end, in Markdown; of several turns the first."""
    retrains = [turns[0].retrained for turns in ours.values()]
    lines = [
        "| Part | " + " | ".join(f"{each.events:,} events" for each in retrains) + " |",
        "|---" * (1 + len(retrains)) + "|",
    ]
    for rows in zip(*(each.parts for each in retrains), strict=True):
        cells = " | ".join(f"{row.seconds:,.1f} s, {row.peak_mb:,.0f} MB" for row in rows)
        lines.append(f"| {rows[0].part} | {cells} |")
    whole = " | ".join(f"**{each.seconds:,.1f} s**" for each in retrains)
    return "\n".join([*lines, f"| all but `read` | {whole} |"])
