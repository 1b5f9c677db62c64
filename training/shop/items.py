"""The items of a simulated shop: what they are like, and how much each is wanted on each day."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.shop import habits
from training.shop.randomness import ITEMS, POPULARITY, generator

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CATALOGUE_SCHEMA = pa.schema(
    [("item_id", pa.string()), ("category_id", pa.string()), ("available", pa.bool_())]
)


class Items:
    """Items in categories of differing size; arrays hold an entry an item, or one a category.

    Within a category neighbours are much alike. Names are made of `number`, which is drawn at random, so that
    they give nothing away. An item is sold from day `launch` on, and no more from day `withdrawal` on.
    """

    def __init__(self, count: int, days: int, seed: int) -> None:
        self.count, self._days, self._seed = count, days, seed
        rng = generator(seed, ITEMS)
        self.n_categories = max(1, min(count // 5, round(count**0.5)))
        shares = rng.dirichlet(np.full(self.n_categories, 2.0))
        # At least one item in each; the rest by the sizes.
        rest = rng.choice(self.n_categories, count - self.n_categories, p=shares)
        self.sizes = (1 + np.bincount(rest, minlength=self.n_categories)).astype(np.int32)
        self.starts = (np.cumsum(self.sizes) - self.sizes).astype(np.int32)
        self.category = np.repeat(np.arange(self.n_categories, dtype=np.int32), self.sizes)
        self.number = rng.permutation(count).astype(np.int32)
        self.is_consumable = rng.random(count) < habits.CONSUMABLE_SHARE
        sigma = habits.CONVERSION_SIGMA
        self.conversion = rng.lognormal(-(sigma**2) / 2, sigma, count)
        self._log_popularity = rng.normal(0.0, habits.POPULARITY_SIGMA, count)
        self.launch = self._launches(rng)
        self.withdrawal = self._withdrawals(rng)

    def names(self) -> pa.Array:
        """The item of each `number`."""
        return names("item", self.count, digits=5)

    def category_names(self) -> pa.Array:
        """The name of each category."""
        return names("category", self.n_categories, digits=3)

    def is_sold(self, day: int) -> Mask:
        """Whether each item is to be had on a day."""
        sold: Mask = (self.launch <= day) & (day < self.withdrawal)
        return sold

    def popularity(self) -> Iterator[Floats]:
        """How much each item would be wanted if it were sold and not new, for each day."""
        log_popularity = self._log_popularity
        for day in range(self._days):
            rng = generator(self._seed, POPULARITY, day)
            steps = rng.normal(0.0, habits.DAILY_DRIFT, self.count)
            log_popularity = (1 - habits.DAILY_REVERSION) * log_popularity + steps
            yield np.exp(log_popularity)

    def popularity_at_both_ends(self) -> tuple[Floats, Floats]:
        """That of the first day and of the last."""
        days = self.popularity()
        first = next(days)
        return first, deque(chain([first], days), maxlen=1).pop()

    def catalogue(self) -> pa.Table:
        """What the shop says about its items when the last day is over, by item: `CATALOGUE_SCHEMA`."""
        columns = [
            self.names().take(pa.array(self.number)),
            self.category_names().take(pa.array(self.category)),
            pa.array(self.is_sold(self._days)),
        ]
        return pa.Table.from_arrays(columns, schema=CATALOGUE_SCHEMA).sort_by("item_id")

    def demand(self) -> Iterator["Demand"]:
        """What is wanted, for each day."""
        for day, popularity in enumerate(self.popularity()):
            is_sold = self.is_sold(day)
            is_new = day - self.launch < habits.DAYS_NEW
            weights = np.where(is_sold, popularity * np.where(is_new, habits.NEW_ITEM_BOOST, 1.0), 0.0)
            yield Demand(self, day, is_sold, np.concatenate([[0.0], np.cumsum(weights)]))

    def _launches(self, rng: np.random.Generator) -> Ints:
        """The first day on which each item is sold; long ago for those that aren't new."""
        is_new = rng.random(self.count) < habits.NEW_ITEM_SHARE
        days_to_come = round(self._days * habits.LAUNCHED_AFTER_THE_END / (1 - habits.LAUNCHED_AFTER_THE_END))
        days = rng.integers(0, self._days + days_to_come, self.count)
        launches = np.where(is_new, days, -habits.DAYS_NEW).astype(np.int32)
        launches[self.starts] = -habits.DAYS_NEW  # no category is ever empty
        return launches

    def _withdrawals(self, rng: np.random.Generator) -> Ints:
        """The first day on which each item is sold no more; never for those that stay."""
        goes = (rng.random(self.count) < habits.WITHDRAWN_SHARE) & (self.launch < self._days)
        days = rng.integers(np.clip(self.launch, 0, self._days - 1), self._days) + 1
        withdrawals = np.where(goes, days, np.iinfo(np.int32).max).astype(np.int32)
        withdrawals[self.starts] = np.iinfo(np.int32).max
        return withdrawals


@dataclass(frozen=True)
class Demand:
    """What is wanted on a day, and what is to be had."""

    items: Items
    day: int
    is_sold: Mask
    cumulated: Floats
    """Of the items' weights, from 0 on."""

    @property
    def category_weights(self) -> Floats:
        """How much is wanted in each category."""
        starts = self.items.starts
        weights: Floats = self.cumulated[starts + self.items.sizes] - self.cumulated[starts]
        return weights

    def categories(self, count: int, rng: np.random.Generator) -> Ints:
        """Categories by how much is wanted in each."""
        shares = self.category_weights / self.category_weights.sum()
        return rng.choice(len(shares), count, p=shares).astype(np.int32)

    def wanted(self, categories: Ints, rng: np.random.Generator) -> Ints:
        """For each category one of its items, by popularity."""
        first = self.items.starts[categories]
        end = first + self.items.sizes[categories]
        low = self.cumulated[first]
        drawn = low + rng.random(len(categories)) * (self.cumulated[end] - low)
        items = np.searchsorted(self.cumulated, drawn, side="right") - 1
        inside: Ints = np.clip(items, first, end - 1).astype(np.int32)
        return inside

    def near(self, items: Ints, rng: np.random.Generator) -> Ints:
        """For each item one much like it; itself where that one isn't sold."""
        steps = rng.geometric(habits.NEXT_NEIGHBOUR, len(items)) * rng.choice([-1, 1], len(items))
        categories = self.items.category[items]
        starts = self.items.starts[categories]
        near = starts + (items - starts + steps) % self.items.sizes[categories]
        return np.where(self.is_sold[near], near, items).astype(np.int32)


def names(noun: str, count: int, *, digits: int) -> pa.Array:
    """`noun-0…0` and so on, all of one length."""
    digits = max(digits, len(str(count - 1)))
    numbers = pa.array(np.arange(count)).cast(pa.string())
    return pc.binary_join_element_wise(noun, pc.utf8_lpad(numbers, digits, "0"), "-")
