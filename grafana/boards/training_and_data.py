"""For the data scientist: what the latest training read, found and made, and whether its data is in order."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.panels import AnyPanel, Bound, Query, bars, number, rows, series


def dashboard() -> Dashboard:
    """The training, what the gate said of it, what was loaded, and the data for the next one."""
    return board(
        "shop-training-and-data",
        "Shop recommender: Training and data",
        "The latest training and the gate's verdict, the version that was loaded, and the data for the "
        "next one.",
        [(7, _training()), (8, _quality()), (8, _gate()), (8, _load()), (6, _events()), (6, _housekeeping())],
        since="now-30d",
    )


def _training() -> list[tuple[int, AnyPanel]]:
    run = rows(
        "Latest training",
        "The version that it is or would have been, and its run in MLflow.",
        "none",
        {"version": "Version", "mlflow_run": "Run in MLflow"},
        Query('max by (version, mlflow_run) (shop_training_run{stage="$stage"})', "Trainings"),
        run="mlflow_run",
    )
    steps = bars(
        "Time by step",
        "How long each step of the latest training took.",
        "s",
        Query('max by (step) (shop_training_step_duration_seconds{stage="$stage"})', "{{step}}"),
    )
    memory = number(
        "Peak memory",
        "The most memory that the latest training held: what its instance has to have, and some.",
        "bytes",
        Query('max(shop_training_peak_memory_bytes{stage="$stage"})', "peak"),
    )
    read = series(
        "What trainings read",
        "Events, users and items in what each training read.",
        "short",
        Query('max(shop_training_events{stage="$stage"})', "events"),
        Query('max(shop_training_users{stage="$stage"})', "users"),
        Query('max(shop_training_items{stage="$stage"})', "items"),
    )
    return [(6, run), (6, steps), (4, memory), (8, read)]


def _quality() -> list[tuple[int, AnyPanel]]:
    def measured(metric: str, title: str, description: str) -> AnyPanel:
        return series(
            title,
            f"{description} On days held out; `popular` is what anybody could show.",
            "percentunit",
            Query(
                f'max by (protocol, model) (shop_training_quality{{stage="$stage", metric="{metric}"}})',
                "{{protocol}}: {{model}}",
            ),
        )

    return [
        (8, measured("precision@10", "Precision@10", "Share of ten shown items that were carted or bought.")),
        (
            8,
            measured(
                "recall@10", "Recall@10", "Share of the carted or bought items that were among ten shown."
            ),
        ),
        (8, measured("coverage", "Coverage", "Share of the catalogue that is shown to anybody.")),
    ]


def _gate() -> list[tuple[int, AnyPanel]]:
    outcome = number(
        "Gate",
        "What the latest training's gate said: promoted, kept (what is served is better) or rejected.",
        "none",
        Query('max by (outcome) (shop_training_gate_outcome{stage="$stage"} == 1)', "{{outcome}}"),
        named=True,
    )
    users = number(
        "Users to judge by",
        "Users with a cart or a purchase since the served version's cut-off.",
        "none",
        Query('max(shop_training_gate_users{stage="$stage"})', "users"),
    )
    difference = series(
        "New recipe against what is served",
        "Recall@10 of the new recipe less that of the served version or of popularity, on the same users "
        "and days, "
        "with its 95 % interval. Above 0 the new one is better.",
        "percentunit",
        Query(
            "max by (against, measured_on, protocol, bound) "
            '(shop_training_gate_difference{stage="$stage", metric="recall@10"})',
            "{{against}}, {{protocol}}: {{bound}} ({{measured_on}})",
        ),
        lowest=None,
    )
    return [(4, outcome), (4, users), (16, difference)]


def _load() -> list[tuple[int, AnyPanel]]:
    seconds = series(
        "Time of a load",
        "How long it took to bring a version into Postgres.",
        "s",
        Query('max(shop_load_duration_seconds{stage="$stage"})', "load"),
    )
    lists = bars(
        "Lists of the version loaded last",
        "How many there are of each kind; `personal` is how many users have recommendations of their own.",
        "short",
        Query('max by (kind) (shop_load_lists{stage="$stage"})', "{{kind}}"),
    )
    age = series(
        "Age of versions",
        "How long ago the events end that a version knows: that loaded last, and those that answer, by "
        "variant.",
        "s",
        Query('time() - max(shop_load_version_as_of_timestamp_seconds{stage="$stage"})', "loaded last"),
        Query(
            'max by (variant) (shop_housekeeping_version_age_seconds{stage="$stage"})', "{{variant}}, answers"
        ),
        bounds=[Bound(3 * 86400, "red")],
    )
    return [(8, seconds), (8, lists), (8, age)]


def _events() -> list[tuple[int, AnyPanel]]:
    exported = series(
        "Exported events",
        "Posted events that each export brought into the bucket.",
        "short",
        Query('max(shop_dag_exported_events{stage="$stage"})', "events"),
    )
    rejected = series(
        "Rows that could not be used",
        "Share of the validated rows that were set aside; the data report in the bucket says why.",
        "percentunit",
        Query('max(shop_dag_rejected_share{stage="$stage"})', "rejected"),
        bounds=[Bound(0.05, "red")],
    )
    unexported = number(
        "Events without an export",
        "How many days ago the oldest events were received that no export covers.",
        "d",
        Query('max(shop_housekeeping_unexported_age_days{stage="$stage"})', "oldest"),
        bounds=[Bound(2, "orange"), Bound(3, "red")],
    )
    latest = number(
        "Latest posted event",
        "How long ago an event was received.",
        "s",
        Query('max(shop_housekeeping_event_age_seconds{stage="$stage"})', "ago"),
        bounds=[Bound(2 * 3600, "orange")],
    )
    return [(8, exported), (8, rejected), (4, unexported), (4, latest)]


def _housekeeping() -> list[tuple[int, AnyPanel]]:
    reachable = number(
        "Postgres answers",
        "1 where Postgres answered the latest housekeeping.",
        "none",
        Query('min(shop_housekeeping_database_reachable{stage="$stage"})', "reachable"),
        bounds=[Bound(0, "red"), Bound(1, "green")],
    )
    ahead = number(
        "Partitions ahead",
        "For how many days after today partitions of events are there.",
        "d",
        Query('min(shop_housekeeping_partitions_ahead_days{stage="$stage"})', "ahead"),
        bounds=[Bound(-1, "red"), Bound(2, "green")],
    )
    key = number(
        "Age of the key",
        "Of the key that signs recommendation ids; it is replaced each week.",
        "s",
        Query('max(shop_housekeeping_key_age_seconds{stage="$stage"})', "age"),
        bounds=[Bound(8 * 86400, "orange")],
    )
    success = number(
        "Housekeeping succeeded",
        "How long ago all parts of a run went well; it runs every five minutes.",
        "s",
        Query('time() - max(shop_housekeeping_last_success_timestamp_seconds{stage="$stage"})', "ago"),
        bounds=[Bound(15 * 60, "red")],
    )
    failed = series(
        "Parts of housekeeping that fail",
        "1 for each part of the latest run that failed.",
        "none",
        Query('max by (part) (shop_housekeeping_part_failed{stage="$stage"})', "{{part}}"),
        bounds=[Bound(1, "red")],
    )
    return [(4, reachable), (4, ahead), (4, key), (4, success), (8, failed)]
