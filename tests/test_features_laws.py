"""Features of random small CRMs: bit by bit those of plain loops, and functions of what was visible at each date."""

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmlab.crm import Crm
from crmlab.features import EVER, Difference, Feature, Linked, Ratio, Total, build_features, declared
from crmlab.schema import ENTITY_KEYS, TABLES, TODAY

HERE = Path(__file__)
cases = SimpleNamespace(**runpy.run_path(str(HERE.with_name("feature_cases.py"))))
reference = SimpleNamespace(**runpy.run_path(str(HERE.with_name("reference_features.py"))))
DAY, MICRO = cases.DAY, cases.MICRO
ENTITIES = tuple(ENTITY_KEYS)
FIRST = pd.Timestamp("2024-02-05")  # a Monday: a week begins at this very instant
DATES = [FIRST, FIRST + MICRO, FIRST + 7 * DAY, FIRST + 8 * DAY, FIRST + 30 * DAY, FIRST + 90 * DAY]
IDS = {"lead": ["L0", "L1", "L2"], "opportunity": ["O0", "O1"], "account": ["A0", "A1"], "rep": ["R0", "R1"]}
IDS["team"] = ["north", "south"]
edges = st.builds(
    lambda date, days, micros: date - days * DAY + micros * MICRO,
    st.sampled_from(DATES),
    st.sampled_from([0, 0, 1, 3, 7, 30, 90, 365]),
    st.sampled_from([-1, 0, 0, 1]),
)
maybe = st.none() | edges
delays = st.sampled_from([-3 * DAY, -MICRO, 0 * DAY, 0 * DAY, MICRO, 2 * DAY, 8 * DAY, 60 * DAY])
amounts = st.sampled_from([None, 0.0, 0.005, 1.0, 12.345, 99.99, 1_000_000.1])
small = st.sampled_from([None, 0.0, 0.1, 0.25, 3.0])
counts = st.sampled_from([None, 0, 1, 5])


