"""A look at the published model: what came of its scores, whether the world has drifted, and what the rule says.

Where no model has been published there is nothing to monitor: every table is empty, and the reason is said.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from crmlab import explain
from crmlab.crm import Crm, as_instant
from crmlab.features import build_features
from crmlab.registry import Registry
from crmlab.schema import NotEnoughEvidence, ParameterError
from crmlab.scores import ScoreHistory, Scoring, score_open
from crmlab.snapshots import Question, as_entity
from crmlab.snapshots.build import timeline_of
from crmlab.snapshots.grid import open_snapshots

from .challenger import NOT_COMPARABLE, Challenge, challenge, last_champion_check
from .checks import rule_table
from .drift import Importance, feature_drift, score_drift, since_when
from .realised import kpi_table, month_table, realised_table, tier_table
from .rule import RetrainRule, looks, overall, record_look, write_rule
from .settled import GIVEN, Settled, replayed_scores, settled_scores
from .world import PriorShift, dried_up, prior_shift, rate_table

__all__ = ["Monitor", "open_monitor"]

_MAX_ROWS = 12_000
_EXPLAINED = 300
_DAY = pd.Timedelta(days=1)
_YEAR_DAYS = 364
_LOOKED_AT_OFTEN = ("weekly", "monthly")
_PERIOD_DAYS = {"often": 28, "once": 91}
_EMPTY_DRIFT = ["feature", "kind", "psi", "usual", "p_adjusted", "moved", "importance", "effect", "alarm", "since"]


@dataclass(frozen=True)
class Monitor:
    """What is known of a published model on a date.

    Attributes
    ----------
    scoring : the published model, open cases, settled rows that the tested twin had not learned from.
    rule : bounds, written down before anything was measured. loosened : those changed under this model.
    given : scores from the history whose horizon has passed. replay : the tested twin's on rows new to it.
    """

    scoring: Scoring = field(repr=False)
    rule: RetrainRule
    loosened: tuple[str, ...]
    given: Settled = field(repr=False)
    replay: Settled = field(repr=False)
    n_bootstrap: int
    seed: int

    @property
    def question(self) -> Question:
        """What the scores are about."""
        return self.scoring.question

    @property
    def as_of(self) -> str:
        """Day of the look."""
        return self.scoring.as_of

    @property
    def published(self) -> bool:
        """Whether there is a model to monitor."""
        return self.scoring.published is not None

    @cached_property
    def told(self) -> Settled:
        """What is shown: scores given if enough of them have settled, else the replay."""
        return self.given if self.given.enough(self.rule.min_outcomes) else self.replay

    @cached_property
    def judged(self) -> Settled:
        """What the rule judges the present model by: its own scores given, else a replay of rows new since its test.

        Without rows in either that are enough, the replay of all: its test again, from which nothing new is learned.
        """
        if not self.published:
            return self.replay
        own = self.given.of((self.given.rows["model_id"] == self.scoring.published.model_id).to_numpy(bool))
        if own.enough(self.rule.min_outcomes):
            return own
        new = self.replay.of(self.is_new)
        return new if new.enough(self.rule.min_outcomes) else self.replay

    @property
    def is_new(self) -> np.ndarray:
        """Rows of the replay whose outcome nobody could know when the model was published."""
        settled_at = self.replay.rows["as_of"] + self.question.horizon_days * _DAY
        return (settled_at > as_instant(self.scoring.published.as_of)).to_numpy(bool)

    @property
    def nothing_new(self) -> bool:
        """Whether the rule can only look at the rows of the model's own test again."""
        return self.judged is self.replay

    @cached_property
    def base_rate(self) -> float:
        """Share of rows with the outcome when the tested twin was trained."""
        train = self.scoring.published.tested_meta.get("train", {}) if self.published else {}
        return train["outcomes"] / train["rows"] if train.get("rows") else np.nan

    @cached_property
    def twin(self) -> object | None:
        """The tested twin of the published model."""
        return self.scoring.published.load_tested() if self.published else None

    @cached_property
    def realised(self) -> pd.DataFrame:
        """What the scores shown were worth, see `realised_table`."""
        return self._realised(self.told)

    @cached_property
    def realised_judged(self) -> pd.DataFrame:
        """The same of what the rule judges."""
        return self.realised if self.judged is self.told else self._realised(self.judged)

    def _realised(self, settled: Settled) -> pd.DataFrame:
        return realised_table(settled, base_rate=self.base_rate, n_bootstrap=self.n_bootstrap, seed=self.seed)

    @cached_property
    def months(self) -> pd.DataFrame:
        """Expected and observed shares by month of scoring."""
        return month_table(self.told)

    @cached_property
    def tiers(self) -> pd.DataFrame:
        """Every published tier tested again."""
        return tier_table(self.told)

    def kpis(self, *, capacity: int) -> pd.DataFrame:
        """Return hit rate at a capacity of contacts a week and share of outcomes in the best quarter, by quarter."""
        return kpi_table(self.told, capacity=capacity, share=self.sampled_share)

    @cached_property
    def sampled_share(self) -> float:
        """Share of all settled looks that the rows shown are; scores given are complete."""
        rows = self.scoring.reference_rows
        if self.told.basis == GIVEN or rows.empty:
            return 1.0
        n_all = self._every_look["as_of"].between(rows["as_of"].min(), rows["as_of"].max()).sum()
        # A few looks never settle (what happens at their very instant), which is no sample.
        return 1.0 if len(rows) > 0.95 * n_all else len(rows) / n_all

    @cached_property
    def now(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The newest rows and their features: who is open today; of single looks, the looks of the last 91 days.

        Of single looks also those that ended since then count: those still open are the slow ones, and would look
        like drift.
        """
        if self.question.snapshots in _LOOKED_AT_OFTEN:
            return self.scoring.rows, self.scoring.X
        rows = self._looks()
        rows = rows[self._periods(rows["as_of"]) == 0].reset_index(drop=True)
        return rows, build_features(self.scoring.crm, rows)

    @cached_property
    def drift(self) -> pd.DataFrame:
        """Features of the newest rows against the training rows, and since when; empty where that cannot be said."""
        if not self.published:
            return pd.DataFrame(columns=_EMPTY_DRIFT)
        rows, X = self.now
        trained = self._trained
        reference = self.scoring.reference.loc[trained]
        columns = [c for c in getattr(self.scoring.model, "columns_", reference.columns) if c in reference]
        try:
            table = feature_drift(
                reference[columns],
                X,
                groups=self._ids(self.scoring.reference_rows[trained]),
                groups_now=self._ids(rows),
                periods=self._reference_periods(trained),
                shared_now=X["owner_id"].to_numpy(dtype=object) if "owner_id" in X else None,
                importance=self._importance(reference, X),
                psi_bound=self.rule.psi_bound,
            )
        except NotEnoughEvidence:
            return pd.DataFrame(columns=_EMPTY_DRIFT)
        return table.assign(since=self._since(table, reference))

    @cached_property
    def scores_moved(self) -> pd.DataFrame:
        """The tested twin's scores of the newest rows against those of earlier rows new to it; see `score_drift`."""
        past = self.scoring.past
        if not self.published or past.empty:
            return score_drift(np.zeros(0), np.zeros(0), groups=np.zeros(0), groups_now=np.zeros(0))
        rows, X = self.now
        p = self.twin.predict_proba(X)[:, 1] if len(X) else np.zeros(0)
        return score_drift(past["p"].to_numpy(), p, groups=self._ids(past), groups_now=self._ids(rows))

    @cached_property
    def prior(self) -> PriorShift | None:
        """How the rate of the outcome has moved; None without a model or settled rows."""
        rows = self.scoring.reference_rows
        if not self.published or rows.empty:
            return None
        return prior_shift(rows, rows[self._trained], key=self.question.key)

    def rates(self) -> pd.DataFrame:
        """Return how often the outcome came, by quarter of the look."""
        return rate_table(self.scoring.reference_rows, key=self.question.key)

    @cached_property
    def dry(self) -> pd.DataFrame:
        """Kinds of events that have dried up, see `dried_up`."""
        return dried_up(self.scoring.crm, as_of=self.as_of)

    @cached_property
    def challenge(self) -> Challenge:
        """Whether newer training rows would have brought a better model."""
        if not self.published:
            return Challenge(NOT_COMPARABLE, "no model has been published")
        setup = {"min_outcomes": self.rule.min_outcomes, "n_bootstrap": self.n_bootstrap, "seed": self.seed}
        return challenge(self.scoring, self.twin, **setup)

    @cached_property
    def last_verdict(self) -> tuple[str, str]:
        """Date and words of the gate's last comparison with earlier models."""
        return last_champion_check(self.scoring.registry, as_of=self.as_of)

    @property
    def age_days(self) -> int:
        """Days since the newest data that the published model has seen."""
        return (as_instant(self.as_of) - as_instant(self.scoring.published.as_of)).days

    @cached_property
    def rules(self) -> pd.DataFrame:
        """The retraining rule, line by line: rule, value, low, high, bound, verdict, words; empty without a model."""
        return rule_table(self)

    @property
    def verdict(self) -> str:
        """What the rule says altogether."""
        return overall(self.rules)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files that hold the looks kept so far."""
        path = self.scoring.registry.folder / "monitoring" / "log.jsonl"
        return (path,) if path.exists() else ()

    def keep(self) -> pd.DataFrame:
        """Write this look into the log of looks, and return all looks so far."""
        registry = self.scoring.registry
        if not self.published:
            return pd.DataFrame(columns=["as_of", "model_id", "basis", "verdict"])
        basis = self.judged.basis
        record_look(registry, self.rules, model_id=self.scoring.published.model_id, as_of=self.as_of, basis=basis)
        return looks(registry)

    @cached_property
    def _trained(self) -> np.ndarray:
        """Reference rows that the published model learned from."""
        rows = self.scoring.reference_rows
        to = self.scoring.published.meta.get("train", {}).get("to")
        return (rows["as_of"] <= pd.Timestamp(to)).to_numpy(bool) if isinstance(to, str) else np.zeros(len(rows), bool)

    def _ids(self, rows: pd.DataFrame) -> np.ndarray:
        return rows[self.question.key].to_numpy(dtype=object)

    @property
    def _period_days(self) -> int:
        return _PERIOD_DAYS["often" if self.question.snapshots in _LOOKED_AT_OFTEN else "once"]

    def _periods(self, as_of: pd.Series, end: pd.Timestamp | None = None) -> np.ndarray:
        """Number of the period before `end` (the day of the look); negative where a year or more before."""
        ago = ((as_instant(self.as_of) if end is None else end) - as_of).dt.days.to_numpy()
        return np.where((ago >= 0) & (ago < _YEAR_DAYS), ago // self._period_days, -1)

    def _reference_periods(self, trained: np.ndarray) -> np.ndarray:
        dates = self.scoring.reference_rows.loc[trained, "as_of"]
        return self._periods(dates, dates.max())

    def _importance(self, reference: pd.DataFrame, now: pd.DataFrame) -> Importance | None:
        draw = np.random.default_rng(self.seed)
        parts = [X.iloc[np.sort(draw.permutation(len(X))[:_EXPLAINED])] for X in (reference, now)]
        try:
            old, new = (explain.contributions(self.scoring.model, X, background=parts[0]).values for X in parts)
        except ParameterError:  # a kind of model that cannot be taken apart
            return None
        size = old.abs().mean() + new.abs().mean()
        return Importance(size / (size.sum() or 1.0), new.mean() - old.mean())

    def _since(self, table: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
        """Since when each alarmed feature is shifted, to a period."""
        since = pd.Series(pd.NaT, index=table.index, dtype="datetime64[us]")
        if not table["alarm"].any():
            return since
        rows = self._looks()
        rows = rows[self._periods(rows["as_of"]) >= 0].reset_index(drop=True)
        X, periods = build_features(self.scoring.crm, rows), self._periods(rows["as_of"])
        starts = [rows["as_of"][periods == k].min() for k in range(periods.max() + 1)]
        for i in table.index[table["alarm"]]:
            name = table.loc[i, "feature"]
            bound = self.rule.psi_bound
            since[i] = since_when(reference[name], X[name], periods, starts, psi_bound=bound)
        return since

    @cached_property
    def _every_look(self) -> pd.DataFrame:
        """All looks up to now, settled or not."""
        question = self.question
        timeline = timeline_of(
            self.scoring.crm,
            as_entity(question.entity),
            as_of=self.as_of,
            horizon_days=question.horizon_days,
            every=question.snapshots,
        )
        return open_snapshots(timeline, as_of=self.as_of, every=question.snapshots)

    def _looks(self) -> pd.DataFrame:
        """Looks of the last year, whatever became of them; of weekly ones, one date every 28 days."""
        rows, weekly = self._every_look, self.question.snapshots == "weekly"
        ago = (as_instant(self.as_of) - rows["as_of"]).dt.days
        chosen = (ago < _YEAR_DAYS) & ((ago % _PERIOD_DAYS["often"] == 0) if weekly else True)
        return rows[chosen].reset_index(drop=True)


def open_monitor(
    crm: Crm,
    question: Question,
    *,
    as_of: str,
    registry: Registry,
    history: ScoreHistory,
    rule: RetrainRule,
    n_bootstrap: int,
    seed: int,
) -> Monitor:
    """Write the rule down, and collect what it takes to look at the model that counts on a day.

    Parameters
    ----------
    history : scores given so far. rule : bounds. n_bootstrap : resamples behind every interval. seed : of draws.

    Raises
    ------
    RunError : the log of the gate, or that of the looks, is broken.
    """
    scoring = score_open(crm, question, as_of=as_of, registry=registry, seed=seed, max_rows=_MAX_ROWS)
    loosened: tuple[str, ...] = ()
    if scoring.published is not None:
        loosened = write_rule(registry, rule, model_id=scoring.published.model_id, as_of=as_of)
    given = settled_scores(crm, question, history, as_of=as_of)
    return Monitor(scoring, rule, loosened, given, replayed_scores(scoring), n_bootstrap, seed)
