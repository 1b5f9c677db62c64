"""Versions loaded by hand: what an answer is made from, known to the item."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from contract.blending import BlendWeights, ScoredItem
from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event
from contract.recommendations import DEFAULT_VARIANT, ListKind, Manifest, lists_counts

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR = 3_600_000
AS_OF = NOW - dt.timedelta(hours=12)
"""What versions know ends here: after stored histories, and before what is posted."""

WEIGHTS = BlendWeights(
    own=2.0,
    latest=2.0,
    conversion=0.0,
    similar=4.0,
    personal=2.0,
    popular=1.0,
    event_weights={VIEW: 1.0, ADD_TO_CART: 2.0, PURCHASE: 0.0},
    rank_decay=0.9,
    half_life_days=14.0,
)
"""Those of `first`: popularity counts so little that what the other parts give comes before it."""

POPULAR = [(f"popular-{number}", 1.0 - number / 1000) for number in range(120)]


def history(*events: tuple[str, str], newest: int = NOW_MS - 24 * HOUR) -> list[Event]:
    """Events of (item, kind), newest first, an hour apart."""
    return [Event(item, kind, newest - place * HOUR) for place, (item, kind) in enumerate(events)]


def manifest(name: str, **values: Any) -> Manifest:
    usual: dict[str, Any] = {
        "version": name,
        "as_of": AS_OF.isoformat(),
        "created_at": NOW.isoformat(),
        "training_window": {"from": NOW.isoformat(), "to": NOW.isoformat()},
        "dataset_fingerprint": "0" * 64,
        "code_version": "unknown",
        "counts": lists_counts({}),
        "files": (),
        "metrics": {},
        "blend_weights": BlendWeights(similar=4.0),
        "exclude_purchased": False,
    }
    return Manifest(**{**usual, **values})


def load_version(
    database: str,
    name: str,
    *,
    personal: Mapping[str, Sequence[ScoredItem]] | None = None,
    histories: Mapping[str, Sequence[Event]] | None = None,
    similar: Mapping[str, Sequence[ScoredItem]] | None = None,
    popular: Sequence[ScoredItem] = POPULAR,
    bought_together: Mapping[str, Sequence[ScoredItem]] | None = None,
    popular_by_category: Mapping[str, Sequence[ScoredItem]] | None = None,
    trending: Mapping[str, Sequence[ScoredItem]] | None = None,
    variant: str | None = DEFAULT_VARIANT,
    **of_manifest: Any,
) -> None:
    """A version as the loader leaves it; with a variant it is live."""
    document = json.loads(manifest(name, **of_manifest).to_json())
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "INSERT INTO versions (name, state, manifest) VALUES (%s, 'ready', %s) RETURNING number",
            (name, Jsonb(document)),
        ).fetchone()
        assert row is not None
        (number,) = row
        table = sql.Identifier(f"recommendations_v{number}")
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE recommendations INCLUDING ALL)").format(table))
        insert = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s)").format(table)
        scored = {
            ListKind.PERSONAL: personal or {},
            ListKind.SIMILAR: similar or {},
            ListKind.BOUGHT_TOGETHER: bought_together or {},
            ListKind.POPULAR: {"": popular, **(popular_by_category or {})},
            ListKind.TRENDING: trending or {},
        }
        for kind, lists in scored.items():
            for key, items in lists.items():
                ids, scores = [item for item, _ in items], [score for _, score in items]
                connection.execute(insert, (number, kind, key, ids, scores, None, None))
        for key, events in (histories or {}).items():
            columns = [[event[place] for event in events] for place in range(3)]
            connection.execute(
                insert, (number, ListKind.HISTORY, key, columns[0], None, columns[1], columns[2])
            )
        connection.execute(
            sql.SQL("ALTER TABLE recommendations ATTACH PARTITION {} FOR VALUES IN ({})").format(
                table, number
            )
        )
    if variant is not None:
        make_live(database, name, variant)


def make_live(database: str, name: str, variant: str = DEFAULT_VARIANT, share: float = 0) -> None:
    execute(
        database,
        "INSERT INTO serving (variant, version, share) SELECT %s, number, %s FROM versions WHERE name = %s"
        " ON CONFLICT (variant) DO UPDATE SET version = excluded.version",
        variant,
        1 if variant == DEFAULT_VARIANT else share,
        name,
    )


def execute(database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def load_first(database: str) -> str:
    """The name of a live version that knows the user `known` and a few items."""
    load_version(
        database,
        "first",
        personal={"known": [("personal-1", 9.0), ("personal-2", 8.0)]},
        histories={"known": history(("shoe", "view"), ("hat", "purchase"))},
        similar={
            "shoe": [("sock", 0.9), ("lace", 0.5)],
            "hat": [("scarf", 0.8)],
            "tent": [("stove", 0.7), ("mat", 0.6)],
        },
        blend_weights=WEIGHTS,
    )
    return "first"
