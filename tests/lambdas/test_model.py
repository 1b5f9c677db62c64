"""What answers, and how much is stored."""

import datetime as dt
from typing import Any

import pytest
from pydantic import SecretStr

from contract.recommendations import lists_counts
from lambdas.recommendations_api import stats
from tests.lambdas.callers import Api, event, proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.test_bad_input import check_problem
from tests.lambdas.test_openapi import check
from tests.lambdas.versions import AS_OF, HOUR, NOW_MS, execute, load_version

METRICS = {
    "batch": {
        "served": {"users": 10, "precision@10": 0.1, "recall@10": 0.25, "ndcg@10": 0.3},
        "popular": {"users": 10, "precision@10": 0.05, "recall@10": 0.125},
        "recent_popular": {"users": 10, "precision@10": 0.06, "recall@10": 0.13},
    },
    "session": {"served": {"users": 8, "precision@10": 0.2, "recall@10": 0.5}},
}
COUNTS = {"events": 5, "users": 2, "items": 3, **lists_counts({"personal": 2})}


def model(api: Api) -> dict[str, Any]:
    answer = api.get("/v1/model")
    assert answer.status == 200, answer.document
    document: dict[str, Any] = answer.document
    return document


def told_stats(api: Api) -> dict[str, Any]:
    answer = api.get("/v1/stats")
    assert answer.status == 200, answer.document
    document: dict[str, Any] = answer.document
    return document


def today(database: str) -> dt.date:
    ((day,),) = execute(database, "SELECT (now() AT TIME ZONE 'UTC')::date")
    assert isinstance(day, dt.date)
    return day


def receive(database: str, *, days_ago: int, events: int = 1) -> None:
    """Events as of an earlier day of receipt."""
    day = f"(now() AT TIME ZONE 'UTC')::date - {days_ago}"
    execute(database, f"SELECT ensure_events_partition({day})")
    execute(
        database,
        "INSERT INTO events (received_on, user_id, item_id, event_type, timestamp)"
        f" SELECT {day}, 'u', 'i' || n, 'view', {NOW_MS} - n FROM generate_series(1, %s) AS n",
        events,
    )


def test_the_version_that_answers_tells_what_it_was_trained_on_and_how_good_it_was(
    api: Api, database: str
) -> None:
    load_version(
        database,
        "v",
        created_at="2026-01-31T01:00:00Z",
        training_window={"from": "2025-11-01T00:00:00Z", "to": "2026-01-30T23:59:00Z"},
        metrics=METRICS,
        counts=COUNTS,
    )
    execute(database, "UPDATE serving SET moved_at = '2026-01-31T02:00:00Z'")
    assert model(api) == {
        "generated_at": "2026-01-31T12:00:00.000Z",
        "variants": [
            {
                "variant": "default",
                "share": 1.0,
                "served_since": "2026-01-31T02:00:00.000Z",
                "model_version": "v",
                "as_of": AS_OF.isoformat(),
                "age_seconds": 12 * 3600.0,
                "created_at": "2026-01-31T01:00:00Z",
                "training_window": {"from": "2025-11-01T00:00:00Z", "to": "2026-01-30T23:59:00Z"},
                "counts": COUNTS,
                "metrics": {
                    "batch": {
                        "served": {"users": 10, "precision@10": 0.1, "recall@10": 0.25},
                        "popular": {"users": 10, "precision@10": 0.05, "recall@10": 0.125},
                    },
                    "session": {"served": {"users": 8, "precision@10": 0.2, "recall@10": 0.5}},
                },
            }
        ],
    }


def test_each_variant_is_told_with_its_version_and_share(api: Api, database: str) -> None:
    load_version(database, "old")
    load_version(database, "new", variant="b")
    load_version(database, "spare", variant=None)
    execute(database, "UPDATE serving SET share = CASE variant WHEN 'b' THEN 0.1 ELSE 0.9 END")
    told = [(each["variant"], each["model_version"], each["share"]) for each in model(api)["variants"]]
    assert told == [("b", "new", 0.1), ("default", "old", 0.9)]


