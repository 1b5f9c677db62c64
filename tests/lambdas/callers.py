"""The function in this process, called with the events that API Gateway would send."""

import base64
import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from mangum.types import LambdaContext

from lambdas.recommendations_api.environment import Environment
from lambdas.recommendations_api.settings import Settings


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    document: Any

    @property
    def content(self) -> dict[str, Any]:
        """All but the id, which is another for each answer."""
        return {name: value for name, value in self.document.items() if name != "recommendation_id"}

    @property
    def item_ids(self) -> list[str]:
        return [item["item_id"] for item in self.document["items"]]


def proxy_event(
    method: str, target: str, *, body: str | bytes | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What API Gateway sends for this request; the target is percent-encoded."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True) or None
    is_base64 = isinstance(body, bytes)
    headers = {"Host": "api.test", **(headers or {})}
    return {
        "resource": "/{proxy+}",
        "path": url.path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query and {name: values[-1] for name, values in query.items()},
        "multiValueQueryStringParameters": query,
        "pathParameters": {"proxy": url.path.strip("/")},
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "stage": "prod",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": is_base64,
    }


class Api:
    """The function in this process, called as Lambda would."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = Environment(settings)

    def send(self, event: dict[str, Any]) -> Answer:
        # As in Lambda, where the event and the answer are JSON.
        answer = json.loads(
            json.dumps(self.environment(json.loads(json.dumps(event)), cast(LambdaContext, None)))
        )
        assert answer["isBase64Encoded"] is False
        is_json = answer["headers"].get("content-type", "").endswith("json")
        return Answer(
            answer["statusCode"], answer["headers"], json.loads(answer["body"]) if is_json else answer["body"]
        )

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.send(proxy_event("GET", target, headers=headers))

    def recommendations(self, user_id: str, limit: int = 10) -> Answer:
        return self.get(f"/v1/users/{user_id}/recommendations?limit={limit}")

    def post(self, target: str, document: Any) -> Answer:
        return self.send(proxy_event("POST", target, body=json.dumps(document)))

    def directly(self, target: str) -> Answer:
        """As somebody who invokes the function, not through API Gateway."""
        event = proxy_event("GET", target)
        event["requestContext"] = {"requestId": str(uuid.uuid4()), "direct": True}
        return self.send(event)

    def post_events(self, *events: Mapping[str, Any]) -> Answer:
        return self.post("/v1/events", {"events": events})


def event(user_id: str, item_id: str, event_type: str = "view", **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "event_type": event_type, **more}
