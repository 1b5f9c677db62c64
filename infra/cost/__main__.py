"""What a month of a stage costs, before it is deployed.

Reads what the stage synthesizes to, and list prices. Status 0: all resources have a price; 1: nothing was
estimated; 3: the estimate is printed, and names resources without a price.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from infra.command_line import settings_of
from infra.config import STAGES, Config
from infra.cost.assumptions import Assumptions, option
from infra.cost.errors import CostError
from infra.cost.estimate import Estimate, estimate
from infra.cost.prices import BUILT_IN, PriceList
from infra.cost.report import Report, as_json, as_text
from infra.cost.savings import savings, variants
from infra.cost.synthesis import synthesize_each
from infra.errors import ConfigError, DeployError

INCOMPLETE: Final = 3
_BILLED: Final = [stage for stage in STAGES if stage != "local"]
"""Nobody pays for `local`, which runs on one machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print an estimate; the exit status."""
    given = _parser().parse_args(arguments)
    try:
        report = _report(given)
    except (CostError, DeployError) as error:
        sys.stderr.write(f"nothing was estimated: {error}\n")
        return 1
    told = f"{as_json(report)}\n" if given.json else as_text(report, color=sys.stdout.isatty())
    sys.stdout.write(told)
    return INCOMPLETE if report.estimate.unpriced else 0


def _report(given: argparse.Namespace) -> Report:
    assumptions = Assumptions.of(_assumed(given))
    prices = PriceList.read(given.prices)
    settings = {**_settings(given.context), "stage": given.stage}
    config = Config.of(settings)
    possible, impossible = variants(settings, config) if given.savings else ([], [])
    each = [settings, *({**settings, **variant.settings} for variant in possible)]
    if sys.stderr.isatty():
        sys.stderr.write(f"synthesizing {given.stage} with {len(each)} settings, some seconds for each …\n")
    templates, *others = synthesize_each(each)

    def priced(assumed: Assumptions) -> Estimate:
        return estimate(templates, config, prices, assumed)

    found = priced(assumptions)
    totals = {
        variant.name: estimate(other, Config.of(changed), prices, assumptions).total
        for variant, other, changed in zip(possible, others, each[1:], strict=True)
    }
    return Report(
        stage=given.stage,
        prices=prices,
        assumptions=assumptions,
        estimate=found,
        idle=priced(assumptions.idle),
        with_thousand_more=priced(assumptions.with_more_requests(1000)),
        savings=savings(found.total, totals, possible),
        impossible=impossible,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.cost", description=__doc__)
    parser.add_argument("--stage", choices=_BILLED, required=True)
    parser.add_argument(
        "-c",
        "--context",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting, as `cdk deploy` takes it",
    )
    parser.add_argument("--prices", type=Path, default=BUILT_IN, help="default: infra/prices.toml")
    parser.add_argument("--json", action="store_true", help="print a document of JSON instead")
    parser.add_argument(
        "--savings",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="work out what other settings would save, which synthesizes each of them",
    )
    assumed = parser.add_argument_group("assumptions, of a month")
    for name, field in Assumptions.model_fields.items():
        default = "" if field.is_required() else f" Default: {field.default:g}"
        told = " ".join(str(field.description).split()).replace("%", "%%")
        assumed.add_argument(option(name), metavar="N", required=field.is_required(), help=f"{told}{default}")
    return parser


def _assumed(given: argparse.Namespace) -> dict[str, Any]:
    values = {name: getattr(given, name) for name in Assumptions.model_fields}
    return {name: value for name, value in values.items() if value is not None}


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    settings = settings_of(pairs)
    if "stage" in settings:
        raise ConfigError("-c stage: expected --stage instead")
    return settings


if __name__ == "__main__":
    sys.exit(main())
