"""What the live version knows, to ask for."""

import psycopg

from contract.recommendations import ListKind
from twin.cloud.deployment import NotDeployedError


def known(database_url: str) -> tuple[str, str]:
    """A user and an item. Raises NotDeployedError where no version is live."""
    statement = (
        "SELECT max(key) FILTER (WHERE kind = %s), max(key) FILTER (WHERE kind = %s) FROM recommendations"
        " JOIN serving USING (version)"
    )
    with psycopg.connect(database_url) as connection:
        found = connection.execute(statement, (ListKind.PERSONAL, ListKind.SIMILAR)).fetchone()
    if found is None or None in found:
        raise NotDeployedError("no version is live: `make local-seed` brings a small shop in")
    return found
