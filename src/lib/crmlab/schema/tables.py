"""The canonical CRM: every table and column, with unit, meaning, when its value is known, and whether it is personal.

Times are naive UTC. Amounts are euro. A date that a source gives without a time of day counts as known at the end of
that day, so that it is never visible too early.
"""

from .columns import TODAY, Table, column
from .errors import DataError, did_you_mean

__all__ = [
    "CHANGE_ENTITIES",
    "DIRECTIONS",
    "INTERACTION_TYPES",
    "LEAD_CLOSED",
    "LEAD_STATUSES",
    "OPPORTUNITY_STAGES",
    "TABLES",
    "table",
]

LEAD_STATUSES = ("new", "working", "converted", "disqualified")
LEAD_CLOSED = ("converted", "disqualified")
OPPORTUNITY_STAGES = ("qualified", "needs", "quoted", "negotiation", "won", "lost")
INTERACTION_TYPES = (
    "call",
    "email_sent",
    "email_open",
    "email_click",
    "email_reply",
    "meeting",
    "web_visit",
    "pricing_page",
    "form",
    "download",
    "event",
)
DIRECTIONS = ("in", "out")
CHANGE_ENTITIES = ("lead", "opportunity", "account", "rep")

_ACCOUNTS = Table(
    "accounts",
    "One row per company, prospect or customer.",
    ("account_id",),
    "created_at",
    (
        column("account_id", "id", "Identifier of the company.", required=True),
        column("name", "text", "Legal name; a one-person firm's name is a person's name.", personal=True),
        column("industry", "category", "Industry; in Italy the ATECO section with its title."),
        column("ateco", "category", "ATECO 2007 division code, such as 28."),
        column("employees", "number", "Size of the company.", unit="people", low=0),
        column("revenue", "number", "Yearly revenue as last published at creation.", unit="EUR", low=0),
        column("region", "category", "Region or state."),
        column("country", "category", "Country, ISO 3166-1 alpha-2."),
        column("created_at", "time", "When the company entered the CRM.", unit="UTC"),
        column("customer_since", "time", "First won deal or first contract.", "customer_since", unit="UTC"),
    ),
    open_columns=True,
)

_CONTACTS = Table(
    "contacts",
    "One row per person at a company.",
    ("contact_id",),
    "created_at",
    (
        column("contact_id", "id", "Identifier of the person; a pseudonym.", required=True, personal=True),
        column("account_id", "id", "Company of the person."),
        column("first_name", "text", "First name.", personal=True),
        column("last_name", "text", "Last name.", personal=True),
        column("email", "text", "E-mail address.", personal=True),
        column("phone", "text", "Telephone number.", personal=True),
        column("job_position", "category", "Role in the company."),
        column("source", "category", "How the person was first met."),
        column("tags", "text", "Labels set by users, separated by |.", TODAY, personal=True),
        column("consent", "boolean", "Whether the person agreed to be contacted.", TODAY, personal=True),
        column("created_at", "time", "When the person entered the CRM.", unit="UTC"),
    ),
    open_columns=True,
    references={"account_id": "accounts"},
)

_LEADS = Table(
    "leads",
    "One row per lead: an interest that may become an opportunity.",
    ("lead_id",),
    "created_at",
    (
        column("lead_id", "id", "Identifier of the lead.", required=True),
        column("account_id", "id", "Company of the lead."),
        column("contact_id", "id", "Person of the lead; a pseudonym.", personal=True),
        column("created_at", "time", "When the lead entered the CRM; empty where a CRM keeps no date.", unit="UTC"),
        column("sequence", "number", "Order of entry where there is no date; larger is newer.", unit="rank"),
        column("source", "category", "Channel that brought the lead."),
        column("industry", "category", "Industry as entered with the lead."),
        column("employees", "number", "Size of the company as entered with the lead.", unit="people", low=0),
        column("region", "category", "Region, state or time zone as entered with the lead."),
        column("country", "category", "Country, ISO 3166-1 alpha-2."),
        column("job_position", "category", "Role of the person as entered with the lead."),
        column("product", "category", "Product that the lead asked for."),
        column("owner_id", "id", "Rep who owns the lead today; its history stands in changes.", TODAY),
        column("status", "category", "Status today.", TODAY, required=True, values=LEAD_STATUSES),
        column("converted_at", "time", "When the lead became an opportunity.", "converted_at", unit="UTC"),
        column("disqualified_at", "time", "When the lead was given up.", "disqualified_at", unit="UTC"),
        column("disqualified_reason", "category", "Why it was given up.", "disqualified_at"),
        column("opportunity_id", "id", "Opportunity it became.", "converted_at"),
        column("crm_score", "number", "Score that the CRM itself shows today.", TODAY, unit="points"),
        column("notes", "text", "Free text of the sales team.", TODAY, personal=True),
    ),
    open_columns=True,
    references={
        "account_id": "accounts",
        "contact_id": "contacts",
        "owner_id": "reps",
        "opportunity_id": "opportunities",
    },
)

