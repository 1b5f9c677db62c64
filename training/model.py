"""The model as MLflow stores and loads it: the lists of a version, and the blend over them.

MLflow runs this file when it loads the model ("models from code"): it needs pandas, pyarrow and
`contract`, no library that trained.
"""

from pathlib import Path
from typing import Any

import mlflow.models
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.pyfunc.model import PythonModel

from contract.blending import ScoredItem, blend, recent_items
from contract.events import Event
from contract.purchases import excluded_purchases
from contract.recommendations import EVERYTHING, ListKind, Manifest
from contract.s3_layout import MANIFEST_NAME

DEFAULT_LIMIT = 10


class Recommender(PythonModel):
    """`predict(frame with user_id)` → one row a user: `user_id`, `item_ids`, `scores`."""

    def load_context(self, context: Any) -> None:
        """Open the version's manifest and its lists."""
        folder = Path(context.artifacts["version"])
        self._manifest = Manifest.from_json((folder / MANIFEST_NAME).read_bytes())
        self._lists = pq.read_table([folder / entry.name for entry in self._manifest.files])

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """What the API would answer to these users, had they done nothing since the training.

        It knows no catalogue: items go by the shop's rule for bought ones, whatever their category.
        """
        limit = int((params or {}).get("limit", DEFAULT_LIMIT))
        popular = self._scored(ListKind.POPULAR, [EVERYTHING]).get(EVERYTHING, [])
        users = [str(user) for user in model_input["user_id"]]
        personal = self._scored(ListKind.PERSONAL, users)
        histories = self._histories(users)
        answers = [
            self._answer(histories.get(user, []), personal.get(user, []), popular, limit) for user in users
        ]
        return pd.DataFrame(
            {
                "user_id": users,
                "item_ids": [[item.item_id for item in answer] for answer in answers],
                "scores": [[item.score for item in answer] for answer in answers],
            }
        )

    def _answer(
        self, history: list[Event], personal: list[ScoredItem], popular: list[ScoredItem], limit: int
    ) -> list[Any]:
        weights = self._manifest.blend_weights
        bought = excluded_purchases(
            history,
            default=self._manifest.exclude_purchased,
            by_category=self._manifest.exclude_purchased_by_category,
            category_of={},
        )
        return blend(
            history=history,
            personal=personal,
            similar=self._scored(ListKind.SIMILAR, recent_items(history, weights)),
            popular=popular,
            weights=weights,
            now=self._manifest.trained_until,
            has_news=False,
            limit=limit,
            exclude=bought,
        )

    def _scored(self, kind: ListKind, keys: list[str]) -> dict[str, list[ScoredItem]]:
        return {
            row["key"]: list(zip(row["item_ids"], row["scores"], strict=True))
            for row in self._rows(kind, keys)
        }

    def _histories(self, users: list[str]) -> dict[str, list[Event]]:
        return {
            row["key"]: [
                Event(*event)
                for event in zip(row["item_ids"], row["event_types"], row["timestamps"], strict=True)
            ]
            for row in self._rows(ListKind.HISTORY, users)
        }

    def _rows(self, kind: ListKind, keys: list[str]) -> list[dict[str, Any]]:
        wanted = pc.and_(
            pc.equal(self._lists["kind"], kind.value),
            pc.is_in(self._lists["key"], pa.array(keys, pa.string())),
        )
        rows: list[dict[str, Any]] = self._lists.filter(wanted).to_pylist()
        return rows


mlflow.models.set_model(Recommender())
