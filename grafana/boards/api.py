"""For whoever is on call: what the API does, and why it is slow or wrong."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.panels import AnyPanel, Bound, Query, number, series


def dashboard() -> Dashboard:
    """Requests first, then what they need, then what runs them."""
    return board(
        "shop-api",
        "Shop recommender: API",
        "Requests, their errors and times, where the time goes, and what runs them.",
        [(8, _requests()), (8, _answers()), (8, _needs()), (8, _environments()), (6, _burn_rates())],
        since="now-6h",
        variants=True,
    )


def _requests() -> list[tuple[int, AnyPanel]]:
    by_route = series(
        "Requests by route",
        "Requests each second; `other` is what is not counted apart: health, operators' routes, unknown "
        "paths.",
        "reqps",
        Query(
            'sum by (route) (rate(shop_api_requests_total{stage="$stage"}[$__rate_interval]))', "{{route}}"
        ),
        stacked=True,
    )
    errors = series(
        "Errors by route",
        "Answers each second that are 4xx (the caller's) or 5xx (ours).",
        "reqps",
        Query(
            "sum by (route, status) (rate(shop_api_requests_total"
            '{stage="$stage", status=~"4xx|5xx"}[$__rate_interval]))',
            "{{status}} {{route}}",
        ),
    )
    buckets = 'sum by (le) (rate(shop_api_request_duration_seconds_bucket{stage="$stage"}[$__rate_interval]))'
    latency = series(
        "Latency",
        "How long half, 95 % and 99 % of the answers took in the function at most, without its start and "
        "without "
        "API Gateway.",
        "s",
        *(Query(f"histogram_quantile({share}, {buckets})", name) for share, name in QUANTILES),
        bounds=[Bound(0.1, "red")],
    )
    return [(8, by_route), (8, errors), (8, latency)]


QUANTILES = ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))


def _answers() -> list[tuple[int, AnyPanel]]:
    by_source = series(
        "Answers by source",
        "Answers with recommendations each second, by what was known of who asked.",
        "ops",
        Query(
            'sum by (source) (rate(shop_api_recommendations_total{stage="$stage"}[$__rate_interval]))',
            "{{source}}",
        ),
        stacked=True,
    )
    by_version = series(
        "Answers by version",
        "The same by variant and version: a switch and a rollback show here within seconds.",
        "ops",
        Query(
            "sum by (variant, version) (rate(shop_api_version_answers_total"
            '{stage="$stage", variant=~"$variant"}[$__rate_interval]))',
            "{{variant}}: {{version}}",
        ),
        stacked=True,
    )
    degraded = series(
        "Degraded answers",
        "Answers each second that had to do without the database.",
        "ops",
        Query('sum(rate(shop_api_degraded_total{stage="$stage"}[$__rate_interval]))', "degraded"),
        bounds=[Bound(0.01, "red")],
    )
    return [(8, by_source), (8, by_version), (8, degraded)]


def _needs() -> list[tuple[int, AnyPanel]]:
    seconds = 'sum(rate(shop_api_database_seconds_total{stage="$stage"}[$__rate_interval]))'
    calls = 'sum(rate(shop_api_database_calls_total{stage="$stage"}[$__rate_interval]))'
    requests = 'sum(rate(shop_api_requests_total{stage="$stage"}[$__rate_interval]))'
    time = series(
        "Database time per call",
        "How long Postgres took for one call, on average.",
        "s",
        Query(f"{seconds} / ({calls} > 0)", "a call"),
    )
    per_request = series(
        "Database calls per request",
        "One is what an answer takes; a category or another check takes more.",
        "none",
        Query(f"{calls} / ({requests} > 0)", "calls"),
    )
    events = series(
        "Posted events",
        "Events that were posted each second, accepted or rejected.",
        "ops",
        Query(
            'sum by (outcome) (rate(shop_api_events_total{stage="$stage"}[$__rate_interval]))', "{{outcome}}"
        ),
        stacked=True,
    )
    return [(8, time), (8, per_request), (8, events)]


def _environments() -> list[tuple[int, AnyPanel]]:
    number_of = series(
        "Environments that push",
        "Environments of the functions that have a group in the pushgateway: they, and those of the last "
        "15 minutes.",
        "none",
        Query('stage:push_groups:count{stage="$stage"}', "environments"),
        bounds=[Bound(1000, "red")],
    )
    starts = series(
        "Cold starts",
        "Environments that began to answer, each second.",
        "ops",
        Query('sum(rate(shop_api_cold_starts_total{stage="$stage"}[$__rate_interval]))', "starts"),
    )
    memory = series(
        "Memory",
        "What the processes of the environments hold: the largest, and on average.",
        "bytes",
        Query('max(shop_api_memory_bytes{stage="$stage"})', "largest"),
        Query('avg(shop_api_memory_bytes{stage="$stage"})', "average"),
    )
    cpu = series(
        "CPU per request",
        "Processor time that the environments took, by the requests that they answered.",
        "s",
        Query(
            'sum(rate(shop_api_cpu_seconds_total{stage="$stage"}[$__rate_interval]))'
            ' / (sum(rate(shop_api_requests_total{stage="$stage"}[$__rate_interval])) > 0)',
            "a request",
        ),
    )
    return [(6, number_of), (6, starts), (6, memory), (6, cpu)]


def _burn_rates() -> list[tuple[int, AnyPanel]]:
    pace = series(
        "Pace at which errors are used up",
        "1 uses up in 30 days what may go wrong in 30 days; from 14.4 on, over an hour, somebody is woken.",
        "none",
        Query(
            'slo:sli_error:ratio_rate1h{stage="$stage", slo!~"personal|freshness"}'
            " / on (slo) group_left () slo:error_budget:ratio",
            "{{slo}}",
        ),
        bounds=[Bound(14.4, "red")],
    )
    age = number(
        "Age of what is answered with",
        "How long ago the events end that the version knows which some environment answered with last: "
        "the oldest.",
        "s",
        Query('time() - min(shop_api_version_as_of_timestamp_seconds{stage="$stage"})', "oldest"),
        bounds=[Bound(1.5 * 86400, "orange"), Bound(3 * 86400, "red")],
    )
    return [(18, pace), (6, age)]
