"""How good what is served would have been, on days held out, by two protocols.

- `batch`: history ends where the window starts; that is what a mailing knows.
- `session`: models end where the window starts, the visitor's history runs up to, not including, their
  first target event in the window; that is what a shop page knows.

Truth is the distinct items of a user's target events within the window. All users with truth count,
those without any history, too. What is measured is what the API would answer: stored lists and history
through `contract.blending.blend`.

Showing back what was seen is worth much, and hides how little is new. So `discovery` measures lists that
leave out whatever the user had touched, by such truth alone as the user had not touched either.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, NamedTuple, get_args
from typing import Protocol as TypingProtocol

import numpy as np
import numpy.typing as npt

from contract.blending import BlendedItem, ScoredItem
from contract.events import Event
from training.bootstrap import Interval, mean_interval
from training.checkpoints import Keep, keep_nothing
from training.errors import BadInputError
from training.interactions import BoolArray, Interactions, LongArray
from training.lists import Lists
from training.moments import MILLISECONDS_A_DAY
from training.progress import each
from training.ranking_metrics import DEPTH, DoubleArray, K, coverage, hits_of, novelty, row_values
from training.served import Served, ServedLists
from training.split import Window

Protocol = Literal["batch", "session"]
PROTOCOLS: tuple[Protocol, ...] = ("batch", "session")

Kind = Literal["served", "discovery"]
"""Of a list: as it is served, or without what the user had touched."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

SERVED: Final = "served"
DEFAULT_MODELS: Final = (SERVED, "popular", "recent_popular")

_FILL: Final = 1e-6
_PARTS: Final[dict[str, dict[str, Any]]] = {
    "item_item": {
        "own": 0.0,
        "latest": 0.0,
        "conversion": 0.0,
        "event_weights": {},
        "other_event_weight": 0.0,
        "popular": _FILL,
    },
    "own": {"similar": 0.0, "popular": _FILL},
    "unranked": {},
}
"""Parts of what is served by themselves, popularity filling up: the weights for that."""

BANDS: Final = {"best-known 1 %": 0.01, "next 9 %": 0.1, "next 40 %": 0.5, "other half": 1.0}
"""Items by how many users knew them when a window started, the best known first: up to which share."""
UNHEARD_OF: Final = "unheard of"
"""The band of items that nobody knew."""

HISTORIES: Final = {"0": (0, 0), "1-3": (1, 3), "4-10": (4, 10), "11+": (11, np.inf)}
"""Users by how many events they had before they are answered: the fewest and the most."""

Metrics = dict[str, float]
"""`users`, the metrics of ten, `coverage`, `novelty`, `discovery_recall@10`; absent where unknown."""

Summary = dict[str, Any]
"""The same with intervals, by history, too; what JSON can hold."""


@dataclass(frozen=True)
class Visitor:
    """One user with truth in a window; `live` is what they did in it before, newest first."""

    user_id: str
    truth: set[str]
    first_target: int
    live: list[Event]
    user: int = -1
    """Their number in the events."""
    touched_before: frozenset[str] = frozenset()
    """The items of their events before the window."""
    events_before: int = 0
    """How many events they had before the window."""

    def touched(self, protocol: Protocol) -> frozenset[str]:
        """The items of all events that the protocol lets be known."""
        if protocol == "batch":
            return self.touched_before
        return self.touched_before.union(event.item_id for event in self.live)

    def history(self, protocol: Protocol) -> int:
        """How many events the protocol lets be known."""
        return self.events_before + (len(self.live) if protocol == "session" else 0)


def visitors(events: Interactions, window: Window, *, max_users: int | None, seed: int) -> list[Visitor]:
    """Who has a target event within the window; a random sample of `max_users` where there are more."""
    inside = events.between(window.start, window.end)
    users = inside.where(inside.is_target).distinct_users()
    if max_users is not None and len(users) > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
    chosen = np.zeros(len(events.user_ids), dtype=np.bool_)
    chosen[users] = True
    theirs = events.where(chosen[events.users] & (events.timestamps < window.end))
    order = np.argsort(theirs.users, kind="stable")
    bounds = np.searchsorted(theirs.users[order], users, side="right")
    is_target = theirs.is_target
    return [
        _visitor(theirs, is_target, rows, window.start) for rows in np.split(order, bounds[:-1]) if len(rows)
    ]


