"""Sentences from values: what a result says, in words that stay true when the numbers change."""

import re
from dataclasses import dataclass

import pandas as pd

from crmlab.evaluation import ORACLE, Comparison, share_of_way
from crmlab.leakage import LeakVerdict
from crmlab.metrics import METRICS
from crmlab.models import FLOORS
from crmlab.quality.problems import PROBLEMS
from crmlab.report import estimate, number, percent, record

__all__ = [
    "OWNER_FORMATS",
    "Finding",
    "association_finding",
    "cohort_finding",
    "conversion_view",
    "date_finding",
    "doubtful",
    "group_finding",
    "honest_counts_finding",
    "leak_finding",
    "lift_finding",
    "metric_formats",
    "model_finding",
    "oracle_finding",
    "owner_finding",
    "owner_view",
    "quality_finding",
    "record_cohorts",
    "record_comparison",
    "record_leaks",
    "short_summary",
    "split_finding",
    "view_formats",
]

OWNER_FORMATS = {"share": "estimate:percent", "expected": "number:1", "ratio": "estimate:number:2"}

_ECE_BOUND = 0.05
"""Largest calibration error at which a score is still called a probability."""
_METRIC_DIGITS = {"lift at 10 %": 2}


@dataclass(frozen=True)
class Finding:
    """One sentence and how good its news is: `good`, `caution`, `bad` or `plain`."""

    sentence: str
    tone: str


def model_finding(comparison: Comparison, floors: pd.DataFrame, *, outcome: str, label: str) -> Finding:
    """Say which model was chosen, what it reached on newer leads, and whether it beats the floors.

    Parameters
    ----------
    floors : result of `Comparison.against_floors`.
    outcome : what is predicted, such as "conversion within 90 days".
    label : `within_horizon` or `final_status`.
    """
    loss = _estimate(comparison, "log loss")
    if comparison.chosen in FLOORS:
        sentence = (
            f"No learned model predicted {outcome} better than the {comparison.chosen} on older leads, so the "
            f"{comparison.chosen} is kept: log loss {loss} on newer leads. This is not enough evidence for a model."
        )
        return Finding(sentence, "caution")
    unbeaten = list(floors.loc[~floors["beaten"], "floor"])
    sentence = f"{_capital(comparison.chosen)} predicts {outcome} of newer leads with log loss {loss}"
    if unbeaten:
        return Finding(f"{sentence}, which is not shown to be better than the {' and the '.join(unbeaten)}.", "caution")
    base = estimate(*floors["difference"].iloc[0], kind="number", digits=3)
    error = comparison.value("calibration error")["value"]
    top = percent(0.1 * comparison.value("lift at 10 %")["value"], 0)
    sentence += (
        f", better than every floor (difference from the base rate {base}). Its best-scored tenth holds {top} of the "
        f"conversions; "
    )
    missed = f"its scores miss the observed shares by {percent(error)} on average"
    if label == "final_status":
        return Finding(f"{sentence}{missed}. Without the date of the outcome this is an upper bound.", "caution")
    if error > _ECE_BOUND:
        return Finding(f"{sentence}but {missed}.", "caution")
    return Finding(f"{sentence}{missed}.", "good")


def date_finding(snapshots: pd.DataFrame, *, label: str) -> Finding:
    """Say how many rows have a settled label, and what missing dates of the outcome cost.

    Parameters
    ----------
    snapshots : frame of `snapshots.build_snapshots`.
    """
    settled, open_ = int(snapshots["mature"].sum()), int((~snapshots["mature"]).sum())
    if label == "within_horizon":
        return Finding(
            f"{number(settled, 0)} rows have a settled label; {number(open_, 0)} more are censored, because their "
            f"horizon reaches past the data, and are not counted.",
            "plain",
        )
    return Finding(
        f"The source does not say when a lead converted or was lost. That costs the probability within a horizon, the "
        f"proof that columns were filled before the outcome, and {number(open_, 0)} leads that are still open and "
        f"cannot be used; the {number(settled, 0)} closed ones lean towards what is closed fast. Newer leads are "
        f"tested, but without a gap.",
        "caution",
    )


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
    both = f"ROC AUC {number(said['value'], 3)} where newer leads give {_estimate(honest, 'ROC AUC', crowned)}"
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


def quality_finding(problems: pd.DataFrame, completeness: pd.DataFrame) -> Finding:
    """Say what is wrong with the data, and which columns cannot be used for the past."""
    today = completeness[~completeness["as_of_safe"] & (completeness["filled"] > 0)]
    tell = completeness[completeness["tells_outcome"]]
    some = "1 column holds" if len(today) == 1 else f"{len(today)} columns hold"
    unusable = f"{some} only today's value and cannot say what was known earlier"
    if len(tell):
        names = ", ".join(f"{t}.{c}" for t, c in zip(tell["table"], tell["column"], strict=True))
        unusable += f"; whether {names} is filled goes with the outcome"
    faults = doubtful(problems)
    if faults.empty:
        return Finding(f"No impossible or doubtful rows were found; {unusable}.", "plain")
    worst = faults.sort_values("share", ascending=False).iloc[0]
    kinds = "1 kind" if len(faults) == 1 else f"{len(faults)} kinds"
    return Finding(
        f"{kinds} of problem found; the widest is “{worst['problem']}” in {worst['table']} "
        f"({percent(worst['share'])} of the rows that could have it). {unusable}.",
        "caution",
    )


