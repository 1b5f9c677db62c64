"""Rows that broke the contract: kept with their reasons, counted, and too many of them refused."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from contract.s3_layout import rejected_key
from training.errors import BadInputError
from training.importing.room import temporary_room
from training.importing.row_groups import parquet_options
from training.importing.rows import REASONS, REJECTED_SCHEMA
from training.storage import Folder

MAX_BAD_SHARE: Final = 0.01

_SAMPLES: Final = 3
_SAMPLE_LENGTH: Final = 200


@dataclass
class Rejects:
    """Rows set aside on the way, in a local file that is stored when all have been read."""

    path: Path
    counts: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    """Rows by reason and column."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    _writer: pq.ParquetWriter | None = None

    def add(self, rejected: pa.RecordBatch) -> None:
        """Take rows that are as REJECTED_SCHEMA has them."""
        if not rejected.num_rows:
            return
        with temporary_room():
            self._writer = self._writer or pq.ParquetWriter(
                self.path, REJECTED_SCHEMA, **parquet_options(REJECTED_SCHEMA)
            )
            self._writer.write_batch(rejected)
        names = zip(rejected["reason"].to_pylist(), rejected["field"].to_pylist(), strict=True)
        self.counts.update(names)
        self.samples += rejected.slice(0, _SAMPLES - len(self.samples)).to_pylist()

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.counts.total()

    def by_reason(self) -> dict[str, int]:
        """How many rows there are for each reason, the most frequent first."""
        counts: Counter[str] = Counter()
        for (reason, _), count in self.counts.items():
            counts[reason] += count
        return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))

    def store(self, folder: Folder, source: str) -> str | None:
        """Write them into the bucket; their key, or None where there are none."""
        if self._writer is None:
            return None
        with temporary_room():
            self._writer.close()
        key = rejected_key(source)
        folder.write_from(key, self.path)
        return key

    def refuse_too_many(self, names: str, rows: int, max_bad_share: float, stored_at: str) -> None:
        """Raise BadInputError where too little can be used of the `rows` that were read from `names`."""
        if not rows:
            raise BadInputError(f"{names}: no rows")
        if self.rows < rows and self.rows <= max_bad_share * rows:
            return
        reasons = ", ".join(
            f"{count:,} {reason}{f' ({name})' if name else ''}"
            for (reason, name), count in self.counts.most_common(5)
        )
        samples = "\n".join(
            f"  {row['file']}, row {row['row']}: {row['field'] or 'line'}: {REASONS[row['reason']]}: "
            f"{row['raw'][:_SAMPLE_LENGTH]}"
            for row in self.samples
        )
        allowed = "not one can be used" if self.rows == rows else f"at most {max_bad_share:.2%} may be"
        raise BadInputError(
            f"{names}: {self.rows:,} of {rows:,} rows ({self.rows / rows:.2%}) are bad, {allowed}: "
            f"{reasons}. The first ones:\n{samples}\n"
            f"All of them, with their reasons: {show_rejected(stored_at)}"
        )


def show_rejected(uri: str) -> str:
    """The command that shows a file of rejected rows."""
    return f"python -m training.rejected {uri}"


def check_share(max_bad_share: float) -> None:
    """Raise BadInputError where this is no share."""
    if not 0 <= max_bad_share <= 1:
        raise BadInputError(f"the share of bad rows is {max_bad_share}; expected 0 to 1")


def listed(names: Sequence[str], *, most: int) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
