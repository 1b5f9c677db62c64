"""What people of a simulated shop do on a day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.moments import MILLISECONDS_A_DAY
from training.shop import habits
from training.shop.items import Demand, Ints, Mask
from training.shop.people import Indices, People

VIEW, CART, PURCHASE = range(3)  # positions in KNOWN_EVENT_TYPES

_CART_AFTER_VIEWS = np.array(habits.CART_AFTER_VIEWS)
_HOUR_SHARES = np.array(habits.HOUR_WEIGHTS) / sum(habits.HOUR_WEIGHTS)


@dataclass(frozen=True)
class Happenings:
    """Events of a day; users, items and kinds as numbers from 0, moments in milliseconds of the day."""

    users: Ints
    items: Ints
    kinds: npt.NDArray[np.uint8]
    moments: Ints

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def all_of(cls, parts: Sequence["Happenings"]) -> "Happenings":
        """Some after others."""
        columns = [(part.users, part.items, part.kinds, part.moments) for part in parts]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def by_time(self) -> "Happenings":
        """The same, sorted by time; what happens at the same moment keeps its order."""
        # Numbers sort several times faster than positions by numbers: each is a moment and a position.
        keys = (self.moments.astype(np.int64) << 32) | np.arange(len(self))
        keys.sort()
        order = keys & 0xFFFF_FFFF
        return Happenings(self.users[order], self.items[order], self.kinds[order], self.moments[order])


class Sessions:
    """One session of each visitor of a day, all at once, step by step.

    Visitors with the longest sessions come first: whoever is still there at a step is a beginning of each
    array, which numpy gives without copying.
    """

    def __init__(self, people: People, demand: Demand, weekday: int, rng: np.random.Generator) -> None:
        self.people, self.demand, self.rng = people, demand, rng
        visitors = people.visitors(demand.day, weekday, rng)
        n = len(visitors)
        lengths = np.minimum(rng.geometric(1 / habits.LOOKS_A_SESSION, n), habits.LONGEST_SESSION)
        self.visitors = visitors[np.argsort(-lengths, kind="stable")]
        self.users = (people.first + self.visitors).astype(np.int32)
        self.keenness = people.keenness[self.visitors]
        self.memory = people.memory.of(self.visitors)
        self.still_there = [int((lengths > step).sum()) for step in range(habits.LONGEST_SESSION)]
        hours = rng.choice(24, n, p=_HOUR_SHARES) + rng.random(n)
        latest = MILLISECONDS_A_DAY - habits.MILLISECONDS_A_SESSION
        self.start = (hours / 24 * latest).astype(np.int32)
        self.elapsed = np.zeros(n, dtype=np.int32)
        self.category = self._categories()
        self.item = np.full(n, -1, dtype=np.int32)
        """What each looked at last, -1 before the first look."""
        self._parts: list[Happenings] = []

    def run(self) -> Happenings:
        """Let every visitor look, choose and buy; all that happened, in no order."""
        self._move_on()
        self._repurchase()
        for n in self.still_there:
            self._look(n)
            self._put_into_cart(n)
        self._buy()
        self.people.memory.replace(self.visitors, self.memory)
        return Happenings.all_of(self._parts)

    def _categories(self) -> Ints:
        """Mostly a favourite one, now and then any."""
        n, weights = len(self.visitors), habits.FAVOURITE_WEIGHTS
        favourites = self.people.favourites[self.visitors, self.rng.choice(len(weights), n, p=weights)]
        anything = self.demand.categories(n, self.rng)
        return np.where(self.rng.random(n) < habits.ANY_CATEGORY, anything, favourites)

    def _move_on(self) -> None:
        """Forget what is no longer sold, and everything, the likelier the longer ago the last visit was."""
        self.memory.forget(~self.demand.is_sold[self.memory.items])
        days_away = self.demand.day - self.people.last_visit[self.visitors]
        stays = 0.5 ** (days_away / habits.DAYS_UNTIL_HALF_MOVED_ON)
        self.memory.forget(~self._happens(stays, len(self.visitors)))
        self.people.last_visit[self.visitors] = self.demand.day

    def _repurchase(self) -> None:
        """Some of what was bought is used up by now, and bought again without much looking."""
        bought = self.people.bought[self.visitors]
        days_since = self.demand.day - self.people.bought_on[self.visitors]
        is_due = (bought >= 0) & (days_since >= habits.DAYS_UNTIL_REPURCHASE) & self.demand.is_sold[bought]
        who = np.flatnonzero(is_due & self._happens(habits.REPURCHASE, len(bought)))
        for kind in (VIEW, CART, PURCHASE):
            self._emit(who, bought[who], kind)
        self.people.bought_on[self.visitors[who]] = self.demand.day

    def _look(self, n: int) -> None:
        """Each of the first `n` looks at something remembered, or like what they looked at before, or new."""
        # Some draw a place that holds nothing yet, and don't come back to anything.
        places = np.minimum(self.rng.geometric(habits.LATEST_FIRST, n), habits.REMEMBERED) - 1
        items = self.memory.items[places, np.arange(n)]
        goes_on = ~self._happens(habits.COMES_BACK, n) | (items < 0)
        stays_near = self._happens(habits.STAYS_NEAR, n) & (self.item[:n] >= 0)
        near, anywhere = np.flatnonzero(goes_on & stays_near), np.flatnonzero(goes_on & ~stays_near)
        items[near] = self.demand.near(self.item[near], self.rng)
        items[anywhere] = self.demand.wanted(self.category[anywhere], self.rng)
        self.memory.first(n).look_at(items)
        self.item[:n] = items
        self._emit(slice(n), items, VIEW)

    def _put_into_cart(self, n: int) -> None:
        items = self.item[:n]
        chance = _CART_AFTER_VIEWS[self.memory.views[0, :n]]
        chance *= self.keenness[:n] * self.demand.items.conversion[items]
        takes = np.flatnonzero(self._happens(chance, n) & ~self.memory.in_cart[0, :n])
        self._emit(takes, items[takes], CART)
        self.memory.in_cart[0, takes] = True

    def _buy(self) -> None:
        """At the end, what lies in the cart is bought, or waits for another day."""
        for items, views, in_cart in zip(
            self.memory.items, self.memory.views, self.memory.in_cart, strict=True
        ):
            who = np.flatnonzero(in_cart & self._happens(habits.BUYS_FROM_CART, len(in_cart)))
            self._emit(who, items[who], PURCHASE)
            in_cart[who] = False
            views[who] = 0
            self._will_run_out(who, items[who])

    def _will_run_out(self, who: Indices, items: Ints) -> None:
        runs_out = self.demand.items.is_consumable[items]
        users = self.visitors[who[runs_out]]
        self.people.bought[users] = items[runs_out]
        self.people.bought_on[users] = self.demand.day

    def _happens(self, chance: float | npt.NDArray[np.float64], n: int) -> Mask:
        happens: Mask = self.rng.random(n) < chance
        return happens

    def _emit(self, who: slice | Indices, items: Ints, kind: int) -> None:
        """Note an event of each of `who`, some time after their last one."""
        further = self.rng.exponential(habits.MEAN_FURTHER_PAUSE, len(items)).astype(np.int32)
        elapsed = self.elapsed[who] + habits.SHORTEST_PAUSE + further
        self.elapsed[who] = np.minimum(elapsed, habits.MILLISECONDS_A_SESSION - 1)
        moments = self.start[who] + self.elapsed[who]
        numbers = self.demand.items.number[items]
        kinds = np.full(len(items), kind, dtype=np.uint8)
        self._parts.append(Happenings(self.users[who], numbers, kinds, moments))
