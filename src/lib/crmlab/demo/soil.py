"""Plant the dirt of `dirt.RATES` in the tables of a block, and write it down."""

import numpy as np
import pandas as pd

from .dirt import RATES, Ledger
from .frames import as_text, history
from .notes import HOSTILE, notes

__all__ = [
    "note_interactions",
    "soil_accounts",
    "soil_interactions",
    "soil_invoices",
    "soil_leads",
    "soil_notes",
    "soil_opportunities",
]

_LATE_DAYS, _EARLY_DAYS, _EDIT_DAYS = 12, 20, 20
_OPEN_STEPS = np.array(("call back", "send brochure", "arrange visit", "wait for budget"), dtype=object)
_ERROR_FACTOR = 1_000.0  # a company entered with three zeros too many
_NOTE_RATE = 0.45


def soil_accounts(accounts: pd.DataFrame, ledger: Ledger, rng: np.random.Generator) -> pd.DataFrame:
    """Return the accounts with missing values, outliers and hostile names."""
    accounts = _with_gaps(accounts, "accounts", ("industry", "employees"), ledger, rng)
    accounts = _with_outliers(accounts, "accounts", ledger, rng)
    hostile = ledger.draw("hostile_text", "accounts", accounts["account_id"], True, rng)
    return accounts.assign(name=accounts["name"].mask(hostile, _hostile(len(accounts), rng)))


