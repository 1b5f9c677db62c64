"""The study in its file: what it is of, and every trial that has ended. Stopped, it goes on from there."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from training.errors import BadInputError

STUDY_NAME = "training.tune"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_IDENTITY = "of"


@contextmanager
def opened_study(path: Path, identity: Mapping[str, str]) -> Iterator[optuna.Study]:
    """The study in a file, a new one where there is none; trials that were interrupted count as failed.

    `identity` says what is searched on what. Raises BadInputError where the file holds something else, or a
    study of something else.
    """
    _refuse_other_files(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    try:
        study = optuna.create_study(
            storage=storage, study_name=STUDY_NAME, direction="maximize", load_if_exists=True
        )
        _refuse_other_study(path, study.user_attrs.get(_IDENTITY, identity), identity)
        study.set_user_attr(_IDENTITY, dict(identity))
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were measured to their end or pruned; the first is the start."""
    return study.get_trials(deepcopy=False, states=ENDED)


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """Those that were measured on all windows."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _refuse_other_files(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise BadInputError(
            f"{path}: holds no study of training.tune: {error}; name another --study"
        ) from error


def _refuse_other_study(path: Path, found: Mapping[str, str], asked: Mapping[str, str]) -> None:
    others = [
        f"{name} {found.get(name, 'nothing')} (now {asked.get(name, 'nothing')})"
        for name in {**asked, **found}
        if found.get(name) != asked.get(name)
    ]
    if others:
        raise BadInputError(
            f"{path}: is a study of something else, of {'; '.join(others)}: "
            "search as it did, name another --study, or remove it"
        )
