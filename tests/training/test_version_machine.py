"""Publish, load, activate, roll back, drop and retire in any order, with readers and crashes in between.

Hypothesis plays long games against a real Postgres and a model of a few lines; after every move it reads
what visitors read. What a crash leaves is not foretold but judged: each variant serves what it served
before or what it was moved to, and the next clean-up puts everything in order.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twin.postgres import create_database, drop_database

from contract.s3_layout import manifest_key
from lambdas.migrate_database.migrate import migrate
from tests.training.published import publish, rows_of
from training import database
from training.errors import DatabaseError, UserError, VersionError
from training.loader import load_version
from training.retirement import drop_version, retire_versions
from training.serving import Move, activate, list_versions, rollback
from training.storage import Folder

Result = TypeVar("Result")
Rows = list[tuple[str, str, list[str]]]

PICKS = st.integers(0, 7)
"""Of which version, see `Versions.picked`."""
VARIANTS = st.sampled_from(["default", "canary"])
BROKEN = "x"
"""A version whose manifest promises more lists than its files hold."""

CUTS = st.none() | st.integers(1, 10)
"""Before which of the statements that change something an action loses its connection; a load has ten."""

CHANGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "CREATE", "ALTER", "DROP", "ANALYZE")

SHORT_PATIENCE = 0.5
LONG_PATIENCE = 60.0
"""Seconds. While somebody reads, waiting is in vain; while nobody does, nothing may be left undone."""

SERVED = (
    "SELECT kind, key, item_ids FROM recommendations"
    " WHERE version = (SELECT version FROM serving WHERE variant = %s) ORDER BY kind, key"
)


def rows(version: str) -> Rows:
    """Every list of a version, as a reader gets them."""
    return sorted((row["kind"], row["key"], row["item_ids"]) for row in rows_of(version))


@dataclass
class Model:
    """What the database should hold."""

    states: dict[str, str] = field(default_factory=dict)
    """By name, newest first."""
    serving: dict[str, str] = field(default_factory=dict)
    moves: dict[str, list[str]] = field(default_factory=dict)
    """What each variant was moved to, oldest first, without versions that are gone."""

    def named(self, state: str) -> list[str]:
        return [name for name, each in self.states.items() if each == state]

    def add(self, name: str) -> None:
        self.states = {name: "ready"} | self.states

    def move(self, name: str, variant: str) -> None:
        if self.serving.get(variant) != name:
            self.serving[variant] = name
            self.moves.setdefault(variant, []).append(name)

    def before(self, variant: str) -> str | None:
        """What a rollback leads to: going back forgets what lay ahead."""
        way: list[str] = []
        for name in self.moves[variant]:
            way = way[: way.index(name)] if name in way else way
            way.append(name)
        return next((name for name in reversed(way[:-1]) if self.states[name] == "ready"), None)

    def forget(self, name: str) -> None:
        del self.states[name]
        self.moves = {
            variant: [each for each in moves if each != name] for variant, moves in self.moves.items()
        }


class Versions(RuleBasedStateMachine):
    """The actions, each with what the model expects of it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.folder = Path(tempfile.mkdtemp(prefix="versions-"))
        self.out = Folder(self.folder)
        self.published: list[str] = []
        self.model = Model()
        self.reader: psycopg.Connection[tuple[Any, ...]] | None = None
        self.reader_saw: dict[str, Rows] = {}
        self.eyes = psycopg.connect(url, autocommit=True)
        self.eyes.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        migrate(url)

    @initialize()
    def begin(self) -> None:
        publish(self.out, BROKEN)
        document = json.loads(self.out.read(manifest_key(BROKEN)))
        self.out.write(manifest_key(BROKEN), json.dumps(document | {"counts": {"personal": 9}}).encode())
        for _ in range(3):
            self.load(self.publish(), "default", is_activated=True)

    @rule(variant=VARIANTS, is_activated=st.booleans(), cut=CUTS)
    def load_a_new_one(self, variant: str, is_activated: bool, cut: int | None) -> None:
        self.load(self.publish(), variant, is_activated=is_activated, cut=cut)

    @rule(pick=PICKS, variant=VARIANTS, is_activated=st.booleans(), cut=CUTS)
    def load_any(self, pick: int, variant: str, is_activated: bool, cut: int | None) -> None:
        self.load(self.picked(pick), variant, is_activated=is_activated, cut=cut)

    @rule(is_cut=st.booleans())
    def load_and_crash_while_copying(self, is_cut: bool) -> None:
        """A cut is the server's doing, an interruption that of who sits at the keyboard."""

        def crash(_: int) -> None:
            if not is_cut:
                raise KeyboardInterrupt
            cut_all(self.url)

        name, served = self.publish(), self.model.serving
        with pytest.raises(DatabaseError if is_cut else KeyboardInterrupt):
            load_version(self.url, self.out, name, patience_seconds=self.patience_seconds, on_lists=crash)
        self.adopt(served, served)
        assert self.model.states[name] == "loading"

    @precondition(lambda self: not self.reader)
    @rule(variant=VARIANTS)
    def load_what_is_damaged(self, variant: str) -> None:
        def act() -> None:
            load_version(self.url, self.out, BROKEN, variant=variant)

        def expect() -> None:
            self.clean_up()
            raise VersionError("the manifest promises .*'personal': 9.* Postgres took 7")

        self.compare(act, expect)

    @rule(pick=PICKS, variant=VARIANTS, cut=CUTS)
    def activate(self, pick: int, variant: str, cut: int | None) -> None:
        name = self.picked(pick)
        self.compare(
            lambda: activate(self.url, name, variant), lambda: self.expect_move(name, variant), cut=cut
        )

    @rule(pick=st.none() | PICKS, variant=VARIANTS, cut=CUTS)
    def roll_back(self, pick: int | None, variant: str, cut: int | None) -> None:
        name = None if pick is None else self.picked(pick)

        def expect() -> None:
            if variant not in self.model.serving:
                told = ", ".join(sorted(self.model.serving)) or "no variant"
                raise VersionError(f"variant '{variant}' serves nothing; .*{told}")
            aim = name or self.model.before(variant)
            if aim is None:
                raise VersionError(
                    f"served no version before {self.model.serving[variant]} that is still there"
                )
            self.expect_move(aim, variant)

        self.compare(lambda: rollback(self.url, name, variant), expect, cut=cut)

    @rule(pick=PICKS, cut=CUTS)
    def drop(self, pick: int, cut: int | None) -> None:
        name = self.picked(pick, served_last=True)

        def expect() -> None:
            self.expect_known(name)
            variants = sorted(variant for variant, each in self.model.serving.items() if each == name)
            if variants:
                raise VersionError(f"version {name} is served as {', '.join(variants)}: move that elsewhere")
            self.model.states[name] = "dropping"
            self.clean_up()

        self.compare(
            lambda: drop_version(self.url, name, patience_seconds=self.patience_seconds), expect, cut=cut
        )

    @rule(keep=st.integers(0, 2), cut=CUTS)
    def retire(self, keep: int, cut: int | None) -> None:
        def expect() -> None:
            if not keep:
                raise VersionError("0 versions can't be kept: expected 1 or more")
            for name in self.model.named("ready")[keep:]:
                if name not in self.model.serving.values():
                    self.model.states[name] = "dropping"
            self.clean_up()

        self.compare(
            lambda: retire_versions(self.url, keep, patience_seconds=self.patience_seconds), expect, cut=cut
        )

    @precondition(lambda self: not self.reader)
    @rule()
    def begin_to_read(self) -> None:
        """A report, or a dump: its transaction stays open, and with it every table that it has seen."""
        self.reader = psycopg.connect(self.url)
        self.reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.reader_saw = {
            variant: self.reader.execute(SERVED, (variant,)).fetchall() for variant in self.model.serving
        }

    @precondition(lambda self: self.reader)
    @rule()
    def end_reading(self) -> None:
        assert self.reader
        self.reader.close()
        self.reader = None

    @invariant()
    def every_variant_serves_one_whole_version(self) -> None:
        for variant in ("default", "canary"):
            expected = self.model.serving.get(variant)
            assert self.eyes.execute(SERVED, (variant,)).fetchall() == (rows(expected) if expected else [])

    @invariant()
    def every_finished_version_is_whole_and_no_other_is_visible(self) -> None:
        found: dict[str, Rows] = {name: [] for name in self.model.named("ready")}
        for name, state, *row in self.eyes.execute(
            "SELECT name, state, kind, key, item_ids FROM recommendations JOIN versions ON number = version"
        ):
            assert state != "loading"
            if state == "ready":
                found[name].append(tuple(row))
        assert {name: sorted(lists) for name, lists in found.items()} == {name: rows(name) for name in found}

    @invariant()
    def the_database_holds_what_the_model_holds(self) -> None:
        infos = list_versions(self.url)
        assert {info.name: info.state for info in infos} == self.model.states
        assert [info.name for info in infos] == list(self.model.states)
        assert self.moves() == {variant: moves for variant, moves in self.model.moves.items() if moves}

    @invariant()
    def whoever_reads_goes_on_reading_the_same(self) -> None:
        if self.reader:
            for variant, saw in self.reader_saw.items():
                assert self.reader.execute(SERVED, (variant,)).fetchall() == saw

    @invariant()
    def no_table_is_without_a_version_and_no_lock_without_an_owner(self) -> None:
        of_versions = self.eyes.execute("SELECT 'recommendations_v' || number FROM versions").fetchall()
        assert self.tables() <= {name for (name,) in of_versions}
        assert (
            self.eyes.execute(
                "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
                " WHERE locktype = 'advisory' AND datname = current_database()"
            ).fetchall()
            == []
        )

    def teardown(self) -> None:
        """When the reader has left, one clean-up leaves nothing but ready versions."""
        try:
            if self.reader:
                self.reader.close()
            report = retire_versions(self.url, keep=99, patience_seconds=LONG_PATIENCE)
            infos = list_versions(self.url)
            assert (report.pending, {info.state for info in infos} - {"ready"}) == ((), set())
            assert self.tables() == {f"recommendations_v{info.number}" for info in infos}
        finally:
            self.eyes.close()
            shutil.rmtree(self.folder)

    # What the rules above have in common

    def publish(self) -> str:
        name = f"v{len(self.published)}"
        publish(self.out, name)
        self.published.append(name)
        return name

    def picked(self, pick: int, *, served_last: bool = False) -> str:
        """A version that is there, newest first; then one that is only published; then one that is not."""
        others = [name for name in self.published if name not in self.model.states]
        names = [*self.model.states, *others[-1:], "nowhere"]
        if served_last:
            names.sort(key=lambda name: name in self.model.serving.values())
        return names[pick % len(names)]

    def load(self, name: str, variant: str, *, is_activated: bool, cut: int | None = None) -> None:
        def act() -> None:
            load_version(
                self.url,
                self.out,
                name,
                variant=variant,
                activate=is_activated,
                patience_seconds=self.patience_seconds if self.model.named("dropping") else LONG_PATIENCE,
            )

        def expect() -> None:
            self.clean_up()
            if name in self.model.named("dropping"):
                raise VersionError(f"{name} is being dropped, and somebody still reads it")
            if name not in self.model.states:
                if name not in self.published:
                    raise VersionError(
                        f"{name}/manifest.json: there is no such version; there are: .*{BROKEN}"
                    )
                self.model.add(name)
            if is_activated:
                self.model.move(name, variant)

        self.compare(act, expect, cut=cut)

    @property
    def patience_seconds(self) -> float:
        return SHORT_PATIENCE if self.reader else LONG_PATIENCE

    def compare(
        self, act: Callable[[], object], expect: Callable[[], None], *, cut: int | None = None
    ) -> None:
        """Do it, and let the model do it: both succeed, or fail for the same reason."""
        before = self.model.serving.copy()
        expected = outcome(expect)
        with connection_cut_before(cut):
            found = outcome(act)
        if isinstance(found, DatabaseError):
            assert cut, f"nobody has cut the connection, but: {found}"
            self.adopt(before, self.model.serving)
            return
        if expected is None:
            assert found is None
        else:
            with pytest.raises(type(expected), match=str(expected)):
                raise found or AssertionError(f"no error; expected: {expected}")

    def expect_known(self, name: str) -> None:
        if name not in self.model.states:
            told = ", ".join(rf"{each} \({state}.*?\)" for each, state in self.model.states.items())
            raise VersionError(f"no version '{name}' in the database; there are.* {told or 'none'}")

    def expect_move(self, name: str, variant: str) -> None:
        self.expect_known(name)
        state = self.model.states[name]
        if state != "ready":
            raise VersionError(f"version {name} is {state}, only a ready one can be served; there are")
        self.model.move(name, variant)

    def clean_up(self) -> None:
        """What every load and every drop does first: what nobody can be reading goes."""
        for name in [*self.model.named("loading"), *self.model.named("dropping")]:
            if not (self.reader and self.is_attached(name)):
                self.model.forget(name)

    def is_attached(self, version: str) -> bool:
        found = self.eyes.execute(
            "SELECT 1 FROM pg_inherits JOIN versions ON inhrelid = to_regclass('recommendations_v' || number)"
            " WHERE name = %s",
            (version,),
        )
        return found.rowcount > 0

    def adopt(self, before: dict[str, str], after: dict[str, str]) -> None:
        """Take over what a crash has left, if it is one of the states that it may leave."""
        infos = list_versions(self.url)
        served = {variant: info.name for info in infos for variant in info.variants}
        assert served in (before, after)
        self.model = Model(
            states={info.name: info.state for info in infos}, serving=served, moves=self.moves()
        )
        for variant, name in served.items():
            assert self.model.states[name] == "ready"
            assert self.model.moves[variant][-1] == name

    def moves(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for variant, name in self.eyes.execute(
            "SELECT variant, name FROM serving_history JOIN versions ON number = version ORDER BY id"
        ):
            found.setdefault(variant, []).append(name)
        return found

    def tables(self) -> set[str]:
        found = self.eyes.execute(r"SELECT relname FROM pg_class WHERE relname ~ '^recommendations_v\d+$'")
        return {name for (name,) in found}


def outcome(act: Callable[[], object]) -> UserError | None:
    try:
        act()
    except UserError as error:
        return error
    return None


def cut_all(url: str) -> None:
    """End the connections of whoever loads or drops, and wait until the server has forgotten them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
            " WHERE application_name = %s AND datname = current_database()",
            (database.APPLICATION_NAME,),
        )


@contextmanager
def connection_cut_before(statement: int | None) -> Iterator[None]:
    """Let the server end the next connection before its nth statement that changes something."""
    if statement is None:
        yield
        return
    left = statement
    connect = database._connect

    class CuttingCursor(psycopg.Cursor[tuple[Any, ...]]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> "CuttingCursor":
            nonlocal left
            text = query if isinstance(query, str) else query.as_string(self)
            left -= text.startswith(CHANGES)
            if left == 0:
                cut_all(url)
            return super().execute(query, *arguments, **options)

    def connected(database_url: str) -> database.Connection:
        nonlocal url
        url = database_url
        connection = connect(database_url)
        connection.cursor_factory = CuttingCursor
        return connection

    url = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_connect", connected)
        yield


@pytest.fixture(scope="module")
def url(postgres_server: str) -> Iterator[str]:
    yield create_database(postgres_server, "version_machine")
    drop_database(postgres_server, "version_machine")


def test_a_statement_that_was_planned_before_a_version_came_is_let_finish(url: str, tmp_path: Path) -> None:
    """It knows nothing of the new version's lists, so that version may not be live when it begins to run."""
    out = Folder(tmp_path)
    publish(out, "a", "b")
    with ThreadPoolExecutor(2) as threads, psycopg.connect(url, autocommit=True) as holder:
        holder.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        migrate(url)
        load_version(url, out, "a")
        # The planner asks stable functions what they return: this one holds it up.
        holder.execute(
            "CREATE FUNCTION held_up(kind text) RETURNS text STABLE LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN kind; END $$"
        )
        holder.execute("SELECT pg_advisory_lock(1)")
        reading = threads.submit(read_popular, url)
        until(lambda: waiting(holder, "Lock") == 1)
        loading = threads.submit(load_version, url, out, "b")
        until(lambda: list_versions(url)[0].state == "ready")
        time.sleep(0.3)
        assert holder.execute("SELECT version FROM serving").fetchall() == [(1,)]
        holder.execute("SELECT pg_advisory_unlock(1)")
        assert reading.result(timeout=30) == ["a", "i1"]
        assert loading.result(timeout=30).move == Move(variant="default", version="b", previous="a")


def read_popular(url: str) -> list[str] | None:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT item_ids FROM recommendations WHERE version = (SELECT version FROM serving)"
            " AND kind = held_up('popular')"
        ).fetchone()
        return row and row[0]


def waiting(connection: database.Connection, what: str) -> int:
    return connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = %s AND datname = current_database()", (what,)
    ).rowcount


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def play(url: str, *, games: int, moves: int) -> None:
    run_state_machine_as_test(
        lambda: Versions(url),
        settings=settings(
            max_examples=games,
            stateful_step_count=moves,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_versions_can_be_trusted_whatever_is_done_to_them(url: str) -> None:
    play(url, games=5, moves=25)


@pytest.mark.slow
def test_versions_can_be_trusted_whatever_is_done_to_them_for_long(url: str) -> None:
    play(url, games=150, moves=40)
