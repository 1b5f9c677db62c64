"""What was read of a query once is taken for the next request with the same one, and for no other."""

import pytest

from lambdas.recommendations_api.app import app
from lambdas.recommendations_api.routing import LONGEST_REMEMBERED, QUERIES_REMEMBERED, StrictRoute
from tests.lambdas.callers import Api
from tests.lambdas.versions import POPULAR

TARGET = "/v1/users/{}/recommendations?{}"
(ROUTE,) = [
    route
    for route in app.routes
    if isinstance(route, StrictRoute) and route.path_format == "/v1/users/{user_id}/recommendations"
]


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ROUTE, "_read", {})


def test_the_same_query_serves_every_visitor_their_own(shared_api: Api) -> None:
    for _ in range(2):
        assert shared_api.get(TARGET.format("known", "limit=2")).item_ids == ["personal-1", "personal-2"]
        assert shared_api.get(TARGET.format("a%2Fb%20%C3%BC", "limit=2")).item_ids == [
            "popular-0",
            "popular-1",
        ]
    assert list(ROUTE._read) == [b"limit=2"]


def test_other_queries_are_others(shared_api: Api) -> None:
    queries = [
        "",
        "limit=3",
        "exclude_items=popular-0,popular-1",
        "exclude_items=popular-0&limit=1",
        "limit=100",
    ]
    first = [shared_api.get(TARGET.format("x", query)).item_ids for query in queries]
    assert [shared_api.get(TARGET.format("x", query)).item_ids for query in queries] == first
    assert [len(items) for items in first] == [10, 3, 10, 1, 100]
    assert (first[2][0], first[3]) == ("popular-2", ["popular-1"])


@pytest.mark.parametrize("query", ["limit=0", "limit=2&limit=3", "limmit=2", "category=%00", "strategy=best"])
def test_a_query_that_is_refused_is_refused_again(shared_api: Api, query: str) -> None:
    first, second = (shared_api.get(TARGET.format("known", query)) for _ in range(2))
    assert first.status == second.status >= 400
    assert first.document["errors"] == second.document["errors"]
    assert ROUTE._read == {}


@pytest.mark.parametrize("user", ["u" * 257, "a%00b", "%FF"])
def test_a_good_query_makes_no_bad_id_good(shared_api: Api, user: str) -> None:
    assert shared_api.get(TARGET.format("known", "limit=2")).status == 200
    refused = shared_api.get(TARGET.format(user, "limit=2"))
    assert (refused.status, refused.document["errors"][0]["field"]) == (422, "user_id")


def test_not_more_is_remembered_than_there_is_room_for(shared_api: Api) -> None:
    long = "exclude_items=" + ",".join(item for item, _ in POPULAR[:60])
    assert len(long) > LONGEST_REMEMBERED
    assert shared_api.get(TARGET.format("x", long)).item_ids[0] == "popular-60"
    assert ROUTE._read == {}
    for number in range(QUERIES_REMEMBERED + 5):
        assert shared_api.get(TARGET.format("x", f"limit=1&exclude_items=none-{number}")).status == 200
    assert len(ROUTE._read) == QUERIES_REMEMBERED
    assert shared_api.get(TARGET.format("x", "limit=4")).item_ids[3] == "popular-3"
