"""Rows judged: those that keep the contract become events, the others are set aside with a reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contract.events import EVENT_COLUMNS, MAX_EVENT_TYPE_LENGTH, MAX_ID_LENGTH
from training.events import EVENTS_SCHEMA
from training.importing.batches import Batch, is_text
from training.importing.columns import kind_of
from training.importing.times import read_times

REASONS: Final = {
    "missing": "there is no value",
    "too_long": f"an id has over {MAX_ID_LENGTH} characters, or an event type over {MAX_EVENT_TYPE_LENGTH}",
    "nul_character": "the text contains a NUL character",
    "invalid_utf8": "the text isn't UTF-8, or contains half of a surrogate pair",
    "wrong_type": "the value is of a type that can't be used",
    "unreadable_time": "the time is neither a number nor ISO 8601",
    "absurd_time": "the time lies before 1990 or after 2099",
    "after_as_of": "the time lies after --as-of",
    "unreadable_flag": "the value is none of true, false, 1, 0, yes and no",
    "malformed_line": "the line has another number of fields than the header, or isn't a JSON object",
}
"""Why a row is rejected; a row with several reasons is told with the first column's."""

EARLIEST_MS: Final = 631_152_000_000  # 1990-01-01
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01, the first that is too late

REJECTED_SCHEMA: Final = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("raw", pa.string()),
    ]
)

Reasons = npt.NDArray[np.int8]
"""For each row the code of its reason, see `CODES`; 0 where nothing is wrong."""

_NAMES: Final = ("", *REASONS)
CODES: Final = {name: code for code, name in enumerate(_NAMES)}
"""Of each reason, for `Reasons`."""


@dataclass
class Judge:
    """Takes batches, gives events and rejected rows, and remembers how it understood them."""

    event_types: Mapping[str, str]
    """Explicit meanings, from theirs to ours."""
    as_of_ms: int | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind that each name of an event type was taken for."""
    time_forms: set[str] = field(default_factory=set)

    def judge(self, batch: Batch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The events of a batch, as EVENTS_SCHEMA has them, and its rejected rows, as REJECTED_SCHEMA."""
        user_ids, of_users = clean_text(batch.columns["user_id"], MAX_ID_LENGTH)
        item_ids, of_items = clean_text(batch.columns["item_id"], MAX_ID_LENGTH)
        event_types, of_types = clean_text(batch.columns["event_type"], MAX_EVENT_TYPE_LENGTH)
        timestamps, of_times = self._times(batch.columns["timestamp"])
        reasons = dict(zip(EVENT_COLUMNS, (of_users, of_items, of_types, of_times), strict=True))
        is_bad, rejected = set_aside(batch, reasons)
        columns = [user_ids, item_ids, event_types, pa.array(timestamps)]
        if is_bad.any():
            is_good = pa.array(~is_bad)
            columns = [column.filter(is_good) for column in columns]
        columns[2] = self._as_kinds(columns[2])
        return pa.record_batch(columns, schema=EVENTS_SCHEMA), rejected

    def _as_kinds(self, names: pa.Array) -> pa.Array:
        encoded = names.dictionary_encode()
        found = encoded.dictionary.to_pylist()
        for name in found:
            if name not in self.kinds:
                self.kinds[name] = kind_of(name, self.event_types)
        return pa.array([self.kinds[name] for name in found], pa.string()).take(encoded.indices)

    def _times(self, values: pa.Array) -> tuple[npt.NDArray[np.int64], Reasons]:
        times, reasons, forms = clean_times(values)
        self.time_forms |= forms
        if self.as_of_ms is not None:
            reasons[(reasons == 0) & (times > self.as_of_ms)] = CODES["after_as_of"]
        return times, reasons


def clean_text(
    values: pa.Array, max_length: int | None = None, *, is_needed: bool = True
) -> tuple[pa.Array, Reasons]:
    """Values as text without nulls, and what is wrong with each; the rules of `contract.events`."""
    reasons = np.zeros(len(values), dtype=np.int8)
    try:
        text = values.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = [_decoded(value) for value in values.to_pylist()]
        reasons[[value is None for value in decoded]] = CODES["invalid_utf8"]
        text = pa.array(decoded, pa.string())
    text = text.fill_null("") if text.null_count else text
    n_bytes = pc.binary_length(text).to_numpy()
    if is_needed:
        reasons[(n_bytes == 0) & (reasons == 0)] = CODES["missing"]
    if max_length is not None and n_bytes.max(initial=0) > max_length:  # else no text has as many characters
        reasons[pc.utf8_length(text).to_numpy() > max_length] = CODES["too_long"]
    if _may_have_nul(text):
        has_nul = pc.match_substring(text, "\x00")
        reasons[has_nul.to_numpy(zero_copy_only=False)] = CODES["nul_character"]
    return text, reasons


def _may_have_nul(text: pa.Array) -> bool:
    """Whether there is one in the memory that the text lies in, which a slice shares with others."""
    data = text.buffers()[2]
    return data is not None and b"\x00" in memoryview(data).tobytes()


def clean_times(values: pa.Array) -> tuple[npt.NDArray[np.int64], Reasons, frozenset[str]]:
    """Times in UTC ms, what is wrong with each, and the forms that they were written in."""
    if is_text(values.type):
        values, reasons = clean_text(values, MAX_ID_LENGTH)
    else:
        is_missing = values.is_null().to_numpy(zero_copy_only=False)
        reasons = np.where(is_missing, CODES["missing"], 0).astype(np.int8)
    times, is_readable, forms = read_times(values)
    is_absurd = (times < EARLIEST_MS) | (times >= LATEST_MS)
    for is_problem, name in ((~is_readable, "unreadable_time"), (is_absurd, "absurd_time")):
        reasons[(reasons == 0) & is_problem] = CODES[name]
    return times, reasons, forms


def set_aside(batch: Batch, reasons: Mapping[str, Reasons]) -> tuple[npt.NDArray[np.bool_], pa.RecordBatch]:
    """Which rows of a batch are bad, and those with their reasons, as REJECTED_SCHEMA has them.

    `reasons` has what is wrong with each column; values of a type that can't be used are added to it.
    """
    for name, is_wrong in batch.wrong_types.items():
        reasons[name][is_wrong] = CODES["wrong_type"]
    is_bad = np.logical_or.reduce([codes > 0 for codes in reasons.values()])
    rejected = [*_rejected(batch, reasons, is_bad), *_malformed(batch)]
    rejected.sort(key=lambda row: row["row"])
    return is_bad, pa.RecordBatch.from_pylist(rejected, schema=REJECTED_SCHEMA)


def _decoded(value: bytes | None) -> str | None:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        return None


def _rejected(
    batch: Batch, reasons: Mapping[str, Reasons], is_bad: npt.NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    for position in np.flatnonzero(is_bad):
        name = next(name for name, codes in reasons.items() if codes[position])
        yield {
            "file": batch.file,
            "row": int(batch.rows[position]),
            "reason": _NAMES[reasons[name][position]],
            "field": name,
            "raw": batch.raw(int(position)),
        }


def _malformed(batch: Batch) -> Iterator[dict[str, Any]]:
    for line in batch.malformed:
        yield {
            "file": batch.file,
            "row": line.row,
            "reason": "malformed_line",
            "field": None,
            "raw": line.raw,
        }
