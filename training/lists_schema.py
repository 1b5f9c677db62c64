"""The Arrow schema of stored lists, as `contract.recommendations.LIST_COLUMNS` describes them."""

import pyarrow as pa

LISTS_SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("event_types", pa.list_(pa.string())),
        pa.field("timestamps", pa.list_(pa.int64())),
    ]
)
