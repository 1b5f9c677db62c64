"""What people are told of a run that went well."""

from collections.abc import Mapping
from typing import Any, Final

from contract.recommendations import Manifest
from tasks.deployment import Deployment
from tasks.notification import Notification, success
from training.publish import read_manifest

_PROTOCOLS: Final = ("session", "batch")
_HEADLINES: Final = ("precision@10", "recall@10")


def told(deployment: Deployment, dag: str, found: Mapping[str, Mapping[str, Any]]) -> Notification:
    """The numbers of a run; `found` has what its tasks returned, by their ids."""
    if dag == "retrain":
        return _of_retrain(deployment, found)
    figures = {
        f"{task}, {name}": value
        for task, values in found.items()
        for name, value in values.items()
        if name != "seconds"
    }
    return success(deployment, dag=dag, what="done", figures=figures)


def _of_retrain(deployment: Deployment, found: Mapping[str, Mapping[str, Any]]) -> Notification:
    decision = found["gate"]
    figures: dict[str, Any] = {
        "as of": found["plan"]["as_of"],
        "events exported": found["export_events"]["events"],
        "events validated": found["validate_events"]["events"],
        "data report": found["validate_events"]["report"],
        "warnings about the events": "; ".join(found["validate_events"]["warnings"]) or None,
        "trained for (s)": found["train"]["train_seconds"],
        "gate": f"{decision['outcome']}: {decision['reason']}",
        "could not be done": _undone(found),
    }
    live = found.get("go_live")
    if live is None:
        return success(
            deployment,
            dag="retrain",
            what=f"{found['plan']['served_version'] or 'nothing'} stays live, {decision['outcome']}",
            figures=figures,
        )
    version = live["version"]
    figures |= {
        "live": version,
        "before": live["previous"] or "nothing",
        **_quality(read_manifest(deployment.recommendations, version)),
        "users loaded": found["load_canary"]["lists"].get("personal"),
        "canary, median (s)": found["try_canary"]["median_seconds"],
        "canary, items in common": found["try_canary"]["overlap"],
        "watched": found["watch"]["verdict"],
        "MLflow": found["move_alias"].get("run_url"),
    }
    return success(deployment, dag="retrain", what=f"{version} is live", figures=figures)


def _undone(found: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What the run went on without."""
    undone = (found.get("move_alias", {}).get("not_moved"), found.get("push_metrics", {}).get("not_pushed"))
    return "; ".join(filter(None, undone)) or None


def _quality(manifest: Manifest) -> dict[str, float]:
    """The headline metrics of what is served, on the days held out."""
    return {
        f"{name} ({protocol})": value
        for protocol in _PROTOCOLS
        for name in _HEADLINES
        if (value := manifest.metrics.get(protocol, {}).get("served", {}).get(name)) is not None
    }
