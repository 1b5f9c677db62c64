"""What the gate decided and what that means, in plain language: the first thing on the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contract.gate import Outcome
from training.bootstrap import Interval
from training.data_report.findings import findings
from training.judged import Protocol
from training.model_report.comparison import DISCOVERY, Comparison
from training.model_report.material import Material
from training.model_report.popularity import Exposure
from training.model_report.ranker import RankerChoice
from training.model_report.slices import FEWEST_USERS, Slicing
from training.model_report.words import PROTOCOLS, told
from training.ranking_metrics import K
from training.verdict import is_comparable

RECALL: Final = f"recall@{K}"
POPULAR: Final = "popular"
CHAMPION: Final = "champion"
FEW_VISITORS: Final = 100
"""Below this, intervals are so wide that only large differences show."""


@dataclass(frozen=True)
class KeyFigure:
    """One of the few figures that matter."""

    value: str
    what: str
    range: str
    """Where it lies, in words."""


@dataclass(frozen=True)
class Hint:
    """Something to look at, and the section that tells more."""

    section: str
    text: str


@dataclass(frozen=True)
class Evidence:
    """What the sections below the verdict tell."""

    quality: Mapping[Protocol, Comparison]
    champion: Mapping[Protocol, Comparison]
    slicings: Sequence[Slicing]
    exposures: Sequence[Exposure]
    ranker: RankerChoice | None


@dataclass(frozen=True)
class Summary:
    """The verdict for people."""

    headline: str
    meaning: str
    reason: str
    """The gate's own words."""
    figures: tuple[KeyFigure, ...]
    sureness: tuple[str, ...]
    look_at: tuple[Hint, ...]


def summary(material: Material, evidence: Evidence) -> Summary:
    """Of everything that the sections below say."""
    main, champion = _main(evidence.quality), _main(evidence.champion)
    return Summary(
        headline=_headline(material),
        meaning=_meaning(material, main),
        reason=material.gate.verdict.reason,
        figures=tuple(_figures(main, champion)),
        sureness=tuple(_sureness(material, main, champion)),
        look_at=(
            *_comparison_hints(evidence),
            *_slice_hints(evidence.slicings),
            *_model_hints(evidence),
            *_data_hints(material),
        ),
    )


def _main(comparisons: Mapping[Protocol, Comparison]) -> Comparison | None:
    """Of a shop page, where that was judged."""
    return comparisons.get("session") or comparisons.get("batch")


def _headline(material: Material) -> str:
    gate = material.gate
    outcome, live = gate.verdict.outcome, gate.recipe.served
    if outcome is Outcome.KEPT:
        return "The version that is live stays. The new one is not published."
    if outcome is Outcome.REJECTED:
        rest = "the version that is live stays" if live else "nothing is live yet, and nothing goes live"
        return f"The new version is turned away; {rest}."
    if live is None:
        return "The new version goes live. It is the first."
    if not is_comparable(gate.recipe, gate.settings):
        return "The new version goes live, without having been compared with the one that it replaces."
    if any(each.difference.low > 0 for each in gate.recipe.against_served):
        return "The new version goes live. It is better than the one that it replaces."
    return "The new version goes live. It isn't clearly worse than the one that it replaces."


def _meaning(material: Material, main: Comparison | None) -> str:
    if main is None:
        reason = (
            "no visitor carted or bought within the days held out"
            if material.windows
            else "the events span too little time to hold days out"
        )
        return f"There was nothing to judge the new version by: {reason}."
    recall, popular = main.at_ten(RECALL), main.at_ten(RECALL, POPULAR)
    if recall is None:
        raise AssertionError("a comparison has the recall of ours")
    against = f", against {popular.value:.1%} if everybody were shown what is popular" if popular else ""
    where = _capital(told(main.protocol, PROTOCOLS))
    return (
        f"{where}, it finds {recall.value:.1%} of what a visitor goes on to cart or buy: so much of it is "
        f"among its {K} recommendations{against}."
    )


def _figures(main: Comparison | None, champion: Comparison | None) -> Iterator[KeyFigure]:
    if main is None:
        return
    if recall := main.at_ten(RECALL):
        where = told(main.protocol, PROTOCOLS)
        yield KeyFigure(
            f"{recall.value:.1%}",
            f"of what visitors went on to cart or buy was among the {K} items shown {where}",
            _between(recall, main.users),
        )
    if gap := main.gap(RECALL, POPULAR):
        yield KeyFigure(
            _points(gap.value), "against showing everybody what is popular", _points_between(gap, main.users)
        )
    if champion and (gap := champion.gap(RECALL, CHAMPION)):
        yield KeyFigure(
            _points(gap.value),
            "against the version that is live, on days that neither knew",
            _points_between(gap, champion.users),
        )
    elif discovery := main.at_ten(DISCOVERY):
        yield KeyFigure(
            f"{discovery.value:.1%}",
            "found of what visitors had never touched before",
            _between(discovery, main.users),
        )


