"""How much memory processes have, as Linux tells it.

Lambda's limit is that of a virtual machine: its kernel ends the process that needs more. RLIMIT_AS would
count addresses that nobody uses, of which numpy and threads reserve gigabytes; RLIMIT_DATA would have
Python raise a MemoryError that it never raises there; control groups need rights that a user seldom has.
So what is resident is looked at from time to time, and the kernel's own high-water mark tells of peaks in
between.
"""

from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def can_tell() -> bool:
    """Whether this system tells it at all."""
    return (_PROC / "self" / "status").exists()


def peak(pid: int) -> int:
    """The most bytes that a process has had resident since it began to run its program; 0 if it is gone."""
    return _field(pid, "status", "VmHWM")


def exceeds(limit: int, pids: Iterable[int]) -> bool:
    """Whether one of the processes ever had, or all with their children have, more than `limit` bytes."""
    processes = list(pids)
    if any(peak(pid) > limit for pid in processes):
        return True
    family = _with_children(processes)
    # The cheap sum counts pages once for each process that shares them; the other takes milliseconds.
    return (
        len(family) > 1
        and sum(_field(pid, "status", "VmRSS") for pid in family) > limit
        and sum(_field(pid, "smaps_rollup", "Pss") for pid in family) > limit
    )


def _with_children(pids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    left = list(pids)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for thread in (_PROC / str(pid) / "task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return []


def _field(pid: int, file: str, name: str) -> int:
    """A value that the kernel gives in kB, in bytes; 0 where the process is gone."""
    try:
        text = (_PROC / str(pid) / file).read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0
