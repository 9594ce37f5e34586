"""Features of deals, owners, teams and customers whose life did not go the usual way, each with the expected values."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from crmlab.crm import Crm
from crmlab.features import build_features, event_accounts

cases = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("feature_cases.py"))))
DAY, MICRO = cases.DAY, cases.MICRO
T = pd.Timestamp("2024-01-01")
END = T + 100 * DAY
account, at, change, contact, deal, lead = cases.account, cases.at, cases.change, cases.contact, cases.deal, cases.lead
make_crm, numbered, rep, values = cases.make_crm, cases.numbered, cases.rep, cases.values


def of_deal(field: str, day: float, new: str | None, old: str | None = None, who: str = "O0") -> dict:
    """An entry of the change log of a deal, some days after T."""
    return change(field, T + day * DAY, new, old, entity="opportunity", entity_id=who)


def of_rep(field: str, day: float, new: str | None, who: str = "R0") -> dict:
    """An entry of the change log of a rep."""
    return change(field, T + day * DAY, new, entity="rep", entity_id=who)


def deals(log: list[dict], *dates: object, columns: list[str], **tables: list[dict]) -> list[tuple]:
    """Features of deal O0, created on T, one tuple per date."""
    tables = {"opportunities": [deal(created_at=T, amount_at_creation=100.0)]} | tables
    crm = make_crm(changes=numbered("changes", log), **tables)
    found = build_features(crm, at(*dates, entity="opportunity"))
    return list(zip(*(values(found, c) for c in columns), strict=True))


MOVES = [f"stage_moves_{way}_n_ever" for way in ("forward", "skipping", "back", "reopened")]
USUAL = [("qualified", None), ("needs", "qualified"), ("quoted", "needs"), ("negotiation", "quoted")]


def stages(*steps: tuple[str, str | None]) -> list[dict]:
    """Stages, one every ten days from T on."""
    return [of_deal("stage", 10 * k, new, old) for k, (new, old) in enumerate(steps)]


def moves(*steps: tuple[str, str | None]) -> dict[str, int]:
    """Moves of the stage, those that never happened left out."""
    crm = make_crm(opportunities=[deal(created_at=T)], changes=numbered("changes", stages(*steps)))
    found = build_features(crm, at(END, entity="opportunity"))
    return {c.split("_")[2]: int(found[c].item()) for c in MOVES if c in found}


def test_usual_way() -> None:
    assert moves(*USUAL) == {"forward": 3}
    assert moves(*USUAL, ("won", "negotiation")) == {"forward": 3}
    found = deals(stages(*USUAL), T, T + MICRO, T + 10 * DAY, T + 15 * DAY, columns=["stage", "stage_recency_days"])
    assert found == [(None, None), ("qualified", MICRO / DAY), ("qualified", 10), ("needs", 5)]


def test_stage_skipped() -> None:
    assert moves(("qualified", None), ("quoted", "qualified")) == {"forward": 1, "skipping": 1}


def test_stage_revisited() -> None:
    steps = [*USUAL[:3], ("needs", "quoted"), ("quoted", "needs")]
    assert moves(*steps) == {"forward": 3, "back": 1}
    found = deals(stages(*steps), T + 25 * DAY, T + 35 * DAY, columns=["stage", "stage_moves_back_n_ever"])
    assert found == [("quoted", 0), ("needs", 1)]


def test_stage_renamed_has_no_place_on_the_way() -> None:
    """A name that the process does not know is shown as it is; moves to it and from it go nowhere."""
    steps = [("qualified", None), ("Pilot", "qualified"), ("quoted", "Pilot")]
    assert moves(*steps) == {}
    assert deals(stages(*steps), T + 15 * DAY, columns=["stage"]) == [("Pilot",)]


def test_reopened_after_closing() -> None:
    steps = [*USUAL[:2], ("lost", "needs"), ("negotiation", "lost"), ("won", "negotiation")]
    assert moves(*steps) == {"forward": 1, "back": 1, "reopened": 1}
    tables = {
        "opportunities": [deal(created_at=T, closed_at=T + 40 * DAY, outcome="won", account_id="A0")],
        "accounts": [account()],
        "changes": numbered("changes", stages(*steps)),
    }
    found = build_features(make_crm(**tables), at(T + 25 * DAY, T + 35 * DAY, END, entity="account"))
    assert values(found, "deals_closed_n_ever") == [0, 0, 1]  # only the final closing has a date in the table
    assert values(found, "deals_open_n") == [1, 1, 0]


def test_created_already_closed() -> None:
    tables = {
        "opportunities": [deal(created_at=T, closed_at=T, outcome="won", account_id="A0", amount_at_creation=5.0)],
        "accounts": [account()],
        "changes": numbered("changes", [of_deal("stage", 0, "won"), of_deal("owner_id", 0, "R0")]),
        "reps": [rep()],
    }
    crm = make_crm(**tables)
    own = build_features(crm, at(T + MICRO, entity="opportunity"))
    assert values(own, "stage") == ["won"]
    assert not set(MOVES) & set(own)
    company = build_features(crm, at(T, T + MICRO, entity="account"))
    assert values(company, "deals_open_n") == [0, 0]
    assert values(company, "wins_n_ever") == [0, 1]
    assert values(company, "wins_amount_sum_ever") == [0, 5]
    assert values(company, "cycle_days_mean_365d") == [None, 0]
    owner = build_features(crm, at(T, T + MICRO, entity="rep"))
    assert values(owner, "deals_open_n") == [0, 0]
    assert values(owner, "wins_n_90d") == [0, 1]


def test_closed_before_it_was_entered_is_known_from_the_entry_on() -> None:
    tables = {
        "opportunities": [deal(created_at=T, closed_at=T - 3 * DAY, outcome="lost", account_id="A0")],
        "accounts": [account()],
        "changes": numbered("changes", [of_deal("owner_id", 0, "R0"), of_deal("owner_id", -5, "R1")]),
        "reps": [rep(), rep("R1")],
    }
    crm = make_crm(**tables)
    found = build_features(crm, at(T - DAY, T, T + MICRO, entity="account"))
    assert values(found, "deals_closed_n_ever") == [0, 0, 1]
    assert values(found, "deals_open_n") == [0, 0, 0]
    assert values(build_features(crm, at(END, entity="rep")), "deals_open_n") == [0]
    former = build_features(crm, at(T - DAY, T, END, entity="rep", who="R1"))
    assert values(former, "deals_open_n") == [1, 1, 0]
    assert values(former, "closings_n_90d") == [0, 0, 0]  # 97 and more days ago at the last date
    assert values(build_features(crm, at(T + DAY, entity="rep", who="R1")), "closings_n_90d") == [1]


def test_merged_deal_leaves_events_that_are_counted_and_never_used_for_another() -> None:
    rows = [contact(T + DAY, opportunity_id="O0"), contact(T + DAY, opportunity_id="gone"), contact(T, lead_id="L0")]
    crm = make_crm(opportunities=[deal(created_at=T)], interactions=numbered("interactions", rows))
    found = build_features(crm, at(END, entity="opportunity"))
    assert values(found, "interactions_n_ever") == [1]
    counted = event_accounts(crm, "opportunity").set_index("events").loc["interactions"]
    assert counted[["total", "used", "unknown_entity", "without_entity"]].tolist() == [3, 1, 1, 1]


def test_amount_and_currency_changed() -> None:
    """Amounts are EUR: a change of the currency field alone moves no amount."""
    log = [
        of_deal("amount", 0, "100"),
        of_deal("amount", 10, "120.5", "100"),
        of_deal("currency", 20, "USD", "EUR"),
        of_deal("amount", 30, "90", "120.5"),
        of_deal("amount", 40, "much", "90"),
    ]
    columns = ["amount", "amount_growth", "amount_moves_up_n_ever", "amount_moves_down_n_ever"]
    dates = (T, T + 10 * DAY, T + 25 * DAY, T + 35 * DAY, T + 45 * DAY)
    found = deals(log, *dates, columns=columns)
    assert found == [(None, None, 0, 0), (100, 1, 0, 0), (120.5, 1.205, 1, 0), (90, 0.9, 1, 1), (90, 0.9, 1, 1)]


def test_expected_closing_moved() -> None:
    log = [
        of_deal("expected_close_at", 0, "2024-03-01"),
        of_deal("expected_close_at", 10, "2024-04-01T00:00:00", "2024-03-01"),
        of_deal("expected_close_at", 20, "2024-03-31T23:00:00+00:00", "2024-04-01T00:00:00"),
        of_deal("expected_close_at", 30, "2024-04-01T01:00:00+02:00", "2024-03-31T23:00:00+00:00"),
    ]
    columns = ["expected_close_days", "close_date_moves_later_n_ever", "close_date_moves_earlier_n_ever"]
    found = deals(log, T + DAY, T + 15 * DAY, T + 25 * DAY, T + 35 * DAY, columns=columns)
    hour = 1 / 24
    assert found == [(59, 0, 0), (76, 1, 0), (66 - hour, 1, 1), (56 - hour, 1, 1)]


def test_quote_before_creation() -> None:
    quotes = [
        {"quote_id": "Q1", "opportunity_id": "O0", "sent_at": T - 5 * DAY, "amount": 90.0, "discount_rate": 0.1},
        {"quote_id": "Q2", "opportunity_id": "O0", "sent_at": T + 5 * DAY, "amount": 80.0, "revision": 2},
    ]
    columns = ["quotes_n_30d", "quotes_n_ever", "quotes_recency_days", "quotes_since_first_days"]
    columns += ["quote_amount", "quote_discount", "quote_over_amount", "age_days"]
    found = deals([], T + DAY, T + 26 * DAY, columns=columns, quotes=quotes)
    assert found == [(1, 1, 6, 6, 90, 0.1, 0.9, 1), (1, 2, 21, 31, 80, 0.1, 0.8, 26)]


# Owners and teams


@pytest.fixture
def handed_over() -> Crm:
    """A deal and a lead that pass from R0 of the north to R1 of the south, who later moves north; both end."""
    log = [
        of_rep("team", -50, "north"),
        of_rep("team", -50, "south", "R1"),
        of_deal("owner_id", 0, "R0"),
        of_deal("owner_id", 20, "R1", "R0"),
        of_rep("team", 30, "north", "R1"),
        change("owner_id", T, "R0"),
        change("owner_id", T + 20 * DAY, None, "R0"),
        of_deal("amount", 39, "250", "100"),
        of_deal("amount", 41, "999", "250"),
    ]
    return make_crm(
        opportunities=[deal(created_at=T, closed_at=T + 40 * DAY, outcome="won", amount_at_creation=100.0)],
        leads=[lead(created_at=T, converted_at=T + 25 * DAY)],
        changes=numbered("changes", log),
        reps=[rep(), rep("R1")],
    )


def track(crm: Crm, entity: str, who: str, columns: list[str]) -> list[tuple]:
    """Features of a rep or team on days 10, 20 (still the old owner), 35 and 50."""
    found = build_features(crm, at(*(T + d * DAY for d in (10, 20, 35, 50)), entity=entity, who=who))
    return list(zip(*(values(found, c) for c in columns), strict=True))


def test_owner_changed(handed_over: Crm) -> None:
    found = build_features(handed_over, at(T, T + DAY, T + 20 * DAY, T + 21 * DAY, entity="opportunity"))
    assert values(found, "owner_id") == [None, "R0", "R0", "R1"]
    assert values(found, "owner_changes_n_ever") == [0, 1, 1, 2]
    assert values(found, "owner_team") == [None, "north", "north", "south"]
    assert values(found, "owner_deals_open_n") == [None, 1, 1, 1]
    leads = build_features(handed_over, at(T + 10 * DAY, T + 21 * DAY))
    assert values(leads, "owner_id") == ["R0", None]  # nobody owns it any more


def test_what_is_open_goes_with_the_owner(handed_over: Crm) -> None:
    columns = ["deals_open_n", "deals_taken_n_90d", "leads_open_n", "closings_n_90d"]
    assert track(handed_over, "rep", "R0", columns) == [(1, 1, 1, 0), (1, 1, 1, 0), (0, 1, 0, 0), (0, 1, 0, 0)]
    assert track(handed_over, "rep", "R1", columns) == [(0, 0, 0, 0), (0, 0, 0, 0), (1, 1, 0, 0), (0, 1, 0, 1)]


def test_closing_belongs_to_the_owner_of_that_instant_with_the_amount_of_that_instant(handed_over: Crm) -> None:
    columns = ["wins_n_90d", "wins_amount_sum_90d", "cycle_days_mean_90d", "win_rate_90d"]
    nothing = (0, 0, None, None)
    assert track(handed_over, "rep", "R1", columns) == [nothing] * 3 + [(1, 250, 40, 1)]
    assert track(handed_over, "rep", "R0", columns) == [nothing] * 4


def test_team_is_that_of_the_time(handed_over: Crm) -> None:
    """The south took the deal over, its owner moved north, and the north won it."""
    columns = ["deals_taken_n_90d", "deals_open_n", "wins_n_90d"]
    assert track(handed_over, "team", "north", columns) == [(1, 1, 0), (1, 1, 0), (1, 0, 0), (1, 0, 1)]
    assert track(handed_over, "team", "south", columns) == [(0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 0, 0)]


def test_lead_that_nobody_owns_ends_for_nobody(handed_over: Crm) -> None:
    found = build_features(handed_over, at(END, entity="rep"))
    assert not [c for c in found if c.startswith(("conversion", "lead_to_opportunity"))]


def test_contract_status_of_a_rep() -> None:
    log = [of_rep("contract_status", 0, "trial"), of_rep("contract_status", 30, "permanent")]
    crm = make_crm(reps=[rep(role="field", experience=3.0)], changes=numbered("changes", log))
    found = build_features(crm, at(T + DAY, T + 40 * DAY, entity="rep"))
    assert values(found, "contract_status") == ["trial", "permanent"]
    assert values(found, "contract_recency_days") == [1, 10]
    assert values(found, "role") == ["field", "field"]


# Customers


def customer(*dates: object, **tables: list[dict]) -> pd.DataFrame:
    """Features of account A0."""
    rows = {name: numbered(name, [{"account_id": "A0"} | r for r in some]) for name, some in tables.items()}
    return build_features(make_crm(accounts=[account()], **rows), at(*dates, entity="account"))


def test_contract_renewed_then_ended() -> None:
    contracts = [
        {"started_at": T, "term_end_at": T + 30 * DAY, "annual_value": 1000.0, "kind": "new", "ended_at": T + 30 * DAY}
        | {"end_reason": "renewed"},
        {"started_at": T + 30 * DAY, "term_end_at": T + 60 * DAY, "annual_value": 1200.0, "kind": "renewal"}
        | {"ended_at": T + 50 * DAY, "end_reason": "churned"},
    ]
    dates = [T + d * DAY for d in (0, 10, 30, 31, 51)]
    found = customer(*dates, contracts=contracts)
    assert values(found, "contracts_active_n") == [0, 1, 1, 1, 0]
    assert values(found, "annual_contract_value") == [0, 1000, 1000, 1200, 0]
    assert values(found, "contract_kind") == [None, "new", "new", "renewal", "renewal"]
    assert values(found, "term_end_days") == [None, 20, 0, 29, 9]
    assert values(found, "renewals_n_ever") == [0, 0, 0, 1, 1]
    assert values(found, "contracts_churned_n_ever") == [0, 0, 0, 0, 1]


def test_invoices_due_paid_late_paid_early_and_credited() -> None:
    invoices = [
        {"issued_at": T, "due_at": T + 30 * DAY, "paid_at": T + 40 * DAY, "amount": 100.0, "cost": 60.0},
        {"issued_at": T, "due_at": T + 30 * DAY, "paid_at": T + 10 * DAY, "amount": 50.5, "cost": 20.0},
        {"issued_at": T + DAY, "due_at": T + 31 * DAY, "paid_at": None, "amount": 7.25, "cost": None},
        {"issued_at": T + 2 * DAY, "due_at": None, "paid_at": None, "amount": -50.5, "cost": -20.0},
    ]
    dates = [T + d * DAY for d in (1, 20, 35, 45)]
    found = customer(*dates, invoices=invoices)
    assert values(found, "invoices_n_30d") == [2, 4, 0, 0]
    assert values(found, "invoices_amount_sum_ever") == [150.5, 107.25, 107.25, 107.25]
    assert values(found, "invoices_margin_sum_365d") == [70.5, 40, 40, 40]
    assert values(found, "margin_rate_365d") == [70.5 / 150.5, 40 / 107.25, 40 / 107.25, 40 / 107.25]
    assert values(found, "overdue_n") == [0, 0, 2, 1]
    assert values(found, "overdue_amount") == [0, 0, 107.25, 7.25]
    assert values(found, "payments_days_late_mean_ever") == [None, -20, -20, -5]
    assert values(found, "payments_on_time_mean_365d") == [None, 1, 1, 0.5]
    assert values(found, "paid_late_n_365d") == [0, 0, 0, 1]


def test_paid_before_it_was_issued_is_known_once_issued() -> None:
    invoices = [{"issued_at": T, "due_at": T + 30 * DAY, "paid_at": T - 5 * DAY, "amount": 100.0}]
    found = customer(T - DAY, T, T + MICRO, T + 40 * DAY, invoices=invoices)
    assert values(found, "payments_days_late_mean_ever") == [None, None, -35, -35]
    assert values(found, "overdue_n") == [0, 0, 0, 0]


def test_tickets_from_opening_to_solution() -> None:
    tickets = [
        {"opened_at": T, "severity": "high", "escalated_at": T + DAY, "closed_at": T + 2 * DAY, "csat": 2.0},
        {"opened_at": T + 5 * DAY, "severity": "low", "closed_at": None},
    ]
    found = customer(*(T + d * DAY for d in (0.5, 1.5, 3, 6)), tickets=tickets)
    assert values(found, "tickets_open_n") == [1, 1, 0, 1]
    assert values(found, "escalations_n_90d") == [0, 1, 1, 1]
    assert values(found, "tickets_high_n_90d") == [1, 1, 1, 1]
    assert values(found, "solution_hours_mean_90d") == [None, None, 48, 48]
    assert values(found, "tickets_csat_mean_90d") == [None, None, 2, 2]


def test_answers_to_surveys() -> None:
    surveys = [
        {"answered_at": T, "kind": "nps", "score": 6.0},
        {"answered_at": T + DAY, "kind": "nps", "score": 9.0},
        {"answered_at": T + 2 * DAY, "kind": "csat", "score": 5.0},
        {"answered_at": T + 3 * DAY, "kind": "nps", "score": None},
    ]
    found = customer(T + 0.5 * DAY, T + 5 * DAY, surveys=surveys)
    assert values(found, "nps") == [6, 9]
    assert values(found, "nps_recency_days") == [0.5, 2]
    assert values(found, "nps_score_mean_365d") == [6, 7.5]
    assert values(found, "promoters_n_ever") == [0, 1]
    assert values(found, "detractors_n_365d") == [1, 1]


def test_use_of_the_product_counts_when_its_day_was_complete() -> None:
    usage = [
        {"account_id": "A0", "day": T + d * DAY, "known_at": T + (d + 1) * DAY, "logins": d, "minutes": 1.5}
        for d in (0, 1, 2)
    ]
    crm = make_crm(accounts=[account()], usage=usage)
    found = build_features(crm, at(T + DAY, T + DAY + MICRO, T + 3 * DAY + MICRO, entity="account"))
    assert values(found, "usage_n_7d") == [0, 1, 3]
    assert values(found, "logins_logins_sum_7d") == [0, 0, 3]
    assert values(found, "usage_minutes_sum_30d") == [0, 1.5, 4.5]
