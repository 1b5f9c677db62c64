"""The search for settings: what it may see, what it goes on from, and that luck is not taken for merit."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, events_table, interactions, random_shop
from training import backtest, tune
from training.evaluation import evaluate
from training.interactions import Interactions
from training.judged import Evaluation
from training.settings import Hyperparameters
from training.settings_sources import merged, read_settings_file
from training.split import Window
from training.tuning.measurements import Judge, Measured, Memory
from training.tuning.objective import Comparison, Halves, scores
from training.tuning.periods import as_if_ended, split_periods
from training.tuning.search import Limits, Search
from training.tuning.space import search_space, tunables
from training.tuning.study import completed, ended
from training.tuning.verdict import judge

QUICK = (
    *("--days", "4", "--windows", "2", "--test-windows", "1", "--threads", "1"),
    *("--set", "ranker=linear", "--set", "fit_windows=1", "--set", "als_iterations=2"),
    *("--only", "als_factors,als_alpha,recent_items"),
)


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.parquet"
    pq.write_table(events_table(random_shop(3, users=120, items=40, events=3000)), path)
    return path


def command(shop: Path, folder: Path, *options: str) -> list[str]:
    files = ["--out", str(folder / "tuned.toml"), "--report", str(folder / "report.json")]
    return [str(shop), *files, *QUICK, *options]


@dataclass
class Tuned:
    """What a run left."""

    folder: Path
    document: dict[str, Any] = field(init=False)
    toml: str = field(init=False)

    def __post_init__(self) -> None:
        self.document = json.loads((self.folder / "report.json").read_text())
        self.toml = (self.folder / "tuned.toml").read_text()

    @property
    def trials(self) -> list[dict[str, Any]]:
        """What was tried and what it was worth, whatever time it took and whichever trials were given up."""
        return [
            {name: trial[name] for name in ("state", "score", "windows", "settings")}
            for trial in self.document["trials"]
        ]


def tuned(shop: Path, folder: Path, *options: str) -> Tuned:
    folder.mkdir(exist_ok=True)
    assert tune.main(command(shop, folder, *options)) == 0
    return Tuned(folder)


@pytest.fixture(scope="module")
def searched(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return tuned(shop, tmp_path_factory.mktemp("searched"), "--trials", "3")


def test_the_first_trial_is_the_start_and_the_others_are_within_their_ranges(searched: Tuned) -> None:
    first, *others = searched.document["trials"]
    assert first["settings"] == {"als_factors": 64, "als_alpha": 1.0, "recent_items": 20}
    assert first["score"] == pytest.approx(1)
    assert first["state"] == "complete"
    assert len({tuple(trial["settings"].items()) for trial in others}) == 2
    for trial in others:
        for name, value in trial["settings"].items():
            assert tunables()[name].low <= value <= tunables()[name].high


def test_the_windows_for_tuning_end_where_the_test_windows_begin(searched: Tuned) -> None:
    tuning, test = (searched.document[name] for name in ("tuning_windows", "test_windows"))
    assert [window["to"] for window in tuning] == [test[-1]["from"], tuning[0]["from"]]
    assert pd.Timestamp(test[0]["to"]) > pd.Timestamp(searched.document["events"]["to"])


def test_the_settings_are_read_by_a_backtest(searched: Tuned, shop: Path, tmp_path: Path) -> None:
    file = searched.folder / "tuned.toml"
    settings = merged([read_settings_file(file)])
    assert set(settings.places) == {
        "evaluation_days", "fit_windows", "ranker", "als_iterations",
        "als_factors", "als_alpha", "recent_items",
    }  # fmt: skip
    assert settings.values.ranker == "linear"
    out = tmp_path / "result.json"
    options = ["--protocol", "batch", "--windows", "1", "--threads", "1", "--settings", str(file)]
    assert backtest.main([str(shop), "--out", str(out), *options]) == 0
    document = json.loads(out.read_text())
    assert document["days"] == 4
    chosen = "tuned" if searched.document["verdict"]["taken"] else "start"
    found = searched.document["verdict"]["test"]["batch"]["recall@10"][chosen]
    assert document["models"]["served"]["recall@10"]["value"] == pytest.approx(found)


def test_the_file_and_the_report_say_the_same(searched: Tuned) -> None:
    verdict = searched.document["verdict"]
    comments = " ".join(line.removeprefix("#").strip() for line in searched.toml.splitlines())
    assert verdict["reason"][1:] in comments
    for protocol in ("batch", "session"):
        difference = verdict["test"][protocol]["ndcg@10"]["difference"]
        told = "{value:+.4f} ({low:+.4f} to {high:+.4f})".format(**difference)
        assert told in comments
    values = merged([read_settings_file(searched.folder / "tuned.toml")]).values
    for name, setting in searched.document["settings"].items():
        assert getattr(values, name) == setting["tuned"]
        assert setting["tuned"] == setting["best" if verdict["taken"] else "start"]


def poisoned(shop: Path, start: int, path: Path) -> Path:
    """From `start` on other people do other things to other items; first and last event stay in their place."""
    events = pd.read_parquet(shop).sort_values("timestamp")
    future = (events.timestamp >= start).to_numpy()
    random = np.random.default_rng(0)
    for name in ("user_id", "item_id", "event_type"):
        values = events[name].to_numpy(copy=True)
        values[future] = random.permutation(values[future])
        events[name] = values
    places = np.flatnonzero(future)[:-1]
    events.iloc[places[::3], events.columns.get_loc("event_type")] = "a_new_kind"
    events.iloc[places[1::3], events.columns.get_loc("user_id")] = "0-somebody-new"
    events.iloc[places[2::3], events.columns.get_loc("item_id")] = "0-something-new"
    events.to_parquet(path)
    return path


def test_what_happens_in_the_test_windows_changes_nothing_in_the_search(
    searched: Tuned, shop: Path, tmp_path: Path
) -> None:
    start = pd.Timestamp(searched.document["test_windows"][-1]["from"]).value // 1_000_000
    other = tuned(poisoned(shop, start, tmp_path / "other.parquet"), tmp_path / "other", "--trials", "3")
    assert other.document["test_windows"] == searched.document["test_windows"]
    assert other.trials == searched.trials
    before, after = (each.document["verdict"] for each in (searched, other))
    assert before["confirmation"] == after["confirmation"]
    assert before["test"] != after["test"]


def test_no_event_of_the_test_windows_reaches_the_search(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []

    def watched(windows: Sequence[Window], *, events: Interactions, **options: Any) -> Evaluation:
        given.append((windows[0].end, int(events.timestamps[-1])))
        return evaluate(windows, events=events, **options)

    monkeypatch.setattr("training.tuning.measurements.evaluate", watched)
    found = tuned(shop, tmp_path, "--trials", "2").document
    start = pd.Timestamp(found["test_windows"][-1]["from"]).value // 1_000_000
    searching = [last for end, last in given if end <= start]
    assert len(searching) == 4
    assert max(searching) < start
    assert all(last >= start for end, last in given if end > start)


def test_events_as_if_read_at_a_moment_know_nothing_later() -> None:
    rows = random_shop(1, users=20, items=10, events=300)
    rows += [("0-later", "0-later", "0-later", 39 * DAY + 7)]
    events = interactions(rows)
    cut = int(events.timestamps[len(events) // 2])
    early = [row for row in rows if row[3] < cut - int(events.timestamps[0]) + min(row[3] for row in rows)]
    expected, found = interactions(early), as_if_ended(events, cut)
    for name in ("user_ids", "item_ids", "users", "items", "event_types", "timestamps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.event_type_names == expected.event_type_names


def interrupt_before(monkeypatch: pytest.MonkeyPatch, measurement: int) -> None:
    """Send this process a real SIGTERM just before the n-th measurement is kept."""
    original = Memory.keep
    kept: list[Window] = []

    def keep(memory: Memory, settings: Hyperparameters, window: Window, measured: Measured) -> None:
        kept.append(window)
        if len(kept) == measurement:
            signal.raise_signal(signal.SIGTERM)
        original(memory, settings, window, measured)

    monkeypatch.setattr(Memory, "keep", keep)


@pytest.mark.parametrize("at", [2, 6])
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(
    at: int,
    searched: Tuned,
    shop: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_before(patch, at)
        assert tune.main(command(shop, tmp_path, "--trials", "3")) == 128 + signal.SIGTERM
    assert "interrupted; the same command goes on from" in capsys.readouterr().err
    assert not (tmp_path / "tuned.toml").exists()
    assert tuned(shop, tmp_path, "--trials", "3").trials == searched.trials
    assert (at < 5) != ("going on after" in capsys.readouterr().err)


def test_a_search_that_is_killed_goes_on_as_if_it_had_not_been(
    searched: Tuned, shop: Path, tmp_path: Path
) -> None:
    study = tmp_path / "tuned.toml.study"
    process = subprocess.Popen(
        [sys.executable, "-m", "training.tune", *command(shop, tmp_path, "--trials", "3")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while process.poll() is None and _measurements(study) < 3:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    assert tuned(shop, tmp_path, "--trials", "3").trials == searched.trials


def _measurements(study: Path) -> int:
    if not study.exists():
        return 0
    try:
        connection = sqlite3.connect(f"file:{study}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM shop_measurements").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return 0  # it is about to be made


def test_the_same_command_again_measures_nothing_anew(
    searched: Tuned, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr("training.tuning.measurements.evaluate", forbidden)
    again = tuned(shop, searched.folder, "--trials", "3")
    assert again.document == searched.document
    assert again.toml == searched.toml


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--days", "3"), "is a study of something else, of tuning windows"),
        (("--set", "als_regularization=0.5"), "of als_regularization 0.05 (now 0.5)"),
        (("--only", "als_factors"), "of ranges "),
        (("--max-users", "30"), "of users a window 20000 (now 30)"),
        (("--seed", "5"), "of seed 0 (now 5)"),
    ],
)
def test_a_study_of_something_else_is_refused(
    options: Sequence[str], message: str, searched: Tuned, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(command(shop, searched.folder, *options)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert "name another --study" in line


def test_a_study_of_other_events_is_refused(
    searched: Tuned, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.parquet"
    pd.read_parquet(shop).iloc[:-1].to_parquet(other)
    study = str(searched.folder / "tuned.toml.study")
    assert tune.main(command(other, tmp_path, "--study", study)) == 1
    assert "is a study of something else, of events import-" in capsys.readouterr().err


def test_a_file_that_is_no_study_is_refused_and_left_alone(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no study at all" * 100)
    assert tune.main(command(shop, tmp_path, "--study", str(file))) == 1
    assert "holds no study of training.tune" in capsys.readouterr().err
    assert file.read_text() == "no study at all" * 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "als_factor"), "--only: als_factor is not tunable; the nearest is als_factors"),
        (("--only", "seed"), "--only: seed is not tunable"),
        (("--set", "als_factor=3"), "--set: als_factor is unknown; the nearest is als_factors"),
        (("--settings", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("--out", "nowhere/tuned.toml"), "nowhere/tuned.toml: cannot be written"),
        (("--days", "0.02"), "too few to hold out a window|too few to tell settings apart|nobody has"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_work(
    options: Sequence[str], message: str, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(command(shop, tmp_path, *options)) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "tuned.toml").exists()


def test_a_span_too_short_for_the_windows_is_told(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tuned(shop, tmp_path, "--days", "9", "--windows", "3", "--trials", "1")
    (note,) = found.document["notes"]
    assert note.startswith("the events span too little for 3 tuning windows of 9 days: there are 2 of 9 days")
    assert note in capsys.readouterr().err


def test_no_trial_is_begun_that_would_outlast_the_limit(shop: Path, tmp_path: Path) -> None:
    """The start is measured whatever the limit is; where it alone fills it, nothing else is."""
    found = tuned(shop, tmp_path, "--time-limit", "0.001")
    assert len(found.trials) == 1
    assert not found.document["verdict"]["taken"]
    assert "no other trial was made" in found.document["verdict"]["reason"]
    (_, *others) = tuned(
        shop, tmp_path, "--time-limit", str(3 * found.document["seconds"]), "--trials", "3"
    ).trials
    assert others


def test_mlflow_gets_a_run_a_trial_below_one_that_tells_the_verdict(
    shop: Path, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("MLFLOW_EXPERIMENT", "tuning")
    tuned(shop, tmp_path, "--trials", "2")
    found = tuned(shop, tmp_path, "--trials", "3")
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("tuning")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if run not in children]
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    by_trial = {int(run.data.tags["trial"]): run for run in children}
    assert sorted(by_trial) == [trial["number"] for trial in found.document["trials"]]
    for trial in found.document["trials"]:
        run = by_trial[trial["number"]]
        assert run.data.tags["state"] == trial["state"]
        assert run.data.params == {name: str(value) for name, value in trial["settings"].items()}
        assert run.data.metrics["score"] == pytest.approx(trial["score"])
        assert 0 <= run.data.metrics["session.ndcg_at_10"] <= 1
    verdict = found.document["verdict"]
    difference = verdict["test"]["session"]["ndcg@10"]["difference"]
    for suffix, bound in {"": "value", "_low": "low", "_high": "high"}.items():
        logged = parent.data.metrics[f"test.session.ndcg_at_10.difference{suffix}"]
        assert logged == pytest.approx(difference[bound])
    assert parent.data.tags["verdict.reason"] == verdict["reason"]
    assert parent.data.tags["tuned.als_factors"] == str(found.document["settings"]["als_factors"]["tuned"])
    assert parent.data.params["start.ranker"] == "linear"
    assert client.get_run(parent.info.run_id).info.artifact_uri
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"tuned.toml", "report.json"}


def test_an_mlflow_that_is_not_there_is_told(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert tune.main(command(shop, tmp_path, "--trials", "1")) == 1
    assert "MLflow at http://127.0.0.1:9" in capsys.readouterr().err


# What follows has no shop behind it: what settings are worth is drawn, so that the truth is known.

WINDOWS = (Window(DAY, 2 * DAY), Window(0, DAY))
TEST = (Window(3 * DAY, 4 * DAY),)
USERS = np.arange(120, dtype=np.int64)


@dataclass(frozen=True)
class Drawn(Judge):
    """Every user's NDCG is a chance of their own, plus what settings are truly worth, plus noise."""

    worth: Callable[[Hyperparameters], float] = lambda _: 0.0

    def measured(self, settings: Hyperparameters, window: Window) -> Measured:
        users = np.random.default_rng([self.seed, window.start]).uniform(0.2, 0.6, len(USERS))
        key = abs(hash((self.seed, window.start, settings.als_alpha)))
        noise = np.random.default_rng(key).normal(0, 0.1, (2, len(USERS)))
        values = {
            protocol: dict.fromkeys(("ndcg@10", "recall@10", "precision@10"), column)
            for protocol, column in zip(
                ("batch", "session"), users + noise + self.worth(settings), strict=True
            )
        }
        return Measured(USERS, values, seconds=1.0)  # type: ignore[arg-type]


