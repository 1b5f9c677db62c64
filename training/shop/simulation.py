"""A simulated shop, day by day: people with tastes, sessions, and things that they come back to.

What is known about real shops is built in: most people do little and few do much; interest in items has a
long tail, drifts, and favours what is new; whoever puts something into the cart has mostly looked at it
before, and comes back to it; some items go into carts far more readily than others, whatever their
popularity. So recommenders that see what somebody looked at have something to find here that popularity has
not.

How strong each of these is stands in `training.shop.habits`; what was drawn for each item and each person
can be had beside the events, see `training.shop.truth`.
"""

import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import pyarrow as pa

from contract.events import KNOWN_EVENT_TYPES
from training.events import EVENTS_SCHEMA
from training.moments import MILLISECONDS_A_DAY
from training.shop.items import Demand, Items, names
from training.shop.people import People, blocks
from training.shop.randomness import SESSIONS, generator
from training.shop.sessions import Happenings, Sessions

ROWS_A_BATCH: Final = 1 << 18


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
        return self.start_of(0)

    def start_of(self, day: int) -> int:
        """The beginning of a day, numbered from 0, in UTC milliseconds."""
        return (self.end_ms // MILLISECONDS_A_DAY - self.days + day) * MILLISECONDS_A_DAY


def simulate(settings: ShopSettings, threads: int | None = None) -> Iterator[pa.Table]:
    """The events of a shop, a table of EVENT_COLUMNS for each day, sorted by time.

    See `Shop.days` for the threads.
    """
    for day in Shop(settings).days(threads):
        yield pa.Table.from_batches(day, EVENTS_SCHEMA)


class Shop:
    """A shop before its first day. It is simulated once: people remember."""

    def __init__(self, settings: ShopSettings) -> None:
        self.settings = settings
        self.items = Items(settings.items, settings.days, settings.seed)
        self.people = list(blocks(settings.users, self.items.n_categories, settings.days, settings.seed))
        self.user_names = names("user", settings.users, digits=6)
        self._item_names = self.items.names()
        self._kinds = pa.array(KNOWN_EVENT_TYPES)

    def days(self, threads: int | None = None) -> Generator[Iterator[pa.RecordBatch], None, None]:
        """For each day its events, in batches of EVENT_COLUMNS, sorted by time.

        `threads` (one a core where it is None) simulate blocks of people, already those of the next day while
        the caller works on a day's batches; how many they are makes no difference to the events. Memory grows
        with the people, the items, and the events of two days at some 40 bytes each.
        """
        demand = self.items.demand()
        pool = ThreadPoolExecutor(threads or os.cpu_count())

        def start_a_day() -> list[Future[Happenings]]:
            return [
                pool.submit(self._day_of, people, today)
                for today in islice(demand, 1)
                for people in self.people
            ]

        try:
            running = start_a_day()
            for day in range(self.settings.days):
                happened = Happenings.all_of([block.result() for block in running])
                running = start_a_day()
                happened = happened.by_time()
                yield self._batches(day, happened)
        finally:
            pool.shutdown(cancel_futures=True)

    def _day_of(self, people: People, today: Demand) -> Happenings:
        weekday = (self.settings.start_of(today.day) // MILLISECONDS_A_DAY + 3) % 7  # 1970-01-01: a Thursday
        rng = generator(self.settings.seed, SESSIONS, people.block, today.day)
        return Sessions(people, today, weekday, rng).run()

    def _batches(self, day: int, happened: Happenings) -> Iterator[pa.RecordBatch]:
        start_ms = self.settings.start_of(day)
        for first in range(0, len(happened), ROWS_A_BATCH):
            rows = slice(first, first + ROWS_A_BATCH)
            columns = [
                self.user_names.take(pa.array(happened.users[rows])),
                self._item_names.take(pa.array(happened.items[rows])),
                self._kinds.take(pa.array(happened.kinds[rows])),
                pa.array(start_ms + happened.moments[rows].astype(np.int64)),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=EVENTS_SCHEMA)
