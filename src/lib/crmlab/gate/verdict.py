"""The verdict: all checks together, what it says, and what would be needed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crmlab.leakage import LeakVerdict
from crmlab.metrics import bootstrap_metrics
from crmlab.registry import plain
from crmlab.schema import NotEnoughEvidence, ParameterError

from .champion import ChampionTest
from .checks import (
    Check,
    Evidence,
    calibration_check,
    champion_check,
    floor_checks,
    leak_check,
    learned_check,
    outcome_checks,
)
from .opening import VERDICT, OpenedWindow

__all__ = ["AS_FINAL", "AS_PROBABILITY", "Verdict", "judge"]

AS_PROBABILITY = "probability"
AS_FINAL = "final status, an upper bound"
_BASE = "base rate"
_MOST_RESAMPLES = 200


@dataclass(frozen=True)
class Verdict:
    """Whether a model may be published, and why.

    Attributes
    ----------
    passed : every check that applies was passed.
    checks : check, value, low, high, threshold, passed (None: does not apply or cannot be checked), words, missing.
    reasons : one sentence per failed check.
    reservations : what holds the verdict back although it passed.
    missing : what would be needed, per failed check where it is known.
    published_as : "probability"; or "final status, an upper bound" where features may know more than a live CRM would.
    chosen : model judged.
    looks : sets of predictions that were judged on this window before this one.
    opened : window and thresholds.
    predictions_digest : hash of what was judged.
    """

    passed: bool
    checks: pd.DataFrame
    reasons: tuple[str, ...]
    reservations: tuple[str, ...]
    missing: tuple[str, ...]
    published_as: str
    chosen: str
    looks: int
    opened: OpenedWindow
    predictions_digest: str
    evidence: Evidence = field(repr=False)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """`metrics.bootstrap_metrics` of the chosen model and the floors, with differences from the base rate."""
        judged, evidence = _judged(self.evidence), self.evidence
        # Six metrics of several models: fewer resamples than for the checks, where the ends decide.
        n = min(self.opened.thresholds.n_bootstrap, _MOST_RESAMPLES)
        return bootstrap_metrics(evidence.y, judged, evidence.groups, reference=_BASE, n=n, seed=evidence.seed)

    @property
    def outcome(self) -> str:
        """The verdict in two or three words."""
        if not self.passed:
            return "not enough evidence"
        return "passed with reservation" if self.reservations else "passed"

    def table(self) -> pd.DataFrame:
        """Return one row per check for reading: check, passed (yes, no or –), found."""
        words = {True: "yes", False: "no", None: "–"}
        said = [words[passed] for passed in self.checks["passed"]]
        return pd.DataFrame({"check": self.checks["check"], "passed": said, "found": self.checks["words"]})

    def figure(self, metric: str, model: str | None = None) -> dict[str, float]:
        """Return value, low and high of a metric of the chosen model, or of another one."""
        table = self.metrics.set_index(["metric", "model"])
        return {k: float(v) for k, v in table.loc[(metric, model or self.chosen), ["value", "low", "high"]].items()}

    def record(self) -> dict[str, object]:
        """Return what goes into the log: plain values, no clock."""
        loss = self.figure("log loss")
        parts = {
            "as_of": self.opened.window.as_of,
            "window": self.opened.window.record(),
            "thresholds": self.opened.thresholds.record(),
            "digest": self.opened.thresholds.digest,
            "opened": self.opened.number,
            "tampered": self.opened.tampered,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "reservations": list(self.reservations),
            "missing": list(self.missing),
            "published_as": self.published_as,
            "chosen": self.chosen,
            "log_loss": loss["value"],
            "log_loss_low": loss["low"],
            "log_loss_high": loss["high"],
            "base_log_loss": self.figure("log loss", _BASE)["value"],
            "checks": self.checks.drop(columns="words").to_dict("records"),
            "predictions": self.predictions_digest,
        }
        return plain(parts)


def judge(
    opened: OpenedWindow,
    *,
    y: np.ndarray,
    groups: np.ndarray,
    y_train: np.ndarray,
    groups_train: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    chosen: str,
    leaks: LeakVerdict | None,
    seed: int,
    champions: Sequence[ChampionTest] = (),
    label: str = "within_horizon",
    unavailable: Mapping[str, str] | None = None,
    counted: np.ndarray | None = None,
    counted_train: np.ndarray | None = None,
) -> Verdict:
    """Hold what was measured on an opened window against its thresholds.

    Parameters
    ----------
    y, groups : outcome (0 or 1) and entity of each test row, shape (rows,).
    y_train, groups_train : of each training row.
    predictions : model → probabilities of the test rows: the chosen one, the floors, and any others, but no oracle.
    chosen : model that was chosen inside the training rows.
    leaks : of `leakage.leak_verdict`; None fails, because nobody looked.
    champions : of `champion_tests`.
    label : final_status passes with a reservation at most: nobody knows how things stood before they ended.
    unavailable : floor → why this source cannot have it, such as no probability entered by owners.
    counted, counted_train : entities with at least `min_history_rows` rows of stage history while open; only they
        count as outcomes then. None where the source has no history.

    Raises
    ------
    NotEnoughEvidence : one outcome only on a side.
    ParameterError : sizes that do not fit the window, or a chosen model without predictions.
    """
    y, y_train = np.asarray(y).astype("float64"), np.asarray(y_train).astype("float64")
    _check_input(opened, y, y_train, predictions, chosen)
    evidence = Evidence(
        y, np.asarray(groups), y_train, np.asarray(groups_train), predictions, chosen, opened.thresholds, seed,
        counted, counted_train, unavailable or {},
    )  # fmt: skip
    checks = [
        *outcome_checks(evidence),
        *_time_checks(opened),
        learned_check(evidence),
        *floor_checks(evidence),
        calibration_check(evidence),
        leak_check(leaks),
        champion_check(evidence, champions),
        _untouched_check(opened),
    ]
    return _verdict(opened, evidence, checks, label)


def _check_input(opened: OpenedWindow, y: np.ndarray, y_train: np.ndarray, predictions: Mapping, chosen: str) -> None:
    if missing := {chosen, _BASE} - set(predictions):
        raise ParameterError("The gate needs predictions of these models.", found=f"none of {', '.join(missing)}")
    wrong = [name for name, p in predictions.items() if np.shape(p) != y.shape or not np.isfinite(p).all()]
    if wrong or len(y) != opened.window.n_rows:
        raise ParameterError(
            "Outcomes and predictions must be those of the rows of the opened window, one finite number a row.",
            found=f"{opened.window.n_rows:,} rows opened, {len(y):,} outcomes; wrong: {', '.join(wrong) or 'none'}",
            remedy="open the window of the split that the models were measured on.",
        )
    for side, outcomes in (("training", y_train), ("test", y)):
        if len(np.unique(outcomes)) < 2:
            raise NotEnoughEvidence(
                f"There is only one kind of outcome in the {side} part: nothing can be judged.",
                found=f"{len(outcomes):,} rows, all {'with' if outcomes.any() else 'without'} the outcome",
                remedy="bring more history, or choose a horizon in which both happen.",
            )


def _time_checks(opened: OpenedWindow) -> list[Check]:
    if opened.window.split != "random" or not opened.thresholds.out_of_time:
        return []
    words = "The test rows were drawn by lot, so nothing is known about newer ones."
    missing = "dates, or a running number, that put the rows in order"
    return [Check("tested on newer rows", float("nan"), float("nan"), False, words, missing=missing)]


def _untouched_check(opened: OpenedWindow) -> Check:
    words = " ".join(opened.notes) or f"Written down in entry {opened.number} before anything was measured."
    missing = "a test window that nobody has looked at, or the thresholds as they were" if opened.tampered else ""
    nan = float("nan")
    return Check("thresholds untouched", nan, nan, not opened.tampered, words, missing=missing)


def _verdict(opened: OpenedWindow, evidence: Evidence, checks: list[Check], label: str) -> Verdict:
    failed = [c for c in checks if c.passed is False]
    digest = _digest(evidence.y, _judged(evidence))
    return Verdict(
        passed=not failed,
        checks=_frame(checks),
        reasons=tuple(f"{c.name[0].upper()}{c.name[1:]}: no. {c.words}" for c in failed),
        reservations=_reservations(opened, label),
        missing=tuple(c.missing for c in failed if c.missing),
        published_as=AS_FINAL if label == "final_status" else AS_PROBABILITY,
        chosen=evidence.chosen,
        looks=_looks(opened, digest),
        opened=opened,
        predictions_digest=digest,
        evidence=evidence,
    )


def _judged(evidence: Evidence) -> dict[str, np.ndarray]:
    """The chosen model, the base rate and the floors."""
    names = dict.fromkeys([evidence.chosen, _BASE, *evidence.thresholds.floors])
    return {name: np.asarray(evidence.predictions[name]) for name in names if name in evidence.predictions}


def _frame(checks: list[Check]) -> pd.DataFrame:
    names = ["check", "value", "low", "high", "threshold", "passed", "words", "missing"]
    rows = [(c.name, c.value, c.low, c.high, c.threshold, c.passed, c.words, c.missing) for c in checks]
    frame = pd.DataFrame(rows, columns=names).drop(columns="passed")
    # As objects: with None among them pandas would otherwise turn yes and no into numbers.
    passed = pd.Series([None if c.passed is None else bool(c.passed) for c in checks], dtype="object")
    return frame.assign(passed=passed)[names]


def _reservations(opened: OpenedWindow, label: str) -> tuple[str, ...]:
    said = []
    if label == "final_status":
        said.append(
            "The source holds only how things ended: features may know more than was known while they were open, so "
            "every figure is an upper bound."
        )
    if opened.window.split == "random":
        said.append("Tested on rows drawn by lot, not on newer ones.")
    if opened.window.split == "ordered" and label != "final_status":
        said.append("Tested on newer rows by order of entry; when they were settled is not known.")
    return tuple(said)


def _looks(opened: OpenedWindow, digest: str) -> int:
    verdicts = opened.registry.log.entries(VERDICT)
    same = [e for e in verdicts if opened.window.is_same(e.content["window"])]
    return len({e.content["predictions"] for e in same} - {digest})


def _digest(y: np.ndarray, predictions: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(y).tobytes())
    for name in sorted(predictions):
        digest.update(name.encode() + b"\0")
        # Rounded: the last bits differ between processors, the verdict does not.
        digest.update(np.ascontiguousarray(np.round(np.asarray(predictions[name], dtype="float64"), 9)).tobytes())
    return digest.hexdigest()[:16]
