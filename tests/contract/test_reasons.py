from hypothesis import given
from hypothesis import strategies as st

from contract.blending import BlendedItem, BlendWeights, blend
from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event
from contract.reasons import reasons_of

NOW = 1_750_000_000_000
WEIGHTS = BlendWeights()
SIMILAR = {"shoe": [("shoe", 0.5), ("sock", 0.9), ("lace", 0.2)], "hat": [("scarf", 0.8), ("lace", 0.6)]}


def reasons(*items: str, history: list[Event], source: str = "similar", **more: object) -> list[list[str]]:
    given_inputs: dict[str, object] = {"personal": (), "weights": WEIGHTS, "similar": SIMILAR} | more
    answer = [BlendedItem(item, 1.0, source) for item in items]
    return reasons_of(answer, history=history, **given_inputs)  # type: ignore[arg-type]


def test_an_own_item_is_there_for_what_was_done_with_it_and_for_how_often() -> None:
    history = [Event("shoe", VIEW, NOW), Event("hat", ADD_TO_CART, NOW - 1), Event("hat", VIEW, NOW - 2)]
    assert reasons("shoe", "hat", history=history) == [["looked_at"], ["often_returned_to", "carted"]]
    assert reasons("hat", history=[Event("hat", PURCHASE, NOW)]) == [["bought"]]


def test_a_similar_item_names_the_one_that_it_is_most_similar_to_and_what_was_done_with_that() -> None:
    history = [Event("shoe", VIEW, NOW), Event("hat", ADD_TO_CART, NOW - 1)]
    assert reasons("sock", "scarf", "lace", history=history) == [
        ["viewed_similar:shoe"],
        ["carted_similar:hat"],
        ["carted_similar:hat"],
    ]
    assert reasons("sock", history=[Event("shoe", "wish", NOW)]) == [["similar:shoe"]]


def test_an_item_of_the_trained_list_says_so_and_first_where_that_is_why() -> None:
    history = [Event("shoe", VIEW, NOW)]
    known = {"personal": {"sock", "tent"}}
    assert reasons("sock", "tent", history=history, **known) == [
        ["viewed_similar:shoe", "trained_for_user"],
        ["trained_for_user"],
    ]
    assert reasons("sock", history=history, source="personal", **known) == [
        ["trained_for_user", "viewed_similar:shoe"]
    ]


def test_what_everybody_buys_is_there_for_that() -> None:
    assert reasons("top", history=[]) == [["popular"]]
    assert reasons("top", history=[], category="tents") == [["popular_in:tents"]]


NAMES = st.sampled_from([f"i{n}" for n in range(8)])
EVENTS = st.builds(Event, NAMES, st.sampled_from([VIEW, ADD_TO_CART, PURCHASE, "wish"]), st.just(NOW))
LISTS = st.lists(st.tuples(NAMES, st.floats(0.01, 1)), max_size=6, unique_by=lambda scored: scored[0])


@given(
    history=st.lists(EVENTS, max_size=12),
    similar=st.dictionaries(NAMES, LISTS, max_size=8),
    personal=LISTS,
    popular=LISTS,
)
def test_every_item_of_any_answer_has_reasons_that_are_true(history, similar, personal, popular) -> None:
    answer = blend(
        history=history, similar=similar, personal=personal, popular=popular, weights=WEIGHTS, now=NOW,
        has_news=True, limit=20,
    )  # fmt: skip
    listed = {item for item, _ in personal}
    told = reasons_of(answer, history=history, similar=similar, personal=listed, weights=WEIGHTS)
    own = {event.item_id for event in history}
    for item, each in zip(answer, told, strict=True):
        assert each
        for reason in each:
            kind, _, other = reason.partition(":")
            if kind.endswith("similar"):
                assert other in own
                assert item.item_id in dict(similar[other])
            assert (kind == "trained_for_user") <= (item.item_id in listed)
            assert (kind in {"looked_at", "often_returned_to", "carted", "bought"}) <= (item.item_id in own)