def group_finding(table: pd.DataFrame, *, by: str, outcome: str) -> Finding:
    """Say how far groups of leads differ in conversion, leaving out groups too small to tell."""
    known = table[~table["small"]].sort_values("share", ascending=False)
    if len(known) < 2:
        return Finding(f"There are too few leads per {by} to compare.", "plain")
    best, least = known.iloc[0], known.iloc[-1]
    apart = best["low"] > least["high"]
    return Finding(
        f"By {by}, {outcome} ranges from {percent(least['share'])} ({least['group']}) to {percent(best['share'])} "
        f"({best['group']}); " + ("their intervals lie apart." if apart else "their intervals overlap."),
        "plain",
    )


def association_finding(table: pd.DataFrame) -> Finding:
    """Say which single features move with the outcome, and whether they do so in every period."""
    if not table["auc"].notna().any():
        return Finding("No label is settled yet, so no feature can be compared with an outcome.", "caution")
    strong = table[(table["auc"] - 0.5).abs() > 0.05]
    if strong.empty:
        return Finding("No single feature moves with the outcome by more than a trace.", "caution")
    stable = strong[strong["same_direction"] == 1]
    names = ", ".join(stable["feature"].head(3))
    return Finding(
        f"{len(strong)} of {len(table)} features move with the outcome on their own, and {len(stable)} of them in the "
        f"same direction in every period" + (f"; the strongest are {names}." if len(stable) else "."),
        "plain",
    )


def cohort_finding(overall: pd.Series, estimators: pd.DataFrame, *, horizon_days: int) -> Finding:
    """Say how many leads convert within the horizon, and what the common short cuts would have said.

    Parameters
    ----------
    overall : the one row of `cohorts.conversion_table` for all leads.
    estimators : result of `cohorts.estimator_table`, the right way first.
    """
    h = f"{horizon_days}d"
    share = estimate(overall[f"share_{h}"], overall[f"low_{h}"], overall[f"high_{h}"], kind="percent")
    others = [percent(x) for x in estimators["share"].iloc[1:].dropna()]
    sentence = f"Of all leads, {share} convert within {horizon_days} days of their creation"
    if others:
        sentence += f"; the common short cuts would have said {' or '.join(others)}"
    return Finding(f"{sentence}.", "plain")


def owner_finding(owners: pd.DataFrame) -> Finding:
    """Say how many owners differ from what their leads would have let expect."""
    if owners.empty:
        return Finding(
            "Only today's owner is known, and whoever takes over promising leads would look good: nothing is compared.",
            "caution",
        )
    apart = owners[(owners["ratio_low"] > 1) | (owners["ratio_high"] < 1)]
    chance = number(0.05 * len(owners), 1)
    return Finding(
        f"{len(apart)} of {len(owners)} owners convert clearly more or fewer leads than expected of leads like theirs; "
        f"about {chance} would by chance alone.",
        "plain",
    )


def record_cohorts(overall: pd.Series, *, horizon_days: int) -> None:
    """Record the share of all leads that converts within the horizon."""
    h = f"{horizon_days}d"
    ends = {"low": overall[f"low_{h}"], "high": overall[f"high_{h}"], "n": int(overall["n"])}
    label = f"converted within {horizon_days} days of creation"
    record("share_converted", overall[f"share_{h}"], **ends, unit="percent", headline=True, label=label)


def conversion_view(table: pd.DataFrame, *, horizons: list[int], compare_at: int) -> pd.DataFrame:
    """Return a conversion table for reading: every share with its interval in one cell.

    Parameters
    ----------
    table : result of `cohorts.conversion_table`.
    horizons, compare_at : as given to it.

    Returns
    -------
    Frame: group, n, converted, one column per horizon, and the difference from all other leads.
    """
    cells = {f"{h} days": _triples(table, f"share_{h}d", f"low_{h}d", f"high_{h}d") for h in horizons}
    apart = _triples(table, "difference", "difference_low", "difference_high")
    return table[["group", "n", "converted"]].assign(**cells, **{f"against the rest, {compare_at} days": apart})


def view_formats(view: pd.DataFrame) -> dict[str, str]:
    """Return how the columns of a conversion view are written."""
    shares = {c: "estimate:percent" for c in view if str(c).endswith("days")}
    return shares | {c: "estimate:points" for c in view if str(c).startswith("against")}


