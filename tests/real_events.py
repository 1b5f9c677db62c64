"""Real shop events, read where they lie beside the checkout; never part of the project (their licence)."""

from pathlib import Path

import pytest

RETAILROCKET = Path(__file__).parents[2] / "shared/data/retailrocket/events.parquet"

needs_retailrocket = pytest.mark.skipif(
    not RETAILROCKET.exists(),
    reason="the RetailRocket events are not beside this checkout (research licence)",
)
