"""Verdicts in sentences."""

from .verdict import Verdict

__all__ = ["verdict_sentence"]


def verdict_sentence(verdict: Verdict) -> str:
    """Return the verdict with its figures, its reservations, and what is missing."""
    loss, base = verdict.figure("log loss"), verdict.figure("log loss", "base rate")
    measured = (
        f"log loss {loss['value']:.4f} ({loss['low']:.4f} to {loss['high']:.4f}) on {len(verdict.evidence.y):,} rows, "
        f"the base rate {base['value']:.4f}"
    )
    if verdict.passed:
        may = f"{verdict.chosen} passed the gate and may be published as {verdict.published_as}: {measured}."
        return " ".join([may, *verdict.reservations, _looks(verdict)]).strip()
    needed = f" Needed: {'; '.join(verdict.missing)}." if verdict.missing else ""
    said = f"Not enough evidence to publish {verdict.chosen} ({measured}). {' '.join(verdict.reasons)}{needed}"
    return f"{said} {_looks(verdict)}".strip()


def _looks(verdict: Verdict) -> str:
    n = verdict.looks
    return (
        f"These test rows were judged {n} {'time' if n == 1 else 'times'} before with other predictions." if n else ""
    )