def test_the_age_is_told_by_the_clock_of_the_service(make_api: MakeApi, database: str) -> None:
    load_version(database, "v")
    later = make_api(as_of=AS_OF + dt.timedelta(days=3))
    assert model(later)["variants"][0]["age_seconds"] == 3 * 86_400
    assert model(later)["generated_at"] == "2026-02-03T00:00:00.000Z"


def test_a_switch_to_another_version_shows_in_the_next_answer(api: Api, database: str) -> None:
    load_version(database, "one")
    assert model(api)["variants"][0]["model_version"] == "one"
    load_version(database, "two")
    assert model(api)["variants"][0]["model_version"] == "two"


def test_without_a_version_there_is_no_model(shared_empty_api: Api) -> None:
    answer = shared_empty_api.get("/v1/model")
    check_problem(answer, 503, "no-version")
    assert int(answer.headers["retry-after"]) > 0


def test_a_manifest_of_other_code_is_a_problem(api: Api, database: str) -> None:
    load_version(database, "v")
    execute(database, """UPDATE versions SET manifest = manifest || '{"schema_version": 99}'""")
    for target in ("/v1/model", "/v1/stats"):
        check_problem(api.get(target), 503, "unreadable-version")


@pytest.mark.parametrize("target", ["/v1/model", "/v1/stats"])
def test_bad_input_and_a_lost_database_get_problems(shared_api: Api, make_api: MakeApi, target: str) -> None:
    check_problem(shared_api.get(f"{target}?version=first"), 400, "unknown-parameter")
    check_problem(shared_api.send(proxy_event("POST", target)), 405, "method-not-allowed")
    check_problem(shared_api.get(f"{target}/first"), 404, "not-found")
    nowhere = make_api(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
    answer = nowhere.get(target)
    check_problem(answer, 503, "database-unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_an_empty_database_has_nothing_and_says_so(shared_empty_api: Api) -> None:
    document = told_stats(shared_empty_api)
    day = document["partitions"].pop("today")
    assert dt.date.fromisoformat(day)
    assert document == {
        "generated_at": "2026-01-31T12:00:00.000Z",
        "model_version": None,
        "trained_on": None,
        "catalogue": {"items": {"count": 0, "is_estimate": False}, "version": None, "as_of": None},
        "events": {"stored": {"count": 0, "is_estimate": False}, "by_day": [], "latest": None},
        "partitions": {"ready_until": None, "days_ahead": 0},
    }


def test_small_numbers_are_counted(api: Api, database: str) -> None:
    load_version(database, "v", counts=COUNTS)
    execute(database, "INSERT INTO items (item_id) VALUES ('a'), ('b')")
    execute(database, "INSERT INTO catalogues VALUES ('old', '2026-01-01Z', '2026-01-02Z')")
    execute(database, "INSERT INTO catalogues VALUES ('new', '2026-01-30Z', '2026-01-31Z')")
    receive(database, days_ago=2, events=3)
    api.post_events(event("u", "a", timestamp=NOW_MS - HOUR), event("v", "a", timestamp=NOW_MS))
    day = today(database)
    document = told_stats(api)
    assert (document["model_version"], document["trained_on"]) == ("v", COUNTS)
    assert document["catalogue"] == {
        "items": {"count": 2, "is_estimate": False},
        "version": "new",
        "as_of": "2026-01-30T00:00:00.000Z",
    }
    assert document["events"]["stored"] == {"count": 5, "is_estimate": False}
    assert document["events"]["by_day"] == [
        {"received_on": day.isoformat(), "count": 2, "is_estimate": False},
        {"received_on": (day - dt.timedelta(days=2)).isoformat(), "count": 3, "is_estimate": False},
    ]


def test_the_event_received_last_tells_how_fresh_the_data_is(api: Api, database: str) -> None:
    receive(database, days_ago=1)
    api.post_events(event("u", "a", timestamp=NOW_MS))
    api.post_events(event("a", "a", timestamp=NOW_MS - 5 * HOUR))
    ((received_at,),) = execute(database, "SELECT max(received_at) FROM events")
    latest = told_stats(api)["events"]["latest"]
    assert latest["timestamp"] == "2026-01-31T07:00:00.000Z"
    assert abs(dt.datetime.fromisoformat(latest["received_at"]) - received_at) <= dt.timedelta(milliseconds=1)


def test_a_day_without_events_is_passed_over_in_search_of_the_latest(api: Api, database: str) -> None:
    receive(database, days_ago=3)
    receive(database, days_ago=0)
    execute(database, "DELETE FROM events WHERE received_on >= (now() AT TIME ZONE 'UTC')::date")
    assert told_stats(api)["events"]["latest"]["timestamp"] == "2026-01-31T11:59:59.999Z"


@pytest.mark.parametrize("is_analysed", [False, True])
def test_large_numbers_are_estimated_and_say_so(
    api: Api, database: str, is_analysed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "COUNTED_PAGES", 8)
    receive(database, days_ago=0, events=20)
    receive(database, days_ago=1, events=5000)
    execute(database, "INSERT INTO items (item_id) SELECT 'item-' || n FROM generate_series(1, 5000) AS n")
    if is_analysed:
        execute(database, "ANALYZE events")
        execute(database, "ANALYZE items")
    document = told_stats(api)
    late, early = document["events"]["by_day"]
    assert (late["count"], late["is_estimate"]) == (20, False)
    assert early["is_estimate"]
    assert document["events"]["stored"] == {"count": 20 + early["count"], "is_estimate": True}
    assert document["catalogue"]["items"]["is_estimate"]
    for estimate in (early["count"], document["catalogue"]["items"]["count"]):
        # Before the first analysis only the size of the table is known, not that of its rows.
        assert abs(estimate - 5000) <= 50 if is_analysed else 1250 <= estimate <= 20_000


def test_what_came_after_the_statistics_is_in_the_estimate(
    api: Api, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "COUNTED_PAGES", 8)
    receive(database, days_ago=1, events=5000)
    execute(database, "ANALYZE events")
    execute(database, "UPDATE events SET item_id = 'j' || item_id")  # as many again, of which half are dead
    assert 9_000 < told_stats(api)["events"]["stored"]["count"] < 11_000


def test_days_of_long_ago_are_in_the_sum_and_not_in_the_list(api: Api, database: str) -> None:
    for days_ago in range(20):
        receive(database, days_ago=days_ago)
    execute(database, "ANALYZE events")
    events = told_stats(api)["events"]
    assert events["stored"] == {"count": 20, "is_estimate": True}
    day = today(database)
    assert [each["received_on"] for each in events["by_day"]] == [
        (day - dt.timedelta(days=ago)).isoformat() for ago in range(14)
    ]


def test_partitions_made_ahead_are_told_up_to_the_first_gap(api: Api, database: str) -> None:
    day = today(database)
    for ahead in (0, 1, 2, 4):
        execute(database, "SELECT ensure_events_partition(%s)", day + dt.timedelta(days=ahead))
    document = told_stats(api)
    assert document["partitions"] == {
        "today": day.isoformat(),
        "ready_until": (day + dt.timedelta(days=2)).isoformat(),
        "days_ahead": 2,
    }
    assert [each["received_on"] for each in document["events"]["by_day"]] == [day.isoformat()]


def test_answers_are_as_documented(api: Api, database: str) -> None:
    document = api.get("/openapi.json").document
    check(document, "StatsOut", told_stats(api))
    load_version(database, "v", metrics=METRICS, counts=COUNTS)
    receive(database, days_ago=0)
    check(document, "StatsOut", told_stats(api))
    check(document, "Model", model(api))
