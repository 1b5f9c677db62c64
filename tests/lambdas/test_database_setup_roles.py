"""Every part of the product at its work as its own role, and what that role may not do."""

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from contract.routes import SCOPES
from lambdas.database_login import UrlLogin
from lambdas.housekeeping.run import Run
from lambdas.housekeeping.settings import Settings as HousekeepingSettings
from lambdas.migrate_database.roles import LOGINS, OWNER
from lambdas.migrate_database.set_up import set_up
from tests.lambdas.callers import Answer, Api, event, proxy_event
from tests.lambdas.conftest import environments
from tests.lambdas.rds import Rds, running_rds
from tests.lambdas.versions import execute, load_first
from tests.training.posted import exported
from tests.training.published import publish
from training.catalogue import write_catalogue
from training.catalogue_loader import load_catalogue
from training.event_retention import drop_exported_days
from training.export_events import export_events
from training.importing.catalogue_rows import ITEM_COLUMNS
from training.importing.catalogue_tree import CATEGORIES_SCHEMA
from training.loader import load_version
from training.retirement import drop_version
from training.serving import end_variant, list_versions, rollback, set_share
from training.storage import Folder
from training.tombstones import delete_user, read_tombstones

API_READ, API_WRITE, HOUSEKEEPING, RETRAIN = LOGINS

TABLES: dict[str, dict[str, str]] = {
    "versions": {API_READ: "SELECT", API_WRITE: "SELECT", HOUSEKEEPING: "SELECT"},
    "serving": {API_READ: "SELECT", API_WRITE: "SELECT", HOUSEKEEPING: "SELECT"},
    "serving_history": {},
    "recommendations": {API_READ: "SELECT", API_WRITE: "SELECT"},
    "events": {API_READ: "SELECT", API_WRITE: "SELECT INSERT", HOUSEKEEPING: "SELECT"},
    "items": {API_READ: "SELECT", API_WRITE: "SELECT INSERT UPDATE"},
    "categories": {API_READ: "SELECT"},
    "catalogues": {API_READ: "SELECT"},
    "stock": {API_READ: "SELECT"},
    "deleted_users": {API_WRITE: "SELECT"},
    "keys": {},
    "event_exports": {HOUSEKEEPING: "SELECT"},
    "attributed": {HOUSEKEEPING: "SELECT"},
    "attribution_progress": {HOUSEKEEPING: "SELECT"},
    "schema_migrations": {},
}
"""Who may do what with a whole table; nobody else anything, but `retrain`, which may do all."""
COLUMNS = {
    "keys": {API_WRITE: {"purpose", "id", "secret"}, HOUSEKEEPING: {"purpose", "made_at"}},
}
"""Who may read which columns of a table that is not theirs as a whole."""
FUNCTIONS: dict[str, set[str]] = {
    "recommendation_keys": {API_READ, API_WRITE},
    "ensure_events_partition": {API_WRITE, HOUSEKEEPING},
    "rotate_key": {HOUSEKEEPING},
    "count_attribution": {HOUSEKEEPING},
    "restart_attribution": set(),
    "delete_user": {API_WRITE},
    "hmac_key": {API_WRITE},
    "obey_tombstones": set(),
    "tombstone_key_id": set(),
    "count_stock_change": set(),
    "number_stock_change": set(),
}
"""Who may call what; `retrain` may call all."""
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")

REQUESTS: dict[tuple[str, str], tuple[str, str | None]] = {
    ("GET", "/v1/users/{user_id}/recommendations"): ("/v1/users/known/recommendations?category=c", None),
    ("POST", "/v1/recommendations"): ("/v1/recommendations", '{"events": []}'),
    ("POST", "/v1/recommendations/batch"): ("/v1/recommendations/batch", '{"user_ids": ["known", "new"]}'),
    ("GET", "/v1/items/{item_id}/similar"): ("/v1/items/shoe/similar", None),
    ("GET", "/v1/items/{item_id}/bought-together"): ("/v1/items/shoe/bought-together", None),
    ("GET", "/v1/popular"): ("/v1/popular", None),
    ("GET", "/v1/model"): ("/v1/model", None),
    ("GET", "/v1/stats"): ("/v1/stats", None),
    ("GET", "/ready"): ("/ready", None),
    ("GET", "/health"): ("/health", None),
    ("POST", "/v1/events"): (
        "/v1/events",
        '{"events": [{"user_id": "poster", "item_id": "i", "event_type": "view"}]}',
    ),
    ("PUT", "/v1/items"): ("/v1/items", '{"items": [{"item_id": "i", "available": false}]}'),
    ("GET", "/v1/users/{user_id}"): ("/v1/users/known", None),
    ("DELETE", "/v1/users/{user_id}"): ("/v1/users/nobody", None),
}


