"""A simulated shop, day by day: people with tastes, sessions, and things that they come back to.

What is known about real shops is built in: most people do little and few do much; interest in items has a
long tail, drifts, and favours what is new; whoever puts something into the cart has mostly looked at it
before, and comes back to it. So recommenders that see what somebody looked at have something to find
here that popularity has not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contract.events import KNOWN_EVENT_TYPES
from training.events import EVENTS_SCHEMA
from training.moments import MILLISECONDS_A_DAY

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

VIEW, CART, PURCHASE = range(3)  # positions in KNOWN_EVENT_TYPES

REMEMBERED: Final = 8
"""How many items a person remembers, the latest first."""

LONGEST_SESSION: Final = 15
MILLISECONDS_A_SESSION: Final = 30 * 60 * 1000
SESSIONS_A_DAY: Final = 0.16
"""Of the average person."""

COMES_BACK: Final = 0.3
"""How often the next look is at something remembered."""
DAYS_UNTIL_HALF_MOVED_ON: Final = 4.0
"""Half of those who stay away for so long have lost interest in all that they looked at."""

STAYS_NEAR: Final = 0.55
"""How often a new item is one much like the item before."""
CART_AFTER_VIEWS: Final = np.array([0.0, 0.02, 0.05, 0.10, 0.16, 0.22])
BUYS_FROM_CART: Final = 0.4
"""How often what lies in the cart is bought when a session ends."""

CONSUMABLE_SHARE: Final = 0.2
DAYS_UNTIL_REPURCHASE: Final = 10
REPURCHASE: Final = 0.15

NEW_ITEM_SHARE: Final = 0.2
NEW_ITEM_BOOST: Final = 4.0
DAYS_NEW: Final = 10
DAILY_DRIFT: Final = 0.15
"""Standard deviation of an item's daily step in log popularity."""

WEEKDAY_FACTORS: Final = np.array([1.0, 0.95, 0.95, 1.0, 1.05, 1.25, 1.3])  # from Monday
HOUR_WEIGHTS: Final = np.array(
    [3, 2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 9, 8, 8, 9, 10, 12, 14, 15, 13, 9, 5], dtype=np.float64
)


