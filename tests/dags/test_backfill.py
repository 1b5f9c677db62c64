"""What the DAG `backfill` does, without Airflow."""

import json

import pytest
from tasks.backfill import Understanding, import_history
from tasks.deployment import Deployment

from tests.dags.deployments import deployment as deployment_of
from training.errors import BadInputError, TooLittleDataError
from training.events import read_events
from training.storage import Folder

EVENTS = b"""buyer,item_id,event_type,timestamp
u1,i1,seen,2025-01-01T00:00:00Z
u1,i1,purchase,2025-01-01T01:00:00Z
,i2,purchase,2025-01-01T02:00:00Z
u2,i2,purchase,2025-01-03T00:00:00Z
"""
ITEMS = b"item_id,category_id,available\ni1,c1,true\ni2,c1,false\n"
HOW = Understanding(
    columns={"buyer": "user_id"}, event_types={"seen": "view"}, max_bad_share=0.5, allow_empty_days=True
)


@pytest.fixture
def deployment(bucket: str) -> Deployment:
    """With history and a catalogue in its bucket."""
    made = deployment_of(events_uri=f"s3://{bucket}")
    made.events.write("backfill/2025/events.csv", EVENTS)
    made.events.write("backfill/items.csv", ITEMS)
    return made


def test_history_comes_to_where_the_training_reads_it(deployment: Deployment) -> None:
    told = import_history(
        deployment, sources=["backfill/2025/"], catalogue=["backfill/items.csv"], understanding=HOW
    )
    assert (told["rows"], told["events"], told["users"], told["items"]) == (4, 3, 2, 2)
    assert told["rejected"] == {"missing": 1}
    assert told["event_types"] == {"purchase": 2, "view": 1}
    assert (told["first"], told["last"]) == ("2025-01-01T00:00:00.000Z", "2025-01-03T00:00:00.000Z")
    assert "'seen' is view (--event-type)" in told["report"]
    assert deployment.events.exists(f"catalogue/{told['catalogue']}/manifest.json")
    assert deployment.events.exists(told["rejected_file"])
    assert len(read_events(Folder(deployment.events.uri_of("events")))) == 3
    assert json.loads(json.dumps(told)) == told


def test_the_same_history_again_is_the_same_files(deployment: Deployment) -> None:
    sources = [deployment.events.uri_of("backfill/2025/events.csv")]
    first = import_history(deployment, sources=sources, understanding=HOW)
    before = {key: deployment.events.read(key) for key in deployment.events.list("events/")}
    assert import_history(deployment, sources=sources, understanding=HOW) == first
    assert {key: deployment.events.read(key) for key in deployment.events.list("events/")} == before
    assert first["catalogue"] is None


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        (["backfill/lost.csv"], r"backfill/lost\.csv: there is no such file or folder"),
        (["backfill/2026/"], r"backfill/2026: there is no such file or folder"),
        (["/etc/shop.csv"], r"'/etc/shop\.csv': expected s3://… or a key in s3://"),
        (["https://shop.example/events.csv"], r"expected s3://… or a key in s3://"),
        (["s3://no-such-bucket/events.csv"], r"s3://no-such-bucket/events\.csv: "),
        ([""], "expected s3://… or a key"),
        ([], "no source was named"),
        (["backfill/items.csv"], "items"),
    ],
)
def test_sources_that_cannot_be_used_are_named(
    deployment: Deployment, sources: list[str], problem: str
) -> None:
    with pytest.raises(BadInputError, match=problem):
        import_history(deployment, sources=sources, understanding=HOW)
    assert list(deployment.events.list("events/")) == []


def test_more_than_the_worker_has_room_for_is_refused_at_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(BadInputError, match=r"1 files have \d+ bytes, and this worker has room for 100"):
        import_history(deployment, sources=["backfill/2025/"], understanding=HOW)


def test_what_the_import_demands_is_demanded_here(deployment: Deployment) -> None:
    with pytest.raises(BadInputError, match="bad"):
        import_history(
            deployment, sources=["backfill/2025/"], understanding=Understanding(columns=HOW.columns)
        )
    strict = Understanding(columns=HOW.columns, max_bad_share=0.5)
    with pytest.raises(TooLittleDataError, match="2025-01-02"):
        import_history(deployment, sources=["backfill/2025/"], understanding=strict)
    assert list(deployment.events.list("events/manifests/")) == []


def test_a_format_that_is_not_known_is_told(deployment: Deployment) -> None:
    with pytest.raises(BadInputError, match="'excel' is not known: expected one of auto, native"):
        import_history(
            deployment, sources=["backfill/2025/"], understanding=Understanding(file_format="excel")
        )
