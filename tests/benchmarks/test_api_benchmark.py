import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from twin.monitoring import PUSHGATEWAY, find_program

from benchmarks import __main__ as benchmarks
from benchmarks.api import run as api
from benchmarks.api.archive import compressed_mb
from benchmarks.api.run import Asked, DisagreementError, Measured, bars, measure
from benchmarks.api.shop import PERSONAL_ITEMS, RECENT_EVENTS, SIMILAR_ITEMS, ShopSize, fill
from tests.lambdas.callers import proxy_event
from tests.lambdas.versions import load_first
from training.storage import Folder

ROOT = Path(__file__).parents[2]
SHORT = Asked(shop=ShopSize(visitors=20, items=200), turns=2, requests=3, warm_up=5, starts=1)

needs_pushgateway = pytest.mark.skipif(
    find_program(PUSHGATEWAY) is None, reason="there is no pushgateway on this machine"
)


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(SHORT)


@needs_pushgateway
def test_bare_naive_and_ours_answer_the_same_to_the_same_visitors(measured: Measured) -> None:
    assert measured.answers.keys() == api.HANDLERS.keys()
    ours, bare, naive = (measured.answers[name] for name in (api.OURS, api.BARE, api.NAIVE))
    assert len(ours) == SHORT.warm_up
    assert len({document["items"][0]["item_id"] for document in ours}) > 1, "visitors differ"
    for one, other, third in zip(ours, bare, naive, strict=True):
        assert one["source"] == "personalized"
        assert len(one["items"]) == api.LIMIT
        assert [item["item_id"] for item in one["items"]] == [item["item_id"] for item in other["items"]]
        assert [item["item_id"] for item in one["items"]] == [item["item_id"] for item in third["items"]]
        scores = [item["score"] for item in other["items"]]
        assert [item["score"] for item in one["items"]] == pytest.approx(scores, rel=1e-3)


@needs_pushgateway
def test_what_the_visitors_just_did_is_in_the_answers(measured: Measured) -> None:
    sources = {item["source"] for document in measured.answers[api.OURS] for item in document["items"]}
    assert {"own", "similar"} <= sources


@needs_pushgateway
def test_every_figure_is_there_and_finite(measured: Measured) -> None:
    assert {len(times) for times in measured.warm.values()} == {SHORT.turns * SHORT.requests}
    assert {name: len(times) for name, times in measured.cold_cpu.items()} == {
        "ours": 1,
        "bare": 1,
        "naive": 1,
    }
    found = bars(measured)
    assert all(math.isfinite(bar.value) for bar in found)
    assert [bar.name for bar in found if bar.limit is not None] == [
        "warm_p50_vs_bare",
        "warm_p99_vs_bare",
        "warm_p50_vs_naive",
        "cold_cpu_vs_naive",
        "push_share_of_p50",
    ]


def test_ratios_are_of_medians_and_of_the_slowest_hundredth() -> None:
    usual = [0.001] * 98 + [0.004, 0.004]
    measured = Measured(
        warm={
            api.OURS: usual,
            api.BARE: [0.001] * 100,
            api.NAIVE: [0.005] * 100,
            api.UNPUSHED: [0.002] * 100,
            api.SILENT: [0.001] * 100,
            api.PUSHING: [0.004] * 100,
        },
        cold_cpu={api.OURS: [0.3, 0.2, 9.0], api.NAIVE: [0.6], api.BARE: [0.1]},
        answers={},
    )
    found = {bar.name: bar.value for bar in bars(measured)}
    assert found["warm_p50_vs_bare"] == 1
    assert found["warm_p99_vs_bare"] == pytest.approx(
        statistics.quantiles(usual, n=100, method="inclusive")[98] / 0.001
    )
    assert found["warm_p99_vs_bare"] > 3
    assert found["warm_p50_vs_naive"] == 5
    assert found["cold_cpu_vs_naive"] == 0.5
    assert found["push_ms"] == pytest.approx(3)
    assert found["push_share_of_p50"] == pytest.approx(0.003 / 15)


def test_handlers_that_disagree_are_not_compared() -> None:
    document = {"model_version": "v", "source": "popular", "items": []}
    same = {api.OURS: [document], api.BARE: [dict(document)]}
    api._check_same(same)
    with pytest.raises(DisagreementError, match="bare"):
        api._check_same({**same, api.BARE: [{**document, "model_version": "other"}]})


def test_the_shop_is_as_large_as_it_says(database: str, tmp_path: Path) -> None:
    visitors = fill(database, Folder(tmp_path), SHORT.shop)
    with psycopg.connect(database) as connection:
        lengths = dict(
            connection.execute(
                "SELECT kind, min(cardinality(item_ids)) FROM recommendations"
                " WHERE cardinality(ARRAY(SELECT DISTINCT unnest(item_ids))) = cardinality(item_ids)"
                " GROUP BY kind"
            ).fetchall()
        )
        events = connection.execute("SELECT count(*), count(DISTINCT user_id) FROM events").fetchone()
    assert (lengths["personal"], lengths["similar"]) == (PERSONAL_ITEMS, SIMILAR_ITEMS)
    assert events == (RECENT_EVENTS * len(visitors), len(visitors))


def test_an_archive_weighs_what_its_files_do_compressed(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/noise").write_bytes(os.urandom(200_000))
    (tmp_path / "package/zeros").write_bytes(bytes(1_000_000))
    assert compressed_mb(tmp_path) == pytest.approx(0.2, rel=0.05)


def test_importing_the_handler_and_answering_stays_light(database: str) -> None:
    load_first(database)
    event = json.dumps(proxy_event("GET", "/v1/users/known/recommendations"))
    program = (
        "import json, sys, lambdas.recommendations_api.handler as function\n"
        "answer = function.handler(json.loads(sys.argv[1]), None)\n"
        "print(answer['statusCode'], [n for n in ('pandas', 'numpy', 'boto3') if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, event],
        cwd=ROOT,
        env={
            "PATH": "",
            "DATABASE_URL": database,
            "DATABASE_TIMEOUT_MS": "10000",
            "AUTHORIZATION": "none",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout.splitlines()[-1] == "200 []"


def test_it_runs_only_when_named() -> None:
    assert "api" in benchmarks.WHEN_NAMED
    assert "api" not in benchmarks.BENCHMARKS
