"""A small project of its own for tests of the runner: notebooks that import nothing of the library."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PARAMETERS = 'seed: int = 0  # Seeds folds.\nas_of: str = "2024-06-30"  # Last day that may be seen.'
STUDY = 'title: Tiny study\nentity: lead\nas_of: "2025-01-06"\nseed: 7\n'


class Lab:
    """A project folder with notebooks and params, and the command line in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("notebooks", "params"):
            (root / name).mkdir(parents=True)
        self.study()

    def study(self, text: str = STUDY, name: str = "tiny") -> Path:
        path = self.root / "params" / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def notebook(
        self,
        name: str,
        *code: str,
        parameters: str = PARAMETERS,
        requires: dict | None = None,
        after: tuple = (),
        weight: float = 1,
    ) -> Path:
        cells = [_text(f"# What is {name}?"), _code(parameters, "parameters")]
        for number, source in enumerate(code or ("print(seed, as_of)",), start=1):
            cells += [_text(f"## Section {number}"), _code(source)]
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        metadata = {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            "crmlab": {"requires": requires or {"entity": ["lead"]}, "after": list(after), "weight": weight},
        }
        path = self.root / "notebooks" / f"{name}.ipynb"
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return path

    def start(self, *arguments: str, terminal: int | None = None, **environment: str) -> subprocess.Popen:
        """Start the command line, at a terminal of its own if one is given.

        Its Ctrl-C works even where the tests themselves run in the background.
        """

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if terminal is not None:
                os.setsid()
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        pipe = subprocess.PIPE if terminal is None else terminal
        return subprocess.Popen(
            [sys.executable, "-m", "crmlab.cli", *arguments],
            cwd=self.root,
            env=os.environ | {"CRMLAB_HOME": str(self.root)} | environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            preexec_fn=prepare,
        )

    def crmlab(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def records(self, study: str = "tiny") -> list[dict]:
        """Return run.json of each run, oldest first."""
        paths = sorted((self.root / "reports" / study).glob("[!.]*/run.json"), key=lambda p: p.stat().st_mtime_ns)
        return [json.loads(p.read_text(encoding="utf-8")) for p in paths]

    def statuses(self) -> dict[str, str]:
        """Return what became of each notebook in the newest run."""
        return {nb["notebook"]: nb["status"] for nb in self.records()[-1]["notebooks"]}

    def folder(self) -> Path:
        """Return the newest run's folder."""
        return self.root / "reports" / "tiny" / self.records()[-1]["run"]

    def unfinished(self) -> list[Path]:
        """Return everything under a temporary name, and what an interrupted write could leave."""
        return list((self.root / "reports").rglob(".tmp-*"))


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str, *tags: str) -> dict:
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return an empty project; CRMLAB_HOME names it."""
    lab = Lab(tmp_path / "lab")
    monkeypatch.setenv("CRMLAB_HOME", str(lab.root))
    return lab


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Return a function that waits until something is so, and fails after a while."""

    def wait(is_so: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)

    return wait
