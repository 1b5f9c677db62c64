"""Whatever a caller sends, the answer is a problem document that says what to change; never a 500."""

import json
from typing import Any

import pytest

from tests.lambdas.callers import Answer, Api, event, proxy_event


@pytest.mark.parametrize(
    ("target", "status", "slug", "field"),
    [
        ("/v1/users/known/recommendations?limit=0", 422, "invalid-request", "limit"),
        ("/v1/users/known/recommendations?limit=101", 422, "invalid-request", "limit"),
        ("/v1/users/known/recommendations?limit=abc", 422, "invalid-request", "limit"),
        ("/v1/users/known/recommendations?limit=-1", 422, "invalid-request", "limit"),
        ("/v1/users/known/recommendations?limit=", 422, "invalid-request", "limit"),
        (f"/v1/popular?limit={'9' * 5000}", 422, "invalid-request", "limit"),
        ("/v1/popular?limit=5&limit=6", 400, "unknown-parameter", "limit"),
        ("/v1/popular?limits=5", 400, "unknown-parameter", "limits"),
        ("/v1/popular?category=a%00b", 422, "invalid-request", "category"),
        ("/v1/popular?category=", 422, "invalid-request", "category"),
        ("/v1/popular?variant=a%00b", 422, "invalid-request", "variant"),
        ("/v1/popular?window=2d", 422, "invalid-request", "window"),
        ("/v1/users/u/recommendations?window=1d", 400, "unknown-parameter", "window"),
        ("/v1/popular?limit=5&x=%00", 400, "unknown-parameter", "x"),
        ("/health?verbose=1", 400, "unknown-parameter", "verbose"),
        ("/v1/events?limit=1", 405, "method-not-allowed", None),
        (f"/v1/users/{'u' * 257}/recommendations", 422, "invalid-request", "user_id"),
        ("/v1/users/a%00b/recommendations", 422, "invalid-request", "user_id"),
        ("/v1/users/%ED%A0%80/recommendations", 422, "invalid-request", "user_id"),
        ("/v1/users/%FF/recommendations", 422, "invalid-request", "user_id"),
        ("/v1/users//recommendations", 404, "not-found", None),
        (f"/v1/items/{'%F0%9F%9B%92' * 257}/similar", 422, "invalid-request", "item_id"),
        ("/v1/items/a%00/similar", 422, "invalid-request", "item_id"),
        ("/v1/items/nothing/similar", 404, "unknown-item", None),
        ("/v1/items/..%2F..%2Fetc%2Fpasswd/similar", 404, "unknown-item", None),
        ("/v1/items/'; DROP TABLE events; --/similar", 404, "unknown-item", None),
        ("/v1/nothing", 404, "not-found", None),
        ("/v1/popular/", 404, "not-found", None),
        ("/", 404, "not-found", None),
    ],
)
def test_a_bad_get_gets_a_problem(
    shared_api: Api, target: str, status: int, slug: str, field: str | None
) -> None:
    answer = shared_api.get(target)
    check_problem(answer, status, slug)
    assert [error["field"] for error in answer.document["errors"]] == ([] if field is None else [field])


