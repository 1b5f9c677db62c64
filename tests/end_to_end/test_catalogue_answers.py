"""What the catalogue says about a visitor's own items counts for the API as for the evaluation."""

from dataclasses import dataclass

import pytest

from contract.blending import BlendWeights, ScoredItem
from contract.events import Event
from lambdas.recommendations_api.asked import Asked
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.recommender import Recommender
from lambdas.recommendations_api.repository import NewEvent, Repository
from tests.lambdas.versions import HOUR, NOW_MS, execute, history, load_version
from training.served import Served

CATEGORIES = {"sofa": "furniture", "lamp": "furniture", "coffee": "food", "tea": "food", "odd": None}
SOLD_OUT = {"lamp", "tea"}
STORED = {"u": history(("sofa", "purchase"), ("lamp", "view"), ("odd", "purchase"))}
POSTED = [Event("tea", "view", NOW_MS - HOUR), Event("coffee", "purchase", NOW_MS - 2 * HOUR)]
PERSONAL = {"u": [("bed", 1.0), ("sofa", 0.5), ("cup", 0.2)]}
SIMILAR = {"lamp": [("bulb", 0.9), ("lamp", 0.4)], "tea": [("pot", 0.8)], "coffee": [("cup", 0.7)]}
POPULAR = [("top", 1.0), ("coffee", 0.9), ("odd", 0.8), ("next", 0.5)]


@dataclass(frozen=True)
class KnownLists:
    """The lists above, looked up."""

    popular_items: list[ScoredItem]

    def personal_of(self, user_id: str) -> list[ScoredItem]:
        return PERSONAL.get(user_id, [])

    def similar_to(self, item_id: str) -> list[ScoredItem]:
        return SIMILAR.get(item_id, [])

    def history_of(self, user_id: str) -> list[Event]:
        return STORED.get(user_id, [])


@pytest.mark.parametrize("posted", [[], POSTED], ids=["nothing new", "posted"])
@pytest.mark.parametrize("user", ["u", "stranger"])
@pytest.mark.parametrize(
    ("default", "by_category"),
    [(False, {"furniture": True}), (True, {"food": False}), (True, {}), (False, {})],
)
def test_the_api_answers_what_was_evaluated(
    database: str, default: bool, by_category: dict[str, bool], user: str, posted: list[Event]
) -> None:
    weights = BlendWeights()
    load_version(
        database,
        "v",
        personal=PERSONAL,
        histories=STORED,
        similar=SIMILAR,
        popular=POPULAR,
        exclude_purchased=default,
        exclude_purchased_by_category=by_category,
        blend_weights=weights,
        as_of="2026-01-31T10:00:00Z",
    )
    for item, category in CATEGORIES.items():
        execute(
            database, "INSERT INTO items (item_id, category_id, available) VALUES (%s, %s, %s)",
            item, category, item not in SOLD_OUT,
        )  # fmt: skip
    served = Served(
        lists=KnownLists(POPULAR),
        weights=weights,
        exclude_purchased=default,
        exclude_purchased_by_category=by_category,
        category_of={item: category for item, category in CATEGORIES.items() if category},
        unavailable=SOLD_OUT,
        until=NOW_MS - 2 * HOUR + 1,
    )
    connection = Database(database, connect_timeout=5, pause=1, statement_timeout=30)
    repository = Repository(connection, events_days=14, events_limit=50, read_timeout=30, write_timeout=30)
    if posted:
        repository.add_events([NewEvent(user, event.item_id, *event) for event in posted])
    answered = Recommender(repository, clock=lambda: NOW_MS).for_visitor(user, Asked(limit=20))
    connection.close()
    items = [item.item_id for item in answered.items]
    assert items == served.answer(user, posted, now=NOW_MS, limit=20)
    own = {event.item_id for event in [*posted, *served.lists.history_of(user)]}
    assert not own & SOLD_OUT & set(items)
