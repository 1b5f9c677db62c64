"""Events of a simulated shop: `python -m training.generate_shop --users N --items N --days N --out FILE`."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from tqdm import tqdm

from contract.events import EVENT_COLUMNS
from training.errors import BadInputError, UserError
from training.events import EVENTS_SCHEMA
from training.moments import MILLISECONDS_A_DAY, format_moment, parse_moment
from training.shop import ShopSettings, simulate


@dataclass(frozen=True)
class GeneratedShop:
    """What was written."""

    out: Path
    events: int


def generate_shop(settings: ShopSettings, out: Path) -> GeneratedShop:
    """Write the events of a simulated shop, day by day.

    A name that ends with .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz is a file; one without a suffix is a
    folder that gets `dt=YYYY-MM-DD/events.parquet` for each day. Raises BadInputError for any other name,
    for sizes below one, and where nothing can be written.
    """
    for name in ("users", "items", "days"):
        if getattr(settings, name) < 1:
            raise BadInputError(f"{name}: {getattr(settings, name)} is too few; at least 1 is needed")
    days = tqdm(
        simulate(settings), total=settings.days, desc="simulating", unit=" days", disable=None, leave=False
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return GeneratedShop(out=out, events=_write(days, settings, out))
    except OSError as error:
        raise BadInputError(f"{out}: cannot be written: {error}") from error


def _write(days: Iterable[pa.Table], settings: ShopSettings, out: Path) -> int:
    suffixes = "".join(out.suffixes[-2:] if out.suffix == ".gz" else out.suffixes[-1:]).lower()
    if not suffixes:
        return _write_folder(days, settings, out)
    with ExitStack() as stack:
        if suffixes == ".parquet":
            writer = stack.enter_context(pq.ParquetWriter(out, EVENTS_SCHEMA, compression="zstd"))
        elif suffixes in {".csv", ".csv.gz"}:
            stream = stack.enter_context(_text_stream(out))
            options = pacsv.WriteOptions(quoting_style="needed")
            writer = stack.enter_context(pacsv.CSVWriter(stream, EVENTS_SCHEMA, write_options=options))
        elif suffixes in {".jsonl", ".jsonl.gz"}:
            writer = _JsonLinesWriter(stack.enter_context(_text_stream(out)))
        else:
            raise BadInputError(
                f"{out}: expected a name that ends with .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz, "
                "or a folder's, without a suffix"
            )
        return sum(_write_table(writer, day) for day in days)


def _write_table(writer: "pq.ParquetWriter | pacsv.CSVWriter | _JsonLinesWriter", day: pa.Table) -> int:
    writer.write_table(day)
    return len(day)


def _write_folder(days: Iterable[pa.Table], settings: ShopSettings, out: Path) -> int:
    events = 0
    for number, day in enumerate(days):
        date = np.datetime64(settings.start_ms + number * MILLISECONDS_A_DAY, "ms").astype("datetime64[D]")
        folder = out / f"dt={date}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(day, folder / "events.parquet", compression="zstd")
        events += len(day)
    return events


def _text_stream(out: Path) -> pa.NativeFile:
    # Arrow's gzip writes no time and no name into the file: the same events give the same bytes.
    return pa.output_stream(str(out), compression="gzip" if out.suffix == ".gz" else None)


@dataclass(frozen=True)
class _JsonLinesWriter:
    stream: pa.NativeFile

    def write_table(self, events: pa.Table) -> None:
        """Write a line for each event; generated names need no escapes."""
        pieces: list[pa.ChunkedArray | str] = []
        for name in EVENT_COLUMNS:
            quote = "" if name == "timestamp" else '"'
            pieces += [f'{", " if pieces else "{"}"{name}": {quote}', events[name].cast(pa.string()), quote]
        lines = pc.binary_join_element_wise(*pieces, "}\n", "")
        self.stream.write("".join(lines.to_pylist()).encode())


def _parser() -> argparse.ArgumentParser:
    defaults = ShopSettings()
    parser = argparse.ArgumentParser(
        prog="python -m training.generate_shop", description="Write the events of a simulated shop."
    )
    parser.add_argument("--users", type=int, default=defaults.users, help="default: %(default)s")
    parser.add_argument("--items", type=int, default=defaults.items, help="default: %(default)s")
    parser.add_argument("--days", type=int, default=defaults.days, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="default: %(default)s")
    parser.add_argument(
        "--as-of",
        default=format_moment(defaults.end_ms),
        metavar="T",
        help="the end of the last day, ISO 8601; default: %(default)s",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE_OR_FOLDER",
        help=".parquet, .csv[.gz], .jsonl[.gz], or a folder for a Parquet file a day",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, tell what was written; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = ShopSettings(
            users=options.users,
            items=options.items,
            days=options.days,
            seed=options.seed,
            end_ms=parse_moment(options.as_of),
        )
        shop = generate_shop(settings, options.out)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{shop.events:,} events of {settings.users:,} users: {shop.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
