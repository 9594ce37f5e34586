"""The lines of the retraining rule, each with what was found, the bound, and what follows."""

import numpy as np
import pandas as pd

from crmlab.intervals import difference_interval

from .challenger import BETTER, NOT_COMPARABLE
from .drift import EMPTIED
from .realised import REVERSED
from .rule import KEEP, RETRAIN, REVIEW, UNKNOWN, graded, rule_frame
from .settled import GIVEN

__all__ = ["HEAVY_SHARE", "rule_table"]

HEAVY_SHARE = 0.1
"""Share of the contributions to scores that drifted features hold together, from which the model is trained again."""
_ALPHA = 0.05


def rule_table(monitor: object) -> pd.DataFrame:
    """Return one line per rule: rule, value, low, high, bound, verdict, words; see `rule.RULE_COLUMNS`.

    Parameters
    ----------
    monitor : a `study.Monitor`, which asks this function for its rules.
    """
    if not monitor.published:
        return rule_frame([])
    return rule_frame(
        [
            *_came_true(monitor),
            _tiers(monitor),
            _features(monitor),
            _scores(monitor),
            _rate(monitor),
            _data(monitor),
            _challenger(monitor),
            _age(monitor),
            _events(monitor),
        ]
    )


def _came_true(monitor: object) -> list[tuple]:
    names = ("loss as promised", "better than one number for all", "calibration")
    settled = monitor.judged
    if not settled.enough(monitor.rule.min_outcomes):
        words = f"fewer than {monitor.rule.min_outcomes} settled cases with the outcome, or without"
        return [_line(name, verdict=UNKNOWN, words=words) for name in names]
    if monitor.nothing_new:
        words = "only the rows of its own test have settled: nothing new is known"
        return [_line(name, verdict=UNKNOWN, words=words) for name in names]
    found = monitor.realised_judged.set_index("measure")
    told = "scores given" if settled.basis == GIVEN else "replay of rows new since its test"
    return [
        _loss(monitor, found, names[0], told),
        _base(found, names[1], told),
        _calibration(monitor, found, names[2], told),
    ]


def _loss(monitor: object, found: pd.DataFrame, name: str, told: str) -> tuple:
    content = monitor.scoring.published.content
    if "log_loss" not in content:
        return _line(name, verdict=UNKNOWN, words="the publication holds no promise")
    promised = tuple(float(content[k]) for k in ("log_loss", "log_loss_low", "log_loss_high"))
    gap = difference_interval(_estimate(found, "log loss"), promised)
    verdict = RETRAIN if gap[1] > 0 else KEEP
    return _line(name, *gap, bound=0.0, verdict=verdict, words=f"log loss less the promised one; {told}")


def _base(found: pd.DataFrame, name: str, told: str) -> tuple:
    gap = _estimate(found, "log loss less base rate")
    verdict = RETRAIN if gap[1] > 0 else REVIEW if gap[2] >= 0 else KEEP
    return _line(name, *gap, bound=0.0, verdict=verdict, words=f"log loss less that of the base rate; {told}")


def _calibration(monitor: object, found: pd.DataFrame, name: str, told: str) -> tuple:
    bound, gap = monitor.rule.max_calibration_error, _estimate(found, "calibration error")
    verdict = RETRAIN if gap[1] > bound else REVIEW if gap[0] > bound else KEEP
    return _line(name, *gap, bound=bound, verdict=verdict, words=f"mean gap of score and observed share; {told}")


def _tiers(monitor: object) -> tuple:
    name, tiers = "published tiers", monitor.tiers
    known = tiers[tiers["came_true"].notna()]
    if known.empty:
        return _line(name, verdict=UNKNOWN, words="no tier has settled scores")
    missed, turned = int((~known["came_true"].astype(bool)).sum()), int((known["order"] == REVERSED).sum())
    words = f"of {len(known)} tiers, {missed} missed the promised range, {turned} stand in the wrong order; "
    verdict = REVIEW if missed or turned else KEEP
    return _line(name, missed + turned, bound=1, verdict=verdict, words=words + monitor.told.basis)


