"""Which ranker orders the candidates, why, and what it goes by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

FEATURES_TOLD: Final = 20
OTHERS: Final = "all others"
_LATE: Final = 0.02
"""How much of the best loss more at the end speaks of too many trees."""


@dataclass(frozen=True)
class RankerChoice:
    """What the training told of its ranker."""

    name: str
    reason: str
    ndcg: Mapping[str, float]
    """NDCG@10 on unseen days, by ranker that was tried."""
    learnt: Sequence[float]
    """The loss after each tree, of the examples that were learnt from; empty where there are no trees."""
    unseen: Sequence[float]
    """The same of others."""
    importance: Mapping[str, float]
    """In per cent by feature, the largest first; beyond some the rest is summed up as `OTHERS`."""

    @property
    def best_trees(self) -> int:
        """After how many trees unseen examples were told best; 0 where there are none."""
        return 1 + min(range(len(self.unseen)), key=self.unseen.__getitem__) if self.unseen else 0

    @property
    def is_overfitted(self) -> bool:
        """Whether fewer trees would have told unseen examples clearly better."""
        return bool(self.unseen) and self.unseen[-1] > min(self.unseen) * (1 + _LATE)


def ranker_choice(learnt: Mapping[str, Any]) -> RankerChoice | None:
    """None where nothing was learnt."""
    ranking = learnt.get("ranking")
    if ranking is None:
        return None
    curves = ranking.get("curves") or {}
    return RankerChoice(
        name=ranking["ranker"],
        reason=ranking["reason"],
        ndcg=ranking["ndcg@10"],
        learnt=curves.get("learnt", ()),
        unseen=curves.get("unseen", ()),
        importance=_largest(ranking.get("importance", {})),
    )


def _largest(importance: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(importance.items(), key=lambda entry: (-entry[1], entry[0]))
    rest = ordered[FEATURES_TOLD:]
    return dict(ordered[:FEATURES_TOLD]) | ({OTHERS: sum(value for _, value in rest)} if rest else {})
