"""Events of a simulated shop: `python -m training.generate_shop --users N --items N --days N --out FILE`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from tqdm import tqdm

from contract.events import EVENT_COLUMNS
from training.errors import BadInputError, UserError
from training.events import EVENTS_SCHEMA
from training.moments import format_moment, parse_moment
from training.shop.simulation import Shop, ShopSettings
from training.shop.truth import write_truth

FILES: Final = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
CATALOGUE_FILES: Final = (".parquet", ".csv")

_CSV_OPTIONS = pacsv.WriteOptions(quoting_style="needed")

DayWriter = Callable[[int, Iterable[pa.RecordBatch]], int]
"""Writes the events of a day, numbered from 0; how many they were."""


@dataclass(frozen=True)
class GeneratedShop:
    """What was written."""

    out: Path
    events: int


def generate_shop(
    settings: ShopSettings,
    out: Path,
    *,
    threads: int | None = None,
    truth: Path | None = None,
    catalogue: Path | None = None,
) -> GeneratedShop:
    """Write the events of a simulated shop, day by day.

    A name that ends with .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz is a file; one without a suffix is a
    folder that gets `dt=YYYY-MM-DD/events.parquet` for each day. `truth` is a folder for what was drawn for
    items and users (see `training.shop.truth`), `catalogue` a .parquet or .csv file of what the shop sells
    (`item_id, category_id, available`) when its last day is over. `threads`, by default one a core, make no
    difference to what is written.

    Raises BadInputError for any other name, for a folder that holds other days, for sizes below one, and
    where nothing can be written.
    """
    _check_sizes(settings, threads)
    _check_out(settings, out)
    if catalogue and _suffix(catalogue) not in CATALOGUE_FILES:
        raise BadInputError(f"{catalogue}: expected a name that ends with {' or '.join(CATALOGUE_FILES)}")
    shop = Shop(settings)
    if catalogue:
        with _for_writing(catalogue):
            _write_catalogue(shop, catalogue)
    if truth:
        with _for_writing(truth):
            write_truth(shop, truth)
    with _for_writing(out):
        return GeneratedShop(out=out, events=_write_days(shop, out, threads))


def _check_sizes(settings: ShopSettings, threads: int | None) -> None:
    sizes = {name: getattr(settings, name) for name in ("users", "items", "days")}
    for name, size in {**sizes, "threads": 1 if threads is None else threads}.items():
        if size < 1:
            raise BadInputError(f"{name}: {size} is too few; at least 1 is needed")
    if settings.seed < 0:
        raise BadInputError(f"seed: {settings.seed} is negative; expected 0 or more")


def _check_out(settings: ShopSettings, out: Path) -> None:
    suffix = _suffix(out)
    if suffix and suffix not in FILES:
        names = f"{', '.join(FILES[:-1])} or {FILES[-1]}"
        raise BadInputError(f"{out}: expected a name that ends with {names}, or a folder's, without a suffix")
    # Days of another shop would stay among those of this one.
    of_this_shop = {_partition(settings, day) for day in range(settings.days)}
    others = sorted(path.name for path in out.glob("dt=*") if path.name not in of_this_shop)
    if others:
        raise BadInputError(
            f"{out}: holds {others[0]}, which is no day of this shop; empty the folder or choose another"
        )


def _suffix(path: Path) -> str:
    return "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).lower()


def _partition(settings: ShopSettings, day: int) -> str:
    return f"dt={np.datetime64(settings.start_of(day), 'ms').astype('datetime64[D]')}"


@contextmanager
def _for_writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error}") from error


def _write_catalogue(shop: Shop, file: Path) -> None:
    if _suffix(file) == ".csv":
        pacsv.write_csv(shop.items.catalogue(), file, write_options=_CSV_OPTIONS)
    else:
        pq.write_table(shop.items.catalogue(), file, compression="zstd")


def _write_days(shop: Shop, out: Path, threads: int | None) -> int:
    """Write all events; how many they are."""
    events = 0
    with (
        _day_writer(shop.settings, out) as write_day,
        closing(shop.days(threads)) as days,
        tqdm(
            total=shop.settings.days, desc="simulating", unit=" days", disable=None, leave=False
        ) as progress,
    ):
        for day, batches in enumerate(days):
            events += write_day(day, batches)
            progress.set_postfix_str(f"{events:,} events", refresh=False)
            progress.update()
    return events


@contextmanager
def _day_writer(settings: ShopSettings, out: Path) -> Iterator[DayWriter]:
    suffix = _suffix(out)
    if not suffix:
        yield lambda day, batches: _write_partition(out / _partition(settings, day), batches)
    elif suffix == ".parquet":
        with _parquet_writer(out) as parquet:
            yield lambda _, batches: _write(parquet, batches)
    else:
        # Arrow's gzip writes no time and no name into the file: the same events give the same bytes.
        with pa.output_stream(str(out), compression="gzip" if suffix.endswith(".gz") else None) as stream:
            if suffix.startswith(".csv"):
                with pacsv.CSVWriter(stream, EVENTS_SCHEMA, write_options=_CSV_OPTIONS) as csv:
                    yield lambda _, batches: _write(csv, batches)
            else:
                yield lambda _, batches: _write(_JsonLinesWriter(stream), batches)


def _write_partition(folder: Path, batches: Iterable[pa.RecordBatch]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with _parquet_writer(folder / "events.parquet") as writer:
        return _write(writer, batches)


def _parquet_writer(file: Path) -> pq.ParquetWriter:
    # Too many users come a day for a dictionary of them to pay.
    return pq.ParquetWriter(file, EVENTS_SCHEMA, compression="zstd", use_dictionary=["item_id", "event_type"])


def _write(
    writer: "pq.ParquetWriter | pacsv.CSVWriter | _JsonLinesWriter", batches: Iterable[pa.RecordBatch]
) -> int:
    rows = 0
    for batch in batches:
        writer.write_batch(batch)
        rows += batch.num_rows
    return rows


@dataclass(frozen=True)
class _JsonLinesWriter:
    stream: pa.NativeFile

    def write_batch(self, events: pa.RecordBatch) -> None:
        """Write a line for each event; generated names need no escapes."""
        pieces: list[pa.Array | str] = []
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
    parser.add_argument(
        "--catalogue", type=Path, metavar="FILE", help=".parquet or .csv for the items that the shop sells"
    )
    parser.add_argument(
        "--truth", type=Path, metavar="FOLDER", help="for what was drawn for each item and each user"
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="that simulate at the same time, with the same result; default: one a core",
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
        shop = generate_shop(
            settings,
            options.out,
            threads=options.threads,
            truth=options.truth,
            catalogue=options.catalogue,
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{shop.events:,} events of {settings.users:,} users: {shop.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
