"""Features that say nearly the same count as one reason: windows of one count, all about the owner, all about price."""

import re

import pandas as pd

__all__ = ["OWNER", "topics"]

OWNER = "who owns it and how busy the team is"
"""One reason for whatever identifies or describes the people in charge: a score explains a deal and judges nobody."""

_TOPICS = (
    (r"owner_probability", "owner's own probability"),
    (r"(.*_)?(owners?|team|reps?|agent|seller|salesperson|sales_person|account_manager)(_.*)?", OWNER),
    (r"amount(_.*)?", "amount"),
    (r"quotes?_.*", "quotes"),
    (r"stage(_.*)?", "stage"),
    (r"status(_.*)?", "status"),
    (r"expected_close_days|close_date_.*", "expected closing"),
    (r"lead_(?!to_).*", "work on its lead"),
    (r"account_(invoices|payments)_.*", "invoices and payments of the company"),
    (r"account_interactions_.*", "contact with the company"),
    (r"account_(leads|conversions|wins|losses|deals|cycles?|close|win)_.*", "history with the company"),
    (r"employees|revenue", "size of the company"),
    (r"region|country", "place"),
    (r"month|quarter_days_left", "time of the year"),
    (r"age_days|lead_to_opportunity_days|customer_days", "age"),
    (r"notes_.*", "notes"),
    (r"tag_.*", "tags"),
    (r"replies_per_email.*", "email replies"),
)
_MEASURE = re.compile(r"(.+?)_(?:n|days|sum|mean)_(?:\d+d|ever)|(.+?)_(?:recency_days|smoothed_weekly|per_week)")


def topics(features: pd.Index | list[str]) -> pd.Series:
    """Return the topic of each feature: a word or two for people, the same for features that belong together.

    >>> topics(["calls_n_7d", "calls_recency_days", "calls_reached_share_90d", "owner_id", "source"]).to_list()
    ['calls', 'calls', 'calls', 'who owns it and how busy the team is', 'source']
    """
    named = [next((topic for form, topic in _TOPICS if re.fullmatch(form, f)), None) for f in features]
    measured = [_MEASURE.fullmatch(f) for f, topic in zip(features, named, strict=True) if topic is None]
    # "calls_reached" is about "calls": the shorter name takes the longer ones in.
    stems = sorted({match[1] or match[2] for match in measured if match}, key=len)
    found = [topic or _stem(f, stems) for f, topic in zip(features, named, strict=True)]
    return pd.Series(found, index=pd.Index(features), dtype="str")


def _stem(feature: str, stems: list[str]) -> str:
    stem = next((s for s in stems if feature.startswith(f"{s}_")), feature)
    return stem.removeprefix("x_").replace("_", " ")
