import pytest

from training.errors import BadInputError
from training.moments import format_moment, parse_moment
from training.settings import Environment, Hyperparameters


def test_strings_become_what_the_fields_are() -> None:
    settings = Hyperparameters.from_strings({"als_factors": "32", "evaluation_days": "7.5"})
    assert (settings.als_factors, settings.evaluation_days) == (32, 7.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"als_factor": "32"}, "als_factor is unknown; the nearest is als_factors"),
        ({"als_factors": "many"}, "als_factors='many': Input should be a valid integer"),
        ({"als_factors": "0"}, "als_factors='0': Input should be greater than or equal to 1"),
        ({"as_of": "yesterday"}, "'yesterday' is no moment"),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, str], message: str) -> None:
    with pytest.raises(BadInputError, match=message.replace("(", r"\(")):
        Hyperparameters.from_strings(values)


def test_a_missing_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECOMMENDATIONS_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(BadInputError, match="RECOMMENDATIONS_URI"):
        Environment.read()


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2015-09-18T02:51:41Z", 1_442_544_701_000),
        ("2015-09-18T02:51:41", 1_442_544_701_000),
        ("2015-09-18T04:51:41.250+02:00", 1_442_544_701_250),
    ],
)
def test_moments_are_read_as_utc_unless_they_say_otherwise(text: str, milliseconds: int) -> None:
    assert parse_moment(text) == milliseconds
    assert parse_moment(format_moment(milliseconds)) == milliseconds
