"""Each peer with its best settings: chosen on the tuning windows, for each protocol and kind of list apart.

The criterion is recall@10 over all users with truth in these windows, then NDCG@10, then the order of the
grid. Chosen together are the model's settings, what its lists hide and the popularity that fills them up.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from benchmarks.peers.lists import (
    FILLS,
    HIDDEN,
    NOTHING,
    Shelf,
    best,
    filled,
    hidden_of,
    pruned,
    recall_and_ndcg,
)
from benchmarks.peers.peer import Model, Peer, Settings, chunks
from benchmarks.peers.split import PROTOCOLS, Ints, Split, Window

KINDS = tuple(HIDDEN)


@dataclass(frozen=True)
class Choice:
    """What one peer plays with in one protocol and kind of list."""

    settings: Settings
    hide: str
    fill: tuple[int | None, str]
    recall: float
    """On the tuning windows."""


@dataclass
class Player:
    """A peer on a split; what was ranked once is kept."""

    peer: Peer
    split: Split
    shelves: list[Shelf]
    seconds: float = 0
    _ranked: dict[tuple[int, int], dict[tuple[str, str], Ints]] = field(default_factory=dict)

    def play(self) -> tuple[dict[tuple[str, str], Choice], dict[tuple[str, str, int], Ints]]:
        """The choice by protocol and kind, and by window, too, the lists of all states."""
        started = time.perf_counter()
        choices, lists = {}, {}
        for protocol, kind in product(PROTOCOLS, KINDS):
            choice, place = self._choose(protocol, kind)
            choices[protocol, kind] = choice
            for shelf in self.shelves:
                lists[protocol, kind, shelf.window.number] = self._lists(shelf, protocol, choice, place)
        self.seconds = time.perf_counter() - started
        return choices, lists

    def _choose(self, protocol: str, kind: str) -> tuple[Choice, int]:
        tuning = [self.shelves[number] for number in self.split.tuning]
        grid = self.peer.grid(tuning[-1].window)
        leader: tuple[tuple[float, float], Choice, int] | None = None
        for place, hide, fill in product(range(len(grid)), HIDDEN[kind], FILLS):
            choice = Choice(grid[place], hide, fill, recall=0)
            judged = [
                recall_and_ndcg(self._lists(shelf, protocol, choice, place), shelf.truth(protocol, kind))
                for shelf in tuning
            ]
            rows = np.concatenate(judged)
            recall, ndcg = rows.mean(axis=0).tolist() if len(rows) else (0.0, 0.0)
            if leader is None or (recall, ndcg) > leader[0]:
                leader = (recall, ndcg), Choice(grid[place], hide, fill, recall), place
        if leader is None:
            raise ValueError(f"{self.peer.name} has no settings to choose from")
        return leader[1], leader[2]

    def _lists(self, shelf: Shelf, protocol: str, choice: Choice, place: int) -> Ints:
        own = self._own(shelf.window, choice.settings, place)[protocol, choice.hide]
        return filled(own, shelf.fill(protocol, choice.hide, choice.fill))

    def _own(self, window: Window, settings: Settings, place: int) -> dict[tuple[str, str], Ints]:
        key = window.number, place
        if key not in self._ranked:
            self._ranked[key] = dict(_ranked(window, self.peer.fit(window, settings)))
        return self._ranked[key]


def _ranked(window: Window, model: Model) -> Iterator[tuple[tuple[str, str], Ints]]:
    """By protocol and what is hidden, the model's own ten for every state, before anything fills them up."""
    for protocol, states in window.states.items():
        ranked: dict[str, list[Ints]] = {hide: [] for hide in HIDDEN["served"]}
        for chunk in chunks(states):
            scores = pruned(model.scores(chunk), chunk.seen)
            for hide, lists in ranked.items():
                lists.append(best(scores, hidden_of(chunk, hide, window.is_target)))
        for hide, lists in ranked.items():
            yield (protocol, hide), np.concatenate(lists)


def rows_of(lists: Ints, window: Window) -> dict[str, list[Any]]:
    """Lists as columns: `user_id`, `rank` (from 1), `item_id`."""
    states, ranks = np.nonzero(lists != NOTHING)
    return {
        "user_id": [window.user_ids[state] for state in states],
        "rank": (ranks + 1).tolist(),
        "item_id": window.item_ids[lists[states, ranks]].tolist(),
    }


def tell(player: Player, choices: dict[tuple[str, str], Choice]) -> None:
    """One line for who waits."""
    recalls = ", ".join(f"{protocol} {kind} {each.recall:.4f}" for (protocol, kind), each in choices.items())
    print(
        f"{player.peer.name}: {player.seconds:.0f} s; tuning recall@10: {recalls}",
        file=sys.stderr,
        flush=True,
    )
