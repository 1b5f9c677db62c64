"""Visits to the API: known, unknown and busy users, and visitors who look at things meanwhile."""

import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from contract.events import VIEW

Answer = dict[str, Any]


@dataclass
class Traffic:
    """What was asked and how it went."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Requests sent."""
        return self.statuses.total()

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the requests took at most."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class ApiClient:
    """One keep-alive connection to the API, and a record of what went over it."""

    def __init__(self, url: str) -> None:
        self.traffic = Traffic()
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str, *, expect: int = 200) -> Answer:
        """GET; an unexpected status is remembered as a problem."""
        return self._send("GET", path, None, expect)

    def post(self, path: str, document: Any, *, expect: int = 202) -> Answer:
        """POST a JSON document; an unexpected status is remembered as a problem."""
        return self._send("POST", path, document, expect)

    def recommendations(self, user_id: str, *, limit: int = 10) -> Answer:
        """What this user would be shown."""
        return self.get(f"/v1/users/{quote(user_id, safe='')}/recommendations?limit={limit}")

    def _send(self, method: str, path: str, document: Any, expect: int) -> Answer:
        body = None if document is None else json.dumps(document).encode()
        started = time.perf_counter()
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        self.traffic.milliseconds.append((time.perf_counter() - started) * 1000)
        self.traffic.statuses[response.status] += 1
        if response.status != expect:
            shown = content.decode(errors="replace")[:300]
            self.traffic.problems.append(f"{method} {path}: {response.status}, expected {expect}: {shown}")
            return {}
        answer: Answer = json.loads(content)
        if "source" in answer:
            self.traffic.sources[answer["source"]] += 1
        return answer


def item_ids(answer: Answer) -> list[str]:
    """The items of an answer, best first."""
    return [item["item_id"] for item in answer.get("items", [])]


def visit(
    client: ApiClient, *, known: Sequence[str], busy: Sequence[str], items: Sequence[str], visitors: int
) -> None:
    """A few hundred requests of every kind; whatever goes wrong is in `client.traffic.problems`."""
    for user in known:
        client.recommendations(user)
    for user, limit in zip(busy, itertools.cycle((1, 10, 50, 100)), strict=False):
        client.recommendations(user, limit=limit)
    for number in range(visitors):
        client.recommendations(f"nobody-{number}")
    for item in items:
        client.get(f"/v1/items/{quote(item, safe='')}/similar")
    client.get("/v1/items/there-is-no-such-item/similar", expect=404)
    client.get("/v1/popular")
    for number, (looked_at, then) in enumerate(_pairs(items, visitors)):
        browse(client, f"visitor-{number}", (looked_at, then))


def browse(client: ApiClient, user_id: str, looked_at: Iterable[str]) -> None:
    """Look at items one by one; each must show in the very next answer."""
    for item in looked_at:
        before = item_ids(client.recommendations(user_id))
        look(client, user_id, item)
        after = item_ids(client.recommendations(user_id))
        if after == before or item not in after:
            client.traffic.problems.append(f"{user_id} looked at {item}, and the next answer did not show it")


def look(client: ApiClient, user_id: str, item: str) -> None:
    """Look at an item: the shop posts a view of it."""
    client.post("/v1/events", {"events": [{"user_id": user_id, "item_id": item, "event_type": VIEW}]})


def _pairs(items: Sequence[str], count: int) -> list[tuple[str, str]]:
    return list(zip(items, itertools.islice(itertools.cycle(items), 1, None), strict=False))[:count]
