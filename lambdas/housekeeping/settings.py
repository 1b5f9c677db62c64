"""What housekeeping is told by its environment variables, read once at the edge."""

from pydantic import AwareDatetime, Field, HttpUrl

from lambdas.database_login import DatabaseSettings


class Settings(DatabaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    as_of: AwareDatetime | None = None
    """A moment to take for now when the age of a version is told and what visitors did lately, ISO 8601 with
    a time zone: for demos and backtests over old data. What Postgres dates goes by its own clock."""
    partition_days_ahead: int = Field(default=7, ge=1, le=90)
    """For how many days after today partitions of events are made."""
    key_max_age_days: float = Field(default=7, ge=1)
    """How old the key of recommendation ids may become before another takes its place."""
    database_timeout_seconds: float = Field(default=10, gt=0)
    """How long each part may wait for Postgres."""
    connect_timeout_seconds: int = Field(default=5, ge=2)
    """How long opening the connection may take; libpq knows no less than 2."""

    attribution_minutes: float = Field(default=60, ge=0)
    """How long after posted events were attributed to answers the next ones are."""
    attribution_hours: float = Field(default=24, gt=0)
    """How long after a click a cart or a purchase may come to have begun with it, and how long after an
    answer a click to count. A change counts all events anew that Postgres still has."""
    attribution_events: int = Field(default=50_000, ge=1)
    """About how many events are attributed in one transaction: as many as Postgres manages in
    `DATABASE_TIMEOUT_SECONDS`."""
    attribution_seconds: float = Field(default=20, gt=0)
    """How long a run may go on to attribute events; the next one goes on with the others."""

    pushgateway_url: HttpUrl | None = None
    """The pushgateway: `http://host:9091`. Without it no group is deleted and no age is pushed."""
    stale_group_minutes: float = Field(default=15, gt=0)
    """Groups of the API's environments that were not pushed for so long are deleted. More than the API's
    `PUSH_REST_SECONDS`, or counters come up again that were deleted."""
    gateway_timeout_seconds: float = Field(default=2, gt=0)
    """How long the pushgateway may take for each answer."""
    gateway_reading_seconds: float = Field(default=15, gt=0)
    """How long the pushgateway may take to tell which groups it has: thousands take it seconds."""
    gateway_total_seconds: float = Field(default=10, gt=0)
    """How long a run may go on to delete groups; the next one goes on with the others."""
