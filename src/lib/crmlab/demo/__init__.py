"""The demo CRM: a simulated B2B firm whose every probability, skill and effect is known exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pandas as pd

from crmlab.schema import ParameterError

from .frames import join
from .simulation import BLOCK_LEADS, simulate_blocks
from .truth import Truth

__all__ = ["DemoCrm", "Truth", "iter_crm", "make_crm"]


@dataclass(frozen=True)
class DemoCrm:
    """A whole demo CRM: its canonical tables by name, and the truth about them."""

    tables: dict[str, pd.DataFrame]
    truth: Truth


def make_crm(*, n_leads: int, seed: int, start: str = "2022-01-03", end: str = "2025-01-06") -> DemoCrm:
    """Return a demo CRM of `n_leads` leads created in [start, end), extracted at `end`; see `iter_crm`.

    Examples
    --------
    >>> crm = make_crm(n_leads=200, seed=1)
    >>> len(crm.tables["leads"])
    200
    >>> next_day = crm.tables["leads"]["created_at"].iloc[:1] + pd.Timedelta("1D")
    >>> crm.truth.p_convert(["L000001"], next_day, horizon_days=90).shape
    (1,)
    """
    pieces: dict[str, list[pd.DataFrame]] = {}
    for name, frame in iter_crm(n_leads=n_leads, seed=seed, start=start, end=end):
        pieces.setdefault(name, []).append(frame)
    tables = {name: join(frames) for name, frames in pieces.items()}
    return DemoCrm({name: frame for name, frame in tables.items() if name[:6] != "truth_"}, Truth.read(tables))


def iter_crm(
    *, n_leads: int, seed: int, start: str = "2022-01-03", end: str = "2025-01-06", chunk_leads: int = 20_000
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the demo CRM in pieces: canonical tables and `truth_…` tables, several pieces each, in canonical types.

    Parameters
    ----------
    n_leads : number of rows of `leads`, duplicates included.
    seed : the same seed, size and period give the same values, whatever `chunk_leads` is.
    start, end : ISO dates; every event lies in [start, end), only reps may have been hired before. What is open at
        `end` stays open.
    chunk_leads : leads per piece, in whole blocks of 4,000; memory grows with it and not with `n_leads`.

    Raises
    ------
    ParameterError : an impossible size, seed or period.
    """
    _check(n_leads=n_leads, seed=seed, chunk_leads=chunk_leads)
    _check_period(start, end)
    blocks_per_piece = max(1, chunk_leads // BLOCK_LEADS)
    gathered: list[dict[str, pd.DataFrame]] = []
    for tables in simulate_blocks(n_leads=n_leads, seed=seed, start=start, end=end):
        gathered.append(tables)
        if len(gathered) == blocks_per_piece:
            yield from _pieces(gathered)
            gathered = []
    yield from _pieces(gathered)


def _pieces(gathered: list[dict[str, pd.DataFrame]]) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in dict.fromkeys(name for tables in gathered for name in tables):
        yield name, join([tables[name] for tables in gathered if name in tables])


def _check(**counts: int) -> None:
    for name, value in counts.items():
        least = 0 if name == "seed" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ParameterError(f"`{name}` must be a whole number of at least {least}.", found=repr(value))


def _check_period(start: str, end: str) -> None:
    try:
        first, last = date.fromisoformat(start), date.fromisoformat(end)
    except (TypeError, ValueError):
        raise ParameterError(
            "`start` and `end` must be ISO dates such as 2022-01-03.", found=f"{start!r} and {end!r}"
        ) from None
    if not (date(1990, 1, 1) <= first < last <= date(2080, 1, 1)):
        raise ParameterError("The demo's period must run forwards, between 1990 and 2080.", found=f"{start} to {end}")
