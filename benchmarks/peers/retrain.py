"""`python -m benchmarks.peers.retrain EVENTS --candidates N --out FILE`: RecTools' two-stage, retrained.

Measured is `fit` on all events and `recommend` for everybody with an event. Reading, numbering and RecTools'
own `Dataset` are made before the clock starts, and nothing is written.

Five generators, as ours has five sources: ALS and item-item cosine with our sizes, own items, popular of all
time and of a week. Each proposes so many items that a user has as many distinct candidates as with ours, or
just fewer. The last fourteen days are labels, fifty wrong candidates a user are kept. CatBoost ranks by
YetiRank with its own defaults (1,000 trees of depth 6), or with `--trees`. All use every core.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostRanker
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import ImplicitALSWrapperModel, ImplicitItemKNNWrapperModel, PopularModel
from rectools.models.ranking import (
    CandidateGenerator,
    CandidateRankingModel,
    CatBoostReranker,
    PerUserNegativeSampler,
)
from threadpoolctl import threadpool_limits

from benchmarks.peers.peer import WEIGHTINGS
from benchmarks.peers.two_stage import DAY, LABEL_DAYS, NEGATIVES, SEED, Behaviour, LastDays, OwnItems

MOST_CANDIDATES = 200
"""Of a generator."""
SAMPLE = 2_000
"""Users by whom the number of candidates is set."""
TARGETS = ("add_to_cart", "purchase")


def main(arguments: Sequence[str] | None = None) -> int:
    """Retrain once, write what it took."""
    options = _parser().parse_args(arguments)
    frame = read_frame(options.events)
    dataset = Dataset.construct(frame, keep_extra_cols=True)
    # implicit runs threads of its own, and warns of those of the linear algebra.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        # RecTools, pandas and CatBoost warn of each other's changes.
        warnings.simplefilter("ignore")
        each, mean = candidates_of_each(dataset, options.candidates)
        document = retrain(dataset, frame, candidates=each, trees=options.trees, length=options.length)
    document |= {"candidates_of_each_generator": each, "candidates_per_user": mean}
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def retrain(
    dataset: Dataset, frame: pd.DataFrame, *, candidates: int, trees: int | None, length: int
) -> dict[str, Any]:
    """Fit and recommend: seconds of both, and for how many users."""
    ranker = ranking_model(frame, candidates, trees)
    started = time.perf_counter()
    ranker.fit(dataset)
    fitted = time.perf_counter()
    found = ranker.recommend(
        users=frame[Columns.User].unique(), dataset=dataset, k=length, filter_viewed=False
    )
    ended = time.perf_counter()
    return {
        "seconds": ended - started,
        "fit_seconds": fitted - started,
        "recommend_seconds": ended - fitted,
        "users": int(found[Columns.User].nunique()),
        "rows": len(found),
        "trees": int(ranker.reranker.model.tree_count_),
        "loss": ranker.reranker.model.get_all_params()["loss_function"],
    }


def read_frame(file: Path) -> pd.DataFrame:
    """Events with numbers for users and items; a cart counts four views, a purchase six."""
    events = pd.read_parquet(file)
    view, cart, purchase = WEIGHTINGS["steep"]
    weights = events["event_type"].map({"add_to_cart": cart, "purchase": purchase}).fillna(view)
    return pd.DataFrame(
        {
            Columns.User: pd.factorize(events["user_id"])[0],
            Columns.Item: pd.factorize(events["item_id"])[0],
            Columns.Weight: weights.to_numpy(np.float32),
            Columns.Datetime: pd.to_datetime(events["timestamp"], unit="ms"),
            "is_target": events["event_type"].isin(TARGETS).to_numpy(np.float32),
        }
    )


def generators(candidates: int) -> list[CandidateGenerator]:
    """The first stage, each with so many items."""
    als = AlternatingLeastSquares(factors=64, regularization=0.05, iterations=15, random_state=SEED)
    models = (
        ImplicitALSWrapperModel(als),
        ImplicitItemKNNWrapperModel(CosineRecommender(K=100)),
        OwnItems(),
        PopularModel(),
        PopularModel(period=pd.Timedelta(days=7)),
    )
    return [
        CandidateGenerator(
            model, candidates, keep_ranks=True, keep_scores=True, ranks_fillna_value=candidates + 1,
            scores_fillna_value=0,
        )
        for model in models
    ]  # fmt: skip


def candidates_of_each(dataset: Dataset, wanted: float) -> tuple[int, float]:
    """How many items of each generator give a user at most `wanted` distinct ones, and how many these are.

    In the mean over a sample of users, each generator fitted on all events.
    """
    users = dataset.user_id_map.external_ids
    if len(users) > SAMPLE:
        users = np.random.default_rng(SEED).choice(users, SAMPLE, replace=False)
    found = []
    for generator in generators(MOST_CANDIDATES):
        generator.fit(dataset, for_train=False)
        found.append(generator.generate_candidates(users, dataset, filter_viewed=False, for_train=False))
    best_ranks = pd.concat(found).groupby(Columns.UserItem)[Columns.Rank].min()
    # Entry n: how many distinct items a user has when each generator proposes n.
    means = np.cumsum(np.bincount(best_ranks, minlength=MOST_CANDIDATES + 1)) / len(users)
    each = max(1, int(np.searchsorted(means, wanted, side="right")) - 1)
    return each, float(means[each])


def ranking_model(frame: pd.DataFrame, candidates: int, trees: int | None) -> CandidateRankingModel:
    """Both stages, before they have learnt."""
    first_label = frame[Columns.Datetime].max().value // 10**6 + 1 - LABEL_DAYS * DAY
    model = CatBoostRanker(
        loss_function="YetiRank", iterations=trees, random_seed=SEED, verbose=False, allow_writing_files=False
    )
    return CandidateRankingModel(
        generators(candidates),
        splitter=LastDays(first_label, "batch", filter_seen=False),
        reranker=CatBoostReranker(model),
        sampler=PerUserNegativeSampler(n_negatives=NEGATIVES, random_state=SEED),
        feature_collector=Behaviour(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.retrain", description=__doc__)
    parser.add_argument("events", type=Path, help="Parquet: user_id, item_id, event_type, timestamp in ms")
    parser.add_argument(
        "--candidates", type=float, required=True, help="distinct ones of a user, in the mean"
    )
    parser.add_argument("--length", type=int, default=100, help="items of a list (default: %(default)s)")
    parser.add_argument("--trees", type=int, help="of CatBoost (default: its own)")
    parser.add_argument("--out", type=Path, required=True, help="JSON: what it took")
    return parser


if __name__ == "__main__":
    sys.exit(main())