def drawn_search(
    seed: int, worth: Callable[[Hyperparameters], float], trials: int = 12
) -> tuple[Search, Drawn]:
    start = Hyperparameters()
    nothing = interactions([("u", "i", VIEW, 0)])
    drawn = Drawn(nothing, None, None, seed, Memory(Path("unused")), worth)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = Search(
        study=optuna.create_study(direction="maximize"),
        space=search_space(start, ["als_alpha"]),
        start=start,
        judge=drawn,
        windows=WINDOWS,
        halves=Halves.of(USERS.astype(np.int32), seed),
        seed=seed,
    )
    search.run(Limits(seconds=1e9, trials=trials), lambda _: None)
    return search, drawn


def test_luck_is_not_taken_for_merit() -> None:
    """Where no setting is better than another, a best trial is found nearly always, and taken hardly ever."""
    fooled, taken = 0, 0
    for seed in range(60):
        search, drawn = drawn_search(seed, worth=lambda _: 0.0)
        best = search.settings(search.best())
        seen = Comparison(
            search.halves.chosen_by(drawn.measured_all(best, WINDOWS)),
            search.halves.chosen_by(drawn.measured_all(search.start, WINDOWS)),
            seed,
        )
        fooled += seen.score.low > 0
        taken += judge(search, drawn, TEST).taken
    assert fooled > 12  # what chose them says of a good many that they are surely better
    assert taken <= 5  # 2.5 % of 60 are 1.5; more than 5 would come about once in 200 times


