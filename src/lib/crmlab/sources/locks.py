"""One process at a time: a lock on a file, released by the system even when its holder is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `path` (created when missing); wait for another holder to finish."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle)
        yield
    finally:
        os.close(handle)  # releases the lock


def _acquire(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)  # tries for ten seconds, then raises
                return
            except OSError:
                continue
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX)