def few(n: int) -> settings:
    """So many examples; CRMLAB_EXAMPLES multiplies them for a longer search."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=n * int(os.environ.get("CRMLAB_EXAMPLES", "1")), deadline=None, suppress_health_check=slow
    )


def whose(entity: str, unknown: str) -> st.SearchStrategy:
    """Identifiers of an entity, one that does not exist, and none."""
    return st.sampled_from([*IDS[entity], IDS[entity][0], unknown, None])


def words(*choices: str) -> st.SearchStrategy:
    """Values of a category, or none."""
    return st.sampled_from([*choices, None])


def known_ids(entity: str) -> st.SearchStrategy:
    """Identifiers that a table requires."""
    return st.sampled_from([*IDS[entity], "Z9"])


TEXTS = {
    "stage": ["qualified", "needs", "quoted", "negotiation", "won", "lost", "Pilot"],
    "amount": ["100", "100.5", "2500.075", "much"],
    "expected_close_at": ["2024-03-01", "2024-06-30T12:00:00", "2024-06-30T12:00:00+02:00", "soon"],
    "owner_id": ["R0", "R1", "R9"],
    "team": ["north", "south"],
    "status": ["new", "working"],
    "contract_status": ["permanent"],
    "owner_probability": ["0.1", "0.55"],
    "currency": ["USD", "CHF"],
}
logged = st.one_of(
    *(
        st.fixed_dictionaries(
            {
                "entity": st.just(entity),
                "entity_id": known_ids(entity),
                "field": st.just(field),
                "old_value": words(*TEXTS[field]),
                "new_value": words(*TEXTS[field]),
                "changed_at": edges,
            }
        )
        for entity, field in [
            *(("opportunity", f) for f in ("stage", "amount", "expected_close_at", "owner_probability", "currency")),
            *(("opportunity", "owner_id"), ("lead", "owner_id"), ("lead", "status"), ("rep", "team")),
            *(("rep", "team"), ("lead", "owner_id"), ("opportunity", "owner_id"), ("rep", "contract_status")),
        ]
    )
)
happened = st.builds(
    lambda ts, delay, row: row | {"ts": ts, "known_at": ts + delay},
    edges,
    delays,
    st.fixed_dictionaries(
        {
            "lead_id": whose("lead", "L9"),
            "opportunity_id": whose("opportunity", "O9"),
            "account_id": whose("account", "A9"),
            "rep_id": whose("rep", "R9"),
            "type": st.sampled_from(["call", "call", "meeting", "email_sent", "email_reply", "Webinar", "webinar!"]),
            "direction": words("in", "out"),
            "duration": st.sampled_from([None, 0.0, 0.0005, 12.3456, -5.0]),
            "outcome": words("held", "no_show", "reached", "not_reached"),
        }
    ),
)
used = st.builds(
    lambda day, delay, row: row | {"day": day.normalize(), "known_at": day.normalize() + delay},
    edges,
    delays,
    st.fixed_dictionaries(
        {
            "account_id": known_ids("account"),
            "logins": counts,
            "active_users": counts,
            "features_used": counts,
            "minutes": small,
        }
    ),
)
ROWS: dict[str, st.SearchStrategy] = {
    "accounts": st.fixed_dictionaries(
        {"created_at": maybe, "industry": words("C"), "employees": small, "customer_since": maybe}
    ),
    "contacts": st.fixed_dictionaries(
        {"account_id": whose("account", "A9"), "job_position": words("CEO", "buyer"), "created_at": maybe}
    ),
    "leads": st.fixed_dictionaries(
        {
            "created_at": maybe,
            "account_id": whose("account", "A9"),
            "source": words("web"),
            "industry": words("J"),
            "owner_id": words("R0"),
            "converted_at": maybe,
            "disqualified_at": maybe,
            "x_then": words("a"),
            "status": st.just("working"),
        }
    ),
    "opportunities": st.fixed_dictionaries(
        {
            "created_at": edges,
            "account_id": whose("account", "A9"),
            "contact_id": words("P0", "P9"),
            "lead_id": whose("lead", "L9"),
            "product": words("basic"),
            "amount_at_creation": amounts,
            "closed_at": maybe,
            "outcome": words("won", "lost"),
            "owner_id": words("R0"),
        }
    ),
    "changes": logged,
    "interactions": happened,
    "quotes": st.fixed_dictionaries(
        {
            "opportunity_id": known_ids("opportunity"),
            "sent_at": edges,
            "revision": counts,
            "amount": amounts,
            "discount_rate": small,
        }
    ),
    "contracts": st.fixed_dictionaries(
        {
            "account_id": known_ids("account"),
            "started_at": edges,
            "term_end_at": maybe,
            "annual_value": amounts,
            "kind": words("new", "renewal"),
            "ended_at": maybe,
            "end_reason": words("churned", "renewed"),
        }
    ),
    "invoices": st.fixed_dictionaries(
        {
            "account_id": known_ids("account"),
            "issued_at": edges,
            "due_at": maybe,
            "paid_at": maybe,
            "amount": amounts,
            "cost": amounts,
        }
    ),
    "usage": used,
    "tickets": st.fixed_dictionaries(
        {
            "account_id": known_ids("account"),
            "opened_at": edges,
            "severity": words("low", "high"),
            "escalated_at": maybe,
            "closed_at": maybe,
            "csat": small,
        }
    ),
    "surveys": st.fixed_dictionaries(
        {
            "account_id": known_ids("account"),
            "answered_at": edges,
            "kind": st.sampled_from(["nps", "csat"]),
            "score": st.sampled_from([None, 0.0, 6.0, 6.5, 7.0, 8.0, 9.0, 10.0]),
        }
    ),
    "reps": st.fixed_dictionaries({"hired_at": maybe, "role": words("sales"), "experience": small}),
}
OF_ENTITY = {"accounts": "account", "leads": "lead", "opportunities": "opportunity", "reps": "rep"}
TABLES_OF = {
    "lead": ("accounts", "leads", "changes", "interactions", "opportunities", "surveys", "invoices", "reps"),
    "opportunity": (
        *("accounts", "contacts", "leads", "opportunities", "changes", "changes", "interactions", "quotes", "reps"),
    ),
    "account": tuple(t for t in ROWS if t not in ("quotes", "reps")),
    "rep": ("leads", "opportunities", "changes", "changes", "interactions", "reps"),
    "team": ("leads", "opportunities", "changes", "changes", "reps"),
}


@st.composite
def studies(draw: st.DrawFn, entity: str) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Tables of a small CRM full of edge cases, and rows to ask for: any order, repeats, an index of their own."""
    drawn: dict[str, list[dict]] = {}
    for name in TABLES_OF[entity]:
        ids = IDS.get(OF_ENTITY.get(name, ""))
        most = len(ids) if ids else 12 if name == "interactions" else 6
        size = {"min_size": most if ids else 0, "max_size": most}
        drawn[name] = drawn.get(name, []) + draw(st.lists(ROWS[name], **size))
    tables = {name: identified(name, rows) for name, rows in drawn.items()}
    pairs = draw(st.lists(st.tuples(st.sampled_from(IDS[entity]), st.sampled_from(DATES)), min_size=1, max_size=6))
    rows = pd.concat([cases.at(date, entity=entity, who=who) for who, date in pairs])
    rows.index = draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    return tables, rows


