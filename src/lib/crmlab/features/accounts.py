"""Features of accounts, prospects and customers: one line each."""

from .declare import EVER, Calendar, Declaration, Difference, Feature, Field, OwnFields, Ratio, Tags, Total
from .interactions import interaction_features

__all__ = ["account_features", "relationship"]

_EXECUTIVES = ("owner_or_managing_director", "managing_director", "ceo", "cfo", "coo", "cto", "president", "owner")


def relationship() -> tuple[Declaration, ...]:
    """Return what the past with a company says about its next lead or deal."""
    return (
        Feature("leads", "leads", windows=(EVER,), noun="leads of the company", ids="O25"),
        Feature("conversions", "lead_endings", where={"outcome": "converted"}, windows=(EVER,), noun="leads of the company that converted", ids="O25 R09"),
        Feature("wins", "closings", "n sum", of="amount", where={"outcome": "won"}, windows=(EVER,), noun="deals won with the company", ids="O25 C10"),
        Feature("losses", "closings", where={"outcome": "lost"}, windows=(EVER,), noun="deals lost with the company", ids="O25"),
        Feature("closings", "closings", windows=(365, EVER), hidden=True),
        Feature("deals", "opportunities", windows=(EVER,), noun="deals with the company", ids="O25"),
        Difference("deals_open_n", "deals_n_ever", "closings_n_ever", "open deals with the company", ids="R10"),
        Total("cycles_active_n_365d", "deals_open_n", "closings_n_365d", "sales cycles with the company active in the window", ids="R10"),
        Ratio("close_rate_per_cycle_365d", "closings_n_365d", "cycles_active_n_365d", "closings per active cycle with the company", ids="R10"),
        Ratio("win_rate_ever", "wins_n_ever", "closings_n_ever", "deals won, of deals closed with the company", ids="R10 O25"),
        Feature("cycle", "closings", "mean", of="days", windows=(EVER,), noun="deals closed with the company", ids="R05"),
        Feature("invoices", "invoices", "sum recency", of="amount", windows=(365,), noun="invoices", ids="O25 C10"),
        Feature("payments", "payments", "mean", of="days_late", windows=(365,), noun="payments", ids="C12"),
        Feature("interactions", "interactions", "n recency", windows=(90,), noun="interactions with the company", ids="O25 B16"),
        Feature("nps", "surveys", "last", of="score", where={"kind": "nps"}, noun="newest Net Promoter answer", ids="C31"),
    )  # fmt: skip