@pytest.fixture(scope="module")
def rds(logs: Path) -> Iterator[Rds]:
    """With a database that was set up by its master, and a version that `retrain` loaded."""
    with running_rds(logs / "rds_roles.log") as server:
        server.make_database()
        set_up(UrlLogin(server.url()))
        load_first(server.url(RETRAIN))
        execute(server.url(RETRAIN), "INSERT INTO items (item_id, category_id) VALUES ('personal-1', 'c')")
        yield server


@pytest.fixture(scope="module")
def apis(rds: Rds) -> Iterator[dict[str, Api]]:
    """The two functions, by their role."""
    with ExitStack() as stack:
        yield {
            role: stack.enter_context(environments(rds.url(role)))(serves=serves)
            for role, serves in ((API_READ, "read"), (API_WRITE, "write"))
        }


def partitions_of_events(rds: Rds) -> list[tuple[Any, ...]]:
    """By name, with their owner."""
    return execute(
        rds.url(RETRAIN),
        "SELECT relname, pg_get_userbyid(relowner) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'events'::regclass",
    )


def send(api: Api, method: str, route: str) -> Answer:
    target, body = REQUESTS[method, route]
    return api.send(proxy_event(method, target, body=body))


# What each does


@pytest.mark.parametrize(("method", "route"), SCOPES)
def test_every_route_works_with_the_role_of_its_function(
    apis: dict[str, Api], method: str, route: str
) -> None:
    role = API_READ if SCOPES[method, route] in ("read", None) else API_WRITE
    answer = send(apis[role], method, route)
    assert answer.status in (200, 202), answer.document


def test_a_function_with_the_other_ones_role_writes_nothing(rds: Rds) -> None:
    before = execute(rds.url(RETRAIN), "SELECT count(*) FROM events")
    with environments(rds.url(API_READ)) as make:
        api = make(serves="write")
        for method, route in (
            ("POST", "/v1/events"),
            ("PUT", "/v1/items"),
            ("DELETE", "/v1/users/{user_id}"),
        ):
            assert send(api, method, route).status == 500
    assert execute(rds.url(RETRAIN), "SELECT count(*) FROM events") == before


def test_a_post_makes_the_partition_that_is_missing_and_the_owner_owns_it(
    apis: dict[str, Api], rds: Rds
) -> None:
    for name, _ in partitions_of_events(rds):
        execute(rds.url(RETRAIN), f"DROP TABLE {name}")
    assert apis[API_WRITE].post_events(event("poster", "i")).status == 202
    ((_, owner),) = partitions_of_events(rds)
    assert owner == OWNER


def test_no_part_of_housekeeping_fails_with_its_role(apis: dict[str, Api], rds: Rds) -> None:
    assert apis[API_WRITE].post_events(event("poster", "i")).status == 202
    report = Run(HousekeepingSettings(database_url=SecretStr(rds.url(HOUSEKEEPING))))()
    assert report.failed == []
    assert len(report.partitions) == 8
    assert report.key is not None


def test_versions_come_and_go_with_the_role_of_the_retrain(rds: Rds, tmp_path: Path) -> None:
    database, out = rds.url(RETRAIN), Folder(tmp_path)
    publish(out, "v1", "v2")
    load_version(database, out, "v1")
    load_version(database, out, "v2", variant="other")
    set_share(database, "other", 0.5)
    end_variant(database, "other")
    load_version(database, out, "v2")
    assert rollback(database).version == "v1"
    assert drop_version(database, "v2").dropped == ("v2",)
    assert rollback(database, to="first").version == "first"
    assert drop_version(database, "v1").dropped == ("v1",)
    assert [info.name for info in list_versions(database)] == ["first"]


