"""Honest counts: does one more interaction make a lead convert, or do longer-open and warmer leads just collect more?

Three answers per type of interaction, all as the odds ratio of one more interaction, and the truth where it is known:

- *naive*: the final count over the whole life of the lead against its outcome, as a spreadsheet does. Leads that stay
  open longer had more time to collect, and the steps of the conversion itself count as its cause.
- *as of*: the count at the start of each week at risk, against conversion in that week. Nothing later enters.
- *adjusted*: the same weeks and the same outcome in a discrete-time hazard model: leads are compared at equal age, that
  is, after equal exposure time, and alike in source, size, season and the counts of all other types.

What remains in the last one is everything that no column shows, above all how warm the lead is. It says what the count
is worth as a sign; it is no proof of a cause.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from crmlab.crm import Crm, as_instant
from crmlab.demo import Truth
from crmlab.intervals import Z
from crmlab.metrics import roc_auc
from crmlab.schema import LEAD_CLOSED, ParameterError, did_you_mean
from crmlab.snapshots import build_snapshots

__all__ = ["honest_counts_table"]

_DAY = 86_400_000_000  # µs
_WEEK_DAYS = 7
_AGES = (1, 2, 3, 4, 6, 8, 10, 13, 17, 26, 39, 52, 78)  # weeks at which the baseline steps
_FEW_LEADS = 50  # sources with fewer leads are put together
_FEW_CONVERSIONS = 10  # types with fewer conversions after them are counted, but not estimated
_FEW_UNDATED = 0.05  # with more closings of unknown date, weeks at risk cannot be told from weeks after the close
_WEAK = 0.1  # penalty that keeps a level of an adjuster without conversions finite; none on the interactions
_WILD = 10.0  # a log odds ratio, or its error, that no data of this kind can hold
_PAIRS = 1_500  # pairs of interaction and later week per type that the truth is averaged over
_ESTIMATES = ("naive", "as_of", "adjusted")
_TRUTH_TABLES = ("settings", "effects", "reps", "leads", "leads_levels", "leads_owners")


@dataclass(frozen=True)
class _Weeks:
    """Weeks at risk, those of one lead together and in order: its position, start in µs, age in days, the outcome."""

    lead: np.ndarray
    start: np.ndarray
    age: np.ndarray
    converts: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The first row of each lead that has any."""
        return np.flatnonzero(np.diff(self.lead, prepend=-1))


@dataclass(frozen=True)
class _Events:
    """Interactions known by the end: lead, type (positions), time in µs, first week that sees it (-1: none), and
    whether it fell on the lead's first day: then it is how the lead came in, which its source says already.
    """

    lead: np.ndarray
    type: np.ndarray
    ts: np.ndarray
    week: np.ndarray
    entry: np.ndarray

    def counts(self, weeks: _Weeks, n_types: int, *, entries: bool) -> np.ndarray:
        """Return how many of each type were known at the start of each week, (weeks, types)."""
        use = (self.week >= 0) & (entries | ~self.entry)
        cell = self.week[use] * n_types + self.type[use]
        new = np.bincount(cell, minlength=len(weeks.lead) * n_types).reshape(-1, n_types).astype("float64")
        total, first = np.cumsum(new, axis=0), weeks.first
        before = total[first] - new[first]
        return total - np.repeat(before, np.diff(first, append=len(weeks.lead)), axis=0)


