"""`python -m benchmarks.peers SPLIT --out FOLDER [--only NAME…]`: every peer's lists, and its settings.

Writes `lists.parquet` (`peer, protocol, kind, window, user_id, rank, item_id`; rank from 1) and
`settings.json` (by peer: seconds, and by protocol and kind what was chosen).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.peers.factors import Als, Bm25, Bpr, Cosine, Ease, Tfidf
from benchmarks.peers.lists import Shelf
from benchmarks.peers.peer import Peer
from benchmarks.peers.repeat import Popular, RepeatAndCovisitation, RepeatAndSessionKnn, ViewedTimesConversion
from benchmarks.peers.session_knn import SessionKnn
from benchmarks.peers.split import Ints, Split, read_split
from benchmarks.peers.tuning import Player, rows_of, tell
from benchmarks.peers.two_stage import TwoStage

PEERS: tuple[Peer, ...] = (
    Popular(),
    ViewedTimesConversion(),
    RepeatAndCovisitation(),
    RepeatAndSessionKnn(),
    SessionKnn(),
    Cosine(),
    Tfidf(),
    Bm25(),
    Als(),
    Bpr(),
    Ease(),
    TwoStage(),
)

COLUMNS = ["peer", "protocol", "kind", "window", "user_id", "rank", "item_id"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all of them."""
    options = _parser().parse_args(arguments)
    split = read_split(options.split)
    shelves = [Shelf(window) for window in split.windows]
    options.out.mkdir(parents=True, exist_ok=True)
    tables: list[pd.DataFrame] = []
    settings: dict[str, Any] = {}
    for peer in PEERS:
        if options.only and peer.name not in options.only:
            continue
        player = Player(peer, split, shelves)
        # implicit runs threads of its own, and warns of those of the linear algebra.
        with threadpool_limits(None if isinstance(peer, Ease) else 1, "blas"):
            choices, lists = player.play()
        tell(player, choices)
        tables += _tables(peer, split, lists)
        settings[peer.name] = {
            "seconds": round(player.seconds, 1),
            "chosen": {f"{protocol} {kind}": asdict(each) for (protocol, kind), each in choices.items()},
        }
        pd.concat(tables)[COLUMNS].to_parquet(options.out / "lists.parquet", index=False)
        (options.out / "settings.json").write_text(json.dumps(settings, indent=2) + "\n")
    return 0


def _tables(peer: Peer, split: Split, lists: dict[tuple[str, str, int], Ints]) -> list[pd.DataFrame]:
    return [
        pd.DataFrame(rows_of(each, split.windows[number])).assign(
            peer=peer.name, protocol=protocol, kind=kind, window=number
        )
        for (protocol, kind, number), each in lists.items()
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("split", type=Path, help="the folder that benchmarks.quality wrote the split to")
    parser.add_argument("--out", type=Path, required=True, help="the folder for lists and settings")
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS], help="not all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
