"""Sentences from values: what a result says, in words that stay true when the numbers change."""

import re
from dataclasses import dataclass

import pandas as pd

from crmlab.evaluation import ORACLE, Comparison, share_of_way
from crmlab.models import FLOORS
from crmlab.report import estimate, number, percent, record

__all__ = [
    "SUMMARY_FORMATS",
    "Finding",
    "leak_finding",
    "lift_finding",
    "model_finding",
    "oracle_finding",
    "record_comparison",
    "split_finding",
]

SUMMARY_FORMATS = {
    "log loss": "estimate:number:3",
    "Brier": "estimate:number:3",
    "ROC AUC": "estimate:number:3",
    "average precision": "estimate:number:3",
    "lift at 10 %": "estimate:number:2",
    "calibration error": "estimate:number:3",
}
"""How `Comparison.summary` is written in a table."""

_ECE_BOUND = 0.05
"""Largest calibration error at which a score is still called a probability."""


@dataclass(frozen=True)
class Finding:
    """One sentence and how good its news is: `good`, `caution`, `bad` or `plain`."""

    sentence: str
    tone: str


def model_finding(comparison: Comparison, floors: pd.DataFrame, *, outcome: str) -> Finding:
    """Say which model was chosen, what it reached on newer leads, and whether it beats the floors.

    Parameters
    ----------
    floors : result of `Comparison.against_floors`.
    outcome : what is predicted, such as "conversion within 90 days".
    """
    loss = _estimate(comparison, "log loss")
    if comparison.chosen in FLOORS:
        sentence = (
            f"No learned model predicted {outcome} better than the {comparison.chosen} on older leads, so the "
            f"{comparison.chosen} is kept: log loss {loss} on newer leads. This is not enough evidence for a model."
        )
        return Finding(sentence, "caution")
    unbeaten = list(floors.loc[~floors["beaten"], "floor"])
    sentence = f"{comparison.chosen} predicts {outcome} of newer leads with log loss {loss}"
    if unbeaten:
        return Finding(f"{sentence}, which is not shown to be better than the {' and the '.join(unbeaten)}.", "caution")
    base = estimate(*floors["difference"].iloc[0], kind="number", digits=3)
    error = comparison.value("calibration error")["value"]
    sentence += f", a difference of {base} from the base rate, and better than every floor; "
    if error > _ECE_BOUND:
        return Finding(f"{sentence}but its scores miss the observed shares by {percent(error)} on average.", "caution")
    return Finding(f"{sentence}its scores miss the observed shares by {percent(error)} on average.", "good")


def split_finding(honest: Comparison, claimed: Comparison) -> Finding:
    """Say what a random split would have claimed for the model that the honest split chose."""
    real, said = (c.value("ROC AUC", honest.chosen) for c in (honest, claimed))
    both = f"ROC AUC {number(said['value'], 3)} where newer leads give {_number(real)}"
    if said["value"] > real["high"]:
        return Finding(f"A random split would have claimed too much for {honest.chosen}: {both}.", "caution")
    if said["value"] < real["low"]:
        return Finding(f"A random split would have claimed less for {honest.chosen}: {both}.", "plain")
    return Finding(f"A random split would have said about the same of {honest.chosen}: {both}.", "plain")


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
        f"The true probabilities reach log loss {best}; {comparison.chosen} comes {percent(way, 0)} of the way from "
        f"the base rate to them. The rest is what no feature here shows, or what the model has not learned.",
        tone,
    )


def lift_finding(comparison: Comparison) -> Finding:
    """Say what calling the best-scored tenth first is worth."""
    row = comparison.value("lift at 10 %")
    captured = percent(0.1 * row["value"], 0)
    return Finding(
        f"The best-scored tenth of {comparison.chosen} holds {captured} of the conversions: {number(row['value'], 1)} "
        f"times as many as a tenth in any order ({number(row['low'], 1)}–{number(row['high'], 1)}).",
        "good" if row["low"] > 1 else "caution",
    )


def record_comparison(honest: Comparison, claimed: Comparison) -> None:
    """Record every metric of every model, and the key numbers of the chosen one."""
    record("chosen_model", honest.chosen, headline=True, label="chosen model")
    for row in honest.metrics.itertuples():
        chosen = row.model == honest.chosen
        key = row.metric in ("log loss", "ROC AUC", "calibration error")
        record(
            f"{_key(row.model)}__{_key(row.metric)}",
            row.value,
            low=row.low,
            high=row.high,
            n=row.n,
            unit="number:3",
            headline=chosen and key,
            label=row.metric if chosen and key else f"{row.model}: {row.metric}",
        )
    lot = claimed.value("ROC AUC", honest.chosen)
    ends = {"low": lot["low"], "high": lot["high"], "n": int(lot["n"])}
    record("random_split__roc_auc", lot["value"], **ends, unit="number:3", label="ROC AUC that a random split claims")
    record("share_of_way_to_oracle", share_of_way(honest), unit="percent", label="way from base rate to oracle")


def leak_finding(truncation: pd.DataFrame) -> Finding:
    """Say whether deleting the future changed any feature."""
    if truncation.empty:
        return Finding(
            "This source has no dates, so nobody can show what was known when: whether its columns were filled before "
            "or after the outcome is a matter of trust, and scores from it must not be used on live leads unchecked.",
            "caution",
        )
    values = int((truncation["rows"] * truncation["features"]).sum())
    changed = int(truncation["changed"].sum())
    checked = f"{number(values, 0)} feature values on {len(truncation)} dates were computed again without later facts"
    if changed:
        return Finding(f"The future leaks: {checked}, and {number(changed, 0)} of them changed.", "bad")
    return Finding(f"Nothing leaks: {checked}, and not one changed.", "good")


def _estimate(comparison: Comparison, metric: str, model: str | None = None) -> str:
    row = comparison.value(metric, model)
    return estimate(row["value"], row["low"], row["high"], kind="number", digits=3)


def _key(name: str) -> str:
    """A stable key in snake case."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _number(row: pd.Series) -> str:
    return estimate(row["value"], row["low"], row["high"], kind="number", digits=3)
