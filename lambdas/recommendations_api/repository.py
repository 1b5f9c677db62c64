"""All SQL of the API."""

from collections.abc import Collection, Sequence
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


class UnknownCategoryError(Exception):
    """A category that neither the catalogue's tree nor an item has."""


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
class Stock:
    """What can't be had, as far as the environment has heard; kept from answer to answer."""

    number: int = 0
    """Of the change that was heard of last; the table `stock` counts them."""
    unavailable: set[str] = field(default_factory=set)

    def hear(self, row: "_Row") -> None:
        """Take in what a query said about changes."""
        items = row.item_ids or ()
        if row.kind == "stock":
            self.number = row.number or 0
        elif row.kind == "stock_all":
            self.unavailable = set(items)
        elif row.kind == "stock_gone":
            self.unavailable.update(items)
        elif row.kind == "stock_back":
            self.unavailable.difference_update(items)


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
    popular_in_category: list[ScoredItem] = field(default_factory=list)
    """What is bought in the category that was asked for."""
    is_known: bool = False
    """Whether the version has a list of them."""


class NewEvent(NamedTuple):
    """One event on its way to the database."""

    user_id: str
    event_id: str
    item_id: str
    event_type: str
    timestamp: int
    recommendation_id: str | None = None


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
# environment that does not know the version yet; what can't be had only when that has changed.
_LIVE: Final[LiteralString] = """
WITH live AS MATERIALIZED (
    SELECT version, version <> %(known)s AS is_new FROM serving WHERE variant = %(variant)s
),
changes AS MATERIALIZED (
    SELECT number, read_all_from > %(stock)s AS is_all, read_all_from <= %(stock)s AS is_some
    FROM stock WHERE number <> %(stock)s
)"""

_ABOUT_LIVE: Final[LiteralString] = """
SELECT 'version', name, NULL::text[], NULL::real[], NULL::text[], NULL::bigint[], live.version, manifest
FROM live LEFT JOIN versions ON number = live.version AND is_new
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live WHERE is_new)
  AND kind = 'popular' AND key = ''
UNION ALL
SELECT 'popular_in_category', key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = 'popular' AND key = %(category)s AND key <> ''
UNION ALL
SELECT 'stock_all', NULL, array_agg(item_id), NULL, NULL, NULL, NULL, NULL FROM items
WHERE (SELECT is_all FROM changes) AND NOT available HAVING (SELECT is_all FROM changes)
UNION ALL
SELECT CASE WHEN available THEN 'stock_back' ELSE 'stock_gone' END, NULL, array_agg(item_id),
    NULL, NULL, NULL, NULL, NULL
FROM items WHERE (SELECT is_some FROM changes) AND stock_number > %(stock)s GROUP BY available
UNION ALL
SELECT 'stock', NULL, NULL, NULL, NULL, NULL, number, NULL FROM changes"""

_OF_ITEM: Final[LiteralString] = f"""{_LIVE}{_ABOUT_LIVE}
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = ANY (%(kinds)s) AND key = %(item)s
"""  # noqa: S608 - made of constants

