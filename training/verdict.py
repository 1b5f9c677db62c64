"""What becomes of a new version: pure functions from what was measured to one outcome and its reason.

In this order, the first that holds decides:

1. The served version knows later events than the new one: kept.
2. The recipe is surely worse than popularity, wherever the two were measured: rejected.
3. The recipe is surely worse than what is served, by more than is tolerated: kept.
4. The lists that it made of all events are implausible: rejected.
5. Otherwise: promoted.

"Surely" is the upper end of the paired 95 % interval of the difference. Noise alone therefore lets a recipe
that equals what it is compared with fail in one of 40 comparisons, while one that is worse by little passes
until there are users enough to tell. That is the cheaper mistake: the next training is compared again, and
lists that know the latest days are worth more than a difference that can't be seen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from contract.gate import Outcome
from training.bootstrap import Interval
from training.moments import format_moment
from training.settings import Hyperparameters


@dataclass(frozen=True)
class Verdict:
    """An outcome, and one sentence that says why, with the figures."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of the new recipe less that of another, over the same users and days."""

    against: str
    """`served`, or `popular`."""
    measured_on: str
    """`since_cut_off`, or `evaluation_windows`."""
    protocol: str
    metric: str
    users: int
    challenger: float
    other: float
    difference: Interval

    @property
    def labels(self) -> dict[str, str]:
        """What is compared, by the names of these fields."""
        return {
            "against": self.against,
            "measured_on": self.measured_on,
            "protocol": self.protocol,
            "metric": self.metric,
        }

    def __str__(self) -> str:
        return (
            f"{self.protocol} {self.metric} is {self.challenger:.4f} against {self.other:.4f}, a difference "
            f"of {self.difference.value:+.4f} (95 % interval {self.difference.low:+.4f} to "
            f"{self.difference.high:+.4f}, {self.users:,} users)"
        )


@dataclass(frozen=True, kw_only=True)
class ServedVersion:
    """The version that is served now."""

    version: str
    as_of: int
    """Its cut-off: the moment that its training took for now, ms UTC."""
    last_event: int
    """The moment of the latest event that it knows, ms UTC: there need not be one at the cut-off."""


