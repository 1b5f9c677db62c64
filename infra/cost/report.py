"""What is printed: for people, and as JSON."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from infra.cost.assumptions import Assumptions
from infra.cost.estimate import Estimate, Line
from infra.cost.prices import PriceList
from infra.cost.savings import Saving, Variant

NOT_COUNTED: Final = (
    "taxes, support, discounts, free tiers and the lower prices of large volumes; data between zones; calls"
    " of S3, KMS and Secrets Manager; what else lies in the buckets"
)
_WIDTH: Final = 110


@dataclass(frozen=True)
class Report:
    """All that is told of one stage."""

    stage: str
    prices: PriceList
    assumptions: Assumptions
    estimate: Estimate
    idle: Estimate
    """Without requests and retrains."""
    with_thousand_more: Estimate
    """With a thousand requests more."""
    savings: Sequence[Saving]
    impossible: Sequence[Variant]

    @property
    def per_thousand(self) -> float | None:
        """What a thousand requests cost, all included; None where there are none."""
        requests = self.assumptions.requests_per_month
        return self.estimate.total / requests * 1000 if requests else None

    @property
    def per_further_thousand(self) -> float:
        """What a thousand more would cost."""
        return self.with_thousand_more.total - self.estimate.total


def as_json(report: Report) -> str:
    """A document with all figures, unrounded."""
    prices, found = report.prices, report.estimate
    document = {
        "stage": report.stage,
        "currency": prices.currency,
        "total": found.total,
        "floor": report.idle.total,
        "per_1000_requests": report.per_thousand,
        "per_further_1000_requests": report.per_further_thousand,
        "lines": [_line_as_json(line) for lines in found.by_group().values() for line in lines],
        "without_price": [
            {"stack": each.stack, "name": each.name, "type": each.kind} for each in found.unpriced
        ],
        "free": dict(found.free),
        "savings": [
            {
                "settings": dict(each.variant.settings),
                "per_month": each.per_month,
                "gives_up": each.variant.gives_up,
            }
            for each in report.savings
        ],
        "impossible": [each.name for each in report.impossible],
        "assumptions": report.assumptions.model_dump(),
        "not_counted": NOT_COUNTED,
        "prices": {
            "region": prices.region,
            "as_of": prices.as_of.isoformat(),
            "unverified": list(prices.unverified),
        },
    }
    return json.dumps(document, indent=2)


def _line_as_json(line: Line) -> dict[str, Any]:
    return {
        "group": line.group,
        "what": line.what,
        "quantity": line.quantity,
        "unit": line.price.unit,
        "price": line.price.amount,
        "per": line.price.per,
        "per_month": line.per_month,
    }


def as_text(report: Report, *, color: bool) -> str:
    """For people."""
    written = io.StringIO()
    console = Console(
        file=written, width=_WIDTH, force_terminal=color, no_color=not color, highlight=False, markup=False
    )
    _tell_what_it_is(console, report)
    console.print(_table(report.estimate))
    _tell_totals(console, report)
    _tell_unpriced(console, report.estimate)
    _tell_savings(console, report)
    _tell_assumptions(console, report)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _tell_what_it_is(console: Console, report: Report) -> None:
    prices, given = report.prices, report.assumptions
    console.print(
        f"{report.stage}: {given.requests_per_month:,.0f} requests a month, {given.users:,.0f} users."
        f" {prices.currency} at list prices of {prices.region}, {prices.as_of}."
    )
    if prices.unverified:
        console.print(
            "The prices are unverified: nobody has compared them with AWS's pages yet"
            f" ({len(prices.unverified)} of {len(prices.services)} services)."
        )


def _table(found: Estimate) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    for heading in ("quantity", "", "unit price", "a month"):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    for group, lines in found.by_group().items():
        table.add_row(group, "", "", "", f"{sum(line.per_month for line in lines):,.2f}", style="bold")
        for line in lines:
            price = line.price
            per = f" / {price.per:,.0f}" if price.per != 1 else ""
            table.add_row(
                f"  {line.what}",
                _number(line.quantity),
                price.unit,
                f"{_price(price.amount)}{per}",
                _money(line.per_month),
            )
    return table


def _tell_totals(console: Console, report: Report) -> None:
    console.print(f"Total                     {report.estimate.total:12,.2f} a month", style="bold")
    console.print(
        f"Floor                     {report.idle.total:12,.2f} a month: nobody calls, nothing is trained"
    )
    if report.per_thousand is not None:
        console.print(
            f"A thousand requests       {report.per_thousand:14,.4f}, all included;"
            f" a thousand more {report.per_further_thousand:,.4f}"
        )


def _tell_unpriced(console: Console, found: Estimate) -> None:
    if found.unpriced:
        console.print("\nWITHOUT A PRICE, so that the total is too low:", style="bold red")
        for resource in found.unpriced:
            console.print(f"  {resource.kind}: {resource.name} in {resource.stack}")


def _tell_savings(console: Console, report: Report) -> None:
    if report.savings:
        console.print("\nWhat would make it cheaper, each by itself:", style="bold")
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        table.add_column()
        for saving in report.savings:
            table.add_row(
                f"−{saving.per_month:,.2f}",
                saving.variant.options,
                f"gives up {saving.variant.gives_up}",
            )
        console.print(table)
    if report.impossible:
        names = ", ".join(variant.name for variant in report.impossible)
        console.print(f"Not possible beside the other settings: {names}")


def _tell_assumptions(console: Console, report: Report) -> None:
    console.print("\nAssumptions (--help explains each, and is how to change it):", style="bold")
    for origin, values in report.assumptions.by_origin().items():
        listed = ", ".join(f"{name} {value:,.10g}" for name, value in values.items())
        console.print(f"{origin}: {listed}")
    free = sum(report.estimate.free.values())
    console.print(f"\n{free} more resources cost nothing by themselves. Not counted: {NOT_COUNTED}.")


def _number(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 or quantity == round(quantity) else f"{quantity:,.2f}"


def _price(amount: float) -> str:
    return f"{amount:.2f}" if amount == round(amount, 2) else f"{amount:.7f}".rstrip("0")


def _money(amount: float) -> str:
    return "< 0.01" if 0 < amount < 0.005 else f"{amount:,.2f}"
