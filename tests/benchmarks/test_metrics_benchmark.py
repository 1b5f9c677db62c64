"""The benchmark of metrics on little: each figure is there, and is of what it says."""

import math

import pytest
from twin.monitoring import PUSHGATEWAY, find_program

from benchmarks import attribution, metrics
from benchmarks.attribution import Took, exponent, users_of
from benchmarks.bars import Bar

pytestmark = pytest.mark.skipif(
    find_program(PUSHGATEWAY) is None, reason="there is no pushgateway on this machine"
)


@pytest.fixture(scope="module")
def bars() -> dict[str, Bar]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "SIZES", (5_000, 20_000))
        patch.setattr(metrics, "TURNS", 2)
        patch.setattr(metrics, "write", lambda *_: None)
        return {bar.name: bar for bar in metrics.run()}


def test_every_figure_is_there_and_finite(bars: dict[str, Bar]) -> None:
    assert {name: bar.limit for name, bar in bars.items() if bar.limit is not None} == {
        "attribution_vs_events": 1.1,
        "attribution_later_hour": 0.05,
        "series_per_environment": 60,
        "push_share_of_p50": 0.05,
    }
    assert all(math.isfinite(bar.value) for bar in bars.values())


def test_an_environment_that_was_asked_everything_has_no_more_series_than_it_may(
    bars: dict[str, Bar],
) -> None:
    assert 50 < bars["series_per_environment"].value <= 60


def test_the_exponent_is_the_slope_of_logarithms() -> None:
    took = {1_000: Took(1, 1.0, 0), 10_000: Took(1, 20.0, 0)}
    assert exponent(took) == pytest.approx(math.log10(20))


@pytest.mark.parametrize("events", attribution.SIZES)
def test_what_visitors_do_is_not_the_same_few_visitors(events: int) -> None:
    assert math.gcd(users_of(events), attribution.ANSWERED_EVERY) == 1
