"""List prices: read from a file, checked, looked up by name."""

import tomllib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.cost.errors import PriceListError

BUILT_IN: Final = Path(__file__).parents[1] / "prices.toml"

_HOW: Final = "docs/cost.md says what a list of prices looks like, infra/prices.toml is one"


class Price(BaseModel):
    """What so many of a unit cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    amount: Annotated[float, Field(ge=0)]
    """In the list's currency."""
    unit: Annotated[str, Field(min_length=1)]
    """What is counted, such as `h` or `GB-month`."""
    per: Annotated[float, Field(gt=0)] = 1
    """How many of the unit the price is for."""

    def of(self, quantity: float) -> float:
        """What a quantity costs."""
        return quantity / self.per * self.amount


class Service(BaseModel):
    """Prices that stand on one page."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Annotated[str, Field(pattern=r"^https://\S+$")]
    """The page."""
    verified: bool
    """Whether somebody has compared the prices with the page."""
    evidence: str | None = None
    """Where else they were found, while nobody has."""
    prices: Annotated[dict[str, Price], Field(min_length=1)]


class PriceList(BaseModel):
    """Prices of one region at one time, by service."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    """Where they hold."""
    as_of: date
    """When the list was made."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """By ISO 4217."""
    services: Annotated[dict[str, Service], Field(min_length=1)]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of TOML. Raises PriceListError that tells the file, each field and what is expected."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text()))
        except (OSError, UnicodeDecodeError) as error:
            raise PriceListError(f"{path} cannot be read: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise PriceListError(f"{path} is not TOML: {error}; {_HOW}") from None
        except ValidationError as error:
            problems = [
                f"{path}: {'.'.join(map(str, problem['loc']))}:"
                f" {problem['msg'].replace('Input should be', 'expected')}"
                for problem in error.errors()
            ]
            raise PriceListError("\n".join([*problems, _HOW])) from None

    @property
    def unverified(self) -> tuple[str, ...]:
        """Services whose prices nobody has compared with their page."""
        return tuple(name for name, service in self.services.items() if not service.verified)

    def price(self, name: str) -> Price:
        """By service and name, as `nat.hour`. Raises PriceListError."""
        self.require([name])
        service, _, rest = name.partition(".")
        return self.services[service].prices[rest]

    def require(self, names: Iterable[str]) -> None:
        """Raise PriceListError that names all that are missing."""
        missing = sorted({name for name in names if not self._has(name)})
        if missing:
            raise PriceListError(f"the list of prices lacks {', '.join(missing)}; {_HOW}")

    def _has(self, name: str) -> bool:
        service, _, rest = name.partition(".")
        return service in self.services and rest in self.services[service].prices
