"""Rows that an import set aside, for people: `python -m training.rejected URI_OF_REJECTED_FILE_OR_BUCKET`."""

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from contract.s3_layout import REJECTED_PREFIX, events_manifest_key, rejected_key
from training.errors import BadInputError, UserError
from training.importing.rows import REASONS, REJECTED_SCHEMA
from training.storage import Folder

LIMIT: Final = 20

_SUFFIX: Final = ".parquet"
_LONGEST_FILE: Final = 30
_LONGEST_FIELD: Final = 12
_NARROWEST_RAW: Final = 20


@dataclass(frozen=True)
class RejectedRow:
    """One row that broke the contract."""

    source: str
    file: str
    row: int
    reason: str
    field: str | None
    """The column that is wrong; None where it is the whole line."""
    raw: str


@dataclass(frozen=True)
class Rejected:
    """What was set aside."""

    where: str
    by_source: dict[str, int]
    """Rows of each file that was read, before anything was left out."""
    by_reason: dict[str, int]
    """Rows by reason, the most frequent first; all of these files, whatever reason was asked for."""
    reason: str | None
    """The one that was asked for."""
    rows: tuple[RejectedRow, ...]
    """The first ones."""

    @property
    def asked_for(self) -> int:
        """How many rows there are of the reason that was asked for, or of all."""
        return self.by_reason.get(self.reason, 0) if self.reason else sum(self.by_reason.values())


def read_rejected(
    uri: str, *, source: str | None = None, reason: str | None = None, limit: int = LIMIT
) -> Rejected:
    """Count the rows of a file `rejected/<source>.parquet`, or of a bucket's, and give the first `limit`.

    Raises BadInputError where there is no such place, source or reason, and names those that there are, or
    where a file isn't one of rejected rows.
    """
    folder, keys = _find(uri, source)
    by_source: dict[str, int] = {}
    by_reason: Counter[str] = Counter()
    rows: list[RejectedRow] = []
    for key in keys:
        name = _source_of(key)
        by_source[name] = 0
        for batch in _batches(folder, key):
            found = batch["reason"].to_pylist()
            by_source[name] += len(found)
            by_reason.update(found)
            wanted = (place for place, known in enumerate(found) if reason in {None, known})
            for place, _ in zip(wanted, range(limit - len(rows)), strict=False):
                rows += [RejectedRow(name, **row) for row in batch.slice(place, 1).to_pylist()]
    ordered = dict(sorted(by_reason.items(), key=lambda entry: (-entry[1], entry[0])))
    if ordered and reason is not None and reason not in ordered:
        raise BadInputError(f"{uri}: no row was rejected as {reason!r}; there are: {_named(ordered)}")
    return Rejected(uri, by_source, ordered, reason, tuple(rows))


def describe(rejected: Rejected, width: int) -> str:
    """Counts, then a table of rows under each reason, in lines of at most `width` characters if they can."""
    if not rejected.by_reason:
        return f"{rejected.where}: no row was rejected"
    lines = [f"{rejected.where}: {_rows(sum(rejected.by_reason.values()))} rejected"]
    lines += [f"  {rows:>9,}  {reason}: {_in_words(reason)}" for reason, rows in rejected.by_reason.items()]
    if len(rejected.by_source) > 1:
        lines += ["by source:"]
        lines += [f"  {rows:>9,}  {source}" for source, rows in rejected.by_source.items()]
    for reason in rejected.by_reason:
        rows = [row for row in rejected.rows if row.reason == reason]
        if rows:
            lines += ["", f"{_in_words(reason)}:", *_table(rows, width)]
    hidden = rejected.asked_for - len(rejected.rows)
    if hidden:
        lines += ["", f"{_rows(hidden)} more; --limit {rejected.asked_for} shows all"]
    return "\n".join(lines)