def identified(name: str, rows: list[dict]) -> pd.DataFrame:
    """Rows with identifiers, in an order that is not that of the identifiers; a day of use comes once."""
    if name == "usage":
        return cases.canonical(name, list({(r["account_id"], r["day"]): r for r in rows}.values()))
    ids = IDS.get(OF_ENTITY.get(name, "")) or [f"{name[0].upper()}{(k * 7 + 3) % 11}-{k}" for k in range(len(rows))]
    if name == "contacts":
        ids = [f"P{k}" for k in range(len(rows))]
    return cases.canonical(name, [{TABLES[name].key[0]: i} | row for i, row in zip(ids, rows, strict=True)])


def expected_features(crm: Crm, rows: pd.DataFrame, declarations: tuple, windows: tuple = (7, 30, 90)) -> pd.DataFrame:
    tables = {name: crm[name] for name in TABLES}
    return reference.reference_features(tables, rows, declarations, windows, own=("x_then",))


@pytest.mark.parametrize("entity", ENTITIES)
@few(10)
@given(data=st.data(), windows=st.sampled_from([(7, 30, 90), (7,), (1, 7, 30)]), seed=st.integers(0, 999))
def test_declared_features_are_those_of_plain_loops_in_any_order(
    entity: str, data: st.DataObject, windows: tuple, seed: int
) -> None:
    """Facts and rows come in another order than the loops saw them in, and both are left as they were."""
    tables, rows = data.draw(studies(entity))
    crm = cases.as_crm(tables)
    expected = expected_features(crm, rows, declared(entity), windows)
    mixed = {name: crm[name].sample(frac=1, random_state=seed) for name in TABLES}
    before = {name: frame.copy(deep=True) for name, frame in mixed.items()}
    order = np.random.default_rng(seed).permutation(len(rows))
    asked = rows.iloc[order]
    asked_before = asked.copy(deep=True)
    found = build_features(cases.as_crm(mixed), asked, windows=windows)
    pd.testing.assert_frame_equal(found, expected.iloc[order], check_exact=True)
    pd.testing.assert_frame_equal(asked, asked_before)
    for name, frame in mixed.items():
        pd.testing.assert_frame_equal(frame, before[name])


OTHERS = {
    "lead": (
        Feature("{}_made", "interactions", "n days", each="direction", where={"type": ("call", "Meeting")}),
        Feature("long_{}", "interactions", "n sum mean recency", of="duration", each="type", where={"duration": "> 0"}),
        Feature(
            "some", "interactions", "n trend", where={"type": ("call", "fax"), "outcome": "reached"}, windows=(1, 8)
        ),
        Feature("few_{}", "interactions", each="type", where={"type": ("meeting", "webinar")}, windows=(EVER, 3)),
        Feature("talk", "interactions", "smoothed last first", of="duration"),
        Feature("held_{}", "interactions", "per_day per_week", each="outcome"),
        Feature("status_{}", "changes", "n recency", each="field", windows=(EVER,)),
        Ratio("share", "some_n_1d", "some_n_8d"),
        Difference("rest", "some_n_8d", "some_n_1d"),
        Total("sum_of", "some_n_8d", "few_meetings_n_3d"),
        Linked("company", "account", "account_id", (Feature("all", "interactions", "n last", of="duration"),)),
    ),
    "opportunity": (
        Feature(
            "moves_{}", "changes", "n first", each="move", where={"field": ("stage", "amount")}, windows=(EVER, 30)
        ),
        Feature("offer", "quotes", "n sum mean smoothed last", of="amount", where={"discount_rate": "<= 0.1"}),
        Feature("revised", "quotes", "n sum", of="revision", where={"revision": ">= 2"}, windows=(EVER, 365)),
        Feature("discount", "quotes", "sum mean", of="discount_rate"),
    ),
    "account": (
        Feature("slow", "payments", "n sum", of="days_late", where={"days_late": ">= 30"}, windows=(EVER, 90)),
        Feature("busy", "usage", "n sum smoothed", of="minutes", where={"logins": "> 0", "active_users": "< 5"}),
        Feature("score_{}", "surveys", "n mean last", of="score", each="kind", windows=(30, EVER)),
        Feature("said_{}", "surveys", "n days per_day", each="verdict"),
        Feature("ended_{}", "contract_ends", "n sum", of="annual_value", each="end_reason", windows=(EVER,)),
        Feature("people_{}", "contacts", "n", each="job_position", windows=(EVER,)),
        Feature("deal_{}", "opportunities", "n sum", of="amount_at_creation", each="product"),
        Feature("from_{}", "leads", "n recency", each="source"),
        Feature("help", "ticket_closings", "mean sum", of="hours", where={"csat": "< 1"}),
    ),
}


