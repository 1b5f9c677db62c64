"""Every metric that is pushed: the one list that code, dashboards and documentation are held against."""

from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric family, as Prometheus sees it."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


REQUEST_SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

API_REQUESTS: Final = Metric(
    "shop_api_requests_total",
    "counter",
    "Requests answered, by route template and class of status.",
    ("route", "status"),
)
API_REQUEST_SECONDS: Final = Metric(
    "shop_api_request_duration_seconds",
    "histogram",
    "Time from the request's arrival in the application to its answer, in seconds.",
    (),
    REQUEST_SECONDS_BUCKETS,
)
API_ANSWERS: Final = Metric(
    "shop_api_recommendations_total",
    "counter",
    "Answers with recommendations, by source: how much was known.",
    ("source",),
)
API_DEGRADED: Final = Metric(
    "shop_api_degraded_total",
    "counter",
    "Answers that had to do without the database: the last popular list that the environment had seen.",
)
API_EVENTS: Final = Metric(
    "shop_api_events_total",
    "counter",
    "Posted events, by outcome: accepted or rejected.",
    ("outcome",),
)
API_COLD_STARTS: Final = Metric(
    "shop_api_cold_starts_total", "counter", "Environments of the function that began to answer."
)

TRAINING_STEP_SECONDS: Final = Metric(
    "shop_training_step_duration_seconds",
    "gauge",
    "Time that each step of the latest training took, in seconds.",
    ("step",),
)
TRAINING_EVENTS: Final = Metric("shop_training_events", "gauge", "Events that the latest training read.")
TRAINING_QUALITY: Final = Metric(
    "shop_training_quality",
    "gauge",
    "Metrics of the latest training on the days held out, by protocol and model.",
    ("protocol", "model", "metric"),
)

TRAINING_GATE_OUTCOME: Final = Metric(
    "shop_training_gate_outcome",
    "gauge",
    "What the latest training's gate said: 1 for its outcome, 0 for the others.",
    ("outcome",),
)
TRAINING_GATE_USERS: Final = Metric(
    "shop_training_gate_users",
    "gauge",
    "Users with a cart or a purchase since the served version's cut-off: what the gate had to judge by.",
)
TRAINING_GATE_DIFFERENCE: Final = Metric(
    "shop_training_gate_difference",
    "gauge",
    "The new recipe's metric less that of the served version or of popularity, on the same users and days: "
    "the value, and the low and the high end of its 95 % interval.",
    ("against", "measured_on", "protocol", "metric", "bound"),
)

LOAD_SECONDS: Final = Metric(
    "shop_load_duration_seconds", "gauge", "Time that the latest load took, in seconds."
)
LOAD_LISTS: Final = Metric(
    "shop_load_lists", "gauge", "Lists that the version loaded last holds, by kind.", ("kind",)
)
LOAD_VERSION_AS_OF: Final = Metric(
    "shop_load_version_as_of_timestamp_seconds",
    "gauge",
    "The moment up to which the loaded version knows events, in seconds since 1970 UTC.",
)

DAG_RUN_OUTCOME: Final = Metric(
    "shop_dag_run_outcome",
    "gauge",
    "How the latest run of each DAG ended: 1 for its outcome, 0 for the others.",
    ("dag", "outcome"),
)
DAG_RUN_SECONDS: Final = Metric(
    "shop_dag_run_duration_seconds",
    "gauge",
    "Time that the latest run of each DAG took, in seconds.",
    ("dag",),
)
DAG_TASK_SECONDS: Final = Metric(
    "shop_dag_task_duration_seconds",
    "gauge",
    "Time that each task of the latest run took, in seconds, without what it waited.",
    ("dag", "task"),
)
DAG_TASK_FAILED: Final = Metric(
    "shop_dag_task_failed",
    "gauge",
    "1 for each task of the latest run that failed, 0 for the others.",
    ("dag", "task"),
)
DAG_LAST_SUCCESS: Final = Metric(
    "shop_dag_last_success_timestamp_seconds",
    "gauge",
    "When a run of each DAG succeeded last, in seconds since 1970 UTC.",
    ("dag",),
)
DAG_EXPORTED_EVENTS: Final = Metric(
    "shop_dag_exported_events", "gauge", "Posted events that the latest export brought into the bucket."
)
DAG_REJECTED_SHARE: Final = Metric(
    "shop_dag_rejected_share", "gauge", "Share of the latest validated rows that could not be used, 0 to 1."
)
DAG_CANARY_SECONDS: Final = Metric(
    "shop_dag_canary_duration_seconds",
    "gauge",
    "Time that the function took to answer with the version that was tried last: the median, in seconds.",
)
DAG_CANARY_OVERLAP: Final = Metric(
    "shop_dag_canary_overlap",
    "gauge",
    "Share of items that the version tried last has in common with the live one, for the same users, 0 to 1.",
)

