"""What it still takes: days and own contacts until the closing, as in won cases that once stood where this one stands.

An estimate from history [O19], not a promise, and it holds *if* the case is won: lost cases end sooner or later for
other reasons. Past rows are compared only where enough time has passed since (`follow_days`); otherwise only the quick
wins of recent months would be known.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.schema import ENTITY_KEYS, NotEnoughEvidence
from crmlab.snapshots import entity_of

__all__ = ["EffortHistory", "learn_effort"]

_WHERE = {"lead": "status", "opportunity": "stage"}
_ENDS = {"lead": ("leads", "converted_at"), "opportunity": ("opportunities", "closed_at")}
_QUANTILES = (0.1, 0.5, 0.9)
_MEASURES = ("days", "contacts")
_COLUMNS = [f"{m}_{part}" for m in _MEASURES for part in ("low", "left", "high")]
_MIN_CASES = 30
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class EffortHistory:
    """Remaining days and contacts of cases that were won.

    Attributes
    ----------
    cells : frame of where (stage or status; missing: any), age (0, 1, 2: third of the ages; -1: any), n (won cases),
        days_low, days_left, days_high, contacts_low, contacts_left, contacts_high: median, and the range that holds the
        middle 80 % of the won cases.
    age_edges : the two ages in days that part the thirds.
    where : the column that says where a case stands.
    """

    cells: pd.DataFrame
    age_edges: tuple[float, float]
    where: str

    def estimate(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of `cells` but where and age for each row, and `like`: whom it was compared with.

        The narrowest cell with enough won cases counts: stage and third of age, else the stage, else all.
        """
        keys = _keys(X, self.where, self.age_edges)
        table = self.cells.set_index(["where", "age"])
        found, like = pd.DataFrame(np.nan, X.index, ["n", *_COLUMNS]), pd.Series(None, index=X.index, dtype="str")
        stage, any_age = keys["where"], pd.Series(-1, index=X.index)
        steps = [(stage, keys["age"], "same stage and age"), (stage, any_age, "same stage"), (_ANY, any_age, "all won")]
        for where, age, words in steps:
            where = pd.Series(where, index=X.index) if isinstance(where, str) else where
            cell = table.reindex(pd.MultiIndex.from_arrays([where, age])).set_index(X.index)
            open_ = like.isna() & cell["n"].notna()
            found, like = found.mask(open_, cell[["n", *_COLUMNS]]), like.mask(open_, words)
        return found.assign(n=found["n"].astype("Int64"), like=like)


_ANY = "any"


def learn_effort(
    crm: Crm, rows: pd.DataFrame, X: pd.DataFrame, *, as_of: str, follow_days: int = 180, min_cases: int = _MIN_CASES
) -> EffortHistory:
    """Return what won cases still took, by stage and third of age.

    Parameters
    ----------
    rows, X : past rows of the study (key column, as_of) and their features, row for row.
    as_of : only wins and contacts known before it count.
    follow_days : rows younger than this are left out, because only their quick wins are known.
    min_cases : won cases (not rows) that a cell needs. Rows of one case count once, by their median.

    Own contacts are what the firm did: outgoing interactions and meetings, in either direction.

    Raises
    ------
    NotEnoughEvidence : fewer than `min_cases` won cases in all.
    """
    entity = entity_of(rows)
    key, rows, X = ENTITY_KEYS[entity], rows.reset_index(drop=True), X.reset_index(drop=True)
    end = _won_at(crm, entity, as_of=as_of).reindex(rows[key].to_numpy()).reset_index(drop=True)
    used = ((end > rows["as_of"]) & (rows["as_of"] <= as_instant(as_of) - follow_days * _DAY)).to_numpy(bool)
    if rows.loc[used, key].nunique() < min_cases:
        raise NotEnoughEvidence(
            "Too few won cases to say what others will still take.",
            found=f"{rows.loc[used, key].nunique():,} won cases whose past is known for {follow_days} days",
            remedy=f"wait until {min_cases} are known, or shorten `follow_days`.",
        )
    rows, X, end = rows[used], X[used], end[used]
    ages = X["age_days"] if "age_days" in X else pd.Series(0.0, index=X.index)
    edges = tuple(float(q) for q in ages.quantile([1 / 3, 2 / 3]))
    left = _keys(X, _WHERE[entity], edges).assign(
        case=rows[key],
        days=(end - rows["as_of"]) / _DAY,
        contacts=_contacts(crm, key, rows[key], rows["as_of"], end, as_of=as_of),
    )
    return EffortHistory(_cells(left, min_cases), edges, _WHERE[entity])


def _won_at(crm: Crm, entity: str, *, as_of: str) -> pd.Series:
    name, column = _ENDS[entity]
    table = crm.at(name, as_of=as_of)
    if entity == "opportunity":
        table = table[table["outcome"].eq("won").fillna(False).to_numpy(bool)]
    return table.set_index(ENTITY_KEYS[entity])[column]


def _keys(X: pd.DataFrame, where: str, edges: tuple[float, float]) -> pd.DataFrame:
    stage = X[where].fillna("unknown") if where in X else pd.Series("unknown", index=X.index)
    age = np.searchsorted(edges, X["age_days"].to_numpy(float), side="left") if "age_days" in X else 0
    return pd.DataFrame({"where": stage, "age": age}, index=X.index)


def _contacts(crm: Crm, key: str, ids: pd.Series, start: pd.Series, end: pd.Series, *, as_of: str) -> pd.Series | float:
    """Number of own contacts after `start` and up to `end`; missing where the source records none at all."""
    events = crm.at("interactions", as_of=as_of)
    if events[key].notna().sum() == 0:
        return np.nan
    own = events["direction"].eq("out") | events["type"].eq("meeting") | events["direction"].isna()
    events = events[own.fillna(True).to_numpy(bool)]
    codes = pd.Index(ids.unique())
    code = codes.get_indexer(events[key])
    times = np.sort(_placed(code[code >= 0], events["ts"].to_numpy()[code >= 0]))
    row = codes.get_indexer(ids)
    upto = [np.searchsorted(times, _placed(row, at.to_numpy()), side="right") for at in (start, end)]
    return pd.Series((upto[1] - upto[0]).astype(float), index=ids.index)


def _placed(code: np.ndarray, times: np.ndarray) -> np.ndarray:
    """One number that orders by case, then by second."""
    return code.astype("int64") * 10**11 + times.astype("datetime64[s]").astype("int64")


def _cells(left: pd.DataFrame, min_cases: int) -> pd.DataFrame:
    """Quantiles over cases at three depths; cells with too few cases are left out."""
    depths = [left, left.assign(age=-1), left.assign(age=-1, where=_ANY)]
    per_case = [d.groupby(["where", "age", "case"], sort=True)[list(_MEASURES)].median() for d in depths]
    parts = [_quantiles(cases.groupby(level=["where", "age"]), min_cases) for cases in per_case]
    return pd.concat(parts, ignore_index=True)


def _quantiles(groups: object, min_cases: int) -> pd.DataFrame:
    found = groups.quantile(list(_QUANTILES)).unstack()
    found.columns = _COLUMNS
    found.insert(0, "n", groups.size())
    return found[found["n"] >= min_cases].reset_index()
