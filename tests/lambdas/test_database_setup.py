"""What a deployment makes of a new database, of one that was migrated before, and of whatever it finds wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from pydantic import ValidationError
from twin.processes import LOOPBACK, free_port
from twin.s3 import aws_environment

from lambdas.database_login import UrlLogin
from lambdas.migrate_database import migrate as migrations
from lambdas.migrate_database import set_up as module
from lambdas.migrate_database.errors import SetUpError
from lambdas.migrate_database.handler import handler
from lambdas.migrate_database.migrate import SQL_FOLDER, migrate
from lambdas.migrate_database.roles import LOGINS, OWNER
from lambdas.migrate_database.set_up import Report, set_up
from lambdas.migrate_database.settings import Settings
from tests.lambdas.rds import MASTER, PASSWORD, ROLES, SHOP, Rds, running_rds
from tests.lambdas.versions import execute, load_first

ROOT = Path(__file__).parents[2]
FILES = [file.name for file in sorted(SQL_FOLDER.glob("*.sql"))]
OTHER = "battery-staple"
NOTHING = Report(roles=[], databases=[], handed_over=0, applied=[])

OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION
SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
# All that a set-up could change: roles, memberships, settings, owners, privileges, columns. A table without
# privileges of its own has the default ones.
STATE = """
SELECT 'role', rolname::text, row_to_json(pg_roles)::text FROM pg_roles
UNION ALL
SELECT 'member', roleid::regrole::text, member::regrole::text FROM pg_auth_members
UNION ALL
SELECT 'setting', setrole::regrole::text, setconfig::text FROM pg_db_role_setting
UNION ALL
SELECT 'database', datname, row(datdba, datacl)::text FROM pg_database
UNION ALL
SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname = 'public'
UNION ALL
SELECT 'table', relname, row(relowner, coalesce(relacl, acldefault('r', relowner)))::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
UNION ALL
SELECT 'function', proname, row(proowner, proacl, prosrc)::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', attrelid::regclass::text || '.' || attname, row(atttypid, attacl)::text FROM pg_attribute
WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def server(logs: Path) -> Iterator[Rds]:
    with running_rds(logs / "rds.log") as rds:
        yield rds


@pytest.fixture
def rds(server: Rds) -> Iterator[Rds]:
    """With the master's empty database, and none of our roles."""
    server.make_database()
    yield server
    server.clear()


