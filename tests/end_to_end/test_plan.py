"""An answer reads a visitor's own lists, however many a version holds."""

import re
from pathlib import Path

import psycopg
import pyarrow as pa

from contract.recommendations import ListKind
from lambdas.recommendations_api.repository import _VISITOR
from tests.training.published import manifest
from training.lists_schema import LISTS_SCHEMA
from training.loader import load_version
from training.publish import publish_version
from training.storage import Folder

TYPES = {
    "user": "text",
    "days": "int",
    "posted": "int",
    "events": "int",
    "items": "int",
    "variant": "text",
    "place": "float8",
    "known": "int[]",
    "stock": "bigint",
    "category": "text",
    "told_items": "text[]",
    "told_timestamps": "bigint[]",
}
VALUES = {
    "user": "'user-7'",
    "days": "14",
    "posted": "50",
    "events": "50",
    "items": "20",
    "variant": "NULL",
    "place": "0.5",
    "known": "'{}'",
    "stock": "0",
    "category": "NULL",
    "told_items": "'{}'",
    "told_timestamps": "'{}'",
}


def similar_lists(count: int) -> pa.Table:
    columns = {
        "kind": [ListKind.SIMILAR.value] * count,
        "key": [f"item-{number}" for number in range(count)],
        "item_ids": [["item-0", "item-1"]] * count,
        "scores": [[0.5, 0.25]] * count,
    }
    arrays = [pa.array(columns.get(field.name, [None] * count), field.type) for field in LISTS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LISTS_SCHEMA)


def plan_of_an_answer(database: str) -> str:
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", _VISITOR)))
    statement = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", _VISITOR)
    with psycopg.connect(database, autocommit=True) as connection:
        # As the API has it: one plan for all values.
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(
            f"PREPARE visitor ({', '.join(TYPES[name] for name in names)}) AS {statement}".encode()
        )
        values = ", ".join(VALUES[name] for name in names)
        return "\n".join(
            line for (line,) in connection.execute(f"EXPLAIN EXECUTE visitor ({values})".encode())
        )


def test_similar_lists_are_found_by_their_keys_not_by_reading_all(database: str, tmp_path: Path) -> None:
    publish_version(Folder(tmp_path), [similar_lists(5_000)], manifest=manifest("many"))
    load_version(database, Folder(tmp_path), "many")
    plan = plan_of_an_answer(database)
    conditions = re.findall(r"Index Cond: (.*)", plan)
    assert any("key = ANY" in condition and "'similar'" in condition for condition in conditions), plan
    assert "Seq Scan on recommendations" not in plan


def test_own_items_are_found_in_the_catalogue_by_their_keys(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO items (item_id) SELECT 'item-' || n FROM generate_series(1, 5000) n")
        connection.execute("ANALYZE items")
    plan = plan_of_an_answer(database)
    assert "Seq Scan on items" not in plan
    assert "items_pkey" in plan


def test_a_visitors_events_are_found_without_reading_those_of_a_whole_day(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)")
        connection.execute(
            "INSERT INTO events (user_id, item_id, event_type, timestamp)"
            " SELECT 'user-' || n % 1000, 'i', 'view', n FROM generate_series(1, 10000) n"
        )
        connection.execute("ANALYZE events")
    plan = plan_of_an_answer(database)
    conditions = re.findall(r"events_\d+ .*\n\s+Index Cond: (.*)", plan)
    assert conditions, plan
    # The column that an index is led by is the one that its conditions begin with.
    assert all(condition.startswith(("((user_id = ", "(user_id = ")) for condition in conditions), plan
    assert "Seq Scan on events" not in plan
