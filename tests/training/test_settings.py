"""Hyperparameters from defaults, files, command lines and SageMaker's strings."""

import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import BadInputError
from training.moments import format_moment, parse_moment
from training.settings import Environment, Hyperparameters, MlflowPlace, Tunable
from training.settings_listing import main, toml_of
from training.settings_sources import Source, merged, read_settings_file
from training.tuning.space import tunables


def test_strings_become_what_the_fields_are() -> None:
    settings = Hyperparameters.from_strings({"als_factors": "32", "evaluation_days": "7.5"})
    assert (settings.als_factors, settings.evaluation_days) == (32, 7.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"als_factor": "32"}, "hyperparameters: als_factor is unknown; the nearest is als_factors"),
        ({"als_factors": "many"}, "als_factors=many: expected a valid integer"),
        ({"als_factors": "0"}, "als_factors=0: expected greater than or equal to 1"),
        ({"als_factors": True}, "als_factors=True: expected a number or a text, not a truth value"),
        ({"als_alpha": "inf"}, "als_alpha=inf: expected a finite number"),
        ({"seed": "-1"}, "seed=-1: expected greater than or equal to 0"),
        ({"as_of": "yesterday"}, "as_of=yesterday: 'yesterday' is no moment; expected ISO 8601"),
        ({"targets": ["a,b"]}, "expected names without commas or spaces around them, found 'a,b'"),
        (
            {"ranker": "boostd"},
            "ranker=boostd: expected one of auto, linear, boosted; the nearest is boosted",
        ),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError) as error:
        Hyperparameters.from_strings(values)
    assert message in str(error.value)


def test_all_problems_are_told_at_once_each_with_its_place() -> None:
    with pytest.raises(BadInputError) as error:
        merged(
            [
                Source("tuned.toml", {"als_factors": 0, "ranker_dept": 3, "als_alpha": -1}),
                Source("--set", {"ranker": "liner", "als_alpha": "2"}),
            ]
        )
    assert sorted(str(error.value).split("; ", 5)) == sorted(
        [
            "tuned.toml: als_factors=0: expected greater than or equal to 1",
            "tuned.toml: ranker_dept is unknown",
            "the nearest is ranker_depth",
            "--set: ranker=liner: expected one of auto, linear, boosted",
            "the nearest is linear",
        ]
    )


def test_a_missing_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECOMMENDATIONS_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(BadInputError, match="RECOMMENDATIONS_URI"):
        Environment.read()


def test_an_empty_tracking_uri_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert MlflowPlace().mlflow_tracking_uri is None


