"""How much a distribution changed from one window to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr
from scipy.stats import chi2

SOME_DRIFT: Final = 0.1
LARGE_DRIFT: Final = 0.25
"""The usual reading of a population stability index: less than the first is little, more than the second
much (Siddiqi, Credit Risk Scorecards, 2006)."""

_ADDED: Final = 0.5
"""To every count, so that what never occurred has no infinite weight (Jeffreys' prior)."""


@dataclass(frozen=True)
class Drift:
    """One distribution, before and now."""

    name: str
    unit: str
    """Of the counts."""
    labels: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]
    psi: float
    """Population stability index, 0 for no change."""
    noise: float
    """What the index stays below in 95 of 100 cases though nothing changed, for so few events."""
    js_distance: float
    """Jensen-Shannon distance to base 2: 0 for the same, 1 for nothing in common (Lin 1991)."""

    def exceeds(self, limit: float) -> bool:
        """Whether it changed by more than the limit, and by more than chance does."""
        return self.psi > max(limit, self.noise)


def drift(
    name: str,
    unit: str,
    before: Mapping[str, float],
    now: Mapping[str, float],
    *,
    observed: tuple[float, float] | None = None,
) -> Drift | None:
    """Compare counts by label, in the order of both; None where one side has none at all.

    `observed` is how many there were, where the counts are means.
    """
    labels = tuple(dict.fromkeys([*before, *now]))
    counts_before = [before.get(label, 0) for label in labels]
    counts_now = [now.get(label, 0) for label in labels]
    if not sum(counts_before) or not sum(counts_now):
        return None
    p, q = _shares(counts_before), _shares(counts_now)
    return Drift(
        name=name,
        unit=unit,
        labels=labels,
        before=tuple(counts_before),
        now=tuple(counts_now),
        psi=float(np.sum((q - p) * np.log(q / p))),
        noise=_noise(len(labels), *(observed or (sum(counts_before), sum(counts_now)))),
        js_distance=_js_distance(p, q),
    )


def _shares(counts: Sequence[float]) -> npt.NDArray[np.float64]:
    smoothed = np.asarray(counts, dtype=np.float64) + _ADDED
    result: npt.NDArray[np.float64] = smoothed / smoothed.sum()
    return result


def _js_distance(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    middle = (p + q) / 2
    divergence = (np.sum(rel_entr(p, middle)) + np.sum(rel_entr(q, middle))) / (2 * np.log(2))
    # SciPy's own has no such guard: of shares that are nearly the same it may give NaN.
    return float(np.sqrt(max(divergence, 0.0)))


def _noise(labels: int, before: float, now: float) -> float:
    """Without a change the index times a constant is chi-squared (Yurdakul, 2018, section 3).

    That holds for independent events; those of one visitor are not, so chance reaches further than told.
    """
    return float(chi2.ppf(0.95, labels - 1) * (1 / before + 1 / now)) if labels > 1 else 0.0
