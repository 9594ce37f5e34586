"""Features of leads: one line each."""

from .accounts import relationship
from .declare import EVER, Calendar, Declaration, Feature, Field, Linked, Notes, OwnFields, Tags
from .interactions import interaction_features
from .reps import sales_record, team_features

__all__ = ["lead_features"]


def lead_features() -> tuple[Declaration, ...]:
    """Return the declarations for leads."""
    return (
        Field("source", ids="B13"),
        Field("industry", fallback=True, ids="L14 B11"),
        Field("employees", fallback=True, ids="L14"),
        Field("region", fallback=True, ids="L14 B10"),
        Field("country", fallback=True, ids="L14 B10"),
        Field("job_position", ids="B12"),
        Field("product", ids="O25"),
        OwnFields(),
        Tags(),
        Calendar("age_days"),
        Calendar("month", ids="B20"),
        Calendar("quarter_days_left", ids="B20"),
        Feature("owner_id", "changes", "last", of="value", where={"field": "owner_id"}, noun="rep who owned the lead", ids="B22"),
        Feature("status", "changes", "last", of="value", where={"field": "status"}, noun="status", ids="B14"),
        Feature("status", "changes", "recency", where={"field": "status"}, noun="changes of status", ids="B14"),
        Feature("status_changes", "changes", where={"field": "status"}, windows=(EVER,), noun="changes of status", ids="B14"),
        Feature("owner_changes", "changes", where={"field": "owner_id"}, windows=(EVER,), noun="owners", ids="B22"),
        *interaction_features(),
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
