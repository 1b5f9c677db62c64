"""For whoever mends a retrain: which run, which task, how long, and how the new version stood its trial."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.panels import AnyPanel, Bound, Query, bars, rows, series


def dashboard() -> Dashboard:
    """All DAGs, then the retrain's tasks, then its canary."""
    return board(
        "shop-retrain-runs",
        "Shop recommender: Retrain runs",
        "Runs of the DAGs, the tasks of the retrain, and the trial of the version that it made.",
        [(8, _runs()), (9, _tasks()), (8, _canary())],
        since="now-30d",
    )


def _runs() -> list[tuple[int, AnyPanel]]:
    outcomes = rows(
        "Latest runs",
        "How the latest run of each DAG ended: live, kept (what was served is better), done or failed.",
        "none",
        {"dag": "DAG", "outcome": "Latest run"},
        Query('max by (dag, outcome) (shop_dag_run_outcome{stage="$stage"} == 1)', "Runs"),
    )
    duration = series(
        "Time of a run",
        "How long the runs of each DAG took.",
        "s",
        Query('max by (dag) (shop_dag_run_duration_seconds{stage="$stage"})', "{{dag}}"),
    )
    success = series(
        "Last success",
        "How long ago a run of each DAG succeeded.",
        "s",
        Query('time() - max by (dag) (shop_dag_last_success_timestamp_seconds{stage="$stage"})', "{{dag}}"),
        bounds=[Bound(1.5 * 86400, "red")],
    )
    return [(8, outcomes), (8, duration), (8, success)]


def _tasks() -> list[tuple[int, AnyPanel]]:
    seconds = bars(
        "Time by task",
        "How long each task of the latest retrain took, without what it waited.",
        "s",
        Query('max by (task) (shop_dag_task_duration_seconds{stage="$stage", dag="retrain"})', "{{task}}"),
    )
    failed = series(
        "Tasks that failed",
        "1 for each task of a DAG's latest run that failed.",
        "none",
        Query('max by (dag, task) (shop_dag_task_failed{stage="$stage"})', "{{dag}}: {{task}}"),
        bounds=[Bound(1, "red")],
    )
    return [(12, seconds), (12, failed)]


def _canary() -> list[tuple[int, AnyPanel]]:
    seconds = series(
        "Canary: time of an answer",
        "How long half of the answers took at most with the version that was tried.",
        "s",
        Query('max(shop_dag_canary_duration_seconds{stage="$stage"})', "half"),
        bounds=[Bound(0.1, "red")],
    )
    overlap = series(
        "Canary: items in common",
        "Share of items that the version that was tried has in common with the live one, for the same users.",
        "percentunit",
        Query('max(shop_dag_canary_overlap{stage="$stage"})', "in common"),
    )
    exported = series(
        "Exported events",
        "Posted events that each run's export brought into the bucket.",
        "short",
        Query('max(shop_dag_exported_events{stage="$stage"})', "events"),
    )
    return [(8, seconds), (8, overlap), (8, exported)]
