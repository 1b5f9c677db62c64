"""The estimate: usage of all resources, priced and added up."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.config import Config
from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource, Template
from infra.cost.prices import Price, PriceList
from infra.cost.rules import FREE, RULES, trainings
from infra.cost.usage import Usage


@dataclass(frozen=True)
class Line:
    """One kind of usage, of all resources together."""

    group: str
    what: str
    quantity: float
    price: Price

    @property
    def per_month(self) -> float:
        """What it costs."""
        return self.price.of(self.quantity)


@dataclass(frozen=True)
class Estimate:
    """What a month costs."""

    lines: tuple[Line, ...]
    """By group and name, as the rules yield them."""
    unpriced: tuple[Resource, ...]
    """Of kinds that nothing is known about: the total lacks them."""
    free: Mapping[str, int]
    """How many resources cost nothing, by reason."""

    @property
    def total(self) -> float:
        """In the currency of the prices."""
        return sum(line.per_month for line in self.lines)

    def by_group(self) -> dict[str, list[Line]]:
        """Its lines, the most expensive group and line first."""
        groups: dict[str, list[Line]] = {}
        for line in sorted(self.lines, key=lambda line: -line.per_month):
            groups.setdefault(line.group, []).append(line)
        return dict(sorted(groups.items(), key=lambda item: -sum(line.per_month for line in item[1])))


def estimate(
    templates: Mapping[str, Template], config: Config, prices: PriceList, assumptions: Assumptions
) -> Estimate:
    """What a deployment costs. Raises PriceListError that names all prices that are missing."""
    deployment = Deployment(templates)
    used: dict[tuple[str, str, str], float] = {}
    free: Counter[str] = Counter()
    unpriced = []
    for usage in trainings(config, assumptions):
        _add(used, usage)
    for resource in deployment.resources:
        if resource.kind in RULES:
            found = list(RULES[resource.kind](resource, deployment, assumptions))
            for usage in found:
                _add(used, usage)
            free["not used between deployments"] += not found
        elif resource.kind in FREE:
            free[FREE[resource.kind]] += 1
        else:
            unpriced.append(resource)
    return Estimate(tuple(_priced(used, prices)), tuple(unpriced), +free)


def _add(used: dict[tuple[str, str, str], float], usage: Usage) -> None:
    line = (usage.group, usage.what, usage.price)
    used[line] = used.get(line, 0) + usage.quantity


def _priced(used: Mapping[tuple[str, str, str], float], prices: PriceList) -> Iterator[Line]:
    prices.require(name for _, _, name in used)
    for (group, what, name), quantity in used.items():
        yield Line(group, what, quantity, prices.price(name))