def soil_leads(
    leads: pd.DataFrame,
    duplicate: np.ndarray,
    n_contacts: np.ndarray,
    *,
    start: np.datetime64,
    ledger: Ledger,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the leads with gaps, spellings, outliers, impossible times, and fields edited after the close.

    Parameters
    ----------
    duplicate : which rows repeat an earlier one; they are only written down here.
    n_contacts : number of interactions of each lead, from which the CRM computes its own score.
    start : nothing is moved before this time.
    """
    ledger.note("duplicate_lead", "leads", leads["lead_id"][duplicate], len(leads))
    leads = _with_gaps(leads, "leads", ("industry", "employees", "region", "source"), ledger, rng)
    leads = _with_outliers(leads, "leads", ledger, rng)
    spelt = ledger.draw("source_spelling", "leads", leads["lead_id"], leads["source"].notna(), rng)
    leads = leads.assign(source=leads["source"].mask(spelt, _misspelt(leads["source"], rng)))
    early = leads["disqualified_at"].notna() & (leads["created_at"] >= start + np.timedelta64(31, "D"))
    early = ledger.draw("disqualified_before_created", "leads", leads["lead_id"], early, rng)
    before = leads["created_at"] - pd.to_timedelta(rng.integers(1, 31, len(leads)), unit="D")
    leads = leads.assign(disqualified_at=leads["disqualified_at"].mask(early, before.astype("datetime64[us]")))
    return _with_leaks(leads, n_contacts, ledger, rng)


def _with_gaps(
    frame: pd.DataFrame, table: str, columns: tuple[str, ...], ledger: Ledger, rng: np.random.Generator
) -> pd.DataFrame:
    key = frame.iloc[:, 0]
    gaps = {column: ledger.draw(f"missing_{column}", table, key, True, rng) for column in columns}
    return frame.assign(**{column: frame[column].mask(gap) for column, gap in gaps.items()})


def _with_outliers(frame: pd.DataFrame, table: str, ledger: Ledger, rng: np.random.Generator) -> pd.DataFrame:
    chosen = ledger.draw("outlier_employees", table, frame.iloc[:, 0], frame["employees"].notna(), rng)
    return frame.assign(employees=frame["employees"].mask(chosen, frame["employees"] * _ERROR_FACTOR))


def _misspelt(source: pd.Series, rng: np.random.Generator) -> pd.Series:
    forms = (source.str.lower(), source.str.upper(), source + " ", source.str.replace(" ", "_").str.lower() + " ")
    chosen = np.choose(rng.integers(0, len(forms), len(source)), [form.to_numpy(object) for form in forms])
    return pd.Series(chosen, dtype="str")


def _hostile(n: int, rng: np.random.Generator) -> pd.Series:
    return pd.Series(np.array(HOSTILE, dtype=object)[rng.integers(0, len(HOSTILE), n)], dtype="str")


def _with_leaks(leads: pd.DataFrame, n_contacts: np.ndarray, ledger: Ledger, rng: np.random.Generator) -> pd.DataFrame:
    """Add the CRM's own score and the next step: both hold today's value, which was edited after the close."""
    n, closed, won = len(leads), leads["status"].isin(["converted", "disqualified"]), leads["status"] == "converted"
    score = np.clip(np.round(15 + 14 * np.log1p(n_contacts) + 9 * rng.standard_normal(n)), 0, 89)
    edited = ledger.draw("crm_score_edited_after_close", "leads", leads["lead_id"], won, rng)
    step = np.where(rng.random(n) < 0.5, _OPEN_STEPS[rng.integers(0, 4, n)], None)
    late = ledger.draw("next_step_edited_after_close", "leads", leads["lead_id"], closed, rng)
    step = np.where(late, np.where(won, "prepare offer", "none"), step)
    score = np.where(edited, rng.integers(90, 101, n), score).astype(float)
    return leads.assign(crm_score=score, x_next_step=pd.array(step, dtype="str"))


def soil_opportunities(
    deals: pd.DataFrame, end: np.datetime64, ledger: Ledger, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the deals with fields edited after the close, and the changes that these edits leave behind."""
    n, won = len(deals), deals["outcome"] == "won"
    edited_at = deals["closed_at"] + pd.to_timedelta(rng.integers(1, _EDIT_DAYS, n), unit="D")
    lost = (deals["outcome"] == "lost") & (deals["closed_at"] + np.timedelta64(_EDIT_DAYS, "D") < end)
    emptied = ledger.draw("amount_edited_after_close", "opportunities", deals["opportunity_id"], lost, rng)
    rows = np.flatnonzero(emptied)
    changes = _edits(deals["opportunity_id"], rows, deals["amount"], edited_at)
    step = np.where(rng.random(n) < 0.5, _OPEN_STEPS[rng.integers(0, 4, n)], None)
    late = ledger.draw("next_step_edited_after_close", "opportunities", deals["opportunity_id"], won, rng)
    step = pd.array(np.where(late, "plan installation", step), dtype="str")
    return deals.assign(amount=deals["amount"].mask(emptied, 0.0), x_next_step=step), changes


def _edits(ids: pd.Series, rows: np.ndarray, amount: pd.Series, edited_at: pd.Series) -> pd.DataFrame:
    """Return the change to an amount of nothing; the value before is known from the deal's own history."""
    at = edited_at.to_numpy(dtype="datetime64[us]")[rows]
    edits = history("opportunity", ids, "amount", row=rows, at=at, value=as_text(np.zeros(len(rows))))
    return edits.assign(old_value=pd.array(as_text(amount.to_numpy()[rows]), dtype="str"))


def soil_interactions(
    log: pd.DataFrame,
    created_at: pd.Series,
    *,
    start: np.datetime64,
    end: np.datetime64,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the log with calls entered days later and some leads' first contact dated before the lead.

    `created_at` gives the creation time by lead_id. Four columns mark the rows for `note_interactions`.
    """
    call = (log["type"] == "call") & (log["ts"] < end - np.timedelta64(_LATE_DAYS + 2, "D"))
    late = call.to_numpy() & (rng.random(len(log)) < RATES["call_logged_late", "interactions"])
    delay = pd.to_timedelta((rng.uniform(1, _LATE_DAYS, len(log)) * 86_400).astype(np.int64), unit="s")
    first = log["lead_id"].notna() & ~log.sort_values("ts", kind="stable").duplicated("lead_id").sort_index()
    begun = log["lead_id"].map(created_at)
    first &= begun >= start + np.timedelta64(_EARLY_DAYS + 1, "D")
    early = first.to_numpy() & (rng.random(len(log)) < RATES["interaction_before_lead", "interactions"])
    before = begun - pd.to_timedelta(rng.integers(1, _EARLY_DAYS + 1, len(log)), unit="D")
    return log.assign(
        known_at=log["known_at"].mask(late, log["ts"] + delay).astype("datetime64[us]"),
        ts=log["ts"].mask(early, before).astype("datetime64[us]"),
        late=late,
        early=early,
        may_be_late=call,
        may_be_early=first,
    )


def note_interactions(log: pd.DataFrame, ledger: Ledger) -> None:
    """Write down the dirt of a log that has its numbers."""
    for kind, mark in (("call_logged_late", "late"), ("interaction_before_lead", "early")):
        ids = log.loc[log[mark], "interaction_id"]
        ledger.note(kind, "interactions", ids, int(log[f"may_be_{mark}"].sum()))


def soil_invoices(
    invoices: pd.DataFrame, start: np.datetime64, ledger: Ledger, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the invoices with some payments dated before the invoice."""
    eligible = invoices["paid_at"].notna() & (invoices["issued_at"] >= start + np.timedelta64(41, "D"))
    wrong = ledger.draw("paid_before_issued", "invoices", invoices["invoice_id"], eligible, rng)
    before = invoices["issued_at"] - pd.to_timedelta(rng.integers(1, 41, len(invoices)), unit="D")
    return invoices.assign(paid_at=invoices["paid_at"].mask(wrong, before.astype("datetime64[us]")))


def soil_notes(
    frame: pd.DataFrame,
    table: str,
    people: pd.DataFrame,
    language: np.ndarray,
    ledger: Ledger,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the leads or deals with notes; `people` holds the contact of each row.

    Half of the notes name the person; a few leads carry hostile text instead.
    """
    key = frame.iloc[:, 0]
    written = rng.random(len(frame)) < _NOTE_RATE
    personal = ledger.draw("personal_data_in_notes", table, key, written, rng)
    text = pd.Series(notes(people, language, written=written, personal=personal, rng=rng), dtype="str")
    if table == "leads":
        text = text.mask(ledger.draw("hostile_text", table, key, ~personal, rng), _hostile(len(frame), rng))
    return frame.assign(notes=text)
