"""One study under trial: its rows, features and split, and every view on what models do on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crmlab.calibration import ScoreInterval
from crmlab.crm import Crm
from crmlab.features import build_features
from crmlab.metrics import reliability_table
from crmlab.models import HierarchicalLogistic, HistogramBoosting, SegmentModel, TunedBoosting, make_models
from crmlab.models.boosting import make_boosting
from crmlab.models.closed_only import closed_only_table
from crmlab.models.hazard import CompetingRisks, outcome_times
from crmlab.models.selection import strongest_columns
from crmlab.schema import NotEnoughEvidence
from crmlab.snapshots import Question, as_entity, build_snapshots
from crmlab.splits import Split, check_split, random_split

from .comparison import (
    ORACLE,
    Comparison,
    choose_split,
    compare_models,
    entry_order,
    learnable,
    oracle_probabilities,
    random_claims,
)
from .coverage import coverage_rates, coverage_table
from .decisions import capacity_table, cut_table, margin_ranking_table
from .origins import rolling_origins, thin_rows
from .slices import fairness_table, slice_labels, slice_table

__all__ = ["HAZARD", "SLICED_BY", "Trial", "open_trial"]

HAZARD = "competing-risk hazards"
SLICED_BY = ("source", "owner_id", "employees", "industry", "region", "product", "stage")
_SEGMENTED_BY = ("source", "industry", "product", "region")
_MOST_DIVISIONS, _SEGMENT_ROWS = 2, 8_000
_SEGMENT_COLUMNS = ("column", "segment", "rows", "with_outcome", "without_outcome", "pooled_loss", "own_loss")
_SEGMENT_COLUMNS += ("difference_low", "difference_high", "used")
_AT_ORIGINS = ("logistic regression", "XGBoost")
_THINNED = 12_000
"""Rows that are enough to see how models fare in parts of the rows, each of which is fitted anew."""
_HAZARD_LEARNER = "linear"
"""Trees took ten times as long for the same log loss on deals of the demo."""
_SMALL = 100
_CALLS = ("way", "calls", "conversions", "precision", "profit", "low", "high", "per_week", "difference")
_COVERAGE = ("what", "nominal", "share", "low", "high", "n")
_EMPTY_ORIGINS = pd.DataFrame({"origin": [], "model": [], "metric": [], "value": []})
_COVERED_LEVEL = 0.9


@dataclass(frozen=True)
class Trial:
    """The rows of a study, what was known of them, and how they are split.

    Attributes
    ----------
    rows, features : row for row the same; of `build_snapshots` and `build_features`.
    order : what puts the rows in order from old to new; missing where nobody knows.
    n_bootstrap, seed : of every interval and model here.
    """

    question: Question
    crm: Crm = field(repr=False)
    as_of: str
    rows: pd.DataFrame = field(repr=False)
    features: pd.DataFrame = field(repr=False)
    order: pd.Series = field(repr=False)
    split: Split = field(repr=False)
    n_bootstrap: int
    seed: int

    @property
    def key(self) -> str:
        """The key column of the entity."""
        return self.question.key

    @property
    def tested(self) -> pd.DataFrame:
        """Features of the test rows."""
        return self.features.iloc[self.split.test]

    @cached_property
    def oracle(self) -> np.ndarray | None:
        """True probability of each row, or None where it is not known."""
        return oracle_probabilities(self.crm, self.rows, horizon_days=self.question.horizon_days)

    def compare(self, *, n_trials: int) -> Comparison:
        """Fit and measure every model.

        Parameters
        ----------
        n_trials : settings of XGBoost that a search tries inside the training rows. It and scikit-learn's boosting take
            longer than everything else and are shown for comparison only; 0 leaves both out.
        """
        extra = {}
        if self._small:
            extra["shrinkage (hierarchical)"] = HierarchicalLogistic
        if n_trials:
            extra["scikit-learn boosting"] = lambda: HistogramBoosting(seed=self.seed)
            extra["XGBoost, tuned"] = lambda: TunedBoosting(n_trials=n_trials, seed=self.seed)
        setup = {"order": self.order, "n_bootstrap": self.n_bootstrap, "seed": self.seed, "oracle": self.oracle}
        return compare_models(self.features, self.rows, self.split, extra=extra, given=self._hazards(), **setup)

    def claims(self) -> Comparison:
        """Return what a random split would have claimed."""
        lot = random_split(self.rows, test_share=len(self.split.test) / int(self.rows["mature"].sum()), seed=self.seed)
        setup = {"order": self.order, "n_bootstrap": self.n_bootstrap, "seed": self.seed, "oracle": self.oracle}
        return random_claims(self.features, self.rows, lot, **setup)

    def reliability(self, comparison: Comparison) -> pd.DataFrame:
        """Return every measure of reliability of the chosen model, with intervals; see `metrics.reliability_table`."""
        return reliability_table(*self._pairs(comparison), n=self.n_bootstrap, seed=self.seed)

    def slices(self, comparison: Comparison) -> pd.DataFrame:
        """Return predicted against observed shares by source, owner, size and the like, of the chosen model."""
        return slice_table(*self._pairs(comparison), self.tested, list(SLICED_BY))

    def fairness(self, comparison: Comparison) -> pd.DataFrame:
        """Return how slices are treated when the best-scored quarter is contacted."""
        columns = [c for c in SLICED_BY if c not in ("stage", "product")]
        setup = {"n_bootstrap": self.n_bootstrap, "seed": self.seed}
        return fairness_table(*self._pairs(comparison), self.tested, columns, **setup)

    def segments(self) -> pd.DataFrame:
        """Return whether segments would be served better by a model of their own than by the pooled one.

        Boosted trees are fitted to the older training rows, once to all and once to each segment, and compared on the
        newer ones: a segment earns a model only where that is clearly better (see `models.SegmentModel`). By the first
        two of source, industry, product and region that the rows tell apart; the test rows are not touched.

        Returns
        -------
        Frame: column, segment, rows, with_outcome, without_outcome (entities), pooled_loss, own_loss, difference_low,
        difference_high (own − pooled; NaN where there is too little to compare), used.
        """
        train = self.split.train
        train = train[thin_rows(self.rows.iloc[train], key=self.key, seed=self.seed, most=_SEGMENT_ROWS)]
        train = train[np.argsort(self.order.iloc[train].to_numpy(), kind="stable")]  # rounds are chosen on the newest
        X, rows = self.features.iloc[train], self.rows.iloc[train]
        X = X[learnable(X)]
        columns = [c for c in _SEGMENTED_BY if c in X][:_MOST_DIVISIONS]
        y, known = rows["label"].astype("float64").to_numpy(), self.order.notna().all()
        taught = strongest_columns(X, y, seed=self.seed)
        context = {"groups": rows[self.key].to_numpy(), "gap_days": self.split.gap_days}
        context["order"] = self.order.iloc[train].to_numpy() if known else None
        tables = [pd.DataFrame(columns=list(_SEGMENT_COLUMNS))]
        for column in columns:
            divided = X[taught].assign(**{column: slice_labels(X[column])})
            trees = make_boosting(divided, seed=self.seed)
            table = SegmentModel(trees, column, seed=self.seed).fit(divided, y, **context).table_
            tables.append(table.assign(column=column)[list(_SEGMENT_COLUMNS)])
        return pd.concat(tables[1:] or tables, ignore_index=True)

    def calls(
        self, comparison: Comparison, *, capacity: int, call_cost: float, conversion_value: float
    ) -> pd.DataFrame:
        """Return what each order of calling earns at a capacity of calls a week; empty where rows have no dates.

        Parameters
        ----------
        capacity : calls a week. call_cost : euro per call. conversion_value : euro of margin per outcome, where rows
            have no margin of their own.
        """
        weeks = self.rows["as_of"].iloc[self.split.test]
        if weeks.isna().any():
            return pd.DataFrame({name: pd.Series(dtype="float64") for name in _CALLS})
        value = self.value_of(conversion_value)
        return capacity_table(
            comparison.y,
            weeks.dt.normalize().to_numpy(),
            comparison.groups,
            orders=self._orders(comparison, value),
            value=value,
            cost=call_cost,
            capacity=capacity,
            cooling_days=max(self.question.horizon_days, 1),
            n_bootstrap=self.n_bootstrap,
            seed=self.seed,
        )

    def cuts(self, comparison: Comparison, *, call_cost: float, conversion_value: float) -> pd.DataFrame:
        """Return the profit of calling whenever p · value exceeds the cost, per way of scoring."""
        ways = [m for m in (comparison.chosen, *comparison.floors, ORACLE) if m in comparison.predictions]
        return cut_table(
            comparison.y,
            {name: comparison.predictions[name] for name in dict.fromkeys(ways)},
            comparison.groups,
            value=self.value_of(conversion_value),
            cost=call_cost,
            n_bootstrap=self.n_bootstrap,
            seed=self.seed,
        )

    def margin_ranking(self, comparison: Comparison) -> pd.DataFrame:
        """Return the margin found at the top, ranked by p, by margin and by both; empty without margins."""
        margin = self._margin()
        if margin is None:
            names = ["way", "share", "n", "margin", "captured", "low", "high"]
            return pd.DataFrame({name: pd.Series(dtype="float64") for name in names})
        p = comparison.predictions[comparison.chosen]
        setup = {"n_bootstrap": self.n_bootstrap, "seed": self.seed}
        return margin_ranking_table(comparison.y, p, margin, comparison.groups, **setup)

    def origins(self, *, n_origins: int) -> pd.DataFrame:
        """Return logistic regression and XGBoost at several origins, each tested on what came next.

        Returns
        -------
        Frame as of `Origins.table`; empty where rows have no dates or too few outcomes.
        """
        if self.rows["as_of"].isna().any():
            return _EMPTY_ORIGINS
        kept = thin_rows(self.rows, key=self.key, seed=self.seed, most=_THINNED)
        features, rows = self.features.iloc[kept].reset_index(drop=True), self.rows.iloc[kept].reset_index(drop=True)
        setup = {"key": self.key, "gap_days": self.split.gap_days, "n_origins": n_origins, "seed": self.seed}
        try:
            return rolling_origins(features, rows, self._at_origins, **setup).table
        except NotEnoughEvidence:
            return _EMPTY_ORIGINS

    def coverage(self, comparison: Comparison) -> pd.DataFrame:
        """Return how often intervals hold the truth: learned on the older half of the test, measured on the newer.

        Empty where the truth is not known.
        """
        if self.oracle is None:
            return pd.DataFrame({name: pd.Series(dtype="float64") for name in _COVERAGE})
        order = self.order.iloc[self.split.test].rank(method="min", pct=True).to_numpy()
        old, new = order <= 0.5, order > 0.5
        p, y, groups = comparison.predictions[comparison.chosen], comparison.y, comparison.groups
        dates = self.order.iloc[self.split.test].to_numpy()
        interval = ScoreInterval(_COVERED_LEVEL).fit(p[old], y[old], groups[old], dates[old])
        truth = self.oracle[self.split.test]
        table = coverage_table(*interval.interval(p[new]), truth[new], p[new], groups[new])
        return coverage_rates([table], level=_COVERED_LEVEL)

    def closed_only(self) -> pd.DataFrame:
        """Return what training on closed deals only gets wrong; empty for anything but dated deals."""
        if not self._has_hazards():
            return pd.DataFrame({"deals": [], "model": [], "n": []})
        where = {"tested_at": self.split.test_start, "horizon_days": self.question.horizon_days, "seed": self.seed}
        where["learner"] = _HAZARD_LEARNER
        try:
            return closed_only_table(self.crm, self.rows, self.features, **where)
        except NotEnoughEvidence:
            return pd.DataFrame({"deals": [], "model": [], "n": []})

    def _at_origins(self, known: pd.DataFrame) -> Mapping[str, Callable[[], object]]:
        makers = make_models(known, seed=self.seed)
        return {name: makers[name] for name in _AT_ORIGINS}

    def value_of(self, conversion_value: float) -> np.ndarray | float:
        """Return euro per outcome: each test row's own margin with gaps at the median, or the same for all."""
        margin = self._margin()
        return conversion_value if margin is None else np.where(np.isnan(margin), np.nanmedian(margin), margin)

    def _margin(self) -> np.ndarray | None:
        if not {"amount", "margin_rate"} <= set(self.tested):
            return None
        margin = (self.tested["amount"] * self.tested["margin_rate"]).to_numpy("float64")
        return margin if np.isfinite(margin).any() else None

    def _pairs(self, comparison: Comparison) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return comparison.y, comparison.predictions[comparison.chosen], comparison.groups

    def _orders(self, comparison: Comparison, value: np.ndarray | float) -> dict[str, np.ndarray]:
        """Whom to call first, by every way at hand; more is earlier."""
        p, known = comparison.predictions, self.tested
        orders = {comparison.chosen: p[comparison.chosen]}
        if not np.isscalar(value):
            orders[f"{comparison.chosen} × margin"] = p[comparison.chosen] * value
        for name in ("Odoo's method", "owner's probability"):
            if name in p:
                orders[f"order of {name}"] = p[name]
        if "age_days" in known:
            orders["newest first"] = -known["age_days"].to_numpy("float64")
        if "interactions_recency_days" in known:
            orders["last contacted first"] = -known["interactions_recency_days"].to_numpy("float64")
        if ORACLE in p:
            orders["true probability"] = p[ORACLE]
        return orders

    @property
    def _small(self) -> bool:
        """So few entities with the outcome to train on that shrinkage is worth showing."""
        train = self.rows.iloc[self.split.train]
        return train.loc[train["label"].eq(True), self.key].nunique() < _SMALL

    def _has_hazards(self) -> bool:
        dated = self.split.test_start is not pd.NaT and self.question.horizon_days > 0
        return as_entity(self.question.entity) == "opportunity" and dated

    def _hazards(self) -> Mapping[str, np.ndarray]:
        """Competing risks, trained on everything known when the test begins: open deals count for the time they had."""
        if not self._has_hazards():
            return {}
        before = (self.rows["as_of"] < self.split.test_start).to_numpy()
        times = outcome_times(self.crm, self.rows[before], as_of=self.split.test_start)
        model = CompetingRisks(seed=self.seed, horizon_days=self.question.horizon_days, learner=_HAZARD_LEARNER)
        model.fit_events(self.features[before], times)
        return {HAZARD: model.predict_proba(self.tested)[:, 1]}


def open_trial(crm: Crm, question: Question, *, as_of: str, test_share: float, n_bootstrap: int, seed: int) -> Trial:
    """Build rows, features and split of a study, and check what must hold before anything is fitted.

    Raises
    ------
    NotEnoughEvidence : too few outcomes on a side.
    """
    asked = {"label": question.label, "as_of": as_of, "horizon_days": question.horizon_days}
    rows = build_snapshots(crm, entity=question.entity, every=question.snapshots, **asked)
    parts = {"test_share": test_share, "horizon_days": question.horizon_days, "seed": seed}
    split = choose_split(crm, rows, label=question.label, **parts)
    check_split(rows, split, horizon_days=question.horizon_days)
    order = entry_order(crm, rows)
    return Trial(question, crm, as_of, rows, build_features(crm, rows), order, split, n_bootstrap, seed)
