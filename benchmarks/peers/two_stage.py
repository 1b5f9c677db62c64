"""RecTools' two-stage model: candidates of implicit's models and popularity, ranked by CatBoost."""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from catboost import CatBoostError, CatBoostRanker
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from rectools import Columns
from rectools.dataset import Dataset
from rectools.model_selection import Splitter
from rectools.models import ImplicitALSWrapperModel, ImplicitItemKNNWrapperModel, PopularModel
from rectools.models.base import ModelBase
from rectools.models.ranking import (
    CandidateFeatureCollector,
    CandidateGenerator,
    CandidateRankingModel,
    CatBoostReranker,
    PerUserNegativeSampler,
)
from rectools.models.vector import Factors

from benchmarks.peers.peer import Model, Settings, kind_weights
from benchmarks.peers.repeat import NoScores
from benchmarks.peers.split import Events, Ints, States, Window

DAY = 24 * 3600 * 1000
LABEL_DAYS = 14
CANDIDATES = 100
NEGATIVES = 50
ITERATIONS = 200
SEED = 0
NOBODY = 10**8
NEW_USER = 10**9
"""Added to the number of a state: its user is another one to RecTools than the one of the training."""


class FoldedInAls(ImplicitALSWrapperModel):
    """RecTools' ALS with users' factors computed from the dataset at hand, so that live events count."""

    def _get_users_factors(self, dataset: Dataset) -> Any:
        matrix = dataset.get_user_item_matrix(include_weights=True)
        return Factors(self.model.recalculate_user(np.arange(matrix.shape[0]), matrix))


class OwnItems(ModelBase):
    """A user's own items, latest first: RecTools has no such generator, and without it no chance."""

    recommends_for_warm = False
    recommends_for_cold = False

    def _fit(self, dataset: Dataset) -> None:
        """Nothing to learn."""

    def _recommend_u2i(
        self,
        user_ids: Any,
        dataset: Dataset,
        k: int,
        filter_viewed: bool,
        sorted_item_ids_to_recommend: Any,  # noqa: ARG002
    ) -> tuple[Any, Any, Any]:
        frame = dataset.interactions.df
        frame = frame[frame[Columns.User].isin(user_ids)]
        last = (
            frame.groupby(Columns.UserItem, sort=False)[Columns.Datetime].max().rename("last").reset_index()
        )
        last["rank"] = last.groupby(Columns.User)["last"].rank(ascending=False, method="first")
        last = last[last["rank"] <= (0 if filter_viewed else k)].sort_values([Columns.User, "rank"])
        return last[Columns.User].to_numpy(), last[Columns.Item].to_numpy(), 1 / last["rank"].to_numpy()


class LastDays(Splitter):
    """The last days as labels: of everybody with a target in them, as they are asked about in a protocol.

    In `session` what a user did up to their first target is history, in `batch` it is left out.
    """

    def __init__(self, start: int, protocol: str, *, filter_seen: bool) -> None:
        super().__init__(filter_already_seen=filter_seen)
        self.start, self.protocol = pd.Timestamp(start, unit="ms"), protocol
        self.n_splits = 1

    def split(
        self,
        interactions: Any,
        collect_fold_stats: bool = False,  # noqa: ARG002 - RecTools'
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], dict[str, Any]]]:
        """Rows of history and rows of targets, of users and items that the history knows."""
        frame = interactions.df
        late = (frame[Columns.Datetime] >= self.start).to_numpy()
        target = late & frame["is_target"].to_numpy(dtype=np.bool_)
        firsts = frame[target].groupby(Columns.User)[Columns.Datetime].min()
        first = frame[Columns.User].map(firsts)
        live = late & (frame[Columns.Datetime] < first).to_numpy()
        history = ~late | live if self.protocol == "session" else ~late
        known_users = frame.loc[history, Columns.User].unique()
        known_items = frame.loc[history, Columns.Item].unique()
        known = frame[Columns.User].isin(known_users) & frame[Columns.Item].isin(known_items)
        yield np.flatnonzero(history), np.flatnonzero(target & known.to_numpy()), {}


