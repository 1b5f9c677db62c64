"""One run: all parts one after the other, each whether or not another failed."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import psycopg

from contract import metrics
from contract.recommendation_id import KEY_PURPOSE
from lambdas.housekeeping.ages import event_age, key_age, live_since, unexported_age, version_ages
from lambdas.housekeeping.attribution import attributed, catch_up, counted_until, is_due
from lambdas.housekeeping.gateway import Gateway, Group
from lambdas.housekeeping.measured import Measured, registry_of
from lambdas.housekeeping.partitions import days_ready_ahead, ensure_partitions
from lambdas.housekeeping.settings import Settings
from lambdas.housekeeping.stale_groups import delete_stale
from lambdas.recommendations_api.database import Database

logger = logging.getLogger(__name__)

JOB: Final = "housekeeping"

Result = TypeVar("Result")
Connection = psycopg.Connection[tuple[Any, ...]]
Clock = Callable[[], float]
"""Now, in seconds since 1970 UTC."""


class HousekeepingError(Exception):
    """Parts of a run failed; names them."""


@dataclass
class Report:
    """What a run did and found."""

    failed: list[str] = field(default_factory=list)
    """Names of parts."""
    partitions: list[str] = field(default_factory=list)
    """Days, YYYY-MM-DD, that surely have theirs."""
    key: str | None = None
    """The id of the key that signs from now on."""
    attributed: int = 0
    """Posted events that were looked at."""
    groups_deleted: int = 0
    measures: list[Measured] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For people and logs, as JSON."""
        return {
            "failed": self.failed,
            "partitions": self.partitions,
            "key": self.key,
            "attributed": self.attributed,
            "groups_deleted": self.groups_deleted,
            "measures": {
                f"{metric.name}{{{','.join(labels)}}}" if labels else metric.name: value
                for metric, value, labels in self.measures
            },
        }


