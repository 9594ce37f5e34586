"""A worker process: executes one notebook after the other, as told on standard input.

Each line on standard input is a job (JSON, see `execute.execute`); each line on standard output an event. A closed
standard input means that nobody waits any more: the kernel is killed and the process ends, so that a runner killed
without warning leaves nothing behind.
"""

import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress

__all__ = ["main"]


class _Worker:
    def __init__(self) -> None:
        self.events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)  # whatever else prints goes to the log, not between the events
        self.kernel: object | None = None
        self.jobs: queue.SimpleQueue = queue.SimpleQueue()

    def emit(self, event: str, **rest: object) -> None:
        """Tell the runner what happened, one JSON object a line."""
        self.events.write(json.dumps({"event": event, **rest}) + "\n")

    def read_jobs(self) -> None:
        """Runs in a thread of its own, so that the end of the input is noticed in the middle of a notebook."""
        for line in sys.stdin:
            self.jobs.put(json.loads(line))
        if self.kernel is not None:
            with suppress(OSError):
                os.killpg(self.kernel.pid, signal.SIGKILL)
        os._exit(0)

    def kernel_started(self, process: object) -> None:
        """Note the kernel, so that it can be ended with this worker, and tell the runner."""
        self.kernel = process
        self.emit("kernel", pid=process.pid)

    def run(self, job: dict) -> None:
        """Execute one notebook and tell the runner how it went."""
        from .execute import execute

        begin = time.monotonic()
        outcome: dict[str, object] = {}
        try:
            outcome["failure"] = execute(
                job,
                on_cell=lambda done, total: self.emit("cell", done=done, total=total),
                on_kernel=self.kernel_started,
            )
        except Exception as error:  # noqa: BLE001 - the runner decides; a worker that dies would only hide the reason
            traceback.print_exc()
            outcome["broken"] = f"{type(error).__name__}: {error}"
            outcome["errno"] = getattr(error, "errno", None)
        self.kernel = None
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        peak = children * (1 if sys.platform == "darwin" else 1024)  # bytes on macOS, KiB elsewhere
        self.emit("done", seconds=time.monotonic() - begin, kernel_peak=peak, **outcome)


def main() -> None:
    """Execute jobs until standard input ends."""
    worker = _Worker()
    threading.Thread(target=worker.read_jobs, daemon=True).start()
    while True:
        worker.run(worker.jobs.get())


if __name__ == "__main__":
    main()
