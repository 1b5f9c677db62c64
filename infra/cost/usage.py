"""How much of what is used in a month, before it has a price."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource

HOURS: Final = 730
"""Of a month, as AWS counts: 8,760 hours of a year by 12."""
DAYS: Final = HOURS / 24
SECONDS: Final = HOURS * 3600
GB: Final = 1e9
MB_OF_A_CORE: Final = 1769
"""Memory at which Lambda gives a function one whole core:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


@dataclass(frozen=True)
class Usage:
    """A quantity of something that has a price."""

    group: str
    """Under which heading it is told."""
    what: str
    """What it is, for people."""
    price: str
    """The price's name."""
    quantity: float
    """In the price's unit."""


Rule = Callable[[Resource, Deployment, Assumptions], Iterator[Usage]]
"""What a resource uses in a month. One that uses nothing yields a quantity of 0, or nothing."""


def always(group: str, what: str, price: str, quantity: float = 1) -> Rule:
    """The same for each resource of a kind."""

    def rule(_: Resource, __: Deployment, ___: Assumptions) -> Iterator[Usage]:
        yield Usage(group, what, price, quantity)

    return rule
