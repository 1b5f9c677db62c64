"""The catalogue as the training uses it."""

from pathlib import Path

import numpy as np
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.catalogues import catalogue
from tests.training.shops import DAY, START, Row, interactions
from training.catalogue import write_catalogue
from training.errors import BadInputError, VersionError
from training.interactions import BoolArray
from training.shop_items import NOWHERE, STILL_SOLD_DAYS, ShopItems, read_shop_catalogue
from training.storage import Folder

ROWS: list[Row] = [
    ("u", "mug", VIEW, 0),
    ("u", "pan", VIEW, 1),
    ("v", "sofa", PURCHASE, 2),
    ("v", "odd", VIEW, 3),
]
EVENTS = interactions(ROWS)
NOW = START + DAY
CATEGORIES: dict[str, str | None] = {
    "pan": "cooking", "mug": "kitchen", "sofa": "furniture", "odd": None, "wok": "cooking", "bed": "furniture",
}  # fmt: skip
TREE: dict[str, str | None] = {"cooking": "kitchen", "kitchen": "home", "furniture": "home", "home": None}


def names(items: ShopItems, mask: BoolArray) -> set[str]:
    return set(items.named(mask))


def test_items_keep_the_numbers_that_the_events_give_them_and_new_ones_come_behind() -> None:
    items = ShopItems.of(EVENTS, catalogue(CATEGORIES, tree=TREE, sold_out=("pan",)), now=NOW)
    assert items.item_ids.tolist() == [*EVENTS.item_ids, "bed", "wok"]
    assert items.n_known == 4
    assert items.category_of == {name: category for name, category in CATEGORIES.items() if category}
    assert names(items, ~items.available) == {"pan"}
    extended = items.extended(EVENTS)
    assert extended.item_ids.tolist() == items.item_ids.tolist()
    assert extended.items is EVENTS.items


def test_without_a_catalogue_everything_is_available_and_nowhere() -> None:
    items = ShopItems.of(EVENTS, None, now=NOW)
    assert items.item_ids.tolist() == EVENTS.item_ids.tolist()
    assert items.category_of == {}
    assert items.available.all()
    assert not items.unavailable_at(EVENTS, NOW).any()
    assert len(items.lineage(items.categories).rows) == 0
    assert items.category_levels() == []


def test_an_item_that_the_catalogue_does_not_have_is_available_and_nowhere() -> None:
    items = ShopItems.of(EVENTS, catalogue({"pan": "cooking"}), now=NOW)
    (mug,) = np.flatnonzero(items.item_ids == "mug")
    assert items.categories[mug] == NOWHERE
    assert items.available[mug]


def test_what_is_sold_out_and_was_never_touched_is_not_known() -> None:
    items = ShopItems.of(EVENTS, catalogue(CATEGORIES, sold_out=("bed",)), now=NOW)
    assert "bed" not in items.item_ids
    assert "wok" in items.item_ids


def test_a_catalogue_of_later_tells_nothing_of_items_that_are_yet_to_come() -> None:
    items = ShopItems.of(EVENTS, catalogue(CATEGORIES, as_of_ms=NOW + 1), now=NOW)
    assert items.item_ids.tolist() == EVENTS.item_ids.tolist()


def test_each_category_has_those_above_it() -> None:
    items = ShopItems.of(EVENTS, catalogue(CATEGORIES, tree=TREE), now=NOW)
    lineage = items.lineage(items.categories)
    found: dict[str, list[tuple[int, str]]] = {}
    for row, category, level in zip(*lineage, strict=True):
        found.setdefault(items.item_ids[row], []).append((int(level), items.category_ids[category]))
    assert found["pan"] == [(0, "cooking"), (1, "kitchen"), (2, "home")]
    assert found["sofa"] == [(0, "furniture"), (1, "home")]
    assert "odd" not in found
    levels = [{items.category_ids[category] for category in level} for level in items.category_levels()]
    assert levels == [{"home"}, {"furniture", "kitchen"}, {"cooking"}]


def test_a_parent_that_is_no_category_itself_is_at_the_top() -> None:
    items = ShopItems.of(EVENTS, catalogue(CATEGORIES, tree={"kitchen": "elsewhere"}), now=NOW)
    lineage = items.lineage(items.categories)
    assert "elsewhere" in {items.category_ids[category] for category in lineage.categories}


@pytest.mark.parametrize("as_of_ms", [NOW - 1, NOW])
def test_a_catalogue_of_now_or_before_is_taken_at_its_word(as_of_ms: int) -> None:
    items = ShopItems.of(EVENTS, catalogue(CATEGORIES, sold_out=("sofa", "mug"), as_of_ms=as_of_ms), now=NOW)
    assert names(items, items.unavailable_at(EVENTS, NOW)) == {"sofa", "mug"}


def test_by_a_catalogue_of_later_only_that_is_sold_out_which_was_not_bought_lately() -> None:
    """Else a backtest would leave out what was still sold, or show what never was."""
    now = START + round((STILL_SOLD_DAYS + 10) * DAY)
    rows: list[Row] = [
        ("u", "bought lately", PURCHASE, now - START - 5 * DAY),
        ("u", "carted lately", ADD_TO_CART, now - START - 5 * DAY),
        ("u", "seen lately", VIEW, now - START - 5 * DAY),
        ("u", "bought long ago", PURCHASE, 0),
        ("u", "available", VIEW, 0),
    ]
    events = interactions(rows)
    sold_out = ("bought lately", "carted lately", "seen lately", "bought long ago")
    later = catalogue(dict.fromkeys([*sold_out, "available"]), sold_out=sold_out, as_of_ms=now + 1)
    items = ShopItems.of(events, later, now=now)
    assert names(items, items.unavailable_at(events, now)) == {"seen lately", "bought long ago"}


def test_what_is_bought_after_now_changes_nothing_then() -> None:
    future = interactions([*ROWS, ("w", "mug", PURCHASE, 5 * DAY)])
    later = catalogue(CATEGORIES, sold_out=("mug",), as_of_ms=START + 6 * DAY)
    past = future.before(NOW).compact()
    items = ShopItems.of(past, later, now=NOW)
    assert names(items, items.unavailable_at(past, NOW)) == {"mug"}


def test_the_channel_of_a_training_job_holds_the_latest_catalogue(tmp_path: Path) -> None:
    channel = tmp_path / "catalogue"
    assert read_shop_catalogue(channel) is None
    for as_of_ms, item in ((START, "pan"), (START + DAY, "wok")):
        content = catalogue({item: "cooking"})
        write_catalogue(
            Folder(tmp_path), content.items.to_batches(), content.items.schema, content.categories, as_of_ms
        )
    latest, earlier = read_shop_catalogue(channel), read_shop_catalogue(channel, START + DAY - 1)
    assert latest is not None
    assert earlier is not None
    assert latest.items["item_id"].to_pylist() == ["wok"]
    assert earlier.items["item_id"].to_pylist() == ["pan"]
    assert read_shop_catalogue(channel, START - 1) is None


def test_a_damaged_catalogue_is_told(tmp_path: Path) -> None:
    content = catalogue({"pan": "cooking"})
    info = write_catalogue(
        Folder(tmp_path), content.items.to_batches(), content.items.schema, content.categories, START
    )
    (tmp_path / "catalogue" / info.version / "items.parquet").unlink()
    with pytest.raises(VersionError, match="items.parquet: is missing"):
        read_shop_catalogue(tmp_path / "catalogue")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected a folder named catalogue"):
        read_shop_catalogue(tmp_path / "elsewhere")
