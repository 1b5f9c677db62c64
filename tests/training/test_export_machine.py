"""The export's plans as a state machine: writers come and go, exports crash anywhere, databases go back."""

import contextlib
import itertools
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.training.posted import ENSURE_TODAY, exported, post
from training import export_events as module
from training.events import read_events
from training.export_events import export_events
from training.storage import Folder

CRASHES = ("before", "after")


class CrashError(Exception):
    """As if the process had been killed there."""


class CrashingFolder(Folder):
    """A bucket that lets so many writes pass, then dies before or after the next one."""

    def __init__(self, uri: str, writes: int, when: str) -> None:
        super().__init__(uri)
        self.left, self.when = writes, when

    def _passes(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def write(self, key: str, data: bytes) -> None:
        passes = self._passes()
        if passes or self.when == "after":
            super().write(key, data)
        if not passes:
            raise CrashError

    def write_from(self, key: str, file: Path) -> None:
        passes = self._passes()
        if passes or self.when == "after":
            super().write_from(key, file)
        if not passes:
            raise CrashError


class ExportMachine(RuleBasedStateMachine):
    """Whatever happens: nothing that isn't committed is exported, and in the end each event once."""

    database: str
    root: Path
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.run = next(self.numbers)
        self.out = Folder(self.root / f"bucket-{self.run}")
        self.event_numbers = itertools.count()
        self.writers: dict[int, psycopg.Connection[tuple[Any, ...]]] = {}
        self.written: dict[int, set[tuple[str, str]]] = {}
        self.committed: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()
        self.deleted_users: set[str] = set()
        self.epochs = 1
        self.admin = psycopg.connect(self.database, autocommit=True)
        self.admin.execute("TRUNCATE events, event_exports, deleted_users")
        self.admin.execute(ENSURE_TODAY)

    @initialize()
    def first_export_of_nothing(self) -> None:
        assert export_events(self.database, self.out).manifests == ()

    @rule(writer=st.integers(0, 2), events=st.integers(1, 3), user=st.sampled_from("ab"))
    def write(self, writer: int, events: int, user: str) -> None:
        if writer not in self.writers:
            self.writers[writer] = psycopg.connect(self.database)
            self.written[writer] = set()
        ids = [f"e{next(self.event_numbers)}" for _ in range(events)]
        post(self.writers[writer], ids, user=user)
        self.written[writer] |= {(user, each) for each in ids}

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), commits=st.booleans())
    def end(self, data: st.DataObject, commits: bool) -> None:
        writer = data.draw(st.sampled_from(sorted(self.writers)))
        connection = self.writers.pop(writer)
        if commits:
            connection.commit()
            self.committed |= self.written[writer]
        connection.close()
        del self.written[writer]

    @rule()
    def export(self) -> None:
        export_events(self.database, self.out)

    @rule(writes=st.integers(0, 3), when=st.sampled_from(CRASHES))
    def export_and_crash(self, writes: int, when: str) -> None:
        with contextlib.suppress(CrashError):
            export_events(self.database, CrashingFolder(self.out.uri, writes, when))

    @rule()
    def crash_before_the_plan_is_marked(self) -> None:
        """The manifest is written, the process dies, the plan stays open."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_mark_as_done", _die)
            with contextlib.suppress(CrashError):
                export_events(self.database, self.out)

    @precondition(lambda self: self.epochs < 3)
    @rule()
    def forget_the_latest_export(self) -> None:
        """What a restored database does: then all that it has is exported once more."""
        self.admin.execute(
            "DELETE FROM event_exports WHERE number = (SELECT max(number) FROM event_exports) AND state = 'done'"
        )
        self.epochs += 1

    @rule(user=st.sampled_from("ab"))
    def delete_a_user(self, user: str) -> None:
        if any(user == each for written in self.written.values() for each, _ in written):
            return  # what others commit for them afterwards is theirs again
        self.admin.execute("SELECT delete_user(%s)", (user,))
        self.deleted |= {each for each in self.committed if each[0] == user}
        self.deleted_users.add(user)

    @invariant()
    def only_what_is_committed_is_exported(self) -> None:
        found = exported(self.out)
        assert set(found) <= self.committed
        assert max(found.values(), default=0) <= self.epochs

    @invariant()
    def at_most_one_plan_is_open(self) -> None:
        rows = self.admin.execute(
            "SELECT epoch, from_xid::text::bigint, to_xid::text::bigint FROM event_exports ORDER BY number"
        ).fetchall()
        for (epoch, _, end), (next_epoch, start, _) in itertools.pairwise(rows):
            assert start == (end if epoch == next_epoch else 0)

    def teardown(self) -> None:
        for connection in self.writers.values():
            connection.close()
        export_events(self.database, self.out)
        found = exported(self.out)
        left = self.committed - self.deleted
        assert left <= set(found) <= self.committed
        if self.epochs == 1:
            assert max(found.values(), default=0) <= 1
        assert export_events(self.database, self.out).manifests == ()
        assert self.admin.execute(
            "SELECT count(*) FROM event_exports WHERE state = 'planned'"
        ).fetchone() == (0,)
        never_deleted = {user for user, _ in left} - self.deleted_users
        if never_deleted:
            read = read_events(Folder(self.out.uri_of("events")))
            assert set(read["user_id"].to_pylist()) == never_deleted
        self.admin.close()


def _die(*_: Any) -> None:
    raise CrashError


def _run(database: str, root: Path, *, examples: int, steps: int) -> None:
    machine = type(
        "Machine", (ExportMachine,), {"database": database, "root": root, "numbers": itertools.count()}
    )
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase("runTest").runTest()


def test_exports_are_exact_whatever_happens(database: str, tmp_path: Path) -> None:
    _run(database, tmp_path, examples=15, steps=15)


@pytest.mark.slow
def test_exports_are_exact_whatever_happens_at_length(database: str, tmp_path: Path) -> None:
    _run(database, tmp_path, examples=400, steps=40)
