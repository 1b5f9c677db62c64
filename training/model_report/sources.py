"""Where recommendations come from: candidate sources, and parts of the blend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from training.judged import SERVED, Evaluation, Protocol, Shown

_SHARES: Final = ("found", "found_alone", "shown", "shown_alone")


@dataclass(frozen=True)
class Source:
    """One candidate source; shares of everything that came true, or of all first places."""

    name: str
    found: float
    found_alone: float
    shown: float
    shown_alone: float


@dataclass(frozen=True)
class Part:
    """One part of the blend."""

    name: str
    places: int
    hits: int


def sources(learnt: Mapping[str, Any]) -> tuple[Source, ...]:
    """Those that find most first."""
    shares: Mapping[str, Mapping[str, float]] = learnt.get("sources", {})
    found = [Source(name, *(each[column] for column in _SHARES)) for name, each in shares.items()]
    return tuple(sorted(found, key=lambda source: (-source.found, source.name)))


def parts(evaluation: Evaluation, protocol: Protocol) -> tuple[Part, ...]:
    """Of what the new version shows, the largest first."""
    judged = evaluation.judged[protocol].get(SERVED)
    return _parts(judged.shown) if judged else ()


def _parts(shown: Shown) -> tuple[Part, ...]:
    found = [Part(name, places, shown.hits_by_part.get(name, 0)) for name, places in shown.by_part.items()]
    return tuple(sorted(found, key=lambda part: (-part.places, part.name)))
