"""What was bought within a window."""

import pytest

from contract.recommendations import TRENDING_WINDOWS, ListKind, lists_counts, trending_key
from lambdas.recommendations_api.asked import Window
from tests.lambdas.callers import Api
from tests.lambdas.versions import execute, load_first, load_version


@pytest.fixture
def windows(database: str) -> str:
    load_version(
        database,
        "v",
        trending={
            trending_key("1d"): [("today-1", 5.0), ("today-2", 1.0)],
            trending_key("7d"): [("week-1", 50.0)],
            trending_key("7d", "tents"): [("tent", 3.0)],
        },
        counts=lists_counts({ListKind.TRENDING: 3}),
    )
    execute(database, "INSERT INTO categories VALUES ('tents', NULL)")
    return "v"


def test_a_window_has_its_own_list(api: Api, windows: str) -> None:
    answer = api.get("/v1/popular?window=1d")
    assert answer.item_ids == ["today-1", "today-2"]
    assert answer.document["source"] == "popular"
    assert [item["score"] for item in answer.document["items"]] == [5.0, 1.0]
    assert api.get("/v1/popular?window=7d").item_ids == ["week-1"]
    assert api.get("/v1/popular").item_ids[0] == "popular-0"


def test_a_window_of_a_category(api: Api, windows: str) -> None:
    answer = api.get("/v1/popular?window=7d&category=tents")
    assert answer.item_ids == ["tent"]
    assert answer.document["items"][0]["reasons"] == ["popular_in:tents"]
    assert api.get("/v1/popular?window=1d&category=tents").item_ids == []
    unknown = api.get("/v1/popular?window=7d&category=none")
    assert (unknown.status, unknown.document["type"]) == (404, "urn:problem:unknown-category")


def test_filters_hold_within_a_window(api: Api, windows: str) -> None:
    assert api.get("/v1/popular?window=1d&exclude_items=today-1").item_ids == ["today-2"]
    assert api.get("/v1/popular?window=1d&limit=1").item_ids == ["today-1"]


def test_a_window_in_which_nothing_was_bought_is_empty(api: Api, windows: str) -> None:
    answer = api.get("/v1/popular?window=30d")
    assert (answer.status, answer.item_ids) == (200, [])


def test_a_version_from_before_there_were_windows_says_so(api: Api, database: str) -> None:
    load_first(database)
    answer = api.get("/v1/popular?window=7d")
    assert (answer.status, answer.document["type"]) == (404, "urn:problem:no-windows")
    assert "retrain" in answer.document["detail"]


def test_other_windows_are_refused_with_those_that_there_are(api: Api, windows: str) -> None:
    answer = api.get("/v1/popular?window=2d")
    assert answer.status == 422
    assert answer.document["errors"][0]["field"] == "window"
    assert all(window in answer.document["detail"] for window in TRENDING_WINDOWS)


def test_the_api_knows_the_windows_that_the_training_has() -> None:
    assert Window.__args__ == tuple(TRENDING_WINDOWS)
