"""The work that every way does: three Parquet files in, one matrix of 69 features out.

log.parquet    lead_id int32, ts timestamp[us], type (dictionary), duration float32 minutes; in time order. It also has
               direction and outcome, which only the way with all declared features reads
leads.parquet  lead_id int32, created_at, owner int32, closed_at (empty while open), converted bool
rows.parquet   lead_id int32, as_of timestamp[us]; ordered by lead and date

The result holds lead_id, as_of and `FEATURES`, one line per row, in any order; counts are int32, all else float64 with
missing values as NaN or null. An event is visible strictly before `as_of`; a window of w days begins w days before it.
"""

from pathlib import Path

__all__ = [
    "COLUMNS",
    "DAY",
    "FEATURES",
    "INTEGERS",
    "KEYS",
    "LEADS",
    "LOG",
    "MONDAY",
    "NAMES",
    "OWNER",
    "ROWS",
    "SERIES",
    "TYPES",
    "WEEK",
    "WINDOWS",
    "Task",
]

DAY = 86_400_000_000
"""Microseconds of a day."""
WEEK = 7 * DAY
MONDAY = 4 * DAY
"""1970-01-05, the Monday from which weeks are counted."""

COLUMNS = ("lead_id", "ts", "type", "duration")
"""The columns of the log that the 69 features need; it has `direction` and `outcome` beside them."""
LOG, LEADS, ROWS = "log.parquet", "leads.parquet", "rows.parquet"
KEYS = ("lead_id", "as_of")
WINDOWS = (7, 30, 90)
NAMES = {
    "call": "calls",
    "email_sent": "emails_sent",
    "email_open": "email_opens",
    "email_click": "email_clicks",
    "email_reply": "email_replies",
    "meeting": "meetings",
    "web_visit": "web_visits",
    "form": "forms",
}
"""The name of each type in features."""
TYPES = tuple(NAMES)
SERIES = ("interactions", *NAMES.values())
"""All interactions and those of each type."""
OWNER = (
    "owner_leads_converted_n_90d",
    "owner_leads_disqualified_n_90d",
    "owner_conversion_rate_90d",
    "owner_lead_to_opportunity_days_mean_90d",
)


def _features() -> tuple[str, ...]:
    counts = [f"{name}_n_{w}d" for name in SERIES for w in WINDOWS]
    measures = [f"interactions_{m}_{w}d" for m in ("duration_sum", "duration_mean", "days") for w in WINDOWS]
    recency = [f"{name}_recency_days" for name in SERIES]
    smoothed = [f"{name}_smoothed_weekly" for name in (*SERIES, "interactions_duration")]
    trends = [f"{name}_trend_30d_90d" for name in SERIES]
    return (*counts, *measures, *recency, *smoothed, *trends, "age_days", *OWNER)


FEATURES = _features()
INTEGERS = tuple(name for name in FEATURES if "_n_" in name or name.startswith("interactions_days_"))
"""Counts: int32 in the result."""


class Task:
    """A folder with the three files of the work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.leads, self.rows = folder / LOG, folder / LEADS, folder / ROWS
