"""`python -m benchmarks.training.ours EVENTS --out FILE`: one retrain, and what each part of it took.

Measured is what a retrain computes beside evaluation and gate: `training.recipe.fit_served` on all events
(candidates, ranker and blend learnt from earlier windows, then every list), and `publish_version`, which
checks the lists and writes them with their manifest. Reading the events is no part of the time, but of the
memory.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from benchmarks.training.shops import read_shop
from contract.recommendations import ListKind, Manifest
from training.interactions import Interactions
from training.lists import Lists
from training.moments import format_moment
from training.publish import publish_version
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters
from training.steps import part
from training.storage import Folder

_MEBIBYTE = 2**20 / 1e6


@dataclass(frozen=True)
class Part:
    """One part of a retrain."""

    part: str
    seconds: float
    peak_mb: float
    """The most memory that the process had held by the part's end, in 10⁶ bytes."""


@dataclass(frozen=True)
class Retrained:
    """What a retrain took and gave."""

    events: int
    users: int
    """Who got a personal list."""
    items: int
    ranker: str
    seconds: float
    """From events in memory to a published version."""
    parts: list[Part]
    """In the order in which they ended; `read` comes before the clock starts."""


def retrain(file: Path, settings: Hyperparameters) -> Retrained:
    """Retrain on a file of events in order of time; the version goes to a temporary folder."""
    with _told_parts() as parts, tempfile.TemporaryDirectory(prefix="retrain-") as folder:
        with part("read"):
            events = read_shop(file)
        now = int(events.timestamps[-1]) + 1
        started = time.perf_counter()
        # A copy, as a training takes one for each moment that it learns at.
        served = fit_served(events.before(now), now=now, settings=settings)
        with part("publish"):
            published = publish_version(
                Folder(Path(folder)), served.lists.tables(), manifest=_manifest(events, served, now)
            )
        seconds = time.perf_counter() - started
    return Retrained(
        events=len(events),
        users=published.counts[ListKind.PERSONAL.value],
        items=len(events.item_ids),
        ranker=served.notes["ranking"]["ranker"],
        seconds=seconds,
        parts=parts,
    )


@contextmanager
def _told_parts() -> Iterator[list[Part]]:
    """What `training.steps` tells in the log meanwhile; there when the block ends."""
    parts: list[Part] = []
    with capture_logs() as lines:
        yield parts
    parts += [
        Part(line["part"], line["seconds"], round(line["peak_mb"] * _MEBIBYTE, 1))
        for line in lines
        if line["event"] == "part finished"
    ]


def _manifest(events: Interactions, served: Served[Lists], now: int) -> Manifest:
    first, last = format_moment(int(events.timestamps[0])), format_moment(now - 1)
    return Manifest(
        version="retrain", as_of=last, created_at=last, training_window={"from": first, "to": last},
        dataset_fingerprint="0" * 64, code_version="unknown", counts={"events": len(events)}, files=(),
        metrics={}, blend_weights=served.weights, exclude_purchased=served.exclude_purchased,
        exclude_purchased_by_category=dict(served.exclude_purchased_by_category), notes=dict(served.notes),
    )  # fmt: skip


def read_retrained(file: Path) -> Retrained:
    """What this program wrote."""
    document: dict[str, Any] = json.loads(file.read_text())
    return Retrained(**{**document, "parts": [Part(**part) for part in document["parts"]]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Retrain, write what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.ours", description=__doc__)
    parser.add_argument("events", type=Path, help="Parquet, in order of time")
    parser.add_argument("--out", type=Path, required=True, help="JSON: seconds and memory by part")
    options = parser.parse_args(arguments)
    done = retrain(options.events, Hyperparameters())
    options.out.write_text(json.dumps(asdict(done), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