def _visitor(events: Interactions, is_target: BoolArray, rows: LongArray, start: int) -> Visitor:
    moments = events.timestamps[rows]
    n_before = int(np.searchsorted(moments, start))
    inside = rows[n_before:]
    targets = inside[is_target[inside]]
    first = int(events.timestamps[targets[0]])
    n_known = int(np.searchsorted(moments, first))
    user = int(events.users[rows[0]])
    return Visitor(
        user_id=events.user_ids[user],
        truth=set(events.item_ids[events.items[targets]].tolist()),
        first_target=first,
        live=Lists.events_of(events, rows[n_before:n_known][::-1]),
        user=user,
        touched_before=frozenset(events.item_ids[events.items[rows[:n_before]]].tolist()),
        events_before=n_before,
    )


def answer(
    served: Served[ServedLists],
    visitor: Visitor,
    protocol: Protocol,
    *,
    start: int,
    limit: int = K,
    exclude: Collection[str] = frozenset(),
) -> list[BlendedItem]:
    """What the API would answer: at the window's `start` in batch, just before the cart in session."""
    live, now = ([], start) if protocol == "batch" else (visitor.live, visitor.first_target)
    return served.blended(visitor.user_id, live, now=now, limit=limit, exclude=exclude)


@dataclass(frozen=True)
class Rows:
    """n rows, one a user and window: by window, within it by user."""

    users: LongArray
    """The users' numbers in the events."""
    windows: LongArray
    """0 is the last window."""
    history: LongArray
    """How many events of the user were known."""
    hits: BoolArray
    """n × `DEPTH`: whether the item at that rank was right; lists of discovery end at `K`."""
    truths: LongArray
    """How many items were right."""
    values: dict[str, DoubleArray]
    """Under each of `training.ranking_metrics.METRICS`."""

    def __len__(self) -> int:
        return len(self.users)

    def where(self, mask: BoolArray) -> "Rows":
        """Only the rows under the mask."""
        values = {name: column[mask] for name, column in self.values.items()}
        return Rows(
            self.users[mask],
            self.windows[mask],
            self.history[mask],
            self.hits[mask],
            self.truths[mask],
            values,
        )

    def values_at(self, k: int) -> dict[str, DoubleArray]:
        """The metrics of the first k items, up to `DEPTH`."""
        return row_values(self.hits, self.truths, k)

    def means(self) -> dict[str, float]:
        """The metrics over all rows; none where there is no row."""
        return {name: float(np.mean(column)) for name, column in self.values.items()} if len(self) else {}

    def intervals(self, seed: int = 0) -> dict[str, Interval]:
        """The same with what users drawn anew would have made of them."""
        if not len(self):
            return {}
        return {name: mean_interval(each, self.users, seed=seed) for name, each in self.values.items()}

    def summary(self, seed: int) -> Summary:
        """How many rows, and each metric with its interval."""
        of_metrics = {name: asdict(interval) for name, interval in self.intervals(seed).items()}
        return {"users": len(self), **of_metrics}


@dataclass(frozen=True)
class TrueItems:
    """m items that were right, of all rows, in their order: where they came."""

    rows: LongArray
    """Into the model's `Rows`."""
    item_ids: npt.NDArray[np.object_]
    ranks: LongArray
    """In the list, from 1 to `DEPTH`; 0 where it was not there."""
    days_known: DoubleArray
    """Between the item's first event and the window's start; −1 of an item that had none."""


@dataclass(frozen=True)
class Shown:
    """The first `K` items of all lists, counted."""

    by_part: dict[str, int]
    """By the part of the blend that an item was there for."""
    hits_by_part: dict[str, int]
    by_band: dict[str, int]
    """By `BANDS` and `UNHEARD_OF`."""
    true_by_band: dict[str, int]
    """The items that were right, shown or not."""


@dataclass(frozen=True)
class Judged:
    """What one model showed under one protocol, and what it was worth."""

    rows: Rows
    discovery: Rows
    """Of lists and truth without what the user had touched; users with no other truth aren't here."""
    coverage: float | None
    """The share of the items known at a window's start that anyone was shown: the mean of the windows."""
    novelty: float | None
    """The mean of −log2(share of the users who knew the item at the window's start) of what was shown."""
    true_items: TrueItems
    """Of lists as they are served."""
    shown: Shown
    """The same."""

    def metrics(self) -> Metrics:
        """Values alone."""
        values = {
            "users": len(self.rows),
            **self.rows.means(),
            "coverage": self.coverage,
            "novelty": self.novelty,
            f"discovery_recall@{K}": self.discovery.means().get(f"recall@{K}"),
        }
        return {name: value for name, value in values.items() if value is not None}

    def summary(self, seed: int = 0) -> Summary:
        """Values with their intervals, those of discovery, and those of users by their history."""
        history = self.rows.history
        return {
            **self.rows.summary(seed),
            "coverage": self.coverage,
            "novelty": self.novelty,
            "discovery": self.discovery.summary(seed),
            "by_history": {
                name: self.rows.where((history >= fewest) & (history <= most)).summary(seed)
                for name, (fewest, most) in HISTORIES.items()
            },
        }