def honest_counts_table(
    crm: Crm,
    *,
    as_of: str,
    horizon_days: int,
    seed: int,
    entity: str = "lead",
    types: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return what one more interaction of each type seems to do, by three ways of counting, beside the truth.

    Parameters
    ----------
    crm : source with interactions of leads; it is left as it was.
    as_of : only facts known strictly before this instant are used.
    horizon_days : days after its creation for which a lead is followed week by week.
    seed : draws the pairs that the truth is averaged over; estimates do not depend on it.
    entity : whom the study follows. Weeks at risk are those of leads, so there is nothing to show for others.
    types : types to show, as in the CRM or in lower case; all by default. The model adjusts for all of them.

    Returns
    -------
    Frame, most frequent type first: type, n_events, leads (with at least one), naive_auc (of the final count), and for
    each of naive, as_of and adjusted the odds ratio of one more interaction with its 95 % interval (`…_low`, `…_high`)
    and whether that holds the truth (`naive_covers`, `as_of_covers`, `covers`; missing where nobody knows it); true (as
    an odds ratio); n_leads, n_weeks, n_converted (behind the estimates). Types followed by fewer than 10 conversions
    have no estimate. Without dated interactions, creations and closings, without a horizon (0) and for others than
    leads the frame is empty.

    Raises
    ------
    ParameterError : an unknown type, or a horizon of less than a week.
    """
    if entity != "lead" or horizon_days == 0 or not _is_dated(crm, as_of=as_of):
        return _table([])
    if horizon_days < _WEEK_DAYS:
        raise ParameterError(
            f"`horizon_days` must be at least {_WEEK_DAYS}: leads are followed week by week.", found=str(horizon_days)
        )
    leads = crm.at("leads", as_of=as_of)
    leads = leads[leads["created_at"].notna()].sort_values("lead_id", ignore_index=True)
    weeks = _weeks(crm, leads, as_of=as_of, horizon_days=horizon_days)
    events, names = _events(crm, leads, weeks, as_of=as_of)
    shown = _shown(names, types)
    estimates = _naive(leads, events, len(names)) | _as_of(weeks, events, len(names))
    estimates["adjusted"] = _adjusted(leads, weeks, events, len(names))
    true = _true(crm, leads, weeks, events, names, seed=seed)
    sizes = (len(leads), len(weeks.lead), int(weeks.converts.sum()))
    rows = [_row(k, names[k], events, estimates, true[k], sizes) for k in shown]
    return _table(rows)


def _is_dated(crm: Crm, *, as_of: str) -> bool:
    """Whether leads, their closings and their interactions have the dates that weeks at risk are made of."""
    leads, contacts = crm["leads"], crm["interactions"]
    if not as_of or not (contacts["lead_id"].notna() & contacts["ts"].notna()).any():
        return False
    closed = leads["status"].isin(LEAD_CLOSED)
    undated = closed & leads[["converted_at", "disqualified_at"]].isna().all(axis=1)
    return leads["created_at"].notna().any() and undated.sum() <= _FEW_UNDATED * closed.sum()


def _weeks(crm: Crm, leads: pd.DataFrame, *, as_of: str, horizon_days: int) -> _Weeks:
    """Return the weeks in which each lead was still open at the start, up to `horizon_days` after its creation."""
    question = {"entity": "lead", "label": "within_horizon", "horizon_days": _WEEK_DAYS, "every": "weekly"}
    rows = build_snapshots(crm, as_of=as_of, **question)
    lead, start = pd.Index(leads["lead_id"]).get_indexer(rows["lead_id"]), _micros(rows["as_of"])
    age = (start - _micros(leads["created_at"])[lead]) / _DAY
    converts = rows["label"].astype("float64").to_numpy()
    order = np.lexsort((start, lead))
    use = order[(rows["mature"].to_numpy(bool) & (age <= horizon_days))[order]]
    return _Weeks(lead[use], start[use], age[use], converts[use])


def _events(crm: Crm, leads: pd.DataFrame, weeks: _Weeks, *, as_of: str) -> tuple[_Events, list[str]]:
    contacts = crm["interactions"]
    ts = _micros(contacts["ts"])
    enters = np.where(contacts["known_at"].isna(), ts, np.maximum(ts, _micros(contacts["known_at"])))
    lead = pd.Index(leads["lead_id"]).get_indexer(contacts["lead_id"])
    end = np.datetime64(as_instant(as_of), "us").astype(np.int64)
    use = (lead >= 0) & contacts[["ts", "type"]].notna().all(axis=1).to_numpy() & (enters < end)
    code, names = pd.factorize(_spelling(contacts["type"][use]), sort=True)
    lead, ts, enters = lead[use], ts[use], enters[use]
    entry = ts // _DAY <= (_micros(leads["created_at"]) // _DAY)[lead]
    return _Events(lead, code, ts, _first_week(weeks, lead, enters, len(leads)), entry), list(names)


def _first_week(weeks: _Weeks, lead: np.ndarray, enters: np.ndarray, n_leads: int) -> np.ndarray:
    """Return the row of the first week that starts after each event was entered, -1 if the lead has none."""
    if not len(weeks.lead):
        return np.full(len(lead), -1)
    first, n = _spans(weeks, n_leads)
    opening = weeks.start[first[lead]]
    # Weeks of one lead follow each other without a gap, so the week is counted and not searched for.
    ahead = np.maximum((enters - opening) // (_WEEK_DAYS * _DAY) + 1, 0)
    return np.where(ahead < n[lead], first[lead] + ahead, -1)


def _spans(weeks: _Weeks, n_leads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first week of each lead (0 if it has none) and how many it has."""
    first = np.zeros(n_leads, np.int64)
    first[weeks.lead[weeks.first]] = weeks.first
    return first, np.bincount(weeks.lead, minlength=n_leads)


def _naive(leads: pd.DataFrame, events: _Events, n_types: int) -> dict[str, np.ndarray]:
    """Return the final counts against the outcome: odds ratios and the AUC of the count alone."""
    cell = events.lead * n_types + events.type
    counts = np.bincount(cell, minlength=len(leads) * n_types).reshape(-1, n_types).astype("float64")
    y = leads["converted_at"].notna().to_numpy("float64")
    alone = [_alone(counts[:, k], y, np.arange(len(y))) for k in range(n_types)]
    return {"naive": np.array(alone), "auc": np.array([roc_auc(y, counts[:, k]) for k in range(n_types)])}


def _as_of(weeks: _Weeks, events: _Events, n_types: int) -> dict[str, np.ndarray]:
    counts = events.counts(weeks, n_types, entries=True)
    return {"as_of": np.array([_alone(counts[:, k], weeks.converts, weeks.first) for k in range(n_types)])}


def _alone(count: np.ndarray, y: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return log odds ratio and standard error of one count without any adjustment."""
    if not _enough(count, y):
        return np.full(2, np.nan)
    slope, error = _logit(np.c_[np.ones(len(y)), count], y, first, free=np.array([True, True]))
    return np.array([slope[1], error[1]])


def _adjusted(leads: pd.DataFrame, weeks: _Weeks, events: _Events, n_types: int) -> np.ndarray:
    """Return log odds ratios and standard errors of the hazard model, (types, 2)."""
    counts = events.counts(weeks, n_types, entries=False)
    told = np.array([_enough(counts[:, k], weeks.converts) for k in range(n_types)])
    result = np.full((n_types, 2), np.nan)
    if told.any():
        others = np.c_[_ages(weeks), _traits(leads)[weeks.lead], _months(weeks)]
        design = np.c_[np.ones(len(others)), counts[:, told], others[:, np.ptp(others, axis=0) > 0]]
        free = np.arange(design.shape[1]) <= told.sum()
        slope, error = _logit(design, weeks.converts, weeks.first, free=free)
        result[told] = np.c_[slope, error][1 : told.sum() + 1]
    return result


def _enough(count: np.ndarray, y: np.ndarray) -> bool:
    """Whether enough conversions, and other rows, follow at least one interaction."""
    after = y[count > 0]
    return min(after.sum(), len(after) - after.sum()) >= _FEW_CONVERSIONS and np.ptp(count) > 0


def _ages(weeks: _Weeks) -> np.ndarray:
    """Return indicators of the baseline hazard's steps, but for the first week."""
    step = np.digitize(weeks.age / _WEEK_DAYS, _AGES)
    return np.eye(len(_AGES) + 1)[step][:, 1:]


def _months(weeks: _Weeks) -> np.ndarray:
    month = weeks.start.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
    return np.eye(12)[month][:, 1:]


def _traits(leads: pd.DataFrame) -> np.ndarray:
    """Return source and size of each lead as columns: both as entered when the lead was created."""
    source = _spelling(leads["source"].fillna(""))
    source = source.where(source.map(source.value_counts()) >= _FEW_LEADS, "few").astype("str")
    size = np.log(leads["employees"].astype("float64").clip(lower=1)).to_numpy()
    missing = np.isnan(size)
    middle = np.median(size[~missing]) if (~missing).any() else 0.0
    size = np.where(missing, 0.0, size - middle)
    levels = pd.get_dummies(source, drop_first=True).to_numpy("float64")
    return np.c_[levels, size, size**2, missing.astype("float64")]


def _logit(x: np.ndarray, y: np.ndarray, first: np.ndarray, *, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients of a logistic regression and their errors, robust to any likeness of the rows of a lead.

    The first column of `x` is the constant; rows of one lead begin at each of `first`. Columns that are not `free`
    carry a weak penalty (a normal prior of standard deviation 3).
    """
    penalty = np.where(free, 0.0, _WEAK)
    slope = np.zeros(x.shape[1])
    slope[0] = np.log(y.mean() / (1 - y.mean()))
    for _ in range(50):
        p = expit(x @ slope)
        bread = np.linalg.pinv((x.T * (p * (1 - p))) @ x + np.diag(penalty), hermitian=True)
        step = bread @ (x.T @ (y - p) - penalty * slope)
        slope = slope + step * min(1.0, 3.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    scores = np.add.reduceat(x * (y - expit(x @ slope))[:, None], first, axis=0)
    return slope, np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread))


def _true(crm: Crm, leads: pd.DataFrame, weeks: _Weeks, events: _Events, names: list[str], *, seed: int) -> np.ndarray:
    """Return the true odds ratio of each type, NaN where the source has no known truth."""
    if not isinstance(crm.truth, Truth):
        return np.full(len(names), np.nan)
    effects = crm.truth.interaction_effects.query("entity == 'lead'").set_index("type")["effect"]
    effect = effects.reindex(names).to_numpy("float64")
    event, week = _pairs(events, np.add(*_spans(weeks, len(leads))) - 1, len(names), seed=seed)
    morning = events.ts[event] // _DAY + 1
    # Whole weeks between the two, in steps of one week: few different horizons to look up.
    lag = np.maximum((weeks.start[week] // _DAY - morning) // _WEEK_DAYS * _WEEK_DAYS + _WEEK_DAYS // 2, 0)
    ids = leads["lead_id"].to_numpy(dtype=object)[events.lead[event]]
    stay, rise = (_hazard_after(crm.truth, ids, morning, lag, up=up) for up in (0, 1))
    return np.array([_ratio(effect[k], stay, rise, events.type[event] == k) for k in range(len(names))])


def _pairs(events: _Events, last: np.ndarray, n_types: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of an interaction and a later week at risk of its lead, per type and evenly over all such pairs.

    `last` is the last week of each lead.
    """
    rng, drawn = np.random.default_rng(seed), [np.zeros((2, 0), np.int64)]
    for k in range(n_types):
        mine = np.flatnonzero((events.type == k) & (events.week >= 0) & ~events.entry)
        if len(mine):
            reach = np.cumsum(last[events.lead[mine]] - events.week[mine] + 1)
            at = rng.integers(0, reach[-1], _PAIRS)
            chosen = np.searchsorted(reach, at, side="right")
            drawn.append(np.stack([mine[chosen], last[events.lead[mine[chosen]]] - (reach[chosen] - 1 - at)]))
    return tuple(np.concatenate(drawn, axis=1))


def _ratio(effect: float, stay: tuple, rise: tuple, mine: np.ndarray) -> float:
    """Return the odds of converting in the week with the interaction over those without it, over all pairs.

    An interaction raises the chance of one level more next morning by `effect`; both the chance to convert in the week
    and the chance to be still open at its start follow.
    """
    (hazard, open_), (hazard_up, open_up) = ([part[mine] for part in world] for world in (stay, rise))
    known = ~np.isnan(hazard)
    if not known.any() or np.isnan(effect):
        return np.nan
    without = (hazard / open_)[known].mean()
    with_ = ((hazard + effect * (hazard_up - hazard)) / (open_ + effect * (open_up - open_)))[known].mean()
    return float(with_ / (1 - with_) / (without / (1 - without)))


def _hazard_after(
    truth: Truth, ids: np.ndarray, morning: np.ndarray, lag: np.ndarray, *, up: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return P(open at the week's start and converting in it) and P(open at its start), seen from the morning after.

    The level is that of the evening before plus `up`, whatever really became of it.
    """
    tables = _shifted(truth, up=up)
    converts, gives_up = Truth.read(tables), Truth.read(_exchanged(tables))
    hazard, open_ = np.full(len(ids), np.nan), np.full(len(ids), np.nan)
    days = (morning * _DAY).astype("datetime64[us]")
    for ahead in np.unique(lag):
        here = lag == ahead
        chance = [
            world.p_convert(ids[here], days[here], horizon_days=int(ahead) + more)
            for world, more in ((converts, 0), (converts, _WEEK_DAYS), (gives_up, 0))
        ]
        hazard[here], open_[here] = chance[1] - chance[0], 1 - chance[0] - chance[2]
    return hazard, open_


def _shifted(truth: Truth, *, up: int) -> dict[str, pd.DataFrame]:
    """Return the truth of a world in which every morning's level is that of the day before, plus `up`."""
    tables = {f"truth_{name}": truth.table(f"truth_{name}") for name in _TRUTH_TABLES}
    levels = tables["truth_leads_levels"]
    top = int(levels["level"].max())
    day, level = levels["day"] + pd.Timedelta(days=1), np.minimum(levels["level"] + up, top)
    return tables | {"truth_leads_levels": levels.assign(day=day, level=level)}


def _exchanged(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the truth of a world in which "converted" and "given up" have changed places.

    Its `p_convert` is the chance to be given up. The skill of the first owner stands for that of later ones; it matters
    only to how likely the lead is still open.
    """
    settings, owners, leads = (tables[f"truth_{name}"] for name in ("settings", "leads_owners", "leads"))
    of_lead = settings["part"].eq("lead")
    name = settings["name"].where(~of_lead, settings["name"].replace({"first": "second", "second": "first"}))
    skill = owners["rep_id"].map(tables["truth_reps"].set_index("rep_id")["skill"])
    skill = leads["lead_id"].map(skill.set_axis(owners["lead_id"])[owners["spell"].eq(0).to_numpy()])
    swapped = leads.assign(first_factor=leads["second_factor"], second_factor=leads["first_factor"] * skill)
    reps = tables["truth_reps"].assign(skill=1.0)
    return tables | {"truth_settings": settings.assign(name=name), "truth_reps": reps, "truth_leads": swapped}


def _row(
    k: int, name: str, events: _Events, estimates: dict[str, np.ndarray], true: float, sizes: tuple[int, int, int]
) -> dict[str, object]:
    mine = events.type == k
    row = {"type": name, "n_events": int(mine.sum()), "leads": len(np.unique(events.lead[mine]))}
    row["naive_auc"] = float(estimates["auc"][k])
    for way in _ESTIMATES:
        value, low, high = _odds_ratio(*estimates[way][k])
        row |= {way: value, f"{way}_low": low, f"{way}_high": high}
        row[_covers(way)] = None if np.isnan([low, true]).any() else low <= true <= high
    return row | {"true": true} | dict(zip(("n_leads", "n_weeks", "n_converted"), sizes, strict=True))


def _odds_ratio(slope: float, error: float) -> tuple[float, float, float]:
    """Return an odds ratio with its interval; nothing where the data do not hold the slope in bounds."""
    if not (abs(slope) < _WILD and error < _WILD):
        return (np.nan,) * 3
    return tuple(float(np.exp(slope + z * error)) for z in (0, -Z, Z))


def _covers(way: str) -> str:
    return "covers" if way == "adjusted" else f"{way}_covers"


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    types = {"type": "str", "n_events": "int64", "leads": "int64", "naive_auc": "float64"}
    for way in _ESTIMATES:
        types |= {way: "float64", f"{way}_low": "float64", f"{way}_high": "float64", _covers(way): "boolean"}
    types |= {"true": "float64", "n_leads": "int64", "n_weeks": "int64", "n_converted": "int64"}
    frame = pd.DataFrame(rows, columns=list(types)).astype(types)
    return frame.sort_values(["n_events", "type"], ascending=[False, True], ignore_index=True)


def _shown(names: list[str], types: Sequence[str] | None) -> list[int]:
    wanted = names if types is None else [_plain(t) for t in types]
    for name in wanted:
        if name not in names:
            raise ParameterError(
                "There is no interaction of this type with a lead.",
                found=repr(name),
                remedy=did_you_mean(name, names),
            )
    return [names.index(name) for name in dict.fromkeys(wanted)]


def _micros(times: pd.Series) -> np.ndarray:
    return times.to_numpy("datetime64[us]").astype(np.int64)


def _spelling(words: pd.Series) -> pd.Series:
    """Return each word without differences of case, spaces and signs, which are not differences of meaning."""
    return words.astype("str").map({word: _plain(word) for word in words.astype("str").unique()})


def _plain(word: str) -> str:
    return re.sub(r"\W+", "_", word.strip().casefold()).strip("_")
