"""Features of opportunities: one line each."""

from .accounts import relationship
from .declare import EVER, Calendar, Declaration, Feature, Field, Linked, Notes, OwnFields, Ratio, Tags
from .interactions import interaction_features
from .reps import sales_record, team_features

__all__ = ["opportunity_features"]


def _moves(name: str, field: str, moves: dict[str, tuple[str, ...]], noun: str, ids: str) -> tuple[Feature, ...]:
    """One line per direction in which a field can move."""
    return tuple(
        Feature(f"{name}_{way}", "changes", where={"field": field, "move": kinds}, windows=(EVER,), noun=f"{noun} {way}", ids=ids)
        for way, kinds in moves.items()
    )  # fmt: skip


def opportunity_features() -> tuple[Declaration, ...]:
    """Return the declarations for opportunities."""
    return (
        Field("product", ids="O25"),
        Field("amount_at_creation", ids="O25 B15"),
        Field("industry", "accounts", ids="O25 B11"),
        Field("employees", "accounts", ids="O25"),
        Field("revenue", "accounts", ids="O25"),
        Field("region", "accounts", ids="B10"),
        Field("country", "accounts", ids="B10"),
        Field("job_position", "contacts", ids="B12"),
        Field("source", "leads", ids="B13"),
        OwnFields(),
        Tags(),
        Calendar("age_days"),
        Calendar("month", ids="B20"),
        Calendar("quarter_days_left", ids="B20"),
        Calendar("lead_to_opportunity_days", ids="R09"),
        # Where it stands, and how it moved
        Feature("stage", "changes", "last", of="value", where={"field": "stage"}, noun="stage", ids="B14 O21"),
        Feature("stage", "changes", "recency", where={"field": "stage"}, noun="changes of stage (time in stage)", ids="B14"),
        *_moves("stage_moves", "stage", {"forward": ("forward", "skip"), "skipping": ("skip",), "back": ("back", "reopened"), "reopened": ("reopened",)}, "moves of the stage", "B14"),
        Feature("amount", "changes", "last", of="number", where={"field": "amount"}, noun="amount", ids="B15 O25"),
        Ratio("amount_growth", "amount", "amount_at_creation", "amount over that at creation", ids="B15"),
        *_moves("amount_moves", "amount", {"up": ("up",), "down": ("down",)}, "changes of the amount", "B15"),
        Feature("margin_rate", "changes", "last", of="number", where={"field": "margin_rate"}, noun="margin rate", ids="O01"),
        Feature("owner_probability", "changes", "last", of="number", where={"field": "owner_probability"}, noun="owner's own probability", ids="O03"),
        Feature("competitor", "changes", "last", of="value", where={"field": "competitor"}, noun="main competitor", ids="O05"),
        Feature("expected_close", "changes", "until", of="time", where={"field": "expected_close_at"}, noun="closing expected by the owner", ids="O25"),
        *_moves("close_date_moves", "expected_close_at", {"later": ("later",), "earlier": ("earlier",)}, "moves of the expected closing", "O25"),
        Feature("owner_id", "changes", "last", of="value", where={"field": "owner_id"}, noun="rep who owned the deal", ids="B22"),
        Feature("owner_changes", "changes", where={"field": "owner_id"}, windows=(EVER,), noun="owners", ids="B22"),
        # Quotes
        Feature("quotes", "quotes", "n", windows=(30, EVER), noun="quotes sent", ids="O21"),
        Feature("quotes", "quotes", "recency first", noun="quotes sent", ids="O21"),
        Feature("quote_amount", "quotes", "last", of="amount", noun="amount of the newest quote", ids="O21"),
        Feature("quote_discount", "quotes", "last", of="discount_rate", noun="discount of the newest quote", ids="O21"),
        Ratio("quote_over_amount", "quote_amount", "amount_at_creation", "newest quote over amount at creation", ids="O21"),
        *interaction_features(),
        Linked("lead", "lead", "lead_id", (
            Feature("interactions", "interactions", "n per_week", windows=(EVER,), noun="interactions with its lead", ids="R09"),
            Feature("meetings", "interactions", where={"type": "meeting"}, windows=(EVER,), noun="meetings with its lead", ids="R09"),
        )),
        Linked("account", "account", "account_id", relationship(), ids="O25"),
        Linked("owner", "rep", "owner_id", (
            Feature("team", "changes", "last", of="value", where={"field": "team"}, noun="team", ids="B22"),
            Feature("contract_status", "changes", "last", of="value", where={"field": "contract_status"}, noun="contract status", ids="R06"),
            Calendar("age_days"),
            *sales_record(),
        )),
        Linked("team", "team", "owner_team", team_features()),
        Notes(),
    )  # fmt: skip
