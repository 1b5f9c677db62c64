"""What the shop says of its items between two catalogues."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from contract.blending import BlendWeights
from tests.lambdas.callers import Answer, Api, proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.test_bad_input import check_problem
from tests.lambdas.test_openapi import check
from tests.lambdas.versions import NOW, execute, history, load_version
from tests.training.catalogues import catalogue
from training.catalogue import write_catalogue
from training.catalogue_loader import load_catalogue
from training.importing.catalogue_rows import ITEM_COLUMNS
from training.storage import Folder

Row = tuple[str, str | None, bool]


def put(api: Api, *items: Any) -> Answer:
    return api.send(proxy_event("PUT", "/v1/items", body=json.dumps({"items": items})))


@pytest.fixture
def rows(database: str) -> Callable[[], list[Row]]:
    """What the table says, by item."""

    def read() -> list[Row]:
        return [
            (item_id, category_id, available)
            for item_id, category_id, available in execute(
                database, "SELECT item_id, category_id, available FROM items ORDER BY item_id"
            )
        ]

    return read


Rows = Callable[[], list[Row]]


def test_an_unknown_item_is_added_and_can_be_had_unless_said_otherwise(api: Api, rows: Rows) -> None:
    answer = put(
        api, {"item_id": "a"}, {"item_id": "b", "available": False}, {"item_id": "c", "category_id": "x"}
    )
    assert (answer.status, answer.document) == (200, {"accepted": 3, "new": 3, "rejected": []})
    assert rows() == [("a", None, True), ("b", None, False), ("c", "x", True)]


def test_a_field_that_is_left_out_stays_as_it_is(api: Api, rows: Rows) -> None:
    put(api, {"item_id": "a", "category_id": "x", "available": False}, {"item_id": "b", "category_id": "x"})
    answer = put(api, {"item_id": "a", "category_id": "y"}, {"item_id": "b", "available": False})
    assert answer.document == {"accepted": 2, "new": 0, "rejected": []}
    assert rows() == [("a", "y", False), ("b", "x", False)]
    put(api, {"item_id": "a", "available": True}, {"item_id": "b"})
    assert rows() == [("a", "y", True), ("b", "x", False)]


def test_a_category_of_null_takes_an_item_out_of_its_category(api: Api, rows: Rows) -> None:
    put(api, {"item_id": "a", "category_id": "x"})
    put(api, {"item_id": "a", "category_id": None})
    assert rows() == [("a", None, True)]


def test_attributes_of_the_catalogue_stay(api: Api, database: str) -> None:
    execute(database, """INSERT INTO items (item_id, attributes) VALUES ('a', '{"price": 9}')""")
    put(api, {"item_id": "a", "available": False})
    assert execute(database, "SELECT attributes FROM items") == [({"price": 9},)]


def test_of_an_item_that_comes_twice_the_later_entry_changes_what_the_earlier_one_left(
    api: Api, rows: Rows
) -> None:
    answer = put(
        api,
        {"item_id": "a", "available": False, "category_id": "x"},
        {"item_id": "a", "category_id": "y"},
        {"item_id": "a", "available": True},
        {"item_id": "a", "available": False},
    )
    assert answer.document == {"accepted": 4, "new": 1, "rejected": []}
    assert rows() == [("a", "y", False)]


def test_good_entries_are_kept_and_bad_ones_reported_by_place_and_field(api: Api, rows: Rows) -> None:
    answer = put(
        api,
        {"item_id": "a", "available": False},
        {"item_id": "", "available": False},
        {"item_id": "a", "available": 1},
        {"item_id": "a", "avialable": True},
        "a",
        {"item_id": "b"},
    )
    assert answer.status == 200
    assert answer.document == {
        "accepted": 2,
        "new": 2,
        "rejected": [
            {"index": 1, "field": "item_id", "message": "is empty"},
            {"index": 2, "field": "available", "message": "is neither true nor false"},
            {"index": 3, "field": "avialable", "message": "is not known; did you mean available?"},
            {"index": 4, "field": "", "message": "is not an object"},
        ],
    }
    assert rows() == [("a", None, False), ("b", None, True)]


@pytest.mark.parametrize(
    ("odd", "field", "message"),
    [
        ({"item_id": 7}, ".item_id", "is not a string"),
        ({"item_id": None}, ".item_id", "is missing"),
        ({"item_id": "a" * 257}, ".item_id", "has 257 characters, at most 256 are allowed"),
        ({"item_id": "a\x00"}, ".item_id", "contains a NUL character"),
        ({"item_id": "\ud800"}, ".item_id", "contains half of a surrogate pair, which is no character"),
        ({"available": None}, ".available", "is neither true nor false"),
        ({"available": "yes"}, ".available", "is neither true nor false"),
        ({"category_id": ""}, ".category_id", "is empty"),
        ({"category_id": ["x"]}, ".category_id", "is not a string"),
        ({"category_id": "\x00"}, ".category_id", "contains a NUL character"),
        ({"\ud800": 1}, ".\ud800", "is not known; known are: item_id, available, category_id"),
    ],
    ids=range(11),
)
def test_where_no_entry_is_acceptable_the_answer_is_a_problem(
    shared_api: Api, odd: dict[str, Any], field: str, message: str
) -> None:
    answer = put(shared_api, {"item_id": "a", **odd})
    check_problem(answer, 422, "invalid-request")
    assert answer.document["errors"] == [{"field": f"items[0]{field}", "message": message}]


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (None, 400, "malformed-request"),
        ("item_id=a", 400, "malformed-request"),
        ("[" * 20_000 + "]" * 20_000, 400, "malformed-request"),
        (b"\xff\xfe\x00", 400, "malformed-request"),
        ("[]", 422, "invalid-request"),
        ('{"items": {}}', 422, "invalid-request"),
        ('{"items": []}', 422, "invalid-request"),
        ('{"events": []}', 422, "invalid-request"),
        ('{"items": [{"item_id": "a"}], "more": 1}', 422, "invalid-request"),
        (json.dumps({"items": [{"item_id": "a"}] * 1001}), 422, "invalid-request"),
    ],
    ids=range(10),
)
def test_a_bad_body_gets_a_problem(shared_api: Api, body: str | bytes | None, status: int, slug: str) -> None:
    check_problem(shared_api.send(proxy_event("PUT", "/v1/items", body=body)), status, slug)


def test_a_thousand_items_go_in_at_once(api: Api, rows: Rows) -> None:
    answer = put(api, *({"item_id": f"item-{n:04}", "available": n % 2 == 0} for n in range(1000)))
    assert answer.document == {"accepted": 1000, "new": 1000, "rejected": []}
    assert rows() == [(f"item-{n:04}", None, n % 2 == 0) for n in range(1000)]


def test_the_next_answer_knows_what_is_sold_out(api: Api, database: str) -> None:
    load_version(
        database,
        "v",
        personal={"u": [("bed", 1.0)]},
        histories={"u": history(("lamp", "view"))},
        popular=[("top", 1.0)],
        blend_weights=BlendWeights(),
    )
    strategy = "/v1/users/u/recommendations?strategy=session"
    assert "lamp" in api.get(strategy).item_ids
    put(api, {"item_id": "lamp", "available": False})
    assert "lamp" not in api.get(strategy).item_ids
    put(api, {"item_id": "lamp", "available": True})
    assert "lamp" in api.get(strategy).item_ids


def test_a_catalogue_of_an_earlier_moment_leaves_the_change_alone_and_a_later_one_wins(
    api: Api, database: str, rows: Rows, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)

    def load(moment: dt.datetime) -> None:
        found = catalogue({"a": "x", "b": "x"})
        as_of_ms = round(moment.timestamp() * 1000)
        write_catalogue(folder, found.items.to_batches(), ITEM_COLUMNS, found.categories, as_of_ms)
        load_catalogue(database, folder)

    load(NOW - dt.timedelta(days=2))
    put(api, {"item_id": "a", "available": False})
    load(NOW - dt.timedelta(days=1))
    assert rows() == [("a", "x", False), ("b", "x", True)]
    load(NOW + dt.timedelta(days=1))
    assert rows() == [("a", "x", True), ("b", "x", True)]


def test_while_a_catalogue_is_loaded_a_change_is_refused_rather_than_lost(
    make_api: MakeApi, database: str, rows: Rows
) -> None:
    impatient = make_api(events_timeout_ms=300)
    with psycopg.connect(database) as loader:
        loader.execute("LOCK TABLE items IN EXCLUSIVE MODE")
        refused = put(impatient, {"item_id": "a"})
        check_problem(refused, 503, "database-unavailable")
        assert int(refused.headers["retry-after"]) > 0
    assert rows() == []
    assert put(impatient, {"item_id": "a"}).status == 200
    assert rows() == [("a", None, True)]


def test_without_a_database_nothing_is_accepted(make_api: MakeApi) -> None:
    nowhere = make_api(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
    check_problem(put(nowhere, {"item_id": "a"}), 503, "database-unavailable")


def test_the_answer_is_as_documented(api: Api) -> None:
    document = api.get("/openapi.json").document
    batch = [{"item_id": "a", "available": False}, {"item_id": "b", "category_id": None}, {"item_id": ""}]
    check(document, "ItemsBatch", {"items": batch[:2]})
    check(document, "ItemsAnswer", put(api, *batch).document)
