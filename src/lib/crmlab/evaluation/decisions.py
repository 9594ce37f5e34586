"""What scores are worth: net benefit, the optimal cut, and profit when only so many can be called a week.

All of this is the value of *ordering* cases whose outcomes happened anyway, under whatever treatment they got. It is
not the effect of calling: nobody knows from such data whether a call changed an outcome.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from crmlab.metrics import bootstrap_weights
from crmlab.schema import DataError, ParameterError

__all__ = [
    "CALL_ALL",
    "CALL_NONE",
    "ORDER_NOT_EFFECT",
    "RANDOM_ORDER",
    "calls_within_capacity",
    "capacity_table",
    "cut_table",
    "margin_ranking_table",
    "net_benefit_table",
]

CALL_ALL = "call everyone"
CALL_NONE = "call no one"
RANDOM_ORDER = "random order"
ORDER_NOT_EFFECT = (
    "This is the value of putting cases in order, measured on outcomes that happened anyway; "
    "it is not the effect of calling, which only an experiment can show."
)
_DRAWS = 20


def net_benefit_table(
    y: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    thresholds: np.ndarray,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """Return the net benefit of calling whoever scores at or above each threshold (Vickers & Elkin 2006).

    Net benefit = (true calls − false calls · t / (1 − t)) / rows: in conversions per row, when a threshold t says that
    one conversion is worth (1 − t) / t calls in vain.

    Parameters
    ----------
    y : outcomes, 0 or 1, shape (rows,).
    predictions : way → probabilities, shape (rows,).
    groups : entity of each row; resamples draw entities.
    thresholds : between 0 and 1, both left out.

    Returns
    -------
    Frame: way, threshold, called (share of rows), net_benefit, low, high (95 %); `call everyone` and `call no one`
    are among the ways.

    Raises
    ------
    ParameterError : a threshold is 0 or 1 or lies outside.
    """
    thresholds = np.asarray(thresholds, dtype="float64")
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ParameterError("Thresholds must lie between 0 and 1.", found=str(thresholds.tolist()))
    y, codes = _rows(y, groups, predictions)
    ways = {**predictions, CALL_ALL: np.ones(len(y)), CALL_NONE: np.full(len(y), -1.0)}
    called = np.stack([np.asarray(p)[:, None] >= thresholds for p in ways.values()], axis=1)
    worth = y[:, None] - (1 - y)[:, None] * (thresholds / (1 - thresholds))
    gains = (called * worth[:, None, :]).reshape(len(y), -1)
    value, low, high = _mean_with_interval(gains, codes, n=n_bootstrap, seed=seed)
    rows = pd.MultiIndex.from_product([list(ways), thresholds], names=["way", "threshold"]).to_frame(index=False)
    return rows.assign(called=called.mean(axis=0).ravel(), net_benefit=value, low=low, high=high)


def cut_table(
    y: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    value: float | np.ndarray,
    cost: float,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """Return the realised profit of the optimal cut, "call if and only if p · value > cost", per way of scoring.

    Parameters
    ----------
    value : margin of a conversion, one number or one per row, in the currency of the study.
    cost : of a call, in the same currency.

    Returns
    -------
    Frame: way, called (share of rows), profit (per row), low, high (95 %), promised (profit per row that the scores
    themselves expected), difference (profit less that of calling everyone), difference_low, difference_high. A score
    that promises more than it earns is not calibrated.
    """
    y, codes = _rows(y, groups, predictions)
    value = _per_row(value, len(y), "value")
    _check_cost(cost)
    expected = {name: value * np.asarray(p) - cost for name, p in predictions.items()}
    calls = {name: worth > 0 for name, worth in expected.items()}
    calls |= {CALL_ALL: np.ones(len(y), dtype=bool), CALL_NONE: np.zeros(len(y), dtype=bool)}
    called = np.column_stack(list(calls.values()))
    gains = called * (value * y - cost)[:, None]
    promised = [(calls[name] * worth).mean() for name, worth in expected.items()] + [np.nan, 0.0]
    earned, low, high = _mean_with_interval(gains, codes, n=n_bootstrap, seed=seed)
    every = gains[:, [list(calls).index(CALL_ALL)]]
    gap, gap_low, gap_high = _mean_with_interval(gains - every, codes, n=n_bootstrap, seed=seed)
    columns = {"way": list(calls), "called": called.mean(axis=0), "profit": earned, "low": low, "high": high}
    gaps = {"difference": gap, "difference_low": gap_low, "difference_high": gap_high}
    return pd.DataFrame({**columns, "promised": promised, **gaps})


def calls_within_capacity(
    priority: np.ndarray, week: np.ndarray, entity: np.ndarray, *, capacity: int, cooling_days: int, seed: int
) -> np.ndarray:
    """Return who is called: in each week the `capacity` rows of highest priority, an entity once per cooling period.

    Parameters
    ----------
    priority : higher is called earlier, shape (rows,); NaN is called last, ties are broken by lot.
    week : date at which each row could be called (datetime64), shape (rows,).
    entity : who it is, shape (rows,); one row per entity and week.
    capacity : calls a week.
    cooling_days : days during which an entity called is left alone; at least the horizon of the outcome, so that no
        conversion is counted twice.

    Returns
    -------
    Boolean array, shape (rows,).
    """
    if capacity < 1 or cooling_days < 0:
        raise ParameterError(
            "`capacity` must be at least 1 and `cooling_days` at least 0.", found=f"{capacity} and {cooling_days}"
        )
    codes, names = pd.factorize(np.asarray(entity))
    days = np.asarray(week).astype("datetime64[D]").astype("int64")
    lot = np.random.default_rng(seed).permutation(len(days))
    order = np.lexsort((lot, -np.nan_to_num(np.asarray(priority, dtype="float64"), nan=-np.inf), days))
    free_from = np.full(len(names), np.iinfo("int64").min)
    called = np.zeros(len(days), dtype=bool)
    for rows in np.split(order, np.flatnonzero(np.diff(days[order])) + 1):
        today = days[rows[:1]]
        taken = rows[free_from[codes[rows]] <= today][:capacity]
        called[taken] = True
        free_from[codes[taken]] = today + max(cooling_days, 1)
    return called


def capacity_table(
    y: np.ndarray,
    week: np.ndarray,
    entity: np.ndarray,
    *,
    orders: Mapping[str, np.ndarray],
    value: float | np.ndarray,
    cost: float,
    capacity: int,
    cooling_days: int,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """Return what each way of choosing whom to call earns, when `capacity` calls a week can be made.

    Parameters
    ----------
    y : outcome within the horizon of each row, 0 or 1, shape (rows,).
    week, entity, capacity, cooling_days : see `calls_within_capacity`.
    orders : way → priority of each row: scores, p · margin, the owners' own probability, Odoo's, the true probability.
    value, cost : margin of a conversion (one number or one per row) and cost of a call, in one currency.

    Returns
    -------
    Frame, highest profit first: way, calls, conversions (among those called), precision, profit, low, high (95 %),
    per_week, difference (profit less that of random order), difference_low, difference_high. `random order` (mean of 20
    lots) and `call everyone` (no capacity) are among the ways. Intervals draw entities and hold the calls fixed.
    """
    y, codes = _rows(y, entity, orders)
    value = _per_row(value, len(y), "value")
    _check_cost(cost)
    when = {"week": week, "entity": codes, "cooling_days": cooling_days}
    calls = {name: calls_within_capacity(order, capacity=capacity, seed=seed, **when) for name, order in orders.items()}
    level = np.zeros(len(y))
    lots = [calls_within_capacity(level, capacity=capacity, seed=seed + 1 + k, **when) for k in range(_DRAWS)]
    calls[RANDOM_ORDER] = np.mean(lots, axis=0)
    calls[CALL_ALL] = calls_within_capacity(level, capacity=max(len(y), 1), seed=seed, **when)
    chosen = np.column_stack(list(calls.values())).astype("float64")
    gains = chosen * (value * y - cost)[:, None]
    by_lot = gains[:, [list(calls).index(RANDOM_ORDER)]]
    scale, weeks = len(y), len(np.unique(np.asarray(week)))
    profit, low, high = (scale * x for x in _mean_with_interval(gains, codes, n=n_bootstrap, seed=seed))
    gap, gap_low, gap_high = (scale * x for x in _mean_with_interval(gains - by_lot, codes, n=n_bootstrap, seed=seed))
    made, hits = chosen.sum(axis=0), y @ chosen
    table = pd.DataFrame({"way": list(calls), "calls": made, "conversions": hits, "precision": hits / made})
    table = table.assign(profit=profit, low=low, high=high, per_week=profit / max(weeks, 1))
    table = table.assign(difference=gap, difference_low=gap_low, difference_high=gap_high)
    return table.sort_values("profit", ascending=False, kind="stable", ignore_index=True)


def margin_ranking_table(
    y: np.ndarray,
    p: np.ndarray,
    margin: np.ndarray,
    groups: np.ndarray,
    *,
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5),
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """Return how much of the margin won is found at the top, ranked by p, by margin, and by p · margin.

    Rows without a margin count with the median margin when ranked, and with none when earned.

    Returns
    -------
    Frame: way, share (of rows at the top), n, margin (earned there), captured (share of all margin earned), low, high
    (95 %). `perfect foresight` ranks by the margin that was earned.
    """
    y, codes = _rows(y, groups, {"p": p, "margin": margin})
    margin = np.asarray(margin, dtype="float64")
    known = np.nan_to_num(margin, nan=float(np.nanmedian(margin)) if np.isfinite(margin).any() else 0.0)
    earned = y * np.nan_to_num(margin)
    ways = {"by probability": p, "by margin": known, "by probability × margin": p * known, "perfect foresight": earned}
    columns, rows = [], []
    for way, key in ways.items():
        ranked = np.argsort(-np.asarray(key, dtype="float64"), kind="stable")
        for share in shares:
            top = np.zeros(len(y))
            top[ranked[: max(1, round(share * len(y)))]] = 1.0
            columns.append(top * earned)
            rows.append((way, share, int(top.sum()), float(columns[-1].sum())))
    table = pd.DataFrame(rows, columns=["way", "share", "n", "margin"])
    gains = np.column_stack([*columns, earned])
    draws = _resampled_means(gains, codes, n=n_bootstrap, seed=seed)
    captured = draws[:, :-1] / np.where(draws[:, -1:] > 0, draws[:, -1:], np.nan)
    total = earned.sum()
    low, high = np.nanquantile(captured, [0.025, 0.975], axis=0) if total > 0 else (np.nan, np.nan)
    return table.assign(captured=table["margin"] / total if total > 0 else np.nan, low=low, high=high)


def _check_cost(cost: float) -> None:
    """Check that a call costs 0 or more; raises ParameterError."""
    if not (np.isfinite(cost) and cost >= 0):
        raise ParameterError("`cost` must be 0 or more.", found=str(cost), remedy="write what one call costs.")


def _rows(y: np.ndarray, groups: np.ndarray, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    y, codes = np.asarray(y, dtype="float64"), pd.factorize(np.asarray(groups))[0]
    for name, values in columns.items():
        if len(values) != len(y) or len(codes) != len(y):
            raise DataError(
                "Outcomes, entities and scores must stand row for row.", found=f"{name}: {len(values):,} rows"
            )
    if not len(y):
        raise DataError("There are no rows to value.", remedy="choose a longer test period.")
    return y, codes


def _per_row(value: float | np.ndarray, rows: int, name: str) -> np.ndarray:
    values = np.broadcast_to(np.asarray(value, dtype="float64"), (rows,))
    if not np.isfinite(values).all():
        raise DataError(
            f"`{name}` must be known for every row.",
            found=f"{int((~np.isfinite(values)).sum()):,} gaps",
            remedy="fill them, for example with the median.",
        )
    return values


def _mean_with_interval(
    gains: np.ndarray, codes: np.ndarray, *, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draws = _resampled_means(gains, codes, n=n, seed=seed)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return gains.mean(axis=0), low, high


def _resampled_means(gains: np.ndarray, codes: np.ndarray, *, n: int, seed: int) -> np.ndarray:
    """Mean of each column in resamples of whole entities, shape (n, columns); sums per entity make it one product."""
    first = np.unique(codes, return_index=True)[1]
    sums = np.zeros((len(first), gains.shape[1]))
    np.add.at(sums, codes, gains)
    rows = np.bincount(codes)
    counts = np.array([w[first] for w in bootstrap_weights(codes, n=n, seed=seed)])
    return counts @ sums / (counts @ rows)[:, None]
