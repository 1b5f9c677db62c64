"""The people of a simulated shop, in blocks: their tastes, and what each of them remembers.

Blocks have a fixed number of people and generators of their own, so that they can be simulated at the same
time, and give the same whoever simulates them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from training.shop import habits
from training.shop.items import Ints, Mask
from training.shop.randomness import PEOPLE, generator

Indices = npt.NDArray[np.intp]

PEOPLE_A_BLOCK: Final = 1 << 16


class People:
    """A block of people, whose numbers go on from `first`; arrays hold an entry a person."""

    def __init__(self, block: int, users: int, n_categories: int, days: int, seed: int) -> None:
        self.block = block
        self.first = block * PEOPLE_A_BLOCK
        self.count = count = min(PEOPLE_A_BLOCK, users - self.first)
        rng = generator(seed, PEOPLE, block)
        self.rate = _rates(count, rng)
        is_later = rng.random(count) < habits.JOINS_LATER
        self.joined = np.where(is_later, rng.integers(0, days, count), 0).astype(np.int32)
        shape = (count, len(habits.FAVOURITE_WEIGHTS))
        self.favourites = rng.integers(0, n_categories, shape, dtype=np.int32)
        self.keenness = rng.lognormal(habits.KEENNESS_MU, habits.KEENNESS_SIGMA, count).astype(np.float32)
        self.memory = Memory.empty(count)
        self.last_visit = np.zeros(count, dtype=np.int32)
        self.bought = np.full(count, -1, dtype=np.int32)
        """The consumable bought last, -1 where there is none."""
        self.bought_on = np.zeros(count, dtype=np.int32)

    def visitors(self, day: int, weekday: int, rng: np.random.Generator) -> Indices:
        """Who comes on a day; weekdays go from 0, Monday."""
        chance = 1.0 - np.exp(-self.rate * habits.WEEKDAY_FACTORS[weekday])
        return np.flatnonzero((rng.random(self.count) < chance) & (self.joined <= day))


def blocks(users: int, n_categories: int, days: int, seed: int) -> Iterator[People]:
    """All people."""
    for block in range(-(-users // PEOPLE_A_BLOCK)):
        yield People(block, users, n_categories, days, seed)


def _rates(count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Sessions a day."""
    sigma = habits.ACTIVITY_SIGMA
    activity = rng.lognormal(-(sigma**2) / 2, sigma, count) * habits.SESSIONS_A_DAY
    return np.minimum(activity, habits.MOST_SESSIONS_A_DAY).astype(np.float32)


@dataclass(frozen=True)
class Memory:
    """The items that people remember: a row a place, the latest first, and a column a person."""

    items: Ints
    """-1 where a place is empty."""
    views: npt.NDArray[np.uint8]
    """How often somebody looked at an item; counts no further than makes a difference."""
    in_cart: Mask

    @classmethod
    def empty(cls, people: int) -> Self:
        """Of people who know nothing."""
        shape = (habits.REMEMBERED, people)
        return cls(
            np.full(shape, -1, dtype=np.int32),
            np.zeros(shape, dtype=np.uint8),
            np.zeros(shape, dtype=np.bool_),
        )

    def of(self, people: Indices) -> "Memory":
        """A copy of what some people remember."""
        return Memory(self.items[:, people], self.views[:, people], self.in_cart[:, people])

    def first(self, people: int) -> "Memory":
        """What the first ones remember: the same arrays, not a copy."""
        return Memory(self.items[:, :people], self.views[:, :people], self.in_cart[:, :people])

    def replace(self, people: Indices, memory: "Memory") -> None:
        """Let some people remember something else."""
        self.items[:, people] = memory.items
        self.views[:, people] = memory.views
        self.in_cart[:, people] = memory.in_cart

    def forget(self, which: Mask) -> None:
        """Empty places: `which` are those of people, or of people and places."""
        np.copyto(self.items, -1, where=which)
        np.copyto(self.views, 0, where=which)
        np.copyto(self.in_cart, False, where=which)

    def look_at(self, items: Ints) -> None:
        """Move an item for each person to the front; where it is new, the item at the end is forgotten."""
        is_it = self.items == items
        last = habits.REMEMBERED - 1
        place = np.full(len(items), last, dtype=np.uint8)
        views = np.zeros(len(items), dtype=np.uint8)
        in_cart = np.zeros(len(items), dtype=np.bool_)
        for number in range(habits.REMEMBERED):
            np.copyto(place, number, where=is_it[number])
            np.copyto(views, self.views[number], where=is_it[number])
            np.copyto(in_cart, self.in_cart[number], where=is_it[number])
        for number in range(last, 0, -1):
            moves = place >= number
            for rows in (self.items, self.views, self.in_cart):
                np.copyto(rows[number], rows[number - 1], where=moves)
        self.items[0] = items
        self.views[0] = np.minimum(views + 1, len(habits.CART_AFTER_VIEWS) - 1)
        self.in_cart[0] = in_cart