def _sureness(material: Material, main: Comparison | None, champion: Comparison | None) -> Iterator[str]:
    if main is None:
        yield "How good it is cannot be told; the gate could only look at whether its lists are plausible."
        return
    windows = "1 window" if len(material.windows) == 1 else f"{len(material.windows)} windows"
    yield (
        f"Judged by {_counted(main.users, 'user')} in {windows} of days that were held out. “Between” is a "
        "95 % interval: of 20 such intervals, 19 hold the true figure."
    )
    if main.users < FEW_VISITORS:
        yield "So few can only tell large differences."
    if gap := main.gap(RECALL, POPULAR):
        yield _comparison_told(gap, "showing everybody what is popular", main.users)
    if champion and (gap := champion.gap(RECALL, CHAMPION)):
        yield _comparison_told(gap, "the version that is live", champion.users)


def _comparison_told(gap: Interval, other: str, users: int) -> str:
    if users < FEWEST_USERS:
        return f"{_counted(users, 'user')} can't tell whether it is better than {other}."
    if gap.low > 0:
        return f"It is better than {other}: chance alone doesn't explain the difference."
    if gap.high < 0:
        return f"It is worse than {other}: chance alone doesn't explain the difference."
    if gap.low == gap.high == 0:
        return f"Nothing sets it apart from {other}."
    return f"Whether it is better or worse than {other} can't be told: the difference may be chance."


def _comparison_hints(evidence: Evidence) -> Iterator[Hint]:
    for section, comparisons, other, winner in (
        ("quality", evidence.quality, POPULAR, "what is popular"),
        ("champion", evidence.champion, CHAMPION, "the version that is live"),
    ):
        for protocol, comparison in comparisons.items():
            gap = comparison.gap(RECALL, other)
            if gap and comparison.users >= FEWEST_USERS and gap.high < 0:
                where = _capital(told(protocol, PROTOCOLS))
                yield Hint(section, f"{where}, {winner} finds more than the new version.")


def _model_hints(evidence: Evidence) -> Iterator[Hint]:
    if narrow := [told(each.protocol, PROTOCOLS) for each in evidence.exposures if each.is_narrow]:
        where = _capital(" and ".join(narrow))
        yield Hint("coverage", f"{where}, the best-known items get more room than visitors give them.")
    ranker = evidence.ranker
    if ranker and ranker.is_overfitted:
        yield Hint(
            "ranker",
            f"The ranker did best on unseen examples after {ranker.best_trees} of "
            f"{len(ranker.unseen)} trees: fewer may serve better.",
        )


def _slice_hints(slicings: Sequence[Slicing]) -> Iterator[Hint]:
    for slicing in slicings:
        for protocol, slices in slicing.by_protocol.items():
            worse = [each.name for each in slices if each.is_surely_worse]
            if worse:
                where = told(protocol, PROTOCOLS)
                yield Hint(
                    "slices",
                    f"{slicing.title}, {where}: what is popular does better for {', '.join(worse)}.",
                )


def _data_hints(material: Material) -> Iterator[Hint]:
    asked = material.gate.settings.evaluation_windows
    if 0 < len(material.windows) < asked:
        yield Hint(
            "quality",
            f"Only {_counted(len(material.windows), 'window')} of the {asked} asked for could be held out: "
            "the events span too little time.",
        )
    if material.profile is not None:
        grave = [each for each in findings(material.profile) if each.severity != "note"]
        for finding in grave:
            yield Hint("data", finding.text)
    if not material.is_release:
        yield Hint(
            "ranker",
            "What is said of ranker, sources and examples is of the latest days held out: the gate turned "
            "the recipe away before it learnt from everything.",
        )


def _between(interval: Interval, users: int) -> str:
    if users == 1:
        return "of one user alone: nothing tells how sure that is"
    return f"between {interval.low:.1%} and {interval.high:.1%}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points".replace("-", "−")


def _points_between(interval: Interval, users: int) -> str:
    if users == 1:
        return "of one user alone: nothing tells how sure that is"
    return f"between {100 * interval.low:+.1f} and {100 * interval.high:+.1f} points".replace("-", "−")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
