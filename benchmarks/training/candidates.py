"""`python -m benchmarks.training.candidates EVENTS --out FILE`: how many candidates ours has for a user.

So that the peer may rank as many.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.training.shops import read_shop
from training.candidates.generator import fit_generator
from training.interactions import Interactions
from training.settings import Hyperparameters
from training.shop_items import ShopItems

USERS_AT_ONCE = 5_000


def candidates_per_user(events: Interactions, settings: Hyperparameters) -> float:
    """The mean number of distinct items that `fit_served` has ranked for a user when all events are known."""
    events = events.compact()
    now = int(events.timestamps[-1]) + 1
    items = ShopItems.of(events, None, now=now)
    events = items.extended(events)
    generator = fit_generator(events, items, now=now, settings=settings)
    users = events.distinct_users()
    found = sum(
        len(generator.pool(users[start : start + USERS_AT_ONCE], settings.candidates_per_source))
        for start in range(0, len(users), USERS_AT_ONCE)
    )
    return found / len(users)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, write the mean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.candidates", description=__doc__)
    parser.add_argument("events", type=Path, help="Parquet, in order of time")
    parser.add_argument("--out", type=Path, required=True, help="JSON: the mean number")
    options = parser.parse_args(arguments)
    mean = candidates_per_user(read_shop(options.events), Hyperparameters())
    options.out.write_text(json.dumps(mean) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
