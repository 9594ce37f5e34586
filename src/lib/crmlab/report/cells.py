"""One executed cell as the page shows it: what stands on the first screen, what stays in place, what failed."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from .attachments import file_html
from .escape import clean, escape
from .markdown import Headings, markdown_html, safe_html
from .opening import facts
from .outputs import payload_of
from .records import metric_text
from .statements import TONES
from .tables import table_html
from .words import words

__all__ = ["Block", "Failure", "code_block", "text_block"]

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
_IMAGES = ("image/png", "image/jpeg", "image/gif")
_SCRIPTED = ("application/javascript", "application/vnd.jupyter.widget-view+json")


@dataclass
class Failure:
    """Where and why a notebook stopped."""

    anchor: str
    cell: int | None
    section: str
    message: str
    not_run: int = 0


@dataclass
class Block:
    """A cell of the page: text, or folded code with its outputs.

    `lifted` are the headline outputs, `key` the tables beside them, `opening` the facts shown by `start`,
    `metrics` the recorded numbers; all of them are shown elsewhere on the page.
    """

    html: Markup = field(default_factory=Markup)
    code: Markup = field(default_factory=Markup)
    number: int | None = None
    anchor: str = ""
    outputs: list[Markup] = field(default_factory=list)
    lifted: list[Markup] = field(default_factory=list)
    key: list[Markup] = field(default_factory=list)
    opening: dict | None = None
    metrics: list[tuple[str, str, str]] = field(default_factory=list)
    error: str = ""


def text_block(cell: Mapping, headings: Headings) -> Block:
    """Return a Markdown cell; other text cells are not part of a report."""
    return Block(html=Markup(markdown_html(_text(cell.get("source")), headings)))


def code_block(cell: Mapping, position: int, language: str = "en") -> Block:
    """Return a code cell with each of its outputs escaped, sanitised or drawn again from its data."""
    block = Block(code=_highlight(_text(cell.get("source"))), number=cell.get("execution_count"))
    block.anchor = f"cell-{position}"
    outputs = [_as_text(output) for output in cell.get("outputs", [])]
    has_headline = any(payload_of(output, "headline") for output in outputs)
    figure_open = False
    for output in outputs:
        caption = payload_of(output, "caption")
        if caption is not None and figure_open:
            block.outputs[-1] = _figure_with(block.outputs[-1], caption, language)
            figure_open = False
            continue
        figure_open = payload_of(output, "figure") is not None
        _place(output, block, has_headline, language)
    return block


def _place(output: Mapping, block: Block, has_headline: bool, language: str) -> None:
    """Put one output where it belongs."""
    kind = output.get("output_type")
    if kind == "error":
        block.error = f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        block.outputs.append(_traceback(output, language))
    elif kind == "stream":
        block.outputs.append(_stream(output, language))
    elif (opening := payload_of(output, "start")) is not None:
        block.opening = _checked_opening(opening)
    elif (metric := payload_of(output, "metric")) is not None:
        block.metrics.append(_metric_line(metric))
    elif (sentence := payload_of(output, "headline")) is not None:
        block.lifted.append(_callout(sentence, language))
    elif (spec := payload_of(output, "table")) is not None:
        (block.key if has_headline else block.outputs).append(_table(spec, output, language))
    elif (sentence := payload_of(output, "sentence")) is not None:
        block.outputs.append(Markup(f"<p>{escape(sentence.get('sentence', ''))}</p>"))
    elif (file := payload_of(output, "file")) is not None:
        block.outputs.append(Markup(file_html(file)))
    elif payload_of(output, "kept") is None:
        block.outputs.append(_foreign(output, language))


def _foreign(output: Mapping, language: str) -> Markup:
    """Return an output that this library did not make: picture, sanitised HTML or text."""
    data = output.get("data", {})
    for kind in _IMAGES:
        if kind in data:
            return _picture(kind, data[kind], output.get("metadata", {}).get(kind), language)
    if "image/svg+xml" in data:  # as a picture it can neither run nor load anything
        encoded = base64.b64encode(data["image/svg+xml"].encode("utf-8", "replace")).decode()
        return _picture("image/svg+xml", encoded, None, language)
    if any(kind in data for kind in _SCRIPTED):
        return Markup(f'<p class="note">{escape(words(language)["not_shown"])}</p>')
    if "text/html" in data:
        return Markup(f'<div class="foreign">{safe_html(data["text/html"])}</div>')
    if "text/markdown" in data:
        rendered = safe_html(markdown_html(data["text/markdown"], Headings(title="-")))
        return Markup(f'<div class="foreign">{rendered}</div>')
    text = data.get("text/plain", "")
    return Markup(f'<pre class="out" tabindex="0">{escape(text)}</pre>') if text else Markup("")


def _picture(kind: str, data: str, metadata: object, language: str) -> Markup:
    if not _BASE64.fullmatch(data):
        return Markup("")
    facts_ = metadata if isinstance(metadata, Mapping) else {}
    alt = escape(facts_.get("alt") or words(language)["figure_without_text"])
    size = "".join(f' {side}="{int(facts_[side])}"' for side in ("width", "height") if _is_size(facts_.get(side)))
    source = f"data:{kind};base64,{''.join(data.split())}"
    return Markup(f'<figure><div class="card"><img alt="{alt}"{size} src="{source}"></div></figure>')


def _is_size(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 10_000


def _figure_with(figure: Markup, caption: Mapping, language: str) -> Markup:
    """Return the figure with its caption and the folded table behind it."""
    word, text = words(language), clean(caption.get("caption") or "")
    parts = [f"<figcaption>{escape(text)}</figcaption>"] if text else []
    if isinstance(spec := caption.get("data"), Mapping):
        inner = _table({**spec, "caption": ""}, {}, language, label=text or word["table_behind"])
        parts.append(f'<details class="behind"><summary>{escape(word["table_behind"])}</summary>{inner}</details>')
    return Markup(str(figure).removesuffix("</figure>") + "".join(parts) + "</figure>")


def _table(spec: Mapping, output: Mapping, language: str, label: str = "") -> Markup:
    try:
        return Markup(table_html(spec, language=language, label=label))
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
    ):  # not a payload of this library
        return Markup(f'<pre class="out">{escape(output.get("data", {}).get("text/plain", ""))}</pre>')


def _callout(payload: Mapping, language: str) -> Markup:
    tone = payload.get("tone") if payload.get("tone") in TONES else "plain"
    word, sentence = words(language)[f"headline_{tone}"], escape(payload.get("sentence", ""))
    return Markup(f'<div class="headline {tone}"><p class="tone">{escape(word)}</p><p>{sentence}</p></div>')


def _metric_line(metric: Mapping) -> tuple[str, str, str]:
    n = metric.get("n")
    count = f"{n:,}" if isinstance(n, int) else "–"
    return clean(metric.get("label") or metric.get("name") or ""), metric_text(metric), count


def _checked_opening(payload: Mapping) -> dict:
    try:
        facts(payload)
    except (TypeError, AttributeError, ValueError):
        return {"question": payload.get("question", "")}
    return dict(payload)


def _traceback(output: Mapping, language: str) -> Markup:
    lines = _ANSI.sub("", "\n".join(map(_text, output.get("traceback") or [])))
    message = escape(f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}")
    word = escape(words(language)["traceback"])
    return Markup(
        f'<div class="error"><pre class="message">{message}</pre><details><summary>{word}</summary>'
        f'<pre class="out" tabindex="0">{escape(lines)}</pre></details></div>'
    )


def _stream(output: Mapping, language: str) -> Markup:
    text = Markup(f'<pre class="out" tabindex="0">{escape(_ANSI.sub("", _text(output.get("text"))).strip())}</pre>')
    if output.get("name") != "stderr":
        return text
    word = escape(words(language)["messages"])
    return Markup(f'<details class="messages"><summary>{word}</summary>{text}</details>')


def _highlight(source: str) -> Markup:
    from nbconvert.filters.highlight import Highlight2HTML

    return Markup(Highlight2HTML(pygments_lexer="python3")(clean(source).strip()))


def _as_text(output: Mapping) -> Mapping:
    """Return an output whose texts are whole strings (the file format also allows lists of lines)."""
    data = output.get("data") or {}
    return {**output, "data": {kind: _text(v) if not isinstance(v, Mapping) else v for kind, v in data.items()}}


def _text(value: object) -> str:
    return "".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
