"""An upgrade moves the schema first: today's API has to answer, and take events, from tomorrow's database.

Tomorrow is a migration that adds all that may be added. The tests imported below are those of the API,
collected here a second time, over that database. The rest asks of every real migration that it only adds.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from twin.postgres import create_database, drop_database

from lambdas.migrate_database import migrate as module
from lambdas.migrate_database.migrate import SQL_FOLDER, migrate
from tests.lambdas.callers import Api, event
from tests.lambdas.test_answers import (  # noqa: F401 - run over this module's database
    test_a_known_user_with_news_gets_the_blend_of_all_that_is_known,
    test_a_known_user_without_news_gets_the_trained_list_then_what_is_popular,
    test_an_unknown_user_gets_what_is_popular_and_the_answer_says_so,
    test_another_variant_is_answered_from_its_own_version,
    test_health_and_readiness,
    test_popular_items_are_as_many_as_asked_for,
    test_posted_events_change_the_very_next_answer,
    test_similar_items_come_best_first,
    test_the_version_that_is_made_live_answers_the_next_request,
)
from tests.lambdas.test_posting_events import (  # noqa: F401
    test_a_retry_after_midnight_is_harmless,
    test_a_thousand_events_go_in_at_once,
    test_events_are_stored_as_they_were_posted,
    test_good_events_are_kept_and_bad_ones_reported_by_place_and_field,
    test_posting_again_under_the_same_event_id_is_harmless,
    test_the_partition_of_today_is_made_where_it_is_missing,
)
from tests.lambdas.versions import execute
from tests.training.published import publish
from training.loader import load_version
from training.serving import rollback
from training.storage import Folder

FILES = sorted(file.name for file in SQL_FOLDER.glob("*.sql"))

NEXT = """
ALTER TABLE versions ADD COLUMN note text, ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE serving ADD COLUMN moved_by text NOT NULL DEFAULT '';
ALTER TABLE serving_history ADD COLUMN reason text;
ALTER TABLE recommendations ADD COLUMN reasons text[], ADD COLUMN length integer NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN session_id text NOT NULL DEFAULT '', ADD COLUMN place integer;
CREATE INDEX events_by_item ON events (item_id);
CREATE TABLE experiments (name text PRIMARY KEY, variant text NOT NULL REFERENCES serving);
"""


@contextmanager
def migrations(folder: Path, *, upto: int, more: str = "") -> Iterator[None]:
    """As if there were only the first of the migrations, then one more."""
    folder.mkdir()
    for name in FILES[:upto]:
        shutil.copy(SQL_FOLDER / name, folder)
    if more:
        (folder / "9999_next.sql").write_text(more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SQL_FOLDER", folder)
        yield


@pytest.fixture
def database(empty_database: str, tmp_path: Path) -> str:
    """A database one migration further than this code knows."""
    migrate(empty_database)
    with migrations(tmp_path / "next", upto=len(FILES), more=NEXT):
        assert migrate(empty_database) == ["9999_next.sql"]
    return empty_database


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "bucket")


def test_a_version_of_tomorrow_is_answered_from(api: Api, database: str, stored: str) -> None:
    """Its manifest tells more than is known today, and it holds a kind of list that nobody asks for yet."""
    more = {"gate": {"passed": True}, "counts": {"personal": 1, "together": 1}, "language": "en"}
    execute(database, "UPDATE versions SET manifest = manifest || %s, note = 'new'", Jsonb(more))
    for key in ("shoe", "known", ""):
        execute(
            database,
            "INSERT INTO recommendations (version, kind, key, item_ids, scores, reasons)"
            " SELECT version, 'together', %s, '{stranger}', '{1}', '{bought together}' FROM serving",
            key,
        )
    api.post_events(event("known", "tent"))
    answers = [
        api.recommendations("known", 100),
        api.recommendations("nobody"),
        api.get("/v1/items/shoe/similar"),
        api.get("/v1/popular"),
    ]
    assert [answer.status for answer in answers] == [200] * 4
    assert {answer.document["model_version"] for answer in answers} == {stored}
    assert answers[0].item_ids[:3] == ["tent", "shoe", "sock"]
    assert answers[2].item_ids[:2] == ["sock", "lace"]
    assert not any("stranger" in answer.item_ids for answer in answers)


@pytest.mark.parametrize("is_next", [True, False], ids=["next schema", "this schema"])
def test_what_the_loader_loads_is_what_the_api_answers(
    request: pytest.FixtureRequest, out: Folder, is_next: bool, empty_database: str
) -> None:
    if is_next:
        request.getfixturevalue("database")
    else:
        migrate(empty_database)
    api: Api = request.getfixturevalue("api")
    publish(out, "a", "b")
    for version in "ab":
        load_version(empty_database, out, version)
        personal, similar = api.recommendations("u1"), api.get("/v1/items/i1/similar")
        assert personal.document["model_version"] == similar.document["model_version"] == version
        assert version in personal.item_ids
        assert similar.item_ids[0] == version
    rollback(empty_database)
    assert api.get("/v1/popular").item_ids == ["a", "i1"]


# What every migration keeps

COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull,
    atthasdef OR attidentity <> '' OR attgenerated <> ''
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped
"""

