"""The answer without the API: rows of its SQL, the contract's blend, a document. Both peers use it.

The document is the API's. What the peers do without: filters, purchases, an ETag, a log line, time-outs,
a new connection where one was lost, noticing that another version is live.
"""

import datetime as dt
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from contract.blending import BlendWeights, ScoredItem, blend, has_news, merge_histories
from contract.events import Event
from contract.reasons import reasons_of

QUESTION: Final = "QUESTION"
"""The environment variable that names the file of `benchmarks.api.question`."""


class Question(NamedTuple):
    """What to ask the database, and what is known beforehand."""

    statement: str
    values: dict[str, Any]
    version: str
    weights: BlendWeights
    popular: list[ScoredItem]

    def values_for(self, user_id: str) -> dict[str, Any]:
        """The statement's values for a visitor."""
        return {**self.values, "user": user_id}


def read_question() -> Question:
    """The file that the environment names."""
    document = json.loads(Path(os.environ[QUESTION]).read_bytes())
    popular = [(item, score) for item, score in document.pop("popular")]
    weights = BlendWeights.from_document(document.pop("weights"))
    return Question(**document, weights=weights, popular=popular)


def document_of(rows: Iterable[Sequence[Any]], question: Question, *, limit: int) -> dict[str, Any]:
    """What the API would answer."""
    personal: list[ScoredItem] = []
    stored: list[Event] = []
    posted: list[Event] = []
    similar: dict[str, list[ScoredItem]] = {}
    for kind, key, items, scores, event_types, timestamps, *_ in rows:
        if kind == "similar":
            similar[key] = list(zip(items, scores, strict=True))
        elif kind == "personal":
            personal = list(zip(items, scores, strict=True))
        elif kind == "history":
            stored = list(map(Event, items, event_types, timestamps))
        elif kind == "posted":
            posted = list(map(Event, items, event_types, timestamps))
    weights = question.weights
    history = merge_histories(posted, stored, length=weights.history_length)
    blended = blend(
        history=history,
        personal=personal,
        similar=similar,
        popular=question.popular,
        weights=weights,
        now=time.time_ns() // 1_000_000,
        has_news=has_news(posted, stored),
        limit=limit,
    )
    reasons = reasons_of(
        blended, history=history, similar=similar, personal={item for item, _ in personal}, weights=weights
    )
    return {
        "model_version": question.version,
        "generated_at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "source": "personalized" if personal else "session",
        "items": [
            {
                "item_id": item.item_id,
                "score": item.score,
                "rank": rank,
                "source": item.source,
                "reasons": why,
            }
            for rank, (item, why) in enumerate(zip(blended, reasons, strict=True), 1)
        ],
    }
