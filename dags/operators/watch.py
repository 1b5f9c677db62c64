"""Watching a version that went live, without a worker, and going back where it serves worse."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import dag_defaults
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator


class WatchOperator(BaseOperator):
    """Waits `watch_minutes` after the switch, then compares with as many minutes before it."""

    template_fields = ("live",)

    def __init__(self, *, live: Any, **arguments: Any) -> None:
        """`live` is what `tasks.versions.go_live` returned."""
        super().__init__(**arguments)
        self.live = live

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Wait for the end of the time, outside of the worker; not at all where it is 0."""
        minutes = context["params"]["watch_minutes"]
        if not minutes:
            return {"verdict": "none: not watched", "seconds": 0.0}
        end = datetime.fromisoformat(self.live["since"]) + timedelta(minutes=minutes)
        self.defer(
            trigger=DateTimeTrigger(moment=end),
            method_name="judge",
            timeout=timedelta(minutes=minutes + 60),
        )
        raise AssertionError("defer leaves this method")

    def judge(self, context: Mapping[str, Any], event: Any = None) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
        """Look; go back where the version serves worse."""
        return dag_defaults.run(lambda deployment: self._judge(deployment, context["params"]))

    def _judge(self, deployment: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        from tasks.versions import go_back, served_version  # noqa: PLC0415
        from tasks.watch import Limits, PrometheusError, WatchError, judge  # noqa: PLC0415

        if deployment.prometheus_url is None:
            return {"verdict": "none: there is no Prometheus"}
        limits = Limits(
            min_requests=params["watch_min_requests"],
            max_more_errors=params["watch_max_more_errors"],
            max_more_fallback=params["watch_max_more_fallback"],
        )
        since = datetime.fromisoformat(self.live["since"])
        try:
            return judge(
                deployment.prometheus_url, live_since=since, minutes=params["watch_minutes"], limits=limits
            )
        except PrometheusError as error:
            # Nobody knows: that is no reason to take a version back which was tried.
            return {"verdict": f"none: {error}"}
        except WatchError as error:
            # Somebody may have moved away from it meanwhile.
            if served_version(deployment) != self.live["version"]:
                raise
            back = go_back(deployment)
            raise WatchError(
                f"went back to {back['version']}, because since {since:%H:%M} UTC {error}"
            ) from error
