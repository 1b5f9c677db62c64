"""Which ranker serves: the one that orders better what it hasn't seen; the simpler where there is little."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from training.interactions import BoolArray, rank_within
from training.ranking import Ranker, Scores
from training.ranking.boosted import BoostedRanker
from training.ranking.examples import Examples
from training.ranking.linear import LinearRanker
from training.ranking.prior import PriorRanker
from training.settings import Hyperparameters

log = structlog.get_logger()

K = 10
FOLDS = 3
FEWEST_FOR_LINEAR = 20
"""Candidates that came true, below which nothing is learnt: the prior ranks."""
FEWEST_FOR_BOOSTED = 500
"""Candidates that came true, below which trees are not tried."""


@dataclass(frozen=True)
class Choice:
    """The ranker that serves, and how it came to be chosen."""

    ranker: Ranker
    unseen: list[Scores]
    """By part: scores of its candidates by a ranker of the same kind that learnt from other users or days."""
    ndcg: dict[str, float] = field(default_factory=dict)
    """By ranker that was tried: NDCG@10 over the groups, each ranked unseen."""
    reason: str = ""
    curves: dict[str, list[float]] = field(default_factory=dict)
    """Of the boosted ranker, where it was tried: the loss after each tree, of what it `learnt` from and of
    what was `unseen`."""

    def document(self) -> dict[str, object]:
        """For people and for the manifest."""
        return {
            "ranker": self.ranker.name,
            "reason": self.reason,
            "ndcg@10": self.ndcg,
            "curves": self.curves,
        }


def choose_ranker(parts: Sequence[Examples], settings: Hyperparameters) -> Choice:
    """Fit and compare; `parts` are examples of windows, the latest first.

    Each window is ranked by what learnt from others, in `FOLDS` turns; a single one by halves of its users.
    """
    n_true = sum(int(part.came_true.sum()) for part in parts)
    if n_true < FEWEST_FOR_LINEAR:
        prior = PriorRanker(parts[0].names if parts else ())
        return Choice(prior, [prior.scores(part.matrix) for part in parts], reason=_too_few(n_true))
    tried: dict[str, Callable[[Sequence[Examples]], Ranker]] = {"linear": LinearRanker.fit}
    if settings.ranker == "boosted" or n_true >= FEWEST_FOR_BOOSTED:
        tried["boosted"] = lambda some: BoostedRanker.fit(some, settings)
    if settings.ranker != "auto" and settings.ranker in tried:
        tried = {settings.ranker: tried[settings.ranker]}
    turns = {name: _turns(parts, fit) for name, fit in tried.items()}
    unseen = {name: _unseen(parts, each) for name, each in turns.items()}
    ndcg = {name: _ndcg(parts, scores) for name, scores in unseen.items()}
    best = max(ndcg, key=lambda name: ndcg[name])
    log.info("ranker chosen", ranker=best, **{name: round(value, 4) for name, value in ndcg.items()})
    return Choice(
        ranker=tried[best](parts),
        unseen=unseen[best],
        ndcg=ndcg,
        reason=_why(best, ndcg, n_true=n_true, wanted=settings.ranker),
        curves=_curves(turns.get("boosted", ())),
    )


def ndcg_of_groups(part: Examples, scores: Scores) -> Scores:
    """NDCG@10 of each group that has something to find, its candidates ordered by `scores`."""
    groups = part.groups
    order = np.lexsort((part.pool.items, -scores, groups))
    ranks = rank_within(groups[order])
    first = ranks < K
    discounts = 1 / np.log2(np.arange(K) + 2)
    gains = np.bincount(
        groups[order][first],
        weights=part.came_true[order][first] * discounts[ranks[first]],
        minlength=len(part.users),
    )
    ideal = np.cumsum(discounts)[np.clip(part.n_true, 1, K) - 1]
    values: Scores = (gains / ideal)[part.n_true > 0]
    return values


@dataclass(frozen=True)
class _Turn:
    """A ranker, and the examples that it has not learnt from."""

    ranker: Ranker
    unseen: list[Examples]
    rows: list[tuple[int, BoolArray | slice]]
    """Of each of these the part that it belongs to, and its candidates there."""


def _turns(parts: Sequence[Examples], fit: Callable[[Sequence[Examples]], Ranker]) -> list[_Turn]:
    if len(parts) == 1:
        return [_half(parts[0], is_even, fit) for is_even in (True, False)]
    folds = min(FOLDS, len(parts))
    turns = []
    for fold in range(folds):
        ranker = _learnt([part for place, part in enumerate(parts) if place % folds != fold], fit)
        places = range(fold, len(parts), folds)
        turns.append(
            _Turn(ranker, [parts[place] for place in places], [(place, slice(None)) for place in places])
        )
    return turns


def _half(part: Examples, is_even: bool, fit: Callable[[Sequence[Examples]], Ranker]) -> _Turn:
    users = (np.arange(len(part.users)) % 2 == 0) == is_even
    return _Turn(_learnt([part.only(~users)], fit), [part.only(users)], [(0, users[part.groups])])


def _unseen(parts: Sequence[Examples], turns: Sequence[_Turn]) -> list[Scores]:
    """By part, the scores by what had not learnt from it."""
    scores = [np.empty(len(part.pool)) for part in parts]
    for turn in turns:
        for unseen, (place, rows) in zip(turn.unseen, turn.rows, strict=True):
            scores[place][rows] = turn.ranker.scores(unseen.matrix)
    return scores


def _curves(turns: Sequence[_Turn]) -> dict[str, list[float]]:
    """The means over the turns; none where no turn was the boosted ranker's with something to find."""
    told = [
        (turn.ranker.learning_curve(), turn.ranker.curve_on(turn.unseen))
        for turn in turns
        if isinstance(turn.ranker, BoostedRanker) and any(part.came_true.any() for part in turn.unseen)
    ]
    if not told:
        return {}
    learnt, unseen = (np.mean(curves, axis=0).tolist() for curves in zip(*told, strict=True))
    return {"learnt": _rounded(learnt), "unseen": _rounded(unseen)}


def _rounded(losses: Sequence[float]) -> list[float]:
    return [round(loss, 6) for loss in losses]


def _learnt(parts: Sequence[Examples], fit: Callable[[Sequence[Examples]], Ranker]) -> Ranker:
    """What learnt from `parts`; the prior where nothing in them came true."""
    return fit(parts) if any(part.came_true.any() for part in parts) else PriorRanker(parts[0].names)


def _ndcg(parts: Sequence[Examples], scores: Sequence[Scores]) -> float:
    values = [ndcg_of_groups(part, each) for part, each in zip(parts, scores, strict=True)]
    return float(np.mean(np.concatenate(values)))


def _why(best: str, ndcg: dict[str, float], *, n_true: int, wanted: str) -> str:
    if wanted == best:
        return "it was asked for"
    if "boosted" not in ndcg:
        return (
            f"only {n_true} candidates came true, too few for the boosted ranker, "
            f"which is tried from {FEWEST_FOR_BOOSTED} on"
        )
    (other,) = ndcg.keys() - {best}
    return f"NDCG@{K} {ndcg[best]:.4f} on unseen days, against {ndcg[other]:.4f} of the {other} one"


def _too_few(n_true: int) -> str:
    return f"only {n_true} candidates came true, too few to learn from (at least {FEWEST_FOR_LINEAR})"
