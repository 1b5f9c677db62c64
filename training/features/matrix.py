"""Features of candidates: one row a pair of user and item, one column a feature."""

from collections.abc import Callable, Mapping

import numpy as np

from training.candidates.pool import Pool
from training.features.items import item_features
from training.features.pairs import pair_features
from training.features.rows import Floats, Known, Rows, rows_of
from training.features.sources import source_features
from training.features.users import user_features
from training.interactions import FloatArray

FEATURES: tuple[Callable[[Rows], Mapping[str, Floats]], ...] = (
    source_features,
    pair_features,
    item_features,
    user_features,
)
"""What the ranker sees; a new feature is a function of `Rows` that is added here."""


def feature_matrix(pool: Pool, known: Known) -> tuple[list[str], FloatArray]:
    """The features' names, and a matrix of candidates × features."""
    rows = rows_of(pool, known)
    columns: dict[str, Floats] = {}
    for part in FEATURES:
        columns |= part(rows)
    matrix = np.empty((len(pool), len(columns)), dtype=np.float32, order="F")
    for place, values in enumerate(columns.values()):
        matrix[:, place] = values
    return list(columns), matrix
