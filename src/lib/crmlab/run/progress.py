"""What a person sees while notebooks run: a bar over all cells, or plain lines where there is no terminal."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

__all__ = ["Progress", "note"]


def note(text: str, *, stream: TextIO | None = None) -> None:
    """Say what is going on before notebooks run."""
    with suppress(OSError):  # a terminal that was closed or a log that is full must not end the run
        print(text, file=stream or sys.stderr, flush=True)


class Progress:
    """Draws on `stream` (standard error) only; results go elsewhere.

    Parameters
    ----------
    cells : cells of each notebook that will run.
    """

    def __init__(self, cells: Mapping[str, int], *, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._cells = dict(cells)
        self._done = dict.fromkeys(cells, 0)
        self._running: list[str] = []
        self._bar = self._new_bar() if cells and self._stream.isatty() else None

    def _new_bar(self) -> object:
        from tqdm import tqdm

        # no rate and no time left: cells differ a thousandfold, so both would mislead
        form = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} cells, {elapsed}"
        total = sum(self._cells.values())
        return tqdm(total=total, file=self._stream, dynamic_ncols=True, leave=False, bar_format=form)

    def start(self, name: str) -> None:
        """A notebook has been given to a worker."""
        self._running.append(name)
        if self._bar is None:
            self._line(f"{name}: started")
        self._draw()

    def cell(self, name: str, done: int, total: int) -> None:
        """A notebook has come to the end of a cell."""
        self._cells[name], self._done[name] = total, done
        self._draw()

    def tick(self) -> None:
        """Let the clock of the bar go on during a long cell."""
        self._draw()

    def end(self, name: str, words: str) -> None:
        """A notebook has ended, in whatever way."""
        self._running = [n for n in self._running if n != name]
        self._done[name] = self._cells.get(name, 0)
        self._line(f"{name}: {words}")
        self._draw()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.close()

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.total, self._bar.n = sum(self._cells.values()), sum(self._done.values())
            self._bar.set_description(", ".join(self._running) or "done", refresh=False)
            with suppress(OSError):
                self._bar.refresh()

    def _line(self, text: str) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.write(text, file=self._stream)
        else:
            note(text, stream=self._stream)
