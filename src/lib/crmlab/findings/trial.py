"""What a study under trial says beyond its comparison: verdict, reliability, slices, value of an order, coverage."""

import pandas as pd

from crmlab.evaluation import Comparison
from crmlab.gate import Verdict
from crmlab.models.closed_only import CLOSED_ONLY, EVERY_DEAL
from crmlab.registry import PublishedModel
from crmlab.report import estimate, money, number, percent, record
from crmlab.snapshots import Question, nouns_of

from .finding import Finding, joined

__all__ = [
    "calls_finding",
    "closed_only_finding",
    "coverage_finding",
    "fairness_finding",
    "origins_finding",
    "publication_finding",
    "record_verdict",
    "reliability_finding",
    "segments_finding",
    "slices_finding",
    "verdict_finding",
]

_ENDS = ("value", "low", "high")


def verdict_finding(verdict: Verdict, comparison: Comparison, *, question: Question) -> Finding:
    """Say whether the chosen model may be published, and what it reached on newer rows."""
    nouns, loss = nouns_of(question.entity), _estimate(comparison.value("log loss"))
    base = number(comparison.value("log loss", "base rate")["value"], 3)
    top = percent(0.1 * comparison.value("lift at 10 %")["value"], 0)
    figures = (
        f"On newer {nouns.many} it reaches log loss {loss} where the base rate has {base}; its best-scored tenth holds "
        f"{top} of the {nouns.outcomes}."
    )
    if not verdict.passed:
        reasons = " ".join(verdict.reasons[:2])
        more = f" {len(verdict.reasons) - 2} more checks failed." if len(verdict.reasons) > 2 else ""
        sentence = (
            f"Not enough evidence to publish a score of {question.outcome}; the best choice was the "
            f"{comparison.chosen}. {figures} {reasons}{more}"
        )
        return Finding(sentence, "caution")
    sentence = f"The {comparison.chosen} passes the gate as a score of {question.outcome}. {figures}"
    return Finding(" ".join([sentence, *verdict.reservations]), "caution" if verdict.reservations else "good")


def reliability_finding(table: pd.DataFrame) -> Finding:
    """Say how far scores miss the observed shares, and whether they are too sure of themselves.

    Parameters
    ----------
    table : result of `metrics.reliability_table`.
    """
    rows = table.set_index("measure")
    error, left, slope = (
        rows.loc[name] for name in ("calibration error", "calibration error, corrected", "calibration slope")
    )
    kind = "neither too sure of themselves nor too timid"
    if slope["high"] < 1:
        kind = "too sure of themselves"
    elif slope["low"] > 1:
        kind = "too timid"
    share = rows.loc["skill"]
    return Finding(
        f"Scores miss the observed shares by {percent(error['value'])} on average, of which {percent(left['value'])} "
        f"is more than chance brings. They are {kind} (slope {_estimate(slope, 2)}), and remove "
        f"{percent(max(share['value'], 0))} of the uncertainty about single outcomes; the rest no score here tells.",
        "good" if error["value"] <= 0.05 and slope["low"] <= 1 <= slope["high"] else "caution",
    )


def slices_finding(table: pd.DataFrame) -> Finding:
    """Say in which slices scores are off by more than chance.

    Parameters
    ----------
    table : result of `evaluation.slice_table`.
    """
    tested = table[table["p_value"].notna()]
    if tested.empty:
        return Finding("No slice holds enough outcomes to be judged by itself.", "plain")
    flagged = tested[tested["flagged"].astype(bool)]
    if flagged.empty:
        return Finding(
            f"In none of {len(tested)} slices by {_by(tested)} are scores off by more than chance explains.", "good"
        )
    names = joined([f"{_plain(r.column)} {r.slice}" for r in flagged.head(4).itertuples()])
    more = f" and {len(flagged) - 4} more" if len(flagged) > 4 else ""
    return Finding(
        f"In {len(flagged)} of {len(tested)} slices scores are off by more than chance explains: {names}{more}. There "
        f"they must not be taken at their word.",
        "caution",
    )


def segments_finding(table: pd.DataFrame) -> Finding:
    """Say which segments would be served better by a model of their own.

    Parameters
    ----------
    table : result of `Trial.segments`.
    """
    compared = table[table["own_loss"].notna()]
    if compared.empty:
        return Finding("No segment holds enough outcomes to be given a model of its own.", "plain")
    better = compared[compared["used"].astype(bool)]
    if better.empty:
        return Finding(
            f"None of {len(compared)} segments by {_by(compared)} is served better by a model of its own than by one "
            f"for all.",
            "good",
        )
    names = joined([f"{_plain(r.column)} {r.segment}" for r in better.head(4).itertuples()])
    single = len(better) == 1
    return Finding(
        f"{len(better)} of {len(compared)} segments {'is' if single else 'are'} served better by a model of "
        f"{'its' if single else 'their'} own: {names}. A study of {'it' if single else 'each of them'} alone is worth "
        f"a try.",
        "caution",
    )


def fairness_finding(table: pd.DataFrame) -> Finding:
    """Say which slices get more or fewer places in the contacted quarter than their outcomes would give them.

    Parameters
    ----------
    table : result of `evaluation.fairness_table`.
    """
    if table.empty:
        return Finding("There is nothing to compare: the rows say neither source, owner, size nor region.", "plain")
    apart = table[(table["ratio_low"] > 1) | (table["ratio_high"] < 1)]
    low = apart[apart["ratio_high"] < 1]
    sentence = (
        f"{len(apart)} of {len(table)} slices get clearly more or fewer places among the contacted than their share of "
        f"outcomes"
    )
    if low.empty:
        return Finding(f"{sentence}; none gets clearly fewer.", "plain")
    names = joined([f"{_plain(r.column)} {r.slice}" for r in low.head(3).itertuples()])
    return Finding(f"{sentence}; fewer: {names}.", "caution")


