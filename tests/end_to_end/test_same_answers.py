"""What is measured is what is served: the API's answers equal the evaluation's lists for the same state."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from contract.recommendations import Manifest
from lambdas.recommendations_api.asked import Asked
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.recommender import Recommender
from lambdas.recommendations_api.repository import NewEvent, Repository
from training.evaluation import answer
from training.events import read_events
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.interactions import Interactions
from training.judged import Protocol
from training.loader import load_version
from training.moments import format_moment
from training.publish import publish_version
from training.recipe import fit_served
from training.settings import Hyperparameters
from training.shop.simulation import ShopSettings
from training.split import windows
from training.storage import Folder
from training.visitors import visitors

VISITORS = 50
SETTINGS = Hyperparameters(als_factors=4, als_iterations=2, evaluation_days=5, fit_windows=2)


@pytest.mark.parametrize("exclude_purchased", [False, True])
@pytest.mark.parametrize("protocol", ["batch", "session"])
def test_the_api_answers_what_was_evaluated(
    protocol: Protocol, exclude_purchased: bool, database: str, tmp_path: Path
) -> None:
    generate_shop(ShopSettings(users=400, items=120, days=40, seed=5), tmp_path / "shop.parquet")
    import_events([tmp_path / "shop.parquet"], tmp_path)
    events = Interactions.from_table(read_events(tmp_path / "events"))
    (window,) = windows(events, days=10, count=1, end=int(events.timestamps[-1]) + 1)
    learnt = fit_served(events.before(window.start), now=window.start, settings=SETTINGS)
    assert learnt.notes["blend"]["visitors"]
    served = replace(learnt, exclude_purchased=exclude_purchased)
    lists = served.lists
    manifest = Manifest(
        version="known-state",
        as_of=format_moment(window.start - 1),
        created_at="2026-01-01T00:00:00Z",
        training_window={
            "from": format_moment(int(events.timestamps[0])),
            "to": format_moment(window.start - 1),
        },
        dataset_fingerprint="0" * 64,
        code_version="unknown",
        counts={
            "events": len(lists.events),
            "users": len(lists.events.user_ids),
            "items": len(lists.events.item_ids),
        },
        files=(),
        metrics={},
        blend_weights=served.weights,
        exclude_purchased=exclude_purchased,
    )
    publish_version(Folder(tmp_path), lists.tables(), manifest=manifest)
    load_version(database, Folder(tmp_path), "known-state")

    now = window.start
    connection = Database(database, connect_timeout=5, pause=1, statement_timeout=30)
    repository = Repository(connection, events_days=14, events_limit=50, read_timeout=30, write_timeout=30)
    recommender = Recommender(repository, clock=lambda: now)
    numbers = itertools.count()
    found = visitors(events, window, max_users=VISITORS, seed=0)
    assert len(found) == VISITORS
    for visitor in found:
        evaluated = [item.item_id for item in answer(served, visitor, protocol, start=window.start)]
        if protocol == "session":
            now = visitor.first_target
            posted = [
                NewEvent(
                    visitor.user_id, str(next(numbers)), event.item_id, event.event_type, event.timestamp
                )
                for event in reversed(visitor.live)
            ]
            if posted:
                repository.add_events(posted)
        answered = recommender.for_visitor(visitor.user_id, Asked(limit=10))
        assert [item.item_id for item in answered.items] == evaluated
    connection.close()
