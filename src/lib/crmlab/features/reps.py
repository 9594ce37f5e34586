"""Features of salespeople and teams: one line each."""

from .declare import EVER, Calendar, Declaration, Difference, Feature, Field, OwnFields, Ratio, Total
from .interactions import interaction_features

__all__ = ["rep_features", "sales_record", "team_features"]


def sales_record(*, window: int = 90) -> tuple[Declaration, ...]:
    """Return the track record of a rep or team: what came in, what was won, how long it took, what is open.

    Parameters
    ----------
    window : days over which rates are taken.
    """
    w = window
    return (
        Feature("leads_taken", "leads_taken", windows=(w,), noun="leads taken over", ids="R04"),
        Feature("leads_ever", "leads_taken", windows=(EVER,), hidden=True),
        Feature("leads_gone", "leads_left", windows=(EVER,), hidden=True),
        Difference("leads_open_n", "leads_ever_n_ever", "leads_gone_n_ever", "leads at hand", ids="R18"),
        Feature("leads_ended", "lead_endings", windows=(w,), hidden=True),
        Feature("conversions", "lead_endings", where={"outcome": "converted"}, windows=(w,), noun="leads converted", ids="R04"),
        Ratio(f"conversion_rate_{w}d", f"conversions_n_{w}d", f"leads_ended_n_{w}d", "leads converted, of leads ended", ids="R04"),
        Feature("lead_to_opportunity", "lead_endings", "mean", of="days", where={"outcome": "converted"}, windows=(w,), noun="leads converted", ids="R09 R20"),
        Feature("deals_taken", "deals_taken", windows=(w,), noun="deals taken over", ids="R18"),
        Feature("deals_ever", "deals_taken", windows=(EVER,), hidden=True),
        Feature("deals_gone", "deals_left", windows=(EVER,), hidden=True),
        Difference("deals_open_n", "deals_ever_n_ever", "deals_gone_n_ever", "open deals at hand", ids="R18"),
        Feature("closings", "closings", windows=(w,), noun="deals closed", ids="R04"),
        Feature("wins", "closings", where={"outcome": "won"}, windows=(w,), noun="deals won", ids="R04"),
        Feature("wins", "closings", "sum", of="amount", where={"outcome": "won"}, windows=(w,), noun="deals won", ids="R04"),
        Ratio(f"win_rate_{w}d", f"wins_n_{w}d", f"closings_n_{w}d", "deals won, of deals closed", ids="R04 R19"),
        Total(f"cycles_active_n_{w}d", "deals_open_n", f"closings_n_{w}d", "sales cycles active in the window", ids="R10"),
        Ratio(f"close_rate_per_cycle_{w}d", f"closings_n_{w}d", f"cycles_active_n_{w}d", "closings per active cycle", ids="R10"),
        Feature("cycle", "closings", "mean", of="days", windows=(w,), noun="deals closed", ids="R05"),
    )  # fmt: skip


def rep_features() -> tuple[Declaration, ...]:
    """Return the declarations for reps."""
    return (
        Field("role", ids="R06"),
        Field("experience", ids="R06"),
        OwnFields(),
        Feature("team", "changes", "last", of="value", where={"field": "team"}, noun="team", ids="R06 B22"),
        Feature("contract_status", "changes", "last", of="value", where={"field": "contract_status"}, noun="contract status", ids="R06"),
        Feature("contract", "changes", "recency", where={"field": "contract_status"}, noun="changes of contract status", ids="R06"),
        Calendar("age_days", ids="R06"),
        Calendar("month", ids="B20"),
        Calendar("quarter_days_left", ids="B20"),
        *interaction_features(),
        *sales_record(),
        Feature("conversions", "lead_endings", where={"outcome": "converted"}, windows=(30,), noun="leads converted", ids="R22"),
        Feature("closings", "closings", windows=(30,), noun="deals closed", ids="R22"),
        Feature("wins", "closings", "n", where={"outcome": "won"}, windows=(30, 365), noun="deals won", ids="R22"),
        Feature("wins", "closings", "recency smoothed", where={"outcome": "won"}, noun="deals won", ids="R23"),
    )  # fmt: skip


def team_features() -> tuple[Declaration, ...]:
    """Return the declarations for teams: the record of whoever belonged to it at the time."""
    return sales_record()
