"""What would make it cheaper: settings that are possible here, with what each is worth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from infra.config import DATABASE_INSTANCES, Config
from infra.errors import ConfigError

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Variant:
    """Other settings, and what is given up with them."""

    settings: Settings
    gives_up: str
    where: Callable[[Config], bool] = lambda _: True
    """Whether there is anything to save."""

    @property
    def name(self) -> str:
        """The setting that it is about; others go along where they have to."""
        return next(f"{name}={value}" for name, value in self.settings.items())

    @property
    def options(self) -> str:
        """As the command line takes it."""
        return " ".join(f"-c {name}={value}" for name, value in self.settings.items())


@dataclass(frozen=True)
class Saving:
    """What a variant is worth in a month."""

    variant: Variant
    per_month: float


_WORTH_IT: Final = 1
_WITHOUT_AIRFLOW: Final = {"mwaa": "false", "retrain_schedule": ""}

_VARIANTS: Final = (
    Variant(_WITHOUT_AIRFLOW, "retrains by a schedule", lambda config: config.mwaa),
    Variant(
        {"mwaa_class": "mw1.micro"},
        "more than three tasks at once, and a scheduler of its own",
        lambda config: config.mwaa and config.mwaa_class != "mw1.micro",
    ),
    Variant(
        {"monitoring": "false", "load_balancer": "false", **_WITHOUT_AIRFLOW},
        "MLflow, dashboards and alerts, and retrains with them",
        lambda config: config.monitoring,
    ),
    Variant(
        {"load_balancer": "false"},
        "people's way to Grafana and MLflow",
        lambda config: config.load_balancer,
    ),
    Variant(
        {"database_multi_az": "false"},
        "personal answers while the database's zone is down",
        lambda config: config.database_multi_az,
    ),
    Variant(
        {"nat_gateways": "1"},
        "retrains while one zone is down",
        lambda config: config.vpc_id is None and config.nat_gateways > 1,
    ),
    Variant({"waf": "false"}, "a limit for each address, and AWS's common rules", lambda config: config.waf),
    Variant({"snap_start": "false"}, "quick starts", lambda config: config.snap_start),
    Variant({"tracing": "false"}, "traces in X-Ray", lambda config: config.tracing),
    Variant(
        {"training_spot": "true"},
        "trainings that nothing interrupts",
        lambda config: not config.training_spot,
    ),
    Variant(
        {"log_retention_days": "14"},
        "logs that are older than two weeks",
        lambda config: config.log_retention_days > 14,
    ),
)


def variants(settings: Settings, config: Config) -> tuple[list[Variant], list[Variant]]:
    """Those that are possible beside the given settings, and those that are not."""
    possible: list[Variant] = []
    impossible: list[Variant] = []
    for variant in (*_VARIANTS, *_smaller_database(config)):
        if not variant.where(config):
            continue
        try:
            other = Config.of({**settings, **variant.settings})
        except ConfigError:
            impossible.append(variant)
        else:
            possible.append(_only_what_differs(variant, config, other))
    return possible, impossible


def savings(total: float, totals: Mapping[str, float], possible: list[Variant]) -> list[Saving]:
    """What variants save, the most first; `totals` are theirs, by name. What saves little is left out."""
    found = [Saving(variant, total - totals[variant.name]) for variant in possible]
    worth_it = [saving for saving in found if saving.per_month >= _WORTH_IT]
    return sorted(worth_it, key=lambda saving: -saving.per_month)


def _smaller_database(config: Config) -> Iterator[Variant]:
    """The next smaller instance of the same family, where there is one."""
    place = DATABASE_INSTANCES.index(config.database_instance)
    smaller = DATABASE_INSTANCES[place - 1] if place else ""
    if smaller.partition(".")[0] == config.database_instance.partition(".")[0]:
        yield Variant(
            {"database_instance": smaller},
            "half of the database's memory",
            lambda config: config.database_secret is None,
        )


def _only_what_differs(variant: Variant, config: Config, other: Config) -> Variant:
    settings = {
        name: value
        for name, value in variant.settings.items()
        if getattr(config, name) != getattr(other, name)
    }
    return replace(variant, settings=settings)
