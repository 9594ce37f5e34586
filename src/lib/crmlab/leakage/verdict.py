"""The verdict of all probes together: what a gate may stop on, and what a reader is told."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

__all__ = ["LeakVerdict", "leak_verdict"]


@dataclass(frozen=True)
class LeakVerdict:
    """Whether anything leaks, as far as it was looked at.

    Attributes
    ----------
    passed : no column is flagged as a leak. Doubtful columns do not stop anything; a person should look at them.
    proven : at least one value was computed again without its future; False where rows have no dates.
    flagged : columns that leak, by any probe.
    doubtful : columns that a person should look at.
    reasons : one sentence per flagged column, or per doubtful one after these.
    n_checked : values computed again.
    """

    passed: bool
    proven: bool
    flagged: tuple[str, ...]
    doubtful: tuple[str, ...]
    reasons: tuple[str, ...]
    n_checked: int
    _lines: tuple[tuple[str, str, str], ...] = ()

    def table(self) -> pd.DataFrame:
        """Return one row per probe: check, checked (what it looked at), found."""
        return pd.DataFrame(list(self._lines), columns=["check", "checked", "found"])


def leak_verdict(
    truncation: pd.DataFrame | None = None,
    permuted: pd.DataFrame | None = None,
    suspicion: pd.DataFrame | None = None,
    *,
    refused: pd.DataFrame | None = None,
) -> LeakVerdict:
    """Join the probes' tables into one verdict.

    Parameters
    ----------
    truncation, permuted : of `truncation_table` and `permuted_future_table`; a single changed value is a leak.
    suspicion : of `suspicion_table`; its verdict `leak` stops, `doubtful` is only told.
    refused : columns that were not made features (`crmlab.features.refused_columns`): told, they flag nothing.
    """
    proofs = {"without the future": truncation, "with another future": permuted}
    moved = {name: _changed(table) for name, table in proofs.items() if table is not None}
    suspect = suspicion if suspicion is not None else pd.DataFrame(columns=["column", "verdict", "explanation"])
    suspect = suspect.assign(explanation=suspect["column"].astype("str") + ": " + suspect["explanation"].astype("str"))
    leaks, doubts = (suspect[suspect["verdict"] == v] for v in ("leak", "doubtful"))
    flagged = _unique([*(c for names in moved.values() for c in names), *leaks["column"]])
    doubtful = _unique(c for c in doubts["column"] if c not in flagged)
    reasons = [f"{c}: its values change when computed {how}." for how, names in moved.items() for c in names]
    reasons += [*leaks["explanation"], *doubts.loc[doubts["column"].isin(doubtful), "explanation"]]
    n_checked = sum(_n_values(table) for table in proofs.values() if table is not None)
    lines = [_proof_line(how, table) for how, table in proofs.items() if table is not None]
    lines += [] if suspicion is None else [_suspicion_line(suspicion, list(leaks["column"]), list(doubts["column"]))]
    lines += [] if refused is None else [_refused_line(refused)]
    return LeakVerdict(not flagged, n_checked > 0, flagged, doubtful, tuple(reasons), n_checked, tuple(lines))


def _changed(table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the features that changed; a change without a name is flagged as such."""
    named = _unique(
        c for names in table.get("changed_features", pd.Series(dtype="str")) for c in names.split(", ") if c
    )
    return named or (("a feature",) if table["changed"].sum() else ())


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _n_values(table: pd.DataFrame) -> int:
    return int((table["rows"] * table["features"]).sum())


def _proof_line(how: str, table: pd.DataFrame) -> tuple[str, str, str]:
    if not _n_values(table):
        return (f"computed again {how}", "nothing: the rows have no dates", "nothing can be proven")
    changed, names = int(table["changed"].sum()), _changed(table)
    found = f"{changed:,} changed: {_some(names)}" if changed else "not one changed"
    return (f"computed again {how}", f"{_n_values(table):,} values on {len(table)} dates", found)


def _suspicion_line(table: pd.DataFrame, leaks: list[str], doubts: list[str]) -> tuple[str, str, str]:
    parts = [f"{word}: {_some(names)}" for word, names in (("leaks", leaks), ("doubtful", doubts)) if names]
    return ("values that seem to know the outcome", f"{len(table):,} columns", "; ".join(parts) or "nothing suspect")


def _refused_line(refused: pd.DataFrame) -> tuple[str, str, str]:
    names = list(refused["column"])
    return ("columns without the history needed", f"{len(names):,} refused", _some(names) or "none")


def _some(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
