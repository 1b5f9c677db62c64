"""Times in any usual form as milliseconds since 1970-01-01 UTC."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

LongArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NUMBER_UNITS: Final = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_SMALLEST_OF_NEXT_UNIT: Final = np.array([10**11, 10**14, 10**17])
"""Each unit's numbers of 1973 to 2286 lie apart from those of the other units."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SAFELY_LARGE: Final = 9e18  # what still fits into 64 bits


class Times(NamedTuple):
    """Milliseconds, which of them mean anything, and the forms that were met."""

    milliseconds: LongArray
    is_readable: Mask
    forms: frozenset[str]


def read_times(values: pa.Array) -> Times:
    """Times of a column: Arrow's own types of time, numbers, or text; nulls are not readable.

    Numbers are seconds, milliseconds, microseconds or nanoseconds, told apart by their size; text is
    such a number or ISO 8601. What has no zone is UTC; what is finer than a millisecond is cut off.
    """
    known = values.is_valid().to_numpy(zero_copy_only=False)
    if pat.is_null(values.type):
        return Times(np.zeros(len(values), dtype=np.int64), known, frozenset())
    if pat.is_timestamp(values.type) or pat.is_date(values.type):
        moments = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return Times(_numpy(moments) // 1000, known, frozenset({str(values.type)}))
    if pat.is_integer(values.type) and values.type != pa.uint64():
        return _of_whole_numbers(_numpy(values.cast(pa.int64())), known)
    if pat.is_integer(values.type) or pat.is_floating(values.type) or pat.is_decimal(values.type):
        return _of_numbers(_numpy(values.cast(pa.float64(), safe=False)), known)
    return _of_text(values.cast(pa.string()))


def _numpy(values: pa.Array) -> npt.NDArray[Any]:
    filled: npt.NDArray[Any] = values.fill_null(0).to_numpy()
    return filled


def _of_whole_numbers(numbers: LongArray, known: Mask) -> Times:
    sizes = np.abs(numbers)
    lowest, highest = _SMALLEST_OF_NEXT_UNIT[:2]
    if len(numbers) and known.all() and lowest <= sizes.min() and sizes.max() < highest:
        return Times(numbers, known, frozenset({"milliseconds"}))  # as most are: nothing to compute
    units = np.searchsorted(_SMALLEST_OF_NEXT_UNIT, sizes, side="right")
    milliseconds = np.choose(units, [numbers * 1000, numbers, numbers // 1000, numbers // 1_000_000])
    return Times(milliseconds, known, _names_of_units(units[known]))


def _of_numbers(numbers: npt.NDArray[np.float64], known: Mask) -> Times:
    is_readable = known & np.isfinite(numbers)
    numbers = np.where(is_readable, numbers, 0).clip(-_SAFELY_LARGE, _SAFELY_LARGE)
    units = np.searchsorted(_SMALLEST_OF_NEXT_UNIT, np.abs(numbers), side="right")
    # Seconds with a fraction are rounded: in binary, .123 lies a little below itself.
    scaled = np.choose(
        units, [np.rint(numbers * 1000), np.floor(numbers), numbers // 1000, numbers // 1_000_000]
    )
    return Times(scaled.astype(np.int64), is_readable, _names_of_units(units[is_readable]))


def _names_of_units(units: npt.NDArray[np.intp]) -> frozenset[str]:
    return frozenset(NUMBER_UNITS[unit] for unit in np.unique(units))


def _of_text(text: pa.Array) -> Times:
    text = pc.utf8_trim_whitespace(text.fill_null(""))
    is_whole = _matches(text, r"^-?(\d{1,18}|[1-8]\d{18})$")
    if is_whole.all():
        return _of_whole_numbers(_numpy(text.cast(pa.int64())), is_whole)
    is_number = ~is_whole & _matches(text, r"^-?\d+(\.\d+)?([eE][+-]?\d{1,2})?$")
    is_moment = ~is_whole & ~is_number & _matches(text, r"^\d{4}-")
    milliseconds = np.zeros(len(text), dtype=np.int64)
    is_readable = np.zeros(len(text), dtype=np.bool_)
    forms: frozenset[str] = frozenset()
    for rows, read in ((is_whole, _of_whole_text), (is_number, _of_number_text), (is_moment, _of_iso_text)):
        if rows.any():
            times = read(text.filter(pa.array(rows)))
            milliseconds[rows], is_readable[rows] = times.milliseconds, times.is_readable
            forms |= times.forms
    return Times(milliseconds, is_readable, forms)


def _of_whole_text(text: pa.Array) -> Times:
    return _of_whole_numbers(_numpy(text.cast(pa.int64())), np.ones(len(text), dtype=np.bool_))


def _of_number_text(text: pa.Array) -> Times:
    return _of_numbers(_numpy(text.cast(pa.float64())), np.ones(len(text), dtype=np.bool_))


def _of_iso_text(text: pa.Array) -> Times:
    text = pc.replace_substring_regex(text, r"\s*(UTC|GMT|z)$", "Z")
    has_zone = _matches(text, r":\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")
    try:
        if has_zone.all():
            return read_times(text.cast(pa.timestamp("us", "UTC")))._replace(forms=frozenset({"ISO 8601"}))
        if not has_zone.any():
            return read_times(text.cast(pa.timestamp("us")))._replace(forms=frozenset({"ISO 8601"}))
    except pa.ArrowInvalid:
        pass  # Some of them are not written as Arrow expects: one by one, then.
    moments = [_milliseconds_of_iso(value) for value in text.to_pylist()]
    is_readable = np.array([moment is not None for moment in moments], dtype=np.bool_)
    milliseconds = np.array([moment or 0 for moment in moments], dtype=np.int64)
    return Times(milliseconds, is_readable, frozenset({"ISO 8601"} if is_readable.any() else ()))


def _milliseconds_of_iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _matches(text: pa.Array, pattern: str) -> Mask:
    matches: Mask = pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False)
    return matches