def test_what_is_truly_better_is_taken() -> None:
    def worth(settings: Hyperparameters) -> float:
        return 0.08 if settings.als_alpha > 1.5 else 0.0

    for seed in range(5):
        search, drawn = drawn_search(seed, worth)
        verdict = judge(search, drawn, TEST)
        assert verdict.taken, verdict.reason
        assert verdict.chosen.als_alpha > 1.5
        assert verdict.chosen == search.settings(verdict.best)


def test_what_is_surely_worse_on_the_test_windows_is_not_taken() -> None:
    search, drawn = drawn_search(1, worth=lambda settings: 0.08 if settings.als_alpha > 1.5 else 0.0)
    later = Drawn(
        drawn.events, None, None, 1, drawn.memory, lambda settings: -0.1 if settings.als_alpha > 1.5 else 0.0
    )
    verdict = judge(search, later, TEST)
    assert not verdict.taken
    assert "surely worse in batch on the test windows" in verdict.reason
    assert verdict.chosen == search.start


def test_asking_the_same_users_about_winner_after_winner_costs() -> None:
    """A p-value that would do for one winner doesn't for the last of many."""
    search, drawn = drawn_search(2, worth=lambda settings: 0.08 if settings.als_alpha > 1.5 else 0.0)
    assert judge(search, drawn, TEST).taken
    earlier = {str(number): 0.001 for number in range(1000, 1100)}
    search.study.set_user_attr("confirmed", earlier)
    verdict = judge(search, drawn, TEST)
    assert not verdict.taken
    assert "asked about several" in verdict.reason