def _find(uri: str, source: str | None) -> tuple[Folder, list[str]]:
    """The folder and the keys in it of the files that are meant."""
    if uri.endswith(_SUFFIX):
        parent, _, name = uri.rpartition("/")
        folder, keys = Folder(parent or "."), [name]
        if source is not None and source != _source_of(name):
            raise BadInputError(f"{uri}: is one source's file already, not that of {source!r}")
        if not folder.exists(name):
            raise BadInputError(
                f"{uri}: there is no such file; beside it are: {_named(_sources(folder, ''))}"
            )
        return folder, keys
    folder = Folder(uri)
    found = _sources(folder, REJECTED_PREFIX)
    if not found and not any(folder.list()):
        raise BadInputError(f"{uri}: there is nothing; expected the bucket or folder that was imported to")
    if source is not None and source not in found and not folder.exists(events_manifest_key(source)):
        raise BadInputError(f"{uri}: no rejected rows of {source!r}; there are some of: {_named(found)}")
    return folder, [rejected_key(name) for name in found if source in {None, name}]


def _sources(folder: Folder, prefix: str) -> list[str]:
    return [_source_of(key) for key in folder.list(prefix) if key.endswith(_SUFFIX)]


def _source_of(key: str) -> str:
    return key.removeprefix(REJECTED_PREFIX).removesuffix(_SUFFIX)


def _batches(folder: Folder, key: str) -> Iterator[pa.RecordBatch]:
    where = folder.uri_of(key)
    try:
        with folder.filesystem.open_input_file(folder.path(key)) as opened, pq.ParquetFile(opened) as parquet:
            if not parquet.schema_arrow.equals(REJECTED_SCHEMA):
                raise BadInputError(
                    f"{where}: isn't a file of rejected rows: expected {', '.join(REJECTED_SCHEMA.names)}; "
                    f"found {', '.join(parquet.schema_arrow.names)}"
                )
            yield from parquet.iter_batches()
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInputError(f"{where}: cannot be read as Parquet: {error}") from error


def _table(rows: Sequence[RejectedRow], width: int) -> Iterator[str]:
    """Left to right: file, row, field, and what was there, cut to what is left of the line."""
    files = [_shortened(_visible(row.file), _LONGEST_FILE) for row in rows]
    numbers = [f"{row.row:,}" for row in rows]
    fields = [_shortened(row.field or "line", _LONGEST_FIELD) for row in rows]
    columns = (("file", files), ("row", numbers), ("field", fields))
    widths = [max(len(title), *map(len, cells)) for title, cells in columns]
    left = max(width - sum(widths) - 2 * (len(widths) + 1), _NARROWEST_RAW)
    raws = [_visible(row.raw) for row in rows]
    cut = [raw if len(raw) <= left else f"{raw[: left - 1]}…" for raw in raws]
    for file, number, field, raw in [
        ("file", "row", "field", "raw"),
        *zip(files, numbers, fields, cut, strict=True),
    ]:
        yield f"  {file:<{widths[0]}}  {number:>{widths[1]}}  {field:<{widths[2]}}  {raw}"


def _visible(text: str) -> str:
    """Without what would move a terminal's cursor, or can't be seen."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def _shortened(text: str, length: int) -> str:
    """Its end, which tells a path's files apart."""
    return text if len(text) <= length else f"…{text[1 - length :]}"


def _in_words(reason: str) -> str:
    return REASONS.get(reason, reason)


def _named(names: Sequence[str] | dict[str, int]) -> str:
    return ", ".join(names) or "none"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _limit(text: str) -> int:
    limit = int(text)
    if limit < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return limit


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.rejected", description="Show the rows that imports set aside, and why."
    )
    parser.add_argument(
        "uri",
        metavar="URI_OF_REJECTED_FILE_OR_BUCKET",
        help="rejected/<source>.parquet, or the bucket or folder that holds rejected/",
    )
    parser.add_argument("--source", metavar="S", help="only what this import set aside")
    parser.add_argument("--reason", metavar="R", help=f"only rows rejected for this: {', '.join(REASONS)}")
    parser.add_argument(
        "--limit", type=_limit, default=LIMIT, metavar="N", help="rows shown at most (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with raw rows whole")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Show rejected rows; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        rejected = read_rejected(
            options.uri, source=options.source, reason=options.reason, limit=options.limit
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.json:
        text = json.dumps(asdict(rejected), indent=2)
    else:
        text = describe(rejected, shutil.get_terminal_size().columns)
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
