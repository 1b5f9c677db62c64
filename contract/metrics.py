"""Every metric that is pushed: the one list that code, dashboards and documentation are held against."""

from typing import Final, Literal, NamedTuple


class Label(NamedTuple):
    """What tells the series of a metric apart: never who somebody is."""

    name: str
    values: tuple[str, ...] = ()
    """All that there can be; none where the shop names them."""
    bound: str = ""
    """Where the shop names them: what they are, and why there are only few."""


class Metric(NamedTuple):
    """One metric family, as Prometheus sees it."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    """`seconds`, `bytes`, `ratio`, `bool`, `timestamp` (seconds since 1970 UTC), or what is counted."""
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of `labels`."""
        return tuple(label.name for label in self.labels)


STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
SOURCES: Final = ("personalized", "session", "similar", "bought_together", "popular")
EVENT_OUTCOMES: Final = ("accepted", "rejected")
DAGS: Final = ("retrain", "load", "rollback", "maintenance", "backfill")
RUN_OUTCOMES: Final = ("live", "kept", "done", "failed")

COUNTED_ROUTES: Final = (
    "/v1/users/{user_id}/recommendations",
    "/v1/recommendations",
    "/v1/recommendations/batch",
    "/v1/items/{item_id}/similar",
    "/v1/items/{item_id}/bought-together",
    "/v1/popular",
    "/v1/events",
)
"""What visitors wait for; series of the other routes would only be paid for."""
OTHER: Final = "other"
"""The value of a label for all that has no value of its own: other routes, versions too many."""

VERSIONS_AN_ENVIRONMENT: Final = 4
"""How many pairs of version and variant an environment counts apart at a time."""
VERSIONS_ATTRIBUTED: Final = 20
"""To how many pairs of version and variant, the latest, what visitors did is told apart."""

WINDOWS: Final = {"1d": 1, "7d": 7}
"""How many days back from the latest attribution."""
ANSWER_OUTCOMES: Final = ("clicked", "carted", "bought")
ATTRIBUTED_EVENTS: Final = ("add_to_cart", "purchase")
BEGINNINGS: Final = ("recommendation", "otherwise")
ID_VERDICTS: Final = ("own", "malformed", "unknown_key", "forged", "foreign", "out_of_time")

QUALITY_METRICS: Final = (
    "users",
    "precision@10",
    "recall@10",
    "ndcg@10",
    "map@10",
    "hit_rate@10",
    "coverage",
    "novelty",
    "discovery_recall@10",
)
"""docs/backtest.md tells what they are; `users` is how many there were to judge by."""

HOUSEKEEPING_PARTS: Final = (
    "database",
    "partitions",
    "key",
    "live_since",
    "version_age",
    "event_age",
    "partitions_ahead",
    "key_age",
    "unexported_age",
    "attribution",
    "attributed",
    "stale_groups",
)