def test_events_are_exported_and_old_days_dropped_with_the_role_of_the_retrain(
    apis: dict[str, Api], rds: Rds, tmp_path: Path
) -> None:
    database, out = rds.url(RETRAIN), Folder(tmp_path)
    execute(database, "SELECT ensure_events_partition('2026-01-31')")
    execute(
        database,
        'INSERT INTO events (received_on, user_id, event_id, item_id, event_type, "timestamp")'
        " VALUES ('2026-01-31', 'old', 'e', 'i', 'view', 1)",
    )
    assert export_events(database, out).events > 0
    assert exported(out)["old", "e"] == 1
    assert drop_exported_days(database, keep_days=7) == ("2026-01-31",)


def test_deleted_users_are_exchanged_and_obeyed_with_the_role_of_the_retrain(
    rds: Rds, tmp_path: Path
) -> None:
    database, out = rds.url(RETRAIN), Folder(tmp_path)
    publish(out, "v3", users=3)
    delete_user(database, "u2")
    load_version(database, out, "v3", activate=False, events=out)
    assert read_tombstones(out).deleted_until("u2") is not None
    kept = execute(
        database,
        "SELECT key FROM recommendations JOIN versions ON number = version"
        " WHERE name = 'v3' AND kind = 'personal' ORDER BY 1",
    )
    assert kept == [("u0",), ("u1",)]


