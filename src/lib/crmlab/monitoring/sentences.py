"""What monitoring found, in sentences from values."""

import pandas as pd

from crmlab.explain import plain_text
from crmlab.snapshots import as_entity, nouns_of

from .challenger import BETTER, NOT_COMPARABLE, WORSE
from .realised import KEPT, REVERSED, UNCERTAIN
from .rule import KEEP, RETRAIN, REVIEW, UNKNOWN
from .settled import GIVEN
from .study import Monitor

__all__ = [
    "basis_sentence",
    "challenger_sentence",
    "drift_sentence",
    "kpi_sentence",
    "monitor_sentence",
    "monitor_tone",
    "rate_sentence",
    "records_sentence",
    "rule_sentence",
    "tier_sentence",
]

_SPACE = "\u00a0"
_NOTHING = "No model has been published, so nothing is shown here."
_VERDICTS = {
    KEEP: "keep the model",
    REVIEW: "look at the model",
    RETRAIN: "train again now",
    UNKNOWN: "it cannot be judged yet",
}


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}{_SPACE}%"


def _span(low: float, high: float) -> str:
    return f"{100 * low:.1f}–{100 * high:.1f}{_SPACE}%"


def _nouns(monitor: Monitor) -> object:
    return nouns_of(as_entity(monitor.question.entity))


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def monitor_tone(monitor: Monitor) -> str:
    """Return the tone of the headline: good only where scores came true and the model is kept."""
    if not monitor.published:
        return "caution"
    tones = {KEEP: "good", REVIEW: "caution", RETRAIN: "bad", UNKNOWN: "caution"}
    return "caution" if monitor.nothing_new and monitor.verdict == KEEP else tones[monitor.verdict]


def monitor_sentence(monitor: Monitor) -> str:
    """Say whether the scores came true, and what the rule says; or why there is nothing to monitor."""
    if not monitor.published:
        scoring = monitor.scoring
        asked = f" What is missing: {scoring.missing.rstrip('.')}." if scoring.missing else ""
        return f"Nothing to monitor yet: not enough evidence. {scoring.reason.rstrip('.')}.{asked}"
    return f"{_came_true(monitor)} {_verdict(monitor)}"


def _came_true(monitor: Monitor) -> str:
    settled, nouns = monitor.told, _nouns(monitor)
    if not settled.enough(monitor.rule.min_outcomes):
        return f"Too few {nouns.many} have settled to say whether scores come true."
    found = monitor.realised.set_index("measure")
    gap = found.loc["observed less expected"]
    expected, observed = settled.p.mean(), settled.y.mean()
    sure = gap["low"] > 0 or gap["high"] < 0
    fit = "beyond chance" if sure else "no more than chance allows"
    what = "scores given" if settled.basis == GIVEN else "scores replayed on rows new to the model"
    return (
        f"{len(settled.rows):,} {what}, about {settled.rows['entity_id'].nunique():,} {nouns.many}, have settled: "
        f"{_percent(expected)} were expected to end with the outcome, {_percent(observed)} did "
        f"(the difference is {fit}: {_span_points(gap)})."
    )


def _span_points(gap: pd.Series) -> str:
    return f"{100 * gap['low']:+.1f} to {100 * gap['high']:+.1f} points".replace("-", "−")


def _verdict(monitor: Monitor) -> str:
    table, verdict = monitor.rules, monitor.verdict
    reasons = table.loc[table["verdict"] == verdict, "rule"].to_list()
    why = f" because of {_listed(reasons)}" if verdict in (REVIEW, RETRAIN) else ""
    again = " Nothing new has settled since its own test." if monitor.nothing_new else ""
    return f"The rule says: {_VERDICTS[verdict]}{why}.{again}"


def basis_sentence(monitor: Monitor) -> str:
    """Say which scores are shown: given or replayed, and what was left out."""
    if not monitor.published:
        return _NOTHING
    given, waiting = monitor.given, monitor.given.n_waiting
    left = [
        f"{given.n_late:,} were given more than a week after the look that they are about" if given.n_late else "",
        f"{given.n_gone:,} belong to cases that the CRM no longer holds" if given.n_gone else "",
    ]
    left = [part for part in left if part]
    aside = f" Left out: {_listed(left)}." if left else ""
    if monitor.told.basis == GIVEN:
        return (
            f"Shown are scores that were really given, from the history: {len(given.rows):,} have settled, {waiting:,} "
            f"still wait for their horizon.{aside}"
        )
    from_, to = monitor.replay.rows["as_of"].min(), monitor.replay.rows["as_of"].max()
    span = f" of {from_:%Y-%m-%d} to {to:%Y-%m-%d}" if len(monitor.replay.rows) else ""
    return (
        f"Shown is a replay, not what anybody saw: the tested twin of the model is asked about "
        f"{len(monitor.replay.rows):,} looks{span} that it had not learned from. The history holds {len(given.rows):,} "
        f"scores that have settled and {waiting:,} that wait; too few to speak for themselves.{aside}"
    )


def tier_sentence(monitor: Monitor) -> str:
    """Say whether tiers kept their promise and their order."""
    tiers = monitor.tiers
    known = tiers[tiers["came_true"].notna()]
    if known.empty:
        return "No tier has settled scores yet."
    missed = known[~known["came_true"].astype(bool)]
    names = [f"{row.kind} {row.tier}" for row in missed.itertuples()]
    kept = f"All {len(known)} published tiers" if missed.empty else f"{len(known) - len(missed)} of {len(known)} tiers"
    told = f"{kept} came true within the range that they promised."
    told += f" Not so: {_listed(names)}." if names else ""
    orders = known.loc[known["order"] != "", "order"].value_counts()
    return (
        f"{told} Of {int(orders.sum())} steps from one tier to the next, {int(orders.get(KEPT, 0))} are clear, "
        f"{int(orders.get(UNCERTAIN, 0))} too close to call, {int(orders.get(REVERSED, 0))} turned round."
    )