REQUEST_SECONDS_BUCKETS: Final = (0.0025, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_VERSION: Final = "the names of versions: one a retrain, and only those that answer lately are told apart"
_VARIANT: Final = "the variants in the table `serving`: two or three at a time"
_IN_AN_ENVIRONMENT: Final = (
    f", {VERSIONS_AN_ENVIRONMENT} pairs an environment at a time, what comes beyond is `{OTHER}`"
)
_ATTRIBUTED: Final = f", the {VERSIONS_ATTRIBUTED} pairs that were answered with latest"
_PROTOCOL: Final = Label("protocol", ("batch", "session"))
_DAG: Final = Label("dag", DAGS)
_TASK: Final = Label("task", (), "the tasks of the DAG, as `dags/` names them: about ten each")
_WINDOW: Final = Label("window", tuple(WINDOWS))

API_REQUESTS: Final = Metric(
    "shop_api_requests_total",
    "counter",
    "requests",
    "Requests answered, by route template and class of status.",
    (Label("route", (*COUNTED_ROUTES, OTHER)), Label("status", STATUS_CLASSES)),
)
API_REQUEST_SECONDS: Final = Metric(
    "shop_api_request_duration_seconds",
    "histogram",
    "seconds",
    "Time from the request's arrival in the application to its answer, of the routes that are counted apart.",
    (),
    REQUEST_SECONDS_BUCKETS,
)
API_ANSWERS: Final = Metric(
    "shop_api_recommendations_total",
    "counter",
    "answers",
    "Answers with recommendations, each of a batch, by source: how much was known. None of status 304.",
    (Label("source", SOURCES),),
)
API_VERSION_ANSWERS: Final = Metric(
    "shop_api_version_answers_total",
    "counter",
    "answers",
    "The same answers by version and variant: what was clicked, carted and bought is a share of these.",
    (Label("version", (), _VERSION + _IN_AN_ENVIRONMENT), Label("variant", (), _VARIANT)),
)
API_DEGRADED: Final = Metric(
    "shop_api_degraded_total",
    "counter",
    "requests",
    "Answers that had to do without the database: the last popular list that the environment had seen.",
)
API_VERSION_AS_OF: Final = Metric(
    "shop_api_version_as_of_timestamp_seconds",
    "gauge",
    "timestamp",
    "The moment up to which the version knows events that the environment answered with last.",
)
API_DATABASE_CALLS: Final = Metric(
    "shop_api_database_calls_total", "counter", "calls", "Times that the API asked Postgres for something."
)
API_DATABASE_SECONDS: Final = Metric(
    "shop_api_database_seconds_total", "counter", "seconds", "Time that the API spent on asking Postgres."
)
API_COLD_STARTS: Final = Metric(
    "shop_api_cold_starts_total",
    "counter",
    "environments",
    "Environments of the function that began to answer.",
)
API_EVENTS: Final = Metric(
    "shop_api_events_total",
    "counter",
    "events",
    "Posted events, by outcome: accepted or rejected.",
    (Label("outcome", EVENT_OUTCOMES),),
)
API_MEMORY: Final = Metric(
    "shop_api_memory_bytes", "gauge", "bytes", "Memory that the environment's process holds: resident."
)
API_CPU_SECONDS: Final = Metric(
    "shop_api_cpu_seconds_total",
    "counter",
    "seconds",
    "Processor time that the environment's process took since it began to push.",
)

TRAINING_STEP_SECONDS: Final = Metric(
    "shop_training_step_duration_seconds",
    "gauge",
    "seconds",
    "Time that each step of the latest training took.",
    (Label("step", ("read", "evaluate", "gate", "fit", "inspect", "report", "publish")),),
)
TRAINING_PEAK_MEMORY: Final = Metric(
    "shop_training_peak_memory_bytes",
    "gauge",
    "bytes",
    "The most memory that the latest training held at a time.",
)
TRAINING_EVENTS: Final = Metric(
    "shop_training_events", "gauge", "events", "Events that the latest training read: its rows."
)
TRAINING_USERS: Final = Metric(
    "shop_training_users", "gauge", "users", "Users in what the latest training read."
)
TRAINING_ITEMS: Final = Metric(
    "shop_training_items", "gauge", "items", "Items in what the latest training read."
)
TRAINING_RUN: Final = Metric(
    "shop_training_run",
    "gauge",
    "bool",
    "1 for the latest training: the version that it is or would have been, and its run in MLflow.",
    (
        Label("version", (), "the latest training's alone"),
        Label("mlflow_run", (), "the latest training's alone"),
    ),
)
TRAINING_QUALITY: Final = Metric(
    "shop_training_quality",
    "gauge",
    "ratio",
    "Metrics of the latest training on the days held out, by protocol and model.",
    (
        _PROTOCOL,
        Label("model", ("served", "popular", "recent_popular", "item_item")),
        Label("metric", QUALITY_METRICS),
    ),
)

TRAINING_GATE_OUTCOME: Final = Metric(
    "shop_training_gate_outcome",
    "gauge",
    "bool",
    "What the latest training's gate said: 1 for its outcome, 0 for the others.",
    (Label("outcome", ("promoted", "kept", "rejected")),),
)
TRAINING_GATE_USERS: Final = Metric(
    "shop_training_gate_users",
    "gauge",
    "users",
    "Users with a cart or a purchase since the served version's cut-off: what the gate had to judge by.",
)
TRAINING_GATE_DIFFERENCE: Final = Metric(
    "shop_training_gate_difference",
    "gauge",
    "ratio",
    "The new recipe's metric less that of the served version or of popularity, on the same users and days: "
    "the value, and the low and the high end of its 95 % interval.",
    (
        Label("against", ("popular", "served")),
        Label("measured_on", ("evaluation_windows", "since_cut_off")),
        _PROTOCOL,
        Label("metric", ("precision@10", "recall@10")),
        Label("bound", ("value", "low", "high")),
    ),
)

LOAD_SECONDS: Final = Metric(
    "shop_load_duration_seconds", "gauge", "seconds", "Time that the latest load took."
)
LOAD_LISTS: Final = Metric(
    "shop_load_lists",
    "gauge",
    "lists",
    "Lists that the version loaded last holds, by kind.",
    (Label("kind", ("personal", "history", "similar", "bought_together", "popular", "trending")),),
)
LOAD_VERSION_AS_OF: Final = Metric(
    "shop_load_version_as_of_timestamp_seconds",
    "gauge",
    "timestamp",
    "The moment up to which the loaded version knows events.",
)

DAG_RUN_OUTCOME: Final = Metric(
    "shop_dag_run_outcome",
    "gauge",
    "bool",
    "How the latest run of each DAG ended: 1 for its outcome, 0 for the others.",
    (_DAG, Label("outcome", RUN_OUTCOMES)),
)
DAG_RUN_SECONDS: Final = Metric(
    "shop_dag_run_duration_seconds", "gauge", "seconds", "Time that the latest run of each DAG took.", (_DAG,)
)
DAG_TASK_SECONDS: Final = Metric(
    "shop_dag_task_duration_seconds",
    "gauge",
    "seconds",
    "Time that each task of the latest run took, without what it waited.",
    (_DAG, _TASK),
)
DAG_TASK_FAILED: Final = Metric(
    "shop_dag_task_failed",
    "gauge",
    "bool",
    "1 for each task of the latest run that failed, 0 for the others.",
    (_DAG, _TASK),
)
DAG_LAST_SUCCESS: Final = Metric(
    "shop_dag_last_success_timestamp_seconds",
    "gauge",
    "timestamp",
    "When a run of each DAG succeeded last.",
    (_DAG,),
)
DAG_EXPORTED_EVENTS: Final = Metric(
    "shop_dag_exported_events",
    "gauge",
    "events",
    "Posted events that the latest export brought into the bucket.",
)
DAG_REJECTED_SHARE: Final = Metric(
    "shop_dag_rejected_share",
    "gauge",
    "ratio",
    "Share of the latest validated rows that could not be used, 0 to 1.",
)
DAG_CANARY_SECONDS: Final = Metric(
    "shop_dag_canary_duration_seconds",
    "gauge",
    "seconds",
    "Time that the function took to answer with the version that was tried last: the median.",
)
DAG_CANARY_OVERLAP: Final = Metric(
    "shop_dag_canary_overlap",
    "gauge",
    "ratio",
    "Share of items that the version tried last has in common with the live one, for the same users, 0 to 1.",
)

VERSION_LIVE_SINCE: Final = Metric(
    "shop_version_live_since_timestamp_seconds",
    "gauge",
    "timestamp",
    "When each variant came to answer with the version that it answers with now: the moment of the switch.",
    (
        Label("variant", (), _VARIANT),
        Label("version", (), "the one that the variant answers with"),
        Label("mlflow_run", (), "that of the version; empty where its manifest names none"),
    ),
)

ATTRIBUTION_ANSWERS: Final = Metric(
    "shop_attribution_answers",
    "gauge",
    "answers",
    "Answers that a visitor clicked, and those that led to a cart or a purchase, each at its first "
    "such event.",
    (
        Label("outcome", ANSWER_OUTCOMES),
        Label("version", (), _VERSION + _ATTRIBUTED),
        Label("variant", (), _VARIANT),
        _WINDOW,
    ),
)
ATTRIBUTION_EVENTS: Final = Metric(
    "shop_attribution_events",
    "gauge",
    "events",
    "Carts and purchases, by whether they began with a recommendation.",
    (Label("event_type", ATTRIBUTED_EVENTS), Label("began_with", BEGINNINGS), _WINDOW),
)
ATTRIBUTION_IDS: Final = Metric(
    "shop_attribution_ids",
    "gauge",
    "events",
    "Posted events that name an answer, by what its id is: the visitor's own, or why it does not count.",
    (Label("verdict", ID_VERDICTS), _WINDOW),
)
ATTRIBUTION_UNTIL: Final = Metric(
    "shop_attribution_until_timestamp_seconds",
    "gauge",
    "timestamp",
    "The moment of receipt up to which posted events are attributed.",
)

HOUSEKEEPING_DATABASE_REACHABLE: Final = Metric(
    "shop_housekeeping_database_reachable",
    "gauge",
    "bool",
    "1 where Postgres answered the latest run, else 0.",
)
HOUSEKEEPING_VERSION_AGE: Final = Metric(
    "shop_housekeeping_version_age_seconds",
    "gauge",
    "seconds",
    "How long ago the events end that the version knows which answers, by variant.",
    (Label("variant", (), _VARIANT),),
)
HOUSEKEEPING_EVENT_AGE: Final = Metric(
    "shop_housekeeping_event_age_seconds",
    "gauge",
    "seconds",
    "How long ago the latest posted event was received; absent where there is none.",
)
HOUSEKEEPING_PARTITIONS_AHEAD: Final = Metric(
    "shop_housekeeping_partitions_ahead_days",
    "gauge",
    "days",
    "Days after today whose partitions of events are there, without a gap; -1 where today's is missing.",
)
HOUSEKEEPING_KEY_AGE: Final = Metric(
    "shop_housekeeping_key_age_seconds",
    "gauge",
    "seconds",
    "Age of the key that signs recommendation ids; absent where there is none.",
)
HOUSEKEEPING_UNEXPORTED_AGE: Final = Metric(
    "shop_housekeeping_unexported_age_days",
    "gauge",
    "days",
    "How many days ago the oldest day of receipt was that done exports don't cover; 0 where they all do.",
)
HOUSEKEEPING_PART_FAILED: Final = Metric(
    "shop_housekeeping_part_failed",
    "gauge",
    "bool",
    "1 for each part of the latest run that failed, 0 for the others.",
    (Label("part", HOUSEKEEPING_PARTS),),
)
HOUSEKEEPING_LAST_SUCCESS: Final = Metric(
    "shop_housekeeping_last_success_timestamp_seconds",
    "gauge",
    "timestamp",
    "When no part of a run failed last.",
)

METRICS: Final = (
    API_REQUESTS,
    API_REQUEST_SECONDS,
    API_ANSWERS,
    API_VERSION_ANSWERS,
    API_DEGRADED,
    API_VERSION_AS_OF,
    API_DATABASE_CALLS,
    API_DATABASE_SECONDS,
    API_COLD_STARTS,
    API_EVENTS,
    API_MEMORY,
    API_CPU_SECONDS,
    TRAINING_STEP_SECONDS,
    TRAINING_PEAK_MEMORY,
    TRAINING_EVENTS,
    TRAINING_USERS,
    TRAINING_ITEMS,
    TRAINING_RUN,
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
    VERSION_LIVE_SINCE,
    ATTRIBUTION_ANSWERS,
    ATTRIBUTION_EVENTS,
    ATTRIBUTION_IDS,
    ATTRIBUTION_UNTIL,
    HOUSEKEEPING_DATABASE_REACHABLE,
    HOUSEKEEPING_VERSION_AGE,
    HOUSEKEEPING_EVENT_AGE,
    HOUSEKEEPING_PARTITIONS_AHEAD,
    HOUSEKEEPING_KEY_AGE,
    HOUSEKEEPING_UNEXPORTED_AGE,
    HOUSEKEEPING_PART_FAILED,
    HOUSEKEEPING_LAST_SUCCESS,
)