HOUSEKEEPING_DATABASE_REACHABLE: Final = Metric(
    "shop_housekeeping_database_reachable", "gauge", "1 where Postgres answered the latest run, else 0."
)
HOUSEKEEPING_VERSION_AGE: Final = Metric(
    "shop_housekeeping_version_age_seconds",
    "gauge",
    "How long ago the events end that the version knows which answers, by variant, in seconds.",
    ("variant",),
)
HOUSEKEEPING_EVENT_AGE: Final = Metric(
    "shop_housekeeping_event_age_seconds",
    "gauge",
    "How long ago the latest posted event was received, in seconds; absent where there is none.",
)
HOUSEKEEPING_PARTITIONS_AHEAD: Final = Metric(
    "shop_housekeeping_partitions_ahead_days",
    "gauge",
    "Days after today whose partitions of events are there, without a gap; -1 where today's is missing.",
)
HOUSEKEEPING_KEY_AGE: Final = Metric(
    "shop_housekeeping_key_age_seconds",
    "gauge",
    "Age of the key that signs recommendation ids, in seconds; absent where there is none.",
)
HOUSEKEEPING_UNEXPORTED_AGE: Final = Metric(
    "shop_housekeeping_unexported_age_days",
    "gauge",
    "How many days ago the oldest day of receipt was that done exports don't cover; 0 where they all do.",
)
HOUSEKEEPING_PART_FAILED: Final = Metric(
    "shop_housekeeping_part_failed",
    "gauge",
    "1 for each part of the latest run that failed, 0 for the others.",
    ("part",),
)
HOUSEKEEPING_LAST_SUCCESS: Final = Metric(
    "shop_housekeeping_last_success_timestamp_seconds",
    "gauge",
    "When no part of a run failed last, in seconds since 1970 UTC.",
)

METRICS: Final = (
    API_REQUESTS,
    API_REQUEST_SECONDS,
    API_ANSWERS,
    API_DEGRADED,
    API_EVENTS,
    API_COLD_STARTS,
    TRAINING_STEP_SECONDS,
    TRAINING_EVENTS,
    TRAINING_QUALITY,
    TRAINING_GATE_OUTCOME,
    TRAINING_GATE_USERS,
    TRAINING_GATE_DIFFERENCE,
    LOAD_SECONDS,
    LOAD_LISTS,
    LOAD_VERSION_AS_OF,
    DAG_RUN_OUTCOME,
    DAG_RUN_SECONDS,
    DAG_TASK_SECONDS,
    DAG_TASK_FAILED,
    DAG_LAST_SUCCESS,
    DAG_EXPORTED_EVENTS,
    DAG_REJECTED_SHARE,
    DAG_CANARY_SECONDS,
    DAG_CANARY_OVERLAP,
    HOUSEKEEPING_DATABASE_REACHABLE,
    HOUSEKEEPING_VERSION_AGE,
    HOUSEKEEPING_EVENT_AGE,
    HOUSEKEEPING_PARTITIONS_AHEAD,
    HOUSEKEEPING_KEY_AGE,
    HOUSEKEEPING_UNEXPORTED_AGE,
    HOUSEKEEPING_PART_FAILED,
    HOUSEKEEPING_LAST_SUCCESS,
)

STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
SOURCES: Final = ("personalized", "session", "similar", "bought_together", "popular")
EVENT_OUTCOMES: Final = ("accepted", "rejected")
DAGS: Final = ("retrain", "load", "rollback", "maintenance", "backfill")
RUN_OUTCOMES: Final = ("live", "kept", "done", "failed")