class Evaluation(Mapping[str, dict[str, Metrics]]):
    """By protocol and model: `judged` row by row, and as a mapping values alone, as a manifest holds them.

    The rows of all models of a protocol are of the same users and windows in the same order, so they can be
    compared pair by pair; those of their discovery, too.
    """

    def __init__(self, judged: Mapping[Protocol, dict[str, Judged]]) -> None:
        self.judged = judged

    def __getitem__(self, protocol: str) -> dict[str, Metrics]:
        by_model: dict[str, Judged] = dict(self.judged)[protocol]  # type: ignore[index]
        return {name: judged.metrics() for name, judged in by_model.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.judged)

    def __len__(self) -> int:
        return len(self.judged)

    @classmethod
    def of_nothing(cls) -> "Evaluation":
        """Where there was no window to evaluate on."""
        return cls({protocol: {} for protocol in PROTOCOLS})


class Answered(NamedTuple):
    """One list as it was judged."""

    protocol: Protocol
    model: str
    kind: Kind
    window: int
    user_id: str
    items: list[str]


def evaluate(
    windows: Sequence[Window],
    *,
    events: Interactions,
    served_at: Callable[[Window], Served[ServedLists]],
    max_users: int | None,
    seed: int,
    models: Sequence[str] = DEFAULT_MODELS,
    protocols: Sequence[Protocol] = PROTOCOLS,
    on_answer: Callable[[Answered], None] | None = None,
    keep: Keep = keep_nothing,
) -> Evaluation:
    """Judge models by what users did in all windows.

    `served_at` gives what was learnt from what came before a window, and from nothing later. Models are
    `served`, each of the lists' baselines, and parts of what is served by themselves. `on_answer` is given
    every list, those of discovery also for users who don't count there; but not those of a window whose
    result `keep` has from an earlier attempt.

    Raises BadInputError for a model that isn't there, LookAheadError where lists know more than they may.
    """
    judged = [
        keep(
            f"judged-{window.start}",
            partial(
                _judge_window,
                number,
                window,
                events=events,
                served_at=served_at,
                max_users=max_users,
                seed=seed,
                models=models,
                protocols=protocols,
                on_answer=on_answer,
            ),
        )
        for number, window in enumerate(windows)
    ]
    return Evaluation(
        {
            protocol: {
                model: _judged(
                    _Tally.joined([tallies[protocol, model, SERVED] for tallies in judged]),
                    _Tally.joined([tallies[protocol, model, "discovery"] for tallies in judged]),
                )
                for model in models
            }
            for protocol in protocols
        }
    )


def _judge_window(
    number: int,
    window: Window,
    *,
    events: Interactions,
    served_at: Callable[[Window], Served[ServedLists]],
    max_users: int | None,
    seed: int,
    models: Sequence[str],
    protocols: Sequence[Protocol],
    on_answer: Callable[[Answered], None] | None,
) -> "_Tallies":
    served = served_at(window)
    _refuse_look_ahead(served, window)
    past = _Past.of(events.before(window.start), served.unavailable, window.start)
    answering = _answering(models, served, window.start)
    tallies: _Tallies = {
        (protocol, model, kind): _Tally() for protocol in protocols for model in models for kind in KINDS
    }
    found = visitors(events, window, max_users=max_users, seed=seed)
    for visitor in each(found, f"judging window {number}", "user"):
        for protocol in protocols:
            touched = visitor.touched(protocol)
            truths: dict[Kind, set[str]] = {"served": visitor.truth, "discovery": visitor.truth - touched}
            for model in models:
                # What comes after twenty and as many as were touched is in neither list.
                ranked = answering[model](visitor, protocol, limit=DEPTH + len(touched))
                items = [item.item_id for item in ranked]
                lists: dict[Kind, list[str]] = {
                    "served": items[:DEPTH],
                    "discovery": past.filled([item for item in items if item not in touched], touched),
                }
                for kind, shown in lists.items():
                    if truths[kind]:
                        tallies[protocol, model, kind].add(number, visitor, protocol, shown, truths[kind])
                    if on_answer is not None:
                        on_answer(Answered(protocol, model, kind, number, visitor.user_id, shown[:K]))
                tallies[protocol, model, SERVED].count_parts(ranked[:K], visitor.truth)
    for tally in tallies.values():
        tally.end_window(past)
    return tallies