def calls_finding(table: pd.DataFrame, comparison: Comparison, *, question: Question, capacity: int) -> Finding:
    """Say what calling in the order of the scores earns more than any order, and than the owners' own.

    Parameters
    ----------
    table : result of `evaluation.capacity_table`.
    """
    if table.empty:
        return Finding("Rows have no dates, so nobody can say who could have been called in which week.", "plain")
    nouns, ways = nouns_of(question.entity), table.set_index("way")
    own, chance = ways.loc[comparison.chosen], ways.loc["random order"]
    difference = estimate(own["difference"], own["difference_low"], own["difference_high"], kind="money", digits=0)
    sentence = (
        f"With {capacity} calls a week in the order of the scores, {number(own['conversions'], 0)} {nouns.outcomes} "
        f"are among those called, where any order holds {number(chance['conversions'], 0)}: {difference} more over the "
        f"test period"
    )
    others = [w for w in ways.index if w.startswith("order of") or w in ("newest first", "last contacted first")]
    best = ways.loc[others]["profit"].idxmax() if others else None
    if best is not None:
        sentence += (
            f"; the best simple order ({best}) earns {money(ways.loc[best, 'profit'] - chance['profit'], 0)} more"
        )
    tone = "good" if own["difference_low"] > 0 else "caution"
    return Finding(f"{sentence}. This is the value of the order; what a call changes is not known.", tone)


def origins_finding(table: pd.DataFrame) -> Finding:
    """Say whether models beat the base rate at every origin.

    Parameters
    ----------
    table : of `evaluation.Trial.origins`.
    """
    losses = table[table["metric"] == "log loss"] if len(table) else table
    if losses.empty:
        return Finding("There is too little history, or no dates, to begin more than once.", "plain")
    won = losses[losses["value"] < losses["base"]]
    n = losses["origin"].nunique()
    by_model = [f"{model} at {int((won['model'] == model).sum())}" for model in losses["model"].unique()]
    every = len(won) == len(losses)
    return Finding(
        f"Begun again at {n} dates, each time tested on what came next, these models beat the base rate of their own "
        f"past: {joined(by_model)} of {n}.",
        "good" if every else "caution",
    )


def coverage_finding(table: pd.DataFrame) -> Finding:
    """Say how often intervals of scores hold the truth, where it is known.

    Parameters
    ----------
    table : of `evaluation.Trial.coverage`.
    """
    if table.empty:
        return Finding(
            "Each score gets an interval: within it the share of outcomes among cases with that score is to lie. Only "
            "where the true probabilities are known, in the demo CRM, can that be checked directly.",
            "plain",
        )
    rows = table.set_index("what")
    bands, single = rows.loc["score bands"], rows.loc["single cases"]
    share = estimate(bands["share"], bands["low"], bands["high"], kind="percent", digits=0)
    tone = "good" if bands["high"] >= bands["nominal"] else "caution"
    return Finding(
        f"Intervals learned on the older half of the test hold the true share of {share} of the score bands of the "
        f"newer half ({percent(bands['nominal'], 0)} were promised), but the own true probability of only "
        f"{percent(single['share'], 0)} of single cases: what nobody recorded tells cases with the same score apart.",
        tone,
    )


def closed_only_finding(table: pd.DataFrame) -> Finding:
    """Say what training on closed deals only would have got wrong.

    Parameters
    ----------
    table : of `models.closed_only_table`.
    """
    if table.empty:
        return Finding("This comparison needs dated deals, some of them still open.", "plain")
    rows = table[table["deals"] == "all"].set_index("model")
    every, closed = (rows.loc[name] for name in (EVERY_DEAL, CLOSED_ONLY))
    won = percent(every["observed"][0])
    return Finding(
        f"Trained on closed deals only, the same model expects {percent(closed['predicted'])} of deals to be won "
        f"within the horizon; with open deals at risk it expects {percent(every['predicted'])}, and "
        f"{won} were won.",
        "plain",
    )


def publication_finding(published: PublishedModel | None, verdict: Verdict) -> Finding:
    """Say what was published, or what is missing for it."""
    if published is None:
        missing = f" What is missing: {'; '.join(verdict.missing)}." if verdict.missing else ""
        return Finding(f"Nothing is published, and no scores are given.{missing}", "caution")
    as_what = "" if published.published_as == "probability" else f" as {published.published_as}"
    return Finding(
        f"Model {published.model_id} is published{as_what}: the recipe fitted once more on every row with a settled "
        f"label. Its twin that was tested here, {published.tested_id}, is kept beside it for later challengers.",
        "good",
    )


def record_verdict(verdict: Verdict, published: PublishedModel | None) -> None:
    """Record the verdict of the gate, and the id of what was published."""
    record("gate", verdict.outcome, headline=True, label="gate")
    record("model_id", published.model_id if published else "none", label="published model")
    failed = int((verdict.checks["passed"] == False).sum())  # noqa: E712 - objects: None is neither
    record("gate_checks_failed", failed, n=len(verdict.checks), unit="count", label="checks of the gate not passed")


def _estimate(row: pd.Series, digits: int = 3) -> str:
    return estimate(*(row[end] for end in _ENDS), kind="number", digits=digits)


def _plain(column: str) -> str:
    return column.replace("_id", "").replace("_", " ")


def _by(table: pd.DataFrame) -> str:
    return joined([_plain(c) for c in dict.fromkeys(table["column"])])
