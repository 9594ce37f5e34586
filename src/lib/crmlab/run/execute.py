"""Execute one notebook through papermill and write what came out of it: notebook, page and recorded numbers.

Only worker processes import this module at start, because it imports papermill. papermill notes a killed kernel and a
timed-out cell as completed; here both become an error output of their cell, so that every failure takes one way.
"""

import json
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

sys.modules.setdefault(
    "rfc3987_syntax", None
)  # compiles grammars for 3 s at every papermill import; nothing here needs it

import nbformat  # noqa: E402
import papermill  # noqa: E402
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from jupyter_client.manager import AsyncKernelManager  # noqa: E402
from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: E402
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from papermill.execute import ERROR_MARKER_TAG, raise_for_execution_errors  # noqa: E402
from traitlets import default  # noqa: E402

from crmlab import report  # noqa: E402
from crmlab.report.attachments import attachments_of  # noqa: E402

from .files import write_file  # noqa: E402
from .notebooks import heading_of  # noqa: E402

__all__ = ["execute", "salvage"]

START_TIMEOUT = 120
"""Seconds that a kernel may take to start on a busy machine."""

_OUTPUT_TIMEOUT = 120
_SAVE_EVERY = 2.0
_ENGINE = "crmlab"
_INJECTED = "injected-parameters"


class Kernel(AsyncKernelManager):
    """A kernel of the running interpreter, reached through sockets of its own.

    Whatever kernels the user has installed under the name `python3` are passed over, TCP ports (which race, and warn)
    are not used, and nobody else has this prefix (the default one collides when kernels start at once).
    """

    sockets: Path
    started: Callable[[object], None]
    process: object | None = None

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("ip")
    def _prefix(self) -> str:
        return str(self.sockets / uuid.uuid4().hex[:8])

    @default("kernel_spec_manager")
    def _own_interpreter(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: object) -> None:
        await super()._async_launch_kernel(kernel_cmd, **options)
        type(self).process = self.provisioner.process
        type(self).started(self.provisioner.process)


class Progress(NotebookExecutionManager):
    """Reports each cell and saves the partial notebook now and then, at most a twentieth of the time."""

    def __init__(self, nb: nbformat.NotebookNode, *, partial: Path, on_cell: Callable[[int, int], None]) -> None:
        super().__init__(nb, output_path=None, progress_bar=False, autosave_cell_every=0)
        self.partial, self.on_cell = partial, on_cell
        self.current: int | None = None
        self._next_save = 0.0

    def cell_start(self, cell: nbformat.NotebookNode, cell_index: int | None = None, **rest: object) -> None:
        """Note which cell is at work."""
        self.current = cell_index
        super().cell_start(cell, cell_index, **rest)

    def cell_complete(self, cell: nbformat.NotebookNode, cell_index: int | None = None, **rest: object) -> None:
        """Report the cell."""
        super().cell_complete(cell, cell_index, **rest)
        self.on_cell(cell_index + 1, len(self.nb.cells))

    def save(self, **rest: object) -> None:
        """Write the partial notebook when the last time is long enough ago."""
        begin = time.monotonic()
        if begin < self._next_save:
            return
        temporary = self.partial.with_suffix(".new")
        temporary.write_text(nbformat.writes(self.nb), encoding="utf-8")
        temporary.replace(self.partial)
        end = time.monotonic()
        self._next_save = end + max(_SAVE_EVERY, 20 * (end - begin))


class Engine(NBClientEngine):
    """papermill's engine, except that a broken execution is never taken for a finished one."""

    @classmethod
    def execute_notebook(
        cls, nb: nbformat.NotebookNode, kernel_name: str, *, progress_of: Callable[..., Progress], **options: object
    ) -> nbformat.NotebookNode:
        """Execute; leave an error output in the cell at which the kernel died, timed out or was left."""
        progress = progress_of(nb)
        for unused in ("output_path", "progress_bar", "log_output", "autosave_cell_every"):
            options.pop(unused, None)
        progress.notebook_start()
        try:
            cls.execute_managed_notebook(progress, kernel_name, **options)
            if _left_early(nb):
                _give_up(nb, progress.current, "StoppedEarly", "the cell ended the notebook (such as by `sys.exit()`).")
        except CellTimeoutError:
            _give_up(
                nb, progress.current, "CellTimeout", f"the cell took longer than {options['execution_timeout']:g} s."
            )
        except DeadKernelError:
            _give_up(nb, progress.current, "KernelDied", _cause_of_death(options["kernel_manager_class"].process))
        except RuntimeError as error:
            if progress.current is not None:
                raise
            _give_up(nb, None, "KernelNotStarted", f"the kernel did not start: {error}")
        progress.notebook_complete()
        return nb


papermill_engines.register(_ENGINE, Engine)


def _cause_of_death(process: object) -> str:
    code = process.poll()
    if code is None or code >= 0:
        return "the kernel process ended."
    name = signal.Signals(-code).name
    return f"the kernel was killed ({name}){', often because memory ran out' if name == 'SIGKILL' else ''}."


def _left_early(nb: nbformat.NotebookNode) -> bool:
    errors = any(o.output_type == "error" and o.ename != "SystemExit" for c in nb.cells for o in c.get("outputs", []))
    return not errors and any(
        c.cell_type == "code"
        and c.source.strip()
        and c.execution_count is None
        and "skip-execution" not in c.metadata.tags
        for c in nb.cells
    )


