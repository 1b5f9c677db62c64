"""Trainings: SageMaker runs them when it is asked to, so that no template holds one; the settings say how."""

from collections.abc import Iterator

from infra.config import Config
from infra.cost.assumptions import Assumptions
from infra.cost.rules.images import IMAGES
from infra.cost.usage import HOURS, Usage


def trainings(config: Config, assumptions: Assumptions) -> Iterator[Usage]:
    """By the hour of their machine and its disk. Without monitoring there is nothing that trains."""
    if not config.monitoring:
        return
    hours = assumptions.retrains_per_month * assumptions.training_hours
    machine = config.training_instance
    # Prices of spot capacity change by the hour, so that lists have none.
    share, told = (
        (assumptions.spot_share, f", spot at {assumptions.spot_share:.0%}")
        if config.training_spot
        else (1, "")
    )
    yield Usage(IMAGES, f"{hours:,g} h of {machine}{told}", f"sagemaker.{machine}_hour", hours * share)
    yield Usage(IMAGES, "training, disk", "sagemaker.training_gb", config.training_volume_gb * hours / HOURS)
