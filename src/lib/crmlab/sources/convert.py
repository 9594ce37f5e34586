"""Turn the texts of one column into its canonical type, and tell about every value that does not fit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from .cells import map_values, parse_booleans, parse_numbers
from .dates import parse_dates, suggest_formats
from .problems import Problems, mask_text, safe_value
from .specs import ColumnSpec

__all__ = ["check_filled", "check_numbers", "convert_texts", "multiply_texts", "time_between"]

_SHOWN = 3
_LISTED = 8
_SUGGEST_FROM = 2_000
_DECIMAL_COMMA = r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+"


def convert_texts(
    texts: pd.Series, column: ColumnSpec, table: str, where: Callable[[int], str], problems: Problems
) -> pd.Series:
    """Return the texts as the column's type: mapped, read, scaled, and checked against its allowed values and range.

    The range of a number that is still to be multiplied or summed is left to `check_numbers`, and a column that counts
    texts gets them as they are.

    Parameters
    ----------
    texts : texts with missing ones missing.
    where : says where a row stands in the file.
    problems : collects what does not fit; such values are missing in the result.
    """
    teller = _Teller(table, column, where, problems, len(texts))
    mapped, unknown = map_values(texts, column.values, others=column.others, ignore_case=column.ignore_case)
    teller.unmapped(texts, unknown)
    if column.combine in ("count", "distinct"):
        return mapped
    values = {"number": _number, "integer": _number, "boolean": _boolean, "time": _time}.get(column.kind, _text)(
        mapped, column, teller
    )
    if column.required and not column.combine:
        teller.empty(values.isna().to_numpy() & ~teller.told)
    return values


def check_filled(
    values: pd.Series, column: ColumnSpec, table: str, where: Callable[[int], str], problems: Problems
) -> None:
    """Tell, as an error, rows without a value in a required column."""
    if column.required:
        _Teller(table, column, where, problems, len(values)).empty(values.isna().to_numpy())


def check_numbers(
    values: pd.Series, column: ColumnSpec, table: str, where: Callable[[int], str], problems: Problems
) -> pd.Series:
    """Return computed numbers, missing where they are out of range or not whole; `problems` is told."""
    if column.kind not in ("number", "integer"):
        return values
    teller, texts = _Teller(table, column, where, problems, len(values)), values.astype("str")
    values = _in_range(values, texts, column, teller)
    return _whole(values, texts, column, teller) if column.kind == "integer" else values


def multiply_texts(
    texts: pd.Series,
    factors: pd.Series,
    column: ColumnSpec,
    table: str,
    where: Callable[[int], str],
    problems: Problems,
) -> pd.Series:
    """Return the product of two texts of numbers that are written alike; missing where either is missing."""
    first = convert_texts(texts, replace(column, scale=1.0), table, where, problems)
    other = replace(column, columns=(column.times,), values={})
    product = first * convert_texts(factors, other, table, where, problems)
    return product if column.combine == "sum" else check_numbers(product, column, table, where, problems)


def time_between(
    ends: list[pd.Series], column: ColumnSpec, table: str, where: Callable[[int], str], problems: Problems
) -> pd.Series:
    """Return the time from one text to the other, in the unit that the column's `scale` makes of minutes."""
    reading = replace(column, kind="time", values={}, required=False, combine="")
    begin, end = (
        convert_texts(texts, replace(reading, columns=(name,)), table, where, problems)
        for texts, name in zip(ends, column.between, strict=True)
    )
    minutes = (end - begin) / pd.Timedelta(minutes=1)
    return check_numbers(minutes.astype("float64") * column.scale, column, table, where, problems)


