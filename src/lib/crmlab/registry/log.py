"""An append-only log: one JSON a line, each with the hash of the line before it.

An edited, removed or moved line breaks the chain; a cut-off end is seen by `log.head`, which holds number and hash of
the last line. Somebody who may write to the folder can forge both: keep the head's hash, which every verdict prints,
where others can see it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crmlab.schema import RunError
from crmlab.sources.locks import locked

from .modelfiles import plain

__all__ = ["Entry", "Log"]

_FIRST = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One line of the log.

    Attributes
    ----------
    number : place in the log, from 1.
    kind : what it says: thresholds, verdict, publication.
    content : what was decided or measured.
    context : where it came from, such as code version, data fingerprint and run; no part of what is compared.
    sha256 : hash of the line.
    """

    number: int
    kind: str
    content: dict
    context: dict
    sha256: str


class Log:
    """The append-only log in a file.

    Parameters
    ----------
    path : of `log.jsonl`; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def append(self, kind: str, content: Mapping[str, object], *, context: Mapping[str, object]) -> Entry:
        """Write one entry and wait until it is on the disk.

        Raises
        ------
        RunError : the log is broken; nothing is written then.
        """
        with locked(self.path.with_name(".log.lock")):
            return self._append(kind, plain(content), plain(context))

    def append_once(
        self, kind: str, content: Mapping[str, object], *, context: Mapping[str, object], only_last: bool = False
    ) -> Entry:
        """Write an entry unless one of this kind and content is there; return the one that is there.

        Parameters
        ----------
        only_last : look at the last entry of the kind alone, where an entry takes the place of those before it.
        """
        content = plain(content)
        with locked(self.path.with_name(".log.lock")):
            known = self.entries(kind)
            known = [e for e in (known[-1:] if only_last else known) if e.content == content]
            return known[-1] if known else self._append(kind, content, plain(context))

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return the entries, oldest first, after a check of the whole chain.

        Raises
        ------
        RunError : see `verify`.
        """
        return [e for e in self._read() if kind in (None, e.kind)]

    def verify(self) -> int:
        """Check the chain and return the number of entries.

        Raises
        ------
        RunError : a line was edited, removed, moved or cut off; the message names the first broken one.
        """
        return len(self._read())

    @property
    def head(self) -> str:
        """Hash of the last entry: whoever keeps it can tell later whether anything before it was changed."""
        entries = self._read()
        return entries[-1].sha256 if entries else _FIRST

    def _append(self, kind: str, content: dict, context: dict) -> Entry:
        entries = self._read()
        number, previous = len(entries) + 1, entries[-1].sha256 if entries else _FIRST
        line = {"number": number, "previous": previous, "kind": kind, "content": content, "context": context}
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, data + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        sha256 = hashlib.sha256(data).hexdigest()
        self._write_head(number, sha256)
        return Entry(number, kind, content, context, sha256)

    def _write_head(self, number: int, sha256: str) -> None:
        temporary = self._head_path.with_name(f".tmp-{self._head_path.name}")
        temporary.write_text(f"{number} {sha256}\n", encoding="utf-8")
        temporary.replace(self._head_path)

    @property
    def _head_path(self) -> Path:
        return self.path.with_name("log.head")

    def _read(self) -> list[Entry]:
        data = self.path.read_bytes() if self.path.exists() else b""
        lines = data.split(b"\n")
        if lines.pop():
            raise _broken(len(lines) + 1, "its end is missing", "restore the file; or remove this one unfinished line.")
        entries: list[Entry] = []
        for number, line in enumerate(lines, start=1):
            entries.append(_parsed(line, number, entries[-1].sha256 if entries else _FIRST))
        self._check_head(entries)
        return entries

    def _check_head(self, entries: list[Entry]) -> None:
        """Compare with the last number and hash noted; a line more than noted is a crash between the two writes."""
        if not self._head_path.exists():
            if len(entries) > 1:
                raise _broken(len(entries), "`log.head` is missing", "restore the folder from a copy.")
            return
        number, _, sha256 = self._head_path.read_text("utf-8").strip().partition(" ")
        number = int(number) if number.isdigit() else -1
        if number > len(entries):
            raise _broken(len(entries) + 1, f"{number} lines were written, {len(entries)} are there")
        if len(entries) - number not in (0, 1) or entries[number - 1].sha256 != sha256:
            raise _broken(max(number, 1), "it is not the line that `log.head` names")


def _parsed(line: bytes, number: int, previous: str) -> Entry:
    try:
        found = json.loads(line)
        parts = (found["number"], found["previous"], found["kind"], found["content"], found["context"])
    except (ValueError, KeyError, TypeError):
        raise _broken(number, "it is not an entry") from None
    if parts[0] != number:
        raise _broken(number, f"entry {parts[0]} stands there: lines were removed or moved")
    if parts[1] != previous:
        # The hash that does not fit is of the line before, which is the one that was changed.
        raise _broken(max(number - 1, 1), "it is not what was written: the next line holds another hash of it")
    return Entry(number, *parts[2:], hashlib.sha256(line).hexdigest())


def _broken(
    number: int, found: str, remedy: str = "restore the file from a copy; nothing is published meanwhile."
) -> RunError:
    return RunError(
        f"The log of the gate is broken at line {number}: it may only be added to.", found=found, remedy=remedy
    )
