"""Visitors: they browse, are shown recommendations, and click, cart and buy as their habits are."""

import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from twin.simulate.habits import BOUGHT, CARTED, CLICKED, Habits
from twin.visits import Answer, ApiClient, item_ids

ANSWERED: Final = "answered"
FORGED_EVERY: Final = 50
"""One visit in so many posts an id that nobody gave out, and an event without a user."""


class Visitors(threading.Thread):
    """Some of the shop's visitors, one after the other, until `stop`.

    What they did is in `did`: how many answers they were given, clicked, carted and bought, by version.
    """

    def __init__(
        self,
        api_url: str,
        *,
        users: Sequence[str],
        items: Sequence[str],
        habits: Mapping[str, Habits],
        seed: int,
    ) -> None:
        super().__init__(name=f"visitors {seed}", daemon=True)
        self.did: Counter[tuple[str, str]] = Counter()
        self.client = ApiClient(api_url)
        self.error: BaseException | None = None
        self._users, self._items, self._habits = users, items, habits
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - habits, no secret
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """Let the visit that is under way come to its end. Raises what ended them before."""
        self._is_stopped.set()
        self.join()
        self.client.close()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Visit after visit."""
        number = 0
        try:
            while not self._is_stopped.is_set():
                number += 1
                self._visit(number)
        except Exception as error:  # noqa: BLE001 - raised by `stop`
            self.error = error

    def _visit(self, number: int) -> None:
        is_guest = self._random.random() < 0.3
        user = f"guest-{self._seed}-{number}" if is_guest else self._random.choice(self._users)
        self._post(user, self._random.choice(self._items), VIEW)
        answer = self._ask(user)
        version = answer["model_version"]
        habits = self._habits[version]
        self.did[ANSWERED, version] += 1
        if self._random.random() < habits.clicks:
            item = self._random.choice(item_ids(answer))
            self._post(user, item, VIEW, answer["recommendation_id"])
            self.did[CLICKED, version] += 1
            if self._random.random() < habits.carts:
                self._post(user, item, ADD_TO_CART)
                self.did[CARTED, version] += 1
                if self._random.random() < habits.buys:
                    self._post(user, item, PURCHASE)
                    self.did[BOUGHT, version] += 1
        elif is_guest and self._random.random() < 0.2:
            self._post(user, self._random.choice(self._items), ADD_TO_CART)
        if number % FORGED_EVERY == 0:
            forged = self._event(user, self._items[0], VIEW, answer["recommendation_id"][:-4] + "AAAA")
            self.client.post("/v1/events", {"events": [forged, {**forged, "user_id": ""}]})

    def _ask(self, user: str) -> Answer:
        """Mostly for what is on the first page, sometimes what is on an item's page, or for everybody."""
        place = self._random.random()
        if place < 0.8:
            return self.client.recommendations(user)
        if place < 0.9:
            return self.client.get(f"/v1/items/{quote(self._random.choice(self._items), safe='')}/similar")
        return self.client.get("/v1/popular")

    def _post(self, user: str, item: str, event_type: str, recommendation_id: str | None = None) -> None:
        self.client.post("/v1/events", {"events": [self._event(user, item, event_type, recommendation_id)]})

    def _event(
        self, user: str, item: str, event_type: str, recommendation_id: str | None = None
    ) -> dict[str, Any]:
        named = {} if recommendation_id is None else {"recommendation_id": recommendation_id}
        return {"user_id": user, "item_id": item, "event_type": event_type, **named}
