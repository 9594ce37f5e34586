"""Battle cards: where deals are won less often than expected, and what tells the wins there from the losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.crm import Crm, as_instant
from crmlab.models import LevelOneHot
from crmlab.models.hazard import CompetingRisks, outcome_times
from crmlab.schema import ParameterError

__all__ = ["CARD_FIELDS", "BattleCards", "battle_cards"]

CARD_FIELDS = ("competitor", "product", "industry")
_FEW_DEALS = 30
_FEW_OUTCOMES = 8
_FALSE_SHARE = 0.1
"""Share of false findings allowed among the differences shown (Benjamini and Hochberg 1995)."""
_ALIKE = 0.7
_MAX_PER_GROUP = 3
_GROUP_COLUMNS = ["field", "group", "n", "won", "expected", "win_rate", "expected_rate", "ratio", "harder"]
_CONTRAST_COLUMNS = ["field", "group", "feature", "won_median", "lost_median", "order", "p_value", "words"]


@dataclass(frozen=True)
class BattleCards:
    """What the cards say.

    Attributes
    ----------
    groups : frame, one row per competitor, product or sector with at least 30 deals: field, group, n, won, expected
        (wins, given what the deals are like), win_rate (shrunk, with 95 % interval), expected_rate, ratio (won over
        expected, shrunk, with interval), harder (its whole interval lies below 1).
    contrasts : frame, what tells wins from losses in the harder groups: field, group, feature, won_median, lost_median,
        order (probability that a won deal has more of it than a lost one, with 95 % interval), p_value, words.
    n_compared : differences that were looked at to find those of `contrasts`.
    """

    groups: pd.DataFrame
    contrasts: pd.DataFrame
    n_compared: int


def battle_cards(
    crm: Crm,
    rows: pd.DataFrame,
    features: pd.DataFrame,
    *,
    as_of: str | pd.Timestamp,
    seed: int,
    fields: Sequence[str] = CARD_FIELDS,
) -> BattleCards:
    """Compare wins with what was to be expected, by competitor, product and sector.

    A deal enters a group at its first snapshot that shows the group: a competitor who becomes known late must not
    borrow the weeks that the deal had already survived. From there on it is followed to its end or to `as_of`; what
    was to be expected comes from hazards that know everything but the field in question, fitted on the other deals.

    Parameters
    ----------
    rows, features : weekly or monthly snapshots of deals and their features, row for row.

    Raises
    ------
    ParameterError : snapshots that lie after `as_of`.
    """
    at = as_instant(as_of)
    if (rows["as_of"] > at).any():
        raise ParameterError("Battle cards need snapshots up to their date.", found=f"rows after {at:%Y-%m-%d}")
    entries = {f: e for f in fields if f in features and (e := _entries(crm, rows, features, f, at)) is not None}
    every = _entries(crm, rows, features, None, at)
    groups = [_compared(name, entry, every, features, seed=seed) for name, entry in entries.items()]
    groups = pd.concat(groups, ignore_index=True) if groups else pd.DataFrame(columns=_GROUP_COLUMNS)
    contrasts, n = _contrasts(groups, entries, features)
    return BattleCards(groups.sort_values("ratio", key=_first, kind="stable", ignore_index=True), contrasts, n)


def _entries(
    crm: Crm, rows: pd.DataFrame, features: pd.DataFrame, field: str | None, at: pd.Timestamp
) -> pd.DataFrame | None:
    """First snapshot of each deal that shows the field (if one is asked for), and what followed; None if too few."""
    known = (rows["as_of"] < at).to_numpy()
    known = known if field is None else known & features[field].notna().to_numpy()
    first = rows.assign(position=np.arange(len(rows)))[known].sort_values("as_of", kind="stable")
    first = first.drop_duplicates("opportunity_id").sort_values("position")
    times = outcome_times(crm, first, as_of=at)
    found = pd.DataFrame(
        {
            "position": first["position"].to_numpy(),
            "deal": first["opportunity_id"].to_numpy(dtype=object),
            "group": "" if field is None else features[field].iloc[first["position"]].to_numpy(dtype=object),
            "days": times["days"].to_numpy(),
            "event": times["event"].to_numpy(dtype=object),
            "followed": ((at - first["as_of"]) / pd.Timedelta(days=1)).to_numpy(),
        }
    )
    found = found[found["days"] > 0]
    wins = int((found["event"] == "won").sum())
    return found if wins >= 2 * _FEW_OUTCOMES and len(found) - wins >= 2 * _FEW_OUTCOMES else None


def _compared(
    field: str, entry: pd.DataFrame, every: pd.DataFrame, features: pd.DataFrame, *, seed: int
) -> pd.DataFrame:
    won = (entry["event"] == "won").to_numpy()
    table = pd.DataFrame({"group": entry["group"], "won": won})
    table = table.assign(expected=_expected(field, entry, every, features, seed=seed))
    table = table.groupby("group").agg(n=("won", "size"), won=("won", "sum"), expected=("expected", "sum"))
    table = table[(table["n"] >= _FEW_DEALS) & (table["expected"] > 1)].reset_index()
    ratio = _shrunk(table["won"].to_numpy("float64"), table["expected"].to_numpy("float64"))
    rate = (table["expected"] / table["n"]).to_numpy()
    return table.assign(
        field=field,
        win_rate=[tuple(float(x * r) for x in one) for one, r in zip(ratio, rate, strict=True)],
        expected_rate=rate,
        ratio=[tuple(float(x) for x in one) for one in ratio],
        harder=[bool(one[2] < 1) for one in ratio],
    )[_GROUP_COLUMNS]


def _expected(field: str, entry: pd.DataFrame, every: pd.DataFrame, features: pd.DataFrame, *, seed: int) -> np.ndarray:
    """P(won while followed), from hazards that never saw the deal, nor the field.

    They learn from all deals, with and without a known competitor, at the moments at which groups are entered.
    """
    rows = pd.concat([entry, every], ignore_index=True).drop_duplicates("position")
    deals = np.sort(rows["deal"].unique())
    side_of = pd.Series(np.random.default_rng(seed).permutation(len(deals)) % 2, index=deals)
    mine, side = side_of.loc[entry["deal"]].to_numpy(), side_of.loc[rows["deal"]].to_numpy()
    X = features.drop(columns=[field])
    p, scale = np.zeros(len(entry)), [0.0, 0.0]
    for fold in (0, 1):
        train, test = rows[side != fold], rows[side == fold]
        model = CompetingRisks(seed=seed, learner="linear", strength=300.0, max_days=364)
        model.fit(X.iloc[train["position"]], train["days"].to_numpy(), train["event"].to_numpy())
        p[mine == fold] = _while_followed(model, X, entry[mine == fold])
        scale[0] += float((test["event"] == "won").sum())
        scale[1] += float(_while_followed(model, X, test).sum())
    return p * scale[0] / scale[1]


def _while_followed(model: CompetingRisks, X: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    grid = np.arange(7.0, 7.0 * 110, 7.0)
    curve = model.cumulative_incidence(X.iloc[rows["position"]], grid)["won"]
    return curve[np.arange(len(rows)), np.minimum(rows["followed"].to_numpy() // 7, len(grid) - 1).astype(int)]


def _shrunk(won: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Won over expected with a gamma prior around 1 whose width is learned from the groups: (groups, 3).

    Empirical Bayes (Clayton and Kaldor 1987): with a_k ~ Gamma(s, s) and won_k ~ Poisson(a_k·expected_k).
    """
    from scipy.stats import gamma

    if not len(won):
        return np.zeros((0, 3))
    ratio = won / expected
    between = np.sum(expected * ((ratio - 1) ** 2 - 1 / expected)) / np.sum(expected)
    strength = 1 / np.clip(between, 0.005, 1.0)
    shape, rate = strength + won, strength + expected
    return np.column_stack(
        [shape / rate, gamma.ppf(0.025, shape, scale=1 / rate), gamma.ppf(0.975, shape, scale=1 / rate)]
    )