def account_features() -> tuple[Declaration, ...]:
    """Return the declarations for accounts: money, use, service, satisfaction, strategy, relationship."""
    return (
        Field("industry", ids="C27 B11"),
        Field("ateco", ids="B11"),
        Field("employees", ids="C26"),
        Field("revenue", ids="C26"),
        Field("region", ids="B10 C28"),
        Field("country", ids="B10 C28"),
        OwnFields(),
        Tags(),
        Calendar("age_days", ids="C10"),
        Calendar("customer_days", ids="B06 C10"),
        Calendar("month", ids="B20"),
        Calendar("quarter_days_left", ids="B20"),
        *interaction_features(),
        # Leads and deals
        Feature("leads", "leads", windows=(90, EVER), noun="leads of the account", ids="B06"),
        Feature("deals_created", "opportunities", windows=(90, 365, EVER), noun="deals created", ids="C13"),
        Feature("deals_closed", "closings", windows=(365, EVER), noun="deals closed", ids="R10"),
        Difference("deals_open_n", "deals_created_n_ever", "deals_closed_n_ever", "open deals", ids="C13"),
        Feature("wins", "closings", "n sum", of="amount", where={"outcome": "won"}, windows=(365, EVER), noun="deals won", ids="C10 C13 B06"),
        Feature("wins", "closings", "recency first", where={"outcome": "won"}, noun="deals won", ids="C10 B06"),
        Feature("losses", "closings", where={"outcome": "lost"}, windows=(365,), noun="deals lost", ids="C34"),
        Ratio("win_rate_365d", "wins_n_365d", "deals_closed_n_365d", "deals won, of deals closed", ids="R10"),
        Total("cycles_active_n_365d", "deals_open_n", "deals_closed_n_365d", "sales cycles active in the window", ids="R10"),
        Ratio("close_rate_per_cycle_365d", "deals_closed_n_365d", "cycles_active_n_365d", "closings per active cycle", ids="R10"),
        Feature("cycle", "closings", "mean", of="days", windows=(365,), noun="deals closed", ids="R05"),
        # Contracts
        Feature("contracts", "contracts", windows=(EVER,), hidden=True),
        Feature("contracts_ended", "contract_ends", windows=(EVER,), hidden=True),
        Difference("contracts_active_n", "contracts_n_ever", "contracts_ended_n_ever", "contracts in force", ids="R06 C10"),
        Feature("contracts", "contracts", "sum", of="annual_value", windows=(EVER,), hidden=True),
        Feature("contracts_ended", "contract_ends", "sum", of="annual_value", windows=(EVER,), hidden=True),
        Difference("annual_contract_value", "contracts_annual_value_sum_ever", "contracts_ended_annual_value_sum_ever", "value of a year of the contracts in force", ids="C16"),
        Feature("contract_kind", "contracts", "last", of="kind", noun="kind of the newest contract", ids="R06"),
        Feature("term_end", "contracts", "until", of="term_end_at", noun="agreed end of the newest contract", ids="C34"),
        Feature("renewals", "contracts", where={"kind": "renewal"}, windows=(EVER,), noun="renewals", ids="C46"),
        Feature("expansions", "contracts", where={"kind": "expansion"}, windows=(EVER,), noun="expansions", ids="C13 C17"),
        Feature("contracts_churned", "contract_ends", where={"end_reason": "churned"}, windows=(EVER,), noun="contracts ended by the customer", ids="C34"),
        # Invoices and payments
        Feature("invoices", "invoices", "n sum", of="amount", windows=(30, 90, 365), noun="invoices", ids="C10"),
        Feature("invoices", "invoices", "sum", of="amount", windows=(730, EVER), noun="invoices", ids="C10 C15"),
        Feature("invoices", "invoices", "recency first trend", windows=(90, 365), noun="invoices", ids="C10 C38"),
        Feature("invoices", "invoices", "sum", of="margin", windows=(365,), noun="invoices", ids="C11 C18"),
        Ratio("margin_rate_365d", "invoices_margin_sum_365d", "invoices_amount_sum_365d", "margin over invoiced amount", ids="C11 C18"),
        Difference("invoices_amount_sum_year_before", "invoices_amount_sum_730d", "invoices_amount_sum_365d", "amount invoiced in the year before the last", ids="C17"),
        Ratio("expansion_rate", "invoices_amount_sum_365d", "invoices_amount_sum_year_before", "amount of the last year over that of the year before", ids="C17"),
        Feature("payments", "payments", "mean", of="days_late", windows=(365, EVER), noun="payments", ids="C12"),
        Feature("payments", "payments", "mean", of="on_time", windows=(365,), noun="payments", ids="C12"),
        Feature("paid_late", "payments", where={"days_late": "> 0"}, windows=(365,), noun="payments after the due date", ids="C12"),
        Feature("due", "dues", "n sum", of="amount", windows=(EVER,), hidden=True),
        Feature("settled", "settlements", "n sum", of="amount", windows=(EVER,), hidden=True),
        Difference("overdue_n", "due_n_ever", "settled_n_ever", "invoices overdue", ids="C12"),
        Difference("overdue_amount", "due_amount_sum_ever", "settled_amount_sum_ever", "amount overdue", ids="C12"),
        # Use of the product
        Feature("usage", "usage", "n recency smoothed trend", noun="days with use", ids="C19 C39"),
        Feature("logins", "usage", "sum smoothed", of="logins", noun="use", ids="C19"),
        Feature("usage", "usage", "sum", of="minutes", windows=(30, 90), noun="use", ids="C19"),
        Feature("usage", "usage", "mean", of="active_users", windows=(30, 90), noun="days with use", ids="C19"),
        Feature("usage", "usage", "mean", of="features_used", windows=(30, 90), noun="days with use", ids="C19"),
        Ratio("users_trend_30d_90d", "usage_active_users_mean_30d", "usage_active_users_mean_90d", "active users of 30 days over those of 90", ids="C39"),
        Ratio("adoption_trend_30d_90d", "usage_features_used_mean_30d", "usage_features_used_mean_90d", "features used in 30 days over those of 90", ids="C19 C39"),
        # Service
        Feature("tickets", "tickets", "n recency smoothed", windows=(30, 90, 365), noun="tickets", ids="C23 C34"),
        Feature("tickets_{}", "tickets", each="severity", windows=(90,), noun="tickets of severity {}", ids="C23 C34"),
        Feature("tickets", "tickets", windows=(EVER,), hidden=True),
        Feature("tickets_solved", "ticket_closings", windows=(EVER,), hidden=True),
        Difference("tickets_open_n", "tickets_n_ever", "tickets_solved_n_ever", "open tickets", ids="C23"),
        Feature("escalations", "escalations", windows=(90, 365), noun="escalated tickets", ids="C34"),
        Feature("solution", "ticket_closings", "mean", of="hours", windows=(90, 365), noun="tickets solved", ids="C23"),
        Feature("tickets", "ticket_closings", "mean", of="csat", windows=(90, 365), noun="tickets solved", ids="C24 C32"),
        Feature("service", "interactions", "sum", of="duration", where={"direction": "out"}, windows=(365,), noun="outgoing interactions: cost to serve", ids="C14"),
        # Satisfaction and relationship
        Feature("nps", "surveys", "last", of="score", where={"kind": "nps"}, noun="newest Net Promoter answer", ids="C31"),
        Feature("nps", "surveys", "recency", where={"kind": "nps"}, noun="Net Promoter answers", ids="C31"),
        Feature("nps", "surveys", "mean", of="score", where={"kind": "nps"}, windows=(365,), noun="Net Promoter answers", ids="C31"),
        Feature("csat", "surveys", "mean", of="score", where={"kind": "csat"}, windows=(365,), noun="satisfaction answers", ids="C32"),
        Feature("promoters", "surveys", where={"verdict": "promoter"}, windows=(365, EVER), noun="promoter answers", ids="C29 C33"),
        Feature("detractors", "surveys", where={"verdict": "detractor"}, windows=(365,), noun="detractor answers", ids="C34"),
        Feature("contacts", "contacts", windows=(EVER,), noun="known people", ids="C35"),
        Feature("executives", "contacts", where={"job_position": _EXECUTIVES}, windows=(EVER,), noun="known executives", ids="C35"),
    )  # fmt: skip
