"""Many requests at the same time, through the REST endpoint."""

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from twin.cloud.calls import Api, Call, CallError, requests
from twin.cloud.deployment import Deployment

REQUESTS: Final = 1000
THREADS: Final = 8


def send_many(deployment: Deployment, *, user: str, item: str) -> dict[str, Any]:
    """Every route that reads in turn, each thread over a connection of its own.

    How many came with which status, and how fast. Raises CallError where one is not 200.
    """
    calls = [call for call in requests(user, item) if call.scope == "read"]
    url, key = deployment.api_url(), deployment.api_key()
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(lambda _: _statuses(url, key, calls), range(THREADS))
        statuses = sum(found, Counter())
    seconds = time.monotonic() - began
    if statuses.keys() != {200}:
        raise CallError(f"of {REQUESTS} requests not all were answered with 200: {dict(statuses)}")
    return {
        "requests": REQUESTS,
        "threads": THREADS,
        "statuses": {str(status): count for status, count in statuses.items()},
        "requests_a_second": round(REQUESTS / seconds, 1),
    }


def _statuses(url: str, key: str, calls: Sequence[Call]) -> Counter[int]:
    api = Api(url)
    try:
        turns = itertools.islice(itertools.cycle(calls), REQUESTS // THREADS)
        return Counter(api.send(call, key)[0] for call in turns)
    finally:
        api.close()