@pytest.mark.parametrize("entity", list(OTHERS))
@few(10)
@given(data=st.data(), windows=st.sampled_from([(7, 30, 90), (7,), (30, 1, 7)]))
def test_any_declaration_is_that_of_plain_loops(entity: str, data: st.DataObject, windows: tuple) -> None:
    tables, rows = data.draw(studies(entity))
    crm = cases.as_crm(tables)
    expected = expected_features(crm, rows, OTHERS[entity], windows)
    found = build_features(crm, rows, features=OTHERS[entity], windows=windows)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def begun(crm: Crm, rows: pd.DataFrame) -> pd.Series:
    """Rows of what was in the CRM by then: nobody looks at anything earlier."""
    key = rows.columns[0]
    entity = next(e for e, k in ENTITY_KEYS.items() if k == key)
    if entity == "team":
        return pd.Series(True, index=rows.index)
    table = next(t for t, e in OF_ENTITY.items() if e == entity)
    start = crm[table].set_index(key)[TABLES[table].known_at]
    return rows[key].map(start) < rows["as_of"]


def same_bits(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal bits; a feature that one of them has not, because its source has no such fact, must say nothing."""
    shared = [c for c in expected if c in found]
    pd.testing.assert_frame_equal(found[shared], expected[shared], check_exact=True)
    only_once = [found.drop(columns=shared), expected.drop(columns=shared)]
    for frame in only_once:
        assert (frame.isna() | frame.eq(0)).all(axis=None), frame.T


@pytest.mark.parametrize("entity", ENTITIES)
@few(4)
@given(data=st.data())
def test_deleting_everything_at_or_after_a_date_changes_no_bit_of_its_rows(entity: str, data: st.DataObject) -> None:
    tables, rows = data.draw(studies(entity))
    crm = cases.as_crm(tables)
    rows = rows[begun(crm, rows).to_numpy()]
    date = data.draw(st.sampled_from(sorted(rows["as_of"]) or DATES))
    here = (rows["as_of"] == date).to_numpy()
    cut = crm.cut(as_of=date)
    deleted = cases.as_crm({name: cut[name] for name in TABLES})
    expected = build_features(crm, rows)[here]
    pd.testing.assert_frame_equal(build_features(cut, rows[here]), expected, check_exact=True)
    same_bits(build_features(deleted, rows[here]), expected)


def another_future(crm: Crm, date: pd.Timestamp, random: np.random.Generator) -> Crm:
    """The same CRM up to a date; after it other things happen to others, and everything of today is something else."""
    tables = {name: crm[name].copy() for name in TABLES}
    for name, frame in tables.items():
        spec, old = TABLES[name], crm[name]
        for column in spec.columns:
            if column.name in spec.key or frame.empty:
                continue
            known = spec.known_at if column.known == TODAY else column.known
            hidden = ~((old[known] < date) & (old[spec.known_at] < date)) | (column.known == TODAY)
            frame[column.name] = frame[column.name].mask(hidden, other_values(old, column, date, random, spec.known_at))
    return cases.as_crm(tables)


def other_values(
    old: pd.DataFrame, column: object, date: pd.Timestamp, random: np.random.Generator, known_at: str
) -> pd.Series:
    """Values in place of those that are not known yet; a time that says when something is known stays in the future."""
    if column.kind == "time" and column.name in (column.known, known_at):
        later = random.choice([0, 0, 1, 10**6, 10**12], len(old))
        return pd.Series(date + pd.to_timedelta(later, unit="us"), index=old.index).astype("datetime64[us]")
    return pd.Series(random.permutation(old[column.name].array), index=old.index, dtype=old[column.name].dtype)


@pytest.mark.parametrize("entity", ENTITIES)
@few(6)
@given(data=st.data(), seed=st.integers(0, 999))
def test_another_future_changes_no_bit(entity: str, data: st.DataObject, seed: int) -> None:
    tables, rows = data.draw(studies(entity))
    crm = cases.as_crm(tables)
    rows = rows[begun(crm, rows).to_numpy()]
    date = rows["as_of"].max() if len(rows) else DATES[0]
    other = another_future(crm, date, np.random.default_rng(seed))
    same_bits(build_features(other, rows), build_features(crm, rows))


@pytest.mark.parametrize("entity", ENTITIES)
@few(3)
@given(data=st.data())
def test_one_row_gives_what_it_gives_among_many(entity: str, data: st.DataObject) -> None:
    tables, rows = data.draw(studies(entity))
    crm = cases.as_crm(tables)
    k = data.draw(st.integers(0, len(rows) - 1))
    one, batch = build_features(crm, rows.iloc[[k]]), build_features(crm, rows)
    pd.testing.assert_frame_equal(one, batch.iloc[[k]], check_exact=True)
