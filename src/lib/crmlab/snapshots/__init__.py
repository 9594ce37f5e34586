"""What was open on a date, and what became of it within the horizon: leads, opportunities, accounts, reps.

One row per (entity, as_of) while the entity is open: strictly after its beginning, and not strictly after its end. The
label looks the other way: strictly after `as_of` and within `horizon_days`. A label is *mature* when its whole window
has passed by the end of what the study may see; otherwise it is censored and never counted as a failure. What happens
at the very instant of `as_of` is neither visible nor ahead: that row stays, censored.

=============  ==============================================  =====================================================
entity         open                                            the label within the horizon
=============  ==============================================  =====================================================
lead           from creation to conversion or giving up        it converts
opportunity    from creation to closing; not between a         it is won (by its last closing)
               closing and its reopening
account        while a contract is active                      its last active contract ends as `churned`
(customer)     in a source without contracts: for              no invoice is sent to it
               `horizon_days` after an invoice
rep            from hiring to leaving                          it wins more deals than in as many days before
=============  ==============================================  =====================================================
"""

from .build import build_snapshots
from .censoring import censoring_table
from .current import open_rows
from .grid import open_snapshots, snapshot_dates
from .labels import label_snapshots
from .question import (
    ENTITY_WORDS,
    EVERY,
    LABELS,
    Question,
    as_entity,
    check_question,
    entity_of,
    nouns_of,
    outcome_words,
)
from .timeline import Timeline

__all__ = [
    "ENTITY_WORDS",
    "EVERY",
    "LABELS",
    "Question",
    "Timeline",
    "as_entity",
    "build_snapshots",
    "censoring_table",
    "check_question",
    "entity_of",
    "label_snapshots",
    "nouns_of",
    "open_rows",
    "open_snapshots",
    "outcome_words",
    "snapshot_dates",
]
