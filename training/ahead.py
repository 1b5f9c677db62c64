"""Two steps of a pipeline at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in another thread while the one before is being used.

    It pays where making and using them spend their time outside of Python's lock.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as worker:
        coming = worker.submit(list, islice(items, 1))
        while item := coming.result():
            coming = worker.submit(list, islice(items, 1))
            yield item[0]