def test_the_search_never_asks_the_users_who_confirm() -> None:
    """However they would answer, the trials and their scores are the same."""

    @dataclass(frozen=True)
    class Contrary(Drawn):
        confirming: tuple[int, ...] = ()

        def measured(self, settings: Hyperparameters, window: Window) -> Measured:
            measured = super().measured(settings, window)
            values = {
                protocol: {
                    name: np.where(np.isin(USERS, self.confirming), 1 - column, column)
                    for name, column in metrics.items()
                }
                for protocol, metrics in measured.values.items()
            }
            return Measured(measured.users, values, measured.seconds)

    search, drawn = drawn_search(3, worth=lambda _: 0.0)
    contrary = Contrary(
        drawn.events, None, None, 3, drawn.memory, drawn.worth, tuple(search.halves.confirming.tolist())
    )
    other = Search(
        optuna.create_study(direction="maximize"),
        search.space, search.start, contrary, WINDOWS, search.halves, search.seed,
    )  # fmt: skip
    other.run(Limits(seconds=1e9, trials=12), lambda _: None)
    assert [(trial.params, trial.value) for trial in ended(other.study)] == [
        (trial.params, trial.value) for trial in ended(search.study)
    ]


def test_bad_trials_are_pruned_and_cost_less() -> None:
    search, _ = drawn_search(4, worth=lambda settings: -abs(np.log(settings.als_alpha)), trials=20)
    pruned = [trial for trial in ended(search.study) if trial.state is optuna.trial.TrialState.PRUNED]
    assert pruned
    assert all(trial.user_attrs["seconds"] == 1 for trial in pruned)
    assert all(trial.user_attrs["seconds"] == 2 for trial in completed(search.study))
    best = search.best().value
    assert best is not None
    assert all(trial.value is None or trial.value <= best for trial in ended(search.study))


