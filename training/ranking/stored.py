"""Rankers as JSON, so that an answer can be explained long after the training."""

import json
from collections.abc import Callable
from typing import Any, Final

from training.errors import VersionError
from training.ranking import Ranker
from training.ranking.boosted import BoostedRanker
from training.ranking.linear import LinearRanker
from training.ranking.prior import PriorRanker

_KINDS: Final[dict[str, Callable[[dict[str, Any]], Ranker]]] = {
    "boosted": BoostedRanker.from_document,
    "linear": LinearRanker.from_document,
    "prior": PriorRanker.from_document,
}


def ranker_to_json(ranker: Ranker) -> str:
    """A ranker as text."""
    return json.dumps(ranker.document())


def ranker_from_json(text: str | bytes) -> Ranker:
    """The ranker that `ranker_to_json` made a text of. Raises VersionError where this code can't read it."""
    try:
        document = json.loads(text)
        return _KINDS[document["ranker"]](document)
    except (ValueError, KeyError, TypeError) as error:
        raise VersionError(f"the stored ranker can't be read: {error!r}") from error
