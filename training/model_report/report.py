"""A training run as a page for people: whether the new model is better, for whom, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from jinja2 import Environment

from training.bootstrap import Interval
from training.data_report.findings import findings, rejected_by_reason
from training.data_report.plots import days_plot
from training.importing.rows import REASONS
from training.judged import PROTOCOLS, SERVED, Judged, Protocol
from training.model_report import words
from training.model_report.comparison import COLUMNS, CURVES, LENGTHS, Comparison, compare
from training.model_report.examples import examples
from training.model_report.material import Material
from training.model_report.plots import (
    comparison_plot,
    curves_plot,
    exposure_plot,
    parts_plot,
    shares_plot,
    slices_plot,
    sources_plot,
)
from training.model_report.popularity import ALL_BANDS, TRUTH, exposure
from training.model_report.ranker import OTHERS, ranker_choice
from training.model_report.slices import FEWEST_USERS, by_category, by_history, by_item_age
from training.model_report.sources import parts, sources
from training.model_report.verdict import Evidence, summary
from training.moments import format_moment
from training.pages import environment, signed
from training.settings import Hyperparameters, text_of
from training.settings_listing import docstring
from training.split import Window

_T = TypeVar("_T")

_TEMPLATE: Final = "report.html"
_QUALITY: Final = (SERVED, "popular", "item_item")
_CHAMPION: Final = ("recipe", "champion", "popular")
_SHOWN_FIRST: Final = tuple(reversed(PROTOCOLS))
"""A shop page says more than a mailing."""


@dataclass(frozen=True)
class Setting:
    """One hyperparameter."""

    name: str
    value: str
    default: str
    what: str


def report_page(material: Material) -> str:
    """One HTML page that needs nothing else; the same material gives the same bytes. No user is named."""
    seed = material.gate.settings.seed
    evaluation = material.evaluation
    quality = _quality(material)
    champion = _champion(material)
    slicings = [by_history(evaluation, seed), by_item_age(evaluation, seed)]
    if material.category_of:
        slicings.append(by_category(evaluation, material.category_of, seed))
    slicings = [each for each in slicings if each.by_protocol]
    exposures = _present(exposure(protocol, evaluation.judged[protocol]) for protocol in _SHOWN_FIRST)
    ranker = ranker_choice(material.learnt)
    candidate_sources = sources(material.learnt)
    parts_of = {protocol: found for protocol in _SHOWN_FIRST if (found := parts(evaluation, protocol))}
    event_weights: Mapping[str, float] = material.learnt.get("event_weights", {})
    measures: Mapping[str, float] = material.learnt.get("blend", {}).get("measures", {})
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            material=material,
            gate=material.gate,
            profile=material.profile,
            windows=[_days(window) for window in material.windows],
            summary=summary(material, Evidence(quality, champion, slicings, exposures, ranker)),
            quality=[(each, comparison_plot(each, f"quality-{each.protocol}")) for each in quality.values()],
            champion=[
                (each, comparison_plot(each, f"champion-{each.protocol}")) for each in champion.values()
            ],
            since=_days(material.since_cut_off.window) if material.since_cut_off else None,
            slicings=[(each, slices_plot(each)) for each in slicings],
            exposures=[(each, exposure_plot(each)) for each in exposures],
            sources=candidate_sources,
            sources_plot=sources_plot(candidate_sources) if candidate_sources else None,
            parts_of=parts_of,
            parts_plot=parts_plot(parts_of) if parts_of else None,
            ranker=ranker,
            curves_plot=curves_plot(ranker) if ranker and ranker.unseen else None,
            importance_plot=shares_plot(
                ranker.importance, "importance", "share of what moves a score, %", unit="%"
            )
            if ranker and ranker.importance
            else None,
            event_weights=event_weights,
            weights_plot=shares_plot(event_weights, "event-weights", "how likely a cart or purchase follows")
            if event_weights
            else None,
            measures=measures,
            findings=findings(material.profile) if material.profile else (),
            rejected=rejected_by_reason(material.profile) if material.profile else {},
            days_plot=days_plot(material.profile) if material.profile else None,
            examples=examples(
                material.examples, now=_lists_until(material), category_of=material.category_of
            ),
            changed=[each for each in _settings(material) if each.value != each.default],
            settings=_settings(material),
            seconds_plot=shares_plot(material.seconds, "seconds", "seconds", unit=" s")
            if material.seconds
            else None,
            reasons=REASONS,
            words=words,
            columns=COLUMNS,
            curves=CURVES,
            lengths=LENGTHS,
            all_bands=ALL_BANDS,
            truth=TRUTH,
            others=OTHERS,
            fewest_users=FEWEST_USERS,
        )
    )


def _present(found: Iterable[_T | None]) -> list[_T]:
    return [each for each in found if each is not None]


def _environment() -> Environment:
    made = environment(Path(__file__).parent)
    made.filters |= {"estimate": _estimate, "change": _change, "told": words.told, "moved": _moved}
    return made


def _quality(material: Material) -> dict[Protocol, Comparison]:
    return _comparisons(
        {protocol: material.evaluation.judged[protocol] for protocol in _SHOWN_FIRST},
        ours=SERVED,
        plotted=_QUALITY,
        against=("popular", "item_item"),
        seed=material.gate.settings.seed,
    )


def _champion(material: Material) -> dict[Protocol, Comparison]:
    since = material.since_cut_off
    if since is None:
        return {}
    judged: dict[Protocol, dict[str, Judged]] = {}
    for protocol in _SHOWN_FIRST:
        recipe, live = since.recipe.judged[protocol], since.champion.judged[protocol]
        named = {"recipe": recipe.get(SERVED), "champion": live.get(SERVED), "popular": recipe.get("popular")}
        judged[protocol] = {name: each for name, each in named.items() if each is not None}
    return _comparisons(
        judged,
        ours="recipe",
        plotted=_CHAMPION,
        against=("champion", "popular"),
        seed=material.gate.settings.seed,
    )


def _comparisons(judged: Mapping[Protocol, Mapping[str, Judged]], **asked: Any) -> dict[Protocol, Comparison]:
    found = {protocol: compare(protocol, models, **asked) for protocol, models in judged.items()}
    return {protocol: each for protocol, each in found.items() if each is not None}


def _lists_until(material: Material) -> int:
    """The moment that the explained lists are of, ms UTC."""
    if material.is_release or not material.windows:
        return material.gate.recipe.as_of
    return material.windows[0].start


def _settings(material: Material) -> list[Setting]:
    defaults = Hyperparameters()
    return [
        Setting(name, text_of(value), text_of(getattr(defaults, name)), docstring(name))
        for name, value in material.gate.settings
    ]


def _days(window: Window) -> str:
    return f"{_minute(window.start)} to {_minute(window.end)}"


def _minute(moment: int) -> str:
    return format_moment(moment)[:16].replace("T", " ")


def _estimate(interval: Interval | None) -> str:
    """A figure, and its 95 % interval."""
    return f"{interval.value:.4f} ({interval.low:.4f}–{interval.high:.4f})" if interval else "–"


def _change(interval: Interval | None) -> str:
    """A difference, and its 95 % interval."""
    if interval is None:
        return "–"
    return f"{signed(interval.value)} ({signed(interval.low)} to {signed(interval.high)})"


def _moved(added: float) -> str:
    """What a feature adds to a score."""
    return f"{added:+.2f}".replace("-", "−")
