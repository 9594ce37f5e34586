"""Opening a test window: the thresholds go into the log first, and whoever changes them later is seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crmlab.registry import Entry, Registry

from .thresholds import TestWindow, Thresholds

__all__ = ["THRESHOLDS", "VERDICT", "OpenedWindow", "open_window"]

THRESHOLDS = "thresholds"
VERDICT = "verdict"


@dataclass(frozen=True)
class OpenedWindow:
    """A test window with the thresholds that were written down for it.

    Attributes
    ----------
    window, thresholds : as written down.
    number, sha256 : entry of the log that holds them, and its hash.
    tampered : other thresholds had been written, and a verdict reached, before; nothing can pass then.
    notes : what the log says about these thresholds, in sentences.
    """

    registry: Registry = field(repr=False)
    window: TestWindow
    thresholds: Thresholds
    number: int
    sha256: str
    tampered: bool
    notes: tuple[str, ...]


def open_window(
    registry: Registry, *, thresholds: Thresholds, window: TestWindow, context: Mapping[str, object]
) -> OpenedWindow:
    """Write the thresholds into the log, before anything is measured on the window.

    With the thresholds that are there already nothing is written. The first verdict on a window fixes its thresholds:
    others are written down all the same, but are marked as tampered with, unless they only add floors. So are
    thresholds that are easier to reach than those of a verdict on a window with dates in common, since its rows have
    been looked at.

    Parameters
    ----------
    context : where the call comes from, such as code version, data fingerprint, run; for the record only.

    Raises
    ------
    RunError : the log is broken.
    """
    notes = _notes(registry, thresholds, window)
    rewritten = [
        e for e in registry.log.entries(THRESHOLDS)
        if window.is_same(e.content["window"]) and e.content["digest"] != thresholds.digest
    ]  # fmt: skip
    content = {"window": window.record(), "thresholds": thresholds.record(), "digest": thresholds.digest}
    entry = registry.log.append_once(THRESHOLDS, content, context=context)
    if rewritten and not notes:
        numbers = ", ".join(str(e.number) for e in rewritten)
        said = f"Other thresholds stand in the log for this window (entry {numbers}); none of them had a verdict."
        if any(window.is_same(e.content["window"]) for e in registry.log.entries(VERDICT)):
            said = f"There are more floors to beat than in entry {numbers}; all else is as it was."
        return OpenedWindow(registry, window, thresholds, entry.number, entry.sha256, False, (said,))
    return OpenedWindow(registry, window, thresholds, entry.number, entry.sha256, bool(notes), notes)


def _notes(registry: Registry, thresholds: Thresholds, window: TestWindow) -> tuple[str, ...]:
    """Return what is wrong with these thresholds, given the verdicts that have been reached; empty when nothing is."""
    honest = [e for e in registry.log.entries(VERDICT) if not e.content["tampered"]]
    same = [e for e in honest if window.is_same(e.content["window"])]
    if same and not thresholds.only_adds_floors(same[0].content["thresholds"]):
        return (_changed(same[0], thresholds),)
    others = [e for e in honest if e not in same and window.overlaps(e.content["window"])]
    eased = [(e, names) for e in others if (names := thresholds.loosened(e.content["thresholds"]))]
    return tuple(
        f"{', '.join(names)} became easier to reach after the verdict of entry {e.number}, whose test window "
        f"({e.content['window']['test_start'] or 'undated'} on) has rows in common with this one."
        for e, names in eased[-1:]
    )


def _changed(verdict: Entry, thresholds: Thresholds) -> str:
    now, then = thresholds.record(), verdict.content["thresholds"]
    moved = [f"{name} from {then.get(name)} to {now[name]}" for name in now if now[name] != then.get(name)]
    return (
        f"The thresholds were changed after this test window had its verdict (entry {verdict.number}): "
        f"{'; '.join(moved)}."
    )
