"""What housekeeping is told by its environment variables, read once at the edge."""

from pydantic import AwareDatetime, Field, HttpUrl

from lambdas.database_login import DatabaseSettings


class Settings(DatabaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    as_of: AwareDatetime | None = None
    """A moment to take for now when the age of a version is told, ISO 8601 with a time zone: for demos and
    backtests over old data. What Postgres dates goes by its own clock."""
    partition_days_ahead: int = Field(default=7, ge=1, le=90)
    """For how many days after today partitions of events are made."""
    key_max_age_days: float = Field(default=7, ge=1)
    """How old the key of recommendation ids may become before another takes its place."""
    database_timeout_seconds: float = Field(default=10, gt=0)
    """How long each part may wait for Postgres."""
    connect_timeout_seconds: int = Field(default=5, ge=2)
    """How long opening the connection may take; libpq knows no less than 2."""

    pushgateway_url: HttpUrl | None = None
    """The pushgateway: `http://host:9091`. Without it no group is deleted and no age is pushed."""
    stale_group_minutes: float = Field(default=15, gt=0)
    """Groups of the API's environments that were not pushed for so long are deleted. More than the API's
    `PUSH_REST_SECONDS`, or counters come up again that were deleted."""
    gateway_timeout_seconds: float = Field(default=2, gt=0)
    """How long the pushgateway may take for each answer."""
    gateway_total_seconds: float = Field(default=10, gt=0)
    """How long a run may go on to delete groups; the next one goes on with the others."""
