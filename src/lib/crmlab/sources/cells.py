"""Turn texts into the values of a column: missing, mapped, numbers, true or false."""

import re

import numpy as np
import pandas as pd

__all__ = ["map_values", "parse_booleans", "parse_numbers", "present"]

_SPACES = " \u00a0\u202f"
_TRUE = ("true", "yes", "y", "t", "1")
_FALSE = ("false", "no", "n", "f", "0")


def present(texts: pd.Series, *, missing: tuple[str, ...], trim: bool) -> pd.Series:
    """Return the texts with the empty ones, blanks and the `missing` tokens set missing.

    Nothing else counts as missing: `None`, `NA` and `NO` are values unless the mapping says otherwise.
    """
    bare = texts.str.strip()
    kept = bare if trim else texts
    return kept.mask(bare.isin(["", *missing]))


def map_values(
    texts: pd.Series, values: dict[str, str], *, others: str, ignore_case: bool
) -> tuple[pd.Series, np.ndarray]:
    """Return the texts replaced by `values`, and which of them it does not know.

    Parameters
    ----------
    values : source text → new text; an empty new text means missing. Blanks around the source text do not matter.
    others : what becomes of unknown texts: "" leaves them missing and tells; `keep`, `missing`, or a text for all.
    """
    if not values:
        return texts, np.zeros(len(texts), dtype=bool)
    keys = texts.str.strip()
    table = {k.strip(): v for k, v in values.items()}
    if ignore_case:
        keys, table = keys.str.casefold(), {k.casefold(): v for k, v in table.items()}
    known = keys.isin(list(table)).to_numpy()
    mapped = keys.where(known).map(table).astype("str")
    mapped = mapped.mask(mapped == "")
    unknown = texts.notna().to_numpy() & ~known
    if others == "keep":
        mapped = mapped.where(~unknown, texts)
    elif others and others != "missing":
        mapped = mapped.mask(unknown, others)
    return mapped, unknown if not others else np.zeros(len(texts), dtype=bool)


def parse_numbers(texts: pd.Series, *, decimal: str, thousands: str, strip: str) -> tuple[pd.Series, np.ndarray]:
    """Return the texts as numbers, and which of them are none.

    Separators must stand where they belong: with `thousands=","`, `1,5` is a decimal comma in disguise, not a number.

    Parameters
    ----------
    decimal, thousands : the separators; a blank as thousands separator stands for every kind of blank.
    strip : text removed once from either end, such as `€` or `USD`.
    """
    bare = texts.str.strip()
    for end in filter(None, [strip]):
        bare = bare.str.removeprefix(end).str.removesuffix(end).str.strip()
        bare = bare.str.replace(rf"^([-+]){re.escape(end)}\s*", r"\1", regex=True)
    fits = bare.str.fullmatch(_number_pattern(decimal, thousands)).fillna(False).astype(bool)
    plain = bare.where(fits)
    for blank in _SPACES if thousands == " " else thousands:
        plain = plain.str.replace(blank, "", regex=False)
    plain = plain.str.replace(decimal, ".", regex=False)
    return pd.to_numeric(plain).astype("float64"), (texts.notna() & ~fits).to_numpy()


def _number_pattern(decimal: str, thousands: str) -> str:
    point = re.escape(decimal)
    whole = r"[0-9]+"
    if thousands:
        separator = f"[{_SPACES}]" if thousands == " " else re.escape(thousands)
        whole = rf"(?:[0-9]{{1,3}}(?:{separator}[0-9]{{3}})+|[0-9]+)"
    return rf"[-+]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][-+]?[0-9]+)?"


def parse_booleans(texts: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Return the texts as true or false (yes/no, y/n, t/f, 1/0 in any case), and which of them are neither."""
    keys = texts.str.strip().str.lower()
    found = keys.map(dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)).astype("boolean")
    return found, (texts.notna() & found.isna()).to_numpy()