def _contrasts(
    groups: pd.DataFrame, entries: dict[str, pd.DataFrame], features: pd.DataFrame
) -> tuple[pd.DataFrame, int]:
    """Differences between won and lost deals of the harder groups that survive the control of false findings."""
    found = []
    for field, group in groups.loc[groups["harder"].astype(bool), ["field", "group"]].itertuples(index=False):
        entry = entries[field]
        entry = entry[(entry["group"] == group) & (entry["event"] != "open")]
        won = (entry["event"] == "won").to_numpy()
        if min(won.sum(), (~won).sum()) >= _FEW_OUTCOMES:
            X = features.iloc[entry["position"].to_numpy()].drop(columns=[field])
            found += [{"field": field, "group": group, **one} for one in _differences(X, won)]
    table = pd.DataFrame(found, columns=[*_CONTRAST_COLUMNS, "values"])
    kept = table[_believed(table["p_value"].to_numpy("float64"))]
    kept = pd.concat([_distinct(part) for _, part in kept.groupby(["field", "group"])]) if len(kept) else kept
    return kept[_CONTRAST_COLUMNS].reset_index(drop=True), len(table)


def _differences(X: pd.DataFrame, won: np.ndarray) -> list[dict[str, object]]:
    from scipy.stats import mannwhitneyu

    rows = []
    for name, values in _measures(X).items():
        has = np.isfinite(values)
        a, b = values[has & won], values[has & ~won]
        if min(len(a), len(b)) < _FEW_OUTCOMES or len(np.unique(values[has])) < 2:
            continue
        test = mannwhitneyu(a, b)
        order = float(test.statistic / (len(a) * len(b)))
        half = 1.96 * _order_error(order, len(a), len(b))
        middle = np.mean if "=" in name else np.median
        rows.append(
            {"feature": name, "won_median": float(middle(a)), "lost_median": float(middle(b))}
            | {"order": (order, max(order - half, 0.0), min(order + half, 1.0)), "p_value": float(test.pvalue)}
            | {"words": _words(name, order), "values": values}
        )
    return rows


