"""What an import of ten million events takes: memory, and time against DuckDB's bare partitioned COPY.

Both read the same Parquet file of generated events and write one folder of Parquet a day, each in a process
of its own. The peer only cuts days: it checks no row, drops no duplicate, sorts nothing, tells nothing.
"""

import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.bars import FOLDER, Bar, write
from benchmarks.measured import Measured, measure

EVENTS = 10_000_000
SHOP = {"users": 400_000, "items": 50_000, "days": 35, "seed": 7}
TURNS = 3


def run() -> list[Bar]:
    """Import and copy in turn."""
    source = _generated()
    with tempfile.TemporaryDirectory(prefix="import-", dir=FOLDER) as folder:
        turns = [_turn(source, Path(folder) / str(number)) for number in range(TURNS)]
    ours, peers = ([turn[place] for turn in turns] for place in range(2))
    seconds, peer_seconds = (statistics.median(each.seconds for each in kind) for kind in (ours, peers))
    bars = [
        Bar("import_peak_mb", max(each.peak_mb for each in ours), 1500, "lower"),
        Bar("import_vs_duckdb", seconds / peer_seconds, 2.0, "lower"),
    ]
    raw = {"events": pq.read_metadata(source).num_rows, "file_bytes": source.stat().st_size}
    measured = {"import": list(map(asdict, ours)), "duckdb": list(map(asdict, peers))}
    write("import", bars, {**raw, **measured})
    return bars


def _turn(source: Path, folder: Path) -> tuple[Measured, Measured]:
    ours = measure(sys.executable, "-m", "training.import_events", source, "--out", folder / "ours")
    peer = measure(sys.executable, "-c", _copy(source, folder / "duckdb"))
    return ours, peer


def _copy(source: Path, out: Path) -> str:
    """The peer as a program."""
    columns = 'user_id, item_id, event_type, "timestamp", epoch_ms("timestamp")::DATE AS dt'
    selected = f"SELECT {columns} FROM read_parquet('{source}')"  # noqa: S608 - our own paths
    copy = f"COPY ({selected}) TO '{out}' (FORMAT parquet, PARTITION_BY (dt))"
    return f"import duckdb; duckdb.sql('SET enable_progress_bar = false'); duckdb.sql({copy!r})"


def _generated() -> Path:
    """The events, made at the first run and kept."""
    name = "-".join(f"{value}-{name}" for name, value in SHOP.items())
    file = FOLDER / f"events-{name}.parquet"
    if not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name("unfinished.parquet")
        options = [argument for name, value in SHOP.items() for argument in (f"--{name}", str(value))]
        measure(sys.executable, "-m", "training.generate_shop", *options, "--out", unfinished)
        unfinished.rename(file)
    events = pq.read_metadata(file).num_rows
    if events < EVENTS:
        raise ValueError(f"{file}: {events:,} events are too few; {EVENTS:,} are needed: raise SHOP's sizes")
    return file