_OPPORTUNITIES = Table(
    "opportunities",
    "One row per deal.",
    ("opportunity_id",),
    "created_at",
    (
        column("opportunity_id", "id", "Identifier of the deal.", required=True),
        column("account_id", "id", "Company that may buy."),
        column("contact_id", "id", "Person at the company; a pseudonym.", personal=True),
        column("lead_id", "id", "Lead it came from; empty for a direct deal."),
        column("created_at", "time", "When the deal entered the CRM; empty where a CRM keeps no date.", unit="UTC"),
        column("sequence", "number", "Order of entry where there is no date; larger is newer.", unit="rank"),
        column("product", "category", "Main product of the deal."),
        column("amount_at_creation", "number", "Value first entered.", unit="EUR", low=0),
        column("amount", "number", "Value today; its history stands in changes.", TODAY, unit="EUR", low=0),
        column("margin_rate", "number", "Expected margin over amount, today.", TODAY, unit="share", low=-1, high=1),
        column("owner_id", "id", "Rep who owns the deal today; its history stands in changes.", TODAY),
        column(
            "owner_probability",
            "number",
            "Owner's own estimate today; history in changes.",
            TODAY,
            unit="share",
            low=0,
            high=1,
        ),
        column("stage", "category", "Stage today; its history stands in changes.", TODAY, values=OPPORTUNITY_STAGES),
        column("expected_close_at", "time", "Owner's expected closing date today.", TODAY, unit="UTC", planned=True),
        column("competitor", "category", "Main competitor known today.", TODAY),
        column("first_quote_at", "time", "When the first quote was sent.", "first_quote_at", unit="UTC"),
        column("closed_at", "time", "When the deal was won or lost.", "closed_at", unit="UTC"),
        column("outcome", "category", "How it ended; empty while open.", "closed_at", values=("won", "lost")),
        column("lost_reason", "category", "Why it was lost.", "closed_at"),
        column("notes", "text", "Free text of the sales team.", TODAY, personal=True),
    ),
    open_columns=True,
    references={"account_id": "accounts", "contact_id": "contacts", "lead_id": "leads", "owner_id": "reps"},
)

_CHANGES = Table(
    "changes",
    "One row per changed field: the history that makes today's values usable at an earlier date.",
    ("change_id",),
    "changed_at",
    (
        column("change_id", "id", "Identifier of the change.", "changed_at", required=True),
        column("entity", "category", "What was changed.", "changed_at", required=True, values=CHANGE_ENTITIES),
        column("entity_id", "id", "Identifier of what was changed.", "changed_at", required=True),
        column("field", "category", "Column that was changed.", "changed_at", required=True),
        column("old_value", "text", "Value before, as text; empty for the first one.", "changed_at", personal=True),
        column("new_value", "text", "Value after, as text; of `notes`, the text.", "changed_at", personal=True),
        column("changed_at", "time", "When it was changed.", "changed_at", unit="UTC", required=True),
    ),
)

