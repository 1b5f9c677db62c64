"""For the shop's manager and whoever is on call: whether visitors get good recommendations."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.panels import Bound, Query, bars, number, rows, series


def dashboard() -> Dashboard:
    """One screen."""
    alerts = number(
        "Alerts that fire",
        "Pages and tickets. Alerting, in the menu, lists them; each names its section of the runbook.",
        "none",
        Query('count(ALERTS{stage="$stage", alertstate="firing", severity!="none"}) or vector(0)', "alerts"),
        bounds=[Bound(1, "orange")],
    )
    answered = number(
        "Requests answered",
        "Share of the last hour's requests that were answered without an error. 99.9 % is promised.",
        "percentunit",
        Query('1 - slo:sli_error:ratio_rate1h{stage="$stage", slo="availability"}', "answered"),
        bounds=[Bound(0, "red"), Bound(0.99, "orange"), Bound(0.999, "green")],
    )
    in_time = number(
        "Answered within 0.1 s",
        "Share of the last hour's answers that took the function less than 0.1 s. 99 % is promised.",
        "percentunit",
        Query('1 - slo:sli_error:ratio_rate1h{stage="$stage", slo="latency"}', "in time"),
        bounds=[Bound(0, "red"), Bound(0.95, "orange"), Bound(0.99, "green")],
    )
    personal = number(
        "Visitors' own recommendations",
        "Share of the last day's answers to visitors that know something of them; the rest is the "
        "popular list. "
        "New visitors get it, too: compare with other days rather than with 100 %.",
        "percentunit",
        Query('1 - slo:sli_error:ratio_rate1d{stage="$stage", slo="personal"}', "own"),
        bounds=[Bound(0, "red"), Bound(0.1, "green")],
    )
    age = number(
        "Age of the version",
        "How long ago the events end that the version knows which answers; the oldest of all variants.",
        "s",
        Query('max(shop_housekeeping_version_age_seconds{stage="$stage", variant!="canary"})', "age"),
        bounds=[Bound(1.5 * 86400, "orange"), Bound(3 * 86400, "red")],
    )
    began = number(
        "Carts by recommendations",
        "Share of the last day's carts that began with a recommendation: the visitor had clicked it there.",
        "percentunit",
        Query(
            'shop:began_with_recommendation:ratio{stage="$stage", event_type="add_to_cart", window="1d"}',
            "carts",
        ),
    )
    answers = series(
        "Recommendations, by what was known",
        "Answers each second: personalized and session know the visitor, similar and bought_together the "
        "item, "
        "popular neither.",
        "ops",
        Query(
            'sum by (source) (rate(shop_api_recommendations_total{stage="$stage"}[$__rate_interval]))',
            "{{source}}",
        ),
        stacked=True,
    )
    shares = series(
        "Answers that were clicked, carted, bought",
        "Share of the last day's answers that a visitor clicked, and that led to a cart or a purchase "
        "within 24 hours.",
        "percentunit",
        Query(
            'sum by (outcome) (shop_attribution_answers{stage="$stage", window="1d"})'
            ' / ignoring (outcome) group_left () sum(shop:answers:increase{stage="$stage", window="1d"})',
            "{{outcome}}",
        ),
    )
    budgets = bars(
        "What is left of a month's errors",
        "Of each promise, the share of what may go wrong in 30 days that has not yet. Below 0 it is broken.",
        "percentunit",
        Query('slo:error_budget_left:ratio{stage="$stage", slo!="personal"}', "{{slo}}"),
        bounds=[Bound(-1e9, "red"), Bound(0, "orange"), Bound(0.25, "green")],
    )
    versions = rows(
        "Versions that answer",
        "Since when each variant answers with its version, and the training that made it.",
        "dateTimeAsIso",
        {"variant": "Variant", "version": "Version", "mlflow_run": "Run in MLflow"},
        Query(
            "1000 * max by (variant, version, mlflow_run) "
            '(shop_version_live_since_timestamp_seconds{stage="$stage"})',
            "Since",
        ),
        run="mlflow_run",
    )
    outcomes = rows(
        "Latest runs",
        "How the latest run of each DAG ended: live, kept (what was served is better), done or failed.",
        "dateTimeAsIso",
        {"dag": "DAG", "outcome": "Latest run"},
        Query(
            "1000 * max by (dag, outcome) (shop_dag_run_outcome"
            '{stage="$stage"} == 1) * on (dag) group_left () max by (dag) '
            '(shop_dag_last_success_timestamp_seconds{stage="$stage"})',
            "Last success",
        ),
    )
    return board(
        "shop-overview",
        "Shop recommender: Overview",
        "Whether visitors get good recommendations, at a glance.",
        [
            (4, [(4, alerts), (4, answered), (4, in_time), (4, personal), (4, age), (4, began)]),
            (9, [(12, answers), (12, shares)]),
            (8, [(8, budgets), (8, versions), (8, outcomes)]),
        ],
        since="now-24h",
    )
