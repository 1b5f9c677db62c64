"""What a report is made of: all that a training run measured and chose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.data_report.profile import DataProfile
from training.explanation import ExplainedUser
from training.gate import GateReport
from training.judged import Evaluation
from training.split import Window


@dataclass(frozen=True, kw_only=True)
class SinceCutOff:
    """The recipe beside the version that is served, on the same users, in the days that neither knew."""

    window: Window
    recipe: Evaluation
    """Of the models `served` and `popular`."""
    champion: Evaluation
    """Of the model `served`: the stored lists of the version that is live."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """One training run."""

    gate: GateReport
    """With the version's name, and the settings."""
    evaluation: Evaluation
    """Of `training.train.REPORTED_MODELS` on held-out windows; of nothing where there was none."""
    windows: tuple[Window, ...]
    """The held-out ones, the latest first."""
    since_cut_off: SinceCutOff | None
    """None where the gate didn't compare with a served version."""
    learnt: Mapping[str, Any]
    """`training.served.Served.notes`: `ranking`, `sources`, `event_weights`, `blend`."""
    examples: tuple[ExplainedUser, ...]
    is_release: bool
    """Whether `learnt` and `examples` are of the version itself; where the gate turned the recipe away before
    it was fitted on everything, they are of the latest held-out window."""
    category_of: Mapping[str, str] = field(default_factory=dict)
    """Of items, where there is a catalogue."""
    profile: DataProfile | None = None
    """Of the latest days; None where nothing could be profiled."""
    counts: Mapping[str, int]
    """`events`, `users`, `items`."""
    training_window: Mapping[str, str]
    """`from`, `to`: moments of the first and the last event, ISO 8601."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """What the run can be found again by: `dataset_fingerprint`, `code_version`, `mlflow_run_id`, …"""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By step, as far as they are done."""
