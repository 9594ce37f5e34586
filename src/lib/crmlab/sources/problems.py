"""What is wrong with a source, as rows of one table that shows no personal data."""

import re
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import pandas as pd

__all__ = ["PROBLEM_COLUMNS", "SEVERITIES", "Problems", "format_problems", "mask_text", "safe_header", "safe_value"]

SEVERITIES = ("error", "warning", "note")
"""error: stops the load. warning: counted, to be looked at. note: a rule of the mapping that was applied."""

PROBLEM_COLUMNS = ["severity", "table", "column", "problem", "rows", "share", "example", "what_to_do"]

_DATE_LIKE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})|(19|20)\d\d[01]\d[0-3]\d)"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?)?Z?"
)
_NUMBER_LIKE = re.compile(r"[-+(]?[€$£¥]?\s?[\d.,'\s]*\d[\d.,'\s]*[)%€$£¥]?")


def mask_text(text: str) -> str:
    """Return the shape of a value: its first character and its punctuation, never its words.

    >>> mask_text("anna@example.com"), mask_text("2021-13-45"), mask_text("1.234,50")
    ('a•••@•••••••.•••', '2021-13-45', '•.•••,••')
    """
    text = text.strip()
    if _DATE_LIKE.fullmatch(text):
        return text
    if _NUMBER_LIKE.fullmatch(text):
        return re.sub(r"\d", "•", text)[:24]
    shape = text[:1] + re.sub(r"\w", "•", text[1:])
    shape = "".join(c if c.isprintable() else "·" for c in shape)
    return shape if len(shape) <= 24 else shape[:23] + "…"


def safe_value(text: str, known: list[str]) -> str:
    """Return a value as it is when it is a misspelling of a known one, else its shape: it may be a person's name.

    >>> safe_value("Opne", ["Open"]), safe_value("Mario", ["Open"])
    ("'Opne'", 'M••••')
    """
    close = get_close_matches(text.strip().lower(), [k.lower() for k in known], n=1, cutoff=0.75)
    return repr(text) if close else mask_text(text)


def safe_header(name: str) -> str:
    """Return a column name, masked when it looks like a value (a file without a header row)."""
    looks_like_value = "@" in name or re.search(r"\d{5}", name) or len(name) > 60 or not name.isprintable()
    return mask_text(name) if looks_like_value else name


@dataclass
class Problems:
    """Collects problems while a source is read."""

    rows: list[dict] = field(default_factory=list)

    def add(
        self,
        severity: str,
        table: str,
        column: str,
        problem: str,
        *,
        rows: int = 0,
        of: int = 0,
        example: str = "",
        what_to_do: str = "",
    ) -> None:
        """Remember a problem that concerns `rows` of `of` rows."""
        share = rows / of if of else np.nan
        values = (severity, table, column, problem, rows, share, example, what_to_do)
        self.rows.append(dict(zip(PROBLEM_COLUMNS, values, strict=True)))

    def frame(self) -> pd.DataFrame:
        """Return the problems, errors first, in the order in which they were found."""
        frame = pd.DataFrame(self.rows, columns=PROBLEM_COLUMNS)
        frame = frame.astype({"rows": "int64", "share": "float64"} | dict.fromkeys(_TEXT_COLUMNS, "str"))
        rank = frame["severity"].map({s: i for i, s in enumerate(SEVERITIES)}).astype("int64")
        return frame.iloc[rank.argsort(kind="stable")].reset_index(drop=True)

    def count(self, severity: str) -> int:
        """Return the number of problems of a severity."""
        return sum(row["severity"] == severity for row in self.rows)


_TEXT_COLUMNS = [c for c in PROBLEM_COLUMNS if c not in ("rows", "share")]


def format_problems(frame: pd.DataFrame, *, width: int = 100, summary: bool = True) -> str:
    """Return the problems as plain text for a terminal of `width` columns.

    Each problem is a line of severity, place and rows, followed by what is wrong, an example, and what to do; the last
    line is the count (`summary`).
    """
    if frame.empty:
        return "Nothing wrong found."
    blocks = [_block(row, width) for row in frame.to_dict("records")]
    counts = ", ".join(_counted(int((frame["severity"] == s).sum()), s) for s in SEVERITIES)
    return "\n".join([*blocks, *(["", f"{counts}. {_verdict(frame)}"] if summary else [])])


def _counted(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _verdict(frame: pd.DataFrame) -> str:
    return "Errors stop the load." if (frame["severity"] == "error").any() else "The source can be loaded."


def _block(row: dict, width: int) -> str:
    place = ".".join(part for part in (row["table"], row["column"]) if part) or "mapping"
    head = f"{row['severity'].upper():<8}{place}"
    rows = _rows_text(row["rows"], row["share"])
    gap = max(2, width - len(head) - len(rows))
    lines = [(head + " " * gap + rows).rstrip() if len(head) + 2 + len(rows) <= width else f"{head}\n        {rows}"]
    lines += _wrapped(row["problem"], "        ", width)
    lines += _wrapped(row["example"], "        e.g. ", width)
    lines += _wrapped(row["what_to_do"], "        → ", width)
    return "\n".join(lines)


def _rows_text(rows: int, share: float) -> str:
    if not rows:
        return ""
    percent = "" if np.isnan(share) else " (100 %)" if share == 1 else f" ({share:.1%})".replace("%", " %")
    percent = percent.replace("(0.0 %)", "(<0.1 %)")
    return f"{rows:,} row{'' if rows == 1 else 's'}{percent}"


def _wrapped(text: str, lead: str, width: int) -> list[str]:
    import textwrap

    rest = " " * len(lead)
    whole = {"break_on_hyphens": False, "break_long_words": False}  # names and addresses are to be copied
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=rest, **whole) if text else []
