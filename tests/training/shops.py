"""Small shops whose right answer is known."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from training.interactions import Interactions

DAY = 86_400_000
START = 1_750_000_000_000

Row = tuple[str, str, str, int]


def events_table(rows: Iterable[Row]) -> pa.Table:
    """Events of (user, item, kind, ms since START), as `read_events` would give them."""
    ordered = sorted((START + moment, user, item, kind) for user, item, kind, moment in rows)
    columns = {
        "user_id": [row[1] for row in ordered],
        "item_id": [row[2] for row in ordered],
        "event_type": [row[3] for row in ordered],
        "timestamp": [row[0] for row in ordered],
    }
    types = {"timestamp": pa.int64()}
    return pa.table(
        {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    )


def interactions(rows: Iterable[Row]) -> Interactions:
    """The same as dense integers."""
    return Interactions.from_table(events_table(rows))


def two_camps(people: int = 20, items: Sequence[str] = ("a1", "a2", "a3", "b1", "b2", "b3")) -> list[Row]:
    """Half of the people only ever turn to the items with `a`, the others to those with `b`.

    Everybody views all but one item of their camp, and buys the first of these.
    """
    rows: list[Row] = []
    for person in range(people):
        camp = [item for item in items if item[0] == "ab"[person % 2]]
        left_out = camp[person // 2 % len(camp)]
        seen = [item for item in camp if item != left_out]
        for number, item in enumerate(seen):
            rows.append((f"user-{person:02}", item, VIEW, person * 1000 + number))
        rows.append((f"user-{person:02}", seen[0], ADD_TO_CART, person * 1000 + 50))
        rows.append((f"user-{person:02}", seen[0], PURCHASE, person * 1000 + 60))
    return rows


def random_shop(
    seed: int, *, users: int = 60, items: int = 40, events: int = 1500, days: int = 40
) -> list[Row]:
    """Distinct events of people who keep to some items each, in visits, of four kinds."""
    random = np.random.default_rng(seed)
    taste = random.integers(0, items, (users, 8))
    visits = random.integers(0, days * DAY // 60_000, (users, 12)) * 60_000
    rows = set()
    for _ in range(events):
        user = int(random.integers(users))
        kind = str(random.choice([VIEW, "wish", ADD_TO_CART, PURCHASE], p=[0.7, 0.1, 0.12, 0.08]))
        moment = int(random.choice(visits[user]) + random.integers(0, 20) * 30_000)
        rows.add((f"user-{user:03}", f"item-{int(random.choice(taste[user])):03}", kind, moment))
    return sorted(rows)
