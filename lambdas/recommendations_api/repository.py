"""All SQL of the API."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.errors import CheckViolation

from contract.blending import BlendWeights, ScoredItem
from contract.events import Event
from contract.recommendations import DEFAULT_VARIANT, EVERYTHING, ListKind, Manifest, trending_key
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.variants import SPLIT, place_of

Connection = psycopg.Connection[tuple[Any, ...]]


class NoVersionError(Exception):
    """No version is live yet."""


class UnknownVariantError(Exception):
    """A variant that no version answers for."""


class UnknownCategoryError(Exception):
    """A category that neither the catalogue's tree nor an item has."""


class NoWindowsError(Exception):
    """The version was trained before there were lists of what was bought within a window."""


@dataclass(frozen=True, kw_only=True)
class LiveVersion:
    """What an answer needs to know of the version that answers; the same for every visitor."""

    number: int
    name: str
    variant: str
    """That it answers for here: the same version may be served as several."""
    weights: BlendWeights
    exclude_purchased: bool
    exclude_purchased_by_category: dict[str, bool]
    popular: list[ScoredItem]
    has_windows: bool
    """Whether it holds lists of what was bought within a window."""
    as_of: float
    """The moment up to which it knows events, in seconds since 1970 UTC."""


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
_CHANGES: Final[LiteralString] = """
changes AS MATERIALIZED (
    SELECT number, read_all_from > %(stock)s AS is_all, read_all_from <= %(stock)s AS is_some
    FROM stock WHERE number <> %(stock)s
)"""

_LIVE: Final[LiteralString] = f"""
WITH {SPLIT},
live AS MATERIALIZED (
    SELECT variant, version, version <> ALL (%(known)s) AS is_new FROM split
    WHERE %(place)s * total <= upto ORDER BY upto LIMIT 1
),{_CHANGES}"""  # noqa: S608 - made of constants

_ABOUT_STOCK: Final[LiteralString] = """
SELECT 'stock_all', NULL, array_agg(item_id), NULL, NULL, NULL, NULL, NULL FROM items
WHERE (SELECT is_all FROM changes) AND NOT available HAVING (SELECT is_all FROM changes)
UNION ALL
SELECT CASE WHEN available THEN 'stock_back' ELSE 'stock_gone' END, NULL, array_agg(item_id),
    NULL, NULL, NULL, NULL, NULL
FROM items WHERE (SELECT is_some FROM changes) AND stock_number > %(stock)s GROUP BY available
UNION ALL
SELECT 'stock', NULL, NULL, NULL, NULL, NULL, number, NULL FROM changes"""

_ABOUT_LIVE: Final[LiteralString] = f"""
SELECT 'version', name, ARRAY[variant], NULL::real[], NULL::text[], NULL::bigint[], live.version, manifest
FROM live LEFT JOIN versions ON number = live.version AND is_new
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, version, NULL FROM recommendations
WHERE version = (SELECT version FROM live WHERE is_new)
  AND kind = 'popular' AND key = ''
UNION ALL
SELECT 'popular_in_category', key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = 'popular' AND key = %(category)s AND key <> ''
UNION ALL{_ABOUT_STOCK}"""  # noqa: S608 - made of constants

_TRENDING: Final[LiteralString] = f"""{_LIVE}{_ABOUT_LIVE}
UNION ALL
SELECT kind, key, item_ids, scores, NULL, NULL, NULL, NULL FROM recommendations
WHERE version = (SELECT version FROM live) AND kind = 'trending' AND key = %(trending)s
"""  # noqa: S608 - made of constants

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

