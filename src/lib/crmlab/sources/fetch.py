"""Find the files of a source: local ones, or public sets downloaded once from a pinned address and verified."""

import hashlib
import logging
from pathlib import Path

from crmlab.project import data_dir, datasets_dir, root
from crmlab.schema import SourceError, did_you_mean

from .rawfiles import CHUNK, open_unpacked
from .specs import FileSpec

__all__ = ["find_files", "sha256_of"]

_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".xlsx", ".xlsm", ".xes", ".xes.gz")
_SECONDS = 60


def find_files(spec: FileSpec, *, mapping: Path) -> list[Path]:
    """Return the files of `spec`, verified when they are public, in the order of their names.

    A public set is looked for in the folder that CRMLAB_DATASETS names, plain or with `.gz`; without that variable it
    is downloaded once into `data/downloads`. Own files are looked for beside the mapping, then in the project folder.

    Raises
    ------
    SourceError : a file is missing, has the wrong checksum, or cannot be downloaded.
    """
    return [_public(spec)] if spec.url else _own(spec, mapping)


def sha256_of(path: Path, *, packed: bool = False) -> str:
    """Return the SHA-256 of a file's unpacked bytes, or of its bytes as they are (`packed`)."""
    digest = hashlib.sha256()
    with path.open("rb") if packed else open_unpacked(path) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _own(spec: FileSpec, mapping: Path) -> list[Path]:
    for folder in (mapping.resolve().parent, root()):
        found = _matching(folder, spec.path)
        if found:
            return found
    raise SourceError(
        f"There is no file `{spec.path}`.",
        found=f"nothing of that name beside {mapping.name} or in the project folder{_near(mapping, spec.path)}",
        remedy=f"put it there, or correct `files.{spec.name}.path`; a folder or a pattern (exports/*.csv) is fine.",
    )


def _matching(folder: Path, path: str) -> list[Path]:
    place = folder / path
    if place.is_file():
        return [place]
    if place.is_dir():
        return sorted(
            p for p in place.iterdir() if p.name.lower().endswith(_SUFFIXES) and not p.name.startswith(("~$", "."))
        )
    if not any(c in path for c in "*?["):
        return []
    base = Path(place.anchor) if place.is_absolute() else folder
    pattern = str(place.relative_to(base))
    return sorted(p for p in base.glob(pattern) if p.is_file() and not p.name.startswith("~$"))


def _near(mapping: Path, path: str) -> str:
    folder = (mapping.resolve().parent / path).parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    hint = did_you_mean(Path(path).name, names)
    return f" ({hint})" if hint.startswith("did") else ""


def _public(spec: FileSpec) -> Path:
    folder = datasets_dir()
    path = _in_datasets(spec, folder) if folder else _downloaded(spec)
    found = sha256_of(path, packed=spec.is_packed)
    if found not in spec.sha256:
        raise _wrong_checksum(spec, path, found)
    return path


def _in_datasets(spec: FileSpec, folder: Path) -> Path:
    for path in (folder / spec.path, folder / f"{spec.path}.gz"):
        if path.is_file():
            return path
    raise SourceError(
        f"The public file `{spec.path}` is not in the folder that CRMLAB_DATASETS names.",
        found=f"neither it nor `{Path(spec.path).name}.gz` in {folder}",
        remedy="put it there, or unset CRMLAB_DATASETS to have it downloaded.",
    )


def _wrong_checksum(spec: FileSpec, path: Path, found: str) -> SourceError:
    return SourceError(
        f"`{path.name}` is not the file that the mapping expects: its checksum differs.",
        found=f"sha256 {found}",
        remedy=f"delete {path} and fetch it again from {spec.url}; expected is {' or '.join(spec.sha256)}.",
    )


def _downloaded(spec: FileSpec) -> Path:
    """Return the cached download, fetching it first where it is missing; a broken download leaves nothing behind."""
    place = data_dir() / "downloads" / spec.path
    if place.is_file() and sha256_of(place, packed=spec.is_packed) in spec.sha256:
        return place
    import pooch
    from requests.exceptions import RequestException

    quiet = pooch.get_logger()
    level = quiet.level
    quiet.setLevel(logging.WARNING)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            spec.url,
            known_hash=f"sha256:{spec.sha256[0]}",
            fname=place.name,
            path=place.parent,
            downloader=_download,
        )
    except RequestException as error:
        raise _unreachable(spec, place, type(error).__name__) from None
    except ValueError as error:
        raise _changed(spec, str(error)) from None
    except OSError as error:
        raise _unwritable(place, error) from None
    finally:
        quiet.setLevel(level)
    return place


def _download(url: str, output_file: object, _pooch: object) -> None:
    """Write the answer of `url` to a file; unlike pooch's own downloader, close the connection when it fails."""
    import requests

    with requests.get(url, stream=True, timeout=_SECONDS) as answer, Path(output_file).open("wb") as stream:
        answer.raise_for_status()
        for chunk in answer.iter_content(CHUNK):
            stream.write(chunk)


def _unreachable(spec: FileSpec, place: Path, reason: str) -> SourceError:
    return SourceError(
        f"The public file `{spec.path}` could not be downloaded.",
        found=f"{reason} for {spec.url}",
        remedy=f"check the network and run again; or fetch it by hand and put it at {place}; or set CRMLAB_DATASETS "
        f"to a folder that holds `{spec.path}` (or `{spec.path}.gz`).",
    )


def _changed(spec: FileSpec, message: str) -> SourceError:
    return SourceError(
        f"The download of `{spec.path}` is not the file that the mapping expects: its checksum differs.",
        found="another checksum; nothing was kept" if "hash" in message else message.splitlines()[0],
        remedy=f"run again; if it stays so, the file at {spec.url} has changed or a proxy answers in its place.",
    )


def _unwritable(place: Path, error: OSError) -> SourceError:
    import errno

    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return SourceError(
        f"The download cannot be kept in {place.parent}.",
        found="the disk is full; nothing was kept" if full else error.strerror or type(error).__name__,
        remedy="free some space and run again."
        if full
        else "make the folder writable, or set CRMLAB_DATA to another one.",
    )
