"""Open a source: build its local store when it is missing or outdated."""

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.project import data_dir
from crmlab.schema import CrmlabError, ParameterError, SourceError
from crmlab.store import Store

from .fetch import find_files, sha256_of
from .locks import locked
from .problems import Problems, format_problems
from .reading import read_and_build, read_source
from .specs import FileSpec, Source

__all__ = ["open_crm", "prepare_source"]

_CODE = Path(__file__).resolve().parents[1]
_CODE_OF_FILES = ("schema/*.py", "sources/*.py", "store.py")
_CODE_OF_DEMO = ("schema/*.py", "demo/*.py", "demo.py", "store.py", "sources/prepare.py")


def prepare_source(name: str, *, today: str | datetime = "") -> str:
    """Build the local store of a source unless it is up to date, and return its fingerprint.

    The fingerprint changes with the mapping, any byte of the files, the schema and the code that builds the tables. Two
    processes that ask at once build once; a failed or interrupted build leaves the store as it was.

    Parameters
    ----------
    today : ISO date or time; when given, a fact dated later is an error, as it always is when later than the
        `extracted_at` of the mapping.

    Raises
    ------
    SourceError : the mapping, a file or its rows are not usable; `check_source` tells everything at once.
    """
    source = read_source(name)
    fingerprint, path = _fingerprint(source), _store_path(source)
    if _stored(path) == fingerprint:
        return fingerprint
    with locked(path.with_suffix(".lock")):
        if _stored(path) != fingerprint:
            _build(source, path, fingerprint, today)
    return fingerprint


def open_crm(name: str, *, as_of: str) -> Crm:
    """Return the CRM of a source, building its store first when needed.

    Parameters
    ----------
    as_of : the study's date; it is refused when the source's facts are not complete until then (`complete_until`).
        Empty for a source without dates. Cutting at it is up to `Crm.at`.

    Raises
    ------
    SourceError : the source cannot be prepared.
    ParameterError : `as_of` is later than the data are complete.
    """
    source = read_source(name)
    if as_of and source.complete_until and as_instant(as_of) > pd.Timestamp(source.complete_until):
        raise ParameterError(
            f"`as_of` is later than {source.title} is complete.",
            found=f"{as_of}, while its facts are complete until {source.complete_until}",
            remedy=f"choose {source.complete_until} or an earlier date.",
        )
    prepare_source(name)
    store = Store(_store_path(source))
    own = {c.name: {"type": c.type, "known": c.known, "meaning": c.meaning} for c in source.own_columns}
    return Crm(store, title=source.title, own_columns=own, truth=_truth(source, store))


def _store_path(source: Source) -> Path:
    return data_dir() / f"{source.name}.duckdb"


def _stored(path: Path) -> str | None:
    """Return the fingerprint of a store; one that cannot be opened counts as missing, because it can be rebuilt."""
    try:
        return Store(path).fingerprint()
    except (SourceError, duckdb.Error):
        return None


def _fingerprint(source: Source) -> str:
    """Return a digest of everything that the stored tables depend on."""
    digest = hashlib.sha256(source.path.read_bytes())
    for pattern in _CODE_OF_DEMO if source.kind == "demo" else _CODE_OF_FILES:
        for path in sorted(_CODE.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    for spec in source.files.values():
        digest.update(spec.name.encode())
        for part in _file_digests(source, spec):
            digest.update(part.encode())
    return digest.hexdigest()[:32]


def _file_digests(source: Source, spec: FileSpec) -> Iterator[str]:
    """Yield what identifies a file's bytes; of a public set its checksums, so that a built store needs no file."""
    if spec.url:
        yield from spec.sha256
        return
    for path in find_files(spec, mapping=source.path):
        yield path.name
        yield sha256_of(path)


def _build(source: Source, path: Path, fingerprint: str, today: str | datetime) -> None:
    """Build the store beside its place and move it there in one step."""
    for stale in path.parent.glob(f".{path.stem}.*.building*"):
        stale.unlink(missing_ok=True)  # of a process that died: we hold the lock
    place = path.with_name(f".{path.stem}.{os.getpid()}.building")
    try:
        tables, meta = _demo_tables(source) if source.kind == "demo" else _file_tables(source, today)
        Store(place).load(tables, fingerprint=fingerprint, meta=_about(source) | meta)
        place.replace(path)
    except (OSError, duckdb.Error) as error:
        raise _not_written(path, error) from error
    finally:
        for left in path.parent.glob(f"{place.name}*"):
            left.unlink(missing_ok=True)


def _not_written(path: Path, error: Exception) -> CrmlabError:
    import errno

    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    return SourceError(
        f"The store of `{path.stem}` cannot be written to {path.parent}.",
        found="the disk is full; the store is as it was" if full else _kind(error),
        remedy="free some space and run again."
        if full
        else "make the folder writable, or set CRMLAB_DATA to another one.",
    )


def _kind(error: Exception) -> str:
    """Return what went wrong without the database's own words: they may quote a value."""
    return getattr(error, "strerror", None) or type(error).__name__


def _demo_tables(source: Source) -> tuple[Iterator[tuple[str, pd.DataFrame]], dict]:
    from crmlab.demo import iter_crm

    demo = source.demo
    return iter_crm(n_leads=demo.n_leads, seed=demo.seed, start=demo.start, end=demo.end), {}


def _file_tables(source: Source, today: str | datetime) -> tuple[dict[str, pd.DataFrame], dict]:
    problems = Problems()
    built = read_and_build(source, problems, today=today)
    if problems.count("error"):
        raise _refused(source, problems)
    counted = {"errors": 0, "warnings": problems.count("warning"), "problems": _as_json(problems)}
    return {name: table.frame for name, table in built.items()}, counted


def _refused(source: Source, problems: Problems) -> SourceError:
    errors = problems.frame().query("severity == 'error'")
    n = len(errors)
    if n == 1:
        return _only_error(source, errors.iloc[0])
    shown = format_problems(errors.head(3), summary=False)
    more = f"\n… and {n - 3} more" if n > 3 else ""
    return SourceError(
        f"The source `{source.name}` has {n} errors; nothing was loaded.",
        found=f"\n{shown}{more}",
        remedy=f"correct them; `crmlab check {source.name}` tells everything at once.",
    )


def _only_error(source: Source, error: pd.Series) -> SourceError:
    place = ".".join(part for part in (error["table"], error["column"]) if part)
    rows = f"{error['rows']:,} rows" if error["rows"] else ""
    found = "; ".join(part for part in (rows, error["example"]) if part)
    return SourceError(f"Source `{source.name}`, {place}: {error['problem']}", found=found, remedy=error["what_to_do"])


def _as_json(problems: Problems) -> list[dict]:
    return problems.frame().astype({"share": object}).where(lambda f: f.notna(), None).to_dict("records")


def _about(source: Source) -> dict:
    return {"source": source.name, "title": source.title, "currency": source.currency, "kind": source.kind} | {
        "own_columns": {c.name: {"type": c.type, "known": c.known, "meaning": c.meaning} for c in source.own_columns}
    }


def _truth(source: Source, store: Store) -> object | None:
    if source.kind != "demo":
        return None
    from crmlab.demo import Truth

    return Truth.read(store)
