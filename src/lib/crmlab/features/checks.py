"""What is refused before anything is computed: rows that do not say whose or when, declarations that lead nowhere."""

import re
from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
import pandas as pd

from crmlab.schema import TABLES, DataError, ParameterError, did_you_mean

from .declare import Declaration, Difference, Linked, Ratio, Total
from .fields import own_table

__all__ = ["check_declarations", "check_numbers", "check_rows"]

_KINDS = get_args(Declaration)
_FORMULAS = (Difference, Ratio, Total)


def check_rows(rows: pd.DataFrame, key: str) -> None:
    """Check that every row says of whom, as text, and that `as_of` is naive UTC, on every row or on none.

    Raises
    ------
    DataError : it does not.
    """
    if "as_of" not in rows:
        raise DataError("Rows must say at which date to look.", found="no column `as_of`", remedy="add it; UTC.")
    _check_keys(rows[key])
    as_of = rows["as_of"]
    if not isinstance(as_of.dtype, np.dtype) or as_of.dtype.kind != "M":
        raise DataError(
            "`as_of` must hold times in UTC without a time zone.",
            found=f"type {as_of.dtype}",
            remedy="convert it, such as by .dt.tz_convert('UTC').dt.tz_localize(None).",
        )
    n_empty = int(as_of.isna().sum())
    if 0 < n_empty < len(as_of):
        raise DataError(
            "Some rows say at which date to look, others do not.",
            found=f"{n_empty:,} of {len(as_of):,} rows without `as_of`",
            remedy="give every row an `as_of`, or none.",
        )


def _check_keys(keys: pd.Series) -> None:
    n_empty = int(keys.isna().sum())
    if n_empty:
        raise DataError(
            f"Some rows have no `{keys.name}`.",
            found=f"{n_empty:,} of {len(keys):,} rows",
            remedy="leave them out, and say so.",
        )
    kind = "string" if isinstance(keys.dtype, pd.StringDtype) else pd.api.types.infer_dtype(keys)
    if kind not in ("string", "empty"):
        raise DataError(
            f"`{keys.name}` must hold text, as in the canonical tables.",
            found=kind,
            remedy='convert it: .astype("str").',
        )


def check_declarations(entity: str, declarations: Sequence[Declaration], windows: tuple[int, ...]) -> None:
    """Check that formulas and links name what is declared before them, and that links name a column of the entity.

    Raises
    ------
    ParameterError : one does not, or is no declaration at all.
    """
    if not isinstance(declarations, Sequence) or isinstance(declarations, str):
        raise ParameterError("`features` must be a list of declarations.", remedy="put the one you have into brackets.")
    given: list[str] = []
    for declaration in declarations:
        if not isinstance(declaration, _KINDS):
            raise ParameterError(
                "This is no declaration of a feature.",
                found=repr(declaration)[:80],
                remedy=f"write one of {', '.join(kind.__name__ for kind in _KINDS)}.",
            )
        if isinstance(declaration, _FORMULAS):
            for name in (declaration.first, declaration.second):
                _check_declared(f"`{declaration.name}` is made of", name, given)
        if isinstance(declaration, Linked):
            _check_link(entity, declaration, given)
        given += _names(declaration, windows)


def _check_link(entity: str, link: Linked, given: list[str]) -> None:
    home = own_table(entity)[0]
    columns = TABLES[home].names if home else []
    if link.by not in columns:
        _check_declared(f"Features `{link.prefix}_…` are linked by", link.by, given)


def _check_declared(what: str, name: str, given: list[str]) -> None:
    if not any(re.fullmatch(re.escape(g).replace(r"\{\}", ".+"), name) for g in given):
        raise ParameterError(
            f"{what} `{name}`, which nothing before it declares.", found=name, remedy=did_you_mean(name, given)
        )


def _names(declaration: Declaration, windows: tuple[int, ...]) -> Iterator[str]:
    """Names that a declaration can give; {} stands for a value of the source."""
    if isinstance(declaration, Linked):
        for feature in declaration.features:
            yield from (f"{declaration.prefix}_{name}" for name in _names(feature, windows))
    elif hasattr(declaration, "names"):
        yield from declaration.names(windows)


def check_numbers(declaration: Declaration, *columns: object) -> None:
    """Check that a formula is made of numbers.

    Raises
    ------
    DataError : a column holds words.
    """
    if any(column is not None and not isinstance(column, np.ndarray) for column in columns):
        raise DataError(
            f"`{declaration.name}` cannot be computed from words.",
            found=f"{declaration.first}, {declaration.second}",
            remedy="use features that are numbers.",
        )
