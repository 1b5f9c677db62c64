"""What is done every few minutes, against a real Postgres and, where there is one, a real pushgateway."""

import datetime as dt
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lambda_executor import Function
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
from pydantic import SecretStr
from twin.errors import MissingProgramError
from twin.monitoring import running_pushgateway
from twin.processes import free_port

from contract.recommendation_id import KEY_PURPOSE
from lambdas.deadline import within
from lambdas.documents import DocumentError, read_json
from lambdas.housekeeping.gateway import Gateway, GatewayError, Group
from lambdas.housekeeping.run import Report, Run
from lambdas.housekeeping.settings import Settings
from lambdas.housekeeping.stale_groups import delete_stale
from lambdas.recommendations_api.pusher import JOB
from lambdas.recommendations_api.settings import Settings as ApiSettings
from tests.lambdas.servers import black_hole, fake_gateway
from tests.lambdas.versions import AS_OF, NOW, execute, load_version, make_live
from training.export_events import export_events
from training.storage import Folder

ROOT = Path(__file__).parents[2]
DATABASE_PARTS = [
    "database",
    "partitions",
    "key",
    "live_since",
    "version_age",
    "event_age",
    "partitions_ahead",
    "key_age",
    "unexported_age",
    "attribution",
    "attributed",
]
LAST_SUCCESS = "shop_housekeeping_last_success_timestamp_seconds"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    """The URL of a real pushgateway."""
    try:
        with running_pushgateway(log=tmp_path / "pushgateway.log") as url:
            yield url
    except MissingProgramError as error:
        pytest.skip(str(error))


def settings(database: str, **values: Any) -> Settings:
    usual: dict[str, Any] = {"database_url": SecretStr(database), "gateway_timeout_seconds": 10}
    return Settings(**{**usual, **values})


def run(database: str, **values: Any) -> Report:
    return Run(settings(database, **values))()


def measured(report: Report) -> dict[str, Any]:
    return {
        name.removeprefix("shop_housekeeping_"): value
        for name, value in report.document()["measures"].items()
    }


