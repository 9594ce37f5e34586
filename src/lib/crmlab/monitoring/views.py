"""What monitoring found, shaped for reading: one column per thing a person reads."""

import numpy as np
import pandas as pd

from crmlab.explain import plain_text, topics
from crmlab.explain.topics import OWNER
from crmlab.explain.words import number_words

from .drift import EMPTIED, NEW_LEVEL
from .study import Monitor

__all__ = [
    "FORMATS",
    "drift_view",
    "dry_view",
    "formats_of",
    "kpi_view",
    "month_view",
    "rate_view",
    "rule_view",
    "tier_view",
]

FORMATS = {
    "promised from": "percent:1",
    "below": "percent:1",
    "expected": "percent:1",
    "came true": "estimate:percent:1",
    "rate": "estimate:percent:1",
    "all": "percent:1",
    "hit rate": "estimate:percent:0",
    "outcomes in best quarter": "estimate:percent:0",
    "log loss": "number:3",
    "PSI": "number:2",
    "usual PSI": "number:2",
    "share in scores": "percent:1",
    "effect on log odds": "signed",
    "since": "date",
    "last seen": "date",
    "usual": "number:0",
    "lowest": "count",
}
"""Format of each column of the views here; see `crmlab.report.formats`."""
_TO_DO = {
    EMPTIED: "find out who stopped filling it; repair before training again",
    NEW_LEVEL: "the model does not know the value; train again when outcomes of it have settled",
}
_TO_DO_ELSE = "ask what changed; watch calibration, train again if it fails"


def formats_of(view: pd.DataFrame) -> dict[str, str]:
    """Return the formats of the columns that a view has."""
    return {column: FORMATS[column] for column in view if column in FORMATS}


def _triples(frame: pd.DataFrame, *names: str) -> list[tuple[float, ...]]:
    return list(frame[list(names)].itertuples(index=False, name=None))


def rule_view(monitor: Monitor) -> pd.DataFrame:
    """Return the rule line by line: verdict, value, bound, what was looked at."""
    table = monitor.rules
    numbers = {name: table[name].map(_plain) for name in ("value", "bound")}
    return table[["rule", "verdict"]].assign(**numbers, **{"what was looked at": table["words"]})


def _plain(value: float) -> str:
    """Lines of the rule have units of their own, so each number keeps its own digits."""
    return "–" if pd.isna(value) else number_words(round(value, 4)).replace("-", "−")


def tier_view(monitor: Monitor) -> pd.DataFrame:
    """Return every published tier: what it promised, what came, whether the order holds."""
    tiers = monitor.tiers
    view = tiers[["kind", "tier", "n", "n_entities", "p_from", "p_below", "expected"]]
    view = view.rename(columns={"n": "looks", "n_entities": "cases", "p_from": "promised from", "p_below": "below"})
    words = tiers["came_true"].astype("object").map({True: "yes", False: "no"}).fillna("no scores")
    view = view.assign(**{"came true": _triples(tiers, "observed", "low", "high"), "in the promised range": words})
    return view.assign(**{"order against the next": tiers["order"]})


def month_view(monitor: Monitor) -> pd.DataFrame:
    """Return expected and observed shares by month of scoring."""
    months = monitor.months.rename(columns={"n": "looks", "n_entities": "cases", "log_loss": "log loss"})
    view = months[["month", "looks", "cases", "expected"]]
    return view.assign(**{"came true": _triples(months, "observed", "low", "high"), "log loss": months["log loss"]})


def kpi_view(monitor: Monitor, *, capacity: int) -> pd.DataFrame:
    """Return what the ranking was worth by quarter."""
    table = monitor.kpis(capacity=capacity)
    view = pd.DataFrame({"quarter": table["quarter"], "looks": table["n"], "all": table["rate"]})
    view = view.assign(**{"called": table["called"], "hit rate": _triples(table, "hit_rate", "hit_low", "hit_high")})
    return view.assign(**{"outcomes in best quarter": _triples(table, "top_quarter", "top_low", "top_high")})


def drift_view(monitor: Monitor, *, limit: int = 10) -> pd.DataFrame:
    """Return the features that have moved, alarms first: since when, how much it matters, what to do.

    What identifies or describes people in charge is named without its values.
    """
    table = monitor.drift
    table = table[table["moved"].astype(bool)].head(limit) if len(table) else table
    topic = topics(table["feature"].to_list())
    personal = table["feature"].map(topic).eq(OWNER).to_numpy(bool)
    said = {side: _shown(table, side, personal) for side in ("was", "now")} if len(table) else {"was": [], "now": []}
    view = pd.DataFrame({"feature": table["feature"].map(plain_text), **said})
    view = view.assign(**{"PSI": table["psi"], "usual PSI": table.get("usual", np.nan)})
    view = view.assign(**{"since": table["since"], "share in scores": table["importance"]})
    view = view.assign(**{"effect on log odds": table["effect"]})
    return view.assign(**{"what to do": _what_to_do(table)}).reset_index(drop=True)


def _shown(table: pd.DataFrame, side: str, personal: np.ndarray) -> list[str]:
    """The typical value; of what lost its values, the share that is missing."""
    emptied = (table["kind"] == EMPTIED).to_numpy()
    empty = [f"{100 * share:.0f}\u00a0% missing" for share in table[f"missing_{side}"]]
    hidden = personal & ~table["kind"].isin([EMPTIED, "number"]).to_numpy()
    return [
        e if gone else "not shown" if hide else plain_text(value)
        for e, gone, hide, value in zip(empty, emptied, hidden, table[side], strict=True)
    ]


def _what_to_do(table: pd.DataFrame) -> list[str]:
    told = [_TO_DO.get(kind, _TO_DO_ELSE) for kind in table["kind"]]
    return [
        words if alarm else "nothing: the model hardly uses it"
        for words, alarm in zip(told, table["alarm"], strict=True)
    ]


def rate_view(monitor: Monitor, *, limit: int = 8) -> pd.DataFrame:
    """Return how often the outcome came, the newest quarters first."""
    table = monitor.rates().iloc[::-1].head(limit)
    view = table[["quarter", "n", "n_entities"]].rename(columns={"n": "looks", "n_entities": "cases"})
    return view.assign(rate=_triples(table, "rate", "low", "high")).reset_index(drop=True)


def dry_view(monitor: Monitor, *, limit: int = 6) -> pd.DataFrame:
    """Return the kinds of events nearest to drying up."""
    table = monitor.dry.head(limit)
    names = {"last_28_days": "last 28 days", "last_seen": "last seen", "alarm": "dried up"}
    view = table.assign(kind=table["kind"].map(plain_text)).rename(columns=names)
    return view[["table", "kind", "last 28 days", "usual", "lowest", "last seen", "dried up"]]
