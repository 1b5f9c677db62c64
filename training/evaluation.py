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

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple
from typing import Protocol as TypingProtocol

from contract.blending import BlendedItem, ScoredItem
from contract.events import Event
from training.checkpoints import Keep, keep_nothing
from training.errors import BadInputError
from training.interactions import Interactions
from training.judged import KINDS, PROTOCOLS, SERVED, Evaluation, Kind, Protocol
from training.lists import Lists
from training.progress import each
from training.ranking_metrics import DEPTH, K
from training.served import Served, ServedLists
from training.split import Window
from training.tally import Past, Tallies, Tally, judged_of
from training.visitors import Visitor, visitors

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
                model: judged_of(
                    Tally.joined([tallies[protocol, model, SERVED] for tallies in judged]),
                    Tally.joined([tallies[protocol, model, "discovery"] for tallies in judged]),
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
) -> Tallies:
    served = served_at(window)
    _refuse_look_ahead(served, window)
    past = Past.of(events.before(window.start), served.unavailable, window.start)
    answering = _answering(models, served, window.start)
    tallies: Tallies = {
        (protocol, model, kind): Tally() for protocol in protocols for model in models for kind in KINDS
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
