"""Which open deals matter: those that decide over the target, and those that are slipping away."""

import numpy as np
import pandas as pd

from .outlook import Forecast, target_value
from .situation import Situation

__all__ = ["AT_RISK_COLUMNS", "at_risk", "bar_of", "must_win"]

_DAY = pd.Timedelta(days=1)
_SILENT_DAYS = 21
_LOOK_BACK_DAYS = 28
_FALL = 0.6
"""A probability below this share of what it was four weeks ago has fallen."""
_OVER = 0.25
"""An owner's probability so far above the model's is worth a talk."""
_VALUABLE = 0.5
"""Deals above this quantile of the open amounts are high value."""
AT_RISK_COLUMNS = ["deal", "owner", "team", "amount", "p_won", "p_before", "owner_says", "reasons", "n_reasons"]


def bar_of(forecast: Forecast, role: str) -> tuple[float, str]:
    """Return what is to be reached in a period, in EUR, and its name: the firm's target, else the median forecast."""
    period = forecast.period(role)
    target = target_value(forecast, period, "total", "all", None)
    if np.isfinite(target) and target > 0:
        return target, "target"
    return float(np.median(forecast.amounts(period))), "median forecast"


def must_win(forecast: Forecast, *, role: str = "this quarter", limit: int = 10) -> pd.DataFrame:
    """Return the open deals whose win or loss moves the chance of the period's bar most.

    The chance is counted twice over the same draws: with the deal won in the period, and with the deal not won in it,
    everything else as drawn. It says how much hangs on a deal, not what working on it would change.

    Returns
    -------
    Frame: deal, owner, team, amount, p_won (in the period), chance_if_won, chance_if_not, difference; largest first.
    """
    period = forecast.period(role)
    bar, _ = bar_of(forecast, role)
    situation, whole = forecast.situation, forecast.amounts(period)
    mine = forecast.draws.existing(situation.steps(period))
    rest = whole[:, None] - mine
    with_it = (rest + forecast.draws.amount >= bar).mean(axis=0)
    without = (rest >= bar).mean(axis=0)
    found = _named(situation).assign(
        p_won=(mine > 0).mean(axis=0), chance_if_won=with_it, chance_if_not=without, difference=with_it - without
    )
    return found.sort_values("difference", ascending=False, kind="stable").head(limit).reset_index(drop=True)


def at_risk(forecast: Forecast, rows: pd.DataFrame, features: pd.DataFrame, *, limit: int = 15) -> pd.DataFrame:
    """Return open deals of high value that show signs of slipping away, with the signs in words.

    Signs: probability well below that of four weeks ago; silence of three weeks; the expected closing overdue, or moved
    later twice or more; the stage moved back; the owner's probability far above the model's. A deal needs two signs, or
    one of the probability. Most value times signs first.

    Parameters
    ----------
    rows, features : the snapshots behind the forecast; those of about four weeks ago are compared.

    Returns
    -------
    Frame: deal, owner, team, amount, p_won (ever), p_before (four weeks ago; NaN if it was not open), owner_says,
    reasons, n_reasons.
    """
    at = forecast.situation.as_of
    now = (rows["as_of"] == at).to_numpy()
    current, X = _named(forecast.situation), features[now].reset_index(drop=True)
    p = forecast.hazards.p_won(X)
    before = _before(forecast, rows, features, at)
    p_before = before.reindex(current["deal"]).to_numpy("float64")
    signs = _signs(X, p, p_before)
    n = np.sum([flag for flag, _ in signs.values()], axis=0)
    reasons = ["; ".join(words[i] for flag, words in signs.values() if flag[i]) for i in range(len(X))]
    strong = signs["fall"][0] | signs["owner"][0]
    found = current.assign(
        p_won=p, p_before=p_before, owner_says=_numbers(X, "owner_probability"), reasons=reasons, n_reasons=n
    )
    amount = found["amount"].fillna(found["amount"].median())
    valued = (amount >= amount.quantile(_VALUABLE)).to_numpy() if amount.notna().any() else np.ones(len(found), bool)
    chosen = found[valued & ((n >= 2) | strong)]
    worth = (amount.fillna(1.0) * n)[chosen.index]
    ranked = chosen.loc[worth.sort_values(ascending=False, kind="stable").index]
    return ranked[AT_RISK_COLUMNS].head(limit).reset_index(drop=True)


def _named(situation: Situation) -> pd.DataFrame:
    return situation.deals[["opportunity_id", "owner", "team", "amount"]].rename(columns={"opportunity_id": "deal"})


def _before(forecast: Forecast, rows: pd.DataFrame, features: pd.DataFrame, at: pd.Timestamp) -> pd.Series:
    """P(ever won) of each deal at the newest snapshot that is at least four weeks old."""
    dates = rows.loc[rows["as_of"] <= at - _LOOK_BACK_DAYS * _DAY, "as_of"]
    if dates.empty:
        return pd.Series(dtype="float64")
    then = (rows["as_of"] == dates.max()).to_numpy()
    p = forecast.hazards.p_won(features[then])
    return pd.Series(p, index=rows.loc[then, "opportunity_id"].to_numpy())


def _signs(X: pd.DataFrame, p: np.ndarray, p_before: np.ndarray) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Sign → (which deals show it, its words per deal)."""
    silent = _numbers(X, "interactions_recency_days")
    overdue, moved = -_numbers(X, "expected_close_days"), _numbers(X, "close_date_moves_later_n_ever")
    back, says = _numbers(X, "stage_moves_back_n_ever"), _numbers(X, "owner_probability")
    with np.errstate(invalid="ignore"):
        fell, over = p < _FALL * p_before, says - p > _OVER
        return {
            "fall": (fell, _each("probability fell from {} to {}", p_before, p)),
            "owner": (over, _each("its owner says {}, the model {}", says, p)),
            "silence": (silent > _SILENT_DAYS, [f"no contact for {_whole(d)} days" for d in silent]),
            "overdue": (overdue > 0, [f"expected closing overdue by {_whole(d)} days" for d in overdue]),
            "moved": (moved >= 2, [f"closing moved later {_whole(k)} times" for k in moved]),
            "back": (back >= 1, ["stage moved back" for _ in back]),
        }


def _numbers(X: pd.DataFrame, name: str) -> np.ndarray:
    return X[name].to_numpy("float64") if name in X else np.full(len(X), np.nan)


def _each(words: str, first: np.ndarray, second: np.ndarray) -> list[str]:
    return [words.format(_pct(a), _pct(b)) for a, b in zip(first, second, strict=True)]


def _pct(p: float) -> str:
    return f"{100 * p:.0f} %" if np.isfinite(p) else "unknown"


def _whole(x: float) -> str:
    return f"{np.ceil(x):.0f}" if np.isfinite(x) else "unknown"
