"""`python -m training.explain` on a published version, with and without a database."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contract.events import VIEW
from contract.recommendations import Manifest
from tests.training.posted import ENSURE_TODAY
from training.catalogue import latest_catalogue, read_catalogue
from training.explain import main
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.inputs import Inputs, read_inputs
from training.judged import Evaluation
from training.loader import load_version
from training.moments import format_moment
from training.publish import publish_version
from training.recipe import fit_served
from training.release import write_ranker
from training.served import Served
from training.settings import Environment, Hyperparameters
from training.shop.simulation import ShopSettings
from training.storage import Folder
from training.train import manifest_of

SETTINGS = Hyperparameters(
    als_factors=8, als_iterations=3, evaluation_days=5, threads=1, without_sources=("session_knn",)
)


class Shop:
    """A bucket with events, a catalogue and one version."""

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder / "bucket")
        self.bucket = Folder(self.uri)
        file, items = folder / "shop.parquet", folder / "items.parquet"
        generate_shop(ShopSettings(users=150, items=60, days=30, seed=1), file, catalogue=items)
        import_events([file], self.uri, catalogue=[items])
        self.inputs: Inputs = read_inputs(Path(self.uri), self.bucket, SETTINGS)
        info = latest_catalogue(self.bucket)
        assert info is not None
        self.served: Served[Any] = fit_served(
            self.inputs.events,
            now=self.inputs.now,
            settings=SETTINGS,
            catalogue=read_catalogue(self.bucket, info.version),
        )
        self.manifest = self.publish("v1")
        lengths = {user: len(self.served.lists.history_of(user)) for user in self.inputs.events.user_ids}
        self.busy = max(lengths, key=lambda user: lengths[user])

    def publish(self, version: str, **changed: Any) -> Manifest:
        environment = Environment(recommendations_uri=self.uri, mlflow_tracking_uri="unused")
        manifest = manifest_of(
            self.served,
            version,
            inputs=self.inputs,
            evaluation=Evaluation.of_nothing(),
            settings=SETTINGS,
            environment=environment,
            in_mlflow={},
        )
        write_ranker(self.served, self.bucket, version)
        return publish_version(self.bucket, self.served.lists.tables(), manifest=replace(manifest, **changed))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("explain"))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "EVENTS_URI", "RECOMMENDATIONS_URI"):
        monkeypatch.delenv(name, raising=False)


def explained(shop: Shop, capsys: pytest.CaptureFixture[str], user: str, *options: str) -> dict[str, Any]:
    places = ["--recommendations", shop.uri, "--events", shop.uri]
    assert main([user, *places, "--json", *options]) == 0, capsys.readouterr().err
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_what_is_explained_is_what_is_answered(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    for user in shop.inputs.events.user_ids[:5]:
        document = explained(shop, capsys, user)
        answer = shop.served.blended(user, [], now=shop.inputs.now, limit=10)
        shown = [(item["item_id"], item["score"], item["part"]) for item in document["items"]]
        assert shown == [tuple(item) for item in answer]
        assert (document["version"], document["notes"]) == ("v1", [])
        history = [event["item_id"] for event in document["history"]]
        assert history == [event.item_id for event in shop.served.lists.history_of(user)]


def test_each_item_of_a_personal_list_has_sources_and_features(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    document = explained(shop, capsys, shop.busy)
    personal = [item for item in document["items"] if item["part"] == "personal"]
    assert len(personal) == 10
    for item in personal:
        assert item["sources"]
        assert "session_knn" not in item["sources"]
        assert item["features"]
    assert any(item["causes"] for item in personal)


def test_it_is_told_for_people_too(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shop.busy, "--recommendations", shop.uri, "--events", shop.uri, "--limit", "3"]) == 0
    out = capsys.readouterr().out
    assert f"{shop.busy} at {shop.manifest.as_of[:-5]}" in out
    assert " 1. item-" in out
    assert " 4. item-" not in out
    assert "proposed by " in out
    assert "ranked by " in out


def test_who_is_not_known_gets_what_is_popular_and_it_says_so(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    document = explained(shop, capsys, "nobody")
    assert {item["part"] for item in document["items"]} == {"popular"}
    assert document["notes"] == ["nothing is known of user 'nobody'"]


def test_what_happened_since_the_training_counts_where_there_is_a_database(
    shop: Shop, capsys: pytest.CaptureFixture[str], database: str
) -> None:
    load_version(database, shop.bucket, "v1")
    looked_at = shop.inputs.events.item_ids[7]
    moment = shop.inputs.now + 60_000
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ENSURE_TODAY)
        connection.execute(
            'INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp")'
            " VALUES ('newcomer', 'e1', %s, %s, %s)",
            (looked_at, VIEW, moment),
        )
    document = explained(
        shop, capsys, "newcomer", "--database-url", database, "--as-of", format_moment(moment + 60_000)
    )
    assert document["posted"] == 1
    (own,) = [item for item in document["items"] if item["part"] == "own"]
    assert own["item_id"] == looked_at
    assert [cause["how"] for cause in own["causes"]] == ["same_item"]
    similar = [item for item in document["items"] if item["part"] == "similar"]
    assert similar
    for item in similar:
        assert [cause["event"]["item_id"] for cause in item["causes"]] == [looked_at]
    before = explained(
        shop, capsys, "newcomer", "--database-url", database, "--as-of", format_moment(moment - 1)
    )
    assert before["posted"] == 0


def test_a_database_without_a_live_version_is_told(
    shop: Shop, capsys: pytest.CaptureFixture[str], database: str
) -> None:
    places = ["--recommendations", shop.uri, "--events", shop.uri, "--database-url", database]
    assert main([shop.busy, *places]) == 1
    assert "no version is live yet" in capsys.readouterr().err


def test_events_that_are_no_longer_the_same_are_told(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.publish("v0", dataset_fingerprint="0" * 64)
    (note,) = explained(shop, capsys, shop.busy, "--version", "v0")["notes"]
    assert "not those that the version was trained on" in note


@pytest.mark.parametrize(
    ("version", "told"),
    [("v9", "there is no such version"), ("old", "kept no ranker; train again")],
)
def test_a_version_that_cannot_be_explained_is_told(
    shop: Shop, capsys: pytest.CaptureFixture[str], version: str, told: str
) -> None:
    if version == "old":
        shop.publish("old")
        shop.bucket.delete("recommendations/old/ranker.json")
    places = ["--recommendations", shop.uri, "--events", shop.uri, "--version", version]
    assert main([shop.busy, *places]) == 1
    assert told in capsys.readouterr().err
    if version == "old":
        shop.bucket.delete("recommendations/old/manifest.json")


def test_a_place_without_versions_is_told(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([shop.busy, "--recommendations", str(tmp_path), "--events", shop.uri]) == 1
    assert "holds no version; train one first" in capsys.readouterr().err
