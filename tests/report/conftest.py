"""A notebook without a kernel, a strict reader of pages, and a real browser behind a server that sees every request."""

import base64
import http.server
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from crmlab.report import outputs


class Recorder:
    """Collects what the report functions show, as a kernel would store it."""

    def __init__(self) -> None:
        self.outputs: list[NotebookNode] = []

    def publish(self, bundle: dict, metadata: dict) -> None:
        data = {kind: base64.b64encode(v).decode() if isinstance(v, bytes) else v for kind, v in bundle.items()}
        self.outputs.append(new_output("display_data", data=data, metadata=metadata))

    def cell(self, source: str = "pass", number: int = 1) -> NotebookNode:
        """Return a code cell with everything shown since the last call."""
        shown, self.outputs = self.outputs, []
        return new_code_cell(source, outputs=shown, execution_count=number)


class Reader(HTMLParser):
    """Reads a page as a browser does and keeps elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._in_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def find(self, tag: str, **attrs: str) -> list[dict[str, str]]:
        return [own for name, own in self.elements if name == tag and attrs.items() <= own.items()]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(outputs, "_publish", recorder.publish)
    return recorder


@pytest.fixture
def read() -> Callable[[str], Reader]:
    return Reader


@pytest.fixture
def notebook() -> Callable[..., NotebookNode]:
    """Return a function that makes a notebook of cells; a string is a Markdown cell."""
    return lambda *cells, **metadata: new_notebook(
        cells=[new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells], metadata=metadata
    )


class Browser:
    """Headless Chromium on one page of a local server, which notes every address that is asked for."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary, self.folder, self.asked = binary, folder, []
        browser = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))

            def do_GET(self) -> None:
                browser.asked.append(self.path)
                super().do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def open(self, name: str) -> str:
        """Return the document after loading, and leave in `asked` what was fetched for it."""
        self.asked.clear()
        profile = self.folder / "profile"
        flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
        flags += " disable-component-update disable-sync disable-dev-shm-usage dump-dom virtual-time-budget=3000"
        switches = [f"--{flag}" for flag in (*flags.split(), f"user-data-dir={profile}")]
        command = [self.binary, *switches, f"{self.address}/{name}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            return process.communicate(timeout=60)[0].decode("utf-8", "replace")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            shutil.rmtree(profile, ignore_errors=True)

    def effects(self, name: str) -> set[str]:
        """Return the marks that scripts left in the document, and the addresses beyond the page itself."""
        document = self.open(name)
        opening = re.search(r"<html[^>]*>", document)
        assert opening, "Chromium returned no document"
        own = {f"/{path.name}" for path in self.folder.glob("*.html")}
        return set(re.findall(r"data-ran-\d+", opening[0])) | {address for address in self.asked if address not in own}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium): the pages are only parsed, not opened")
    browser = Browser(binary, tmp_path)
    yield browser
    browser.server.shutdown()
    browser.server.server_close()
