"""Whether a version serves worse, by a real Prometheus over an hour of traffic that was made up."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tasks.watch import Limits, PrometheusError, WatchError, judge
from twin.errors import MissingProgramError
from twin.monitoring import running_prometheus

LIMITS = Limits(min_requests=500, max_more_errors=0.01, max_more_fallback=0.1)
STEP = 15
BEGIN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=20)
# Requests, 5xx, answers and those that knew nothing, each a second, in one half hour after the other.
HALVES = (
    (10.0, 0.01, 10.0, 2.0),  # 0:00 as always
    (10.0, 0.02, 10.0, 2.5),  # 0:30 not worse
    (10.0, 0.50, 10.0, 2.0),  # 1:00 errors
    (10.0, 0.50, 10.0, 2.0),  # 1:30 as before, which is what counts
    (10.0, 0.50, 10.0, 9.0),  # 2:00 nobody is known any more
    (0.1, 0.1, 0.1, 0.1),  # 2:30 hardly anybody comes
)


def openmetrics() -> str:
    """Cumulative counters of one environment, a sample every STEP seconds."""
    series = {
        'shop_api_requests_total{route="/v1/popular",status="2xx"}': lambda half: half[0] - half[1],
        'shop_api_requests_total{route="/v1/popular",status="5xx"}': lambda half: half[1],
        'shop_api_recommendations_total{source="personalized"}': lambda half: half[2] - half[3],
        'shop_api_recommendations_total{source="popular"}': lambda half: half[3],
    }
    lines, family = [], ""
    for name, rate in series.items():
        if family != (family := name.partition("{")[0]):
            lines.append(f"# TYPE {family.removesuffix('_total')} counter")
        total, moment = 0.0, BEGIN.timestamp()
        for half in HALVES:
            for _ in range(1800 // STEP):
                lines.append(f"{name} {total:.6f} {moment:.0f}")
                total += rate(half) * STEP
                moment += STEP
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "traffic").write_text(openmetrics())
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "traffic", folder / "data"],
        check=True,
        capture_output=True,
    )
    try:
        with running_prometheus(
            pushgateway_url="http://127.0.0.1:9", folder=folder, log=folder / "log"
        ) as url:
            yield url
    except MissingProgramError as error:
        pytest.skip(str(error))


def at(half: int) -> datetime:
    return BEGIN + timedelta(minutes=30 * half)


def test_a_version_that_serves_as_well_as_the_one_before_stays(prometheus: str) -> None:
    figures = judge(prometheus, live_since=at(1), minutes=30, limits=LIMITS)
    assert figures["verdict"] == "not worse"
    assert figures["requests"] == pytest.approx(18_000, rel=0.02)
    assert figures["error_share"] == pytest.approx(0.002, rel=0.05)
    assert figures["fallback_share_before"] == pytest.approx(0.2, rel=0.05)


def test_more_errors_are_worse(prometheus: str) -> None:
    with pytest.raises(
        WatchError, match=r"the share of errors went from 0.20% to 5.0\d%, at most 1.00% more"
    ):
        judge(prometheus, live_since=at(2), minutes=30, limits=LIMITS)


def test_errors_that_were_there_before_are_not_the_new_version_s(prometheus: str) -> None:
    assert judge(prometheus, live_since=at(3), minutes=30, limits=LIMITS)["verdict"] == "not worse"


def test_answers_that_know_nothing_of_the_visitor_are_worse(prometheus: str) -> None:
    with pytest.raises(WatchError, match=r"^the share of fallback went from 20.\d+% to 9\d.\d+%"):
        judge(prometheus, live_since=at(4), minutes=30, limits=LIMITS)


def test_without_traffic_there_is_no_verdict(prometheus: str) -> None:
    assert (
        judge(prometheus, live_since=at(5), minutes=30, limits=LIMITS)["verdict"] == "none: too few requests"
    )
    assert judge(prometheus, live_since=at(-9), minutes=30, limits=LIMITS)["requests"] == 0


def test_a_prometheus_that_is_down_is_no_verdict_but_named() -> None:
    with pytest.raises(PrometheusError, match="Prometheus at http://127.0.0.1:9"):
        judge("http://127.0.0.1:9", live_since=at(1), minutes=30, limits=LIMITS)