def _give_up(nb: nbformat.NotebookNode, index: int | None, name: str, message: str) -> None:
    """Mark the cell at which a notebook broke off, the last code cell at or before `index`, as failed."""
    code = [i for i, c in enumerate(nb.cells) if c.cell_type == "code"]
    at = next((i for i in reversed(code) if index is not None and i <= index), code[0])
    output = nbformat.v4.new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])
    nb.cells[at].outputs.append(output)
    nb.cells[at].metadata.setdefault("papermill", {}).update(exception=True, status="failed")
    nb.metadata.setdefault("papermill", {})["exception"] = True


def execute(
    job: Mapping, *, on_cell: Callable[[int, int], None], on_kernel: Callable[[object], None]
) -> dict[str, object] | None:
    """Execute the notebook of a job and write its results into the job's folder.

    Parameters
    ----------
    job : `name`, `content` (the source notebook as text), `parameters`, `root`, `folder`, `sockets`, `timeout`
        (seconds a cell), `run` (what the page says of the run).
    on_cell : called with the cells done and their number.
    on_kernel : called with the kernel's process (a `Popen`) once it runs.

    Returns
    -------
    None, or of a failed notebook: `cell`, `section`, `name` and `message` of the error.
    """
    kernel = type("Kernel", (Kernel,), {"sockets": Path(job["sockets"]), "started": staticmethod(on_kernel)})
    progress: list[Progress] = []

    def progress_of(nb: nbformat.NotebookNode) -> Progress:
        progress.append(Progress(nb, partial=Path(job["folder"], "partial.ipynb"), on_cell=on_cell))
        nb.metadata.papermill.update(input_path=f"notebooks/{job['name']}.ipynb", output_path=f"{job['name']}.ipynb")
        return progress[0]

    try:
        nb = papermill.execute_notebook(
            nbformat.reads(job["content"], as_version=4),
            None,
            parameters=job["parameters"],
            engine_name=_ENGINE,
            kernel_name="python3",
            cwd=job["root"],
            start_timeout=START_TIMEOUT,
            execution_timeout=job["timeout"],
            iopub_timeout=_OUTPUT_TIMEOUT,
            shutdown_kernel="immediate",
            kernel_manager_class=kernel,
            progress_of=progress_of,
        )
    except PapermillExecutionError as error:
        nb = progress[0].nb
        failure = _failure(nb, error)
    else:
        failure = None
    _finish(nb, job, failed=failure is not None)
    return failure


def _failure(nb: nbformat.NotebookNode, error: PapermillExecutionError) -> dict[str, object]:
    """Say where it failed, counting cells as the source notebook does."""
    before = nb.cells[: error.cell_index + 2]  # papermill has put one mark at the top and one before the failing cell
    own = [c for c in before if not {ERROR_MARKER_TAG, _INJECTED} & set(c.metadata.get("tags", []))]
    section = next((h for c in reversed(own) if (h := heading_of(c))), "")
    return {"cell": len(own) + 1, "section": section, "name": error.ename, "message": error.evalue}


def _finish(nb: nbformat.NotebookNode, job: Mapping, *, failed: bool) -> None:
    """Write the executed notebook, its page and (unless failed) its recorded numbers into the job's folder."""
    stem = f"{job['name']}.failed" if failed else job["name"]
    nb.metadata.papermill.update(output_path=f"{stem}.ipynb")
    _remove_machine_paths(nb, Path(job["root"]))
    folder = Path(job["folder"])
    write_file(folder / f"{stem}.ipynb", nbformat.writes(nb) + "\n")
    write_file(folder / f"{stem}.html", report.render(nb, source_name=stem, run=job["run"]))
    if not failed:
        metrics = report.metrics_of(nb, notebook=job["name"])
        write_file(folder / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        for name, path in attachments_of(nb).items():
            shutil.copyfile(path, folder / name)
    (folder / "partial.ipynb").unlink(missing_ok=True)


def salvage(job: Mapping, message: str, *, cells_done: int) -> dict[str, object]:
    """Make a failed notebook of what was saved last, when the worker could not, and say where it broke off.

    The page is left out if it is what cannot be made.
    """
    partial = Path(job["folder"], "partial.ipynb")
    text = partial.read_text(encoding="utf-8") if partial.exists() else job["content"]
    nb = nbformat.reads(text, as_version=4)
    nb.metadata.setdefault("papermill", {})
    _give_up(nb, cells_done, "WorkerDied", message)
    try:
        raise_for_execution_errors(nb, None)
    except PapermillExecutionError as error:
        failure = _failure(nb, error)
    try:
        _finish(nb, job, failed=True)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - the notebook is written by now; any fault of its page must not hide the failure
        traceback.print_exc()
    return failure


def _remove_machine_paths(nb: nbformat.NotebookNode, root: Path) -> None:
    """Make paths in messages and tracebacks relative: a shared notebook must not tell where somebody works."""
    places = {
        f"{root}/": "",
        f"{sys.prefix}/": "<environment>/",
        f"{sys.base_prefix}/": "<python>/",
        f"{Path.home()}/": "~/",
    }

    cell_files = re.compile(re.escape(tempfile.gettempdir()) + r"/ipykernel_\d+/\d+\.py")

    def clean(text: str) -> str:
        for place, replacement in places.items():
            text = text.replace(place, replacement)
        return cell_files.sub("<cell>", text)

    for output in (o for cell in nb.cells for o in cell.get("outputs", [])):
        if output.output_type == "stream":
            output.text = clean(output.text)
        elif output.output_type == "error":
            output.evalue, output.traceback = clean(output.evalue), [clean(line) for line in output.traceback]
