"""Dirt at known rates: what real CRMs are full of, planted so that its handling can be tested.

Conversion times, creation times and the outcome of deals stay right, so labels made of them are right. Impossible times
are planted only on `disqualified_at`, `interactions.ts` and `invoices.paid_at`; the truth keeps the real ones.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

__all__ = ["RATES", "Ledger"]

RATES: dict[tuple[str, str], float] = {
    ("missing_industry", "leads"): 0.06,
    ("missing_employees", "leads"): 0.12,
    ("missing_region", "leads"): 0.05,
    ("missing_source", "leads"): 0.03,
    ("source_spelling", "leads"): 0.05,
    ("outlier_employees", "leads"): 0.004,
    ("duplicate_lead", "leads"): 0.02,
    ("disqualified_before_created", "leads"): 0.01,
    ("crm_score_edited_after_close", "leads"): 0.60,
    ("next_step_edited_after_close", "leads"): 0.70,
    ("personal_data_in_notes", "leads"): 0.50,
    ("hostile_text", "leads"): 0.003,
    ("missing_industry", "accounts"): 0.04,
    ("missing_employees", "accounts"): 0.08,
    ("outlier_employees", "accounts"): 0.004,
    ("hostile_text", "accounts"): 0.002,
    ("amount_edited_after_close", "opportunities"): 0.25,
    ("next_step_edited_after_close", "opportunities"): 0.70,
    ("personal_data_in_notes", "opportunities"): 0.50,
    ("interaction_before_lead", "interactions"): 0.015,
    ("call_logged_late", "interactions"): 0.12,
    ("paid_before_issued", "invoices"): 0.012,
}
"""Kind of dirt and table → share of the eligible rows made dirty."""


@dataclass
class Ledger:
    """The account of all planted dirt: how many rows were eligible, and which were made dirty."""

    eligible: dict[tuple[str, str], int] = field(default_factory=lambda: dict.fromkeys(RATES, 0))
    planted: dict[tuple[str, str], int] = field(default_factory=lambda: dict.fromkeys(RATES, 0))
    rows: list[pd.DataFrame] = field(default_factory=list)

    def draw(self, kind: str, table: str, ids: pd.Series, eligible: object, rng: np.random.Generator) -> np.ndarray:
        """Choose rows at the kind's rate among the eligible ones, write them down and return the mask."""
        eligible = np.broadcast_to(np.asarray(eligible, dtype=bool), len(ids))
        chosen = eligible & (rng.random(len(ids)) < RATES[kind, table])
        self.note(kind, table, ids[chosen], int(eligible.sum()))
        return chosen

    def note(self, kind: str, table: str, ids: pd.Series, eligible: int) -> None:
        """Write down rows that were made dirty elsewhere."""
        self.eligible[kind, table] += eligible
        self.planted[kind, table] += len(ids)
        self.rows.append(pd.DataFrame({"kind": kind, "table": table, "row_id": np.asarray(ids, dtype=object)}))

    def dirty_rows(self) -> pd.DataFrame:
        """Return the rows written down since the last call."""
        frame = pd.concat(self.rows, ignore_index=True).astype("str")
        self.rows = []
        return frame

    def summary(self) -> pd.DataFrame:
        """Return one row per kind and table with its counts and its intended rate."""
        return pd.DataFrame(
            [(k, t, self.planted[k, t], self.eligible[k, t], rate) for (k, t), rate in RATES.items()],
            columns=["kind", "table", "rows", "eligible", "rate_intended"],
        )
