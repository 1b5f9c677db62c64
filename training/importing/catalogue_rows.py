"""Rows of a catalogue judged: good ones get our columns and types, the others are set aside with a reason."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contract.events import MAX_ID_LENGTH
from training.importing.batches import Batch, is_text
from training.importing.rows import CODES, Reasons, clean_text, clean_times, set_aside

ITEM_COLUMNS: Final = pa.schema(
    [("item_id", pa.string()), ("category_id", pa.string()), ("available", pa.bool_())]
)
"""Of every item; what else the shop says about it stands behind them."""

PROPERTIES_SCHEMA: Final = pa.schema(
    [("item_id", pa.string()), ("property", pa.string()), ("value", pa.string()), ("timestamp", pa.int64())]
)
CATEGORY_PROPERTY: Final = "categoryid"
AVAILABLE_PROPERTY: Final = "available"

_FLAGS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Properties(NamedTuple):
    """What a batch of properties came to."""

    rows: pa.RecordBatch
    """Those that a catalogue is made of, as PROPERTIES_SCHEMA has them; flags are `1` and `0`."""
    rejected: pa.RecordBatch
    passed_over: int
    """Rows of properties that no catalogue is made of."""
    late: int
    """Good rows of later than the catalogue's moment."""


def judge_items(batch: Batch, extras: pa.Schema) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The items of a batch, with ITEM_COLUMNS and then `extras`, and its rejected rows."""
    item_ids, of_items = clean_text(batch.columns["item_id"], MAX_ID_LENGTH)
    reasons = {"item_id": of_items}
    categories, available = pa.nulls(len(item_ids), pa.string()), pa.array([True] * len(item_ids))
    if "category_id" in batch.columns:
        categories, reasons["category_id"] = _optional_id(batch.columns["category_id"])
    if "available" in batch.columns:
        available, reasons["available"] = read_flags(batch.columns["available"])
    columns = [item_ids, categories, available]
    for column in extras:
        values, reasons[column.name] = _extra(batch.columns.get(column.name), column.type, len(item_ids))
        columns.append(values)
    is_bad, rejected = set_aside(batch, {name: reasons[name] for name in (*batch.columns, *reasons)})
    items = pa.record_batch(columns, schema=pa.schema([*ITEM_COLUMNS, *extras]))
    return items.filter(pa.array(~is_bad)), rejected


def judge_tree(batch: Batch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The categories of a batch with their parents, null at the top, and its rejected rows."""
    categories, of_categories = clean_text(batch.columns["category_id"], MAX_ID_LENGTH)
    parents, of_parents = _optional_id(batch.columns["parent_id"])
    is_bad, rejected = set_aside(batch, {"category_id": of_categories, "parent_id": of_parents})
    rows = pa.record_batch([categories, parents], names=["category_id", "parent_id"])
    return rows.filter(pa.array(~is_bad)), rejected


def judge_properties(batch: Batch, as_of_ms: int) -> Properties:
    """What a batch says about items' categories and availability up to a moment (UTC ms)."""
    names, of_names = clean_text(batch.columns["property"])
    is_flag, is_category = (
        pc.equal(names, known).to_numpy(zero_copy_only=False)
        for known in (AVAILABLE_PROPERTY, CATEGORY_PROPERTY)
    )
    used = np.flatnonzero(is_flag | is_category)
    columns = {name: values.take(pa.array(used)) for name, values in batch.columns.items()}
    item_ids, of_items = clean_text(columns["item_id"], MAX_ID_LENGTH)
    values, of_values = _property_values(columns["value"], is_flag[used])
    times, of_times, _ = clean_times(columns["timestamp"])
    reasons = {"item_id": of_items, "value": of_values, "timestamp": of_times}
    spread = {name: _spread(codes, used, len(names)) for name, codes in reasons.items()}
    is_bad, rejected = set_aside(batch, {"property": of_names, **spread})
    is_good, is_late = ~is_bad[used], times > as_of_ms
    rows = pa.record_batch(
        [item_ids, columns["property"].cast(pa.string()), values, times], PROPERTIES_SCHEMA
    )
    return Properties(
        rows=rows.filter(pa.array(is_good & ~is_late)),
        rejected=rejected,
        passed_over=int(np.count_nonzero(~is_bad)) - int(np.count_nonzero(is_good)),
        late=int(np.count_nonzero(is_good & is_late)),
    )


def read_flags(values: pa.Array) -> tuple[pa.Array, Reasons]:
    """What is true and what is false, true where there is no value, and what is wrong with each."""
    text, reasons = clean_text(values, is_needed=False)
    text = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    known = pc.index_in(text, value_set=pa.array(list(_FLAGS)))
    is_unreadable = pc.and_(known.is_null(), pc.not_equal(text, "")).to_numpy(zero_copy_only=False)
    reasons[is_unreadable & (reasons == 0)] = CODES["unreadable_flag"]
    return pa.array(list(_FLAGS.values())).take(known).fill_null(True), reasons


def _optional_id(values: pa.Array) -> tuple[pa.Array, Reasons]:
    text, reasons = clean_text(values, MAX_ID_LENGTH, is_needed=False)
    return _null_where_empty(text), reasons


def _extra(values: pa.Array | None, data_type: pa.DataType, n_rows: int) -> tuple[pa.Array, Reasons]:
    if values is not None and is_text(values.type):
        text, reasons = clean_text(values, is_needed=False)
        return _null_where_empty(text), reasons
    column = pa.nulls(n_rows, data_type) if values is None else values.cast(data_type, safe=False)
    return column, np.zeros(n_rows, dtype=np.int8)


def _null_where_empty(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _property_values(values: pa.Array, is_flag: npt.NDArray[np.bool_]) -> tuple[pa.Array, Reasons]:
    text, reasons = clean_text(values, MAX_ID_LENGTH)
    flags, of_flags = read_flags(values)
    reasons = np.where(is_flag & (reasons == 0), of_flags, reasons)
    return pc.if_else(pa.array(is_flag), pc.if_else(flags, "1", "0"), text), reasons


def _spread(codes: Reasons, positions: npt.NDArray[np.int64], n_rows: int) -> Reasons:
    spread = np.zeros(n_rows, dtype=np.int8)
    spread[positions] = codes
    return spread