FUNCTIONS = """
SELECT proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid), prosecdef
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""

RULES = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
UNION
SELECT indrelid::regclass::text, 'unique index ' || indexrelid::regclass::text FROM pg_index
JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace AND indisunique
UNION
SELECT tgrelid::regclass::text, 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
UNION
SELECT oid::regclass::text, 'row security' FROM pg_class WHERE relrowsecurity
"""
"""What a row must obey to be written."""


class Schema:
    """What a program may rely on."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        columns = connection.execute(COLUMNS).fetchall()
        self.functions = set(connection.execute(FUNCTIONS).fetchall())
        self.rules = set(connection.execute(RULES).fetchall())
        self.columns = {(table, name): type_ for table, name, type_, _, _ in columns}
        self.must_be_given = {
            (table, name) for table, name, _, not_null, default in columns if not_null and not default
        }
        self.tables = {table for table, _ in self.columns}

    def broken_by(self, later: "Schema") -> set[tuple[str, ...]]:
        """What a program of this schema would miss, or stumble over, in a later one."""
        missing = self.columns.items() - later.columns.items()
        new_demands = {
            (table, name) for table, name in later.must_be_given - self.must_be_given if table in self.tables
        }
        new_rules = {(table, rule) for table, rule in later.rules - self.rules if table in self.tables}
        return (
            {(*place, type_) for place, type_ in missing}
            | new_demands
            | new_rules
            | {tuple(map(str, function)) for function in self.functions - later.functions}
        )


@pytest.mark.parametrize("place", range(1, len(FILES)), ids=FILES[1:])
def test_a_migration_takes_nothing_from_programs_that_do_not_know_it(
    empty_database: str, tmp_path: Path, place: int
) -> None:
    with migrations(tmp_path / "before", upto=place):
        migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        before = Schema(connection)
        with migrations(tmp_path / "after", upto=place + 1):
            assert migrate(empty_database) == [FILES[place]]
        assert before.broken_by(Schema(connection)) == HARMLESS.get(FILES[place], set())


HARMLESS = {
    # They count and number changes, and refuse none.
    "0006_stock.sql": {("items", "trigger count_change"), ("items", "trigger number_change")},
    # The same columns as before, in another order.
    "0007_events_of_a_user.sql": {("events", "PRIMARY KEY (user_id, event_id, received_on)")},
}

TAKING = {
    "DROP TABLE serving_history": ("serving_history", "id", "bigint"),
    "ALTER TABLE events DROP COLUMN event_type": ("events", "event_type", "text"),
    "ALTER TABLE events RENAME item_id TO product_id": ("events", "item_id", "text"),
    "ALTER TABLE recommendations ALTER scores TYPE double precision[]": ("recommendations", "scores", "real[]"),
    "ALTER TABLE events ADD COLUMN place integer NOT NULL": ("events", "place"),
    "ALTER TABLE events ALTER recommendation_id SET NOT NULL": ("events", "recommendation_id"),
    "ALTER TABLE events ALTER event_id DROP DEFAULT": ("events", "event_id"),
    "ALTER TABLE events ADD CHECK (event_type <> 'wish')": ("events", "CHECK ((event_type <> 'wish'::text))"),
    "CREATE UNIQUE INDEX one_name ON versions (lower(name))": ("versions", "unique index one_name"),
    "DROP FUNCTION ensure_events_partition": ("ensure_events_partition", "day date", "void", "True"),
    "ALTER FUNCTION ensure_events_partition SECURITY INVOKER": (
        "ensure_events_partition", "day date", "void", "True",
    ),
    "ALTER TABLE events ENABLE ROW LEVEL SECURITY": ("events", "row security"),
}  # fmt: skip


@pytest.fixture(scope="module")
def migrated(postgres_server: str) -> Iterator[str]:
    url = create_database(postgres_server, "expand_only")
    migrate(url)
    yield url
    drop_database(postgres_server, "expand_only")


@pytest.mark.parametrize("statement", TAKING)
def test_it_would_be_noticed_if_one_did(migrated: str, statement: str) -> None:
    with psycopg.connect(migrated) as connection:
        before = Schema(connection)
        connection.execute(statement.encode())
        assert TAKING[statement] in before.broken_by(Schema(connection))
        connection.rollback()


def test_the_migration_of_tomorrow_only_adds(migrated: str) -> None:
    with psycopg.connect(migrated) as connection:
        before = Schema(connection)
        connection.execute(NEXT.encode())
        assert before.broken_by(Schema(connection)) == set()
        connection.rollback()