def drift_sentence(monitor: Monitor) -> str:
    """Say how many features drifted, which alarm matters most, since when, and what it does to the scores."""
    if not monitor.published:
        return _NOTHING
    table = monitor.drift
    if table.empty:
        return "Too few open or trained cases to speak of drift."
    alarms, moved = table[table["alarm"]], int(table["moved"].sum())
    if alarms.empty:
        rest = f" {moved} moved that it hardly uses." if moved else ""
        return f"None of {len(table)} features that the model knows has drifted in a way that matters.{rest}"
    first = alarms.iloc[0]
    effect = "" if pd.isna(first["effect"]) else f"; it moves scores by {first['effect']:+.2f} in log odds on average"
    heavy = alarms["importance"].sum()
    share = "" if pd.isna(first["importance"]) else f"; together they make up {_percent(heavy)} of the scores"
    since = "" if pd.isna(first["since"]) else f", since {first['since']:%Y-%m-%d}"
    one = "feature has" if len(alarms) == 1 else "features have"
    named = f"{plain_text(first['feature'])} ({first['kind']})"
    return f"{len(alarms)} of {len(table)} {one} drifted{share}. First: {named}{since}{effect}.".replace(" -", " −")


def rate_sentence(monitor: Monitor) -> str:
    """Say whether the outcome comes as often as in training, with the season in mind."""
    prior, nouns = monitor.prior, _nouns(monitor)
    if prior is None:
        return _NOTHING
    if pd.isna(prior.log_odds):
        return f"Too few {nouns.many} have settled to speak of the rate of {nouns.outcomes}."
    moved = prior.alarm(monitor.rule.max_rate_shift)
    season = prior.season
    compared = "" if pd.isna(season[0]) else f", and {_percent(season[0])} in the same season of earlier years"
    words = "That is a shift" if moved else "That is within what chance, the bound or the season explains"
    return (
        f"Of looks from {prior.first:%Y-%m-%d} to {prior.last:%Y-%m-%d}, {_percent(prior.now[0])} ended with the "
        f"outcome ({_span(*prior.now[1:])}); in training it was {_percent(prior.trained[0])}{compared}. {words}."
    )


def records_sentence(monitor: Monitor) -> str:
    """Say whether a source of events dried up."""
    table = monitor.dry
    if table.empty:
        return "There are too few dated events to see whether a source has dried up."
    alarms = table[table["alarm"]]
    if alarms.empty:
        return f"All {len(table)} kinds of events come about as often as they use to."
    names = [f"{row.table}: {plain_text(row.kind)} (last seen {row.last_seen:%Y-%m-%d})" for row in alarms.itertuples()]
    return (
        f"{len(alarms)} of {len(table)} kinds of events have dried up: {_listed(names)}. Check how they are recorded."
    )


def challenger_sentence(monitor: Monitor) -> str:
    """Say whether newer training rows would have brought a better model, and what the gate said last."""
    if not monitor.published:
        return _NOTHING
    found, (when, words) = monitor.challenge, monitor.last_verdict
    last = f" At the gate's last verdict ({when}) {words}." if when else ""
    if found.outcome == NOT_COMPARABLE:
        return f"Whether a newer model would be better cannot be compared yet: {found.why}.{last}"
    ends = {
        BETTER: "Training again is worth it.",
        WORSE: "The older rows teach better; the champion stays.",
    }.get(found.outcome, "The champion stays.")
    gap = f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})".replace("-", "−")
    return (
        f"On {found.n:,} looks at {found.n_entities:,} cases from {found.tested_from:%Y-%m-%d} on, new to both, "
        f"{found.member} trained up to {found.newer_to:%Y-%m-%d} instead of {found.trained_to:%Y-%m-%d} changes "
        f"the log loss by {gap}: {found.outcome}. {ends}{last}"
    )


def kpi_sentence(monitor: Monitor, *, capacity: int) -> str:
    """Say what calling the best was worth, over all settled weeks."""
    table, nouns = monitor.kpis(capacity=capacity), _nouns(monitor)
    if table.empty:
        return f"No {nouns.many} have settled, so nothing is known of hits."
    hits = (table["hit_rate"] * table["called"]).sum() / table["called"].sum()
    rate = (table["rate"] * table["n"]).sum() / table["n"].sum()
    times = f", {hits / rate:.1f} times the rate of all" if rate else ""
    drawn = monitor.sampled_share
    scaled = f" (in a sample of {_percent(drawn, 0)} of all cases, the capacity scaled with it)" if drawn < 1 else ""
    return (
        f"Of the best {capacity:,} a week{scaled}, {_percent(hits)} ended with the outcome{times} ({_percent(rate)}); "
        f"{monitor.told.basis}."
    )


def rule_sentence(monitor: Monitor) -> str:
    """Say that the bounds stood before the look; or which were changed under this model."""
    if not monitor.published:
        return _NOTHING
    if monitor.loosened:
        names = _listed([name.replace("_", " ") for name in monitor.loosened])
        return f"Caution: since the first look at this model other bounds are in force: {names}. The log holds both."
    return "The bounds were written into the log before anything was measured, and are those of the first look."
