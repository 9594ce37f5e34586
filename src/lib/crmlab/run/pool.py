"""The worker processes of a run: starting, listening, measuring their memory, and ending them without a trace."""

import json
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .files import undisturbed

__all__ = ["Event", "Pool", "cores", "own_peak_memory"]

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_SAMPLE_EVERY = 0.25
_TREE_EVERY = 1.0
_LONGEST_PREFIX = 70
_SCRATCH = "crmlab-run-"


@dataclass(frozen=True)
class Event:
    """What a worker reports: `cell` (done, total), `kernel` (pid), `done` (seconds, failure, broken), `died`."""

    name: str
    kind: str
    data: dict


@dataclass
class _Worker:
    process: subprocess.Popen
    busy: str = ""
    rest: bytes = b""
    tree: list[psutil.Process] = field(default_factory=list)


def cores() -> int:
    """Return the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Up to `jobs` workers, each executing one notebook at a time in a kernel of its own.

    Workers live in sessions of their own: Ctrl-C at the terminal reaches only the runner, which then ends them.

    Parameters
    ----------
    root : project folder; kernels start in it.
    jobs : notebooks executed at the same time; the cores are shared out among them.
    """

    def __init__(self, root: Path, *, jobs: int) -> None:
        self.jobs = jobs
        self.peak_memory = 0
        self._root = root
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._next_sample = self._next_tree = 0.0
        self.scratch = _make_scratch()
        self._log = (self.scratch / "workers.log").open("ab")

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """How many more notebooks can start now."""
        return self.jobs - sum(bool(w.busy) for w in self._workers)

    def start(self, name: str, job: Mapping) -> None:
        """Give a job to an idle worker, or to a new one."""
        worker = next((w for w in self._workers if not w.busy), None) or self._new_worker()
        worker.busy = name
        line = json.dumps({**job, "sockets": str(self.scratch)}) + "\n"
        with suppress(BrokenPipeError):  # a worker that is dead already is reported by `poll`
            worker.process.stdin.write(line.encode())
            worker.process.stdin.flush()

    def poll(self, timeout: float) -> list[Event]:
        """Return what has happened, after at most `timeout` seconds, and measure memory now and then."""
        events = []
        for key, _ in self._selector.select(timeout):
            events += self._read(key.data)
        self._measure()
        return events

    def log_tail(self, lines: int = 3) -> str:
        """Return the last lines that workers and kernels wrote beside their notebooks."""
        text = (self.scratch / "workers.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def close(self) -> None:
        """End all workers and kernels, whatever they are doing, and remove the scratch folder."""
        with undisturbed():
            for worker in self._workers:
                self._remember_tree(worker)
                worker.process.kill()
                worker.process.wait()
            _end([p for w in self._workers for p in w.tree] + _users_of(self.scratch))
            for worker in self._workers:
                _close(worker.process)
            self._workers.clear()
            self._selector.close()
            self._log.close()
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _new_worker(self) -> _Worker:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "crmlab.run.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=self._root,
            env=self._environment(),
            start_new_session=True,
        )
        worker = _Worker(process)
        self._workers.append(worker)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _environment(self) -> dict[str, str]:
        """Return what workers and kernels see: the project, their share of the cores, no personal IPython start-up."""
        threads = str(max(1, cores() // self.jobs))
        fixed = {
            "CRMLAB_HOME": str(self._root),
            "IPYTHONDIR": str(self.scratch / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(self.scratch),
            "PYTHONHASHSEED": "0",
        }
        inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # figures go inline
        return dict.fromkeys(_THREADS, threads) | inherited | fixed

    def _read(self, worker: _Worker) -> list[Event]:
        data = os.read(worker.process.stdout.fileno(), 1 << 16)
        if not data:
            return self._bury(worker)
        *lines, worker.rest = (worker.rest + data).split(b"\n")
        events = []
        for line in lines:
            content = json.loads(line)
            events.append(Event(worker.busy, content.pop("event"), content))
            if events[-1].kind == "kernel":
                self._next_tree = 0.0
            if events[-1].kind == "done":
                worker.busy = ""
                self.peak_memory = max(self.peak_memory, content.get("kernel_peak", 0))
        return events

    def _bury(self, worker: _Worker) -> list[Event]:
        """Forget a worker that has died, and end the kernel that it left."""
        self._selector.unregister(worker.process.stdout)
        self._workers.remove(worker)
        worker.process.kill()
        code = worker.process.wait()  # before psutil waits for it and takes the code away
        _end(worker.tree)
        _close(worker.process)
        return [Event(worker.busy, "died", {"code": code})] if worker.busy else []

    def _remember_tree(self, worker: _Worker) -> None:
        with suppress(psutil.Error):
            process = psutil.Process(worker.process.pid)
            worker.tree = [process, *process.children(recursive=True)]

    def _measure(self) -> None:
        """Add up the resident memory of the runner, the workers, their kernels and what those have started."""
        now = time.monotonic()
        if now < self._next_sample:
            return
        self._next_sample = now + _SAMPLE_EVERY
        if now >= self._next_tree:
            self._next_tree = now + _TREE_EVERY
            for worker in self._workers:
                self._remember_tree(worker)
        total = psutil.Process().memory_info().rss
        for process in (p for w in self._workers for p in w.tree):
            with suppress(psutil.Error):
                total += process.memory_info().rss
        self.peak_memory = max(self.peak_memory, total)


def _close(process: subprocess.Popen) -> None:
    process.stdout.close()
    with suppress(OSError):  # what was not yet written has no reader any more
        process.stdin.close()


def own_peak_memory() -> int:
    """Return the most memory that this process itself has used so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _make_scratch() -> Path:
    """Return a new folder with a short path (sockets allow about 100 characters); remove those of dead runners."""
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_PREFIX:
        base = Path("/tmp")
    for old in base.glob(f"{_SCRATCH}*"):
        pid = old.name.removeprefix(_SCRATCH).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir=base))


def _users_of(scratch: Path) -> list[psutil.Process]:
    """Return kernels that were started with a connection file in this folder, wherever they hang by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            arguments = process.cmdline()
            if "ipykernel_launcher" in arguments and any(str(scratch) in a for a in arguments):
                found.append(process)
    return found


def _end(processes: list[psutil.Process]) -> None:
    """Kill processes and what they have started; each is the leader of a session of its own or the child of one."""
    for process in processes:
        with suppress(psutil.Error, OSError):
            if process.is_running() and os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
    psutil.wait_procs(processes, timeout=5)