class _Teller:
    """Tells about values of one column that do not fit."""

    def __init__(self, table: str, column: ColumnSpec, where: Callable[[int], str], problems: Problems, n: int) -> None:
        self.table, self.column, self.where, self.problems, self.n = table, column, where, problems, n
        self.told = np.zeros(n, dtype=bool)

    def tell(
        self, bad: np.ndarray, text: str, *, texts: pd.Series | None = None, to_do: str = "", severity: str = ""
    ) -> None:
        """Tell that the rows `bad` do not fit; with `invalid: missing` it is a warning and they stay missing."""
        rows = int(bad.sum())
        if not rows:
            return
        self.told |= bad
        forgiven = self.column.invalid == "missing"
        severity = severity or ("warning" if forgiven else "error")
        more = " They were set missing (`invalid: missing`)." if forgiven and severity == "warning" else ""
        example = self.examples(bad, texts) if texts is not None else self.where(int(bad.argmax()))
        self.problems.add(
            severity, self.table, self.column.name, text + more, rows=rows, of=self.n, example=example, what_to_do=to_do
        )

    def examples(self, bad: np.ndarray, texts: pd.Series) -> str:
        """Return a few rows with the shape of their value."""
        chosen = texts[bad].drop_duplicates().head(_SHOWN)
        return ", ".join(f"{self.where(int(i))}: {mask_text(v)}" for i, v in chosen.items())

    def unmapped(self, texts: pd.Series, unknown: np.ndarray) -> None:
        """Tell which values `values:` does not know, with their counts."""
        if not unknown.any():
            return
        self._count_values(
            texts,
            unknown,
            f"Values of {self.column.origin} that `values:` does not map",
            "Add them to `values:`, or say what becomes of all others: `others: keep`, `missing` or a value.",
            list(self.column.values),
        )

    def not_allowed(self, texts: pd.Series, bad: np.ndarray) -> None:
        """Tell which values the canonical column does not take."""
        if bad.any():
            allowed = ", ".join(self.column.allowed)
            text = f"Values other than {allowed}"
            self._count_values(
                texts, bad, text, "Map each with `values: {yours: canonical}`.", list(self.column.allowed)
            )

    def _count_values(self, texts: pd.Series, bad: np.ndarray, text: str, to_do: str, known: list[str]) -> None:
        self.told |= bad
        counts = texts[bad].value_counts().head(_LISTED)
        unique = texts[bad].drop_duplicates()
        first = dict(zip(unique, unique.index, strict=True))
        shown = [f"{self.where(first[v])}: {safe_value(v, known)} ({n:,})" for v, n in counts.items()]
        more = len(unique) - len(counts)
        example = ", ".join(shown) + (f" and {more:,} more" if more else "")
        forgiven = self.column.invalid == "missing"
        self.problems.add(
            "warning" if forgiven else "error",
            self.table,
            self.column.name,
            f"{text}{'; they were set missing (`invalid: missing`)' if forgiven else ''}.",
            rows=int(bad.sum()),
            of=self.n,
            example=example,
            what_to_do=to_do,
        )

    def empty(self, missing: np.ndarray) -> None:
        """Tell that a required value is lacking; no rule can forgive that."""
        self.tell(
            missing,
            f"{self.column.origin} is empty, but {self.table}.{self.column.name} needs a value in every row.",
            to_do="Fill it, map another column, or leave such rows out with `skip_missing`.",
            severity="error",
        )


def _text(texts: pd.Series, column: ColumnSpec, teller: _Teller) -> pd.Series:
    if column.allowed:
        bad = (texts.notna() & ~texts.isin(column.allowed)).to_numpy()
        teller.not_allowed(texts, bad)
        texts = texts.mask(bad)
    return texts.astype("str")


def _boolean(texts: pd.Series, column: ColumnSpec, teller: _Teller) -> pd.Series:
    values, unread = parse_booleans(texts)
    teller.tell(
        unread,
        f"{column.origin} is neither true nor false.",
        texts=texts,
        to_do="Map the values, such as `values: {si: true, no: false}`.",
    )
    return values


def _number(texts: pd.Series, column: ColumnSpec, teller: _Teller) -> pd.Series:
    values, unread = parse_numbers(texts, decimal=column.decimal, thousands=column.thousands, strip=column.strip)
    teller.tell(unread, f"{column.origin} is not a number.", texts=texts, to_do=_number_hint(texts[unread], column))
    values = values * column.scale if column.scale != 1 else values
    if column.times or column.combine == "sum":
        return values
    values = _in_range(values, texts, column, teller)
    return _whole(values, texts, column, teller) if column.kind == "integer" else values