def test_a_score_is_told_against_the_start_on_the_same_windows() -> None:
    search, drawn = drawn_search(4, worth=lambda settings: -abs(np.log(settings.als_alpha)) / 50, trials=12)
    assert search.told(ended(search.study)[0])["score"] == pytest.approx(1)
    for trial in ended(search.study):
        told = search.told(trial)
        ours, starts, whole = (
            search.halves.chosen_by(drawn.measured_all(settings, windows))
            for settings, windows in (
                (search.settings(trial), WINDOWS[: told["windows"]]),
                (search.start, WINDOWS[: told["windows"]]),
                (search.start, WINDOWS),
            )
        )
        assert told["score"] == pytest.approx(scores(ours, whole).mean() / scores(starts, whole).mean())


def test_the_limit_counts_what_was_spent_and_expects_the_mean() -> None:
    search, _ = drawn_search(5, worth=lambda _: 0.0, trials=1)
    search.run(Limits(seconds=7.9), lambda _: None)
    assert 5.9 < search.seconds() <= 7.9


def test_halves_are_of_distinct_users_and_make_the_whole() -> None:
    users = np.array([3, 5, 8, 13, 21], dtype=np.int32)
    halves = Halves.of(users, seed=0)
    assert sorted([*halves.choosing, *halves.confirming]) == users.tolist()
    assert len(halves.choosing) == 3


