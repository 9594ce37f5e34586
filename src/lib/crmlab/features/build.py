"""From a CRM to one row of features per (entity, as_of), from facts known strictly before `as_of`.

A window of w days is [as_of − w, as_of). An interaction logged late counts from the moment it was logged. Every feature
is a pure function of the facts visible at the row's own `as_of`: deleting or changing anything later changes no bit.
Which features there are depends on the source as a whole, never on the rows asked for: one row gives what many give.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.schema import ENTITY_KEYS, TABLES, ParameterError
from crmlab.snapshots import entity_of

from .accounts import account_features
from .checks import check_declarations, check_numbers, check_rows
from .declare import (
    WINDOWS,
    Calendar,
    Declaration,
    Feature,
    Field,
    Linked,
    Notes,
    OwnFields,
    Tags,
    check_windows,
)
from .derived import formula_column
from .events import encode_events, read_vocabulary
from .fields import calendar_column, field_column, note_columns, own_columns, own_table, tag_columns
from .kernel import MISSING
from .leads import lead_features
from .opportunities import opportunity_features
from .partition import compute_partition, sort_rows
from .plan import Output, ViewPlan, check_feature, plan_view
from .reps import rep_features, team_features
from .views import VIEWS

__all__ = ["Study", "build_features", "declared", "plan_features"]

_DECLARED = {
    "lead": lead_features,
    "opportunity": opportunity_features,
    "account": account_features,
    "rep": rep_features,
    "team": team_features,
}

Column = np.ndarray | pd.api.extensions.ExtensionArray


def declared(entity: str) -> tuple[Declaration, ...]:
    """Return what the project declares for `lead`, `opportunity`, `account`, `rep` or `team`.

    Raises
    ------
    ParameterError : it is none of these.
    """
    if entity not in _DECLARED:
        raise ParameterError(
            "There are no features for this kind of thing.", found=entity, remedy=f"kinds are: {', '.join(_DECLARED)}."
        )
    return _DECLARED[entity]()


def build_features(
    crm: Crm,
    snapshots: pd.DataFrame,
    *,
    features: Sequence[Declaration] | None = None,
    windows: Sequence[int] = WINDOWS,
) -> pd.DataFrame:
    """Return features, one row per row of `snapshots`, in its order and with its index.

    Parameters
    ----------
    snapshots : frame with the entity's id (lead_id, opportunity_id, account_id, rep_id or team) and as_of; where
        `as_of` is empty (a study without dates) only fields are built.
    features : declarations; None for those of the project.
    windows : days to look back, for declarations that leave them to the study; positive.

    Returns
    -------
    Counts as int32, other numbers as float64 with NaN for missing, categories as `str`.

    Raises
    ------
    ParameterError : a declaration or window that makes no sense.
    DataError : a column without history, one that is no measure, or one that does not exist; rows without an id, with
        dates in part, or with dates that are no naive times.
    """
    check_windows(tuple(windows))
    study = Study(crm, windows=tuple(int(w) for w in windows))
    entity = entity_of(snapshots)
    declarations = declared(entity) if features is None else features
    check_rows(snapshots, ENTITY_KEYS[entity])
    check_declarations(entity, declarations, study.windows)
    keys, as_of = snapshots[ENTITY_KEYS[entity]], snapshots["as_of"]
    if as_of.isna().any():
        declarations = tuple(d for d in declarations if isinstance(d, Field | OwnFields))
    columns = study.columns(entity, declarations, keys, as_of)
    return pd.DataFrame(columns, index=snapshots.index, columns=pd.Index(list(columns), dtype="str"))


def plan_features(
    crm: Crm, entity: str, features: Sequence[Declaration], *, windows: Sequence[int] = WINDOWS
) -> list[ViewPlan]:
    """Return the plans of what is made of events: all that is needed to compute it elsewhere, without the CRM."""
    check_windows(tuple(windows))
    check_declarations(entity, features, tuple(windows))
    measured = [feature for feature in features if isinstance(feature, Feature)]
    return [plan for plan in Study(crm, windows=tuple(windows)).plans(entity, measured) if plan.outputs]


class Study:
    """A CRM and the windows of a study; keeps the events that several entities share.

    Parameters
    ----------
    windows : days to look back where a declaration does not say.
    """

    def __init__(self, crm: Crm, *, windows: tuple[int, ...]) -> None:
        self.crm, self.windows = crm, windows
        self._frames: dict[tuple[int, str, str], pd.DataFrame] = {}

    def events(self, view: str, entity: str, *, whole: bool = False) -> pd.DataFrame:
        """Return the events of a view for a kind of entity; `whole`: of the CRM that this one was cut from."""
        crm = self.crm.whole if whole else self.crm
        # Only the change log and the ownership of reps and teams depend on who asks.
        shape = entity if view == "changes" else str(entity in ("rep", "team"))
        key = (id(crm), view, shape)
        if key not in self._frames:
            self._frames[key] = VIEWS[view].build(crm, entity)
        return self._frames[key]

    def plans(self, entity: str, features: Sequence[Feature]) -> list[ViewPlan]:
        """Return one plan per view of the declarations."""
        return [self._plan(view, entity, chosen) for view, chosen in _by_view(entity, features)]

    def _plan(self, view: str, entity: str, features: list[Feature]) -> ViewPlan:
        whole = self.events(view, entity, whole=True)
        vocabulary = read_vocabulary(view, features, whole, VIEWS[view].links[entity])
        return plan_view(view, entity, features, vocabulary, windows=self.windows)

    def columns(
        self, entity: str, declarations: Sequence[Declaration], keys: pd.Series, as_of: pd.Series
    ) -> dict[str, Column]:
        """Return the features of (key, as_of) pairs, by name in the order of their declaration."""
        measured = self._measured(entity, [d for d in declarations if isinstance(d, Feature)], keys, as_of)
        found: dict[str, Column] = {}
        shown: list[str] = []
        for declaration in declarations:
            part = dict(self._resolve(entity, declaration, measured, found, keys, as_of))
            _check_new(part, found)
            found |= part
            shown += [] if declaration.hidden else list(part)
        return {name: found[name] for name in shown}

    def _resolve(
        self,
        entity: str,
        declaration: Declaration,
        measured: Mapping[int, dict[str, Column]],
        found: Mapping[str, Column],
        keys: pd.Series,
        as_of: pd.Series,
    ) -> Iterator[tuple[str, Column]]:
        """The features of one declaration that this source has, by name."""
        match declaration:
            case Feature():
                yield from measured[id(declaration)].items()
            case Field():
                column = field_column(self.crm, entity, declaration, keys, as_of)
                if column is not None:
                    yield declaration.names()[0], column
            case OwnFields():
                yield from own_columns(self.crm, entity, keys, dated=bool(as_of.notna().all())).items()
            case Calendar():
                column = calendar_column(self.crm, entity, declaration.name, keys, as_of)
                if column is not None:
                    yield declaration.name, column
            case Linked():
                yield from self._linked(entity, declaration, found, keys, as_of).items()
            case Tags():
                yield from tag_columns(self.crm, entity, keys, as_of).items()
            case Notes():
                yield from note_columns(self.crm, entity, declaration, keys, as_of).items()
            case _:
                check_numbers(declaration, found.get(declaration.first), found.get(declaration.second))
                column = formula_column(declaration, found)
                if column is not None:
                    yield declaration.name, column

    def _measured(
        self, entity: str, features: Sequence[Feature], keys: pd.Series, as_of: pd.Series
    ) -> dict[int, dict[str, Column]]:
        """Features of events, by the declaration that they come from."""
        result: dict[int, dict[str, Column]] = {id(feature): {} for feature in features}
        plans = [plan for plan in self.plans(entity, features) if plan.outputs]
        if not plans:
            return result
        codes, ids = pd.factorize(keys)
        since = self._since(entity, pd.Index(ids))[codes]
        times = as_of.to_numpy("datetime64[us]").view(np.int64)
        # What has not begun by then has no beginning yet.
        rows, place = sort_rows(codes, times, np.where(since < times, since, MISSING), len(ids))
        for plan in plans:
            frame = self._in_order(plan, self.events(plan.view, entity))
            events = encode_events(plan, frame, pd.Index(ids), VIEWS[plan.view].links[entity])
            values = compute_partition([plan], rows, {plan.view: events})
            for output in plan.outputs:
                result[id(output.feature)][output.name] = _column(plan, output, values[output.name][place])
        return result

    def _in_order(self, plan: ViewPlan, frame: pd.DataFrame) -> pd.DataFrame:
        """Where values are shown: events by identifier, which decides between those of one instant."""
        name = VIEWS[plan.view].tables[0]
        if not len(plan.tables["last_value"]):
            return frame
        ids = self.crm[name][list(TABLES[name].key)]
        if len(TABLES[name].key) == 1 and ids.iloc[:, 0].is_monotonic_increasing:
            return frame
        order = ids.sort_values(list(ids), kind="stable").index
        return frame.loc[order[order.isin(frame.index)]]

    def _since(self, entity: str, ids: pd.Index) -> np.ndarray:
        table, key, start = own_table(entity)
        if table is None:
            return np.full(len(ids), MISSING)
        frame = self.crm[table]
        known = pd.Series(frame[start].to_numpy("datetime64[us]"), index=frame[key]).reindex(ids)
        return known.to_numpy("datetime64[us]").view(np.int64)

    def _linked(
        self, entity: str, link: Linked, found: Mapping[str, Column], keys: pd.Series, as_of: pd.Series
    ) -> dict[str, Column]:
        """Features of the other entity, computed once per (other, date) and looked up."""
        others = _named_by(self.crm, entity, link, found, keys)
        if others is None:
            return {}
        who, ids = pd.factorize(others)
        when, dates = pd.factorize(as_of)
        pairs, place = np.unique(np.where(who < 0, -1, who * np.int64(len(dates)) + when), return_inverse=True)
        n_empty = int(len(pairs) > 0 and pairs[0] < 0)
        asked = pairs[n_empty:]
        other_keys = pd.Series(np.asarray(ids, dtype=object)[asked // max(len(dates), 1)], dtype="str")
        other_dates = pd.Series(np.asarray(dates)[asked % max(len(dates), 1)], dtype="datetime64[us]")
        columns = self.columns(link.entity, link.features, other_keys, other_dates)
        return {f"{link.prefix}_{name}": _gather(column, place - n_empty) for name, column in columns.items()}


def _by_view(entity: str, features: Sequence[Feature]) -> list[tuple[str, list[Feature]]]:
    """Declarations by view, for the views in which this kind of entity takes part."""
    chosen: dict[str, list[Feature]] = {}
    for feature in features:
        check_feature(feature)
        if entity not in VIEWS[feature.view].links:
            raise ParameterError(
                f"Feature `{feature.name}`: events `{feature.view}` do not belong to this kind of entity.",
                found=entity,
                remedy=f"they belong to: {', '.join(VIEWS[feature.view].links)}.",
            )
        chosen.setdefault(feature.view, []).append(feature)
    return list(chosen.items())


def _named_by(crm: Crm, entity: str, link: Linked, found: Mapping[str, Column], keys: pd.Series) -> pd.Series | None:
    """Ids of the other entity, row by row; None where the source does not tell."""
    if link.by in found:
        return pd.Series(found[link.by], index=keys.index, dtype="str")
    table, key, _ = own_table(entity)
    if table is None or link.by not in TABLES[table].names:
        return None
    if TABLES[table][link.by].known != TABLES[table].known_at:
        return None  # today's link: whose it was on an earlier date stands in the change log or nowhere
    frame = crm[table]
    if crm.whole[table][link.by].isna().all():
        return None
    named = pd.Series(frame[link.by].to_numpy(dtype=object), index=frame[key]).reindex(keys)
    return pd.Series(named.to_numpy(dtype=object), index=keys.index, dtype="str")


def _check_new(part: Mapping[str, Column], found: Mapping[str, Column]) -> None:
    twice = [name for name in part if name in found]
    if twice:
        raise ParameterError(
            "Two declarations give features of the same name.",
            found=", ".join(twice),
            remedy="give one of them another name.",
        )


def _column(plan: ViewPlan, output: Output, values: np.ndarray) -> Column:
    if output.encoding != "category":
        return values
    names = pd.array(np.asarray(plan.vocabularies[f"={output.value}"], dtype=object), dtype="str")
    return names.take(values, allow_fill=True)


def _gather(column: Column, place: np.ndarray) -> Column:
    """Values at their places, missing where the place is −1."""
    if not isinstance(column, np.ndarray):
        return column.take(place, allow_fill=True)
    if len(column) == 0:
        return np.full(len(place), np.nan)
    return np.where(place < 0, np.nan, column[place])
