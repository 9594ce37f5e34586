"""Tables: the only way CRM text reaches a page, every cell escaped, no row left out without saying so."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from crmlab.schema import ParameterError, did_you_mean

from .escape import clean, escape, shorten
from .formats import format_values, parse_kind
from .outputs import show
from .words import words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe_table", "table", "table_html", "table_text"]

# JupyterLab strips <style> elements from notebooks it does not trust but keeps plain inline declarations.
_SHORT = 26  # characters; a column of short texts and dates is not wrapped
_INLINE = {
    "table": "border-collapse:collapse;font-variant-numeric:tabular-nums;margin:0",
    "caption": "text-align:left;font-weight:600;padding:4px 0;caption-side:top",
    "num": "text-align:right;padding:3px 10px;white-space:nowrap",
    "txt": "text-align:left;padding:3px 10px",
    "fix": "text-align:left;padding:3px 10px;white-space:nowrap",
    "note": "font-size:smaller;margin:4px 0",
}


def table(
    frame: "pd.DataFrame", *, caption: str, formats: Mapping[str, str] | None = None, index: bool = False,
    limit: int | None = 50, labels: Mapping[str, str] | None = None, bars: Collection[str] = (),
    mark: "pd.Series | Sequence[bool] | None" = None,
) -> None:  # fmt: skip
    """Show a frame: numbers right aligned, every text escaped, a caption that says what the rows are.

    Parameters
    ----------
    frame : the rows in the order of reading; left untouched.
    caption : what the table shows, over which rows and dates.
    formats : format of a column (see `crmlab.report.formats`); by default from its type.
    index : show the index levels as row headings.
    limit : rows to show; the number of rows left out is printed below. None shows all.
    labels : heading of a column where its name is not good enough.
    bars : columns with a bar behind the number, as long as the number is large.
    mark : one flag a row; the flagged rows stand out.

    Raises
    ------
    ParameterError : no caption; a column named in `formats`, `labels` or `bars` is not in the frame; an unknown format.
    """
    spec = describe_table(
        frame, caption=caption, formats=formats, index=index, limit=limit, labels=labels, bars=bars, mark=mark
    )
    show("table", spec, html=table_html(spec, inline=True), text=table_text(spec))


def describe_table(
    frame: "pd.DataFrame", *, caption: str, formats: Mapping[str, str] | None = None, index: bool = False,
    limit: int | None = 50, labels: Mapping[str, str] | None = None, bars: Collection[str] = (),
    mark: "pd.Series | Sequence[bool] | None" = None,
) -> dict:  # fmt: skip
    """Return the table as plain data: columns (label, number or text, bar lengths) and rows of finished texts."""
    if not str(caption).strip():
        raise ParameterError("A table needs a caption.", remedy="say what the rows are, over which dates and cases.")
    _check_columns(frame, formats=formats or {}, labels=labels or {}, bars=bars)
    shown = frame if limit is None else frame.head(limit)
    levels = [shown.index.get_level_values(i) for i in range(shown.index.nlevels)] if index else []
    columns = [_describe_column(level.name or "", _series(level), "", None) for level in levels]
    for position, name in enumerate(frame.columns):
        column = shown.iloc[:, position]  # by position: column names need not be unique
        kind, label = (formats or {}).get(name, ""), (labels or {}).get(name)
        columns.append(_describe_column(name, column, kind, label, bar=name in bars))
    return {
        "caption": clean(caption),
        "columns": [{key: column[key] for key in ("label", "numeric", "short", "bar")} for column in columns],
        "rows": [list(row) for row in zip(*(column["texts"] for column in columns), strict=True)],
        "heads": len(levels),
        "total": len(frame),
        "marked": [i for i, flag in enumerate(list(mark)[: len(shown)]) if flag] if mark is not None else [],
    }


def table_html(spec: Mapping, *, inline: bool = False, language: str = "en", label: str = "") -> str:
    """Return the table as HTML; `inline` adds the few declarations a notebook viewer needs, the page has its own style.

    Everything in `spec` is treated as text, wherever it comes from.
    """
    columns, rows, marked = list(spec["columns"]), list(spec["rows"]), set(spec.get("marked") or ())
    head = "".join(f'<th scope="col"{_cell_style(column, inline)}>{escape(column["label"])}</th>' for column in columns)
    body = "".join(
        _row_html(row, i, columns, heads=int(spec.get("heads") or 0), marked=i in marked, inline=inline)
        for i, row in enumerate(rows)
    )
    inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    note = _note_html(spec, inline, language)
    if inline:
        return f'<table style="{_INLINE["table"]}">{_caption_html(spec["caption"])}{inside}{note}'
    name = escape(label or spec["caption"] or words(language)["table"])
    caption = f"<figcaption>{escape(spec['caption'])}</figcaption>" if spec["caption"] else ""
    # The caption stays outside of the box that scrolls, so that it wraps on a phone.
    return (
        f'<figure class="table">{caption}<div class="scroll" role="region" tabindex="0" aria-label="{name}">'
        f'<table aria-label="{name}">{inside}</div>{note}</figure>'
    )


def table_text(spec: Mapping) -> str:
    """Return the table as plain text, for terminals and for viewers without HTML."""
    rows = [[str(column["label"]) for column in spec["columns"]], *spec["rows"]]
    widths = [max(len(cell) for cell in cells) for cells in zip(*rows, strict=True)]
    numeric = [column["numeric"] for column in spec["columns"]]
    lines = [
        "  ".join(
            cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)
        )
        for row in rows
    ]
    return "\n".join(filter(None, [spec["caption"], *(line.rstrip() for line in lines), _note(spec, "en")]))


def _check_columns(frame: "pd.DataFrame", **named: Collection[str]) -> None:
    known = [str(name) for name in frame.columns]
    for argument, names in named.items():
        for name in names:
            if name not in frame.columns:
                raise ParameterError(
                    f"`{argument}` names a column that the table has not.",
                    found=repr(name),
                    remedy=did_you_mean(str(name), known),
                )


def _describe_column(name: object, column: "pd.Series", kind: str, label: str | None, bar: bool = False) -> dict:
    kind = kind or _kind_of(column)
    texts = [shorten(clean(text)) for text in format_values(column.tolist(), kind)]
    return {
        "label": clean(_label(name) if label is None else label).replace(" %", "\u00a0%"),
        "numeric": parse_kind(kind)[0] not in ("text", "flag", "date", "datetime"),
        "short": max(map(len, texts), default=0) <= _SHORT,
        "bar": _bar_lengths(column.tolist()) if bar else None,
        "texts": texts,
    }


def _series(level: "pd.Index") -> "pd.Series":
    import pandas as pd

    return pd.Series(level.to_numpy(), dtype=level.dtype)  # `to_series` would guess a type anew


def _label(name: object) -> str:
    parts = name if isinstance(name, tuple) else (name,)
    return " · ".join(str(part).replace("_", " ") for part in parts if str(part))


def _kind_of(column: "pd.Series") -> str:
    from pandas.api import types

    if types.is_bool_dtype(column.dtype):
        return "flag"
    if types.is_integer_dtype(column.dtype):
        return "count"
    if types.is_numeric_dtype(column.dtype):
        return "number"
    if types.is_datetime64_any_dtype(column.dtype):
        return "date" if (column.dropna() == column.dropna().dt.normalize()).all() else "datetime"
    return "text"


def _bar_lengths(values: list[object]) -> list[float | None]:
    """Return each bar's length in percent of the longest; none for what is missing or negative."""
    numbers = [value[0] if isinstance(value, (tuple, list)) and value else value for value in values]
    sizes = [float(x) if isinstance(x, (int, float)) and x == x and x >= 0 else None for x in numbers]
    longest = max((size for size in sizes if size is not None), default=0.0)
    return [None if size is None or not longest else round(100 * size / longest, 1) for size in sizes]