def _measures(X: pd.DataFrame) -> dict[str, np.ndarray]:
    numbers = X.select_dtypes("number")
    levels = LevelOneHot(min_rows=10)
    text = X[X.columns.difference(numbers.columns, sort=False)]
    hot = levels.fit(text).transform(text)
    named = {str(n): hot[:, j] for j, n in enumerate(levels.get_feature_names_out()) if not str(n).endswith("(other)")}
    return {c: numbers[c].to_numpy("float64") for c in numbers} | named


def _order_error(order: float, n_won: int, n_lost: int) -> float:
    """Standard error of the probability of the right order (Hanley and McNeil 1982)."""
    q1, q2 = order / (2 - order), 2 * order**2 / (1 + order)
    square = order * (1 - order) + (n_won - 1) * (q1 - order**2) + (n_lost - 1) * (q2 - order**2)
    return float(np.sqrt(max(square, 0.0) / (n_won * n_lost)))


def _believed(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's rule."""
    n = len(p)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= _FALSE_SHARE * np.arange(1, n + 1) / max(n, 1))
    chosen = np.zeros(n, dtype=bool)
    if len(passed):
        chosen[order[: passed[-1] + 1]] = True
    return chosen


def _distinct(table: pd.DataFrame) -> pd.DataFrame:
    """The strongest differences that do not say the same thing twice."""
    kept: list[int] = []
    table = table.sort_values("p_value", kind="stable")
    for i in table.index:
        if all(_correlation(table.at[i, "values"], table.at[j, "values"]) < _ALIKE for j in kept):
            kept.append(i)
        if len(kept) == _MAX_PER_GROUP:
            break
    return table.loc[kept]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    ranks = [pd.Series(x[both]).rank().to_numpy() for x in (a, b)]
    if both.sum() < 3 or min(r.std() for r in ranks) == 0:
        return 0.0
    return abs(float(np.corrcoef(*ranks)[0, 1]))


def _words(name: str, order: float) -> str:
    if "=" in name:
        field, level = name.split("=", 1)
        return f"{field.replace('_', ' ')} “{level}” {'more' if order > 0.5 else 'less'} often among the wins"
    return f"{'more' if order > 0.5 else 'less'} {name.replace('_', ' ')} among the wins"


def _first(values: pd.Series) -> pd.Series:
    return values.map(lambda estimate: estimate[0])
