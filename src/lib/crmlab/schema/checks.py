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
_OWN_KINDS = {
    "string": "text",
    "mixed": "text",
    "mixed-integer": "text",
    "empty": "text",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "boolean": "boolean",
    "datetime": "time",
    "datetime64": "time",
}
_MAX_EXACT = 2**53  # beyond it a float has lost digits of a whole number


def empty_table(name: str) -> pd.DataFrame:
    """Return the canonical table without rows."""
    return pd.DataFrame({c.name: pd.Series(dtype=_DTYPES[c.kind]) for c in table(name).columns})


def conform_table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` as the canonical table `name`: columns in order, typed, checked.

    Missing optional columns are added empty. Own columns (`x_…`) follow the canonical ones where the table allows them,
    as `str`, float64, boolean or datetime64[us]. Whole numbers given as identifiers become "1", never "1.0". Times with
    a zone are brought to UTC.

    Raises
    ------
    DataError : an unknown, missing or repeated column, a value of the wrong type, an empty required value, a repeated
        key, a value outside the allowed list or range. Messages count rows and never show values of personal columns.
    """
    spec = table(name)
    _check_no_column_twice(spec, frame)
    own = _own_columns(spec, frame)
    missing = [c.name for c in spec.columns if c.required and c.name not in frame]
    if missing:
        raise DataError(
            f"Table `{name}` lacks the required column(s) {', '.join(missing)}.",
            found=f"columns {', '.join(map(str, frame.columns)) or 'none'}",
            remedy="map a column of your data to each of them.",
        )
    typed = {c.name: _typed(name, c, frame) for c in spec.columns}
    result = pd.DataFrame(typed | {c: _typed(name, _own_column(c, frame[c]), frame) for c in own})
    _check_required(spec, result)
    _check_keys(spec, result)
    _check_values(spec, result)
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


def _check_no_column_twice(spec: Table, frame: pd.DataFrame) -> None:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(
            f"Table `{spec.name}` has the column `{twice[0]}` twice.",
            found=f"columns {', '.join(map(str, frame.columns))}",
            remedy="rename or leave out one of them.",
        )


def _own_column(name: str, values: pd.Series) -> Column:
    """Return the declaration of an own column; what it holds decides its kind."""
    plain = values.astype(values.cat.categories.dtype) if isinstance(values.dtype, pd.CategoricalDtype) else values
    inferred = pd.api.types.infer_dtype(plain, skipna=True)
    # An own column may hold anything about anyone, so its values are never shown.
    return Column(name, _OWN_KINDS.get(inferred, inferred), "", known="", personal=True)


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
        ) from (None if column.personal else error)  # the cause would show the value


def _cast(values: pd.Series, kind: str) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if kind == "time":
        return _as_time(values)
    if kind in ("number", "integer"):
        return _as_number(values).astype(_DTYPES[kind])
    if kind == "boolean":
        return values.astype("boolean")
    if kind in ("id", "text", "category"):
        return _as_text(values)
    raise TypeError(f"{kind} values are neither text, numbers, true or false, nor timestamps")


def _as_time(values: pd.Series) -> pd.Series:
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in ("datetime", "datetime64"):
        values = pd.to_datetime(values, utc=True)
    if not pd.api.types.is_datetime64_any_dtype(values) and values.notna().any():
        raise TypeError("not timestamps")
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    return values.astype(_DTYPES["time"])


def _as_number(values: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(values):
        if values.dtype != object and not pd.api.types.is_string_dtype(values):
            raise TypeError("not numbers")
        values = pd.to_numeric(values)
    if pd.api.types.is_complex_dtype(values) or values.isin([float("inf"), float("-inf")]).any():
        raise ValueError("not finite real numbers")
    return values


def _as_text(values: pd.Series) -> pd.Series:
    """Return text. Whole numbers that a gap had turned into floats lose their `.0` again."""
    if pd.api.types.is_float_dtype(values) or values.dtype == object:
        values = values.astype(object).map(_plain_text, na_action="ignore")
    return values.astype("str")


def _plain_text(value: object) -> str:
    if isinstance(value, float):
        if not value.is_integer() or abs(value) > _MAX_EXACT:
            raise TypeError("numbers with decimals, or too long to be exact")
        return str(int(value))
    if isinstance(value, bytes | list | dict | set | tuple):
        raise TypeError(f"{type(value).__name__} values")
    return str(value)


def _in_words(column: Column) -> str:
    words = {"time": "timestamps", "number": "numbers", "integer": "whole numbers", "boolean": "true or false"}
    return words.get(column.kind, "text")


def _found(values: pd.Series, column: Column, error: Exception) -> str:
    if column.personal:
        return f"{values.dtype} values that do not convert"
    if column.kind in ("number", "integer") and not pd.api.types.is_numeric_dtype(values):
        bad = values[pd.to_numeric(values, errors="coerce").isna() & values.notna()]
        return f"{len(bad)} of {len(values)} rows, such as {bad.iloc[0]!r}" if len(bad) else str(error)
    return f"{values.dtype} values; {error}"


def _check_required(spec: Table, frame: pd.DataFrame) -> None:
    for column in spec.columns:
        empty = int(frame[column.name].isna().sum()) if column.required else 0
        if empty:
            raise DataError(
                f"Column `{spec.name}.{column.name}` may not be empty.",
                found=f"{empty:,} of {len(frame):,} rows without a value",
                remedy="fill the rows or leave them out of the file, or map another column.",
            )


def _check_keys(spec: Table, frame: pd.DataFrame) -> None:
    repeated = frame.duplicated(list(spec.key), keep=False)
    if repeated.any():
        first = int(repeated.to_numpy().argmax()) + 1
        raise DataError(
            f"Table `{spec.name}` must have one row per {' and '.join(spec.key)}.",
            found=f"{int(repeated.sum()):,} of {len(frame):,} rows share their key with another; "
            f"the first is row {first:,}",
            remedy="remove the repeated rows, or choose a key that tells them apart.",
        )


def _check_values(spec: Table, frame: pd.DataFrame) -> None:
    """Run the pandera schema and turn its first failure into an error that a person can act on."""
    import pandera.pandas as pa

    try:
        pandera_schema(spec.name).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise _first_failure(spec, frame, error.failure_cases) from None


def _first_failure(spec: Table, frame: pd.DataFrame, cases: pd.DataFrame) -> DataError:
    column = spec[cases["column"].iloc[0]]
    rows = cases[cases["column"] == column.name]
    example = "" if column.personal else f", such as {str(rows['failure_case'].iloc[0])!r}"
    return DataError(
        f"Column `{spec.name}.{column.name}` must be {_allowed(column)}.",
        found=f"{rows['index'].nunique():,} of {len(frame):,} rows with another value{example}",
        remedy="correct the values, or map them in the source.",
    )


def _allowed(column: Column) -> str:
    if column.values:
        return f"one of {', '.join(column.values)}"
    low = "" if column.low is None else f"at least {column.low:g}"
    high = "" if column.high is None else f"at most {column.high:g}"
    return " and ".join(filter(None, (low, high)))
