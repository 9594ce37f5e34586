"""What the data say before any model: dates, quality, leaks, associations, honest counts."""

import pandas as pd

from crmlab.leakage import LeakVerdict
from crmlab.quality.problems import PROBLEMS
from crmlab.report import estimate, number, percent, record
from crmlab.snapshots import entity_of, nouns_of

from .finding import Finding, capital, joined, plain_words

__all__ = [
    "association_finding",
    "date_finding",
    "doubtful",
    "group_finding",
    "honest_counts_finding",
    "leak_finding",
    "quality_finding",
    "record_leaks",
]


def date_finding(snapshots: pd.DataFrame, *, label: str, by_lot: bool = False) -> Finding:
    """Say how many rows have a settled label, and what missing dates of the outcome cost.

    Parameters
    ----------
    snapshots : frame of `snapshots.build_snapshots`.
    by_lot : the rows to test were drawn by lot, because nobody knows their order.
    """
    nouns = nouns_of(entity_of(snapshots))
    settled, open_ = int(snapshots["mature"].sum()), int((~snapshots["mature"]).sum())
    if label == "within_horizon":
        return Finding(
            f"{number(settled, 0)} rows have a settled label; {number(open_, 0)} more are censored, because their "
            f"horizon reaches past the data, and are not counted.",
            "plain",
        )
    tested = f"Newer {nouns.many} are tested, but without a gap."
    if by_lot:
        tested = "Nobody knows their order either, so the test rows are drawn by lot and say nothing about newer ones."
    return Finding(
        f"The study does not use the dates of outcomes. That costs the probability within a horizon, the proof that "
        f"columns were filled before the outcome, and {number(open_, 0)} {nouns.many} that are still open and cannot "
        f"be used; the {number(settled, 0)} closed ones lean towards what is closed fast. {tested}",
        "caution",
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


def doubtful(problems: pd.DataFrame) -> pd.DataFrame:
    """Return the problems that are faults of rows, without the columns that merely keep no history."""
    return problems[problems["problem"] != PROBLEMS["today_only"][0]]


def leak_finding(verdict: LeakVerdict, *, label: str) -> Finding:
    """Say whether anything leaks, how that was looked at, and what it cannot prove."""
    if verdict.flagged:
        some = ", ".join(verdict.flagged[:5]) + (" and more" if len(verdict.flagged) > 5 else "")
        return Finding(f"The future leaks into {some}. {verdict.reasons[0]}", "bad")
    doubt = f" {capital(_counted(len(verdict.doubtful), 'feature'))} should be looked at by a person."
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
        return Finding(f"{capital(checked)}, and not one changed; but {trust}.{doubt}", "caution")
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
        f"One more {plain_words(row['type'])} goes with {_ratio(row, 'naive')} times the odds of converting by the "
        f"final count, and {_ratio(row, 'adjusted')} times among leads of equal age, alike in source, size, season and "
        f"the counts of the other types"
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
    missed = [plain_words(t) for t in known.loc[~known["covers"].astype(bool), "type"]]
    truth = "" if pd.isna(row["true"]) else f"; the true odds ratio is {number(row['true'], 2)}"
    sentence += (
        f"{truth}. The interval of the final count holds the truth for {naive} of {len(known)} types, that of the fair "
        f"comparison for {held}"
    )
    if not missed:
        return Finding(f"{sentence}.", "plain")
    sentence += f"; it misses {joined(missed)}: warm leads collect them, and warmth itself stands in no column"
    return Finding(f"{sentence}.", "caution")


def _ratio(row: pd.Series, way: str) -> str:
    return estimate(row[way], row[f"{way}_low"], row[f"{way}_high"], kind="number", digits=2)
