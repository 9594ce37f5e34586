"""The notebooks of one run at work: what may start, what has finished, what failed and what therefore cannot run."""

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crmlab.schema import CrmlabError

from .cache import Cache
from .files import write_refused
from .folder import RunFolder
from .plan import Task
from .pool import Event, Pool
from .progress import Progress

__all__ = ["Execution", "Result"]


@dataclass
class Result:
    """What became of one notebook.

    Attributes
    ----------
    status : `ran`, `reused`, `failed`, `not_run` or `not_for_this_study`.
    seconds : how long its execution took, in this run or in the one that it is reused from.
    reason : why it has this status, when it is not plain.
    files : names of the notebook and the page in the run folder.
    kept : what it left in the data folder and needs there.
    """

    status: str = "not_run"
    seconds: float | None = None
    reason: str = ""
    files: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


class Execution:
    """Runs tasks on a pool and keeps what became of each; finished ones go into the cache at once.

    Parameters
    ----------
    tasks : in an order in which they can run.
    job : what all jobs have in common (see `execute.execute`).
    """

    def __init__(self, tasks: Sequence[Task], *, cache: Cache, folder: RunFolder, job: dict) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.results = {task.name: Result() for task in tasks}
        self._cache, self._folder, self._job = cache, folder, job
        self._jobs: dict[str, dict] = {}
        self._cells_done: dict[str, int] = {}

    @property
    def failed(self) -> list[str]:
        """Names of the notebooks that failed."""
        return [name for name, result in self.results.items() if result.status == "failed"]

    def reuse(self, *, force: bool) -> list[str]:
        """Take finished results from the cache; return the names of the notebooks that have to run."""
        for name, task in self.tasks.items():
            entry = None if force else self._cache.find(task.key)
            if entry is not None:
                reason = f"unchanged since run {entry['run']}"
                self.results[name] = Result("reused", entry["seconds"], reason)
        return [name for name, result in self.results.items() if result.status == "not_run"]

    def run(
        self, names: Sequence[str], pool: Pool, progress: Progress, *, between: Callable[[], None] = lambda: None
    ) -> None:
        """Run the named notebooks, each after those that it waits for; return when nothing is left to run.

        Parameters
        ----------
        between : called several times a second; what it raises ends the run.

        Raises
        ------
        RunError : the disk is full.
        """
        waiting = list(names)
        while waiting or len(self._jobs):
            between()
            self._drop_hopeless(waiting, progress)
            for name in self._ready(waiting)[: pool.free]:
                waiting.remove(name)
                self._start(name, pool, progress)
            for event in pool.poll(0.25) if self._jobs else []:
                self._handle(event, pool, progress)
            progress.tick()

    def _ready(self, waiting: list[str]) -> list[str]:
        """Return what can start, the heaviest first: a long notebook that starts last would run alone at the end."""
        done = {name for name, result in self.results.items() if result.status in ("ran", "reused")}
        ready = [name for name in waiting if done.issuperset(self.tasks[name].after)]
        return sorted(ready, key=lambda name: -self.tasks[name].notebook.weight)

    def _drop_hopeless(self, waiting: list[str], progress: Progress) -> None:
        """Give up what waits for a failed notebook, and what waits for that (tasks are in running order)."""
        dropped = {n for n in self.results if self.results[n].status == "not_run" and self.results[n].reason}
        for name in list(waiting):
            lost = [n for n in self.tasks[name].after if n in self.failed or n in dropped]
            if lost:
                self.results[name].reason = f"it comes after {lost[0]}"
                dropped.add(name)
                waiting.remove(name)
                progress.end(name, f"not run, because {self.results[name].reason}")

    def _start(self, name: str, pool: Pool, progress: Progress) -> None:
        task = self.tasks[name]
        own = {"name": name, "parameters": task.parameters, "folder": str(self._folder.job_folder(name))}
        self._jobs[name] = self._job | own | {"content": json.dumps(task.notebook.content)}
        pool.start(name, self._jobs[name])
        progress.start(name)

    def _handle(self, event: Event, pool: Pool, progress: Progress) -> None:
        if event.kind == "cell":
            self._cells_done[event.name] = event.data["done"]
            progress.cell(event.name, event.data["done"], event.data["total"])
        elif event.kind == "died":
            self._salvage(event.name, f"the worker process {_end_of(event.data['code'])}.", pool)
        elif event.kind == "done" and event.data.get("broken"):
            if refused := write_refused(OSError(event.data.get("errno") or 0, "")):
                raise refused
            self._salvage(event.name, event.data["broken"], pool)
        elif event.kind == "done" and event.data["failure"]:
            self._note_failure(event.name, event.data["failure"], event.data["seconds"])
        elif event.kind == "done":
            self._note_success(event.name, event.data["seconds"])
        if event.kind in ("died", "done"):
            self._jobs.pop(event.name)
            progress.end(event.name, _in_words(self.results[event.name]))

    def _note_success(self, name: str, seconds: float) -> None:
        place = Path(self._jobs[name]["folder"])
        key = self.tasks[name].key
        self._cache.put(key, place, notebook=name, seconds=round(seconds, 2), run=self._folder.name)
        self.results[name] = Result("ran", round(seconds, 2))

    def _salvage(self, name: str, message: str, pool: Pool) -> None:
        """Keep what there is of a notebook that its worker could not finish."""
        from .execute import salvage

        told = "\n".join(filter(None, [message, pool.log_tail()]))
        self._note_failure(name, salvage(self._jobs[name], told, cells_done=self._cells_done.get(name, 0)), None)

    def _note_failure(self, name: str, failure: dict, seconds: float | None) -> None:
        place = Path(self._jobs[name]["folder"])
        names = {"ipynb": f"{name}.failed.ipynb", "html": f"{name}.failed.html"}
        files = {kind: file for kind, file in names.items() if (place / file).is_file()}
        for file in files.values():
            shutil.copyfile(place / file, self._folder.temporary / file)
        self.results[name] = Result("failed", seconds and round(seconds, 2), _failure_text(failure), files)

    def interrupt(self, by: str) -> None:
        """Note that what has not finished will not."""
        for name, result in self.results.items():
            if result.status == "not_run":
                self.results[name] = Result(reason=f"interrupted ({by})")

    def records(self) -> list[dict]:
        """Return what run.json says of each notebook, in reading order."""
        return [self._record(name, self.results[name]) for name in sorted(self.results)]

    def _record(self, name: str, result: Result) -> dict:
        task = self.tasks[name]
        files = {kind: result.files.get(kind) for kind in ("html", "ipynb")}
        known = {"notebook": name, "title": task.notebook.title, "status": result.status, "seconds": result.seconds}
        return known | {"reason": result.reason, "key": task.key, "kept": result.kept} | files

    def collect(self) -> list[dict]:
        """Copy finished results into the run folder; return the numbers that they recorded."""
        metrics: list[dict] = []
        for name, result in sorted(self.results.items()):
            if result.status in ("ran", "reused"):
                self._cache.copy(self.tasks[name].key, self._folder.temporary)
                metrics += self._cache.metrics(self.tasks[name].key)
                result.files = {"ipynb": f"{name}.ipynb", "html": f"{name}.html"}
                result.kept = self._cache.find(self.tasks[name].key)["kept"]
        return metrics


def _failure_text(failure: dict) -> str:
    """Return where and why a notebook failed; an error raised on purpose keeps its found and remedy lines."""
    section = f" (“{failure['section']}”)" if failure["section"] else ""
    message = str(failure["message"]).strip()
    if failure["name"] not in _purposeful(CrmlabError):
        message = f"{failure['name']}: {message.splitlines()[0] if message else 'without a message'}"
    return f"failed in cell {failure['cell']}{section}: {message}"


def _end_of(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


def _purposeful(error: type) -> set[str]:
    return {error.__name__}.union(*(_purposeful(e) for e in error.__subclasses__()))


def _in_words(result: Result) -> str:
    return f"finished in {result.seconds:.1f} s" if result.status == "ran" else result.reason.splitlines()[0]
