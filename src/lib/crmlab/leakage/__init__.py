"""Does anything from the future reach a feature? Proofs by computing again, and a probe of the values themselves."""

from .future import misleading_future
from .history import history_table
from .plants import PLANTS, Plant, plant, planted_leak_table
from .proofs import permuted_future_table, truncation_table
from .suspicion import VERDICTS, suspicion_table
from .verdict import LeakVerdict, leak_verdict

__all__ = [
    "PLANTS",
    "VERDICTS",
    "LeakVerdict",
    "Plant",
    "history_table",
    "leak_verdict",
    "misleading_future",
    "permuted_future_table",
    "plant",
    "planted_leak_table",
    "suspicion_table",
    "truncation_table",
]
