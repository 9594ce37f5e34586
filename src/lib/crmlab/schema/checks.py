"""Give a frame the canonical types, and refuse rows that do not keep what the schema promises."""

import re

import pandas as pd

from .columns import Column, Table
from .errors import DataError, did_you_mean
from .tables import table

__all__ = ["conform_table", "empty_table", "pandera_schema"]

OWN_COLUMN = re.compile(r"x_[a-z0-9_]+")
_DTYPES = {
    "id": "str",
    "text": "str",
    "category": "str",
    "number": "float64",
    "integer": "Int64",
    "boolean": "boolean",
    "time": "datetime64[us]",
}


def empty_table(name: str) -> pd.DataFrame:
    """Return the canonical table without rows."""
    return pd.DataFrame({c.name: pd.Series(dtype=_DTYPES[c.kind]) for c in table(name).columns})


def conform_table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` as the canonical table `name`: columns in order, typed, checked.

    Missing optional columns are added empty. Own columns (`x_…`) follow the canonical ones where the table allows them.

    Raises
    ------
    DataError : an unknown or missing column, a value of the wrong type, an empty required value, a repeated key, a
        value outside the allowed list or range. Messages count rows and never show values of personal columns.
    """
    spec = table(name)
    own = _own_columns(spec, frame)
    missing = [c.name for c in spec.columns if c.required and c.name not in frame]
    if missing:
        raise DataError(
            f"Table `{name}` lacks the required column(s) {', '.join(missing)}.",
            found=f"columns {', '.join(map(str, frame.columns)) or 'none'}",
            remedy="map a column of your data to each of them.",
        )
    typed = {c.name: _typed(name, c, frame) for c in spec.columns}
    result = pd.DataFrame(typed | {c: frame[c].reset_index(drop=True) for c in own})
    _check(spec, result)
    return result


def pandera_schema(name: str) -> "object":
    """Return the pandera schema (`pandera.pandas.DataFrameSchema`) of a canonical table."""
    import pandera.pandas as pa

    spec = table(name)
    columns = {
        c.name: pa.Column(
            dtype=None,
            checks=_pandera_checks(pa, c),
            nullable=not c.required,
            description=c.meaning,
        )
        for c in spec.columns
    }
    return pa.DataFrameSchema(columns, unique=list(spec.key), strict=not spec.open_columns, name=name)


def _pandera_checks(pa: "object", column: Column) -> list:
    checks = []
    if column.values:
        checks.append(pa.Check.isin(column.values))
    if column.low is not None:
        checks.append(pa.Check.ge(column.low))
    if column.high is not None:
        checks.append(pa.Check.le(column.high))
    return checks


def _own_columns(spec: Table, frame: pd.DataFrame) -> list[str]:
    extra = [c for c in frame.columns if c not in spec.names]
    bad = [c for c in extra if not (spec.open_columns and OWN_COLUMN.fullmatch(str(c)))]
    if bad:
        own = " Own columns begin with `x_`, in lower case." if spec.open_columns else ""
        raise DataError(
            f"Table `{spec.name}` has no column `{bad[0]}`.",
            found=f"{len(bad)} unknown column(s): {', '.join(map(str, bad[:5]))}",
            remedy=did_you_mean(str(bad[0]), spec.names) + own,
        )
    return extra


def _typed(table_name: str, column: Column, frame: pd.DataFrame) -> pd.Series:
    if column.name not in frame:
        return pd.Series([None] * len(frame), dtype=_DTYPES[column.kind])
    values = frame[column.name].reset_index(drop=True)
    try:
        return _cast(values, column.kind)
    except (ValueError, TypeError, OverflowError, pd.errors.OutOfBoundsDatetime) as error:
        raise DataError(
            f"Column `{table_name}.{column.name}` must hold {_in_words(column)}.",
            found=_found(values, column, error),
            remedy="correct the values, or the column's type, format or unit in the mapping.",
        ) from error


def _cast(values: pd.Series, kind: str) -> pd.Series:
    if kind == "time" and not pd.api.types.is_datetime64_any_dtype(values) and values.notna().any():
        raise TypeError("not timestamps")
    if kind == "time" and getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if kind in ("number", "integer") and not pd.api.types.is_numeric_dtype(values):
        values = pd.to_numeric(values)
    if kind in ("id", "text", "category") and pd.api.types.is_float_dtype(values) and values.notna().any():
        raise TypeError("numbers with decimals")
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    return values.astype(_DTYPES[kind])


def _in_words(column: Column) -> str:
    return {"time": "timestamps", "number": "numbers", "integer": "whole numbers", "boolean": "true or false"}.get(
        column.kind, "text"
    )


def _found(values: pd.Series, column: Column, error: Exception) -> str:
    if column.personal:
        return f"{values.dtype} values that do not convert"
    if column.kind in ("number", "integer") and not pd.api.types.is_numeric_dtype(values):
        bad = values[pd.to_numeric(values, errors="coerce").isna() & values.notna()]
        return f"{len(bad)} of {len(values)} rows, such as {bad.iloc[0]!r}" if len(bad) else str(error)
    return f"{values.dtype} values; {error}"


def _check(spec: Table, frame: pd.DataFrame) -> None:
    """Run the pandera schema and turn its first kind of failure into an error a person can act on."""
    _check_keys(spec, frame)
    import pandera.pandas as pa

    try:
        pandera_schema(spec.name).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise DataError(*_first_failure(spec, frame, error.failure_cases)) from None


def _first_failure(spec: Table, frame: pd.DataFrame, cases: pd.DataFrame) -> "tuple[str]":
    name = cases["column"].iloc[0]
    column = spec[name]
    rows = cases[cases["column"] == name]
    share = f"{rows['index'].nunique():,} of {len(frame):,} rows"
    if column.required and frame[name].isna().any():
        return (f"Column `{spec.name}.{name}` may not be empty: it is in {frame[name].isna().sum():,} of {len(frame):,} rows.",)
    example = "" if column.personal else f", such as {str(rows['failure_case'].iloc[0])!r}"
    return (f"Column `{spec.name}.{name}` must be {_allowed(column)}: it is not in {share}{example}.",)


def _allowed(column: Column) -> str:
    if column.values:
        return f"one of {', '.join(column.values)}"
    low = "" if column.low is None else f"at least {column.low:g}"
    high = "" if column.high is None else f"at most {column.high:g}"
    return " and ".join(filter(None, (low, high)))


def _check_keys(spec: Table, frame: pd.DataFrame) -> None:
    repeated = frame.duplicated(list(spec.key), keep=False)
    if repeated.any():
        first = int(repeated.to_numpy().argmax()) + 1
        raise DataError(
            f"Table `{spec.name}` must have one row per {' and '.join(spec.key)}.",
            found=f"{int(repeated.sum()):,} of {len(frame):,} rows share their key with another; the first is row {first:,}",
            remedy="remove the repeated rows, or choose a key that tells them apart.",
        )
