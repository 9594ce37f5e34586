"""From a comparison to a decision: window opened, verdict reached, model published, as a notebook needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crmlab.calibration import ScoreInterval
from crmlab.evaluation import BLEND, Comparison, Trial, learnable
from crmlab.leakage import LeakVerdict
from crmlab.models import ScoreModel, floors_for
from crmlab.registry import PublishedModel, Registry, columns_meta
from crmlab.schema import LEAD_CLOSED
from crmlab.snapshots import entity_of

from .card import ModelCard, model_card
from .champion import champion_tests
from .opening import OpenedWindow, open_window
from .publication import publish, record_verdict, training_span
from .thresholds import TestWindow, Thresholds
from .verdict import Verdict, judge

__all__ = ["Case", "case_card", "decide", "open_case", "publish_case", "required_floors"]

_CARD = "points card"
_CLOSED = (*LEAD_CLOSED, "won", "lost")
_HISTORY = {"lead": "status", "opportunity": "stage"}


@dataclass(frozen=True)
class Case:
    """What the gate decides on: rows, features and split of a study, with the thresholds written down for them.

    Attributes
    ----------
    trial : rows, features, order and split.
    context : where the call comes from, for the log.
    """

    trial: Trial
    registry: Registry
    opened: OpenedWindow
    context: Mapping[str, object] = field(default_factory=dict)


def required_floors(train: pd.DataFrame) -> tuple[str, ...]:
    """Return the floors that features of the training rows allow; all of them have to be beaten."""
    return tuple(name for name in floors_for(train[learnable(train)]) if name != _CARD)


def open_case(
    trial: Trial,
    *,
    min_outcomes: int,
    max_calibration_error: float,
    non_inferiority_margin: float,
    n_bootstrap: int,
    registry: Registry | None = None,
) -> Case:
    """Write the thresholds into the log of the question, before anything is measured on the test rows.

    Parameters
    ----------
    min_outcomes, max_calibration_error, non_inferiority_margin, n_bootstrap : see `Thresholds`.
    registry : where log and models are kept; the project's own unless told.

    Raises
    ------
    RunError : the log is broken.
    """
    registry = registry or Registry(trial.question)
    context = {"data_fingerprint": trial.crm.fingerprint, "question": trial.question.slug}
    thresholds = Thresholds(
        floors=required_floors(trial.features.iloc[trial.split.train]),
        min_outcomes=min_outcomes,
        max_calibration_error=max_calibration_error,
        non_inferiority_margin=non_inferiority_margin,
        n_bootstrap=n_bootstrap,
    )
    window = TestWindow.of(trial.rows, trial.split, as_of=trial.as_of)
    return Case(trial, registry, open_window(registry, thresholds=thresholds, window=window, context=context), context)


def decide(case: Case, comparison: Comparison, *, leaks: LeakVerdict | None) -> Verdict:
    """Hold the comparison against the thresholds, and write the verdict into the log."""
    trial, key = case.trial, case.trial.key
    train, test = (trial.rows.iloc[part] for part in (trial.split.train, trial.split.test))
    counted = _with_history(case)
    champions = champion_tests(
        case.registry,
        trial.tested,
        order=trial.order.iloc[trial.split.test].to_numpy(),
        gap_days=trial.split.gap_days,
    )
    names = (comparison.chosen, *comparison.floors)
    verdict = judge(
        case.opened,
        y=comparison.y,
        groups=comparison.groups,
        y_train=train["label"].astype("float64").to_numpy(),
        groups_train=train[key].to_numpy(),
        predictions={name: comparison.predictions[name] for name in names},
        chosen=comparison.chosen,
        leaks=leaks,
        seed=trial.seed,
        champions=champions,
        label=trial.question.label,
        counted=None if counted is None else test[key].isin(counted).to_numpy(),
        counted_train=None if counted is None else train[key].isin(counted).to_numpy(),
    )
    record_verdict(case.registry, verdict, context=case.context)
    return verdict


def publish_case(
    case: Case,
    comparison: Comparison,
    verdict: Verdict,
    *,
    leaks: LeakVerdict | None = None,
    slices: pd.DataFrame | None = None,
    limits: Sequence[str] = (),
    meta: Mapping[str, object] | None = None,
    level: float = 0.9,
) -> PublishedModel | None:
    """Publish the blend if it passed: refitted on every mature row, with its tested twin, interval and card.

    Parameters
    ----------
    meta : more to keep beside the models, such as the cut points of grades.
    level : nominal coverage of the intervals.

    Returns
    -------
    The publication, or None where the verdict says "not enough evidence".
    """
    if not verdict.passed or comparison.chosen != BLEND:
        return None
    trial = case.trial
    refit, columns = _refitted(trial, comparison.model)
    own = {"as_of": trial.as_of, "columns": columns_meta(columns), "data_fingerprint": trial.crm.fingerprint}
    order = _known(trial.order.iloc[trial.split.test])
    interval = ScoreInterval(level).fit(comparison.predictions[BLEND], comparison.y, comparison.groups, order)
    return publish(
        case.registry,
        verdict=verdict,
        model_tested=comparison.model,
        model_refit=refit,
        card=case_card(case, comparison, verdict, leaks=leaks, slices=slices, limits=limits),
        meta={**(meta or {}), **own},
        trained_tested=_span(trial, trial.rows.iloc[trial.split.train]),
        trained_refit=_span(trial, trial.rows[trial.rows["mature"]]),
        context=case.context,
        interval=interval,
    )


def case_card(
    case: Case,
    comparison: Comparison,
    verdict: Verdict,
    *,
    leaks: LeakVerdict | None = None,
    slices: pd.DataFrame | None = None,
    limits: Sequence[str] = (),
) -> ModelCard:
    """Return the model card of a judged comparison, passed or not."""
    trial = case.trial
    return model_card(
        question=trial.question,
        verdict=verdict,
        model=comparison.model,
        trained=_span(trial, trial.rows.iloc[trial.split.train]),
        data={"source": trial.crm.title, "fingerprint": trial.crm.fingerprint, "rows": trial.crm.counts()},
        versions={},
        leaks=leaks,
        slices=slices,
        limits=limits,
    )


def _refitted(trial: Trial, tested: ScoreModel) -> tuple[ScoreModel, pd.DataFrame]:
    """The members fitted once more on every row whose label is settled; what was chosen stays as it was tested."""
    mature = trial.rows["mature"].to_numpy()
    columns = learnable(trial.features[mature])
    X, y = trial.features.loc[mature, columns], trial.rows.loc[mature, "label"].astype(int).to_numpy()
    return tested.refitted(X, y, order=_known(trial.order[mature])), X


def _known(order: pd.Series) -> np.ndarray | None:
    return None if order.isna().all() else order.to_numpy()


def _span(trial: Trial, rows: pd.DataFrame) -> dict[str, object]:
    """What a model was trained on; running numbers stand for dates where there are none."""
    span = training_span(rows)
    order = trial.order.loc[rows.index]
    if span["to"] is None and order.notna().all():
        span |= {"from": float(order.min()), "to": float(order.max())}
    return span


def _with_history(case: Case) -> set[str] | None:
    """Entities with enough stages noted while they were open; None where the source keeps no such history."""
    crm, as_of, entity = case.trial.crm, case.trial.as_of, entity_of(case.trial.rows)
    changes = crm.at("changes", as_of=as_of) if as_of else crm["changes"]
    history = changes[(changes["entity"] == entity) & (changes["field"] == _HISTORY.get(entity))]
    counts = history.loc[~history["new_value"].isin(_CLOSED), "entity_id"].value_counts()
    if counts.empty or counts.median() < case.opened.thresholds.min_history_rows:
        return None  # a source that notes one stage per case has no history of stages
    return set(counts.index[counts >= case.opened.thresholds.min_history_rows])
