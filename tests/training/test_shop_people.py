import numpy as np

from training.shop.habits import CART_AFTER_VIEWS, REMEMBERED
from training.shop.people import PEOPLE_A_BLOCK, Memory, blocks


def test_everybody_is_in_one_block() -> None:
    people = list(blocks(2 * PEOPLE_A_BLOCK + 1, n_categories=9, days=5, seed=0))
    assert [block.first for block in people] == [0, PEOPLE_A_BLOCK, 2 * PEOPLE_A_BLOCK]
    assert [block.count for block in people] == [PEOPLE_A_BLOCK, PEOPLE_A_BLOCK, 1]


def test_what_is_looked_at_moves_to_the_front_as_in_a_list() -> None:
    rng = np.random.default_rng(0)
    memory = Memory.empty(5)
    lists: list[list[list[int]]] = [[] for _ in range(5)]
    for _ in range(200):
        looked_at = rng.integers(0, 12, 5, dtype=np.int32)
        memory.look_at(looked_at)
        for person, item in enumerate(looked_at.tolist()):
            known = [entry for entry in lists[person] if entry[0] == item] or [[item, 0, 0]]
            views = min(known[0][1] + 1, len(CART_AFTER_VIEWS) - 1)
            others = [entry for entry in lists[person] if entry[0] != item]
            lists[person] = [[item, views, known[0][2]], *others][:REMEMBERED]
        puts_it_into_the_cart = rng.random(5) < 0.2
        memory.in_cart[0] |= puts_it_into_the_cart
        for person in np.flatnonzero(puts_it_into_the_cart):
            lists[person][0][2] = 1
        for person, entries in enumerate(lists):
            remembered = np.stack([memory.items, memory.views, memory.in_cart], axis=-1)[:, person].tolist()
            assert remembered[: len(entries)] == entries
            assert all(item == -1 for item, _, _ in remembered[len(entries) :])


def test_some_forget_everything_and_some_things_are_forgotten_by_all() -> None:
    memory = Memory.empty(2)
    for item in (3, 4, 5):
        memory.look_at(np.full(2, item, dtype=np.int32))
    memory.in_cart[:3] = True
    memory.forget(memory.items == 4)
    assert memory.items[:4].T.tolist() == [[5, -1, 3, -1]] * 2
    memory.forget(np.array([True, False]))
    assert memory.items[:4].T.tolist() == [[-1] * 4, [5, -1, 3, -1]]
    assert memory.views[:4].T.tolist() == [[0] * 4, [1, 0, 1, 0]]
    assert memory.in_cart[:4].T.tolist() == [[False] * 4, [True, False, True, False]]
