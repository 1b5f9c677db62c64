"""Versions that are served at once: who gets which, and who may ask for which."""

import pytest

from contract.recommendation_id import read
from lambdas.recommendations_api.variants import place_of
from tests.lambdas.callers import Api, event
from tests.lambdas.versions import WEIGHTS, execute, history, load_first, load_version

USERS = [f"visitor-{number}" for number in range(200)]


@pytest.fixture
def stored(database: str) -> str:
    """`first` as the default, `second` as `b`, which nobody gets yet, `third` as the canary."""
    load_first(database)
    load_version(
        database,
        "second",
        popular=[("second-top", 1.0)],
        similar={"tent": [("tarp", 0.9)]},
        histories={"known": history(("tent", "view"))},
        blend_weights=WEIGHTS,
        variant="b",
    )
    load_version(database, "third", popular=[("third-top", 1.0)], variant="canary")
    return "first"


def share(database: str, variant: str, of_visitors: float) -> None:
    execute(database, "UPDATE serving SET share = %s WHERE variant = %s", of_visitors, variant)


def variants_of(api: Api, users: list[str]) -> dict[str, str]:
    found = {}
    for start in range(0, len(users), 100):
        body = {"user_ids": users[start : start + 100], "limit": 1}
        for answer in api.post("/v1/recommendations/batch", body).document["answers"]:
            version = {"default": "first", "b": "second"}[answer["variant"]]
            assert answer["model_version"] == version
            assert answer["items"][0]["item_id"] == {"first": "popular-0", "second": "second-top"}[version]
            found[answer["user_id"]] = answer["variant"]
    return found


def test_a_variant_without_a_share_gets_nobody(api: Api, stored: str) -> None:
    assert set(variants_of(api, USERS).values()) == {"default"}


def test_visitors_are_divided_by_the_shares_and_stay_where_they_are(
    api: Api, database: str, stored: str
) -> None:
    share(database, "default", 0.75)
    share(database, "b", 0.25)
    found = variants_of(api, USERS)
    assert found == variants_of(api, USERS)
    assert found == {user: "b" if place_of(user) <= 0.25 else "default" for user in USERS}
    assert 0.15 < list(found.values()).count("b") / len(USERS) < 0.35
    for user in USERS[:20]:
        assert api.recommendations(user, 1).document["variant"] == found[user]
        body = {"user_id": user, "events": []}
        assert api.post("/v1/recommendations", body).document["variant"] == found[user]


def test_a_growing_share_takes_nobody_back(api: Api, database: str, stored: str) -> None:
    share(database, "b", 0.1)
    few = variants_of(api, USERS)
    share(database, "b", 1)
    many = variants_of(api, USERS)
    assert all(many[user] == "b" for user, variant in few.items() if variant == "b")
    assert list(few.values()).count("b") < list(many.values()).count("b") < len(USERS)


def test_nobody_in_particular_gets_the_default(api: Api, database: str, stored: str) -> None:
    share(database, "b", 1)
    share(database, "default", 0)
    assert api.get("/v1/popular").document["variant"] == "default"
    assert api.get("/v1/items/shoe/similar").document["variant"] == "default"
    assert api.post("/v1/recommendations", {"events": []}).document["variant"] == "default"
    assert api.recommendations("anybody").document["variant"] == "b"


def test_a_variant_can_be_asked_for_by_name(api: Api, stored: str) -> None:
    of_user = api.get("/v1/users/known/recommendations?variant=b")
    assert (of_user.document["model_version"], of_user.document["source"]) == ("second", "personalized")
    assert of_user.item_ids[:2] == ["tent", "tarp"]
    assert api.get("/v1/items/tent/similar?variant=b").item_ids == ["tarp"]
    told = {"events": [{"item_id": "tent", "event_type": "view"}], "variant": "b"}
    assert api.post("/v1/recommendations", told).item_ids[:2] == ["tent", "tarp"]
    several = api.post("/v1/recommendations/batch", {"user_ids": ["known", "x"], "variant": "b"})
    assert [each["variant"] for each in several.document["answers"]] == ["b", "b"]