def test_a_catalogue_is_loaded_with_the_role_of_the_retrain(rds: Rds, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    rows = [dict(zip(ITEM_COLUMNS.names, ("of-catalogue", "c", True), strict=True))]
    tree = pa.Table.from_pylist([{"category_id": "c", "parent_id": None}], CATEGORIES_SCHEMA)
    table = pa.Table.from_pylist(rows, schema=ITEM_COLUMNS)
    moment = round(dt.datetime(2026, 1, 31, tzinfo=dt.UTC).timestamp() * 1000)
    write_catalogue(folder, table.to_batches(), ITEM_COLUMNS, tree, moment)
    load_catalogue(rds.url(RETRAIN), folder)
    assert execute(rds.url(API_READ), "SELECT category_id FROM items WHERE item_id = 'of-catalogue'") == [
        ("c",)
    ]


def test_the_retrain_acts_as_the_owner_from_its_first_statement_on(rds: Rds) -> None:
    assert execute(rds.url(RETRAIN), "SELECT session_user, current_user") == [(RETRAIN, OWNER)]


def test_all_that_the_roles_have_made_is_the_owners(rds: Rds) -> None:
    owners = execute(
        rds.url(),
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    )
    assert owners == [(OWNER,)]


# What none may do but whom it is written down for


@pytest.fixture(scope="module")
def stranger(rds: Rds) -> str:
    rds.as_superuser("CREATE ROLE stranger LOGIN")
    return "stranger"


def test_nobody_may_do_more_with_a_table_than_is_written_down_nor_less(rds: Rds, stranger: str) -> None:
    rows = execute(
        rds.url(),
        "SELECT relname::text, role, privilege FROM pg_class, unnest(%s::text[]) AS role, unnest(%s::text[]) AS privilege"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND has_table_privilege(role, pg_class.oid, privilege)",
        [*LOGINS, stranger],
        list(PRIVILEGES),
    )
    expected = {
        (table, role, privilege)
        for table, by_role in TABLES.items()
        for role, privileges in {**by_role, RETRAIN: " ".join(PRIVILEGES)}.items()
        for privilege in privileges.split()
    }
    assert set(rows) == expected


def test_nobody_may_read_more_columns_than_are_written_down_nor_fewer(rds: Rds, stranger: str) -> None:
    rows = execute(
        rds.url(),
        "SELECT relname::text, role, attname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid,"
        " unnest(%s::text[]) AS role"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND attnum > 0 AND has_column_privilege(role, pg_class.oid, attnum, 'SELECT')"
        " AND NOT has_table_privilege(role, pg_class.oid, 'SELECT')",
        [*LOGINS, stranger],
    )
    expected = {
        (table, role, column)
        for table, by_role in COLUMNS.items()
        for role, columns in by_role.items()
        for column in columns
    }
    assert set(rows) == expected


def test_nobody_may_call_more_functions_than_are_written_down_nor_fewer(rds: Rds, stranger: str) -> None:
    rows = execute(
        rds.url(),
        "SELECT proname::text, role FROM pg_proc, unnest(%s::text[]) AS role"
        " WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(role, pg_proc.oid, 'EXECUTE')",
        [*LOGINS, stranger],
    )
    expected = {(name, role) for name, roles in FUNCTIONS.items() for role in {*roles, RETRAIN}}
    assert set(rows) == expected


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (API_READ, "SELECT secret FROM keys"),
        (API_READ, "SELECT delete_user('known')"),
        (API_READ, "SELECT ensure_events_partition('2026-01-31')"),
        (API_READ, "SELECT rotate_key('recommendation_ids')"),
        (API_READ, "SELECT user_hash FROM deleted_users"),
        (
            API_READ,
            "INSERT INTO events (user_id, item_id, event_type, timestamp) VALUES ('u', 'i', 'view', 1)",
        ),
        (API_READ, "UPDATE items SET available = false"),
        (API_READ, "UPDATE serving SET share = 0"),
        # Partitions are reached through their table alone.
        (API_READ, "SELECT key FROM recommendations_v1"),
        (API_WRITE, "SELECT made_at FROM keys"),
        (API_WRITE, "INSERT INTO keys (purpose, id, secret) VALUES ('p', 'i', '')"),
        (API_WRITE, "DELETE FROM events"),
        (API_WRITE, "UPDATE events SET user_id = 'u'"),
        (API_WRITE, "DELETE FROM items"),
        (API_WRITE, "DELETE FROM deleted_users"),
        (API_WRITE, "DELETE FROM recommendations"),
        (API_WRITE, "UPDATE serving SET share = 0"),
        (API_WRITE, "SELECT rotate_key('recommendation_ids')"),
        (API_WRITE, "ALTER TABLE events ADD COLUMN mine text"),
        (HOUSEKEEPING, "SELECT secret FROM keys"),
        (HOUSEKEEPING, "SELECT recommendation_keys()"),
        (HOUSEKEEPING, "SELECT delete_user('known')"),
        (HOUSEKEEPING, "SELECT key FROM recommendations"),
        (HOUSEKEEPING, "SELECT item_id FROM items"),
        (HOUSEKEEPING, "DELETE FROM events"),
        (HOUSEKEEPING, "SELECT restart_attribution()"),
        (HOUSEKEEPING, "UPDATE attributed SET number = 0"),
        (HOUSEKEEPING, "UPDATE event_exports SET state = 'done'"),
        # Before it on the search path of functions that run as the owner, it would be taken for the owner's.
        *(
            (role, "CREATE TEMPORARY TABLE keys (secret text)")
            for role in (API_READ, API_WRITE, HOUSEKEEPING)
        ),
        *((role, "CREATE TABLE mine (id integer)") for role in (API_READ, API_WRITE, HOUSEKEEPING)),
        *((role, f"SET ROLE {OWNER}") for role in (API_READ, API_WRITE, HOUSEKEEPING)),
        *((role, "CREATE SCHEMA mine") for role in LOGINS),
        *((role, "CREATE ROLE mine") for role in LOGINS),
        *((role, "CREATE DATABASE mine") for role in LOGINS),
        *((role, "DROP DATABASE shop") for role in LOGINS),
        *((role, "SET ROLE master") for role in LOGINS),
    ],
)
def test_what_is_not_granted_is_refused(rds: Rds, role: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(rds.url(role), statement)


def test_strangers_cannot_connect(rds: Rds, stranger: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        execute(rds.url(stranger), "SELECT")


def test_nobody_logs_in_as_the_owner(rds: Rds) -> None:
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        execute(rds.url(OWNER), "SELECT")
