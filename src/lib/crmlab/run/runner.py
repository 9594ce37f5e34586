"""`crmlab run`: from a params file to a finished run folder, or to one clear reason why there is none."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crmlab import project

from . import DEFAULT_JOBS, DEFAULT_TIMEOUT
from .cache import Cache
from .execution import Execution, Result
from .files import holding, remove_stale, write_refused
from .folder import RunFolder, find_finished, index_path, write_index
from .keys import code_sha256, code_version, library_versions, python_version
from .notebooks import Notebook, find_notebooks
from .params import Study, find_study, load_study, override, resolve, sha256_of
from .plan import Task, build_tasks, declared_parameters, dependencies, select_notebooks
from .pool import Pool, own_peak_memory
from .progress import Progress, note
from .values import check_values

__all__ = ["Finished", "Interrupted", "Plan", "plan_study", "run_study"]

_asked_to_stop: list[int] = []


class Interrupted(BaseException):
    """The run was asked to stop by a signal; not an Exception, so that nothing in between swallows it."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


@dataclass(frozen=True)
class Plan:
    """A study with everything that can be settled before it runs.

    Attributes
    ----------
    chosen : its notebooks by name.
    waits : name → the notebooks that it comes after, in running order.
    values : value of each parameter.
    others : notebooks that do not belong to the study.
    """

    study: Study
    chosen: dict[str, Notebook]
    waits: dict[str, tuple[str, ...]]
    values: dict[str, object]
    others: list[Notebook]


@dataclass(frozen=True)
class Finished:
    """What a run left behind.

    Attributes
    ----------
    outcome : `finished`, `unchanged` (an earlier run is still right), `failed` or `interrupted`.
    folder : the run folder.
    index : the index over all runs.
    signum : the signal that interrupted it, or 0.
    """

    outcome: str
    study: str
    folder: Path
    index: Path
    seconds: float
    results: dict[str, Result] = field(default_factory=dict)
    signum: int = 0


def plan_study(study: str, *, overrides: Sequence[str] = ()) -> Plan:
    """Read and check a params file against the notebooks, without running or writing anything.

    Parameters
    ----------
    study : name of a file in `params/`, or a path.
    overrides : `name=value` from the command line.

    Raises
    ------
    CrmlabError : anything that would stop the run or make it meaningless.
    """
    root = project.root()
    path = find_study(study, folder=root / "params")
    label = f"params/{path.name}" if path.parent == root / "params" else path.name
    notebooks = find_notebooks(root / "notebooks")
    read = override(load_study(path, label=label), overrides, declared_parameters(notebooks))
    chosen = select_notebooks(read, notebooks)
    values = resolve(read, declared_parameters(chosen))
    check_values(values)
    waits = dependencies(chosen, notebooks)
    others = [nb for nb in notebooks if nb not in chosen]
    return Plan(read, {nb.name: nb for nb in chosen}, waits, values, others)


def run_study(
    study: str,
    *,
    overrides: Sequence[str] = (),
    jobs: int = DEFAULT_JOBS,
    force: bool = False,
    timeout: int = DEFAULT_TIMEOUT,
) -> Finished:
    """Run a study's notebooks and publish the run; a reader sees all of it or nothing.

    Parameters
    ----------
    jobs : notebooks at the same time.
    force : run again what has not changed.
    timeout : seconds that one cell may take.

    Raises
    ------
    CrmlabError : the run could not begin, or its results could not be written.
    Interrupted : a signal came before there was anything to publish.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    plan = plan_study(study, overrides=overrides)
    reports = project.root() / "reports"
    own = reports / plan.study.name
    busy = f"The study `{plan.study.name}` is being run already."
    with _signals(), holding(own / ".lock", wait=False, busy=busy), _clear_errors():
        remove_stale(own)
        try:
            return _Run(plan, reports, started, clock).carry_out(jobs=jobs, force=force, timeout=timeout)
        finally:
            remove_stale(own)


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the first Ctrl-C or request to end into `Interrupted`; later ones must not disturb the tidying up."""

    def interrupt(signum: int, _frame: object) -> None:
        for name in handled:
            signal.signal(name, signal.SIG_IGN)
        _asked_to_stop.append(signum)
        raise Interrupted(signum)

    ours = (
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    )
    handled = [s for s in ours if signal.getsignal(s) is not signal.SIG_IGN]  # nohup stays nohup
    _asked_to_stop.clear()
    before = {name: signal.signal(name, interrupt) for name in handled}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _stop_if_asked() -> None:
    """Raise what a signal raised once already: inside a destructor, Python prints an exception and goes on."""
    if _asked_to_stop:
        raise Interrupted(_asked_to_stop[0])


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if refused := write_refused(error):
            raise refused from error
        raise


