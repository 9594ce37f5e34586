"""Odoo's predictive lead scoring, the method to beat: naive Bayes over the final values of closed leads.

Written from a description of how Odoo behaves, not from its code. Two faces of one method: `PlsTable` keeps
the counts lead by lead as Odoo does, with updates and tooltips; `OdooScoring` is the same as an estimator of features.

What it is known to lack, and what makes it a floor: values as they ended instead of as they stood, no horizon, fields
taken as independent (hence overconfident), no calibration, and a team that learns nothing from the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from crmlab.schema import OPPORTUNITY_STAGES, DataError

from .contract import Context, PlainEstimator, check_both_classes, log_odds, newest_rows

__all__ = ["ALL_TEAMS", "OdooScoring", "PlsStage", "PlsTable", "pls_status"]

ALL_TEAMS = -1
"""Pseudo-team that sums every team and the leads without one; it scores leads whose team has no closed lead."""

_SMOOTHING = 0.1
"""What both counts of a new record start from; a count never falls below."""
_FEWEST_TAGGED = 50
"""A tag is ignored in a team until so many of its leads (both counts, smoothing included) were closed."""
_LOWEST, _HIGHEST = 0.01, 99.99
_STAGE, _TAG = "stage_id", "tag_id"
_STATES = ("email_state", "phone_state")
"""Fields whose emptiness counts as the value `False`; all others are skipped when empty."""
_SHOWN = 3

Counts = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class PlsStage:
    """A column of the pipeline: its name, its place, whether a lead in it is won, and its team (None: everybody's)."""

    name: str
    sequence: float
    won: bool = False
    team: object = None


class PlsTable:
    """Counts of won and lost leads per (team, field, value), and the scores that follow from them.

    A lead is a mapping: `team` (None: without), `stage` (name of a `PlsStage`), `status` ("won", "lost", "open"),
    `tags` (list), and the fields.

    Parameters
    ----------
    stages : the pipeline, in any order.
    fields : names of the fields used beside stage and tags.

    Examples
    --------
    >>> stages = [PlsStage("new", 1), PlsStage("won", 9, won=True)]
    >>> table = PlsTable(stages, ["source"])
    >>> table.add({"stage": "won", "source": "fair", "status": "won"})
    >>> table.add({"stage": "new", "source": "web", "status": "lost"})
    >>> table.score({"stage": "new", "source": "fair", "status": "open"})
    91.67
    """

    def __init__(self, stages: Iterable[PlsStage], fields: Iterable[str]) -> None:
        self.stages = tuple(stages)
        self.fields = tuple(fields)
        self._by_name = {stage.name: stage for stage in self.stages}
        self._counts: dict[tuple[object, str, str], list[float]] = {}
        self._tables: dict[object, Counts] | None = None

    @classmethod
    def from_leads(
        cls,
        leads: "Iterable[Mapping] | pd.DataFrame",
        stages: Iterable[PlsStage],
        fields: Iterable[str],
        *,
        created_from: pd.Timestamp | None = None,
    ) -> "PlsTable":
        """Count all closed leads, as Odoo's daily job does; with `created_from`, only leads `created_at` since then."""
        table = cls(stages, fields)
        for lead in leads.to_dict("records") if isinstance(leads, pd.DataFrame) else leads:
            if created_from is None or lead["created_at"] >= created_from:
                table.add(lead)
        return table

    def add(self, lead: Mapping) -> None:
        """Count a lead if it is closed; an open one contributes nothing."""
        if lead["status"] != "open":
            self._count(lead, lead["status"], 1.0)

    def update(self, before: Mapping, after: Mapping) -> None:
        """Follow one write: a lead that leaves won or lost is taken out, one that enters is counted.

        Both with the values from *before* the write, as Odoo does.
        """
        if before["status"] == after["status"]:
            return
        if before["status"] != "open":
            self._count(before, before["status"], -1.0)
        if after["status"] != "open":
            self._count(before, after["status"], 1.0)

    def counts(self) -> pd.DataFrame:
        """Return the records: team, field, value, won, lost."""
        rows = [(*key, *pair) for key, pair in self._counts.items()]
        return pd.DataFrame(rows, columns=["team", "field", "value", "won", "lost"])

    def score(self, lead: Mapping) -> float | None:
        """Return the probability in per cent with two decimals, 0.01 to 99.99; None where Odoo does not compute one.

        0 without a stage, 100 in a won stage. None: without a stage for all teams, or before anything was closed.
        """
        stage = self._stage(lead)
        if stage is None or stage.won:
            return 0.0 if stage is None else 100.0
        table = self._table_of(lead)
        won, lost = self._totals(table)
        if not (won and lost):
            return None
        as_won, as_lost = won / (won + lost), lost / (won + lost)
        for field, value in [(_STAGE, stage.name), *self._values(lead)]:
            pair, of = table.get(field, {}).get(value), (won, lost) if field == _STAGE else _sums(table.get(field, {}))
            if pair is not None and all(of):
                as_won, as_lost = as_won * pair[0] / of[0], as_lost * pair[1] / of[1]
        return min(max(round(100 * as_won / (as_won + as_lost), 2), _LOWEST), _HIGHEST)

    def tooltip(self, lead: Mapping) -> pd.DataFrame:
        """Return the fields that speak most for and most against a lead: field, value, share, direction.

        `share` is P(value | won) over that plus P(value | lost): above 0.5 speaks for. For the stage it is the share of
        lost leads that never got there. Three of each at most; exactly 0.5 is left out, and so are states of e-mail and
        phone that would speak against common sense.
        """
        table, stage = self._table_of(lead), self._stage(lead)
        shares = [(f, v, _share(table[f], v)) for f, v in self._values(lead) if v in table.get(f, {})]
        lost = self._totals(table)[1]
        if stage is not None and lost and stage.name in table.get(_STAGE, {}):
            shares.append((_STAGE, stage.name, 1 - table[_STAGE][stage.name][1] / lost))
        frame = pd.DataFrame(shares, columns=["field", "value", "share"]).astype({"share": "float64"})
        frame = frame[(frame["share"] != 0.5) & ~_absurd(frame)].sort_values("share", ascending=False, kind="stable")
        above = frame[frame["share"] > 0.5].head(_SHOWN).assign(direction="for")
        below = frame[frame["share"] < 0.5].tail(_SHOWN).iloc[::-1].assign(direction="against")
        return pd.concat([above, below], ignore_index=True)

    def _count(self, lead: Mapping, status: str, step: float) -> None:
        side = {"won": 0, "lost": 1}.get(status)
        if side is None:
            raise DataError("A lead is won, lost or open.", found=f"status `{status}`")
        for field, value in [*self._values(lead), *((_STAGE, name) for name in self._stages_counted(lead, status))]:
            key = (_team(lead), field, value)
            if step > 0:
                self._counts.setdefault(key, [_SMOOTHING, _SMOOTHING])
            if key in self._counts:
                count = self._counts[key][side] + step
                self._counts[key][side] = count if count > 0 else _SMOOTHING
        self._tables = None

    def _stages_counted(self, lead: Mapping, status: str) -> list[str]:
        """A win counts on every stage, a loss on the current one and those before."""
        if status == "won":
            return [stage.name for stage in self.stages]
        current = self._stage(lead)
        return [s.name for s in self.stages if current is not None and (s == current or s.sequence <= current.sequence)]

    def _values(self, lead: Mapping) -> list[tuple[str, str]]:
        fields = [(field, _text(lead.get(field), field)) for field in self.fields]
        tags = lead.get("tags")
        tagged = [(_TAG, str(tag)) for tag in tags] if isinstance(tags, list | tuple) else []
        return [(field, value) for field, value in fields if value is not None] + tagged

    def _stage(self, lead: Mapping) -> PlsStage | None:
        name = _text(lead.get("stage"), _STAGE)
        if name is not None and name not in self._by_name:
            raise DataError("A lead stands in a stage that the pipeline does not have.", found=f"stage `{name}`")
        return self._by_name.get(name)

    def _totals(self, table: Counts) -> tuple[float, float]:
        """Counts of the first stage that all teams share: every win and at least every loss is on it."""
        shared = [stage for stage in self.stages if stage.team is None]
        if not shared:
            return 0.0, 0.0
        return table.get(_STAGE, {}).get(min(shared, key=lambda s: s.sequence).name, (0.0, 0.0))

    def _table_of(self, lead: Mapping) -> Counts:
        if self._tables is None:
            self._tables = _tables_by_team(self._counts)
        return self._tables.get(_team(lead), self._tables[ALL_TEAMS])


class OdooScoring(PlainEstimator):
    """Odoo's method as an estimator: each entity's newest row is its final values, each category a field.

    Numbers are not used, as in Odoo. An entity without the outcome counts as lost. Where the stage has an order, a win
    counts on every stage and a loss on the stage reached and those before. Teams without a training row, and rows
    without a team, are scored by all rows together. Unlike Odoo's field, the probability is not rounded to 0.01 %, and
    a row without a stage gets no term for it instead of the score 0.

    Parameters
    ----------
    fields : columns to use; None: every text column with at most `max_levels` levels that is not an id, stage or team.
    stages : stages from first to last; a column with other values is used as a plain field.
    stage : column of the stage.
    team : column of the team.
    max_levels : most levels of a column chosen by default.

    Attributes
    ----------
    fields_, teams_ : names, in order.
    levels_ : field → its levels.
    prior_ : log odds before any field, shape (teams + 1,); the last is of all teams.
    evidence_ : field → log P(level | won) − log P(level | lost), shape (teams + 1, levels + 1); last: unknown levels.
    """

    def __init__(
        self,
        fields: tuple[str, ...] | None = None,
        stages: tuple[str, ...] = OPPORTUNITY_STAGES,
        stage: str = "stage",
        team: str = "owner_team",
        max_levels: int = 200,
    ) -> None:
        self.fields = fields
        self.stages = stages
        self.stage = stage
        self.team = team
        self.max_levels = max_levels

    def _fit(self, X: pd.DataFrame, y: np.ndarray, context: Context) -> None:
        """Count won and lost entities per team, field and value: the newest row of each, with its outcome."""
        if context.groups is not None:
            newest = newest_rows(context.groups, context.order)
            X, y = X.iloc[newest], y[newest]
            check_both_classes(y)
        self.fields_ = self._choose_fields(X)
        team = self._column(X, self.team)
        self.teams_ = sorted(team.dropna().unique().tolist())
        codes = _codes(team, self.teams_)
        self.levels_ = {f: sorted(X[f].dropna().astype("str").unique().tolist()) for f in self.fields_}
        self.evidence_ = {f: self._evidence(X[f], self.levels_[f], codes, y) for f in self.fields_}
        self._fit_stage(X, codes, y)

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability, between 0.0001 and 0.9999, shape (rows,)."""
        base, parts = self.log_odds_contributions(X)
        return np.clip(expit(base + parts.to_numpy().sum(axis=1)), _LOWEST / 100, _HIGHEST / 100)

    def log_odds_contributions(self, X: pd.DataFrame) -> tuple[float, pd.DataFrame]:
        """Return the log odds of all teams together, and what team, stage and fields of each row add; exactly additive.

        Where the probability is cut at 0.01 % or 99.99 %, the parts shrink by one factor to match.
        """
        team = _codes(self._column(X, self.team), self.teams_)
        parts = {self.team: self.prior_[team] - self.prior_[-1]} if self.teams_ else {}
        for field, evidence in self.evidence_.items():
            parts[field] = evidence[team, _codes(self._column(X, field), self.levels_[field])]
        base, frame = float(self.prior_[-1]), pd.DataFrame(parts, index=X.index)
        total = frame.to_numpy().sum(axis=1)
        room = np.clip(base + total, *log_odds(np.array([_LOWEST, _HIGHEST]) / 100)) - base
        return base, frame.mul(np.divide(room, total, out=np.ones(len(X)), where=total != 0), axis=0)

    def _choose_fields(self, X: pd.DataFrame) -> list[str]:
        if self.fields is not None:
            return [f for f in self.fields if f in X]
        text = [c for c in X.columns if not pd.api.types.is_numeric_dtype(X[c]) and not str(c).endswith("_id")]
        plain = [c for c in text if c != self.team and not (c == self.stage and self._has_order(X))]
        return [c for c in plain if 1 <= X[c].nunique() <= self.max_levels]

    def _has_order(self, X: pd.DataFrame) -> bool:
        return self.stage in X and X[self.stage].notna().any() and bool(X[self.stage].dropna().isin(self.stages).all())

    def _fit_stage(self, X: pd.DataFrame, team: np.ndarray, y: np.ndarray) -> None:
        """Set the prior of each team and, where stages have an order, their evidence."""
        n, known = len(self.teams_) + 1, self._has_order(X)
        stages = list(self.stages) if known else ["(all)"]
        reached = _codes(X[self.stage], stages) if known else np.zeros(len(y), dtype="int64")
        reached = np.where(reached == len(stages), -1, reached)  # lost without a stage: on none
        won = np.repeat(np.bincount(team, y, n)[:, None], len(stages), axis=1)
        lost = np.column_stack([np.bincount(team, (1 - y) * (reached >= k), n) for k in range(len(stages))])
        won, lost = _smooth(won, lost)
        first = np.log(won[:, 0]) - np.log(lost[:, 0])
        self.prior_ = np.where(np.isfinite(first), first, first[-1])
        if known:
            self.levels_[self.stage] = stages
            self.evidence_[self.stage] = _evidence(won, lost, won[:, :1], lost[:, :1])

    def _evidence(self, values: pd.Series, levels: list[str], team: np.ndarray, y: np.ndarray) -> np.ndarray:
        shape = len(self.teams_) + 1, len(levels) + 1
        cell = team * shape[1] + _codes(values, levels)
        won, lost = (np.bincount(cell, one, np.prod(shape)).reshape(shape)[:, :-1] for one in (y, 1 - y))
        won, lost = _smooth(won, lost)
        return _evidence(won, lost, won.sum(axis=1, keepdims=True), lost.sum(axis=1, keepdims=True))

    @staticmethod
    def _column(X: pd.DataFrame, name: str) -> pd.Series:
        return X[name].astype("str") if name in X else pd.Series(pd.NA, index=X.index, dtype="str")


def pls_status(probability: float, *, active: bool) -> str:
    """Return what Odoo takes a lead for: won at 100 %, lost at 0 % and archived, else open.

    >>> pls_status(0, active=True)
    'open'
    """
    if probability == 100:
        return "won"
    return "lost" if probability == 0 and not active else "open"


def _team(lead: Mapping) -> object:
    team = lead.get("team")
    return None if team is None or team is pd.NA or team != team else team  # NaN differs from itself


def _text(value: object, field: str) -> str | None:
    empty = value is None or value is False or value is pd.NA or value == "" or value != value
    if empty:
        return "False" if field in _STATES else None
    # A gap in a column of ids makes pandas read all of them as fractions: 1.0 is the id 1.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _tables_by_team(counts: Mapping[tuple[object, str, str], list[float]]) -> dict[object, Counts]:
    """Regroup the records by team, and sum all of them for the pseudo-team."""
    tables: dict[object, Counts] = {ALL_TEAMS: {}}
    for (team, field, value), (won, lost) in counts.items():
        if field == _TAG and won + lost < _FEWEST_TAGGED:
            continue
        if team is not None:
            tables.setdefault(team, {}).setdefault(field, {})[value] = (won, lost)
        everyone = tables[ALL_TEAMS].setdefault(field, {})
        before = everyone.get(value, (0.0, 0.0))
        everyone[value] = (before[0] + won, before[1] + lost)
    return tables


def _sums(values: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    return sum(won for won, _ in values.values()), sum(lost for _, lost in values.values())


def _share(values: Mapping[str, tuple[float, float]], value: str) -> float:
    of_won, of_lost = _sums(values)
    won, lost = values[value][0] / of_won, values[value][1] / of_lost
    return won / (won + lost)


def _absurd(frame: pd.DataFrame) -> pd.Series:
    """A correct address that speaks against, or a wrong or missing one that speaks for."""
    return frame["field"].isin(_STATES) & ((frame["value"] == "correct") != (frame["share"] > 0.5))


def _codes(values: pd.Series, levels: list[str]) -> np.ndarray:
    """Position of each value among the levels; unknown and missing ones come after the last."""
    codes = pd.Index(levels, dtype="object").get_indexer(values.astype("object"))
    return np.where(codes < 0, len(levels), codes)


def _smooth(won: np.ndarray, lost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the smoothing to every record that exists, then turn the last row into the sum over all teams."""
    exists = (won + lost) > 0
    won, lost = won + _SMOOTHING * exists, lost + _SMOOTHING * exists
    won[-1], lost[-1] = won.sum(axis=0), lost.sum(axis=0)
    return won, lost


def _evidence(won: np.ndarray, lost: np.ndarray, of_won: np.ndarray, of_lost: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of each level, 0 where there is no record; a last column of zeros for unknown levels."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(won / of_won) - np.log(lost / of_lost)
    known = (won > 0) & (lost > 0) & (of_won > 0) & (of_lost > 0)
    return np.hstack([np.where(known, ratio, 0.0), np.zeros((len(won), 1))])
