"""What each kind of resource uses. A new kind takes a line: in a file's RULES, or in FREE."""

from collections.abc import Mapping
from typing import Final

from infra.cost.rules import (
    database,
    edge,
    functions,
    images,
    network,
    observation,
    orchestration,
    servers,
    storage,
)
from infra.cost.rules.free import FREE
from infra.cost.rules.training import trainings
from infra.cost.usage import Rule

RULES: Final[Mapping[str, Rule]] = {
    **functions.RULES,
    **edge.RULES,
    **database.RULES,
    **network.RULES,
    **servers.RULES,
    **orchestration.RULES,
    **images.RULES,
    **storage.RULES,
    **observation.RULES,
}
"""By kind of resource."""

__all__ = ["FREE", "RULES", "trainings"]
