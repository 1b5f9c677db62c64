"""How two runs differ: `python -m training.compare RUN RUN`, by what MLflow has of them.

Two runs on the same events judged the same users on the same days, so their differences are paired: what both
have in common doesn't blur them. Runs on other events can only be told apart by two samples of users.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import mlflow
import pyarrow.parquet as pq
from mlflow.entities import Run
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.tracking import MlflowClient

from training.bootstrap import Interval, mean_interval, paired_difference, unpaired_difference
from training.commands import Told, add_setting, aligned, run
from training.errors import BadInputError
from training.evaluation_rows import ROWS_NAME, JudgedRows, Part, read_rows
from training.ranking_metrics import METRICS
from training.tracking import TrackingError

TAGS: Final = ("dataset_fingerprint", "catalogue_version", "as_of", "code_version", "code_fingerprint")
TAGS_OF_OUTCOME: Final = ("gate.outcome", "gate.reason", "ranking.ranker", "ranking.reason")
_LONGEST: Final = 60


@dataclass(frozen=True)
class Compared:
    """One metric of one model, in both runs."""

    protocol: str
    model: str
    kind: str
    metric: str
    first: Interval
    second: Interval
    difference: Interval
    """The second less the first."""
    paired: bool
    users: tuple[int, int]
    """Rows of each."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, side by side."""

    runs: tuple[Run, Run]
    settings: dict[str, tuple[str, str]]
    """Parameters that differ; empty where a run has none of that name."""
    tags: dict[str, tuple[str, str]]
    """What they are made of and what became of them, where they differ."""
    metrics: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(client: MlflowClient, first: str, second: str, *, seed: int = 0) -> Comparison:
    """Two runs, each by its id, the beginning of it, a version's name, or an alias of the registered model.

    Raises BadInputError where one isn't there, or where it has nothing that could be compared.
    """
    runs = (find_run(client, first), find_run(client, second))
    rows = tuple(_rows(client, each) for each in runs)
    is_same_data = _tag(runs[0], "dataset_fingerprint") == _tag(runs[1], "dataset_fingerprint")
    metrics = tuple(
        _compared(part, metric, rows[0][part], rows[1][part], is_same_data=is_same_data, seed=seed)
        for part in rows[0]
        if part in rows[1]
        for metric in METRICS
    )
    return Comparison(
        runs=runs,
        settings=_differing(runs[0].data.params, runs[1].data.params),
        tags=_differing(*({name: _tag(each, name) for name in (*TAGS, *TAGS_OF_OUTCOME)} for each in runs)),
        metrics=metrics,
        notes=tuple(_notes(metrics, is_same_data=is_same_data)),
    )


