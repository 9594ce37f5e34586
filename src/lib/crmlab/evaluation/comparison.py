"""Models on a split: fitted on the past, chosen inside it, measured on what came after."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.metrics import METRICS, bootstrap_metrics, calibration_table, lift_table, log_loss, log_loss_difference
from crmlab.models import FLOORS, make_models
from crmlab.schema import NotEnoughEvidence
from crmlab.splits import Split, check_enough, ordered_split, random_split, temporal_split

__all__ = [
    "ORACLE",
    "Comparison",
    "choose_split",
    "compare_models",
    "oracle_probabilities",
    "share_of_way",
    "split_gap",
]

ORACLE = "oracle (true probability)"
_INNER_SHARE = 0.3
_INNER_OUTCOMES = 10


@dataclass(frozen=True)
class Comparison:
    """What a set of models did on one split.

    Attributes
    ----------
    split : rows trained and tested on.
    y : outcomes of the test rows, 0 or 1.
    groups : lead of each test row.
    predictions : model → probabilities of the test rows; the oracle is among them where the truth is known.
    metrics : tidy frame of `bootstrap_metrics`, differences from the base rate.
    inner : model and its log loss on the newest part of the training rows, which decides; empty where it did not.
    chosen : the model with the lowest inner log loss, or the one chosen elsewhere.
    """

    split: Split
    y: np.ndarray
    groups: np.ndarray
    predictions: dict[str, np.ndarray]
    metrics: pd.DataFrame
    inner: pd.DataFrame
    chosen: str

    def value(self, metric: str, model: str | None = None) -> pd.Series:
        """Return the row of one metric and model (the chosen one unless told): value, low, high, difference, …"""
        table = self.metrics.set_index(["metric", "model"])
        return table.loc[(metric, model or self.chosen)]

    def summary(self) -> pd.DataFrame:
        """Return one row per model, best log loss first; each metric as (value, low, high)."""
        order = self.metrics[self.metrics["metric"] == "log loss"].sort_values("value", kind="stable")["model"]
        estimates = zip(self.metrics["value"], self.metrics["low"], self.metrics["high"], strict=True)
        wide = self.metrics.assign(estimate=list(estimates)).pivot(index="model", columns="metric", values="estimate")
        return wide.loc[order, list(METRICS)].rename_axis(columns=None).reset_index()

    def against_floors(self, *, n_bootstrap: int, seed: int) -> pd.DataFrame:
        """Return how much lower the chosen model's log loss is than each floor's, on the same test rows.

        Returns
        -------
        Frame: floor, difference (value, low, high; negative is better), beaten (the whole interval is below zero).
        """
        rows = []
        for floor in (f for f in FLOORS if f != self.chosen):
            pair = (self.y, self.predictions[self.chosen], self.predictions[floor], self.groups)
            estimate = log_loss_difference(*pair, n=n_bootstrap, seed=seed)
            rows.append((floor, estimate, estimate[2] < 0))
        return pd.DataFrame(rows, columns=["floor", "difference", "beaten"])

    def calibration(self, model: str | None = None) -> pd.DataFrame:
        """Return predicted against observed shares of one model on the test rows."""
        return calibration_table(self.y, self.predictions[model or self.chosen])

    def lifts(self, model: str | None = None) -> pd.DataFrame:
        """Return lift and captured conversions of the top shares of one model."""
        return lift_table(self.y, self.predictions[model or self.chosen])


def choose_split(crm: Crm, snapshots: pd.DataFrame, *, label: str, test_share: float, horizon_days: int) -> Split:
    """Return the most honest split that the dates allow.

    By date with a gap as long as the horizon; by order of entry where there is no date of the outcome.

    Raises
    ------
    NotEnoughEvidence : the source knows no order at all, or a side holds too few outcomes.
    """
    if label == "within_horizon":
        split = temporal_split(snapshots, test_share=test_share, gap_days=horizon_days)
    else:
        split = ordered_split(snapshots, entry_order(crm, snapshots), test_share=test_share)
    check_enough(snapshots, split)
    return split


def compare_models(
    features: pd.DataFrame,
    snapshots: pd.DataFrame,
    split: Split,
    *,
    order: pd.Series,
    n_bootstrap: int,
    seed: int,
    oracle: np.ndarray | None = None,
    chosen: str = "",
) -> Comparison:
    """Fit every model on the training rows and measure it on the test rows.

    The choice is made inside the training rows: all models are first fitted on their older part and measured on their
    newer part. The test rows decide nothing.

    Parameters
    ----------
    features, snapshots : row for row the same (lead, as_of).
    order : what puts the rows in order from old to new (see `entry_order`).
    n_bootstrap : resamples of leads for the intervals.
    oracle : true probabilities, row for row, where they are known.
    chosen : a choice made elsewhere; nothing is chosen here then.
    """
    features = features[_learnable(features.iloc[split.train])]
    models = make_models(features, seed=seed)
    labels = snapshots["label"].astype("float64").to_numpy()
    bench = _Bench(features, labels, snapshots.assign(order=order), split, seed)
    inner = bench.inner_losses({} if chosen else models)
    predictions = {name: bench.fit_predict(make(), split.train, split.test) for name, make in models.items()}
    if oracle is not None:
        predictions[ORACLE] = oracle[split.test]
    y = labels[split.test]
    groups = snapshots["lead_id"].to_numpy()[split.test]
    metrics = bootstrap_metrics(y, predictions, groups, reference="base rate", n=n_bootstrap, seed=seed)
    chosen = chosen or inner.sort_values("inner log loss", kind="stable")["model"].iloc[0]
    return Comparison(split, y, groups, predictions, metrics, inner, chosen)


def entry_order(crm: Crm, snapshots: pd.DataFrame) -> pd.Series:
    """Return what orders the rows from old to new: their date, or the running number where a source has no dates.

    Raises
    ------
    NotEnoughEvidence : the source knows neither for every lead.
    """
    if snapshots["as_of"].notna().all():
        return snapshots["as_of"]
    leads = crm["leads"][["lead_id", "sequence"]]
    order = snapshots[["lead_id"]].merge(leads, on="lead_id", how="left", validate="m:1")["sequence"]
    if order.isna().any():
        raise NotEnoughEvidence(
            "The source does not say in which order its leads came, so no model can be tested on newer leads.",
            found=f"neither `created_at` nor `sequence` is filled on {int(order.isna().sum()):,} leads",
            remedy="map one of them; a running number of the records serves as `sequence`.",
        )
    return order.set_axis(snapshots.index)


def oracle_probabilities(crm: Crm, snapshots: pd.DataFrame, *, horizon_days: int) -> np.ndarray | None:
    """Return the true probability of each row, or None where the truth is not known."""
    if crm.truth is None:
        return None
    return crm.truth.p_convert(snapshots["lead_id"], snapshots["as_of"], horizon_days=horizon_days)


def share_of_way(comparison: Comparison, model: str | None = None) -> float:
    """Return how far a log loss lies on the way from the base rate (0) to the oracle (1); NaN without an oracle."""
    if ORACLE not in comparison.predictions:
        return float("nan")
    base, best = (comparison.value("log loss", m)["value"] for m in ("base rate", ORACLE))
    return float((base - comparison.value("log loss", model)["value"]) / (base - best))


def split_gap(honest: Comparison, claimed: Comparison) -> pd.DataFrame:
    """Return each model's metrics on the honest split beside what a random split would have claimed.

    Returns
    -------
    Frame: model, metric, honest, honest_low, honest_high, random, random_low, random_high, difference.
    """
    names = {"value": "honest", "low": "honest_low", "high": "honest_high"}
    left = honest.metrics.rename(columns=names)[["model", "metric", *names.values()]]
    names = {"value": "random", "low": "random_low", "high": "random_high"}
    right = claimed.metrics.rename(columns=names)[["model", "metric", *names.values()]]
    both = left.merge(right, on=["model", "metric"], validate="1:1")
    return both.assign(difference=both["random"] - both["honest"])


def _learnable(train: pd.DataFrame) -> list[str]:
    """Columns that the training rows can teach: not constant, and a season only after every month has been seen."""
    distinct = train.nunique(dropna=False)
    return [c for c, n in distinct.items() if n > 1 and (c != "month" or n == 12)]


@dataclass(frozen=True)
class _Bench:
    """Fits models on chosen rows; whatever a model must choose, it chooses on the newest part of them."""

    features: pd.DataFrame
    labels: np.ndarray
    snapshots: pd.DataFrame
    split: Split
    seed: int

    def inner_losses(self, models: dict) -> pd.DataFrame:
        """Log loss of each model on the newer part of the training rows, fitted on the older part."""
        older, newer = (self.split.train[part] for part in self._newest_part(self.split.train))
        losses = [(name, self.fit_predict(make(), older, newer)) for name, make in models.items()]
        rows = [(name, log_loss(self.labels[newer], p)) for name, p in losses]
        return pd.DataFrame(rows, columns=["model", "inner log loss"])

    def fit_predict(self, model: object, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Fit a model on some rows and return its probabilities on others, shape (len(test),)."""
        extra = {}
        if "xgboostrounds" in getattr(model, "named_steps", {}):
            extra["xgboostrounds__inner"] = self._newest_part(train)
        model.fit(self.features.iloc[train], self.labels[train].astype(int), **extra)
        return model.predict_proba(self.features.iloc[test])[:, 1]

    def _newest_part(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Older and newer positions within `rows`, divided as the outer split was.

        A short history has no room for a second gap; the division is then made without one. That can cost a good
        choice, but it cannot leak: all these labels were settled before the test begins.
        """
        inside = self.snapshots.iloc[rows].reset_index(drop=True)
        if self.split.name == "random":
            inner = random_split(inside, test_share=_INNER_SHARE, seed=self.seed)
        elif self.split.name == "ordered":
            inner = ordered_split(inside, inside["order"], test_share=_INNER_SHARE)
        else:
            inner = self._newest_dates(inside)
        return inner.train, inner.test

    def _newest_dates(self, inside: pd.DataFrame) -> Split:
        try:
            inner = temporal_split(inside, test_share=_INNER_SHARE, gap_days=self.split.gap_days)
            check_enough(inside, inner, minimum=_INNER_OUTCOMES)
        except NotEnoughEvidence:
            inner = ordered_split(inside, inside["as_of"], test_share=_INNER_SHARE)
        return inner
