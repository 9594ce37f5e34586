"""What a comparison of models says, in words that stay true when the numbers change."""

import pandas as pd

from crmlab.evaluation import ORACLE, Comparison, share_of_way
from crmlab.metrics import METRICS
from crmlab.report import estimate, number, percent, record
from crmlab.snapshots import Question, nouns_of

from .finding import Finding, joined, key_of

__all__ = [
    "lift_finding",
    "metric_formats",
    "model_finding",
    "oracle_finding",
    "record_comparison",
    "short_summary",
    "split_finding",
]

_ECE_BOUND = 0.05
"""Largest calibration error at which a score is still called a probability."""
_METRIC_DIGITS = {"lift at 10 %": 2}


def model_finding(comparison: Comparison, floors: pd.DataFrame, *, question: Question) -> Finding:
    """Say which model was chosen, what it reached on newer rows, and whether it beats the floors.

    Parameters
    ----------
    floors : result of `Comparison.against_floors`.
    """
    nouns, loss = nouns_of(question.entity), _estimate(comparison, "log loss")
    if comparison.chosen in comparison.floors:
        sentence = (
            f"No learned model predicted {question.outcome} better than the {comparison.chosen} on older {nouns.many}, "
            f"so the {comparison.chosen} is kept: log loss {loss} on newer ones. This is not enough evidence for a "
            f"model."
        )
        return Finding(sentence, "caution")
    unbeaten = list(floors.loc[~floors["beaten"], "model"])
    sentence = f"The {comparison.chosen} predicts {question.outcome} of newer {nouns.many} with log loss {loss}"
    if unbeaten:
        return Finding(
            f"{sentence}, which is not shown to be better than {joined([_the(f) for f in unbeaten])}.", "caution"
        )
    base = estimate(*floors["difference"].iloc[0], kind="number", digits=3)
    error = comparison.value("calibration error")["value"]
    top = percent(0.1 * comparison.value("lift at 10 %")["value"], 0)
    sentence += (
        f", better than every floor (difference from the base rate {base}). Its best-scored tenth holds {top} of the "
        f"{nouns.outcomes}; "
    )
    missed = f"its scores miss the observed shares by {percent(error)} on average"
    if question.label == "final_status":
        return Finding(f"{sentence}{missed}. Without the date of the outcome this is an upper bound.", "caution")
    if error > _ECE_BOUND:
        return Finding(f"{sentence}but {missed}.", "caution")
    return Finding(f"{sentence}{missed}.", "good")


def metric_formats(summary: pd.DataFrame) -> dict[str, str]:
    """Return how the measures of a summary are written: estimates with their intervals."""
    return {m: f"estimate:number:{_METRIC_DIGITS.get(m, 3)}" for m in summary if m in METRICS}


def short_summary(comparison: Comparison) -> pd.DataFrame:
    """Return the columns of `Comparison.summary` that a first look needs."""
    return comparison.summary()[["model", "log loss", "ROC AUC", "lift at 10 %", "calibration error"]]


def split_finding(honest: Comparison, claimed: Comparison) -> Finding:
    """Say which model a random split would have crowned, and what it would have claimed for it."""
    losses = claimed.metrics[claimed.metrics["metric"] == "log loss"].set_index("model")["value"]
    crowned = losses.drop(ORACLE, errors="ignore").idxmin()
    real, said = (c.value("ROC AUC", crowned) for c in (honest, claimed))
    both = f"ROC AUC {number(said['value'], 3)} where newer rows give {_estimate(honest, 'ROC AUC', crowned)}"
    sentence = f"A random split would have crowned {crowned} and claimed {both}"
    if losses[crowned] < losses.get(ORACLE, 0):
        sentence += "; its log loss is better than that of the true probabilities, which only a leak can achieve"
    if said["value"] < real["low"]:
        return Finding(f"{sentence}. Here that would have been too little.", "plain")
    return Finding(f"{sentence}.", "caution" if said["value"] > real["high"] else "plain")


def oracle_finding(comparison: Comparison) -> Finding:
    """Say how near the chosen model comes to the best that anyone could do, where the truth is known."""
    if ORACLE not in comparison.predictions:
        return Finding(
            "Nobody knows the true probabilities of this source; only the demo CRM has them, and there the distance to "
            "the best possible prediction is measured.",
            "plain",
        )
    way = share_of_way(comparison)
    best = _estimate(comparison, "log loss", ORACLE)
    tone = "good" if way > 0.5 else "caution"
    return Finding(
        f"The true probabilities reach log loss {best}; the {comparison.chosen} comes {percent(way, 0)} of the way "
        f"from the base rate to them. The rest is what no feature here shows, or what the model has not learned.",
        tone,
    )


def lift_finding(comparison: Comparison, *, entity: str) -> Finding:
    """Say what calling the best-scored tenth first is worth."""
    row = comparison.value("lift at 10 %")
    captured = percent(0.1 * row["value"], 0)
    return Finding(
        f"The best-scored tenth of the {comparison.chosen} holds {captured} of the {nouns_of(entity).outcomes}: "
        f"{number(row['value'], 1)} times as many as a tenth in any order "
        f"({number(row['low'], 1)}–{number(row['high'], 1)}).",
        "good" if row["low"] > 1 else "caution",
    )


def record_comparison(honest: Comparison, claimed: Comparison) -> None:
    """Record every metric of every model, and the key numbers of the chosen one."""
    record("chosen_model", honest.chosen, headline=True, label="chosen model")
    for row in honest.metrics.itertuples():
        chosen = row.model == honest.chosen
        key = row.metric in ("log loss", "ROC AUC", "calibration error")
        record(
            f"{key_of(row.model)}__{key_of(row.metric)}",
            row.value,
            low=row.low,
            high=row.high,
            n=row.n,
            unit="number:3",
            headline=chosen and key,
            label=row.metric if chosen and key else f"{row.model}: {row.metric}",
        )
    lot = claimed.value("ROC AUC")
    ends = {"low": lot["low"], "high": lot["high"], "n": int(lot["n"])}
    record("random_split__roc_auc", lot["value"], **ends, unit="number:3", label="ROC AUC that a random split claims")
    record("share_of_way_to_oracle", share_of_way(honest), unit="percent", label="way from base rate to oracle")


def _estimate(comparison: Comparison, metric: str, model: str | None = None) -> str:
    row = comparison.value(metric, model)
    return estimate(row["value"], row["low"], row["high"], kind="number", digits=3)


def _the(name: str) -> str:
    """A floor's name as a sentence holds it: an owner's probability and Odoo's method take no article."""
    return name if "'s " in name else f"the {name}"
