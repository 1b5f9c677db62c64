"""Generated shops of any size, made once and kept: the same settings give the same bytes."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.bars import FOLDER
from training.errors import BadInputError
from training.generate_shop import generate_shop
from training.interactions import Interactions
from training.shop.simulation import ShopSettings

USERS_A_MILLION = 23_000
"""So many make a million events within `DAYS`."""
ITEMS_OF_A_MILLION = 10_000
"""What a shop sells grows with the root of its events: 55,000 items where there are 30 million."""
DAYS = 60
SEED = 7
TOLERANCE = 0.05
SHOPS = FOLDER / "training"


@dataclass(frozen=True)
class MadeShop:
    """A file of events in order of time."""

    millions: float
    """Of events: what was asked for."""
    file: Path

    @property
    def events(self) -> int:
        """How many there really are."""
        return int(pq.read_metadata(self.file).num_rows)


def settings_of(millions: float) -> ShopSettings:
    """Of a shop of so many million events."""
    return ShopSettings(
        users=round(USERS_A_MILLION * millions),
        items=round(ITEMS_OF_A_MILLION * millions**0.5),
        days=DAYS,
        seed=SEED,
    )


def made_shop(millions: float, folder: Path = SHOPS) -> MadeShop:
    """The shop, made where it isn't there yet.

    Raises BadInputError where it has other than about as many events as were asked for.
    """
    settings = settings_of(millions)
    name = f"{settings.users}-users-{settings.items}-items-{settings.days}-days-{settings.seed}-seed"
    shop = MadeShop(millions, folder / f"events-{name}.parquet")
    if not shop.file.exists():
        print(f"training: making {shop.file} …", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: another run may be making a shop, too.
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as apart:
            generate_shop(settings, Path(apart) / shop.file.name)
            (Path(apart) / shop.file.name).rename(shop.file)
    if abs(shop.events / (millions * 1e6) - 1) > TOLERANCE:
        raise BadInputError(
            f"{shop.file}: has {shop.events:,} events, about {millions * 1e6:,.0f} were asked for; "
            "change USERS_A_MILLION in benchmarks/training/shops.py"
        )
    return shop


def read_shop(file: Path) -> Interactions:
    """The events of a made shop, which are in order of time and distinct."""
    return Interactions.from_table(pq.read_table(file))
