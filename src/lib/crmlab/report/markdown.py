"""Markdown and foreign HTML made harmless: a short list of elements stays, everything else becomes text."""

import html
import re
from dataclasses import dataclass, field
from functools import cache

from .escape import clean

__all__ = ["Headings", "markdown_html", "safe_html"]

_TEXT = ["p", "br", "hr", "em", "strong", "b", "i", "s", "del", "sub", "sup", "small", "kbd", "abbr", "q", "blockquote"]
_BLOCKS = ["ul", "ol", "li", "dl", "dt", "dd", "pre", "code", "span", "div", "h2", "h3", "h4", "h5", "h6"]
_TABLES = ["table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"]
_CELLS = {"th": ["colspan", "rowspan", "scope", "style"], "td": ["colspan", "rowspan", "style"]}
# Only the words of these are dropped with them; whatever is missed here is dropped as markup by the sanitiser.
_SILENT = re.compile(r"<(style|script|template|noscript)\b.*?(</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_OWN_ANCHOR = re.compile(r"|answer|main|cell-\d+")  # anchors of the page itself


@dataclass
class Headings:
    """The headings of a page: its title (the first one) and the entries of its contents (level, anchor, text)."""

    title: str = ""
    entries: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, level: int, text: str) -> str:
        """Note a heading and return its anchor, unique in the page."""
        base = re.sub(r"[^\w]+", "-", text.lower()).strip("-")
        base = f"section-{base}".strip("-") if _OWN_ANCHOR.fullmatch(base) else base
        taken = {anchor for _, anchor, _ in self.entries}
        anchor = next(a for a in (base, *(f"{base}-{i}" for i in range(2, 10_000))) if a not in taken)
        self.entries.append((level, anchor, text))
        return anchor


def markdown_html(source: str, headings: Headings) -> str:
    """Return a Markdown cell as safe HTML; its headings are noted, the first of the page is taken out as the title."""
    rendered = _renderer_class()(headings)
    return _wrap_tables(_sanitiser(True).sanitize_html_tags(_render(rendered, clean(source))))


def safe_html(markup: str) -> str:
    """Return foreign HTML (such as a frame's own table) reduced to text, lists and tables; no link, no style."""
    body = _SILENT.sub("", clean(markup))
    return _wrap_tables(_sanitiser(False).sanitize_html_tags(body))


def _render(renderer: object, source: str) -> str:
    from nbconvert.filters.markdown_mistune import MarkdownWithMath

    return MarkdownWithMath(renderer=renderer).render(source)


@cache
def _sanitiser(author: bool):
    """Return nbconvert's sanitiser; text of the notebook's author may carry links, anchors and coloured code."""
    from nbconvert.preprocessors.sanitize import SanitizeHTML

    own = {"a": ["href", "title"], "span": ["class"], "div": ["class"], "code": ["class"]} if author else {}
    own |= {f"h{level}": ["id"] for level in range(2, 7)} if author else {}
    tags = [*_TEXT, *_BLOCKS, *_TABLES, *(["a", "details", "summary"] if author else [])]
    return SanitizeHTML(tags=tags, attributes={**_CELLS, **own}, styles=["text-align"], strip=not author)


@cache
def _renderer_class() -> type:
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    class Renderer(IPythonRenderer):
        """Collects headings, shows pictures as their description, keeps dangerous addresses out."""

        def __init__(self, headings: Headings) -> None:
            super().__init__(escape=False, allow_harmful_protocols=False, exclude_anchor_links=True)
            self.headings = headings

        def heading(self, text: str, level: int, **attrs: object) -> str:
            plain = html.unescape(_TAG.sub("", text)).strip()
            if not self.headings.title:
                self.headings.title = plain
                return ""
            level = max(level, 2)  # the page has one title
            return f'<h{level} id="{self.headings.add(level, plain)}">{text}</h{level}>\n'

        def image(self, text: str, url: str, title: str | None = None) -> str:
            return f"<em>{text}</em>"  # a page loads nothing; figures come from code

        def block_mermaidjs(self, code: str) -> str:
            return f"<pre>{html.escape(code)}</pre>"

    return Renderer


def _wrap_tables(markup: str) -> str:
    """Let each table scroll in its own box; in sanitised markup `<table>` is always the element."""
    return markup.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
