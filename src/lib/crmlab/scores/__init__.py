"""Scores that people act on: percent, bands, reasons to doubt them, their history, and files for other programs."""

from .bands import (
    BANDS,
    CLOSED_WON,
    GRADES,
    MIN_CONTACTS,
    CutPoints,
    Priority,
    absolute_grade,
    band_table,
    contact_priority,
    percent,
)
from .build import closed_won, deal_values, margin_ranking, score_rows
from .effort import EffortHistory, learn_effort
from .export import Export, export_scores, read_csv_export
from .history import ScoreHistory
from .overrides import disagreements, who_was_right, with_overrides
from .sentences import (
    band_sentence,
    change_sentence,
    effort_sentence,
    margin_sentence,
    override_sentence,
    scores_sentence,
    scores_tone,
    wrong_data_sentence,
)
from .study import Changes, Scoring, score_open
from .views import (
    band_view,
    call_view,
    change_view,
    disagreement_view,
    effort_view,
    formats_of,
    margin_view,
    past_band_view,
    right_view,
    wrong_data_view,
)
from .wrong_data import SIGNS, find_signs, wrong_data_list

__all__ = [
    "BANDS",
    "CLOSED_WON",
    "GRADES",
    "MIN_CONTACTS",
    "SIGNS",
    "Changes",
    "CutPoints",
    "EffortHistory",
    "Export",
    "Priority",
    "ScoreHistory",
    "Scoring",
    "absolute_grade",
    "band_sentence",
    "band_table",
    "band_view",
    "call_view",
    "change_sentence",
    "change_view",
    "closed_won",
    "contact_priority",
    "deal_values",
    "disagreement_view",
    "disagreements",
    "effort_sentence",
    "effort_view",
    "export_scores",
    "find_signs",
    "formats_of",
    "learn_effort",
    "margin_ranking",
    "margin_sentence",
    "margin_view",
    "override_sentence",
    "past_band_view",
    "percent",
    "read_csv_export",
    "right_view",
    "score_open",
    "score_rows",
    "scores_sentence",
    "scores_tone",
    "who_was_right",
    "with_overrides",
    "wrong_data_list",
    "wrong_data_sentence",
    "wrong_data_view",
]