def _number_hint(texts: pd.Series, column: ColumnSpec) -> str:
    bare = texts.str.strip()
    comma = bare.str.fullmatch(_DECIMAL_COMMA)
    if len(bare) and comma.mean() > 0.5 and column.decimal == ".":
        dots = ' and `thousands: "."`' if bare.str.contains(".", regex=False).any() else ""
        return f'Most look like decimal commas: write `decimal: ","`{dots}.'
    if len(bare) and bare.str.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?").mean() > 0.5:
        return 'Most look like thousands separators: write `thousands: ","`.'
    if len(bare) and bare.str.contains(r"[€$£%]").mean() > 0.5:
        return 'A sign stands beside the number: write `strip: "€"` with that sign.'
    return "Correct them, name texts that mean “no value” with `missing:`, or write `invalid: missing`."


def _in_range(values: pd.Series, texts: pd.Series, column: ColumnSpec, teller: _Teller) -> pd.Series:
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    bad = ((values < low) | (values > high) | np.isinf(values)).to_numpy()
    bounds = f"at least {low:g}" if np.isinf(high) else f"between {low:g} and {high:g}"
    teller.tell(
        bad,
        f"{column.origin} must be {bounds}." if column.low is not None else f"{column.origin} is too large a number.",
        texts=texts,
        to_do="Correct them or the unit (`unit:`, `scale:`), or write `invalid: missing` to leave them out.",
    )
    return values.mask(bad)


def _whole(values: pd.Series, texts: pd.Series, column: ColumnSpec, teller: _Teller) -> pd.Series:
    bad = (values.notna() & (values % 1 != 0)).to_numpy()
    teller.tell(bad, f"{column.origin} is not a whole number.", texts=texts, to_do="Correct them or the `scale:`.")
    return values.mask(bad).astype("Int64")


def _time(texts: pd.Series, column: ColumnSpec, teller: _Teller) -> pd.Series:
    trimmed = texts.str.strip()
    read = parse_dates(trimmed, formats=column.formats, time_zone=column.time_zone, end_of_day=column.end_of_day)
    stated = ", ".join(f"`{f}`" for f in column.formats)
    if read.unread.any():
        text = f"{column.origin} does not fit the date format {stated}."
        teller.tell(read.unread, text, texts=trimmed, to_do=_format_hint(trimmed, read.unread, column))
    teller.tell(
        read.contradictory,
        f"{column.origin} fits two of the formats {stated} with different dates.",
        texts=trimmed,
        to_do="Keep one of the formats; if the file really mixes them, nobody can tell these days apart.",
    )
    _tell_clock_changes(read.twice, read.never, column, teller)
    return read.values


def _format_hint(texts: pd.Series, unread: np.ndarray, column: ColumnSpec) -> str:
    sample = texts[unread].head(_SUGGEST_FROM)
    found = suggest_formats(sample)
    if not found:
        return "Correct them; or name texts that mean “no value” with `missing:`; or write `invalid: missing`."
    fits = "; ".join(f"{name} fits {n:,}" for name, n in found)
    rest = len(sample) - sum(n for _, n in found)
    none = f", none fits {rest:,}" if rest else ""
    wholly = bool(unread[texts.notna()].all())
    lead = "State the right `format:`" if wholly else "The column mixes formats; list them all in `format: [...]`"
    return f"{lead}: of {len(sample):,} such values, {fits}{none}."


def _tell_clock_changes(twice: np.ndarray, never: np.ndarray, column: ColumnSpec, teller: _Teller) -> None:
    zone = column.time_zone
    teller.tell(
        twice,
        f"{column.origin} falls into an hour that happens twice in {zone} (clocks going back): taken as the later.",
        severity="note",
    )
    teller.tell(
        never,
        f"{column.origin} falls into an hour that {zone} skips (clocks going forward): taken as the next instant.",
        to_do="If there are many, the `time_zone:` is wrong.",
        severity="warning",
    )
