"""Groups of environments that are gone: a pushgateway keeps what was pushed until somebody deletes it."""

import logging
import time
from collections.abc import Iterable
from typing import Final

from lambdas.housekeeping.gateway import Gateway, GatewayError, Group

logger = logging.getLogger(__name__)

JOB: Final = "recommendations_api"
"""What the API's environments push as, each with an `instance` of its own."""


def delete_stale(gateway: Gateway, groups: Iterable[Group], *, before: float, seconds: float) -> int:
    """Delete the API's groups that were pushed last before a moment; how many those were.

    After so many seconds the others are left for the next time. Raises GatewayError, once the others were
    tried, where one could not be deleted.
    """
    end = time.monotonic() + seconds
    stale = [group for group in groups if is_of_an_environment(group) and group.pushed_at < before]
    deleted, failures = 0, []
    for group in stale:
        if time.monotonic() >= end:
            logger.warning(
                "%d of %d stale groups are left for the next run", len(stale) - deleted, len(stale)
            )
            break
        try:
            gateway.delete(group.labels)
            deleted += 1
        except GatewayError as error:
            failures.append(error)
    if failures:
        raise GatewayError(
            f"{len(failures)} of {len(stale)} stale groups could not be deleted"
        ) from failures[0]
    return deleted


def is_of_an_environment(group: Group) -> bool:
    """Whether an environment of the API pushed it: only those come and go, and each has a name."""
    return group.labels.keys() == {"job", "instance"} and group.labels["job"] == JOB
