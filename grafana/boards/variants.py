"""For the data scientist: whether the new model sells more. Versions and variants side by side."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from contract.metrics import ANSWER_OUTCOMES
from grafana.board import board
from grafana.panels import AnyPanel, Bound, Query, bars, number, rows, series

CHOSEN = 'stage="$stage", variant=~"$variant", window="$window"'
TITLES = {
    "clicked": "Answers that were clicked",
    "carted": "… that led to a cart",
    "bought": "… to a purchase",
}


def dashboard() -> Dashboard:
    """Shares with their intervals, what they are shares of, and whether they can be trusted."""
    shares = [(8, _share(outcome)) for outcome in ANSWER_OUTCOMES]
    courses = [(8, _course(outcome)) for outcome in ANSWER_OUTCOMES]
    return board(
        "shop-variants",
        "Shop recommender: Variants",
        "What visitors did with the answers of each version and variant, side by side, with 95 % "
        "intervals: where "
        "two intervals don't touch, the difference is no chance.",
        [(8, shares), (8, courses), (8, _answers()), (7, _trust())],
        since="now-7d",
        variants=True,
        window=True,
    )


def _share(outcome: str) -> AnyPanel:
    chosen = f'{CHOSEN}, outcome="{outcome}"'
    return rows(
        TITLES[outcome],
        f"Share of the answers of the chosen days that were {outcome}, and the ends of its 95 % interval.",
        "percentunit",
        {"variant": "Variant", "version": "Version"},
        Query(f"shop:answer_rate:low{{{chosen}}}", "Low"),
        Query(f"shop:answer_rate:ratio{{{chosen}}}", "Share"),
        Query(f"shop:answer_rate:high{{{chosen}}}", "High"),
    )


def _course(outcome: str) -> AnyPanel:
    chosen = f'{CHOSEN}, outcome="{outcome}"'
    return series(
        f"{TITLES[outcome]}, as it went",
        f"The same share as time went on, with its interval: answers that were {outcome}.",
        "percentunit",
        Query(f"shop:answer_rate:ratio{{{chosen}}}", "{{variant}}: {{version}}"),
        Query(f"shop:answer_rate:low{{{chosen}}}", "{{variant}}: {{version}}, low"),
        Query(f"shop:answer_rate:high{{{chosen}}}", "{{variant}}: {{version}}, high"),
    )


def _answers() -> list[tuple[int, AnyPanel]]:
    counted = bars(
        "Answers",
        "Answers with each version in the chosen days: what the shares above are shares of.",
        "short",
        Query(f"shop:answers:increase{{{CHOSEN}}}", "{{variant}}: {{version}}"),
    )
    rate = series(
        "Answers each second",
        "Answers with each version: whether visitors are divided as they should be.",
        "ops",
        Query(
            "sum by (variant, version) (rate(shop_api_version_answers_total"
            '{stage="$stage", variant=~"$variant"}[$__rate_interval]))',
            "{{variant}}: {{version}}",
        ),
        stacked=True,
    )
    live = rows(
        "Versions that answer",
        "Since when each variant answers with its version, and the training that made it.",
        "dateTimeAsIso",
        {"variant": "Variant", "version": "Version", "mlflow_run": "Run in MLflow"},
        Query(
            "1000 * max by (variant, version, mlflow_run) "
            '(shop_version_live_since_timestamp_seconds{stage="$stage", variant=~"$variant"})',
            "Since",
        ),
        run="mlflow_run",
    )
    return [(8, counted), (8, rate), (8, live)]


def _trust() -> list[tuple[int, AnyPanel]]:
    began = bars(
        "Began with a recommendation",
        "Share of carts and purchases whose item the visitor had clicked among recommendations.",
        "percentunit",
        Query('shop:began_with_recommendation:ratio{stage="$stage", window="$window"}', "{{event_type}}"),
    )
    events = bars(
        "Carts and purchases",
        "How many there were, by what they began with.",
        "short",
        Query(
            'max by (event_type, began_with) (shop_attribution_events{stage="$stage", window="$window"})',
            "{{event_type}}: {{began_with}}",
        ),
    )
    ids = bars(
        "Ids in events",
        "Posted events that name an answer, by what its id is: only the visitor's own counts.",
        "short",
        Query('max by (verdict) (shop_attribution_ids{stage="$stage", window="$window"})', "{{verdict}}"),
    )
    until = number(
        "Attributed until",
        "How long ago the events end that are attributed: whatever is shown here is that old.",
        "s",
        Query('time() - max(shop_attribution_until_timestamp_seconds{stage="$stage"})', "ago"),
        bounds=[Bound(3 * 3600, "red")],
    )
    return [(6, began), (6, events), (6, ids), (6, until)]