@dataclass(frozen=True)
class ShopSettings:
    """The size of a shop; the same settings give the same events."""

    users: int = 2_000
    items: int = 500
    days: int = 45
    seed: int = 0
    end_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    """Days are whole ones in UTC; the last one ends here, or with the midnight before."""

    @property
    def start_ms(self) -> int:
        """The beginning of the first day."""
        return (self.end_ms // MILLISECONDS_A_DAY - self.days) * MILLISECONDS_A_DAY


@dataclass(frozen=True)
class Day:
    """The events of one day, sorted by time; users, items and kinds as numbers from 0."""

    users: Ints
    items: Ints
    kinds: Ints
    timestamps: Ints


def simulate(settings: ShopSettings) -> Iterator[pa.Table]:
    """The events of a shop, a table of EVENT_COLUMNS for each day, sorted by time.

    Memory grows with the users, the items, and the events of one day.
    """
    user_names = _names("user", settings.users, digits=6)
    item_names = _names("item", settings.items, digits=5)
    kinds = pa.array(KNOWN_EVENT_TYPES)
    for day in _Shop(settings).days():
        columns = [
            user_names.take(pa.array(day.users)),
            item_names.take(pa.array(day.items)),
            kinds.take(pa.array(day.kinds)),
            pa.array(day.timestamps),
        ]
        yield pa.Table.from_arrays(columns, schema=EVENTS_SCHEMA)


def _names(noun: str, count: int, *, digits: int) -> pa.Array:
    digits = max(digits, len(str(count - 1)))
    return pa.array([f"{noun}-{number:0{digits}d}" for number in range(count)])


class _Catalogue:
    """Items, numbered at random, in categories of differing size; how much each is wanted today."""

    def __init__(self, settings: ShopSettings, rng: np.random.Generator) -> None:
        n_items = settings.items
        self.n_categories = max(1, min(n_items // 5, round(n_items**0.5)))
        shares = rng.dirichlet(np.full(self.n_categories, 2.0))
        # At least one item in each; the rest by the sizes.
        rest = rng.choice(self.n_categories, n_items - self.n_categories, p=shares)
        self.sizes = 1 + np.bincount(rest, minlength=self.n_categories)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        self.category = np.repeat(np.arange(self.n_categories), self.sizes)
        # Within a category neighbours are much alike. Names must not tell any of this.
        self.number = rng.permutation(n_items)
        self.is_consumable = rng.random(n_items) < CONSUMABLE_SHARE
        self._log_weights = rng.normal(0.0, 1.3, n_items)
        is_new = rng.random(n_items) < NEW_ITEM_SHARE
        self._launch = np.where(is_new, rng.integers(0, settings.days, n_items), -DAYS_NEW)
        self._launch[self.starts] = -DAYS_NEW  # no category is ever empty

    def open_day(self, day: int, rng: np.random.Generator) -> None:
        """Let popularity drift, and new items come in."""
        self._log_weights = 0.99 * self._log_weights + rng.normal(0.0, DAILY_DRIFT, len(self.number))
        age = day - self._launch
        is_new = (age >= 0) & (age < DAYS_NEW)
        weights = np.exp(self._log_weights) * np.where(is_new, NEW_ITEM_BOOST, 1.0)
        self._is_there = age >= 0
        self._cumulated = np.concatenate([[0.0], np.cumsum(np.where(self._is_there, weights, 0.0))])
        ends = self._cumulated[self.starts + self.sizes]
        self.category_weights = ends - self._cumulated[self.starts]

    def wanted(self, categories: Ints, rng: np.random.Generator) -> Ints:
        """For each category one of its items, by popularity."""
        low = self._cumulated[self.starts[categories]]
        drawn = low + rng.random(len(categories)) * self.category_weights[categories]
        items = np.searchsorted(self._cumulated, drawn, side="right") - 1
        last = self.starts[categories] + self.sizes[categories] - 1
        inside: Ints = np.clip(items, self.starts[categories], last)
        return inside

    def near(self, items: Ints, rng: np.random.Generator) -> Ints:
        """For each item one much like it; itself where that one isn't sold yet."""
        steps = rng.geometric(0.6, len(items)) * rng.choice([-1, 1], len(items))
        categories = self.category[items]
        places = (items - self.starts[categories] + steps) % self.sizes[categories]
        near = self.starts[categories] + places
        return np.where(self._is_there[near], near, items)


class _Shop:
    """The people, what each of them remembers, and the days as they pass."""

    def __init__(self, settings: ShopSettings) -> None:
        self.settings = settings
        rng = np.random.default_rng([settings.seed, 0])
        self.catalogue = _Catalogue(settings, rng)
        n_users, n_categories = settings.users, self.catalogue.n_categories
        activity = rng.lognormal(0.0, 1.4, n_users)
        self.rate = np.minimum(activity / activity.mean() * SESSIONS_A_DAY * 1.6, 2.0)
        is_later = rng.random(n_users) < 0.4
        self.joined = np.where(is_later, rng.integers(0, settings.days, n_users), 0)
        self.favourites = rng.integers(0, n_categories, (n_users, 3))
        self.keenness = rng.lognormal(-0.2, 0.6, n_users)
        self.remembered = np.full((n_users, REMEMBERED), -1, dtype=np.int32)
        self.views = np.zeros((n_users, REMEMBERED), dtype=np.int16)
        self.in_cart = np.zeros((n_users, REMEMBERED), dtype=np.bool_)
        self.last_visit = np.zeros(n_users, dtype=np.int32)
        self.bought = np.full(n_users, -1, dtype=np.int32)
        self.bought_on = np.zeros(n_users, dtype=np.int32)

    def days(self) -> Iterator[Day]:
        """Every day's events."""
        for day in range(self.settings.days):
            # A generator a day: what one day draws can't shift the others' numbers.
            rng = np.random.default_rng([self.settings.seed, 1, day])
            self.catalogue.open_day(day, rng)
            yield self._day(day, self.settings.start_ms + day * MILLISECONDS_A_DAY, rng)

    def _day(self, day: int, start_ms: int, rng: np.random.Generator) -> Day:
        weekday = (start_ms // MILLISECONDS_A_DAY + 3) % 7  # 1970-01-01 was a Thursday
        chance = 1.0 - np.exp(-self.rate * WEEKDAY_FACTORS[weekday])
        comes = (rng.random(self.settings.users) < chance) & (self.joined <= day)
        visitors = np.flatnonzero(comes)
        session = _Session(self, visitors, day, start_ms, rng)
        session.run()
        return session.events()


class _Session:
    """One session of each visitor of a day, all at once, step by step."""

    def __init__(
        self, shop: _Shop, visitors: Ints, day: int, start_ms: int, rng: np.random.Generator
    ) -> None:
        self.shop, self.visitors, self.day, self.rng = shop, visitors, day, rng
        n = len(visitors)
        self.lengths = np.minimum(rng.geometric(0.2, n), LONGEST_SESSION)
        hours = rng.choice(24, n, p=HOUR_WEIGHTS / HOUR_WEIGHTS.sum())
        within = (hours + rng.random(n)) / 24 * (MILLISECONDS_A_DAY - MILLISECONDS_A_SESSION)
        self.start = start_ms + within.astype(np.int64)
        self.elapsed = np.zeros(n, dtype=np.int64)
        self.item = np.full(n, -1, dtype=np.int64)
        self.category = self._categories()
        self._parts: list[tuple[Ints, Ints, Ints, Ints]] = []

    def run(self) -> None:
        """Let every visitor look, choose and buy."""
        self._move_on()
        self._repurchase()
        for step in range(LONGEST_SESSION):
            who = np.flatnonzero(self.lengths > step)
            if not len(who):
                break
            self.item[who] = self._next_items(who)
            self._emit(who, self.item[who], VIEW)
            self._remember(who)
            self._put_into_cart(who)
        self._buy()

    def events(self) -> Day:
        """All that happened, sorted by time."""
        users, items, kinds, timestamps = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((kinds, items, users, timestamps))
        return Day(users[order], self.shop.catalogue.number[items[order]], kinds[order], timestamps[order])

    def _categories(self) -> Ints:
        """Mostly a favourite one, now and then any, by how much it is wanted today."""
        n = len(self.visitors)
        which = self.rng.choice(3, n, p=[0.6, 0.25, 0.15])
        categories = self.shop.favourites[self.visitors, which]
        weights = self.shop.catalogue.category_weights
        anything = self.rng.choice(len(weights), n, p=weights / weights.sum())
        return np.where(self.rng.random(n) < 0.2, anything, categories)

    def _next_items(self, who: Ints) -> Ints:
        catalogue, rng = self.shop.catalogue, self.rng
        items = catalogue.wanted(self.category[who], rng)
        last = self.item[who]
        stays_near = (rng.random(len(who)) < STAYS_NEAR) & (last >= 0)
        items = np.where(stays_near, catalogue.near(np.maximum(last, 0), rng), items)
        remembered = self.shop.remembered[self.visitors[who]]
        # The latest are the likeliest; some draw a place that holds nothing yet, and look at something new.
        places = np.minimum(rng.geometric(0.45, len(who)) - 1, REMEMBERED - 1)
        drawn = remembered[np.arange(len(who)), places]
        comes_back = (rng.random(len(who)) < COMES_BACK) & (drawn >= 0)
        return np.where(comes_back, drawn, items)

    def _remember(self, who: Ints) -> None:
        """Move what was looked at to the front; where it is new, the item at the end is forgotten."""
        users, items = self.visitors[who], self.item[who]
        is_it = self.shop.remembered[users] == items[:, np.newaxis]
        is_known = is_it.any(axis=1)
        place = np.where(is_known, is_it.argmax(axis=1), REMEMBERED - 1)[:, np.newaxis]
        columns = np.arange(REMEMBERED)
        moved = np.where(columns == 0, place, np.where(columns <= place, columns - 1, columns))
        for memory in (self.shop.remembered, self.shop.views, self.shop.in_cart):
            memory[users] = np.take_along_axis(memory[users], moved, axis=1)
        self.shop.remembered[users, 0] = items
        self.shop.views[users, 0] = np.where(is_known, self.shop.views[users, 0] + 1, 1)
        self.shop.in_cart[users, 0] &= is_known

    def _put_into_cart(self, who: Ints) -> None:
        users = self.visitors[who]
        views = np.minimum(self.shop.views[users, 0], len(CART_AFTER_VIEWS) - 1)
        chance = CART_AFTER_VIEWS[views] * self.shop.keenness[users]
        takes = (self.rng.random(len(who)) < chance) & ~self.shop.in_cart[users, 0]
        self._emit(who[takes], self.item[who[takes]], CART)
        self.shop.in_cart[users[takes], 0] = True

    def _buy(self) -> None:
        """At the end, what lies in the cart is bought, or waits for another day."""
        for place in range(REMEMBERED):
            in_cart = self.shop.in_cart[self.visitors, place]
            buys = np.flatnonzero(in_cart & (self.rng.random(len(self.visitors)) < BUYS_FROM_CART))
            users = self.visitors[buys]
            items = self.shop.remembered[users, place].astype(np.int64)
            self._emit(buys, items, PURCHASE)
            self.shop.in_cart[users, place] = False
            self.shop.views[users, place] = 0
            self._will_run_out(users, items)

    def _move_on(self) -> None:
        """Forget everything, the likelier the longer ago the last visit was."""
        days_away = self.day - self.shop.last_visit[self.visitors]
        stays = 0.5 ** (days_away / DAYS_UNTIL_HALF_MOVED_ON)
        forgets = self.visitors[self.rng.random(len(self.visitors)) >= stays]
        self.shop.remembered[forgets] = -1
        self.shop.views[forgets] = 0
        self.shop.in_cart[forgets] = False
        self.shop.last_visit[self.visitors] = self.day

    def _repurchase(self) -> None:
        """Some of what was bought is used up by now, and bought again without much looking."""
        users = self.visitors
        is_due = (self.shop.bought[users] >= 0) & (
            self.day - self.shop.bought_on[users] >= DAYS_UNTIL_REPURCHASE
        )
        who = np.flatnonzero(is_due & (self.rng.random(len(users)) < REPURCHASE))
        items = self.shop.bought[users[who]].astype(np.int64)
        for kind in (VIEW, CART, PURCHASE):
            self._emit(who, items, kind)
        self._will_run_out(users[who], items)

    def _will_run_out(self, users: Ints, items: Ints) -> None:
        runs_out = self.shop.catalogue.is_consumable[items]
        self.shop.bought[users[runs_out]] = items[runs_out]
        self.shop.bought_on[users[runs_out]] = self.day

    def _emit(self, who: Ints, items: Ints, kind: int) -> None:
        """Note an event of each of `who`, some time after his last one."""
        pause = 2_000 + self.rng.exponential(35_000, len(who)).astype(np.int64)
        self.elapsed[who] = np.minimum(self.elapsed[who] + pause, MILLISECONDS_A_SESSION - 1)
        kinds = np.full(len(who), kind, dtype=np.int64)
        self._parts.append((self.visitors[who], items, kinds, self.start[who] + self.elapsed[who]))
