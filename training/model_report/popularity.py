"""How much of the shop is shown, and whether the well-known crowds out the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.judged import BANDS, SERVED, UNHEARD_OF, Judged, Protocol

TRUTH: Final = "people"
"""What stands for what visitors really turned to, among the models."""
ALL_BANDS: Final = (*BANDS, UNHEARD_OF)
_MUCH: Final = 0.05
"""A difference of shares beyond which one is said to be more than the other."""
_BEST_KNOWN: Final = next(iter(BANDS))


@dataclass(frozen=True)
class Exposure:
    """Where the places of all lists go, under one protocol."""

    protocol: Protocol
    counts: Mapping[str, Mapping[str, int]]
    """By model (and `TRUTH`, what visitors carted or bought), then by `ALL_BANDS`."""
    coverage: Mapping[str, float | None]
    """By model."""
    novelty: Mapping[str, float | None]

    def share(self, model: str, band: str) -> float:
        """Of the model's places, those of the band; 0 of nothing."""
        total = sum(self.counts[model].values())
        return self.counts[model][band] / total if total else 0.0

    @property
    def is_narrow(self) -> bool:
        """Whether the well-known get more room than visitors give them."""
        return self.share(SERVED, _BEST_KNOWN) - self.share(TRUTH, _BEST_KNOWN) > _MUCH

    @property
    def in_words(self) -> str:
        """What the figures mean, in a sentence or two."""
        people, shown = self.share(TRUTH, _BEST_KNOWN), self.share(SERVED, _BEST_KNOWN)
        figures = (
            f"The {_BEST_KNOWN} of items make up {shown:.1%} of what the new version shows, and {people:.1%} "
            "of what visitors carted or bought"
        )
        if self.is_narrow:
            meaning = "it favours the well-known more than visitors do, and there is room for the rest"
        elif people - shown > _MUCH:
            meaning = "it favours the well-known less than visitors do"
        else:
            meaning = "it gives the well-known about as much room as visitors do"
        unheard = self.share(TRUTH, UNHEARD_OF)
        limit = (
            f" {unheard:.1%} of what they carted or bought was {UNHEARD_OF} when the days began: only the "
            "visitor's own clicks can lead there."
            if unheard
            else ""
        )
        return f"{figures}: {meaning}.{limit}"


def exposure(protocol: Protocol, judged: Mapping[str, Judged]) -> Exposure | None:
    """Of all models by name; None where there was nobody to judge by."""
    if SERVED not in judged or not len(judged[SERVED].rows):
        return None
    by_band = {
        TRUTH: judged[SERVED].shown.true_by_band,
        **{name: each.shown.by_band for name, each in judged.items()},
    }
    return Exposure(
        protocol=protocol,
        counts={name: {band: counts.get(band, 0) for band in ALL_BANDS} for name, counts in by_band.items()},
        coverage={name: each.coverage for name, each in judged.items()},
        novelty={name: each.novelty for name, each in judged.items()},
    )
