"""Features that are no events: columns filled at creation, own columns, and what dates alone decide."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.privacy import Names, person_names
from crmlab.schema import TABLES, DataError, ParameterError, did_you_mean, table

from .declare import Field, Notes
from .derived import month, quarter_days_left
from .tags import is_labels, label_columns
from .text import is_free_text, note_features
from .views import newest_change

__all__ = [
    "calendar_column",
    "check_field",
    "field_column",
    "note_columns",
    "own_columns",
    "own_table",
    "own_usable",
    "tag_columns",
]

_OWN_TABLES = {
    "lead": ("leads", "lead_id", "created_at"),
    "opportunity": ("opportunities", "opportunity_id", "created_at"),
    "account": ("accounts", "account_id", "created_at"),
    "rep": ("reps", "rep_id", "hired_at"),
    "team": (None, "team", None),
}
_THROUGH = {
    "accounts": ("account_id", "created_at"),
    "contacts": ("contact_id", "created_at"),
    "leads": ("lead_id", "created_at"),
}
_OWN_BUCKETS = 16
_DAY = np.timedelta64(1, "D").astype("timedelta64[us]")

Column = np.ndarray | pd.api.extensions.ExtensionArray


def own_table(entity: str) -> tuple[str | None, str, str | None]:
    """Return the table of an entity, its key and the column that says when one began; a team has no table."""
    return _OWN_TABLES[entity]


def field_column(crm: Crm, entity: str, field: Field, keys: pd.Series, as_of: pd.Series) -> Column | None:
    """Return a field of each row, or None where the source never fills it.

    Raises
    ------
    DataError : the column does not exist, has no history, or measures nothing.
    """
    home, key, _ = own_table(entity)
    _check_home(entity, f"Field `{field.column}`")
    check_field(crm, field.through or home, field.column)
    _check_through(home, field)
    own = _looked_up(crm[home], key, field.column, keys) if not field.through else None
    if not field.through and not field.fallback:
        return _as_column(own) if crm.whole[home][field.column].notna().any() else None
    through = field.through or "accounts"
    link = _looked_up(crm[home], key, _THROUGH[through][0], keys)
    if not _is_ever_filled(crm, home, field, through):
        return None
    other = _from_other(crm, through, field.column, link, as_of)
    return _as_column(other if own is None else own.where(own.notna(), other.astype(own.dtype)))


def own_columns(crm: Crm, entity: str, keys: pd.Series, *, dated: bool) -> dict[str, Column]:
    """Return the own columns (`x_…`) of the entity that can be features and that the source ever fills."""
    home, key, start = own_table(entity)
    found: dict[str, Column] = {}
    for name in (c for c in crm[home] if c.startswith("x_") and own_usable(crm, home, c, dated=dated)):
        whole = crm.whole[home][name]
        if whole.isna().all():
            continue
        values = _looked_up(crm[home], key, name, keys)
        if is_labels(whole):
            found |= label_columns(values.to_numpy(dtype=object, na_value=None), whole, prefix=name)
        elif is_free_text(whole):
            texts = values.to_numpy(dtype=object, na_value=None)
            written = _looked_up(crm[home], key, start, keys).to_numpy("datetime64[us]")
            found |= note_features(texts, _people(crm), at=written, n_buckets=_OWN_BUCKETS, prefix=name)
        else:
            found[name] = _as_column(values)
    return found


def note_columns(crm: Crm, entity: str, notes: Notes, keys: pd.Series, as_of: pd.Series) -> dict[str, Column]:
    """Return the newest note of each row as hashed words; nothing where the source keeps no history of notes."""
    changes = crm.whole["changes"]
    if not ((changes["entity"] == entity) & (changes["field"] == "notes")).any():
        return {}
    log, place = newest_change(crm, entity, "notes", keys, as_of, inclusive=False)
    seen, where = np.unique(place, return_inverse=True)
    text = log["new_value"].array.take(seen, allow_fill=True).to_numpy(dtype=object, na_value=None)
    written = log["changed_at"].array.take(seen, allow_fill=True).to_numpy("datetime64[us]")
    columns = note_features(text, _people(crm), at=written, n_buckets=notes.n_buckets)
    return {name: values[where] for name, values in columns.items()}


def tag_columns(crm: Crm, entity: str, keys: pd.Series, as_of: pd.Series) -> dict[str, Column]:
    """Return the tags of each row as they stood; nothing where the source keeps no history of them."""
    changes = crm.whole["changes"]
    whole = changes.loc[(changes["entity"] == entity) & (changes["field"] == "tags"), "new_value"]
    if whole.empty:
        return {}
    log, place = newest_change(crm, entity, "tags", keys, as_of, inclusive=False)
    values = log["new_value"].array.take(place, allow_fill=True).to_numpy(dtype=object, na_value=None)
    return label_columns(values, whole, prefix="tag")


def _people(crm: Crm) -> Names:
    """Names of everybody in the source, each known from when its row was."""
    return person_names(crm.whole["contacts"], crm.whole["reps"])


def own_usable(crm: Crm, home: str, column: str, *, dated: bool) -> bool:
    """Own columns of unknown date serve only where there are no dates at all, and the report says so."""
    if pd.api.types.is_datetime64_any_dtype(crm[home][column].dtype):
        return False
    return crm.known_of(column) == "creation" or (crm.known_of(column) == "unknown" and not dated)


def calendar_column(crm: Crm, entity: str, name: str, keys: pd.Series, as_of: pd.Series) -> Column | None:
    """Return what dates alone decide, or None where the source lacks the date.

    Raises
    ------
    ParameterError : there is no such calendar feature.
    """
    if name not in _CALENDAR and name not in _SEASONS:
        raise ParameterError(
            "There is no such calendar feature.", found=name, remedy=did_you_mean(name, [*_CALENDAR, *_SEASONS])
        )
    if name in _SEASONS:
        return _SEASONS[name](as_of.to_numpy("datetime64[us]").view(np.int64))
    home, key, start = own_table(entity)
    _check_home(entity, f"Calendar feature `{name}`", only=_ONLY.get(name))
    return _CALENDAR[name](crm, home, key, start, keys, as_of)


_ONLY = {"customer_days": "account", "lead_to_opportunity_days": "opportunity"}


def _check_home(entity: str, what: str, *, only: str | None = None) -> None:
    if entity == "team" or (only and entity != only):
        raise ParameterError(
            f"{what} does not exist for this kind of entity.", found=entity, remedy=f"ask for {only or 'another'}."
        )


def _check_through(home: str, field: Field) -> None:
    through = field.through or ("accounts" if field.fallback else "")
    if through and (through not in _THROUGH or _THROUGH[through][0] not in TABLES[home].names):
        raise ParameterError(
            f"Field `{field.column}` cannot be taken through `{through}`.",
            found=f"table `{home}`",
            remedy=f"take it from {', '.join(t for t, (k, _) in _THROUGH.items() if k in TABLES[home].names)}.",
        )


def _age_days(crm: Crm, home: str, key: str, start: str, keys: pd.Series, as_of: pd.Series) -> np.ndarray:
    began = _begun(crm, home, key, start, keys, as_of)
    return (as_of.to_numpy("datetime64[us]") - began.to_numpy("datetime64[us]")) / _DAY


def _begun(crm: Crm, home: str, key: str, start: str, keys: pd.Series, as_of: pd.Series) -> pd.Series:
    """When each began, missing where that is not known or had not come yet."""
    began = _looked_up(crm[home], key, start, keys)
    return began.where(began < as_of)


def _customer_days(crm: Crm, home: str, key: str, start: str, keys: pd.Series, as_of: pd.Series) -> np.ndarray | None:
    if "customer_since" not in crm[home] or crm.whole[home]["customer_since"].isna().all():
        return None
    since = _looked_up(crm[home], key, "customer_since", keys)
    since = since.where((since < as_of) & _begun(crm, home, key, start, keys, as_of).notna())
    return (as_of.to_numpy("datetime64[us]") - since.to_numpy("datetime64[us]")) / _DAY


def _lead_to_opportunity(
    crm: Crm, home: str, key: str, start: str, keys: pd.Series, as_of: pd.Series
) -> np.ndarray | None:
    if crm.whole[home]["lead_id"].isna().all():
        return None
    began = _begun(crm, home, key, start, keys, as_of)
    first = _begun(crm, "leads", "lead_id", "created_at", _looked_up(crm[home], key, "lead_id", keys), as_of)
    return (began.to_numpy("datetime64[us]") - first.to_numpy("datetime64[us]")) / _DAY


_SEASONS = {"month": month, "quarter_days_left": quarter_days_left}
_CALENDAR = {
    "age_days": _age_days,
    "customer_days": _customer_days,
    "lead_to_opportunity_days": _lead_to_opportunity,
}


def _looked_up(frame: pd.DataFrame, key: str, column: str, keys: pd.Series) -> pd.Series:
    """Value of each key, missing where the key is unknown or empty."""
    ids = pd.Index(frame[key])
    if not ids.is_unique:
        raise DataError(
            f"Some `{key}` stand in their table more than once.",
            found=f"{int(ids.duplicated().sum()):,} repeated",
            remedy="load the tables through the store, which refuses that.",
        )
    place = ids.get_indexer(keys)
    values = frame[column].array.take(place, allow_fill=True)
    return pd.Series(values, index=keys.index, name=column)


def _from_other(crm: Crm, through: str, column: str, link: pd.Series, as_of: pd.Series) -> pd.Series:
    """Value of what the entity belongs to, where that was in the CRM by then."""
    key, start = _THROUGH[through]
    value = _looked_up(crm[through], key, column, link)
    began = _looked_up(crm[through], key, start, link)
    return value.where((began < as_of) | as_of.isna())


def _as_column(values: pd.Series) -> Column:
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("float64").to_numpy()
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy("float64", na_value=np.nan)
    return values.astype("str").array


def _is_ever_filled(crm: Crm, home: str, field: Field, through: str) -> bool:
    whole = crm.whole
    linked = whole[home][_THROUGH[through][0]].notna().any() and whole[through][field.column].notna().any()
    return bool(linked or (not field.through and whole[home][field.column].notna().any()))


def check_field(crm: Crm, home: str, column: str) -> None:
    """Check that a column of a table can be a feature.

    Raises
    ------
    DataError : it does not exist, was filled or changed after creation, or names or dates something.
    """
    spec = table(home)
    if column not in crm[home]:
        raise DataError(f"Table `{home}` has no column `{column}`.", remedy=did_you_mean(column, list(crm[home])))
    known = crm.known_of(column) if column.startswith("x_") else spec[column].known
    if known not in ("creation", spec.known_at):
        raise DataError(
            f"Column `{home}.{column}` cannot be a feature: what it held on an earlier date is not known.",
            found="a column that was filled or changed after creation",
            remedy="leave it out, or map its history to the table `changes`.",
        )
    time = pd.api.types.is_datetime64_any_dtype(crm[home][column].dtype)
    if time or (column in spec.names and spec[column].kind in ("id", "text")):
        raise DataError(
            f"Column `{home}.{column}` cannot be a feature: it names or dates something and measures nothing.",
            remedy="leave it out; ages are features already.",
        )
