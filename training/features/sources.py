"""What the sources think of a candidate."""

from collections.abc import Mapping

import numpy as np

from training.features.rows import Floats, Rows


def source_features(rows: Rows) -> Mapping[str, Floats]:
    """What each source thinks of the pair, and how many propose it."""
    pool = rows.pool
    scores = {f"{name}_score": values for name, values in pool.scores.items()}
    ranks = {f"{name}_rank": np.log1p(values) for name, values in pool.ranks.items()}
    proposed = sum((values > 0).astype(np.float32) for values in pool.scores.values())
    return {**scores, **ranks, "n_sources": np.asarray(proposed, dtype=np.float32)}