def find_run(client: MlflowClient, name: str) -> Run:
    """The run of that id, whose id begins so, that trained the version of that name, or that the alias is of.

    Raises BadInputError where there is none, or several.
    """
    wanted = name.rsplit("-", 1)[-1] if "T" in name else name  # a version ends with the run's first digits
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = [each for each in _all_runs(client, experiments) if each.info.run_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise BadInputError(f"{name!r} is the beginning of {len(found)} runs' ids: give more of it")
    for model in client.search_registered_models():
        if name in model.aliases:
            return client.get_run(str(client.get_model_version_by_alias(model.name, name).run_id))
    latest = ", ".join(each.info.run_id for each in _all_runs(client, experiments)[:3]) or "none"
    raise BadInputError(
        f"{name!r} is no run, no version and no alias in MLflow; expected a run's id or its beginning, a "
        f"version's name, or an alias such as champion; the latest runs: {latest}"
    )


def _all_runs(client: MlflowClient, experiments: list[str]) -> list[Run]:
    """The latest first."""
    found: list[Run] = []
    token = None
    while experiments:
        page = client.search_runs(experiments, page_token=token)
        found += page
        if not (token := page.token):
            break
    return found


def _rows(client: MlflowClient, of_run: Run) -> dict[Part, JudgedRows]:
    run_id = of_run.info.run_id
    if ROWS_NAME not in {artifact.path for artifact in client.list_artifacts(run_id)}:
        raise BadInputError(
            f"run {run_id} ({of_run.info.status}) has no {ROWS_NAME}: it didn't get as far as its "
            "evaluation, or isn't a training"
        )
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        return read_rows(pq.read_table(client.download_artifacts(run_id, ROWS_NAME, folder)))


def _compared(
    part: Part, metric: str, first: JudgedRows, second: JudgedRows, *, is_same_data: bool, seed: int
) -> Compared:
    ours, theirs = second.values[metric], first.values[metric]
    paired = is_same_data and first.is_of_the_same(second)
    if paired:
        difference = paired_difference(ours, theirs, first.users, seed=seed)
    else:
        difference = unpaired_difference(ours, second.users, theirs, first.users, seed=seed)
    protocol, model, kind = part
    return Compared(
        protocol=protocol,
        model=model,
        kind=kind,
        metric=metric,
        first=mean_interval(theirs, first.users, seed=seed),
        second=mean_interval(ours, second.users, seed=seed),
        difference=difference,
        paired=paired,
        users=(len(first.users), len(second.users)),
    )


def _tag(of_run: Run, name: str) -> str:
    return str(of_run.data.tags.get(name, ""))


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = sorted(first.keys() | second.keys())
    pairs = {name: (first.get(name, ""), second.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _notes(metrics: Sequence[Compared], *, is_same_data: bool) -> list[str]:
    if not metrics:
        return ["nothing was evaluated in both runs"]
    if all(each.paired for each in metrics):
        return ["the differences are paired: both runs judged the same users on the same days"]
    reason = (
        "they judged other windows of the same events"
        if is_same_data
        else "they learnt from different events"
    )
    return [f"the differences are of two samples of users, and less sure than paired ones: {reason}"]


def describe(comparison: Comparison, *, model: str, metrics: Sequence[str]) -> str:
    """The comparison for people."""
    first, second = comparison.runs
    lines = [
        f"first:  {_named(first)}",
        f"second: {_named(second)}",
        "",
        *_table("setting", comparison.settings, "all settings are equal"),
        "",
        *_table("", comparison.tags, "made of the same, and the same became of them"),
        "",
    ]
    told = [each for each in comparison.metrics if each.model == model and each.metric in metrics]
    rows = [["protocol", "lists", "metric", "first", "second", "second - first (95 % interval)", ""]]
    rows += [
        [
            each.protocol,
            each.kind,
            each.metric,
            f"{each.first.value:.4f}",
            f"{each.second.value:.4f}",
            f"{each.difference.value:+.4f} ({each.difference.low:+.4f} to {each.difference.high:+.4f})",
            _verdict(each.difference),
        ]
        for each in told
    ]
    if told:
        lines += [f"what is {model}:", aligned(rows), ""]
    return "\n".join([*lines, *comparison.notes])


def _verdict(difference: Interval) -> str:
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no difference seen"


def _named(of_run: Run) -> str:
    info = of_run.info
    return f"{info.run_id} {info.run_name} ({info.status}, as of {_tag(of_run, 'as_of') or 'unknown'})"


def _table(heading: str, pairs: Mapping[str, tuple[str, str]], nothing: str) -> list[str]:
    if not pairs:
        return [nothing]
    rows = [[name, *(_short(value) for value in pair)] for name, pair in pairs.items()]
    return [aligned([[heading, "first", "second"], *rows])]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _document(comparison: Comparison) -> dict[str, Any]:
    return {
        "runs": [each.info.run_id for each in comparison.runs],
        "settings": comparison.settings,
        "tags": comparison.tags,
        "metrics": [asdict(each) for each in comparison.metrics],
        "notes": list(comparison.notes),
    }


def _run(options: argparse.Namespace) -> Told:
    mlflow.set_tracking_uri(options.mlflow)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # type: ignore[no-untyped-call]
    try:
        comparison = compare(MlflowClient(), options.first, options.second, seed=options.seed)
    except mlflow.MlflowException as error:
        raise TrackingError(f"MLflow at {options.mlflow}: {error}") from error
    models = {each.model for each in comparison.metrics}
    if models and options.model not in models:
        raise BadInputError(f"--model {options.model}: expected one of {', '.join(sorted(models))}")
    metrics = METRICS if options.all else ("recall@10", "precision@10", "ndcg@10")
    return _document(comparison), describe(comparison, model=options.model, metrics=metrics)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.compare",
        description="Tell how two runs of the training differ: settings, data, code, and every metric with "
        "the interval of its difference.",
    )
    parser.set_defaults(run=_run)
    told = "a run's id or its beginning, a version's name, or an alias such as champion"
    parser.add_argument("first", metavar="RUN", help=told)
    parser.add_argument("second", metavar="RUN", help="the one that is to be better")
    parser.add_argument("--model", default="served", help="of what was judged (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every metric, not the three that matter most")
    parser.add_argument("--seed", type=int, default=0, help="of the draws for intervals")
    add_setting(parser, "--mlflow", "MLFLOW_TRACKING_URI", "the MLflow server")
    parser.add_argument("--json", action="store_true", help="print everything, for programs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two runs; the exit status."""
    return run(_parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