@pytest.fixture
def aws(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Secrets Manager (moto's server)."""
    for name, value in aws_environment(s3_server).items():
        monkeypatch.setenv(name, value)
    with closing(boto3.Session().client("secretsmanager")) as client:
        yield client
        for secret in client.list_secrets()["SecretList"]:
            client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, to add to."""
    copy = shutil.copytree(SQL_FOLDER, tmp_path / "sql")
    monkeypatch.setattr(migrations, "SQL_FOLDER", copy)
    return copy


def as_master(rds: Rds) -> Report:
    return set_up(UrlLogin(rds.url()))


def state(rds: Rds) -> list[tuple[Any, ...]]:
    return execute(rds.url(), STATE)


def owners(rds: Rds) -> set[str]:
    return {name for (name,) in execute(rds.url(), OWNERS)}


def put_secret(aws: Any, name: str, **fields: str) -> str:
    return str(aws.create_secret(Name=name, SecretString=json.dumps(fields))["ARN"])


# What a new database becomes


def test_a_new_database_gets_roles_and_a_schema_that_the_owner_owns(rds: Rds) -> None:
    assert as_master(rds) == Report(roles=[OWNER, *LOGINS], databases=[], handed_over=0, applied=FILES)
    assert owners(rds) == {OWNER}
    login = dict(execute(rds.url(), "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname <> 'master'"))
    assert [login[name] for name in (OWNER, *LOGINS)] == [False, True, True, True, True]


def test_it_is_harmless_to_repeat(rds: Rds) -> None:
    as_master(rds)
    before = state(rds)
    assert as_master(rds) == NOTHING
    assert state(rds) == before


def test_four_at_once_do_not_hinder_each_other(rds: Rds) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(as_master, [rds] * 4))
    assert sorted(report.applied for report in done) == [[], [], [], FILES]
    assert sorted(len(report.roles) for report in done) == [0, 0, 0, 5]


def test_on_rds_the_roles_log_in_by_tokens_and_have_no_password(rds: Rds) -> None:
    as_master(rds)
    members = execute(
        rds.url(), "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'rds_iam'::regrole"
    )
    assert {name for (name,) in members} - {"rds_superuser"} == set(LOGINS)
    with_password = execute(rds.server.url, "SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL")
    assert with_password == [(MASTER,)]


def test_the_master_is_granted_no_role_that_logs_in_by_tokens(rds: Rds) -> None:
    # It would be a member of rds_iam then, and RDS would take its password no more.
    as_master(rds)
    granted = execute(
        rds.url(),
        "SELECT roleid::regrole::text FROM pg_auth_members"
        " WHERE member = %s::regrole AND grantor = member AND roleid <> 'rds_superuser'::regrole",
        MASTER,
    )
    assert granted == [(OWNER,)]


def test_where_there_is_no_rds_iam_roles_are_made_without_it(rds: Rds) -> None:
    rds.as_superuser("ALTER ROLE rds_iam RENAME TO elsewhere")
    try:
        assert as_master(rds).roles == [OWNER, *LOGINS]
    finally:
        rds.as_superuser("ALTER ROLE elsewhere RENAME TO rds_iam")


# What a later migration, and an earlier one, becomes


def test_a_later_migration_is_the_owners_and_nobody_elses(rds: Rds, folder: Path) -> None:
    as_master(rds)
    (folder / "9999_new.sql").write_text(
        "CREATE TABLE new (id integer); CREATE FUNCTION new() RETURNS integer RETURN 1"
    )
    assert as_master(rds) == Report(roles=[], databases=[], handed_over=0, applied=["9999_new.sql"])
    assert owners(rds) == {OWNER}
    for role in LOGINS[:3]:
        for statement in ("SELECT FROM new", "SELECT new()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                execute(rds.url(role), statement)
    assert execute(rds.url("retrain"), "SELECT new()") == [(1,)]


def test_privileges_that_are_not_written_down_are_taken_away(rds: Rds) -> None:
    as_master(rds)
    before = state(rds)
    rds.as_superuser(
        "GRANT SELECT ON schema_migrations TO PUBLIC",
        "GRANT SELECT (secret) ON keys TO housekeeping",
        "GRANT DELETE ON events TO api_write",
        "GRANT EXECUTE ON FUNCTION delete_user TO PUBLIC, api_read",
        database=SHOP,
    )
    assert state(rds) != before
    as_master(rds)
    assert state(rds) == before


def test_privileges_of_roles_that_are_not_ours_stay(rds: Rds) -> None:
    as_master(rds)
    rds.as_superuser("CREATE ROLE analyst", "GRANT SELECT ON events TO analyst", database=SHOP)
    as_master(rds)
    assert execute(rds.url(), "SELECT has_table_privilege('analyst', 'events', 'SELECT')") == [(True,)]


def test_what_the_master_migrated_itself_becomes_the_owners_with_all_that_is_in_it(rds: Rds) -> None:
    migrate(rds.url())
    load_first(rds.url())
    execute(rds.url(), "SELECT ensure_events_partition('2026-01-31')")
    assert owners(rds) == {MASTER}
    report = as_master(rds)
    assert report.handed_over > 20
    assert report.applied == []
    assert owners(rds) == {OWNER}
    assert execute(rds.url("api_read"), "SELECT count(*) > 100 FROM recommendations WHERE key = ''") != []
    assert execute(rds.url("retrain"), "SELECT name FROM versions") == [("first",)]
    assert as_master(rds) == NOTHING


def test_what_is_migrated_later_without_roles_becomes_the_owners_at_the_next_set_up(
    rds: Rds, folder: Path
) -> None:
    as_master(rds)
    (folder / "9999_new.sql").write_text("CREATE TABLE new (id integer)")
    assert migrate(rds.url()) == ["9999_new.sql"]
    assert as_master(rds).handed_over == 1
    assert owners(rds) == {OWNER}


def test_what_else_the_master_owns_stays_the_masters(rds: Rds) -> None:
    migrate(rds.url())
    rds.make_database("other")
    execute(rds.url(), "CREATE SCHEMA apart")
    execute(rds.url(), "CREATE TABLE apart.things (id integer)")
    execute(rds.url(database="other"), "CREATE TABLE things (id integer)")
    as_master(rds)
    apart = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'things'"
    assert execute(rds.url(), apart) == execute(rds.url(database="other"), apart) == [(MASTER,)]
    databases = execute(
        rds.url(),
        "SELECT datname FROM pg_database WHERE datdba = %s::regrole ORDER BY 1",
        MASTER,
    )
    assert databases == [("other",), (SHOP,)]


def test_a_table_of_the_masters_in_a_new_database_stays_the_masters(rds: Rds) -> None:
    execute(rds.url(), "CREATE TABLE things (id integer)")
    assert as_master(rds).handed_over == 0
    assert owners(rds) == {MASTER, OWNER}


# MLflow's database


def as_mlflow(rds: Rds, password: str, statement: str) -> list[tuple[Any, ...]]:
    return execute(rds.url("mlflow", "mlflow", password), statement)


@pytest.fixture
def environment(rds: Rds, aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the function has it: the master's secret, and MLflow's."""
    put_secret(aws, "shop/master", username=MASTER, password=PASSWORD)
    put_secret(aws, "shop/mlflow", username="mlflow", password=PASSWORD)
    monkeypatch.setenv("DATABASE_URL", f"host=localhost port={rds.server.port} dbname={SHOP}")
    monkeypatch.setenv("DATABASE_AUTH", "secret")
    monkeypatch.setenv("DATABASE_SECRET", "shop/master")
    monkeypatch.setenv("MLFLOW_DATABASE_SECRET", "shop/mlflow")


def test_the_function_sets_up_all_that_its_environment_names_and_tells_what_it_did(
    environment: None, rds: Rds, caplog: pytest.LogCaptureFixture
) -> None:
    assert handler({}, None) == {
        "roles": [*ROLES],
        "databases": ["mlflow"],
        "handed_over": 0,
        "applied": FILES,
    }
    assert FILES[0] in caplog.text
    assert handler({}, None) == NOTHING.document()
    as_mlflow(rds, PASSWORD, "CREATE TABLE runs (id integer)")
    for role in LOGINS:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            execute(rds.url(role, "mlflow"), "SELECT")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        execute(rds.url("mlflow", SHOP, PASSWORD), "SELECT")


def test_mlflow_gets_the_new_password_once_its_secret_has_changed(
    environment: None, rds: Rds, aws: Any
) -> None:
    handler({}, None)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        as_mlflow(rds, OTHER, "SELECT")
    secret = json.dumps({"username": "mlflow", "password": OTHER})
    aws.put_secret_value(SecretId="shop/mlflow", SecretString=secret)
    assert handler({}, None) == NOTHING.document()
    assert as_mlflow(rds, OTHER, "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        as_mlflow(rds, PASSWORD, "SELECT")


def test_no_password_is_sent_or_logged(
    environment: None, rds: Rds, logs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logs / "rds.log"
    rds.as_superuser("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    before = log.stat().st_size
    caplog.set_level("DEBUG")
    handler({}, None)
    rds.as_superuser("ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    logged = log.read_bytes()[before:].decode()
    assert "PASSWORD 'SCRAM-SHA-256$" in logged
    assert PASSWORD not in logged
    assert "set up:" in caplog.text
    assert PASSWORD not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("lambdas")
    )


def test_without_a_secret_mlflow_gets_no_database(rds: Rds) -> None:
    as_master(rds)
    assert execute(rds.url(), "SELECT FROM pg_database WHERE datname = 'mlflow'") == []
    assert execute(rds.url(), "SELECT FROM pg_roles WHERE rolname = 'mlflow'") == []


# What stops it


def failing(rds: Rds, told: str) -> None:
    """Nothing is as the set-up would have made it, and what was there is as it was."""
    before = state(rds)
    with pytest.raises(SetUpError, match=told):
        as_master(rds)
    assert state(rds) == before


def test_a_broken_migration_is_named_and_leaves_the_schema_as_it_was(rds: Rds, folder: Path) -> None:
    as_master(rds)
    (folder / "9998_good.sql").write_text("CREATE TABLE good (id integer)")
    (folder / "9999_broken.sql").write_text("CREATE TABLE half (id integer); SELECT 1/0;")
    failing(rds, r"^migrations: division by zero.* in 9999_broken\.sql; mend")
    (folder / "9999_broken.sql").unlink()
    assert as_master(rds).applied == ["9998_good.sql"]


def test_a_broken_migration_of_a_database_of_the_masters_hands_nothing_over(rds: Rds, folder: Path) -> None:
    migrate(rds.url())
    (folder / "9999_broken.sql").write_text("SELECT 1/0")
    with pytest.raises(SetUpError, match=r"9999_broken\.sql"):
        as_master(rds)
    assert owners(rds) == {MASTER}


def test_grants_on_what_is_not_there_apply_no_migration(
    rds: Rds, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_master(rds)
    (folder / "9999_new.sql").write_text("CREATE TABLE new (id integer)")
    grants = tmp_path / "grants.sql"
    grants.write_text("GRANT SELECT ON nwe TO api_read")
    monkeypatch.setattr(module, "GRANTS", grants)
    failing(rds, r'^grants: relation "nwe" does not exist.*mend grants\.sql')


@pytest.mark.parametrize("name", [OWNER, LOGINS[-1]])
def test_a_role_that_somebody_else_made_is_left_alone(rds: Rds, name: str) -> None:
    rds.as_superuser(f"CREATE ROLE {name} LOGIN")
    failing(
        rds, f"^roles: the role {name} exists, and was not made by this set-up: rename or drop it; if it is"
    )


def test_a_role_that_is_said_to_be_ours_is_taken(rds: Rds) -> None:
    execute(rds.url(), "CREATE ROLE api_read LOGIN")
    with pytest.raises(SetUpError) as told:
        as_master(rds)
    execute(rds.url(), str(told.value).partition("run: ")[2])
    assert as_master(rds).roles == [OWNER, *[name for name in LOGINS if name != "api_read"]]


def test_a_role_mlflow_that_somebody_else_made_keeps_its_password(environment: None, rds: Rds) -> None:
    rds.as_superuser(f"CREATE ROLE mlflow LOGIN PASSWORD '{OTHER}'", "CREATE DATABASE mlflow OWNER mlflow")
    with pytest.raises(SetUpError, match="^roles: the role mlflow exists"):
        handler({}, None)
    assert as_mlflow(rds, OTHER, "SELECT 1") == [(1,)]


def test_a_database_mlflow_of_somebody_elses_is_left_alone(environment: None, rds: Rds) -> None:
    rds.make_database("mlflow")
    with pytest.raises(SetUpError, match="the database mlflow exists and belongs to master: rename it"):
        handler({}, None)
    rds.as_superuser("DROP DATABASE mlflow")
    assert handler({}, None)["databases"] == ["mlflow"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"username": "admin", "password": PASSWORD}, "has the username 'admin': MLflow logs in as mlflow"),
        ({"username": "mlflow"}, "is no JSON object with `username` and `password`"),
        (None, "shop/mlflow cannot be read"),
    ],
)
def test_a_secret_of_mlflow_that_is_of_no_use_is_named(
    environment: None, rds: Rds, aws: Any, fields: dict[str, str] | None, told: str
) -> None:
    if fields is None:
        aws.delete_secret(SecretId="shop/mlflow", ForceDeleteWithoutRecovery=True)
    else:
        aws.put_secret_value(SecretId="shop/mlflow", SecretString=json.dumps(fields))
    with pytest.raises(SetUpError, match=f"^MLflow's database: .*{told}") as error:
        handler({}, None)
    assert PASSWORD not in str(error.value)
    assert owners(rds) == set()


def test_a_master_whose_password_is_wrong_is_told(environment: None, rds: Rds) -> None:
    rds.as_superuser(f"ALTER ROLE {MASTER} PASSWORD '{OTHER}'")
    try:
        with pytest.raises(
            SetUpError, match="^connection: .*password authentication failed .*see DATABASE_URL"
        ):
            handler({}, None)
    finally:
        rds.as_superuser(f"ALTER ROLE {MASTER} PASSWORD '{PASSWORD}'")


def test_a_master_who_may_make_no_roles_is_told_what_is_needed(rds: Rds) -> None:
    rds.as_superuser(f"ALTER ROLE {MASTER} NOCREATEROLE")
    try:
        failing(rds, "^roles: permission denied.*the user needs CREATEROLE")
    finally:
        rds.as_superuser(f"ALTER ROLE {MASTER} CREATEROLE")


def test_a_database_of_somebody_elses_is_left_alone(rds: Rds) -> None:
    rds.as_superuser(f"ALTER DATABASE {SHOP} OWNER TO postgres")
    failing(rds, f"^roles: the DATABASE {SHOP} belongs to postgres: connect as that one instead of {MASTER}")


def test_a_schema_of_somebody_elses_is_left_alone(rds: Rds) -> None:
    # As in a database that was made before Postgres 15, and upgraded since.
    rds.as_superuser("ALTER SCHEMA public OWNER TO postgres", database=SHOP)
    failing(rds, "^roles: the SCHEMA public belongs to postgres: .* run: ALTER SCHEMA public OWNER TO master")


def test_a_schema_that_somebody_else_migrated_is_left_alone(rds: Rds) -> None:
    rds.as_superuser("CREATE ROLE before LOGIN", "GRANT CREATE ON SCHEMA public TO before", database=SHOP)
    migrate(rds.url("before"))
    with pytest.raises(
        SetUpError, match="^ownership: .* migrated by the role before, .*run this once as before"
    ):
        as_master(rds)
    assert owners(rds) == {"before"}


def test_whoever_holds_a_table_for_long_stops_the_migrations_and_is_not_waited_for_for_ever(
    rds: Rds, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_master(rds)
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    (folder / "9999_new.sql").write_text("ALTER TABLE events ADD COLUMN new text")
    with psycopg.connect(rds.url("api_read")) as reader:
        reader.execute("SELECT FROM events")
        failing(
            rds,
            "^migrations: canceling statement due to lock timeout .*9999_new.sql; somebody else is at work",
        )
    assert as_master(rds).applied == ["9999_new.sql"]


def test_another_set_up_that_takes_too_long_is_told(rds: Rds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    with psycopg.connect(rds.url()) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (module._LOCK,))
        failing(rds, "^lock: .*somebody else is at work")


def test_a_postgres_that_is_too_old_is_told(rds: Rds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MINIMUM_VERSION", rds.version + 1)
    failing(rds, f"^connection: Postgres {rds.version} is too old: upgrade it to {rds.version + 1} or newer")


def test_where_postgres_refuses_the_password_a_token_is_tried(rds: Rds) -> None:
    report = set_up(UrlLogin(rds.url().replace(PASSWORD, OTHER)), otherwise=UrlLogin(rds.url()))
    assert report.roles == [OWNER, *LOGINS]


def test_where_the_token_is_refused_too_both_are_told(rds: Rds) -> None:
    wrong = UrlLogin(rds.url().replace(PASSWORD, OTHER))
    nowhere = UrlLogin(f"postgresql://{MASTER}@{LOOPBACK}:{free_port()}/{SHOP}")
    with pytest.raises(SetUpError, match="^connection: .*password authentication failed.*token.*refused"):
        set_up(wrong, otherwise=nowhere)


def test_the_token_is_for_whom_the_url_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("DATABASE_AUTH", "secret")
    monkeypatch.setenv("DATABASE_SECRET", "master")
    monkeypatch.setenv("DATABASE_CA", str(ROOT / "lambdas/rds_ca.pem"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@shop.rds.test:5432/shop?sslmode=verify-full")
    login = Settings().token_login()
    assert login is not None
    assert "DBUser=postgres" in login.conninfo()
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1")
    assert Settings().token_login() is None


def test_a_postgres_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(SetUpError, match="^connection: .*refused.*see DATABASE_URL"):
        set_up(UrlLogin(f"postgresql://{MASTER}@{LOOPBACK}:{free_port()}/{SHOP}"))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "database_url\n  Field required"),
        (
            {"DATABASE_URL": "host=localhost", "DATABASE_AUTH": "secret"},
            "DATABASE_SECRET has to name the secret",
        ),
        ({"DATABASE_URL": "host=db.test", "DATABASE_AUTH": "secret", "DATABASE_SECRET": "s"}, "verify-full"),
    ],
)
def test_settings_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=told):
        handler({}, None)


# The command


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lambdas.migrate_database", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_makes_roles_only_when_it_is_told_to(rds: Rds) -> None:
    plain = run(DATABASE_URL=rds.url())
    assert plain.stdout == "".join(f"applied {name}\n" for name in FILES)
    assert execute(rds.url(), "SELECT FROM pg_roles WHERE rolname = %s", OWNER) == []
    whole = run("--with-roles", "--database-url", rds.url())
    assert whole.stdout.splitlines()[:5] == [f"made the role {name}" for name in (OWNER, *LOGINS)]
    assert whole.stdout.splitlines()[5].startswith("handed over ")
    assert run("--with-roles", DATABASE_URL=rds.url()).stdout == "nothing to apply\n"


def test_the_command_tells_what_is_wrong(rds: Rds) -> None:
    rds.as_superuser("CREATE ROLE api_read")
    ended = run("--with-roles", DATABASE_URL=rds.url())
    assert ended.returncode == 1
    assert ended.stderr.startswith("the schema is as it was: roles: the role api_read exists")