def test_an_answers_id_tells_its_version_and_variant(api: Api, database: str, stored: str) -> None:
    answer = api.get("/v1/users/known/recommendations?variant=b").document
    keys = {key: bytes(secret) for key, secret in execute(database, "SELECT * FROM recommendation_keys()")}
    told = read(answer["recommendation_id"], keys)
    assert (told.version, told.variant, told.source) == ("second", "b", "personalized")
    assert told.is_of("known")
    assert not told.is_of("another")
    of_everybody = read(api.get("/v1/popular").document["recommendation_id"], keys)
    assert (of_everybody.source, of_everybody.user_hash) == ("popular", None)


def test_visitors_of_several_versions_are_answered_in_one_round_trip_without_a_mix(
    api: Api, database: str, stored: str
) -> None:
    share(database, "b", 1)
    api.post_events(*(event(user, "tent") for user in USERS[:100]))
    for _ in range(2):
        answers = api.post("/v1/recommendations/batch", {"user_ids": USERS[:100], "limit": 2}).document
        shown = {
            (each["variant"], *(item["item_id"] for item in each["items"])) for each in answers["answers"]
        }
        assert shown == {("default", "tent", "stove"), ("b", "tent", "tarp")}


@pytest.mark.usefixtures("stored")
class TestCanary:
    def test_answers_nobody_whatever_its_share(self, api: Api, database: str) -> None:
        share(database, "canary", 1)
        assert set(variants_of(api, USERS).values()) == {"default"}

    def test_answers_who_invokes_the_function_itself(self, api: Api) -> None:
        answer = api.directly("/v1/popular?variant=canary")
        assert (answer.document["model_version"], answer.item_ids) == ("third", ["third-top"])

    @pytest.mark.parametrize("target", ["/v1/popular", "/v1/users/u/recommendations", "/v1/items/i/similar"])
    def test_is_not_to_be_had_through_the_gateway(self, api: Api, target: str) -> None:
        answer = api.get(f"{target}?variant=canary")
        assert (answer.status, answer.document["type"]) == (403, "urn:problem:forbidden")

    @pytest.mark.parametrize("target", ["/v1/recommendations", "/v1/recommendations/batch"])
    def test_nor_by_a_body(self, api: Api, target: str) -> None:
        who = {"user_ids": ["u"]} if target.endswith("batch") else {"events": []}
        assert api.post(target, {**who, "variant": "canary"}).status == 403


@pytest.mark.parametrize(
    "target", ["/v1/popular?variant=c", "/v1/users/u/recommendations?variant=c", "/v1/popular?variant=;--"]
)
def test_an_unknown_variant_is_said_to_be_one(api: Api, stored: str, target: str) -> None:
    answer = api.get(target)
    assert (answer.status, answer.document["type"]) == (404, "urn:problem:unknown-variant")


def test_an_unknown_variant_of_a_batch_is_said_to_be_one(api: Api, stored: str) -> None:
    answer = api.post("/v1/recommendations/batch", {"user_ids": ["u"], "variant": "c"})
    assert (answer.status, answer.document["type"]) == (404, "urn:problem:unknown-variant")


def test_more_versions_than_are_remembered_take_turns(api: Api, database: str, stored: str) -> None:
    for number in range(6):
        load_version(database, f"v{number}", popular=[(f"top-{number}", 1.0)], variant=f"x{number}")
        share(database, f"x{number}", 1)
    for _ in range(2):
        for number in range(6):
            assert api.get(f"/v1/popular?variant=x{number}").item_ids == [f"top-{number}"]
    answers = api.post("/v1/recommendations/batch", {"user_ids": USERS[:100], "limit": 1}).document["answers"]
    assert {each["variant"] for each in answers} == {"default", *(f"x{number}" for number in range(6))}
    assert {each["items"][0]["item_id"] for each in answers} == {
        "popular-0",
        *(f"top-{number}" for number in range(6)),
    }