# The same of several visitors, whom different variants may answer. Whose history holds nothing new is
# answered from the stored list alone, so that only the others need similar lists.
_VISITORS: Final[LiteralString] = f"""
WITH {SPLIT},
asked AS MATERIALIZED (
    SELECT DISTINCT ON (user_id) user_id, variant, version
    FROM unnest(%(users)s::text[], %(places)s::float8[]) AS visitors (user_id, place)
    JOIN split ON place * total <= upto ORDER BY user_id, upto
),
live AS MATERIALIZED (SELECT DISTINCT version, version <> ALL (%(known)s) AS is_new FROM asked),{_CHANGES},
stored AS MATERIALIZED (
    SELECT lists.* FROM asked CROSS JOIN LATERAL (
        SELECT kind, key, item_ids, scores, event_types, timestamps, version FROM recommendations
        WHERE version = asked.version AND kind IN ('personal', 'history') AND key = asked.user_id
    ) AS lists
),
posted AS MATERIALIZED (
    SELECT user_id, version, latest.* FROM asked CROSS JOIN LATERAL (
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
      AND (%(without_stored)s OR NOT EXISTS (
          SELECT FROM stored AS other WHERE other.kind = 'personal' AND other.key = stored.key))
),
own AS MATERIALIZED (
    SELECT item_id FROM posted
    UNION
    SELECT unnest(item_ids) FROM stored WHERE kind = 'history'
),
recent AS (
    SELECT version, item_id FROM posted
    UNION
    SELECT version, unnest(item_ids[:%(events)s]) FROM stored
    WHERE kind = 'history' AND key IN (SELECT key FROM busy)
)
SELECT 'version', name, NULL::text[], NULL::real[], NULL::text[], NULL::bigint[], live.version, manifest
FROM live LEFT JOIN versions ON number = live.version AND is_new
UNION ALL
SELECT 'asked', user_id, ARRAY[variant], NULL, NULL, NULL, version, NULL FROM asked
UNION ALL
SELECT lists.* FROM live CROSS JOIN LATERAL (
    SELECT kind, key, item_ids, scores, NULL::text[], NULL::bigint[], version, NULL::jsonb
    FROM recommendations
    WHERE version = live.version AND is_new AND kind = 'popular' AND key = ''
) AS lists
UNION ALL
SELECT lists.* FROM live CROSS JOIN LATERAL (
    SELECT 'popular_in_category', key, item_ids, scores, NULL::text[], NULL::bigint[], version, NULL::jsonb
    FROM recommendations
    WHERE version = live.version AND kind = 'popular' AND key = %(category)s AND key <> ''
) AS lists
UNION ALL{_ABOUT_STOCK}
UNION ALL
SELECT kind, key, item_ids, scores, event_types, timestamps, version, NULL FROM stored
UNION ALL
SELECT 'posted', user_id, array_agg(item_id ORDER BY "timestamp" DESC, received_at DESC), NULL,
    array_agg(event_type ORDER BY "timestamp" DESC, received_at DESC),
    array_agg("timestamp" ORDER BY "timestamp" DESC, received_at DESC), NULL, NULL
FROM posted GROUP BY user_id
UNION ALL
SELECT lists.* FROM recent CROSS JOIN LATERAL (
    SELECT kind, key, item_ids, scores, NULL::text[], NULL::bigint[], version, NULL::jsonb
    FROM recommendations
    WHERE version = recent.version AND kind = 'similar' AND key = recent.item_id
) AS lists
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

_VERSIONS_KEPT: Final = 4
"""What is known of versions beyond that is forgotten: a few variants may take turns."""

_ENSURE_PARTITION: Final[LiteralString] = "SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)"


class Repository:
    """Reads what answers are made from, and writes events. Raises DatabaseUnavailableError throughout."""

    def __init__(
        self,
        database: Database,
        *,
        events_days: int,
        events_limit: int,
        read_timeout: float,
        write_timeout: float,
    ) -> None:
        """Read nothing yet. Timeouts are in seconds."""
        self._database = database
        self._events_days = events_days
        self._events_limit = events_limit
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout
        self._known: dict[int, LiveVersion] = {}
        self.last_live: LiveVersion | None = None
        """The version that the latest answer came from: all there is when the database is gone."""
        self.stock = Stock()

    def visitor(
        self,
        user_id: str | None,
        *,
        told: Sequence[Event] = (),
        category: str | None = None,
        variant: str | None = None,
    ) -> Visitor:
        """All that an answer for this visitor is made from, in one round trip.

        `told` are events that came with the request; without a `variant` it is the visitor's own. Raises
        NoVersionError, UnknownVariantError; ManifestError where its manifest cannot be read.
        """
        while True:
            history_length, recent_items = self._depths()
            rows = self._query(
                _VISITOR,
                {
                    "user": user_id,
                    "days": self._events_days,
                    "posted": max(self._events_limit, history_length),
                    "events": history_length,
                    "items": recent_items,
                    "told_items": [event.item_id for event in told],
                    "told_timestamps": [event.timestamp for event in told],
                    "category": category,
                    **_who(user_id, variant),
                },
            )
            live = self._live(rows, variant)
            if self._depths() == (history_length, recent_items):
                return _visitor(live, rows)

    def visitors(
        self,
        user_ids: Sequence[str],
        *,
        category: str | None = None,
        variant: str | None = None,
        without_stored: bool = False,
    ) -> dict[str, Visitor]:
        """The same of several visitors, in one round trip; raises as `visitor` does.

        Their similar lists are shared: there may be more of them than one visitor's own items have. With
        `without_stored` there are those of visitors with nothing new, too, for answers without their list.
        """
        while True:
            history_length, _ = self._depths()
            rows = self._query(
                _VISITORS,
                {
                    "users": list(user_ids),
                    "without_stored": without_stored,
                    "places": [place_of(user_id) for user_id in user_ids],
                    "variant": variant,
                    "days": self._events_days,
                    "posted": max(self._events_limit, history_length),
                    "events": history_length,
                    "category": category,
                },
            )
            self._learn(rows)
            if self._depths()[0] == history_length:
                return self._visitors(user_ids, rows, variant)

    def of_item(
        self, item_id: str, kinds: Sequence[ListKind], *, variant: str | None = None
    ) -> tuple[LiveVersion, dict[str, list[ScoredItem]]]:
        """The lists of an item, by kind, as far as the version has them. Raises as `visitor` does."""
        values = {"item": item_id, "kinds": list(kinds), "category": None, **_who(None, variant)}
        rows = self._query(_OF_ITEM, values)
        live = self._live(rows, variant)
        return live, {row.kind: _scored(row) for row in rows if row.kind in kinds}

    def live(self) -> LiveVersion:
        """The version that answers now. Raises as `visitor` does."""
        return self.popular(None)[0]

    def popular(
        self, category: str | None, *, window: str | None = None, variant: str | None = None
    ) -> tuple[LiveVersion, list[ScoredItem]]:
        """What everybody buys, in a category or in the whole shop; by now, or within one of the windows.

        Raises as `visitor` does, and NoWindowsError.
        """
        values = {"category": category, **_who(None, variant)}
        if window is None:
            rows = self._query(f"{_LIVE}{_ABOUT_LIVE}", values)
            live = self._live(rows, variant)
            return live, live.popular if category is None else _in_category(rows)
        rows = self._query(_TRENDING, {**values, "trending": trending_key(window, category or EVERYTHING)})
        live = self._live(rows, variant)
        if not live.has_windows:
            raise NoWindowsError(live.name)
        return live, next((_scored(row) for row in rows if row.kind == ListKind.TRENDING), [])

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
        parameters = {**values, "known": list(self._known), "stock": self.stock.number}

        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(statement, parameters, prepare=True, binary=True).fetchall()

        # Giving up early is right only where there is something to fall back to.
        timeout = self._read_timeout if self.last_live else self._write_timeout
        rows = [_Row(*row) for row in self._database.run(read, timeout=timeout)]
        for row in rows:
            if row.kind.startswith("stock"):
                self.stock.hear(row)
        return rows

    def _depths(self) -> tuple[int, int]:
        """How far back versions look: how many events, and how many distinct items that lend similar ones.

        The furthest of all that are known; a version that is met for the first time may look further still.
        """
        weights = [live.weights for live in self._known.values()] or [BlendWeights()]
        return max(each.history_length for each in weights), max(each.recent_items for each in weights)

    def _live(self, rows: Sequence[_Row], variant: str | None) -> LiveVersion:
        """The one version that these rows are of."""
        self._learn(rows)
        about = next((row for row in rows if row.kind == "version"), None)
        return self._served(about, variant)

    def _served(self, row: _Row | None, variant: str | None) -> LiveVersion:
        """The version that a row names, as the variant that it names. Raises as `visitor` does."""
        if row is None or row.number is None or not row.item_ids:
            raise NoVersionError if variant in {None, DEFAULT_VARIANT} else UnknownVariantError(variant)
        live = self._known[row.number]
        if live.variant != row.item_ids[0]:
            live = replace(live, variant=row.item_ids[0])
        self.last_live = live
        return live

    def _learn(self, rows: Sequence[_Row]) -> None:
        """Take in what rows say of versions that were not known."""
        for row in rows:
            if row.kind == "version" and row.number is not None and row.number not in self._known:
                self._known[row.number] = _described(row, rows)
        answering = {row.number for row in rows}
        for number in list(self._known)[:-_VERSIONS_KEPT]:
            if number not in answering:
                del self._known[number]

    def _visitors(
        self, user_ids: Sequence[str], rows: Sequence[_Row], variant: str | None
    ) -> dict[str, Visitor]:
        answering = {str(row.key): row for row in rows if row.kind == "asked"}
        of_user: dict[str, list[_Row]] = {user_id: [] for user_id in user_ids}
        of_all: list[_Row] = []
        for row in rows:
            if row.kind in {ListKind.PERSONAL, ListKind.HISTORY, "posted"}:
                of_user[str(row.key)].append(row)
            else:
                of_all.append(row)
        shared: dict[int, Visitor] = {}
        visitors = {}
        for user_id, own_rows in of_user.items():
            live = self._served(answering.get(user_id), variant)
            if live.number not in shared:
                shared[live.number] = _visitor(
                    live, [row for row in of_all if row.number in {live.number, None}]
                )
            visitor = _visitor(live, own_rows)
            visitor.similar = shared[live.number].similar
            visitor.category_of = shared[live.number].category_of
            visitor.popular_in_category = shared[live.number].popular_in_category
            visitors[user_id] = visitor
        return visitors


def _who(user_id: str | None, variant: str | None) -> dict[str, Any]:
    """The values by which a variant is found: by name, else by the visitor's place; nobody has none."""
    if variant is not None:
        return {"variant": variant, "place": 0.0}
    if user_id is None:
        return {"variant": DEFAULT_VARIANT, "place": 0.0}
    return {"variant": None, "place": place_of(user_id)}


def _described(about: _Row, rows: Sequence[_Row]) -> LiveVersion:
    manifest = Manifest.from_document(about.manifest)
    popular = next((row for row in rows if row.kind == ListKind.POPULAR and row.number == about.number), None)
    return LiveVersion(
        number=about.number or 0,
        name=str(about.key),
        variant=DEFAULT_VARIANT,
        weights=manifest.blend_weights,
        exclude_purchased=manifest.exclude_purchased,
        exclude_purchased_by_category=manifest.exclude_purchased_by_category,
        popular=_scored(popular) if popular else [],
        has_windows=manifest.counts.get(ListKind.TRENDING, 0) > 0,
        as_of=datetime.fromisoformat(manifest.as_of).timestamp(),
    )


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


def _in_category(rows: Sequence[_Row]) -> list[ScoredItem]:
    return next((_scored(row) for row in rows if row.kind == "popular_in_category"), [])


def _scored(row: _Row) -> list[ScoredItem]:
    return list(zip(row.item_ids or (), row.scores or (), strict=True))


def _events(row: _Row) -> list[Event]:
    columns = (row.item_ids or (), row.event_types or (), row.timestamps or ())
    return [Event(*values) for values in zip(*columns, strict=True)]