def owner_view(owners: pd.DataFrame) -> pd.DataFrame:
    """Return a table of owners for reading: share and ratio with their intervals in one cell."""
    share, ratio = _triples(owners, "share", "low", "high"), _triples(owners, "ratio", "ratio_low", "ratio_high")
    return owners[["owner_id", "n", "observed", "expected"]].assign(share=share, ratio=ratio)


def doubtful(problems: pd.DataFrame) -> pd.DataFrame:
    """Return the problems that are faults of rows, without the columns that merely keep no history."""
    return problems[problems["problem"] != PROBLEMS["today_only"][0]]


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


def leak_finding(verdict: LeakVerdict, *, label: str) -> Finding:
    """Say whether anything leaks, how that was looked at, and what it cannot prove."""
    if verdict.flagged:
        some = ", ".join(verdict.flagged[:5]) + (" and more" if len(verdict.flagged) > 5 else "")
        return Finding(f"The future leaks into {some}. {verdict.reasons[0]}", "bad")
    doubt = f" {_capital(_counted(len(verdict.doubtful), 'feature'))} should be looked at by a person."
    doubt = doubt if verdict.doubtful else ""
    if not verdict.proven:
        return Finding(
            "This source has no dates, so nobody can show what was known when: whether its columns were filled before "
            "or after the outcome is a matter of trust, and scores from it must not be used on live cases unchecked."
            + doubt,
            "caution",
        )
    checked = f"{number(verdict.n_checked, 0)} values were computed again without the future or with a misleading one"
    if label == "final_status":
        trust = "the outcome has no date, so whether a column was filled after it is a matter of trust"
        return Finding(f"{_capital(checked)}, and not one changed; but {trust}.{doubt}", "caution")
    sentence = f"Nothing recorded later enters a feature: {checked}, and not one changed.{doubt}"
    return Finding(sentence, "caution" if doubt else "good")


def record_leaks(verdict: LeakVerdict, planted: pd.DataFrame) -> None:
    """Record what the leak probes found, and how many planted leaks they named.

    Parameters
    ----------
    planted : result of `leakage.planted_leak_table`.
    """
    record("leaks", len(verdict.flagged), headline=True, unit="count", label="features flagged as leaks")
    record("values_checked", verdict.n_checked, unit="count", label="values computed again")
    real = planted[planted["plant"] != "no plant"]
    share = float((real["named_by"] != "nobody").mean()) if len(real) else float("nan")
    record("planted_leaks_named", share, n=len(real), headline=True, unit="percent:0", label="planted leaks named")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def honest_counts_finding(table: pd.DataFrame) -> Finding:
    """Say what the count that looks best is worth once leads are compared fairly, and where even that misses the truth.

    Parameters
    ----------
    table : result of `exposure.honest_counts_table`.
    """
    told = table[table["naive"].notna() & table["adjusted"].notna()]
    if told.empty:
        return Finding("No interaction can be set against a dated outcome, so no count can be judged.", "plain")
    row = told.loc[told["naive_auc"].idxmax()]
    sentence = (
        f"One more {_words(row['type'])} goes with {_ratio(row, 'naive')} times the odds of converting by the final "
        f"count, and {_ratio(row, 'adjusted')} times among leads of equal age, alike in source, size, season and the "
        f"counts of the other types"
    )
    if told["true"].notna().any():
        return _against_truth(sentence, row, told)
    apart = told[(told["adjusted_low"] > 1) | (told["adjusted_high"] < 1)]
    return Finding(
        f"{sentence}. So compared, {len(apart)} of {len(told)} types still differ from no relation; warmer leads "
        f"collect more of everything, so that is a sign of warmth and no proof of an effect.",
        "caution" if len(apart) else "plain",
    )


def _against_truth(sentence: str, row: pd.Series, told: pd.DataFrame) -> Finding:
    known = told[told["true"].notna()]
    naive, held = (int(known[c].sum()) for c in ("naive_covers", "covers"))
    missed = [_words(t) for t in known.loc[~known["covers"].astype(bool), "type"]]
    truth = "" if pd.isna(row["true"]) else f"; the true odds ratio is {number(row['true'], 2)}"
    sentence += (
        f"{truth}. The interval of the final count holds the truth for {naive} of {len(known)} types, that of the fair "
        f"comparison for {held}"
    )
    if not missed:
        return Finding(f"{sentence}.", "plain")
    sentence += f"; it misses {_and(missed)}: warm leads collect them, and warmth itself stands in no column"
    return Finding(f"{sentence}.", "caution")


def _ratio(row: pd.Series, way: str) -> str:
    return estimate(row[way], row[f"{way}_low"], row[f"{way}_high"], kind="number", digits=2)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _estimate(comparison: Comparison, metric: str, model: str | None = None) -> str:
    row = comparison.value(metric, model)
    return estimate(row["value"], row["low"], row["high"], kind="number", digits=3)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _triples(table: pd.DataFrame, *columns: str) -> list[tuple]:
    return list(zip(*(table[c] for c in columns), strict=True))


def _key(name: str) -> str:
    """A stable key in snake case."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
