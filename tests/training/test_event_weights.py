"""What a kind of event is worth is learnt from what follows it."""

import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import Row, interactions
from training.event_weights import LEAST, PRIOR_EVENTS, learned_event_weights


def shop(bought_favourites: int, people: int = 200) -> list[Row]:
    """Everybody views one item and makes another a favourite; some buy their favourite, none what they viewed."""
    rows: list[Row] = []
    for number in range(people):
        rows += [(f"u{number}", f"seen-{number}", VIEW, 10), (f"u{number}", "liked", "favourite", 20)]
        if number < bought_favourites:
            rows.append((f"u{number}", "liked", PURCHASE, 30))
    return rows


def test_favourites_weigh_much_where_they_are_bought_and_little_where_they_are_not() -> None:
    loved, unloved = (learned_event_weights(interactions(shop(bought))) for bought in (150, 0))
    mean = 150 / 400
    assert loved["favourite"] == pytest.approx((150 + PRIOR_EVENTS * mean) / (200 + PRIOR_EVENTS))
    assert loved[VIEW] == pytest.approx(PRIOR_EVENTS * mean / (200 + PRIOR_EVENTS))
    assert unloved == {"favourite": LEAST, VIEW: LEAST}


def test_targets_weigh_one() -> None:
    weights = learned_event_weights(
        interactions([("u", "i", VIEW, 0), ("u", "i", ADD_TO_CART, 1), ("v", "i", PURCHASE, 2)])
    )
    assert weights[ADD_TO_CART] == weights[PURCHASE] == 1.0
    assert LEAST <= weights[VIEW] <= 1.0


def test_only_what_comes_after_an_event_counts_for_it() -> None:
    before = [(f"u{n}", "i", VIEW, 1) for n in range(100)] + [(f"u{n}", "i", PURCHASE, 2) for n in range(100)]
    after = [(user, item, kind, 3 - moment) for user, item, kind, moment in before]
    at_once = [(user, item, kind, 1) for user, item, kind, _ in before]
    assert learned_event_weights(interactions(before))[VIEW] == 1.0
    assert learned_event_weights(interactions(after))[VIEW] == LEAST
    assert learned_event_weights(interactions(at_once))[VIEW] == LEAST


def test_no_events_have_no_weights_to_learn() -> None:
    nothing = interactions([("u", "i", VIEW, 0)]).before(0)
    assert learned_event_weights(nothing) == {VIEW: LEAST}