def _row_html(row: Sequence[str], i: int, columns: list[Mapping], *, heads: int, marked: bool, inline: bool) -> str:
    cells = []
    for j, (text, column) in enumerate(zip(row, columns, strict=True)):
        bar = column.get("bar")
        style = _cell_style(column, inline, bold=marked, bar=bar[i] if bar else None)
        cells.append(f'<th scope="row"{style}>{escape(text)}</th>' if j < heads else f"<td{style}>{escape(text)}</td>")
    return ('<tr class="marked">' if marked else "<tr>") + "".join(cells) + "</tr>"


def _cell_style(column: Mapping, inline: bool, *, bold: bool = False, bar: float | None = None) -> str:
    kind = "num" if column["numeric"] else "fix" if column.get("short") else "txt"
    rules = [_INLINE[kind]] if inline else []
    if bold and inline:
        rules.append("font-weight:600")
    if column.get("bar") and inline:
        rules.append("padding-left:6.5em")
    if bar is not None:  # half of the cell at most: the number stands beside it
        top = ".55em" if inline else ".83em"  # on the first line of the row
        rules.append(f"background:linear-gradient(#4c9fcf,#4c9fcf) 0 {top}/{float(bar) / 2:.1f}% 8px no-repeat")
    names = "" if inline else f' class="{kind} bar"' if column.get("bar") else f' class="{kind}"'
    return names + (f' style="{";".join(rules)}"' if rules else "")


def _caption_html(caption: str) -> str:
    return f'<caption style="{_INLINE["caption"]}">{escape(caption)}</caption>' if caption else ""


def _note(spec: Mapping, language: str) -> str:
    shown, total = len(spec["rows"]), int(spec.get("total") or 0)
    if not total:
        return words(language)["no_rows"]
    if total <= shown:
        return ""
    text = words(language)["rows_not_shown"]
    return text.format(shown=f"{shown:,}", total=f"{total:,}", hidden=f"{total - shown:,}")


def _note_html(spec: Mapping, inline: bool, language: str) -> str:
    note = _note(spec, language)
    style = f' style="{_INLINE["note"]}"' if inline else ""
    return f'<p class="note"{style}>{escape(note)}</p>' if note else ""
