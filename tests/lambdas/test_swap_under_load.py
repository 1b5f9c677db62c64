"""Versions change while environments answer: each answer is of one version, all of it."""

import threading
from collections import Counter
from typing import Any

import pytest

from tests.lambdas.callers import Api, event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.versions import WEIGHTS, history, load_version, make_live

VERSIONS = ("red", "blue")
USERS = [f"user-{number}" for number in range(20)]
SWAPS = 30
AT_LEAST = 5
"""Answers of each environment between two swaps."""


class Caller(threading.Thread):
    """One environment, asked by one caller at a time as in Lambda, who looks at every answer."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api
        self.is_over = threading.Event()
        self.answers = 0
        self.versions: Counter[str] = Counter()
        self.wrong: list[Any] = []

    def run(self) -> None:
        while not self.is_over.is_set():
            for document in self.documents():
                version = document["model_version"]
                of_others = [item for item in document["items"] if not item["item_id"].startswith(version)]
                if of_others or not document["items"]:
                    self.wrong.append(document)
                self.versions[version] += 1
            self.answers += 1

    def documents(self) -> list[Any]:
        user = USERS[self.answers % len(USERS)]
        told = {"user_id": user, "events": [{"item_id": "shoe", "event_type": "view"}], "exclude_seen": True}
        answers = [
            self.api.get(f"/v1/users/{user}/recommendations?exclude_seen=true"),
            self.api.post("/v1/recommendations", told),
            self.api.get("/v1/items/shoe/similar"),
            self.api.get("/v1/popular?limit=100"),
        ]
        batch = self.api.post("/v1/recommendations/batch", {"user_ids": USERS, "exclude_seen": True})
        posted = self.api.post_events(event(user, "shoe"))
        statuses = [answer.status for answer in (*answers, batch, posted)]
        if statuses != [200, 200, 200, 200, 200, 202]:
            self.wrong.append(statuses)
            return []
        several = batch.document["answers"]
        if len({each["model_version"] for each in several}) != 1:
            self.wrong.append(batch.document)
        return [*(answer.document for answer in answers), *several]


@pytest.fixture
def versions(database: str) -> None:
    for version in VERSIONS:
        items = [(f"{version}-{number}", 1 - number / 1000) for number in range(100)]
        load_version(
            database,
            version,
            personal={user: items[place : place + 20] for place, user in enumerate(USERS[::2])},
            histories={user: history(("shoe", "view")) for user in USERS[::2]},
            similar={"shoe": items[50:70]},
            popular=items,
            blend_weights=WEIGHTS,
        )


def test_each_answer_is_of_one_version_while_versions_change(
    database: str, versions: None, make_api: MakeApi
) -> None:
    callers = [Caller(make_api()) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        for number in range(SWAPS):
            make_live(database, VERSIONS[number % 2])
            wait_for_answers(callers)
    finally:
        for caller in callers:
            caller.is_over.set()
        for caller in callers:
            caller.join()
    for caller in callers:
        assert caller.wrong == []
        assert min(caller.versions[version] for version in VERSIONS) >= SWAPS
        last = caller.api.recommendations("nobody").document["model_version"]
        assert last == VERSIONS[(SWAPS - 1) % 2]


def wait_for_answers(callers: list[Caller]) -> None:
    until = {caller: caller.answers + AT_LEAST for caller in callers}
    while any(caller.is_alive() and caller.answers < number for caller, number in until.items()):
        threading.Event().wait(0.005)