_INTERACTIONS = Table(
    "interactions",
    "One row per contact between the firm and a lead, deal or customer.",
    ("interaction_id",),
    "known_at",
    (
        column("interaction_id", "id", "Identifier of the interaction.", "known_at", required=True),
        column("lead_id", "id", "Lead it belongs to.", "known_at"),
        column("opportunity_id", "id", "Deal it belongs to.", "known_at"),
        column("account_id", "id", "Company it belongs to.", "known_at"),
        column("rep_id", "id", "Rep who took part.", "known_at"),
        column("ts", "time", "When it took place.", "known_at", unit="UTC", required=True),
        column(
            "known_at",
            "time",
            "When it was entered; calls are often logged days later.",
            "known_at",
            unit="UTC",
            required=True,
        ),
        column("type", "category", "Kind of interaction.", "known_at", required=True),
        column("direction", "category", "in: from the prospect; out: from the firm.", "known_at", values=DIRECTIONS),
        column("duration", "number", "Length of a call or meeting.", "known_at", unit="minutes", low=0),
        column("outcome", "category", "held, no_show, reached, not_reached, replied; empty if not told.", "known_at"),
    ),
    references={"lead_id": "leads", "opportunity_id": "opportunities", "account_id": "accounts", "rep_id": "reps"},
)

_QUOTES = Table(
    "quotes",
    "One row per quote sent, revisions included.",
    ("quote_id",),
    "sent_at",
    (
        column("quote_id", "id", "Identifier of the quote.", "sent_at", required=True),
        column("opportunity_id", "id", "Deal it belongs to.", "sent_at", required=True),
        column("sent_at", "time", "When it was sent.", "sent_at", unit="UTC", required=True),
        column("revision", "integer", "1 for the first quote of a deal.", "sent_at", low=1),
        column("amount", "number", "Value quoted, after discount.", "sent_at", unit="EUR", low=0),
        column("discount_rate", "number", "Discount over list price.", "sent_at", unit="share", low=0, high=1),
    ),
    references={"opportunity_id": "opportunities"},
)

_CONTRACTS = Table(
    "contracts",
    "One row per contract term of a customer; a renewal is a new row.",
    ("contract_id",),
    "started_at",
    (
        column("contract_id", "id", "Identifier of the contract term.", "started_at", required=True),
        column("account_id", "id", "Customer.", "started_at", required=True),
        column("started_at", "time", "First day of the term.", "started_at", unit="UTC", required=True),
        column("term_end_at", "time", "Agreed last day of the term.", "started_at", unit="UTC", planned=True),
        column("annual_value", "number", "Value of a year at the start of the term.", "started_at", unit="EUR", low=0),
        column("kind", "category", "How it came about.", "started_at", values=("new", "renewal", "expansion")),
        column("ended_at", "time", "When it really ended.", "ended_at", unit="UTC"),
        column("end_reason", "category", "How it ended.", "ended_at", values=("renewed", "churned", "expanded")),
    ),
    references={"account_id": "accounts"},
)

_INVOICES = Table(
    "invoices",
    "One row per invoice to a customer.",
    ("invoice_id",),
    "issued_at",
    (
        column("invoice_id", "id", "Identifier of the invoice.", "issued_at", required=True),
        column("account_id", "id", "Customer.", "issued_at", required=True),
        column("opportunity_id", "id", "Deal it bills, if one.", "issued_at"),
        column("issued_at", "time", "When it was sent.", "issued_at", unit="UTC", required=True),
        column("due_at", "time", "When it is to be paid.", "issued_at", unit="UTC", planned=True),
        column("amount", "number", "Value; negative for a credit note.", "issued_at", unit="EUR"),
        column("cost", "number", "Cost of what was delivered.", "issued_at", unit="EUR"),
        column("paid_at", "time", "When it was paid; empty while open.", "paid_at", unit="UTC"),
    ),
    references={"account_id": "accounts", "opportunity_id": "opportunities"},
)

_USAGE = Table(
    "usage",
    "One row per customer and day with use of the product.",
    ("account_id", "day"),
    "known_at",
    (
        column("account_id", "id", "Customer.", "known_at", required=True),
        column("day", "time", "Day of use, its midnight.", "known_at", unit="UTC", required=True),
        column("known_at", "time", "When the day was complete.", "known_at", unit="UTC", required=True),
        column("logins", "integer", "Log-ins on that day.", "known_at", low=0),
        column("active_users", "integer", "Distinct users on that day.", "known_at", unit="people", low=0),
        column("minutes", "number", "Time in the product.", "known_at", unit="minutes", low=0),
        column("features_used", "integer", "Distinct features used.", "known_at", low=0),
    ),
    references={"account_id": "accounts"},
)