@dataclass(frozen=True, kw_only=True)
class RecipeEvidence:
    """How the new recipe did on days that neither it nor the served version knew."""

    as_of: int
    """The moment that the new version's training takes for now, ms UTC."""
    served: ServedVersion | None
    users: int = 0
    """How many carted or bought since the served version's cut-off."""
    events_before: int = 0
    """How many events there are up to that cut-off: what the recipe has to learn from."""
    against_served: tuple[Difference, ...] = ()
    against_popular: tuple[Difference, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All that was measured."""
        return self.against_served + self.against_popular


@dataclass(frozen=True, kw_only=True)
class ListsEvidence:
    """What the lists look like that the recipe made of all events."""

    users: int
    """Users with an event."""
    users_with_list: int
    """Users with a personal list."""
    empty_lists: int
    popular_items: int
    """Length of the popular list."""
    fill: float
    """Mean share of personal lists' first ten places (of as many as there are items) that are taken."""
    unknown_items: int
    """Distinct items in lists that neither events nor catalogue know."""
    coverage: int
    """Distinct items in the first ten places of all personal lists."""
    served_coverage: int | None
    """The same of what is served; None where nothing is."""
    overlap: float | None
    """Mean share of the ten items that users are shown now that stays; None where nobody is in both."""
    overlap_users: int
    """Users, known to both, whose answers were compared."""


def decide(recipe: RecipeEvidence, lists: ListsEvidence, settings: Hyperparameters) -> Verdict:
    """The outcome, for any evidence whatever."""
    if objection := objection_to_recipe(recipe, settings):
        return objection
    if implausible := list(_implausible(lists, settings)):
        return Verdict(Outcome.REJECTED, f"the refitted lists are implausible: {'; '.join(implausible)}")
    return Verdict(Outcome.PROMOTED, _praise(recipe, settings))


def objection_to_recipe(evidence: RecipeEvidence, settings: Hyperparameters) -> Verdict | None:
    """What speaks against the recipe, before it has made any lists; None where nothing does."""
    served = evidence.served
    if served and served.last_event > evidence.as_of:
        return Verdict(
            Outcome.KEPT,
            f"the served version {served.version} knows events up to {format_moment(served.last_event)}, "
            f"this training only up to {format_moment(evidence.as_of)}",
        )
    if below := _worst(each for each in _judged(evidence, settings) if each.difference.high < 0):
        return Verdict(Outcome.REJECTED, f"it is worse than popularity: {below}")
    compared = _compared(evidence, settings)
    if served and (worse := _worst(each for each in compared if _is_worse(each, settings))):
        return Verdict(
            Outcome.KEPT,
            f"it is worse than the served version {served.version}: {worse}, "
            f"more than the {settings.gate_tolerance:.1%} that are tolerated",
        )
    return None


def is_comparable(evidence: RecipeEvidence, settings: Hyperparameters) -> bool:
    """Whether recipe and served version can be compared: days enough since its cut-off, and some before."""
    return (
        evidence.served is not None
        and evidence.users >= settings.gate_min_users
        and evidence.events_before > 0
    )


def _compared(evidence: RecipeEvidence, settings: Hyperparameters) -> tuple[Difference, ...]:
    return evidence.against_served if is_comparable(evidence, settings) else ()


def _judged(evidence: RecipeEvidence, settings: Hyperparameters) -> Iterator[Difference]:
    return (each for each in evidence.against_popular if each.users >= settings.gate_min_floor_users)


def _is_worse(difference: Difference, settings: Hyperparameters) -> bool:
    return difference.difference.high < -settings.gate_tolerance * difference.other


def _worst(differences: Iterable[Difference]) -> Difference | None:
    """The one that is worst against the size of what it is compared with: metrics differ in scale."""
    return min(differences, key=lambda each: each.difference.high / (each.other or 1.0), default=None)


def _implausible(lists: ListsEvidence, settings: Hyperparameters) -> Iterator[str]:
    if not lists.popular_items:
        yield "the popular list is empty"
    if lists.empty_lists:
        yield f"{lists.empty_lists:,} lists are empty"
    if lists.unknown_items:
        yield f"they show {lists.unknown_items:,} items that neither events nor catalogue know"
    if lists.users_with_list < settings.gate_min_users_with_list * lists.users:
        yield (
            f"{lists.users_with_list:,} of {lists.users:,} users have a personal list, "
            f"expected are at least {settings.gate_min_users_with_list:.0%}"
        )
    if lists.fill < settings.gate_min_fill:
        yield (
            f"the first ten places of personal lists are filled to {lists.fill:.0%}, "
            f"expected are at least {settings.gate_min_fill:.0%}"
        )
    if lists.served_coverage and lists.coverage < settings.gate_min_coverage * lists.served_coverage:
        yield (
            f"personal lists show {lists.coverage:,} different items in their first ten places, those "
            f"that are served {lists.served_coverage:,}; "
            f"expected are at least {settings.gate_min_coverage:.0%} of that"
        )
    if lists.overlap is not None and lists.overlap < settings.gate_min_overlap:
        yield (
            f"of what {lists.overlap_users:,} users are shown now, {lists.overlap:.1%} stays, "
            f"expected is at least {settings.gate_min_overlap:.0%}"
        )


def _praise(evidence: RecipeEvidence, settings: Hyperparameters) -> str:
    served = evidence.served
    if served is None:
        return f"it is the first version, {_above_floor(evidence, settings)}"
    compared = _compared(evidence, settings)
    if not compared:
        lacking = (
            f"{evidence.users:,} users carted or bought since the cut-off of the served version "
            f"{served.version}, {settings.gate_min_users:,} are needed"
            if evidence.users < settings.gate_min_users
            else f"there is no event up to the cut-off of the served version {served.version} to learn from"
        )
        return f"there is no evidence against it: {lacking}; {_above_floor(evidence, settings)}"
    better = [each for each in compared if each.difference.low > 0]
    told = min(better or compared, key=_headline)
    return f"it is {'better' if better else 'not worse'} than the served version {served.version}: {told}"


def _above_floor(evidence: RecipeEvidence, settings: Hyperparameters) -> str:
    told = min(_judged(evidence, settings), key=_headline, default=None)
    if told is None:
        return "its lists are plausible, and too few users carted or bought to compare it with popularity"
    manner = "better" if told.difference.low > 0 else "not worse"
    return f"its lists are plausible and it is {manner} than popularity: {told}"


def _headline(difference: Difference) -> tuple[bool, bool]:
    """Sorts the figure that says most to the front: recall of sessions."""
    return difference.protocol != "session", not difference.metric.startswith("recall")