class Run:
    """Does everything once: make one for each time."""

    def __init__(self, settings: Settings, *, clock: Clock = time.time) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._clock = clock
        self._report = Report()
        self._groups: list[Group] = []
        self._database = Database(
            settings.login(timeout=settings.connect_timeout_seconds),
            connect_timeout=settings.connect_timeout_seconds,
            # Longer than a run: where the database cannot be reached, one part waits for it and no other.
            pause=600,
            statement_timeout=settings.database_timeout_seconds,
        )
        self._gateway = (
            Gateway(
                str(settings.pushgateway_url),
                timeout=settings.gateway_timeout_seconds,
                reading_timeout=settings.gateway_reading_seconds,
            )
            if settings.pushgateway_url is not None
            else None
        )

    def __call__(self) -> Report:
        """Do every part, push what was found, tell which parts failed."""
        try:
            for name, part in self._parts():
                self._attempt(name, part)
        finally:
            self._database.close()
        if self._gateway is not None:
            self._attempt("push", self._push)
        return self._report

    def _parts(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "database", self._reach_database
        yield "partitions", self._make_partitions
        yield "key", self._rotate_key
        yield "live_since", self._measure_live_since
        yield "version_age", self._measure_versions
        yield "event_age", lambda: self._measure(metrics.HOUSEKEEPING_EVENT_AGE, event_age)
        yield (
            "partitions_ahead",
            lambda: self._measure(metrics.HOUSEKEEPING_PARTITIONS_AHEAD, days_ready_ahead),
        )
        yield "key_age", lambda: self._measure(metrics.HOUSEKEEPING_KEY_AGE, key_age)
        yield "unexported_age", lambda: self._measure(metrics.HOUSEKEEPING_UNEXPORTED_AGE, unexported_age)
        yield "attribution", self._attribute
        yield "attributed", self._measure_attributed
        if self._gateway is not None:
            yield "stale_groups", self._delete_stale_groups

    def _attempt(self, name: str, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception:
            # Whatever it was: the other parts don't depend on it, and the run as a whole fails for it.
            logger.exception("housekeeping: the part %s failed", name)
            self._report.failed.append(name)

    def _reach_database(self) -> None:
        reachable = 0
        try:
            self._ask(lambda connection: connection.execute("SELECT 1"))
            reachable = 1
        finally:
            self._tell(metrics.HOUSEKEEPING_DATABASE_REACHABLE, reachable)

    def _make_partitions(self) -> None:
        days_ahead = self._settings.partition_days_ahead
        days = self._ask(lambda connection: ensure_partitions(connection, days_ahead=days_ahead))
        self._report.partitions = [day.isoformat() for day in days]

    def _rotate_key(self) -> None:
        older_than = timedelta(days=self._settings.key_max_age_days)

        def rotate(connection: Connection) -> str:
            row = connection.execute("SELECT rotate_key(%s, %s)", (KEY_PURPOSE, older_than)).fetchone()
            assert row is not None  # noqa: S101 - a SELECT without FROM always gives one
            return str(row[0])

        self._report.key = self._ask(rotate)

    def _attribute(self) -> None:
        settings = self._settings
        if not self._ask(
            lambda connection: is_due(connection, every=timedelta(minutes=settings.attribution_minutes))
        ):
            return

        def count(connection: Connection) -> int:
            return catch_up(
                connection,
                touch_window=timedelta(hours=settings.attribution_hours),
                most_events=settings.attribution_events,
                seconds=settings.attribution_seconds,
            )

        # The last of the transactions may begin just before the time is up.
        timeout = settings.attribution_seconds + settings.database_timeout_seconds
        self._report.attributed = self._database.run(count, timeout=timeout)

    def _measure_attributed(self) -> None:
        now = datetime.fromtimestamp(self._now(), UTC)
        self._measure(metrics.ATTRIBUTION_UNTIL, counted_until)
        self._report.measures += self._ask(lambda connection: list(attributed(connection, now=now)))

    def _measure_live_since(self) -> None:
        for labels, moment in self._ask(lambda connection: list(live_since(connection))):
            self._tell(metrics.VERSION_LIVE_SINCE, moment, *labels)

    def _measure_versions(self) -> None:
        now = self._now()
        for variant, age in self._ask(lambda connection: version_ages(connection, now=now)).items():
            self._tell(metrics.HOUSEKEEPING_VERSION_AGE, age, variant)

    def _measure(self, metric: metrics.Metric, measure: Callable[[Connection], float | None]) -> None:
        value = self._ask(measure)
        if value is not None:
            self._tell(metric, value)

    def _delete_stale_groups(self) -> None:
        assert self._gateway is not None  # noqa: S101 - no part of a run without one
        self._groups = self._gateway.groups(metrics.HOUSEKEEPING_LAST_SUCCESS.name)
        self._report.groups_deleted = delete_stale(
            self._gateway,
            self._groups,
            before=self._clock() - self._settings.stale_group_minutes * 60,
            seconds=self._settings.gateway_total_seconds,
        )

    def _push(self) -> None:
        assert self._gateway is not None  # noqa: S101 - no part of a run without one
        self._gateway.push(JOB, registry_of([*self._report.measures, *self._of_the_run()]))

    def _of_the_run(self) -> Iterator[Measured]:
        failed = self._report.failed
        for name, _ in self._parts():
            yield Measured(metrics.HOUSEKEEPING_PART_FAILED, int(name in failed), (name,))
        succeeded_at = self._last_success() if failed else self._clock()
        if succeeded_at is not None:
            yield Measured(metrics.HOUSEKEEPING_LAST_SUCCESS, succeeded_at)

    def _last_success(self) -> float | None:
        """As the gateway has it, because the group is replaced: an environment may not live that long."""
        own = [group for group in self._groups if group.labels == {"job": JOB}]
        return own[0].values.get(metrics.HOUSEKEEPING_LAST_SUCCESS.name) if own else None

    def _now(self) -> float:
        as_of = self._settings.as_of
        return self._clock() if as_of is None else as_of.timestamp()

    def _tell(self, metric: metrics.Metric, value: float, *labels: str) -> None:
        self._report.measures.append(Measured(metric, value, labels))

    def _ask(self, work: Callable[[Connection], Result]) -> Result:
        return self._database.run(work, timeout=self._settings.database_timeout_seconds)
