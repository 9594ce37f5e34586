"""Models on a split: fitted on the past, chosen inside it, measured on what came after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.metrics import METRICS, bootstrap_metrics, calibration_table, lift_table, log_loss, log_loss_difference
from crmlab.models import ScoreModel, floors_for, make_models
from crmlab.models.contract import fit_in_context
from crmlab.models.folds import inner_folds, newest_enough
from crmlab.models.selection import strongest_columns
from crmlab.schema import ENTITY_KEYS
from crmlab.snapshots import entity_of
from crmlab.splits import Split, check_enough, ordered_split, random_split, temporal_split

__all__ = [
    "BLEND",
    "ORACLE",
    "Comparison",
    "choose_split",
    "compare_models",
    "entry_order",
    "learnable",
    "oracle_probabilities",
    "random_claims",
    "share_of_way",
    "split_gap",
]

BLEND = "blend"
CARD = "points card"
"""Learned, so no floor; shown because whoever starts simple starts there."""
ORACLE = "oracle (true probability)"
_FEWEST = 10
"""Fewest entities with, and without, the outcome on either side before anything is fitted."""
_CLAIMED = ("logistic regression", "XGBoost")
"""Models fitted again on a random split: enough to see what it would have claimed."""


@dataclass(frozen=True)
class Comparison:
    """What a set of models did on one split.

    Attributes
    ----------
    split : rows trained and tested on.
    y : outcomes of the test rows, 0 or 1.
    groups : entity of each test row.
    predictions : model → probabilities of the test rows; the oracle is among them where the truth is known.
    metrics : tidy frame of `bootstrap_metrics`, differences from the base rate.
    floors : names of the models that need no learning, or hardly any.
    inner : model and its log loss on inner rows of the training part, which decides; empty where it did not.
    chosen : the blend, or the floor that it does not beat inside the training rows.
    model : the fitted default recipe, or None.
    estimators : model → fitted estimator, of all that were fitted here.
    """

    split: Split
    y: np.ndarray
    groups: np.ndarray
    predictions: dict[str, np.ndarray]
    metrics: pd.DataFrame
    floors: tuple[str, ...]
    inner: pd.DataFrame
    chosen: str
    model: ScoreModel | None = None
    estimators: Mapping[str, object] | None = None

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

    def against(self, others: tuple[str, ...], *, n_bootstrap: int, seed: int) -> pd.DataFrame:
        """Return how much lower the chosen model's log loss is than each other's, on the same test rows.

        Returns
        -------
        Frame: model, difference (value, low, high; negative is better), beaten (the whole interval is below zero).
        """
        rows = []
        for other in (m for m in others if m != self.chosen):
            pair = (self.y, self.predictions[self.chosen], self.predictions[other], self.groups)
            estimate = log_loss_difference(*pair, n=n_bootstrap, seed=seed)
            rows.append((other, estimate, estimate[2] < 0))
        return pd.DataFrame(rows, columns=["model", "difference", "beaten"])

    def against_floors(self, *, n_bootstrap: int, seed: int) -> pd.DataFrame:
        """Return `against` for every floor."""
        return self.against(self.floors, n_bootstrap=n_bootstrap, seed=seed)

    def calibration(self, model: str | None = None) -> pd.DataFrame:
        """Return predicted against observed shares of one model on the test rows."""
        return calibration_table(self.y, self.predictions[model or self.chosen])

    def lifts(self, model: str | None = None) -> pd.DataFrame:
        """Return lift and captured outcomes of the top shares of one model."""
        return lift_table(self.y, self.predictions[model or self.chosen])


def choose_split(
    crm: Crm, snapshots: pd.DataFrame, *, label: str, test_share: float, horizon_days: int, seed: int
) -> Split:
    """Return the most honest split that the dates allow.

    By date with a gap as long as the horizon; by order of entry where there is no date of the outcome; by lot where
    nobody knows the order either, which the gate does not accept.

    Raises
    ------
    NotEnoughEvidence : a side holds fewer than 10 entities with, or without, the outcome. From there on models can be
        shown; what may be published, the gate decides, which asks for more.
    """
    order = entry_order(crm, snapshots)
    if label == "within_horizon":
        split = temporal_split(snapshots, test_share=test_share, gap_days=horizon_days)
    elif order.isna().all():
        split = random_split(snapshots, test_share=test_share, seed=seed)
    else:
        split = ordered_split(snapshots, order, test_share=test_share)
    check_enough(snapshots, split, minimum=_FEWEST)
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
    extra: Mapping[str, Callable[[], object]] | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> Comparison:
    """Fit every model on the training rows and measure it on the test rows.

    The choice is made inside the training rows: the default recipe learns there what its members are worth, and is
    given up for a floor that predicts inner rows better. The test rows decide nothing.

    Parameters
    ----------
    features, snapshots : row for row the same (entity, as_of).
    order : what puts the rows in order from old to new (see `entry_order`).
    n_bootstrap : resamples of entities for the intervals.
    oracle : true probabilities, row for row, where they are known.
    extra : more models to show, name → maker; they are never chosen.
    given : probabilities of the test rows by models fitted elsewhere, to show as well.
    """
    bench = _Bench(features, snapshots, order.to_numpy(), split, seed)
    model = bench.fit(ScoreModel(seed=seed))
    makers = floors_for(bench.X_train)
    cards = {name: makers.pop(name) for name in (CARD,) if name in makers}
    floors = {name: bench.fit(make()) for name, make in makers.items()}
    others = {name: bench.fit(make()) for name, make in (cards | dict(extra or {})).items()}
    predictions = {name: bench.predict(estimator) for name, estimator in floors.items()}
    predictions |= model.member_probabilities(bench.X_test)
    predictions |= {name: bench.predict(estimator) for name, estimator in others.items()}
    predictions |= given or {}
    predictions[BLEND] = bench.predict(model)
    if oracle is not None:
        predictions[ORACLE] = oracle[split.test]
    metrics = bootstrap_metrics(
        bench.y_test, predictions, bench.groups_test, reference="base rate", n=n_bootstrap, seed=seed
    )
    inner = pd.concat([model.inner_, bench.inner_losses(makers, skip=set(model.inner_["model"]))], ignore_index=True)
    chosen = _choose(inner, tuple(floors))
    return Comparison(
        split, bench.y_test, bench.groups_test, predictions, metrics, tuple(floors), inner, chosen, model,
        floors | others | {BLEND: model},
    )  # fmt: skip


def random_claims(
    features: pd.DataFrame,
    snapshots: pd.DataFrame,
    split: Split,
    *,
    order: pd.Series,
    n_bootstrap: int,
    seed: int,
    oracle: np.ndarray | None = None,
) -> Comparison:
    """Return what a random split would have claimed for a few models (see `splits.random_split`).

    They see the columns that the recipe would choose from these training rows.
    """
    bench = _Bench(features, snapshots, order.to_numpy(), split, seed)
    columns = strongest_columns(bench.X_train, bench.y_train, seed=seed)
    X_train, X_test = bench.X_train[columns], bench.X_test[columns]
    makers = make_models(X_train, seed=seed)
    fitted = {name: makers[name]().fit(X_train, bench.y_train) for name in ("base rate", *_CLAIMED)}
    predictions = {name: estimator.predict_proba(X_test)[:, 1] for name, estimator in fitted.items()}
    if oracle is not None:
        predictions[ORACLE] = oracle[split.test]
    pair = (bench.y_test, predictions, bench.groups_test)
    metrics = bootstrap_metrics(*pair, reference="base rate", n=n_bootstrap, seed=seed)
    empty = pd.DataFrame({"model": [], "inner log loss": []})
    return Comparison(split, bench.y_test, bench.groups_test, predictions, metrics, ("base rate",), empty, _CLAIMED[-1])


def entry_order(crm: Crm, snapshots: pd.DataFrame) -> pd.Series:
    """Return what orders the rows from old to new: their date, or the running number where a source has no dates.

    Missing on every row where the source knows neither for all of them.
    """
    if snapshots["as_of"].notna().all():
        return snapshots["as_of"]
    entity = entity_of(snapshots)
    key, table = ENTITY_KEYS[entity], {"lead": "leads", "opportunity": "opportunities"}.get(entity)
    nothing = pd.Series(np.nan, index=snapshots.index)
    if table is None:
        return nothing
    order = snapshots[[key]].merge(crm[table][[key, "sequence"]], on=key, how="left", validate="m:1")["sequence"]
    return order.set_axis(snapshots.index) if order.notna().all() else nothing


def oracle_probabilities(crm: Crm, snapshots: pd.DataFrame, *, horizon_days: int) -> np.ndarray | None:
    """Return the true probability of each row, or None where the truth is not known."""
    entity = entity_of(snapshots)
    known = {"lead": "p_convert", "opportunity": "p_win", "account": "p_churn"}
    if crm.truth is None or entity not in known:
        return None
    ask = getattr(crm.truth, known[entity])
    p = ask(snapshots[ENTITY_KEYS[entity]], snapshots["as_of"], horizon_days=horizon_days or None)
    return p if np.isfinite(p[snapshots["mature"].to_numpy()]).all() else None


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


def learnable(train: pd.DataFrame) -> list[str]:
    """Return the columns that training rows can teach: not constant, and a season only after every month was seen."""
    distinct = train.nunique(dropna=False)
    return [c for c, n in distinct.items() if n > 1 and (c != "month" or n == 12)]


def _choose(inner: pd.DataFrame, floors: tuple[str, ...]) -> str:
    """The blend, unless a floor predicts inner rows at least as well."""
    losses = inner.set_index("model")["inner log loss"]
    if not np.isfinite(losses.get(BLEND, np.nan)):
        return "base rate"
    candidates = losses[[BLEND, *(f for f in floors if f in losses.index)]].dropna()
    best = candidates.min()
    beaten = [f for f in candidates.index if f != BLEND and candidates[f] <= best]
    return beaten[0] if beaten else BLEND


class _Bench:
    """The rows of a split as models take them: what is fitted knows the order of its rows and whose they are."""

    def __init__(
        self, features: pd.DataFrame, snapshots: pd.DataFrame, order: np.ndarray, split: Split, seed: int
    ) -> None:
        key = ENTITY_KEYS[entity_of(snapshots)]
        columns = learnable(features.iloc[split.train])
        known = not pd.isna(order).all()
        labels, groups = snapshots["label"].astype("float64").to_numpy(), snapshots[key].to_numpy()
        self.X_train, self.X_test = features[columns].iloc[split.train], features[columns].iloc[split.test]
        self.y_train, self.y_test = labels[split.train].astype(int), labels[split.test]
        self.groups_test = groups[split.test]
        self.context = {
            "order": order[split.train] if known else None,
            "groups": groups[split.train],
            "gap_days": split.gap_days,
        }
        self.seed = seed

    def fit(self, estimator: object) -> object:
        """Fit on the training rows."""
        return fit_in_context(estimator, self.X_train, self.y_train, **self.context)

    def predict(self, estimator: object) -> np.ndarray:
        """Return the probabilities of the test rows."""
        return estimator.predict_proba(self.X_test)[:, 1]

    def inner_losses(self, makers: Mapping[str, Callable[[], object]], *, skip: set[str]) -> pd.DataFrame:
        """Log loss of each floor on the same inner rows as the recipe's own."""
        folds = newest_enough(inner_folds(self.y_train, seed=self.seed, **self.context), self.y_train)
        wanted = {name: make for name, make in makers.items() if name not in skip} if folds else {}
        rows = [(name, self._inner_loss(make, folds)) for name, make in wanted.items()]
        return pd.DataFrame(rows, columns=["model", "inner log loss"])

    def _inner_loss(self, make: Callable[[], object], folds: list) -> float:
        outcomes, found = [], []
        for fit, ahead in folds:
            inside = {name: v[fit] if isinstance(v, np.ndarray) else v for name, v in self.context.items()}
            estimator = fit_in_context(make(), self.X_train.iloc[fit], self.y_train[fit], **inside)
            outcomes.append(self.y_train[ahead])
            found.append(estimator.predict_proba(self.X_train.iloc[ahead])[:, 1])
        return log_loss(np.concatenate(outcomes), np.concatenate(found))