def today(database: str) -> dt.date:
    ((day,),) = execute(database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    assert isinstance(day, dt.date)
    return day


def partitions(database: str) -> list[str]:
    rows = execute(
        database,
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
        " WHERE inhparent = 'events'::regclass ORDER BY 1",
    )
    return [name for (name,) in rows]


def receive(database: str, day: dt.date, user: str = "u", *, hours_ago: float = 0) -> None:
    execute(database, "SELECT ensure_events_partition(%s)", day)
    execute(
        database,
        'INSERT INTO events (received_on, user_id, item_id, event_type, "timestamp", received_at)'
        " VALUES (%s, %s, 'i', 'view', 1, now() - %s)",
        day,
        user,
        dt.timedelta(hours=hours_ago),
    )


def push(url: str, job: str, key: dict[str, str], value: float = 1) -> None:
    registry = CollectorRegistry()
    Gauge("shop_test", "Of a test.", registry=registry).set(value)
    push_to_gateway(url, job, registry, grouping_key=key, timeout=10)


def groups(url: str) -> list[dict[str, str]]:
    return [dict(group.labels) for group in Gateway(url, timeout=10).groups()]


def exposed(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        return str(response.read().decode())


def own_values(url: str) -> dict[str, float]:
    """What the group of housekeeping shows, by name, of families with one sample."""
    (own,) = [
        group
        for group in Gateway(url, timeout=10).groups(LAST_SUCCESS)
        if group.labels == {"job": "housekeeping"}
    ]
    return dict(own.values)


def test_partitions_are_there_from_today_to_a_week_ahead(database: str) -> None:
    report = run(database)
    first = today(database)
    days = [first + dt.timedelta(days=number) for number in range(8)]
    assert report.partitions == [day.isoformat() for day in days]
    assert partitions(database) == [f"events_{day:%Y%m%d}" for day in days]
    assert measured(report)["partitions_ahead_days"] == 7
    assert report.failed == []


def test_a_second_run_changes_nothing(database: str) -> None:
    first = run(database)
    before = partitions(database)
    second = run(database)
    assert partitions(database) == before
    assert (second.key, second.partitions, second.failed) == (first.key, first.partitions, [])


def test_a_gap_between_partitions_ends_what_is_ready(database: str) -> None:
    run(database)
    execute(database, f"DROP TABLE events_{today(database) + dt.timedelta(days=3):%Y%m%d}")
    # Partitions can't be made, so that the gap stays.
    execute(database, "ALTER FUNCTION ensure_events_partition RENAME TO renamed")
    report = run(database)
    assert measured(report)["partitions_ahead_days"] == 2
    execute(database, f"DROP TABLE events_{today(database):%Y%m%d}")
    assert measured(run(database))["partitions_ahead_days"] == -1


def test_a_part_that_fails_keeps_no_other_from_running(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, "ALTER FUNCTION ensure_events_partition RENAME TO renamed")
    report = run(database)
    assert report.failed == ["partitions"]
    assert report.key is not None
    assert {"database_reachable", "key_age_seconds", "unexported_age_days"} <= measured(report).keys()
    assert "the part partitions failed" in caplog.text


def test_a_key_is_replaced_once_it_is_old_and_the_one_before_stays(database: str) -> None:
    first = run(database).key
    assert run(database).key == first
    execute(database, "UPDATE keys SET made_at = now() - interval '6 days'")
    report = run(database)
    assert report.key == first
    assert measured(report)["key_age_seconds"] == pytest.approx(6 * 86_400, abs=600)
    execute(database, "UPDATE keys SET made_at = now() - interval '7 days 1 minute'")
    report = run(database)
    assert report.key != first
    assert measured(report)["key_age_seconds"] < 600
    rows = execute(database, "SELECT id FROM keys WHERE purpose = %s ORDER BY made_at DESC", KEY_PURPOSE)
    assert [key for (key,) in rows] == [report.key, first]


def test_the_age_of_each_variants_version_is_told_at_the_moment_that_counts_as_now(database: str) -> None:
    load_version(database, "first")
    load_version(database, "second", variant=None, as_of=(AS_OF - dt.timedelta(days=2)).isoformat())
    make_live(database, "second", "other", 0.1)
    told = measured(run(database, as_of=NOW))
    assert told["version_age_seconds{default}"] == 12 * 3600
    assert told["version_age_seconds{other}"] == 60 * 3600
    clock = Run(settings(database), clock=lambda: NOW.timestamp() + 60)
    assert measured(clock())["version_age_seconds{default}"] == 12 * 3600 + 60


@pytest.mark.parametrize("as_of", ["yesterday", "2026-01-01T00:00:00", ""])
def test_a_manifest_that_does_not_tell_its_moment_fails_that_part_alone(database: str, as_of: str) -> None:
    load_version(database, "first")
    execute(
        database, "UPDATE versions SET manifest = jsonb_set(manifest, '{as_of}', to_jsonb(%s::text))", as_of
    )
    report = run(database)
    assert report.failed == ["version_age"]
    assert report.key is not None


def test_the_latest_event_received_counts_on_whatever_day(database: str) -> None:
    assert "event_age_seconds" not in measured(run(database))
    receive(database, today(database) - dt.timedelta(days=3), hours_ago=72)
    receive(database, today(database) - dt.timedelta(days=2), hours_ago=48)
    assert measured(run(database))["event_age_seconds"] == pytest.approx(48 * 3600, abs=600)


def test_days_count_as_unexported_until_a_done_export_covers_them(database: str, tmp_path: Path) -> None:
    assert measured(run(database))["unexported_age_days"] == 0
    for days in (4, 2, 0):
        receive(database, today(database) - dt.timedelta(days=days), user=f"of {days}")
    assert measured(run(database))["unexported_age_days"] == 4
    export_events(database, Folder(str(tmp_path)))
    assert measured(run(database))["unexported_age_days"] == 0
    receive(database, today(database) - dt.timedelta(days=2), user="late")
    assert measured(run(database))["unexported_age_days"] == 2
    # As a crash leaves it: a plan that nobody has carried out.
    execute(database, "UPDATE event_exports SET state = 'planned'")
    assert measured(run(database))["unexported_age_days"] == 4


def test_exports_of_another_system_cover_nothing(database: str, tmp_path: Path) -> None:
    receive(database, today(database) - dt.timedelta(days=1))
    export_events(database, Folder(str(tmp_path)))
    execute(database, "UPDATE event_exports SET system_identifier = '1'")
    assert measured(run(database))["unexported_age_days"] == 1


def test_a_plan_of_a_new_epoch_takes_back_what_the_old_one_covered(database: str, tmp_path: Path) -> None:
    receive(database, today(database) - dt.timedelta(days=1))
    export_events(database, Folder(str(tmp_path)))
    execute(
        database,
        "INSERT INTO event_exports (system_identifier, epoch, from_xid, to_xid, days)"
        " SELECT system_identifier, 'ffffffff', '0', to_xid, days FROM event_exports",
    )
    assert measured(run(database))["unexported_age_days"] == 1


def test_without_a_database_it_says_so_and_still_deletes_groups(
    gateway: str, caplog: pytest.LogCaptureFixture
) -> None:
    push(gateway, JOB, {"instance": "gone"})
    soon = dt.datetime.now(dt.UTC).timestamp() + 3600
    url = f"postgresql://nobody:secret-of-a-test@127.0.0.1:{free_port()}/nothing"
    report = Run(settings(url, pushgateway_url=gateway), clock=lambda: soon)()
    assert report.failed == DATABASE_PARTS
    assert report.groups_deleted == 1
    assert measured(report) == {"database_reachable": 0}
    text = exposed(gateway)
    assert 'shop_housekeeping_database_reachable{instance="",job="housekeeping"} 0' in text
    assert 'shop_housekeeping_part_failed{instance="",job="housekeeping",part="key"} 1' in text
    assert 'shop_housekeeping_part_failed{instance="",job="housekeeping",part="stale_groups"} 0' in text
    assert LAST_SUCCESS not in text
    assert "secret-of-a-test" not in caplog.text


def test_a_database_that_never_answers_holds_up_one_part_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with black_hole() as hole:
        url = f"postgresql://nobody@{hole.removeprefix('http://')}/nothing"
        report = run(url, connect_timeout_seconds=2)
    assert report.failed == DATABASE_PARTS
    assert caplog.text.count("the database could not be reached a moment ago") >= len(DATABASE_PARTS) - 1


def test_only_groups_of_environments_that_are_gone_are_deleted(database: str, gateway: str) -> None:
    odd = [{"instance": "i1"}, {"instance": "a/b c+ü"}, {"instance": 'a"\\\n{}b'}]
    others = [
        ("load", {}),
        (JOB, {}),
        ("load", {"instance": "i1"}),
        (JOB, {"instance": "i1", "zone": "a"}),
        ("other", {}),
    ]
    for key in odd:
        push(gateway, JOB, key)
    for job, key in others:
        push(gateway, job, key)
    pushed_at = max(group.pushed_at for group in Gateway(gateway, timeout=10).groups())

    report = Run(settings(database, pushgateway_url=gateway), clock=lambda: pushed_at + 14 * 60)()
    assert (report.groups_deleted, report.failed) == (0, [])

    report = Run(settings(database, pushgateway_url=gateway), clock=lambda: pushed_at + 15 * 60 + 1)()
    assert (report.groups_deleted, report.failed) == (3, [])
    expected = [{"job": job, **key} for job, key in [*others, ("housekeeping", {})]]
    assert sorted(map(repr, map(sorted, map(dict.items, groups(gateway))))) == sorted(
        map(repr, map(sorted, map(dict.items, expected)))
    )


def test_a_group_that_is_still_pushed_stays_among_those_that_are_gone(database: str, gateway: str) -> None:
    push(gateway, JOB, {"instance": "gone"})
    push(gateway, JOB, {"instance": "here"})
    pushed_at = {group.labels["instance"]: group.pushed_at for group in Gateway(gateway, timeout=10).groups()}
    assert pushed_at["gone"] < pushed_at["here"]
    between = (pushed_at["gone"] + pushed_at["here"]) / 2
    report = Run(settings(database, pushgateway_url=gateway), clock=lambda: between + 15 * 60)()
    assert report.groups_deleted == 1
    assert [group["instance"] for group in groups(gateway) if group["job"] == JOB] == ["here"]


def test_when_a_run_succeeded_last_outlives_runs_that_fail(database: str, gateway: str) -> None:
    Run(settings(database, pushgateway_url=gateway), clock=lambda: 1_000_000_000)()
    assert own_values(gateway)[LAST_SUCCESS] == 1_000_000_000
    execute(database, "ALTER FUNCTION rotate_key RENAME TO renamed")
    failed = Run(settings(database, pushgateway_url=gateway), clock=lambda: 1_000_000_300)()
    assert failed.failed == ["key"]
    assert own_values(gateway)[LAST_SUCCESS] == 1_000_000_000
    execute(database, "ALTER FUNCTION renamed RENAME TO rotate_key")
    Run(settings(database, pushgateway_url=gateway), clock=lambda: 1_000_000_600)()
    assert own_values(gateway)[LAST_SUCCESS] == 1_000_000_600


def test_the_group_is_replaced_so_that_nothing_old_stays(database: str, gateway: str) -> None:
    load_version(database, "first")
    run(database, pushgateway_url=gateway)
    assert "shop_housekeeping_version_age_seconds{" in exposed(gateway)
    execute(database, "DELETE FROM serving")
    run(database, pushgateway_url=gateway)
    assert "shop_housekeeping_version_age_seconds{" not in exposed(gateway)


def test_a_gateway_that_is_down_fails_its_parts_alone(database: str) -> None:
    report = run(database, pushgateway_url=f"http://127.0.0.1:{free_port()}")
    assert report.failed == ["stale_groups", "push"]
    assert len(report.partitions) == 8


def test_a_gateway_that_never_answers_is_given_its_timeout(database: str) -> None:
    with black_hole() as url:
        report = run(database, pushgateway_url=url, gateway_timeout_seconds=0.2)
    assert report.failed == ["stale_groups", "push"]


def test_a_group_that_cannot_be_deleted_keeps_no_other_from_it() -> None:
    class Picky(Gateway):
        deleted: list[str] = []  # noqa: RUF012

        def delete(self, labels: Any) -> None:
            if labels["instance"] == "..":
                raise GatewayError("no")
            self.deleted.append(labels["instance"])

    gateway = Picky("http://127.0.0.1:1", timeout=1)
    stale = [Group({"job": JOB, "instance": name}, 0.0, {}) for name in ("a", "..", "b")]
    with pytest.raises(GatewayError, match="1 of 3"):
        delete_stale(gateway, stale, before=1, seconds=60)
    assert gateway.deleted == ["a", "b"]
    gateway.deleted.clear()
    assert delete_stale(gateway, stale, before=1, seconds=0) == 0, "no time: left for the next run"
    assert gateway.deleted == []


def test_what_is_no_pushgateway_is_told_apart(s3_server: str) -> None:
    with fake_gateway() as other, pytest.raises(GatewayError, match="the answer was 501"):
        Gateway(other.url, timeout=10).groups()
    with pytest.raises(GatewayError):
        Gateway(s3_server, timeout=10).groups()


def test_waiting_ends_and_what_failed_meanwhile_is_told() -> None:
    with black_hole() as url, pytest.raises(DocumentError):
        read_json(url, timeout=0.2)
    assert within(10, lambda: "done") == "done"
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 / 0)


def test_environments_rest_no_longer_than_groups_are_kept() -> None:
    """Defaults that belong together: whoever comes back later must come back as another.

    Also where the gateway's clock is four minutes behind housekeeping's.
    """
    skew = 4 * 60
    rest = ApiSettings.model_fields["push_rest_seconds"].default
    interval = ApiSettings.model_fields["push_interval_seconds"].default
    assert rest + interval + skew < Settings.model_fields["stale_group_minutes"].default * 60


def test_by_hand_it_runs_once_and_prints_what_it_did(database: str) -> None:
    ended = command(DATABASE_URL=database)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["failed"] == []
    execute(database, "ALTER FUNCTION rotate_key RENAME TO renamed")
    ended = command(DATABASE_URL=database)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["failed"] == ["key"]
    assert "the part key failed" in ended.stderr


def test_by_hand_without_a_database_url_it_says_what_is_missing() -> None:
    ended = command()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "database_url" in ended.stderr
    assert "Traceback" not in ended.stderr


def command(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "lambdas.housekeeping"],
        cwd=ROOT,
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_under_the_real_runtime_client_an_invocation_fails_where_a_part_does(
    database: str, gateway: str, tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": database, "PUSHGATEWAY_URL": gateway, "GATEWAY_TIMEOUT_SECONDS": "10"}
    with Function(
        handler="lambdas.housekeeping.handler.handler",
        code=ROOT,
        environment=environment,
        log_file=tmp_path / "log",
        stop_grace=10,
    ) as function:
        answer = function.invoke(json.dumps({"source": "aws.events"}).encode())
        assert not answer.is_error
        assert json.loads(answer.payload)["failed"] == []
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("ALTER FUNCTION rotate_key RENAME TO renamed")
        answer = function.invoke(b"{}")
        assert answer.is_error
        assert json.loads(answer.payload)["errorMessage"] == "failed: key"
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert [line["failed"] for line in told if line["message"] == "housekeeping"] == [[], ["key"]]