class Behaviour(CandidateFeatureCollector):
    """What RecTools' guide suggests to collect: of users, items and pairs, from the dataset at hand alone."""

    def _get_user_features(self, users: Any, dataset: Dataset, fold_info: Any) -> pd.DataFrame:  # noqa: ARG002
        by_user = _raw(dataset).groupby(Columns.User)
        features = by_user.agg(
            user_events=("is_target", "size"),
            user_targets=("is_target", "sum"),
            user_items=(Columns.Item, "nunique"),
        )
        return features.reindex(users).rename_axis(Columns.User).reset_index()

    def _get_item_features(self, items: Any, dataset: Dataset, fold_info: Any) -> pd.DataFrame:  # noqa: ARG002
        raw = _raw(dataset)
        by_item = raw.groupby(Columns.Item)
        features = by_item.agg(item_events=("is_target", "size"), item_targets=("is_target", "sum"))
        last_week = raw[raw[Columns.Datetime] > raw[Columns.Datetime].max() - pd.Timedelta(days=7)]
        features["item_events_7d"] = last_week.groupby(Columns.Item).size()
        features["item_conversion"] = (features["item_targets"] + 1) / (features["item_events"] + 10)
        return features.fillna(0).reindex(items).rename_axis(Columns.Item).reset_index()

    def _get_user_item_features(
        self,
        useritem: pd.DataFrame,
        dataset: Dataset,
        fold_info: Any,  # noqa: ARG002
    ) -> pd.DataFrame:
        raw = _raw(dataset)
        raw = raw[raw[Columns.User].isin(useritem[Columns.User].unique())]
        moment = raw.groupby(Columns.User)[Columns.Datetime].max().rename("moment")
        pairs = raw.groupby(Columns.UserItem, sort=False).agg(
            pair_events=("is_target", "size"),
            pair_targets=("is_target", "sum"),
            last=(Columns.Datetime, "max"),
        )
        features: pd.DataFrame = pairs.reset_index().merge(moment, on=Columns.User)
        features["pair_hours"] = (features["moment"] - features["last"]).dt.total_seconds() / 3600
        features["pair_recency"] = features.groupby(Columns.User)["last"].rank(ascending=False)
        return features.drop(columns=["moment", "last"])


def _raw(dataset: Dataset) -> pd.DataFrame:
    frame: pd.DataFrame = dataset.get_raw_interactions(include_extra_cols=True)
    return frame


class TwoStage:
    """RecTools' `CandidateRankingModel`."""

    name = "RecTools two-stage"

    def grid(self, window: Window) -> list[Settings]:
        """Which protocol its labels follow, and whether what was seen is left out of them."""
        del window
        return [
            {"protocol": protocol, "filter_seen": filter_seen}
            for protocol, filter_seen in product(("batch", "session"), (False, True))
        ]

    def fit(self, window: Window, settings: Settings) -> Model:
        """Generators, 100 items each: ALS, item-item cosine, own items, popular of all time and of a week.

        The last fourteen days before the window are labels; fifty wrong candidates a user are kept.
        """
        known = _frame(window.known, window, window.known.users)
        # RecTools recommends no item that it wasn't fitted with: those that are only seen live get a name.
        training = pd.concat([known, _names_alone(window)], ignore_index=True)
        ranker = _ranker(window, settings)
        try:
            with warnings.catch_warnings():
                # RecTools, pandas and CatBoost warn of each other's changes.
                warnings.simplefilter("ignore")
                ranker.fit(_dataset(training))
        except CatBoostError as error:
            print(f"{self.name}: nothing to learn from, so popularity alone: {error}", file=sys.stderr)
            return NoScores()
        return Ranked(ranker, training, window, filter_seen=settings["filter_seen"])


