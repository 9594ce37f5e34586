"""An executed notebook as one page: the question, the answer and its table first, all else in reading order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from .cells import Block, Failure, code_block, text_block
from .escape import clean
from .markdown import Headings
from .opening import facts
from .words import words

__all__ = ["Page", "build_page"]

_UNFINISHED = ("running", "pending")


@dataclass
class Page:
    """What the template lays out; every Markup in it is already safe."""

    title: str
    word: dict[str, str]
    subtitle: str = ""
    context: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    failure: Failure | None = None
    headlines: list[Markup] = field(default_factory=list)
    key: list[Markup] = field(default_factory=list)
    intro: Markup = field(default_factory=Markup)
    setup: list[tuple[str, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    contents: list[tuple[int, str, str]] = field(default_factory=list)
    metrics: list[tuple[str, str, str]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)


def build_page(nb: Mapping, *, source_name: str = "", run: Mapping | None = None, language: str = "en") -> Page:
    """Return the page of a notebook as data, ready for the template."""
    word, run = words(language), run or {}
    headings, blocks = Headings(), []
    sections: list[str] = []  # the heading above each block
    for position, cell in enumerate(_cells(nb)):
        is_text = cell.get("cell_type") == "markdown"
        blocks.append(text_block(cell, headings) if is_text else code_block(cell, position + 1, language))
        sections.append(headings.entries[-1][2] if headings.entries else "")
    opening = next((block.opening for block in blocks if block.opening), {})
    intro, body = (blocks[0].html, blocks[1:]) if blocks and not blocks[0].code else (Markup(""), blocks)
    name = source_name.removesuffix(".ipynb")
    question = clean(opening.get("question") or "")
    title = headings.title or question or name or word["reports"]
    return Page(
        title=title,
        word=word,
        subtitle=question if question != title else "",
        context=_context(opening, run, word),
        links=_links(name, run, word),
        failure=_failure(nb, blocks, sections, name, run),
        headlines=[lifted for block in blocks for lifted in block.lifted],
        key=[key for block in blocks for key in block.key],
        intro=intro,
        setup=facts(opening, language) if opening else [],
        blocks=body,
        contents=[entry for entry in headings.entries if entry[0] <= 3],
        metrics=[line for block in blocks for line in block.metrics],
        facts=_run_facts(run, word),
    )


def _cells(nb: Mapping) -> list[Mapping]:
    """Return the cells of the story, without empty ones and without papermill's own error banners."""
    return [
        cell
        for cell in nb.get("cells", [])
        if cell.get("cell_type") in ("markdown", "code")
        and str("".join(cell.get("source", ""))).strip()
        and "papermill-error-cell-tag" not in cell.get("metadata", {}).get("tags", [])
    ]


def _context(opening: Mapping, run: Mapping, word: Mapping[str, str]) -> list[str]:
    """Return what the reader must know to place the answer: data, date, horizon."""
    params = opening.get("params") or run.get("params") or {}
    title = (opening.get("data") or {}).get("title") or run.get("title")
    stated = [word[name].format(params[name]) for name in ("as_of", "horizon_days") if params.get(name)]
    return [clean(part) for part in (title, *stated) if part]


def _links(name: str, run: Mapping, word: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the links of a page that lies in a run folder."""
    from urllib.parse import quote

    if not run.get("run") or not name:
        return []
    return [("../../index.html", word["all_reports"]), (f"{quote(name)}.ipynb", word["executed_notebook"])]


def _run_facts(run: Mapping, word: Mapping[str, str]) -> list[tuple[str, str]]:
    names = ("run", "started_at", "code_version", "data_fingerprint")
    labels = (word["run"], word["started"], word["code_version"], word["data_fingerprint"])
    pairs = zip(labels, (run.get(name) for name in names), strict=True)
    return [(label, clean(value)) for label, value in pairs if value]


def _failure(nb: Mapping, blocks: list[Block], sections: list[str], name: str, run: Mapping) -> Failure | None:
    """Return where the notebook stopped: at an error, or (a killed kernel leaves none) at the cell under way."""
    for i, block in enumerate(blocks):
        if block.error:
            return Failure(block.anchor, block.number, sections[i], clean(block.error), _not_run(blocks[i + 1 :]))
    statuses = [cell.get("metadata", {}).get("papermill", {}).get("status") for cell in _cells(nb)]
    stopped = [i for i, status in enumerate(statuses) if status in _UNFINISHED and blocks[i].code]
    if not stopped and not name.endswith(".failed"):
        return None
    at = stopped[0] if stopped else None
    block = blocks[at] if at is not None else Block()
    if at is not None:
        block.error = "unfinished"
    section = sections[at] if at is not None else ""
    after = _not_run(blocks[at + 1 :]) if at is not None else 0
    return Failure(block.anchor, block.number, section, clean(run.get("error") or ""), after)


def _not_run(blocks: list[Block]) -> int:
    return sum(bool(block.code) and not block.number for block in blocks)
