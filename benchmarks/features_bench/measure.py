"""What a process used, with those that it started: CPU seconds and memory, as the system counts them."""

import contextlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["Stage", "cpu_seconds", "peak_of_tree", "stage"]


class Stage:
    """CPU and wall seconds of a part of the work."""

    cpu_s = wall_s = float("nan")


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Measure what happens inside: this process and its children, those that ended inside included."""
    measured = Stage()
    cpu, wall = cpu_seconds(), time.perf_counter()
    yield measured
    measured.wall_s = time.perf_counter() - wall
    measured.cpu_s = cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Return user and system seconds of this process, its ended children and those that still run."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def peak_of_tree(process: psutil.Process) -> float:
    """Return the memory in MB that a process and its children hold now; alone, the most that it ever held.

    The kernel keeps the peak of one process (VmHWM). For several, only looking again and again tells.
    """
    try:
        children = process.children(recursive=True)
        if children:
            return sum(_resident(each) for each in (process, *children))
        status = Path(f"/proc/{process.pid}/status").read_text("ascii")
        lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(lines[0].split()[1]) * 1024 / 1e6 if lines else 0.0
    except (psutil.Error, OSError):
        return 0.0


def _resident(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss / 1e6
    return 0.0