def test_a_misspelt_parameter_is_told_the_right_one(shared_api: Api) -> None:
    answer = shared_api.get("/v1/popular?limmit=5")
    assert answer.document["detail"] == "The query parameter limmit is not known; did you mean limit?"


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (None, 400, "malformed-request"),
        ("", 400, "malformed-request"),
        ("user_id=u", 400, "malformed-request"),
        ('{"events": [', 400, "malformed-request"),
        ("[" * 20_000 + "]" * 20_000, 400, "malformed-request"),
        ('{"a":' * 20_000 + "1" + "}" * 20_000, 400, "malformed-request"),
        ("1" * 5000, 400, "malformed-request"),
        (b"\xff\xfe\x00", 400, "malformed-request"),
        (b"\xc3\x28", 400, "malformed-request"),
        ("\ud800", 400, "malformed-request"),
        ("[]", 422, "invalid-request"),
        ("null", 422, "invalid-request"),
        ("{}", 422, "invalid-request"),
        ('{"events": {}}', 422, "invalid-request"),
        ('{"events": []}', 422, "invalid-request"),
        ('{"events": [7, null, []]}', 422, "invalid-request"),
        ('{"events": [], "more": 1}', 422, "invalid-request"),
        ('{"events": [{"user_id": NaN}]}', 422, "invalid-request"),
        (json.dumps({"events": [event("u", "i")] * 1001}), 422, "invalid-request"),
    ],
    ids=range(19),
)
def test_a_bad_body_gets_a_problem(shared_api: Api, body: str | bytes | None, status: int, slug: str) -> None:
    check_problem(shared_api.send(proxy_event("POST", "/v1/events", body=body)), status, slug)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST", "BREW"])
def test_a_wrong_method_gets_a_problem_that_names_the_right_one(shared_api: Api, method: str) -> None:
    answer = shared_api.send(proxy_event(method, "/v1/popular"))
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "change",
    [
        {"body": "!", "isBase64Encoded": True},
        {"body": "YQ", "isBase64Encoded": True},
        {"body": {"events": []}},
        {"path": None},
        {"httpMethod": None},
        {"requestContext": None},
        {"headers": {"x": 7}, "multiValueHeaders": None},
        {"multiValueHeaders": {"x": None}},
        {"multiValueQueryStringParameters": [1]},
    ],
    ids=str,
)
def test_an_event_that_makes_no_request_gets_a_problem(shared_api: Api, change: dict[str, Any]) -> None:
    check_problem(shared_api.send({**proxy_event("POST", "/v1/events"), **change}), 400, "malformed-request")


def test_an_empty_event_gets_a_problem(shared_api: Api) -> None:
    answer = shared_api.send({})
    assert (answer.status, answer.document["type"]) == (400, "urn:problem:malformed-request")


@pytest.mark.parametrize(
    "change",
    [
        {"headers": None, "multiValueHeaders": None},
        {"headers": {"Host": "a:b:c", "x": "\ud800 ü"}, "multiValueHeaders": None},
        {"headers": {"Accept": "x" * 10_000}, "multiValueHeaders": {"Accept": ["x", "y"]}},
        {"multiValueQueryStringParameters": None, "queryStringParameters": {"limit": "3"}},
        {"requestContext": {}},
    ],
    ids=range(5),
)
def test_an_unusual_event_is_answered(shared_api: Api, change: dict[str, Any]) -> None:
    assert shared_api.send({**proxy_event("GET", "/v1/popular?limit=3"), **change}).status == 200


def test_half_a_surrogate_in_a_parameter_is_refused(shared_api: Api) -> None:
    for values in ({"limit": ["\ud800"]}, {"\ud800": ["1"]}):
        answer = shared_api.send(
            {**proxy_event("GET", "/v1/popular"), "multiValueQueryStringParameters": values}
        )
        assert answer.status in {400, 422}


def test_a_problem_is_found_in_the_logs_by_its_trace_id(shared_api: Api) -> None:
    request = proxy_event("GET", "/nothing")
    assert shared_api.send(request).document["trace_id"] == request["requestContext"]["requestId"]
    traced = proxy_event("GET", "/nothing", headers={"X-Amzn-Trace-Id": "Self=1-2;Root=1-67a1-abc;Sampled=0"})
    assert shared_api.send(traced).document["trace_id"] == "1-67a1-abc"


def check_problem(answer: Answer, status: int, slug: str) -> None:
    document = answer.document
    assert (answer.status, document["status"], document["type"]) == (status, status, f"urn:problem:{slug}"), (
        document
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert document.keys() == {"type", "title", "status", "detail", "errors", "trace_id"}
    assert document["title"]
    assert document["detail"]
    assert document["trace_id"]
