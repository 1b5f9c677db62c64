"""The dashboards: one a reader. `ALL` is what is generated."""

from collections.abc import Callable
from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.boards import api, overview, retrain_runs, training_and_data, variants

ALL: Final[tuple[Callable[[], Dashboard], ...]] = (
    overview.dashboard,
    api.dashboard,
    training_and_data.dashboard,
    retrain_runs.dashboard,
    variants.dashboard,
)