def _ranker(window: Window, settings: Settings) -> CandidateRankingModel:
    als = AlternatingLeastSquares(factors=64, regularization=0.05, iterations=15, random_state=SEED)
    models = (
        FoldedInAls(als),
        ImplicitItemKNNWrapperModel(CosineRecommender(K=100)),
        OwnItems(),
        PopularModel(),
        PopularModel(period=pd.Timedelta(days=7)),
    )
    generators = [
        CandidateGenerator(
            model, CANDIDATES, keep_ranks=True, keep_scores=True, ranks_fillna_value=CANDIDATES + 1,
            scores_fillna_value=0,
        )
        for model in models
    ]  # fmt: skip
    # YetiRank: Logloss did worse in a trial (recall@10 of a tuning window .377 against .385).
    model = CatBoostRanker(
        loss_function="YetiRank", iterations=ITERATIONS, random_seed=SEED, verbose=False,
        allow_writing_files=False,
    )  # fmt: skip
    return CandidateRankingModel(
        generators,
        splitter=LastDays(
            window.start - LABEL_DAYS * DAY, settings["protocol"], filter_seen=settings["filter_seen"]
        ),
        reranker=CatBoostReranker(model),
        sampler=PerUserNegativeSampler(n_negatives=NEGATIVES, random_state=SEED),
        feature_collector=Behaviour(),
    )


def _frame(events: Events, window: Window, users: Ints) -> pd.DataFrame:
    weights = kind_weights(window, "steep")
    return pd.DataFrame(
        {
            Columns.User: users,
            Columns.Item: events.items,
            Columns.Weight: weights[events.kinds],
            Columns.Datetime: pd.to_datetime(events.timestamps, unit="ms"),
            "is_target": window.is_target[events.kinds].astype(np.float32),
        }
    )


def _names_alone(window: Window) -> pd.DataFrame:
    """The items of the window that the training lacks, as the first events, of nobody, without weight."""
    new = np.setdiff1d(np.arange(window.n_items), window.known.items)
    first = pd.to_datetime(window.known.timestamps.min(), unit="ms")
    return pd.DataFrame(
        {
            Columns.User: NOBODY,
            Columns.Item: new,
            Columns.Weight: np.float32(0),
            Columns.Datetime: first,
            "is_target": np.float32(0),
        }
    )


def _dataset(frame: pd.DataFrame) -> Dataset:
    return Dataset.construct(frame, keep_extra_cols=True)


@dataclass(frozen=True)
class Ranked:
    """RecTools' model, asked about states."""

    ranker: CandidateRankingModel
    training: pd.DataFrame
    window: Window
    filter_seen: bool

    def scores(self, states: States) -> sp.csr_matrix:
        """Of the candidates of those users who have a history."""
        user_of_state = np.where(
            states.known_users >= 0, states.known_users, NEW_USER + np.arange(len(states))
        )
        history = _frame(states.history, self.window, user_of_state[states.history.users])
        live = history[states.history.timestamps >= self.window.start]
        # After the training's, so that RecTools numbers users and items as it did when it learnt.
        frame = pd.concat([self.training, live], ignore_index=True)
        asked = pd.Series(np.arange(len(states)), index=user_of_state)
        asked = asked[asked.index.isin(frame[Columns.User].unique())]
        if not len(asked):
            return NoScores().scores(states)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self.ranker.recommend(
                users=asked.index.to_numpy(), dataset=_dataset(frame), k=4 * CANDIDATES,
                filter_viewed=self.filter_seen,
            )  # fmt: skip
        rows = asked.loc[found[Columns.User]].to_numpy()
        # By rank, because a score of zero would be no entry.
        values = 1 / found[Columns.Rank].to_numpy(dtype=np.float64)
        return sp.csr_matrix(
            (values, (rows, found[Columns.Item].to_numpy())), shape=(len(states), states.n_items)
        )
