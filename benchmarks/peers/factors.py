"""Models of the library implicit, and EASE: users × items, factored or compared."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from implicit.bpr import BayesianPersonalizedRanking
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from implicit.utils import ParameterWarning

from benchmarks.peers.peer import Model, Settings, kind_weights, positive, top_candidates, weightings
from benchmarks.peers.split import Events, Floats, States, Window, pairs_matrix, widened

SEED = 0


@dataclass(frozen=True)
class Confidence:
    """What a user's item counts."""

    weights: Floats
    n_items: int
    binary: bool

    @classmethod
    def of(cls, window: Window, weighting: str) -> "Confidence":
        """By one of `WEIGHTINGS`."""
        return cls(kind_weights(window, weighting), window.n_items, binary=weighting == "pair")

    def matrix(self, events: Events, n_users: int) -> sp.csr_matrix:
        """Users × items."""
        return pairs_matrix(events, self.weights, (n_users, self.n_items), binary=self.binary)

    def known(self, window: Window) -> sp.csr_matrix:
        """All that is known at the window's start."""
        return self.matrix(window.known, window.n_known_users)


class Als:
    """Implicit ALS; a user's factors are computed anew from the history at the state (fold-in)."""

    name = "ALS"

    def grid(self, window: Window) -> list[Settings]:
        """Factors, alpha and weights."""
        return [
            {"factors": factors, "alpha": alpha, "weighting": weighting}
            for factors, alpha, weighting in product((32, 64, 128), (1.0, 20.0), weightings(window)[:2])
        ]

    def fit(self, window: Window, settings: Settings) -> Model:
        """15 iterations, regularization 0.05."""
        confidence = Confidence.of(window, settings["weighting"])
        model = AlternatingLeastSquares(
            factors=settings["factors"], alpha=settings["alpha"], regularization=0.05, iterations=15,
            random_state=SEED,
        )  # fmt: skip
        model.fit(confidence.known(window), show_progress=False)
        return FoldedIn(model, confidence)


@dataclass(frozen=True)
class FoldedIn:
    """ALS with users as they are by now."""

    model: Any
    confidence: Confidence

    def scores(self, states: States) -> sp.csr_matrix:
        """Dot products; a user without a history has none."""
        matrix = self.confidence.matrix(states.history, len(states))
        users = self.model.recalculate_user(np.arange(len(states)), matrix)
        return top_candidates(np.asarray(users @ self.model.item_factors.T, dtype=np.float32), states)


class Bpr:
    """Implicit BPR; whoever is new, or came back, may be the mean of the items in their history."""

    name = "BPR"

    def __init__(self) -> None:
        self._fitted: dict[tuple[int, float, str], tuple[Floats, Floats]] = {}

    def grid(self, window: Window) -> list[Settings]:
        """Factors, learning rate, what a positive is, and what stands for a user."""
        weighting = ["pair"] if window.is_target.all() else ["pair", "targets"]
        names = ("factors", "learning_rate", "weighting", "user")
        values = product((64,), (0.01, 0.05), weighting, ("trained", "history"))
        return [dict(zip(names, each, strict=True)) for each in values]

    def fit(self, window: Window, settings: Settings) -> Model:
        """100 iterations, regularization 0.01; one thread, without which two runs differ."""
        confidence = Confidence.of(window, settings["weighting"])
        fitted = (window.number, settings["learning_rate"], settings["weighting"])
        if fitted not in self._fitted:
            model = BayesianPersonalizedRanking(
                factors=settings["factors"], learning_rate=settings["learning_rate"], regularization=0.01,
                iterations=100, random_state=SEED, num_threads=1,
            )  # fmt: skip
            model.fit(confidence.known(window), show_progress=False)
            self._fitted[fitted] = (model.user_factors, model.item_factors)
        return BprVectors(*self._fitted[fitted], confidence, settings["user"] == "trained")