_TICKETS = Table(
    "tickets",
    "One row per request to customer service.",
    ("ticket_id",),
    "opened_at",
    (
        column("ticket_id", "id", "Identifier of the ticket.", "opened_at", required=True),
        column("account_id", "id", "Customer.", "opened_at", required=True),
        column("opened_at", "time", "When it was opened.", "opened_at", unit="UTC", required=True),
        column("severity", "category", "How bad it was at opening.", "opened_at", values=("low", "normal", "high")),
        column("escalated_at", "time", "When it was escalated; empty if never.", "escalated_at", unit="UTC"),
        column("closed_at", "time", "When it was solved; empty while open.", "closed_at", unit="UTC"),
        column("csat", "number", "Satisfaction given at closing.", "closed_at", unit="points of 5", low=1, high=5),
    ),
    references={"account_id": "accounts"},
)

_SURVEYS = Table(
    "surveys",
    "One row per answered survey.",
    ("survey_id",),
    "answered_at",
    (
        column("survey_id", "id", "Identifier of the answer.", "answered_at", required=True),
        column("account_id", "id", "Customer.", "answered_at", required=True),
        column("answered_at", "time", "When it was answered.", "answered_at", unit="UTC", required=True),
        column("kind", "category", "Which survey.", "answered_at", required=True, values=("nps", "csat")),
        column("score", "number", "Answer: nps 0 to 10, csat 1 to 5.", "answered_at", unit="points", low=0, high=10),
    ),
    references={"account_id": "accounts"},
)

_REPS = Table(
    "reps",
    "One row per salesperson.",
    ("rep_id",),
    "hired_at",
    (
        column("rep_id", "id", "Identifier of the rep; a pseudonym.", "hired_at", required=True, personal=True),
        column("first_name", "text", "First name.", "hired_at", personal=True),
        column("last_name", "text", "Last name.", "hired_at", personal=True),
        column("team", "category", "Team today; its history stands in changes.", TODAY),
        column("role", "category", "Role at hiring.", "hired_at"),
        column("experience", "number", "Experience when hired.", "hired_at", unit="years", low=0),
        column("contract_status", "category", "Employment today; its history stands in changes.", TODAY, personal=True),
        column("hired_at", "time", "First day of work.", "hired_at", unit="UTC"),
        column("left_at", "time", "Last day of work; empty while employed.", "left_at", unit="UTC"),
    ),
)

_TARGETS = Table(
    "targets",
    "One row per target of a rep or team and period.",
    ("target_id",),
    "set_at",
    (
        column("target_id", "id", "Identifier of the target.", "set_at", required=True),
        column("rep_id", "id", "Rep; empty for a team or the whole firm.", "set_at"),
        column("team", "category", "Team; empty for a rep or the whole firm.", "set_at"),
        column(
            "measure",
            "category",
            "What is counted.",
            "set_at",
            required=True,
            values=("won_amount", "won_deals", "converted_leads"),
        ),
        column(
            "period_start_at", "time", "First day of the period.", "set_at", unit="UTC", planned=True, required=True
        ),
        column(
            "period_end_at", "time", "First day after the period.", "set_at", unit="UTC", planned=True, required=True
        ),
        column("value", "number", "Target, in EUR or in deals or leads.", "set_at", low=0),
        column("set_at", "time", "When the target was set.", "set_at", unit="UTC", required=True),
    ),
    references={"rep_id": "reps"},
)

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        _ACCOUNTS,
        _CONTACTS,
        _LEADS,
        _OPPORTUNITIES,
        _CHANGES,
        _INTERACTIONS,
        _QUOTES,
        _CONTRACTS,
        _INVOICES,
        _USAGE,
        _TICKETS,
        _SURVEYS,
        _REPS,
        _TARGETS,
    )
}


def table(name: str) -> Table:
    """Return the declaration of a canonical table.

    Raises
    ------
    DataError : `name` is not a canonical table; the message suggests one.
    """
    if name not in TABLES:
        raise DataError(f"There is no canonical table `{name}`.", remedy=did_you_mean(name, list(TABLES)))
    return TABLES[name]