# `recent` holds at least `contract.blending.recent_items` of the merged history: the ties at its end are
# all taken, because there the order is decided by what SQL does not see.
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
        UNION ALL
        SELECT unnest(%(told_items)s::text[]), unnest(%(told_timestamps)s::bigint[])
    ) AS histories
    GROUP BY item_id ORDER BY max("timestamp") DESC FETCH FIRST (%(items)s) ROWS WITH TIES
),
own AS (
    SELECT item_id FROM posted
    UNION ALL
    SELECT unnest(item_ids) FROM stored WHERE kind = 'history'
    UNION ALL
    SELECT unnest(%(told_items)s::text[])
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
SELECT 'category', NULL, array_agg(item_id), NULL, array_agg(category_id), NULL, NULL, NULL
FROM items WHERE item_id = ANY (ARRAY(SELECT item_id FROM own)) HAVING count(*) > 0
"""  # noqa: S608 - made of constants

# The same of several visitors. Whose history holds nothing new is answered from the stored list alone, so
# that only the others need similar lists.
_VISITORS: Final[LiteralString] = f"""{_LIVE},
asked AS (SELECT DISTINCT unnest(%(users)s::text[]) AS user_id),
stored AS MATERIALIZED (
    SELECT kind, key, item_ids, scores, event_types, timestamps FROM recommendations
    WHERE version = (SELECT version FROM live)
      AND kind IN ('personal', 'history') AND key = ANY (%(users)s)
),
posted AS MATERIALIZED (
    SELECT user_id, latest.* FROM asked CROSS JOIN LATERAL (
        SELECT item_id, event_type, "timestamp", received_at FROM events
        WHERE events.user_id = asked.user_id
          AND received_on >= (now() AT TIME ZONE 'UTC')::date - %(days)s
          AND received_on <= (now() AT TIME ZONE 'UTC')::date
        ORDER BY "timestamp" DESC, received_at DESC LIMIT %(posted)s
    ) AS latest
),
busy AS (
    SELECT user_id AS key FROM posted
    UNION
    SELECT key FROM stored WHERE kind = 'history'
      AND NOT EXISTS (SELECT FROM stored AS other WHERE other.kind = 'personal' AND other.key = stored.key)
),
own AS MATERIALIZED (
    SELECT item_id FROM posted
    UNION
    SELECT unnest(item_ids) FROM stored WHERE kind = 'history'
),
recent AS (
    SELECT item_id FROM posted
    UNION
    SELECT unnest(item_ids[:%(events)s]) FROM stored WHERE kind = 'history' AND key IN (SELECT key FROM busy)
){_ABOUT_LIVE}
UNION ALL
SELECT kind, key, item_ids, scores, event_types, timestamps, NULL, NULL FROM stored
UNION ALL
SELECT 'posted', user_id, array_agg(item_id ORDER BY "timestamp" DESC, received_at DESC), NULL,
    array_agg(event_type ORDER BY "timestamp" DESC, received_at DESC),
    array_agg("timestamp" ORDER BY "timestamp" DESC, received_at DESC), NULL, NULL
FROM posted GROUP BY user_id
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = 'similar'
  AND key = ANY (ARRAY(SELECT item_id FROM recent))
UNION ALL
SELECT 'category', NULL, array_agg(item_id), NULL, array_agg(category_id), NULL, NULL, NULL
FROM items WHERE item_id = ANY (ARRAY(SELECT item_id FROM own)) HAVING count(*) > 0
"""  # noqa: S608 - made of constants

# Asked only where a category was: those of the candidates that lie in it, or below it in the tree.
_IN_CATEGORY: Final[LiteralString] = """
WITH RECURSIVE below AS (
    SELECT %(category)s::text AS category_id
    UNION
    SELECT categories.category_id FROM categories JOIN below ON parent_id = below.category_id
)
SELECT item_id FROM items
WHERE item_id = ANY (%(items)s) AND category_id = ANY (ARRAY(SELECT category_id FROM below))
"""
_IS_CATEGORY: Final[LiteralString] = """
SELECT EXISTS (SELECT FROM categories WHERE category_id = %(category)s)
    OR EXISTS (SELECT FROM items WHERE category_id = %(category)s)
"""

# The key holds for one day of receipt: a retry just after midnight has to be looked for in the day before.
_INSERT: Final[LiteralString] = """
INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp", recommendation_id)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[])
    AS new (user_id, event_id, item_id, event_type, "timestamp", recommendation_id)
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
        self.stock = Stock()

    def visitor(
        self, user_id: str | None, *, told: Sequence[Event] = (), category: str | None = None
    ) -> Visitor:
        """All that an answer for this visitor is made from, in one round trip.

        `told` are events that came with the request. Raises NoVersionError; ManifestError where its manifest
        cannot be read.
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
                    "told_items": [event.item_id for event in told],
                    "told_timestamps": [event.timestamp for event in told],
                    "category": category,
                },
            )
            live = self._live(rows)
            # A version that was met for the first time may look further back than the one before.
            if (live.weights.history_length, live.weights.recent_items) == (
                weights.history_length,
                weights.recent_items,
            ):
                return _visitor(live, rows)

    def visitors(self, user_ids: Sequence[str], *, category: str | None = None) -> dict[str, Visitor]:
        """The same of several visitors, in one round trip; raises as `visitor` does.

        Their similar lists are shared: there may be more of them than one visitor's own items have.
        """
        while True:
            weights = self.last_live.weights if self.last_live else BlendWeights()
            rows = self._query(
                _VISITORS,
                {
                    "users": list(user_ids),
                    "days": self._events_days,
                    "posted": max(self._events_limit, weights.history_length),
                    "events": weights.history_length,
                    "category": category,
                },
            )
            live = self._live(rows)
            if live.weights.history_length == weights.history_length:
                return _visitors(live, user_ids, rows)

    def of_item(
        self, item_id: str, kinds: Sequence[ListKind], *, category: str | None = None
    ) -> tuple[LiveVersion, dict[str, list[ScoredItem]]]:
        """The lists of an item, by kind, as far as the version has them. Raises as `visitor` does."""
        rows = self._query(_OF_ITEM, {"item": item_id, "kinds": list(kinds), "category": category})
        live = self._live(rows)
        return live, {row.kind: _scored(row) for row in rows if row.kind in kinds}

    def live(self) -> LiveVersion:
        """The version that answers now. Raises as `visitor` does."""
        return self._live(self._query(f"{_LIVE}{_ABOUT_LIVE}", {"category": None}))

    def popular(self, category: str | None) -> tuple[LiveVersion, list[ScoredItem]]:
        """What everybody buys, in a category or in the whole shop. Raises as `visitor` does."""
        rows = self._query(f"{_LIVE}{_ABOUT_LIVE}", {"category": category})
        live = self._live(rows)
        return live, live.popular if category is None else _in_category(rows)

    def within(self, category: str, item_ids: Collection[str]) -> set[str]:
        """Those of some items that lie in a category or below it. Raises UnknownCategoryError."""
        values = {"category": category, "items": list(item_ids)}

        def read(connection: Connection) -> set[str] | None:
            found = {row[0] for row in connection.execute(_IN_CATEGORY, values, prepare=True)}
            if found:
                return found
            (known,) = connection.execute(_IS_CATEGORY, values, prepare=True).fetchone() or (False,)
            return found if known else None

        found = self._database.run(
            read, timeout=self._read_timeout if self.last_live else self._write_timeout
        )
        if found is None:
            raise UnknownCategoryError(category)
        return found

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

    def _query(self, statement: LiteralString, values: dict[str, Any]) -> list[_Row]:
        known = self.last_live.number if self.last_live else 0
        parameters = {**values, "variant": self._variant, "known": known, "stock": self.stock.number}

        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(statement, parameters, prepare=True, binary=True).fetchall()

        # Giving up early is right only where there is something to fall back to.
        timeout = self._read_timeout if self.last_live else self._write_timeout
        rows = [_Row(*row) for row in self._database.run(read, timeout=timeout)]
        for row in rows:
            if row.kind.startswith("stock"):
                self.stock.hear(row)
        return rows

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
        elif row.kind == "category":
            visitor.category_of = dict(zip(row.item_ids or (), row.event_types or (), strict=True))
    visitor.popular_in_category = _in_category(rows)
    return visitor


def _visitors(live: LiveVersion, user_ids: Sequence[str], rows: Sequence[_Row]) -> dict[str, Visitor]:
    of_user: dict[str, list[_Row]] = {user_id: [] for user_id in user_ids}
    shared: list[_Row] = []
    for row in rows:
        if row.kind in {ListKind.PERSONAL, ListKind.HISTORY, "posted"}:
            of_user[str(row.key)].append(row)
        else:
            shared.append(row)
    everybody = _visitor(live, shared)
    visitors = {}
    for user_id, own_rows in of_user.items():
        visitor = _visitor(live, own_rows)
        visitor.similar, visitor.category_of = everybody.similar, everybody.category_of
        visitor.popular_in_category = everybody.popular_in_category
        visitors[user_id] = visitor
    return visitors


def _in_category(rows: Sequence[_Row]) -> list[ScoredItem]:
    return next((_scored(row) for row in rows if row.kind == "popular_in_category"), [])


def _scored(row: _Row) -> list[ScoredItem]:
    return list(zip(row.item_ids or (), row.scores or (), strict=True))


def _events(row: _Row) -> list[Event]:
    columns = (row.item_ids or (), row.event_types or (), row.timestamps or ())
    return [Event(*values) for values in zip(*columns, strict=True)]