def written(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_takes_native_values_and_strings_alike(tmp_path: Path) -> None:
    native = 'als_factors = 32\nals_alpha = 2\ntargets = ["add_to_cart", "wish"]\nas_of = 2025-06-01\n'
    as_text = 'als_factors = "32"\nals_alpha = "2.0"\ntargets = "add_to_cart, wish"\nas_of = "2025-06-01"\n'
    one, other = (merged([read_settings_file(written(tmp_path, text))]) for text in (native, as_text))
    assert one == other
    assert one.values.targets == ("add_to_cart", "wish")
    assert one.place("als_factors") == str(tmp_path / "some.toml")
    assert one.place("als_iterations") == "default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "als_factors = 3\nals_alpha 2\n",
            "is not TOML: Expected '=' after a key in a key/value pair (at line 2",
        ),
        ("als_factors = 3\nals_alpha = [1,\n\n", "(at line 2, where the file ends)"),
        ("als_factors = 3\nals_factors = 4\n", "is not TOML: Cannot overwrite a value (at line 2"),
        ("[als]\nfactors = 3\n", "als is a table; expected lines of name = value"),
        ("als.factors = 3\n", "als is a table; expected lines of name = value"),
        ("[[als]]\nfactors = 3\n", "als is a table; expected lines of name = value"),
        ("als_factors = 0\n", "some.toml: als_factors=0: expected greater than or equal to 1"),
        ("als_factors = 1.5\n", "some.toml: als_factors=1.5: expected a valid integer"),
        ("without_sources = [1]\n", "without_sources=1: expected a valid string"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_was_expected(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--settings", str(written(tmp_path, text))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'some.toml'}: ")
    assert message in line


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.toml: cannot be read: No such file"):
        read_settings_file(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b"seed = 1\ntargets = '\xe9'\n")
    with pytest.raises(BadInputError, match=r"latin\.toml: is not TOML: line 2 is not UTF-8"):
        read_settings_file(path)


def test_the_command_line_wins_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(written(tmp_path, "als_factors = 32\nals_iterations = 3\n"))
    assert main(["--settings", file, "--set", "als_factors=16", "--set", "without_sources="]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["als_factors"][1:3] == ["16", "--set"]
    assert rows["als_iterations"][1:3] == ["3", file]
    assert rows["without_sources"][1:3] == ["–", "--set"]
    assert rows["ranker"][1:3] == ["auto", "default"]
    assert set(Hyperparameters.model_fields) < set(rows)


def test_the_program_tells_every_docstring() -> None:
    """As a program the module is read under another name, which must not lose them."""
    told = subprocess.run(
        [sys.executable, "-m", "training.settings"], capture_output=True, text=True, check=True
    ).stdout
    for field in Hyperparameters.model_fields.values():
        assert " ".join((field.description or "missing").split()) in told


def test_what_isnt_a_pair_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--set", "als_factors"])
    assert "argument --set: 'als_factors' isn't NAME=VALUE" in capsys.readouterr().err


COUNTS = st.integers(1, 2**63 - 1)
SHARES = st.floats(0, 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = TEXTS.map(lambda text: text.replace(",", "").strip()).filter(bool)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "as_of": st.none() | st.integers(0, 2**41).map(format_moment),
    "seed": st.integers(0, 2**32 - 1),
    "targets": st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    "evaluation_days": st.floats(0, exclude_min=True, allow_infinity=False),
    "served_version": st.none() | TEXTS.filter(bool),
    "als_regularization": st.floats(0, allow_infinity=False),
    "als_alpha": st.floats(0, exclude_min=True, allow_infinity=False),
    "without_sources": st.lists(NAMES, max_size=3).map(tuple),
    "ranker": st.sampled_from(["auto", "linear", "boosted"]),
    "ranker_depth": st.integers(1, 16),
    "ranker_learning_rate": st.floats(0, 1, exclude_min=True),
    "threads": st.integers(0, 2**63 - 1),
}


def _values(name: str) -> st.SearchStrategy[Any]:
    is_share = Hyperparameters.model_fields[name].annotation is float
    return SPECIAL.get(name, SHARES if is_share else COUNTS)


VALID = st.fixed_dictionaries(
    {}, optional={name: _values(name) for name in Hyperparameters.model_fields}
).map(lambda values: Hyperparameters(**values))


@given(VALID)
def test_any_settings_come_back_from_toml_and_from_strings(settings: Hyperparameters) -> None:
    read = merged([Source("some.toml", tomllib.loads(toml_of(settings)))]).values
    assert read == settings
    strings = json.loads(json.dumps(read.strings()))
    assert all(isinstance(text, str) for text in strings.values())
    assert Hyperparameters.from_strings(strings) == settings


@pytest.mark.parametrize("form", ["toml", "json"])
def test_what_the_program_prints_is_what_it_reads(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--format", form, "--set", "als_factors=16", "--set", "targets=a,b"]) == 0
    text = capsys.readouterr().out
    expected = Hyperparameters(als_factors=16, targets=("a", "b"))
    if form == "json":
        assert Hyperparameters.from_strings(json.loads(text)) == expected
    else:
        assert merged([read_settings_file(written(tmp_path, text))]).values == expected


@pytest.mark.parametrize("name", tunables())
def test_a_tuned_range_is_valid_and_holds_the_default(name: str) -> None:
    (mark,) = [each for each in Hyperparameters.model_fields[name].metadata if isinstance(each, Tunable)]
    default = Hyperparameters.model_fields[name].default
    assert mark.low <= default <= mark.high
    assert mark.low < mark.high
    assert not mark.log or mark.low > 0
    for bound in (mark.low, mark.high):
        assert math.isclose(getattr(Hyperparameters.from_strings({name: str(bound)}), name), bound)


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
