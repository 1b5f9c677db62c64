"""An evaluation row by row as a file, so that two runs can be compared user by user long afterwards.

Users go by their numbers among those of the run's events: two runs on the same events number them alike, and
nobody else can tell who they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from training.interactions import LongArray
from training.judged import Evaluation, Kind, Rows
from training.ranking_metrics import METRICS, DoubleArray
from training.split import Window

ROWS_NAME: Final = "evaluation_rows.parquet"

ROWS_SCHEMA: Final = pa.schema(
    [
        ("protocol", pa.string()),
        ("model", pa.string()),
        ("kind", pa.string()),
        ("window_start", pa.int64()),
        ("window_end", pa.int64()),
        ("user", pa.int32()),
        *((metric, pa.float64()) for metric in METRICS),
    ]
)
"""`kind` is `served` or `discovery`; a window's moments are ms UTC."""

Part = tuple[str, str, str]
"""Protocol, model, kind."""


@dataclass(frozen=True)
class JudgedRows:
    """The rows of one part, by window and user."""

    windows: LongArray
    """n × 2: start and end, ms UTC."""
    users: LongArray
    values: dict[str, DoubleArray]
    """By metric."""

    def is_of_the_same(self, other: "JudgedRows") -> bool:
        """Whether both are of the same windows and, where they know the same events, users."""
        return np.array_equal(self.windows, other.windows) and np.array_equal(self.users, other.users)


def rows_table(evaluation: Evaluation, windows: Sequence[Window]) -> pa.Table:
    """All rows, as `ROWS_SCHEMA` has them; `windows` are those that were judged on, in their order."""
    tables = [ROWS_SCHEMA.empty_table()]
    for protocol, by_model in evaluation.judged.items():
        for model, judged in by_model.items():
            of_kinds: dict[Kind, Rows] = {"served": judged.rows, "discovery": judged.discovery}
            for kind, rows in of_kinds.items():
                tables.append(_table(protocol, model, kind, rows, windows))
    return pa.concat_tables(tables)


def read_rows(table: pa.Table) -> dict[Part, JudgedRows]:
    """The same by part."""
    frame = table.to_pandas()
    parts = {}
    for part, rows in frame.groupby(["protocol", "model", "kind"], observed=True, sort=False):
        ordered = rows.sort_values(["window_start", "user"])
        parts[part] = JudgedRows(
            windows=ordered[["window_start", "window_end"]].to_numpy(dtype=np.int64),
            users=ordered["user"].to_numpy(dtype=np.int64),
            values={metric: ordered[metric].to_numpy(dtype=np.float64) for metric in METRICS},
        )
    return parts


def _table(protocol: str, model: str, kind: str, rows: Rows, windows: Sequence[Window]) -> pa.Table:
    bounds = np.array([(window.start, window.end) for window in windows], dtype=np.int64).reshape(-1, 2)
    of_rows = bounds[rows.windows]
    return pa.table(
        {
            "protocol": [protocol] * len(rows),
            "model": [model] * len(rows),
            "kind": [kind] * len(rows),
            "window_start": of_rows[:, 0],
            "window_end": of_rows[:, 1],
            "user": rows.users.astype(np.int32),
            **rows.values,
        },
        schema=ROWS_SCHEMA,
    )