@dataclass(frozen=True)
class BprVectors:
    """Vectors of users and items, the last component of which is the items' bias."""

    users: Floats
    items: Floats
    confidence: Confidence
    trained: bool

    def scores(self, states: States) -> sp.csr_matrix:
        """Dot products with the trained vector of a known user, else with the mean of their items'."""
        matrix = self.confidence.matrix(states.history, len(states))
        sizes = np.maximum(np.asarray(matrix.sum(axis=1)), 1e-9)
        users = np.asarray(matrix @ self.items / sizes, dtype=np.float32)
        users[:, -1] = 1
        if self.trained:
            known = states.known_users >= 0
            users[known] = self.users[states.known_users[known]]
        return top_candidates(np.asarray(users @ self.items.T, dtype=np.float32), states)


@dataclass(frozen=True)
class ItemNeighbours:
    """One of implicit's item-item models: a user's row times the similarities."""

    similarity: sp.csr_matrix
    confidence: Confidence

    def scores(self, states: States) -> sp.csr_matrix:
        """The sum over the user's items."""
        matrix = self.confidence.matrix(states.history, len(states))
        return positive(matrix @ self.similarity)


class _ItemItem:
    name: str
    models: ClassVar[list[tuple[str, Callable[[int], Any]]]]

    def grid(self, window: Window) -> list[Settings]:
        """Neighbours, weights and the model's own."""
        return [
            {"model": model, "K": neighbours, "weighting": weighting}
            for model, neighbours, weighting in product(
                [name for name, _ in self.models], (50, 500), weightings(window)
            )
        ]

    def fit(self, window: Window, settings: Settings) -> Model:
        """The `K` nearest neighbours of each item, itself among them."""
        confidence = Confidence.of(window, settings["weighting"])
        model = dict(self.models)[settings["model"]](settings["K"])
        known = confidence.known(window).astype(np.float64)
        with warnings.catch_warnings():
            # implicit weights the matrix in coordinate form, and then warns of that form.
            warnings.filterwarnings("ignore", category=ParameterWarning)
            model.fit(known, show_progress=False)
        return ItemNeighbours(sp.csr_matrix(model.similarity), confidence)


class Cosine(_ItemItem):
    """Cosine between items' columns."""

    name = "item-item cosine"
    models: ClassVar = [("cosine", lambda k: CosineRecommender(K=k))]


class Tfidf(_ItemItem):
    """The same with users weighted by TF-IDF."""

    name = "item-item TF-IDF"
    models: ClassVar = [("tfidf", lambda k: TFIDFRecommender(K=k))]


class Bm25(_ItemItem):
    """The same with users weighted by BM25."""

    name = "item-item BM25"
    models: ClassVar = [
        ("K1=1.2, B=0.75", lambda k: BM25Recommender(K=k, K1=1.2, B=0.75)),
        ("K1=100, B=0.5", lambda k: BM25Recommender(K=k, K1=100, B=0.5)),
    ]


class Ease:
    """EASE (Steck 2019) on the items with most events: a linear autoencoder without a diagonal."""

    name = "EASE"
    n_items = 3000

    def grid(self, window: Window) -> list[Settings]:
        """Regularization and weights."""
        return [
            {"regularization": regularization, "weighting": weighting}
            for regularization, weighting in product((5.0, 50.0, 500.0), weightings(window)[:2])
        ]

    def fit(self, window: Window, settings: Settings) -> Model:
        """In closed form."""
        confidence = Confidence.of(window, settings["weighting"])
        known = confidence.known(window)[:, : self.n_items].astype(np.float32)
        gram = (known.T @ known).toarray()
        gram[np.diag_indices(len(gram))] += settings["regularization"]
        precision = np.linalg.inv(gram)
        coefficients = -precision / np.diag(precision)
        np.fill_diagonal(coefficients, 0)
        return Autoencoder(coefficients, confidence)


@dataclass(frozen=True)
class Autoencoder:
    """Items' scores as sums over the user's items."""

    coefficients: Floats
    confidence: Confidence

    def scores(self, states: States) -> sp.csr_matrix:
        """Only of the items that have coefficients."""
        n_items = len(self.coefficients)
        matrix = self.confidence.matrix(states.history, len(states))[:, :n_items]
        return widened(positive(sp.csr_matrix(matrix @ self.coefficients)), states.n_items)
