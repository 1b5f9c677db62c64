import numpy as np
import pytest

from tests.training.shops import DAY, START, interactions, random_shop
from training.candidates import Candidates
from training.candidates.generator import fit_generator
from training.candidates.pool import pool
from training.candidates.sources import SOURCES
from training.errors import BadInputError
from training.settings import Hyperparameters
from training.shop_items import ShopItems
from training.source_shares import Proposed, document

NOW = START + 60 * DAY


def names_of_sources(**settings: object) -> list[str]:
    events = interactions(random_shop(0))
    items = ShopItems.of(events, None, now=NOW)
    generator = fit_generator(
        events, items, now=NOW, settings=Hyperparameters(als_factors=4, als_iterations=1, **settings)
    )
    return [source.name for source in generator.sources]


def test_sources_go_by_the_names_that_they_are_registered_under() -> None:
    without_catalogue = [name for name in SOURCES if name not in {"category", "new_items"}]
    assert names_of_sources() == without_catalogue


def test_a_source_can_be_left_out() -> None:
    assert names_of_sources(without_sources="als,own") == ["similar", "session_knn", "recent_popular"]


def test_a_source_that_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(BadInputError, match="'alls' is no candidate source, the nearest is 'als'"):
        names_of_sources(without_sources="own,alls")


def proposals(*pairs: tuple[int, int]) -> Candidates:
    users, items = np.array(sorted(pairs), dtype=np.int32).T
    return Candidates(users, items, np.ones(len(users), dtype=np.float32))


def test_shares_tell_who_proposed_what_and_who_was_alone_with_it() -> None:
    both = pool({"own": proposals((0, 1), (0, 2), (1, 1)), "similar": proposals((0, 1), (1, 3))}, 5)
    found, shown = Proposed(), Proposed()
    found.add(both, np.array([True, True, False, False]), total=4)  # two of the four that nobody proposed
    shown.add(both, np.array([0, 2, 3]), total=3)
    assert document(found, shown) == {
        "own": {"found": 0.5, "found_alone": 0.25, "shown": 2 / 3, "shown_alone": 1 / 3},
        "similar": {"found": 0.25, "found_alone": 0.0, "shown": 2 / 3, "shown_alone": 1 / 3},
    }


def test_shares_of_nothing_are_nothing() -> None:
    empty = pool({"own": Candidates(*(np.empty(0, kind) for kind in (np.int32, np.int32, np.float32)))}, 5)
    found = Proposed()
    found.add(empty, np.zeros(0, dtype=np.bool_), total=0)
    assert document(found, found) == {
        "own": {"found": 0.0, "found_alone": 0.0, "shown": 0.0, "shown_alone": 0.0}
    }
