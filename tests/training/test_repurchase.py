from contract.events import PURCHASE
from tests.training.shops import DAY, Row, interactions
from training.repurchase import is_repurchase_worth_showing, repurchase_share


def test_a_shop_whose_people_buy_the_same_again_shows_bought_items() -> None:
    rows: list[Row] = [
        (f"u{n}", "coffee", PURCHASE, month * 30 * DAY) for n in range(40) for month in range(4)
    ]
    assert repurchase_share(interactions(rows)) == 1.0
    assert is_repurchase_worth_showing(interactions(rows))


def test_a_shop_whose_people_never_do_leaves_them_out() -> None:
    rows: list[Row] = [(f"u{n}", f"sofa-{k}", PURCHASE, k * 30 * DAY) for n in range(40) for k in range(4)]
    assert repurchase_share(interactions(rows)) == 0.0
    assert not is_repurchase_worth_showing(interactions(rows))


def test_what_follows_within_the_hour_belongs_to_the_purchase() -> None:
    rows: list[Row] = [(f"u{n}", "sofa", PURCHASE, k * 1000) for n in range(40) for k in range(3)]
    rows += [(f"u{n}", "lamp", PURCHASE, DAY) for n in range(60)]
    assert repurchase_share(interactions(rows)) is None  # 40 later targets are too few to tell


def test_where_too_little_is_known_bought_items_stay() -> None:
    assert is_repurchase_worth_showing(interactions([("u", "i", PURCHASE, 0)]))