class LookAheadError(Exception):
    """Lists that know events of the days that they are to be judged on: the code is wrong."""


def _refuse_look_ahead(served: Served[ServedLists], window: Window) -> None:
    until = served.until
    if isinstance(served.lists, Lists) and len(served.lists.events):
        until = max(until, int(served.lists.events.timestamps[-1]) + 1)
    if until > window.start:
        raise LookAheadError(f"lists know events before {until}, the window starts at {window.start}")


@dataclass(frozen=True)
class _WithoutPersonal:
    """Stored lists but those of users."""

    lists: ServedLists

    def personal_of(self, _user_id: str) -> list[ScoredItem]:
        return []

    def similar_to(self, item_id: str) -> list[ScoredItem]:
        return self.lists.similar_to(item_id)

    def history_of(self, user_id: str) -> list[Event]:
        return self.lists.history_of(user_id)

    @property
    def popular_items(self) -> list[ScoredItem]:
        return self.lists.popular_items


class _Answer(TypingProtocol):
    def __call__(self, visitor: Visitor, protocol: Protocol, *, limit: int) -> list[BlendedItem]: ...


def _answering(models: Sequence[str], served: Served[ServedLists], start: int) -> dict[str, _Answer]:
    """What each model shows a visitor."""
    there: dict[str, _Answer] = {SERVED: partial(answer, served, start=start)}
    if isinstance(served.lists, Lists):
        for name, popular in served.lists.baselines.items():
            everyones = [BlendedItem(item, 0.0, "popular") for item in served.lists.named(popular.items)]
            there[name] = partial(_same_for_everyone, everyones)
    for name, weights in _PARTS.items():
        part = replace(
            served, lists=_WithoutPersonal(served.lists), weights=replace(served.weights, **weights)
        )
        there[name] = partial(answer, part, start=start)
    if unknown := [model for model in models if model not in there]:
        raise BadInputError(
            f"there is no model {', '.join(map(repr, unknown))}; expected some of {', '.join(there)}"
        )
    return there


def _same_for_everyone(
    items: list[BlendedItem], _visitor: Visitor, _protocol: Protocol, *, limit: int
) -> list[BlendedItem]:
    return items[:limit]


@dataclass(frozen=True)
class _Past:
    """What was known of items at a window's start."""

    users: int
    users_by_item: dict[str, int]
    fill: list[str]
    """Those of them that can be had, most known first, then by id."""
    days_known: dict[str, float]
    """Since an item's first event."""
    bands: dict[str, str]
    """Of `BANDS`."""

    @classmethod
    def of(cls, events: Interactions, unavailable: Collection[str], start: int) -> "_Past":
        n_items = len(events.item_ids)
        pairs = np.unique(events.users.astype(np.int64) * n_items + events.items)
        counts = np.bincount(pairs % n_items, minlength=n_items)
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        by_item = dict(zip(events.item_ids[order].tolist(), counts[order].tolist(), strict=True))
        gone = set(unavailable)
        seen, first = np.unique(events.items, return_index=True)
        ages = (start - events.timestamps[first]) / MILLISECONDS_A_DAY
        return cls(
            users=len(events.distinct_users()),
            users_by_item=by_item,
            fill=[item for item in by_item if item not in gone],
            days_known=dict(zip(events.item_ids[seen].tolist(), ages.tolist(), strict=True)),
            bands=_bands(list(by_item)),
        )

    def filled(self, items: list[str], exclude: Collection[str]) -> list[str]:
        """Ten items: where exclusions left a list short, with the best known of all other items."""
        if len(items) >= K or not exclude:
            return items[:K]
        others = (item for item in self.fill if item not in exclude and item not in items)
        return [*items, *itertools.islice(others, K - len(items))]


def _bands(best_known_first: list[str]) -> dict[str, str]:
    """Of each item the band that it is in."""
    bounds = [round(share * len(best_known_first)) for share in BANDS.values()]
    places = np.searchsorted(bounds, np.arange(len(best_known_first)), side="right")
    names = list(BANDS)
    return {item: names[place] for item, place in zip(best_known_first, places, strict=True)}


