"""Writing so that a reader never sees half a file or half a folder, and one run of a study at a time."""

import errno
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crmlab.schema import RunError

__all__ = ["holding", "publish_folder", "remove_stale", "undisturbed", "write_atomic", "write_file", "write_refused"]

TEMPORARY = ".tmp-"
"""Beginning of the name of everything unfinished; readers and the index pass over names with a leading dot."""


def write_file(path: Path, text: str) -> None:
    """Write a text file and wait until it is on the disk."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, text: str) -> None:
    """Replace a text file in one step; a failure leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}.{os.getpid()}")
    try:
        write_file(temporary, text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def publish_folder(temporary: Path, final: Path) -> None:
    """Give a finished folder its name in one step; an older one of this name is replaced."""
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary.with_name(f"{temporary.name}.old")
    with undisturbed():
        if final.exists():
            final.rename(aside)
        temporary.rename(final)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back signals while something must not be left half done; they arrive afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def remove_stale(folder: Path) -> None:
    """Remove what a dead run left unfinished; call it only while holding the study's lock."""
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def holding(path: Path, *, wait: bool, busy: str = "") -> Iterator[None]:
    """Hold a lock file; the system frees it when the process ends in whatever way.

    Parameters
    ----------
    wait : wait for the other holder instead of raising.
    busy : what is wrong when another process holds it.

    Raises
    ------
    RunError : another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise RunError(busy, found=file.read().strip(), remedy="wait until it has ended, or stop it.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def write_refused(error: OSError) -> RunError | None:
    """Return the error to show when the disk is full or a folder may not be written; None for any other fault."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            "The disk is full.",
            found="no space left while writing to the project's `reports` or `data`, or to the temporary folder",
            remedy="free some space and run again; notebooks that have finished are kept and not run again.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunError(
            "A file of the run may not be written.",
            found=f"{error.strerror}: {Path(error.filename).name if error.filename else 'unknown'}",
            remedy="give yourself the right to write to `reports` of the project, and run again.",
        )
    return None
