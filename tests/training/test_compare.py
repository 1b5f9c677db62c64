"""Two runs side by side, out of a real MLflow."""

import json
import re
from collections.abc import Iterator

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from tests.training.shops import DAY, START, interactions, random_shop
from training.compare import compare, find_run, main
from training.errors import BadInputError
from training.evaluation import evaluate
from training.evaluation_rows import read_rows, rows_table
from training.interactions import Interactions
from training.judged import Evaluation
from training.recipe import fit_served
from training.settings import Environment, Hyperparameters
from training.split import Window
from training.tracking import log_parameters, log_rows, tracked_run

SETTINGS = Hyperparameters(als_factors=4, als_iterations=2, threads=1)
WINDOWS = (Window(START + 30 * DAY, START + 40 * DAY), Window(START + 20 * DAY, START + 30 * DAY))
MODELS = ("served", "popular")


@pytest.fixture(scope="module")
def events() -> Interactions:
    return interactions(random_shop(1, users=120, events=4000))


def judged(events: Interactions, windows: tuple[Window, ...] = WINDOWS, **settings: object) -> Evaluation:
    changed = SETTINGS.model_copy(update=settings)
    return evaluate(
        windows,
        events=events,
        served_at=lambda window: fit_served(events.before(window.start), now=window.start, settings=changed),
        max_users=None,
        seed=0,
        models=MODELS,
    )


@pytest.fixture(scope="module")
def evaluation(events: Interactions) -> Evaluation:
    return judged(events)


@pytest.fixture(scope="module")
def other(events: Interactions) -> Evaluation:
    return judged(events, without_sources=("own",))


@pytest.fixture
def environment(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "true")  # so that it is as before afterwards
    return Environment(
        recommendations_uri="unused", mlflow_tracking_uri=mlflow_server, mlflow_experiment="compare"
    )


def recorded(
    environment: Environment,
    evaluation: Evaluation,
    *,
    dataset: str = "abc",
    windows: tuple[Window, ...] = WINDOWS,
    settings: Hyperparameters = SETTINGS,
) -> str:
    with tracked_run(environment) as run:
        log_parameters(settings, tags={"dataset_fingerprint": dataset, "as_of": "2025-01-01T00:00:00Z"})
        log_rows(evaluation, windows)
    return run.run_id


def test_rows_come_back_as_they_were(evaluation: Evaluation) -> None:
    parts = read_rows(rows_table(evaluation, WINDOWS))
    assert len(parts) == 2 * 2 * 2
    for (protocol, model, kind), rows in parts.items():
        of_model = dict(evaluation.judged)[protocol][model]  # type: ignore[index]
        expected = of_model.rows if kind == "served" else of_model.discovery
        assert sorted(rows.users.tolist()) == sorted(expected.users.tolist())
        for metric, values in expected.values.items():
            assert rows.values[metric].mean() == pytest.approx(values.mean())


def test_an_evaluation_of_nothing_has_no_rows() -> None:
    assert read_rows(rows_table(Evaluation.of_nothing(), ())) == {}


def test_runs_on_the_same_events_are_compared_user_by_user(
    environment: Environment, evaluation: Evaluation, other: Evaluation
) -> None:
    first = recorded(environment, evaluation)
    second = recorded(environment, other, settings=SETTINGS.model_copy(update={"without_sources": ("own",)}))
    comparison = compare(MlflowClient(), first, second)
    assert comparison.settings == {"without_sources": ("", "own")}
    assert len(comparison.metrics) == 2 * 2 * 2 * 5
    assert all(each.paired for each in comparison.metrics)
    (told,) = [
        each
        for each in comparison.metrics
        if (each.protocol, each.model, each.kind, each.metric) == ("batch", "served", "served", "recall@10")
    ]
    ours, theirs = (
        each.judged["batch"]["served"].rows.values["recall@10"].mean() for each in (other, evaluation)
    )
    assert told.difference.value == pytest.approx(ours - theirs)
    assert told.difference.value < 0
    popular = [each for each in comparison.metrics if each.model == "popular"]
    assert {(each.difference.value, each.difference.low, each.difference.high) for each in popular} == {
        (0.0, 0.0, 0.0)
    }


def test_runs_on_other_events_are_two_samples(environment: Environment, evaluation: Evaluation) -> None:
    first = recorded(environment, evaluation)
    comparison = compare(MlflowClient(), first, recorded(environment, evaluation, dataset="def"))
    assert not any(each.paired for each in comparison.metrics)
    assert "learnt from different events" in comparison.notes[0]
    served = [each for each in comparison.metrics if each.model == "served" and each.metric == "recall@10"]
    assert all(each.difference.low < 0 < each.difference.high for each in served)


def test_other_windows_of_the_same_events_are_two_samples(
    environment: Environment, events: Interactions, evaluation: Evaluation
) -> None:
    one_window = recorded(environment, judged(events, WINDOWS[:1]), windows=WINDOWS[:1])
    comparison = compare(MlflowClient(), recorded(environment, evaluation), one_window)
    assert "other windows" in comparison.notes[0]
    assert comparison.metrics[0].users[0] > comparison.metrics[0].users[1]


def test_the_command_tells_what_differs(
    environment: Environment,
    evaluation: Evaluation,
    other: Evaluation,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = environment.mlflow_tracking_uri
    first, second = recorded(environment, evaluation), recorded(environment, other)
    assert main([first, second, "--mlflow", uri]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "all settings are equal" in out
    (line,) = re.findall(r"batch +served +recall@10 .*", out)
    assert re.search(r" 0\.\d{4} +0\.\d{4} +-0\.\d{4} \([+-]\S+ to [+-]\S+\) +no difference seen$", line)
    assert "paired" in out
    assert main([first, second, "--mlflow", uri, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs"] == [first, second]
    assert np.isfinite([each["difference"]["value"] for each in document["metrics"]]).all()


def test_a_run_is_found_by_what_people_have_of_it(environment: Environment, evaluation: Evaluation) -> None:
    run_id = recorded(environment, evaluation)
    client = MlflowClient(environment.mlflow_tracking_uri)
    for name in (run_id, run_id[:10], f"20250101T000000Z-{run_id[:8]}"):
        assert find_run(client, name).info.run_id == run_id


def test_what_is_no_run_is_told_with_the_latest_ones(
    environment: Environment, evaluation: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = recorded(environment, evaluation)
    assert main([run_id, "champignon", "--mlflow", environment.mlflow_tracking_uri]) == 1
    err = capsys.readouterr().err
    assert "'champignon' is no run, no version and no alias" in err
    assert run_id in err


def test_a_run_without_an_evaluation_is_told(environment: Environment, evaluation: Evaluation) -> None:
    with tracked_run(environment) as empty:
        pass
    with pytest.raises(BadInputError, match=f"run {empty.run_id} .FINISHED. has no evaluation_rows"):
        compare(MlflowClient(), recorded(environment, evaluation), empty.run_id)


def test_an_unknown_model_is_told(
    environment: Environment, evaluation: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = recorded(environment, evaluation)
    arguments = [run_id, run_id, "--mlflow", environment.mlflow_tracking_uri, "--model", "serve"]
    assert main(arguments) == 1
    assert "--model serve: expected one of popular, served" in capsys.readouterr().err


def test_no_server_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["a", "b", "--mlflow", "http://127.0.0.1:9"]) == 1
    assert "MLflow at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def _no_run_is_left() -> Iterator[None]:
    yield
    assert mlflow.active_run() is None
