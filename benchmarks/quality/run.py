"""One run: the split, our lists by `training.backtest`, the peers' lists, and the judgement of all."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bars import FOLDER, Bar, write
from benchmarks.quality.judge import OURS, Part, Rows, Shown, bars, judge, ratio, read_lists
from benchmarks.quality.report import plot, tables
from benchmarks.quality.split import Split, write_split
from contract.s3_layout import EVENTS_PREFIX
from training.errors import BadInputError
from training.events import read_events
from training.import_events import import_events
from training.interactions import Interactions
from training.judged import KINDS, PROTOCOLS
from training.moments import format_moment

PROJECT = Path(__file__).parents[2]
RETAILROCKET = PROJECT.parent / "shared/data/retailrocket/events.parquet"
"""Real shop events beside the checkout; a research licence keeps them out of the project."""
PEERS_PYTHON = PROJECT / "build/peers/bin/python"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be compared on which events."""

    sources: tuple[Path, ...]
    days: float = 14
    windows: int = 6
    max_users: int | None = None
    ablations: tuple[Path, ...] = ()
    """More lists, of the peers' columns, that are judged and told, but that no bar stands on."""


def run() -> list[Bar]:
    """On the events beside the checkout."""
    return compare(Asked(sources=(RETAILROCKET,)))


def compare(asked: Asked) -> list[Bar]:
    """Compare, write `build/benchmarks/quality.json` and `quality.svg`, and print the tables.

    Raises BadInputError where the events or the peers' environment are missing.
    """
    _refuse_missing(asked)
    folder = (FOLDER / "quality").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    split = _split(asked, folder / "split")
    lists = {**_our_lists(asked, split, folder), **_peers_lists(folder)}
    peers = sorted({name for name, _ in lists} - {OURS})
    for file in asked.ablations:
        lists |= read_lists(file, names={})
    judged = judge(split, lists)
    found = bars(split, judged, peers)
    write("quality", found, _raw(asked, split, judged, peers, folder))
    plot(split, judged, FOLDER / "quality.svg")
    print(tables(split, judged))
    return found


def _refuse_missing(asked: Asked) -> None:
    for source in asked.sources:
        if not source.exists():
            raise BadInputError(
                f"{source}: there are no events; name a file: python -m benchmarks.quality --events FILE"
            )
    if not PEERS_PYTHON.exists():
        raise BadInputError(f"{PEERS_PYTHON}: the peers are not installed; `make bench-quality` does it")


def _split(asked: Asked, folder: Path) -> Split:
    with tempfile.TemporaryDirectory(prefix="quality-") as bucket:
        import_events(asked.sources, bucket, allow_empty_days=True, allow_no_targets=True)
        events = Interactions.from_table(read_events(Path(bucket) / EVENTS_PREFIX))
    return write_split(
        events, folder, days=asked.days, count=asked.windows, max_users=asked.max_users, seed=0
    )


def _our_lists(asked: Asked, split: Split, folder: Path) -> dict[tuple[str, Part], Shown]:
    lists: dict[tuple[str, Part], Shown] = {}
    sources = [source.resolve() for source in asked.sources]
    sample = ["--max-users", asked.max_users] if asked.max_users else []
    for protocol in PROTOCOLS:
        figures, shown = folder / f"{protocol}.json", folder / f"{protocol}.parquet"
        _start(
            sys.executable, "-m", "training.backtest", *sources, "--protocol", protocol,
            "--days", asked.days, "--windows", asked.windows, *sample,
            "--out", figures, "--recommendations", shown, "--models", "served,popular",
        )  # fmt: skip
        _refuse_other_windows(split, figures)
        lists |= read_lists(shown, names={"peer": OURS, "protocol": protocol})
    return lists


def _refuse_other_windows(split: Split, figures: Path) -> None:
    theirs = [(each["from"], each["to"]) for each in json.loads(figures.read_text())["windows"]]
    ours = [(format_moment(window.start), format_moment(window.end)) for window in split.windows]
    if theirs != ours:
        raise BadInputError(f"{figures}: the backtest's windows are {theirs}, the split's are {ours}")


def _peers_lists(folder: Path) -> dict[tuple[str, Part], Shown]:
    _start(PEERS_PYTHON, "-m", "benchmarks.peers", folder / "split", "--out", folder / "peers")
    return read_lists(folder / "peers/lists.parquet", names={})


def _start(*command: object) -> None:
    """Run a program of the project's; what it says on standard output is left out."""
    done = subprocess.run(
        [str(word) for word in command], cwd=PROJECT, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise BadInputError(f"{' '.join(map(str, command))}: ended with status {done.returncode}")


def _raw(
    asked: Asked, split: Split, judged: dict[Part, Rows], peers: Sequence[str], folder: Path
) -> dict[str, Any]:
    """What the bars come from: all means with intervals, ratios to the best peer, the peers' settings."""
    return {
        "sources": [source.name for source in asked.sources],
        "windows": [
            {"from": format_moment(each.start), "to": format_moment(each.end)} for each in split.windows
        ],
        "tuning_windows": split.tuning,
        "judged_windows": split.judged,
        "ratios": {
            f"{protocol} {kind}": _ratio(judged[protocol, kind].within(split.judged), peers)
            for protocol in PROTOCOLS
            for kind in KINDS
        },
        "metrics": {
            f"{protocol} {kind}": {
                "judged": _intervals(rows.within(split.judged)),
                "all": _intervals(rows),
            }
            for (protocol, kind), rows in judged.items()
        },
        "settings": json.loads((folder / "peers/settings.json").read_text()),
    }


def _ratio(rows: Rows, peers: Sequence[str]) -> dict[str, Any]:
    return {"best_peer": rows.best(peers, "recall@10"), **asdict(ratio(rows, peers))}


def _intervals(rows: Rows) -> dict[str, Any]:
    if not len(rows.users):
        return {}
    return {
        name: {metric: asdict(rows.interval(name, metric)) for metric in metrics}
        for name, metrics in rows.values.items()
    }
