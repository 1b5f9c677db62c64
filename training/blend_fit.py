"""The weights of the blend, fitted on visitors of earlier days; and those of the measures of similarity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import structlog

from contract.blending import BlendWeights
from training.blend_examples import BlendExamples, Fading
from training.candidates.similar_items import MEASURES, USUAL_SHARES
from training.ranking.softmax import Doubles, fit_softmax

log = structlog.get_logger()

RANK_DECAYS = (0.8, 0.97)
HALF_LIVES_DAYS = (3.0, 60.0)
"""What is tried one after the other, beside what `BlendWeights` begins with."""
L2 = 1.0
"""How strongly the weights are held where the fit begins, in visitors by a unit of a feature's spread."""
ALWAYS = ("own", "latest", "conversion", "personal", "personal_own", "popular")
NEVER_NEGATIVE = {"personal", "personal_own", "popular", *MEASURES}
"""What is in a list is in it because it is worth showing."""


@dataclass(frozen=True)
class FittedBlend:
    """What the visitors taught."""

    weights: BlendWeights
    measures: dict[str, float]
    """The share of each measure in the similar lists."""
    n_visitors: int
    loss: float | None = None
    """Cross entropy in nats a visitor; None where there was no visitor to learn from."""


def fit_blend(
    examples_at: Callable[[Fading], Sequence[BlendExamples]],
    event_type_names: Sequence[str],
    *,
    history_length: int,
    recent_items: int,
) -> FittedBlend:
    """Try one fading after the other, fit the weights under each, keep the one that foretells best.

    `examples_at` gives the visitors of each window under a fading. The weights are pulled to those that
    `BlendWeights` begins with, so that a shop with few visitors stays near them.
    """
    prior = BlendWeights(history_length=history_length, recent_items=recent_items)
    prior = replace(
        prior,
        event_weights={
            name: prior.event_weights.get(name, prior.other_event_weight) for name in event_type_names
        },
    )

    def fit(rank_decay: float, half_life_days: float) -> _Fit | None:
        rows = _rows(examples_at(Fading(rank_decay, half_life_days)), prior)
        fading = replace(prior, rank_decay=rank_decay, half_life_days=half_life_days)
        return _fit(rows, fading) if rows else None

    best = fit(prior.rank_decay, prior.half_life_days)
    if best is None:
        return FittedBlend(prior, dict(USUAL_SHARES), n_visitors=0)
    for rank_decay in RANK_DECAYS:
        best = _better(best, fit(rank_decay, best.fading.half_life_days))
    for half_life_days in HALF_LIVES_DAYS:
        best = _better(best, fit(best.fading.rank_decay, half_life_days))
    log.info("blend fitted", visitors=best.n_visitors, loss=round(best.loss, 4))
    return _named(best)


@dataclass(frozen=True)
class _Rows:
    """Candidates of visitors whose next items are among them."""

    names: tuple[str, ...]
    features: Doubles
    """Candidates × features."""
    shares: Doubles
    groups: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Fit:
    """Weights by feature, under one fading."""

    fading: BlendWeights
    names: tuple[str, ...]
    values: Doubles
    loss: float
    n_visitors: int


def _better(one: _Fit, other: _Fit | None) -> _Fit:
    return other if other and other.loss < one.loss else one


def _fit(rows: _Rows, fading: BlendWeights) -> _Fit:
    spread = np.maximum(rows.features.std(axis=0), 1e-3)
    prior = _prior(rows.names, fading)
    values, loss = fit_softmax(
        rows.features / spread,
        rows.shares,
        rows.groups,
        l2=L2,
        prior=prior * spread,
        never_negative=np.array([name in NEVER_NEGATIVE for name in rows.names]),
    )
    return _Fit(fading, rows.names, values / spread, loss, len(np.unique(rows.groups)))


def _prior(names: Sequence[str], weights: BlendWeights) -> Doubles:
    values = {
        "own": weights.own,
        "latest": weights.latest,
        "conversion": weights.conversion,
        "personal": weights.personal,
        "personal_own": weights.personal_own,
        "popular": weights.popular,
        **{name: weights.similar * share for name, share in USUAL_SHARES.items()},
        **{_of_kind(name): weight for name, weight in weights.event_weights.items()},
    }
    return np.array([values[name] for name in names])


def _named(fit: _Fit) -> FittedBlend:
    """The weights as the manifest has them; those of the measures become one, and shares of it."""
    values = dict(zip(fit.names, fit.values.tolist(), strict=True))
    similar = sum(values[name] for name in MEASURES)
    kinds = {name: values[_of_kind(name)] for name in fit.fading.event_weights}
    weights = replace(
        fit.fading,
        own=values["own"],
        latest=values["latest"],
        conversion=values["conversion"],
        similar=similar,
        personal=values["personal"],
        personal_own=values["personal_own"],
        popular=values["popular"],
        event_weights=kinds,
        other_event_weight=float(np.mean(list(kinds.values()))),
    )
    measures = {name: values[name] / similar for name in MEASURES} if similar else dict(USUAL_SHARES)
    return FittedBlend(weights, measures, fit.n_visitors, fit.loss)


def _rows(parts: Sequence[BlendExamples], prior: BlendWeights) -> _Rows | None:
    """All parts' visitors whose next items are among the candidates; None where there is none."""
    names = (*map(_of_kind, prior.event_weights), *ALWAYS, *MEASURES)
    features, shares, groups = [], [], []
    offset = 0
    for part in parts:
        n_visitors = int(part.visitors.max(initial=-1)) + 1
        hits = np.bincount(part.visitors, weights=part.came_true, minlength=n_visitors)
        useful = hits[part.visitors] > 0
        features.append(np.column_stack([part.features[name][useful] for name in names]))
        shares.append(part.came_true[useful] / hits[part.visitors[useful]])
        groups.append(part.visitors[useful] + offset)
        offset += n_visitors
    if not sum(map(len, groups)):
        return None
    return _Rows(names, np.concatenate(features), np.concatenate(shares), np.concatenate(groups))


def _of_kind(event_type: str) -> str:
    return f"kind:{event_type}"