@dataclass
class _Tally:
    """What one model showed under one protocol, one value a row."""

    users: list[int] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    history: list[int] = field(default_factory=list)
    hits: list[list[bool]] = field(default_factory=list)
    truths: list[int] = field(default_factory=list)
    shown: Counter[str] = field(default_factory=Counter)
    """In this window."""
    true_rows: list[int] = field(default_factory=list)
    true_items: list[str] = field(default_factory=list)
    true_ranks: list[int] = field(default_factory=list)
    days_known: list[float] = field(default_factory=list)
    """Of each true item."""
    by_part: Counter[str] = field(default_factory=Counter)
    hits_by_part: Counter[str] = field(default_factory=Counter)
    by_band: Counter[str] = field(default_factory=Counter)
    true_by_band: Counter[str] = field(default_factory=Counter)
    coverages: list[float] = field(default_factory=list)
    """Of each window in which something could be shown."""
    novelties: list[tuple[float, int]] = field(default_factory=list)
    """Of each window, and how many items were shown."""

    def add(
        self, window: int, visitor: Visitor, protocol: Protocol, items: Sequence[str], truth: set[str]
    ) -> None:
        self.users.append(visitor.user)
        self.windows.append(window)
        self.history.append(visitor.history(protocol))
        self.hits.append(hits_of(items, truth, DEPTH))
        self.truths.append(len(truth))
        self.shown.update(items[:K])
        rank_of = {item: rank for rank, item in enumerate(items, start=1)}
        for item in sorted(truth):
            self.true_rows.append(len(self.users) - 1)
            self.true_items.append(item)
            self.true_ranks.append(rank_of.get(item, 0))

    def count_parts(self, shown: Sequence[BlendedItem], truth: set[str]) -> None:
        self.by_part.update(item.source for item in shown)
        self.hits_by_part.update(item.source for item in shown if item.item_id in truth)

    def end_window(self, past: _Past) -> None:
        self.days_known = [past.days_known.get(item, -1.0) for item in self.true_items]
        self.true_by_band.update(past.bands.get(item, UNHEARD_OF) for item in self.true_items)
        for item, times in self.shown.items():
            self.by_band[past.bands.get(item, UNHEARD_OF)] += times
        if not self.shown:
            return
        covered = coverage(self.shown, past.users_by_item)
        if covered is not None:
            self.coverages.append(covered)
        novel = novelty(self.shown, past.users_by_item, past.users)
        if novel is not None:
            self.novelties.append((novel, self.shown.total()))
        self.shown.clear()

    @classmethod
    def joined(cls, windows: Sequence["_Tally"]) -> "_Tally":
        """One tally of several windows, each of which has ended."""
        whole = cls()
        for window in windows:
            offset = len(whole.users)
            whole.true_rows += [row + offset for row in window.true_rows]
            for name in _OF_ROWS:
                getattr(whole, name).extend(getattr(window, name))
            for name in _COUNTED:
                getattr(whole, name).update(getattr(window, name))
        return whole

    def rows(self) -> Rows:
        hits = np.array(self.hits, dtype=np.bool_).reshape(-1, DEPTH)
        truths = np.array(self.truths, dtype=np.int64)
        return Rows(
            users=np.array(self.users, dtype=np.int64),
            windows=np.array(self.windows, dtype=np.int64),
            history=np.array(self.history, dtype=np.int64),
            hits=hits,
            truths=truths,
            values=row_values(hits, truths),
        )

    def found(self) -> TrueItems:
        return TrueItems(
            rows=np.array(self.true_rows, dtype=np.int64),
            item_ids=np.array(self.true_items, dtype=object),
            ranks=np.array(self.true_ranks, dtype=np.int64),
            days_known=np.array(self.days_known, dtype=np.float64),
        )

    def counted(self) -> Shown:
        return Shown(
            by_part=dict(self.by_part),
            hits_by_part=dict(self.hits_by_part),
            by_band=dict(self.by_band),
            true_by_band=dict(self.true_by_band),
        )


_OF_ROWS: Final = (
    "users", "windows", "history", "hits", "truths", "true_items", "true_ranks", "days_known",
    "coverages", "novelties",
)  # fmt: skip
_COUNTED: Final = ("by_part", "hits_by_part", "by_band", "true_by_band")
_Tallies = dict[tuple[Protocol, str, Kind], _Tally]


def _judged(served: _Tally, discovery: _Tally) -> Judged:
    shown = sum(times for _, times in served.novelties)
    return Judged(
        rows=served.rows(),
        discovery=discovery.rows(),
        coverage=float(np.mean(served.coverages)) if served.coverages else None,
        novelty=sum(novel * times for novel, times in served.novelties) / shown if shown else None,
        true_items=served.found(),
        shown=served.counted(),
    )
