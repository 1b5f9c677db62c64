"""The document that the interactive documentation and client generators read."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.lambdas.callers import Api, event

Document = dict[str, Any]


@pytest.fixture
def document(shared_api: Api) -> Document:
    answer = shared_api.get("/openapi.json")
    assert answer.status == 200
    content: Document = answer.document
    return content


def test_the_document_names_each_route(document: Document) -> None:
    assert {(method.upper(), path) for path, methods in document["paths"].items() for method in methods} == {
        ("GET", "/v1/users/{user_id}/recommendations"),
        ("POST", "/v1/recommendations"),
        ("POST", "/v1/recommendations/batch"),
        ("GET", "/v1/items/{item_id}/similar"),
        ("GET", "/v1/items/{item_id}/bought-together"),
        ("GET", "/v1/popular"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/items"),
        ("GET", "/v1/users/{user_id}"),
        ("DELETE", "/v1/users/{user_id}"),
        ("GET", "/v1/model"),
        ("GET", "/v1/stats"),
        ("GET", "/health"),
        ("GET", "/ready"),
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["description"]
            assert {"4XX", "5XX"} < operation["responses"].keys()


def test_each_reference_leads_somewhere(document: Document) -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert names
    assert names == document["components"]["schemas"].keys()


@pytest.mark.parametrize(
    ("target", "schema"),
    [
        ("/v1/users/known/recommendations", "Recommendations"),
        ("/v1/items/shoe/similar", "Recommendations"),
        ("/v1/popular", "Recommendations"),
        ("/v1/users/known", "StoredUserOut"),
        ("/v1/users/nobody", "StoredUserOut"),
        ("/v1/model", "Model"),
        ("/v1/stats", "StatsOut"),
        ("/health", "Health"),
        ("/ready", "Readiness"),
        ("/v1/popular?limit=0", "ProblemOut"),
        ("/nothing", "ProblemOut"),
    ],
)
def test_answers_are_as_documented(shared_api: Api, document: Document, target: str, schema: str) -> None:
    check(document, schema, shared_api.get(target).document)


def test_posting_is_as_documented(api: Api, document: Document) -> None:
    batch = [event("u", "a", event_id="e", timestamp=1), event("u", "a"), event("u", "")]
    check(document, "EventsBatch", {"events": batch[:2]})
    check(document, "EventsAnswer", api.post_events(*batch).document)


def test_each_example_is_as_documented(document: Document) -> None:
    for name, schema in document["components"]["schemas"].items():
        if "example" in schema:
            check(document, name, schema["example"])


def test_the_interactive_documentation_is_there(shared_api: Api) -> None:
    answer = shared_api.get("/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "/openapi.json" in answer.document


def check(document: Document, schema: str, value: Any) -> None:
    rooted = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    Draft202012Validator(rooted).validate(value)