def test_a_start_that_finds_nothing_in_one_protocol_has_a_score_all_the_same() -> None:
    zero, some = np.zeros(4), np.array([0.0, 0.5, 1.0, 0.5])
    start = Measured(np.arange(4), {"batch": {"ndcg@10": zero}, "session": {"ndcg@10": some}}, 0.0)
    assert scores(start, start).mean() == pytest.approx(0.5)


def test_ranges_reach_as_far_as_the_start() -> None:
    space = search_space(Hyperparameters(als_factors=4, als_regularization=0))
    assert set(space) == set(tunables())
    assert space["als_factors"]._contains(4)
    assert space["als_regularization"]._contains(0.0)


@pytest.mark.parametrize("name", tunables())
def test_every_range_is_documented(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs/tuning.md").read_text()
    mark = tunables()[name]
    by = "factors" if mark.log else "steps"
    assert f"| `{name}` | {mark.low:g} | {mark.high:g} | {by} |" in page


def test_tuning_windows_shrink_to_what_is_left_before_the_test_windows() -> None:
    rows = [(f"u{n % 9}", "i", (VIEW, ADD_TO_CART, PURCHASE)[n % 3], n * DAY // 4) for n in range(240)]
    events: Interactions = interactions(rows)
    periods = split_periods(events, days=14, tuning=3, test=3)
    assert len(periods.test) == 2
    assert len(periods.tuning) == 1
    assert periods.tuning[0].end == periods.test_start == periods.test[-1].start
    assert [note.split(":")[0] for note in periods.notes] == [
        "the events span too little for 3 tuning windows of 14 days",
        "the events span too little for 3 test windows of 14 days",
    ]