def _features(monitor: object) -> tuple:
    name, table = "features the model uses", monitor.drift
    if table.empty:
        return _line(name, verdict=UNKNOWN, words="too few open or trained cases")
    alarms = table[table["alarm"] & (table["kind"] != EMPTIED)]
    share = float(alarms["importance"].sum()) if alarms["importance"].notna().all() else 1.0
    words = f"{len(alarms)} of {len(table)} features have drifted; value: their share in the scores"
    verdict = KEEP if alarms.empty else RETRAIN if share >= HEAVY_SHARE else REVIEW
    return _line(name, share if len(alarms) else 0.0, bound=HEAVY_SHARE, verdict=verdict, words=words)


def _scores(monitor: object) -> tuple:
    name, bound, found = "distribution of the scores", monitor.rule.psi_bound, monitor.scores_moved
    if found.empty:
        return _line(name, verdict=UNKNOWN, words="too few open or settled cases")
    row = found.iloc[0]
    verdict = REVIEW if row["psi"] >= bound and row["p"] <= _ALPHA else KEEP
    words = f"PSI; mean score {100 * row['mean_was']:.1f} % then, {100 * row['mean_now']:.1f} % now"
    return _line(name, row["psi"], bound=bound, verdict=verdict, words=words)


def _rate(monitor: object) -> tuple:
    name, bound, prior = "rate of the outcome", monitor.rule.max_rate_shift, monitor.prior
    if prior is None or np.isnan(prior.log_odds):
        return _line(name, verdict=UNKNOWN, words="too few settled looks")
    season = "" if np.isnan(prior.season[0]) else f"; {100 * prior.season[0]:.1f} % in the same season before"
    words = f"log odds; {100 * prior.trained[0]:.1f} % in training, {100 * prior.now[0]:.1f} % lately{season}"
    return _line(name, prior.log_odds, bound=bound, verdict=RETRAIN if prior.alarm(bound) else KEEP, words=words)


def _data(monitor: object) -> tuple:
    emptied = monitor.drift[monitor.drift["kind"] == EMPTIED] if len(monitor.drift) else monitor.drift
    n_emptied = int(emptied["moved"].sum()) if len(emptied) else 0
    n_dry = int(monitor.dry["alarm"].sum()) if len(monitor.dry) else 0
    words = f"{n_emptied} columns no longer filled, {n_dry} sources of events dried up: repair before training again"
    return _line("records", n_emptied + n_dry, bound=1, verdict=REVIEW if n_emptied + n_dry else KEEP, words=words)


def _challenger(monitor: object) -> tuple:
    found, name = monitor.challenge, "newer training rows"
    if found.outcome == NOT_COMPARABLE:
        return _line(name, verdict=UNKNOWN, words=found.why)
    verdict = RETRAIN if found.outcome == BETTER else KEEP
    words = f"log loss of {found.member} trained on newer rows less that on older ones: {found.outcome}"
    return _line(name, found.value, found.low, found.high, bound=0.0, verdict=verdict, words=words)


def _age(monitor: object) -> tuple:
    rule, age = monitor.rule, monitor.age_days
    verdict = graded(age, review=rule.review_days, retrain=rule.update_days)
    words = f"days; review from {rule.review_days}, update from {rule.update_days}"
    return _line("age of the model", age, bound=rule.update_days, verdict=verdict, words=words)


def _events(monitor: object) -> tuple:
    events = monitor.rule.events_between(monitor.scoring.published.as_of, monitor.as_of)
    words = f"since the model was published: {', '.join(events) or 'none'}"
    return _line("announced events", len(events), bound=1, verdict=RETRAIN if events else KEEP, words=words)


def _estimate(found: pd.DataFrame, measure: str) -> tuple[float, float, float]:
    return tuple(float(x) for x in found.loc[measure, ["value", "low", "high"]])


def _line(
    name: str, value: float = np.nan, low: float = np.nan, high: float = np.nan, *, bound: float = np.nan,
    verdict: str, words: str,
) -> tuple:  # fmt: skip
    return name, value, low, high, bound, verdict, words
