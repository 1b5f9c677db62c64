"""All SQL of the API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.errors import CheckViolation

from contract.blending import BlendWeights, ScoredItem
from contract.events import Event
from contract.recommendations import ListKind, Manifest
from lambdas.recommendations_api.database import Database

Connection = psycopg.Connection[tuple[Any, ...]]


class NoVersionError(Exception):
    """No version is live yet."""


@dataclass(frozen=True, kw_only=True)
class LiveVersion:
    """What an answer needs to know of the version that answers; the same for every visitor."""

    number: int
    name: str
    weights: BlendWeights
    exclude_purchased: bool
    exclude_purchased_by_category: dict[str, bool]
    popular: list[ScoredItem]


@dataclass(kw_only=True)
class Visitor:
    """All that an answer for one visitor is made from; read at one moment, from one version."""

    live: LiveVersion
    personal: list[ScoredItem] = field(default_factory=list)
    history: list[Event] = field(default_factory=list)
    """What the version knows of them, newest first."""
    posted: list[Event] = field(default_factory=list)
    """What was posted of them lately, newest first."""
    similar: dict[str, list[ScoredItem]] = field(default_factory=dict)
    category_of: dict[str, str | None] = field(default_factory=dict)
    """Of their own items, as far as there is a catalogue of them."""
    unavailable: set[str] = field(default_factory=set)
    """Their own items that the shop can't sell now."""
    is_known: bool = False
    """Whether the version has a list of them."""


class NewEvent(NamedTuple):
    """One event on its way to the database."""

    user_id: str
    event_id: str
    item_id: str
    event_type: str
    timestamp: int


class _Row(NamedTuple):
    kind: str
    key: str | None
    item_ids: list[str] | None
    scores: list[float] | None
    event_types: list[str] | None
    timestamps: list[int] | None
    number: int | None
    manifest: Any


# Kinds of lists are `contract.recommendations.ListKind`; the key of the popular list over all is empty.
# Lists of a version never change, so those that do not depend on the visitor are sent only to an
# environment that does not know the version yet.
_LIVE: Final[LiteralString] = """
WITH live AS MATERIALIZED (
    SELECT version, version <> %(known)s AS is_new FROM serving WHERE variant = %(variant)s
)"""

_ABOUT_LIVE: Final[LiteralString] = """
SELECT 'version', name, NULL::text[], NULL::real[], NULL::text[], NULL::bigint[], live.version, manifest
FROM live LEFT JOIN versions ON number = live.version AND is_new
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live WHERE is_new)
  AND kind = 'popular' AND key = ''"""

_SIMILAR: Final[LiteralString] = f"""{_LIVE}{_ABOUT_LIVE}
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = 'similar' AND key = %(item)s
"""  # noqa: S608 - made of constants

# `recent` holds at least `contract.blending.recent_items` of the merged history: the ties at its end are
# all taken, because there the order is decided by what SQL does not see.
# Stored lists hold what could be had when they were made; of the visitor's own items it is looked up.
_VISITOR: Final[LiteralString] = f"""{_LIVE},
stored AS MATERIALIZED (
    SELECT kind, key, item_ids, scores, event_types, timestamps FROM recommendations
    WHERE version = (SELECT version FROM live)
      AND kind IN ('personal', 'history') AND key = %(user)s
),
posted AS MATERIALIZED (
    SELECT item_id, event_type, "timestamp", received_at FROM events
    WHERE user_id = %(user)s
      AND received_on >= (now() AT TIME ZONE 'UTC')::date - %(days)s
      AND received_on <= (now() AT TIME ZONE 'UTC')::date
    ORDER BY "timestamp" DESC, received_at DESC LIMIT %(posted)s
),
recent AS (
    SELECT item_id FROM (
        SELECT item_id, "timestamp" FROM posted
        UNION ALL
        SELECT unnest(item_ids[:%(events)s]), unnest(timestamps[:%(events)s]) FROM stored
        WHERE kind = 'history'
    ) AS both_histories
    GROUP BY item_id ORDER BY max("timestamp") DESC FETCH FIRST (%(items)s) ROWS WITH TIES
),
own AS (
    SELECT item_id FROM posted
    UNION ALL
    SELECT unnest(item_ids) FROM stored WHERE kind = 'history'
){_ABOUT_LIVE}
UNION ALL
SELECT kind, key, item_ids, scores, event_types, timestamps, NULL, NULL FROM stored
UNION ALL
SELECT 'posted', NULL, array_agg(item_id ORDER BY "timestamp" DESC, received_at DESC), NULL,
    array_agg(event_type ORDER BY "timestamp" DESC, received_at DESC),
    array_agg("timestamp" ORDER BY "timestamp" DESC, received_at DESC), NULL, NULL
FROM posted HAVING count(*) > 0
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = 'similar'
  AND key = ANY (ARRAY(SELECT item_id FROM recent))
UNION ALL
SELECT CASE WHEN available THEN 'available' ELSE 'unavailable' END, NULL, array_agg(item_id), NULL,
    array_agg(category_id), NULL, NULL, NULL
FROM items WHERE item_id = ANY (ARRAY(SELECT item_id FROM own)) GROUP BY available
"""  # noqa: S608 - made of constants