class _Run:
    def __init__(self, plan: Plan, reports: Path, started: datetime, clock: float) -> None:
        self.plan, self.reports, self.started, self.clock = plan, reports, started, clock
        self.root = project.root()
        self.own = reports / plan.study.name
        self.cache = Cache(reports / ".cache")
        self.memory = 0

    def carry_out(self, *, jobs: int, force: bool, timeout: int) -> Finished:
        """Prepare the source, run what has changed, publish the run."""
        fingerprint = self._prepare_source()
        tasks = self._tasks(fingerprint)
        keys = {task.name: task.key for task in tasks}
        earlier = None if force else find_finished(self.own, keys)
        if earlier is not None:
            return self._unchanged(earlier)
        self._check_as_of()
        facts = self._facts(fingerprint)
        folder = RunFolder(self.own, started=self.started)
        job = {"root": str(self.root), "timeout": timeout, "run": facts | {"run": folder.name}}
        execution = Execution(tasks, cache=self.cache, folder=folder, job=job)
        signum = self._execute(execution, jobs=jobs, force=force)
        return self._publish(execution, folder, facts, signum)

    def _prepare_source(self) -> str:
        source = self.plan.values.get("source")
        if not source:
            return ""
        from crmlab import sources

        note(f"source {source}: checking that its tables are up to date")
        return sources.prepare_source(str(source), today=self.started.date().isoformat())

    def _check_as_of(self) -> None:
        if "source" in self.plan.values and "as_of" in self.plan.values:
            from crmlab import crm, sources

            as_of = str(self.plan.values["as_of"])
            crm.check_as_of(sources.open_crm(str(self.plan.values["source"]), as_of=as_of), as_of)

    def _tasks(self, fingerprint: str) -> list[Task]:
        surroundings = {
            "data": fingerprint,
            "code": code_sha256(),
            "python": python_version(),
            "versions": library_versions(),
        }
        plan = self.plan
        return build_tasks(plan.study, plan.chosen, plan.waits, plan.values, surroundings=surroundings)

    def _facts(self, fingerprint: str) -> dict:
        """Return what is known of the run before it ends: most of run.json, and the foot of each page."""
        return {
            "study": self.plan.study.name,
            "title": self.plan.study.title,
            "started_at": self.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "params": self.plan.values,
            "params_sha256": sha256_of(self.plan.values),
            "code_version": code_version(self.root),
            "code_sha256": code_sha256(),
            "data_fingerprint": fingerprint,
            "seed": self.plan.values.get("seed"),
            "versions": library_versions(),
            "python": python_version(),
        }

    def _execute(self, execution: Execution, *, jobs: int, force: bool) -> int:
        """Run what is not in the cache; return the signal that ended it early, or 0."""
        names = execution.reuse(force=force)
        if not names:
            return 0
        with Pool(self.root, jobs=max(1, min(jobs, len(names)))) as pool:
            progress = Progress({n: len(self.plan.chosen[n].content["cells"]) + 1 for n in names})
            try:
                execution.run(names, pool, progress, between=_stop_if_asked)
            except Interrupted as stop:
                execution.interrupt(str(stop))
                return stop.signum
            finally:
                progress.close()
                self.memory = pool.peak_memory
        return 0

    def _publish(self, execution: Execution, folder: RunFolder, facts: dict, signum: int) -> Finished:
        metrics = execution.collect()
        failures = [f"{name} {execution.results[name].reason}" for name in execution.failed]
        outcome = "interrupted" if signum else "failed" if failures else "finished"
        record = facts | {
            "outcome": outcome,
            "peak_memory_mb": round(max(self.memory, own_peak_memory()) / 2**20),
            "error": f"interrupted ({signal.Signals(signum).name})" if signum else "\n".join(failures) or None,
            "notebooks": [*execution.records(), *map(_not_for_this_study, self.plan.others)],
        }
        folder.publish(record, metrics, ended=self._now())
        write_index(self.reports)
        self.cache.prune()
        return self._finished(outcome, folder.final, execution.results, signum)

    def _unchanged(self, folder: Path) -> Finished:
        if not index_path(self.reports).is_file():
            write_index(self.reports)
        return self._finished("unchanged", folder, {}, 0)

    def _finished(self, outcome: str, folder: Path, results: dict[str, Result], signum: int) -> Finished:
        seconds = time.monotonic() - self.clock
        return Finished(outcome, self.plan.study.name, folder, index_path(self.reports), seconds, results, signum)

    def _now(self) -> datetime:
        """Return the start plus what has passed since; a clock that is set meanwhile does not make a run negative."""
        return self.started + timedelta(seconds=time.monotonic() - self.clock)


def _not_for_this_study(notebook: Notebook) -> dict:
    needs = ", ".join(f"{key}: {' or '.join(map(str, values))}" for key, values in notebook.requires.items())
    empty = {"seconds": None, "html": None, "ipynb": None}
    base = {"notebook": notebook.name, "title": notebook.title, "status": "not_for_this_study"}
    return base | empty | {"reason": f"it is for {needs}"}
