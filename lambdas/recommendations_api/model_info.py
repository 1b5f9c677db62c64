"""Which versions answer, and what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from contract.recommendations import Manifest
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.repository import NoVersionError

MODELS: Final = ("served", "popular")
"""What was evaluated of a version, and what it has to beat."""
METRICS: Final = ("users", "precision@10", "recall@10")


@dataclass(frozen=True)
class ServedVariant:
    """A variant and the version that answers for it."""

    variant: str
    share: float
    """Of the visitors, from 0 to 1."""
    served_since: datetime
    manifest: Manifest

    def age_seconds(self, now: int) -> float:
        """How long before `now`, ms UTC, the events end that the version knows."""
        return now / 1000 - datetime.fromisoformat(self.manifest.as_of).timestamp()

    def headline(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The metrics that count, by protocol and model, as far as they were measured."""
        return {
            protocol: {model: _of(by_model[model]) for model in MODELS if model in by_model}
            for protocol, by_model in self.manifest.metrics.items()
        }


def _of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in METRICS if name in metrics}


_SERVED: Final[LiteralString] = """
SELECT variant, share, moved_at, manifest FROM serving JOIN versions ON number = version ORDER BY variant
"""


class ModelInfo:
    """Reads what is served."""

    def __init__(self, database: Database, *, timeout: float) -> None:
        """Read nothing yet; the timeout is in seconds."""
        self._database = database
        self._timeout = timeout

    def served(self) -> list[ServedVariant]:
        """All variants, by name.

        Raises NoVersionError where there is none, ManifestError where a manifest cannot be read, and
        DatabaseUnavailableError.
        """

        def read(connection: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
            return connection.execute(_SERVED).fetchall()

        rows = self._database.run(read, timeout=self._timeout)
        if not rows:
            raise NoVersionError
        return [
            ServedVariant(variant, share, since, Manifest.from_document(manifest))
            for variant, share, since, manifest in rows
        ]