# The key holds for one day of receipt: a retry just after midnight has to be looked for in the day before.
_INSERT: Final[LiteralString] = """
INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp")
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    AS new (user_id, event_id, item_id, event_type, "timestamp")
WHERE NOT EXISTS (
    SELECT FROM events AS old
    WHERE old.received_on = (now() AT TIME ZONE 'UTC')::date - 1
      AND old.user_id = new.user_id AND old.event_id = new.event_id
)
ON CONFLICT DO NOTHING
"""

_ENSURE_PARTITION: Final[LiteralString] = "SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)"


class Repository:
    """Reads what answers are made from, and writes events. Raises DatabaseUnavailableError throughout."""

    def __init__(
        self,
        database: Database,
        *,
        variant: str,
        events_days: int,
        events_limit: int,
        read_timeout: float,
        write_timeout: float,
    ) -> None:
        """Read nothing yet. Timeouts are in seconds."""
        self._database = database
        self._variant = variant
        self._events_days = events_days
        self._events_limit = events_limit
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout
        self.last_live: LiveVersion | None = None
        """The version that the latest answer came from: all there is when the database is gone."""

    def visitor(self, user_id: str) -> Visitor:
        """All that an answer for this visitor is made from, in one round trip.

        Raises NoVersionError; ManifestError where its manifest cannot be read.
        """
        while True:
            weights = self.last_live.weights if self.last_live else BlendWeights()
            rows = self._query(
                _VISITOR,
                {
                    "user": user_id,
                    "days": self._events_days,
                    "posted": max(self._events_limit, weights.history_length),
                    "events": weights.history_length,
                    "items": weights.recent_items,
                },
            )
            live = self._live(rows)
            # A version that was met for the first time may look further back than the one before.
            if (live.weights.history_length, live.weights.recent_items) == (
                weights.history_length,
                weights.recent_items,
            ):
                return _visitor(live, rows)

    def similar(self, item_id: str) -> tuple[LiveVersion, list[ScoredItem] | None]:
        """The list of an item, None where the version has none. Raises as `visitor` does."""
        rows = self._query(_SIMILAR, {"item": item_id})
        live = self._live(rows)
        return live, next((_scored(row) for row in rows if row.kind == ListKind.SIMILAR), None)

    def live(self) -> LiveVersion:
        """The version that answers now. Raises as `visitor` does."""
        return self._live(self._query(_LIVE + _ABOUT_LIVE, {}))

    def add_events(self, events: Sequence[NewEvent]) -> int:
        """Commit events; how many of them are new. Those whose `event_id` is there already are left alone."""
        columns = [list(column) for column in zip(*events, strict=True)]

        def insert(connection: Connection) -> int:
            try:
                return connection.execute(_INSERT, columns, prepare=True).rowcount
            except CheckViolation:  # there is no partition for today
                connection.execute(_ENSURE_PARTITION)
                return connection.execute(_INSERT, columns, prepare=True).rowcount

        return self._database.run(insert, timeout=self._write_timeout)

    def _query(self, statement: LiteralString, values: dict[str, str | int]) -> list[_Row]:
        known = self.last_live.number if self.last_live else 0
        parameters = {**values, "variant": self._variant, "known": known}

        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(statement, parameters, prepare=True, binary=True).fetchall()

        # Giving up early is right only where there is something to fall back to.
        timeout = self._read_timeout if self.last_live else self._write_timeout
        return [_Row(*row) for row in self._database.run(read, timeout=timeout)]

    def _live(self, rows: Sequence[_Row]) -> LiveVersion:
        """The version that these rows are of: the one known already, or the new one that they describe."""
        about = next((row for row in rows if row.kind == "version"), None)
        if about is None or about.number is None:
            raise NoVersionError
        if self.last_live is None or about.number != self.last_live.number:
            manifest = Manifest.from_document(about.manifest)
            popular = next((row for row in rows if row.kind == ListKind.POPULAR), None)
            self.last_live = LiveVersion(
                number=about.number,
                name=str(about.key),
                weights=manifest.blend_weights,
                exclude_purchased=manifest.exclude_purchased,
                exclude_purchased_by_category=manifest.exclude_purchased_by_category,
                popular=_scored(popular) if popular else [],
            )
        return self.last_live


def _visitor(live: LiveVersion, rows: Sequence[_Row]) -> Visitor:
    visitor = Visitor(live=live)
    for row in rows:
        if row.kind == ListKind.SIMILAR:
            visitor.similar[str(row.key)] = _scored(row)
        elif row.kind == ListKind.PERSONAL:
            visitor.personal = _scored(row)
            visitor.is_known = True
        elif row.kind == ListKind.HISTORY:
            visitor.history = _events(row)
            visitor.is_known = True
        elif row.kind == "posted":
            visitor.posted = _events(row)
        elif row.kind in {"available", "unavailable"}:
            visitor.category_of |= zip(row.item_ids or (), row.event_types or (), strict=True)
            if row.kind == "unavailable":
                visitor.unavailable.update(row.item_ids or ())
    return visitor


def _scored(row: _Row) -> list[ScoredItem]:
    return list(zip(row.item_ids or (), row.scores or (), strict=True))


def _events(row: _Row) -> list[Event]:
    columns = (row.item_ids or (), row.event_types or (), row.timestamps or ())
    return [Event(*values) for values in zip(*columns, strict=True)]
