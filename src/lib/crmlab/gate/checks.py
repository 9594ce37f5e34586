"""The single checks of the gate: each with its value, its bound, whether it was passed, and words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crmlab.leakage import LeakVerdict
from crmlab.metrics import bootstrap_weights, calibration_error, log_loss_difference
from crmlab.models import FLOORS

from .champion import ChampionTest
from .thresholds import Thresholds

__all__ = [
    "Check",
    "Evidence",
    "calibration_check",
    "calibration_error_beyond_chance",
    "champion_check",
    "floor_checks",
    "leak_check",
    "learned_check",
    "outcome_checks",
    "outcome_counts",
]

_BINS = 10
_Z = 1.959963984540054


@dataclass(frozen=True)
class Check:
    """One line of a verdict.

    Attributes
    ----------
    name : what was checked.
    value, low, high : what was found and its 95 % interval; NaN where it is no number.
    threshold : bound; NaN where it is none.
    passed : None where it could not be checked and does not have to be.
    words : what was found, in a sentence.
    missing : what would be needed to pass; empty where nothing is known to help.
    """

    name: str
    value: float
    threshold: float
    passed: bool | None
    words: str
    low: float = float("nan")
    high: float = float("nan")
    missing: str = ""


@dataclass(frozen=True)
class Evidence:
    """What was measured on the test rows, and what was trained on.

    Attributes
    ----------
    y, groups : outcome (0 or 1) and entity of each test row. y_train, groups_train : of each training row.
    counted, counted_train : rows of entities with enough stage history; None where the source has none.
    predictions : model → probabilities of the test rows.
    chosen : model that is to be published.
    unavailable : floor → why this source cannot have it.
    """

    y: np.ndarray
    groups: np.ndarray
    y_train: np.ndarray
    groups_train: np.ndarray
    predictions: Mapping[str, np.ndarray]
    chosen: str
    thresholds: Thresholds
    seed: int
    counted: np.ndarray | None = None
    counted_train: np.ndarray | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)

    @property
    def p(self) -> np.ndarray:
        """Probabilities of the chosen model."""
        return self.predictions[self.chosen]

    def resampled(self) -> dict[str, int]:
        """Number of resamples and seed, as keyword arguments."""
        return {"n": self.thresholds.n_bootstrap, "seed": self.seed}


def outcome_counts(y: np.ndarray, groups: np.ndarray, counted: np.ndarray | None = None) -> tuple[int, int]:
    """Return how many entities had the outcome in some row, and how many in none.

    >>> outcome_counts(np.array([0, 1, 0, 0]), np.array(["a", "a", "b", "c"]))
    (1, 2)
    """
    keep = np.ones(len(y), dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    converted = pd.Series(np.asarray(y)[keep]).groupby(np.asarray(groups)[keep]).max()
    return int(converted.sum()), int(len(converted) - converted.sum())


def outcome_checks(evidence: Evidence) -> list[Check]:
    """Entities with and without the outcome on both sides of the split."""
    sides = {
        "train": (evidence.y_train, evidence.groups_train, evidence.counted_train),
        "test": (evidence.y, evidence.groups, evidence.counted),
    }
    return [_outcome_check(side, evidence.thresholds, *rows) for side, rows in sides.items()]


def _outcome_check(
    side: str, thresholds: Thresholds, y: np.ndarray, groups: np.ndarray, counted: np.ndarray | None
) -> Check:
    having, lacking = outcome_counts(y, groups, counted)
    fewest, needed = min(having, lacking), thresholds.min_outcomes
    history = (
        f", of those with at least {thresholds.min_history_rows} stages noted while open" if counted is not None else ""
    )
    words = f"{having:,} entities with the outcome and {lacking:,} without{history}; {needed} of each are needed."
    kind = "with" if having <= lacking else "without"
    missing = f"{needed - fewest:,} more entities {kind} the outcome in the {side} part" if fewest < needed else ""
    return Check(f"enough outcomes to {side} on", fewest, needed, fewest >= needed, words, missing=missing)


def learned_check(evidence: Evidence) -> Check:
    """A floor is no learned model."""
    learned = evidence.chosen not in {*evidence.thresholds.floors, *FLOORS}
    words = f"{evidence.chosen} was chosen inside the training rows" + ("." if learned else ": nothing was learned.")
    missing = "" if learned else "features that tell more than the floor does"
    return Check("a learned model was chosen", float("nan"), float("nan"), learned, words, missing=missing)


def floor_checks(evidence: Evidence) -> list[Check]:
    """Log loss below that of every floor, by the paired interval."""
    return [_floor_check(evidence, floor) for floor in evidence.thresholds.floors]


def _floor_check(evidence: Evidence, floor: str) -> Check:
    name = f"log loss below {floor}"
    if floor not in evidence.predictions and floor in evidence.unavailable:
        words = f"This source cannot have it: {evidence.unavailable[floor]}."
        return Check(name, float("nan"), 0.0, None, words)
    if floor not in evidence.predictions:
        words = "It was not measured, though the thresholds name it."
        return Check(name, float("nan"), 0.0, False, words, missing=f"the predictions of {floor} on the test rows")
    pair = (evidence.y, evidence.p, evidence.predictions[floor], evidence.groups)
    value, low, high = log_loss_difference(*pair, **evidence.resampled())
    words = f"{value:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}; all of it has to be below 0."
    return Check(name, value, 0.0, high < 0, words, low, high, _missing_outcomes(evidence, floor, (value, low, high)))


def _missing_outcomes(evidence: Evidence, floor: str, estimate: tuple[float, float, float]) -> str:
    """How many more outcomes until an effect of this size would stand clear of 0: the error falls with their root."""
    value, low, high = estimate
    if high < 0:
        return ""
    error = (high - low) / (2 * _Z)
    if value >= 0 or error == 0:
        return f"features that tell more than {floor} does: more cases of the same kind would not help"
    having, _ = outcome_counts(evidence.y, evidence.groups)
    more = int(np.ceil(having * ((_Z * error / value) ** 2 - 1)))
    return f"about {max(more, 1):,} more entities with the outcome in the test part, if the lead over {floor} stays"


def calibration_check(evidence: Evidence) -> Check:
    """Calibration error within its bound, by itself or after the part that chance alone brings."""
    y, p, groups = evidence.y, evidence.p, evidence.groups
    value, bound = calibration_error(y, p), evidence.thresholds.max_calibration_error
    samples = [calibration_error(y, p, w) for w in bootstrap_weights(groups, **evidence.resampled())]
    low, high = (float(q) for q in np.quantile(samples, [0.025, 0.975]))
    beyond = calibration_error_beyond_chance(y, p, groups)
    words = (
        f"{value:.3f}, 95 % interval {low:.3f} to {high:.3f}; as root mean square {beyond:.3f} beyond what chance "
        f"brings to a perfectly calibrated model on as many entities. One of the two has to be at most {bound:g}."
    )
    passed = min(value, beyond) <= bound
    missing = "" if passed else "a calibration fitted on newer rows; probabilities are off by more than is allowed"
    return Check("calibration error", value, bound, passed, words, low, high, missing)


def calibration_error_beyond_chance(y: np.ndarray, p: np.ndarray, groups: np.ndarray, *, bins: int = _BINS) -> float:
    """Root mean square gap between predicted and observed share over bins of equal size, without its variance.

    A calibrated model's plain error is not 0 in a finite sample. Here the variance of each bin's gap, clustered by
    entity, is taken off its square, which makes the square unbiased (after Bröcker 2012; Kumar, Liang & Ma 2019); a
    negative rest counts as 0.
    """
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins))
    cells = pd.DataFrame({"bin": np.searchsorted(edges, p, side="left"), "entity": groups, "gap": p - y, "n": 1})
    sums = cells.groupby(["bin", "entity"])[["gap", "n"]].sum()
    total = sums.groupby("bin").transform("sum")
    mean = total["gap"] / total["n"]
    of_bin = sums.index.get_level_values("bin")
    entities = sums.groupby("bin")["n"].transform("size")
    # Sandwich variance of a ratio, with the usual correction for few clusters.
    parts = ((sums["gap"] - mean * sums["n"]) / total["n"]) ** 2 * entities / (entities - 1).clip(lower=1)
    square = (mean.groupby(of_bin).first() ** 2 - parts.groupby(of_bin).sum()).to_numpy()
    share = sums.groupby("bin")["n"].sum().to_numpy() / len(p)
    return float(np.sqrt(max(0.0, share @ square)))


def leak_check(leaks: LeakVerdict | None) -> Check:
    """No column flagged as a leak; not to have looked is a failure."""
    nan = float("nan")
    if leaks is None:
        return Check("no leak flagged", nan, 0.0, False, "Not checked.", missing="the leak checks of 02")
    n = len(leaks.flagged)
    words = "Not one column is flagged" if leaks.passed else f"{n} flagged: {', '.join(leaks.flagged[:6])}"
    proof = (
        f"{leaks.n_checked:,} values computed again without the future" if leaks.proven else "without dates no proof"
    )
    missing = "" if leaks.passed else "the same study without these columns"
    return Check("no leak flagged", n, 0.0, leaks.passed, f"{words}; {proof}.", missing=missing)


def champion_check(evidence: Evidence, champions: Sequence[ChampionTest]) -> Check:
    """Not worse than the best of the models published earlier, on rows that neither has seen."""
    name, margin, nan = "not worse than the best ever", evidence.thresholds.non_inferiority_margin, float("nan")
    measured = [(c, _against(evidence, c)) for c in champions if _enough(evidence, c)]
    if not measured:
        why = next((c.note for c in champions if c.note), "too few test rows are newer than their training")
        words = f"Models published earlier cannot be compared: {why}." if champions else "Nothing was published before."
        return Check(name, nan, margin, None, words)
    # The best ever is the one that the challenger looks worst against: against all others it then holds as well.
    best, (value, low, high) = max(measured, key=lambda pair: pair[1][2])
    words = (
        f"{value:+.4f} against {best.model_id}, 95 % interval {low:+.4f} to {high:+.4f}, on "
        f"{int(best.fair.sum()):,} rows that neither had seen; {len(measured)} of {len(champions)} earlier models "
        f"could be measured. The interval has to end below {margin:+g}."
    )
    passed = high <= margin
    return Check(name, value, margin, passed, words, low, high, "" if passed else "a model as good as the best ever")


def _enough(evidence: Evidence, champion: ChampionTest) -> bool:
    if not champion.fair.any():
        return False
    counts = outcome_counts(evidence.y[champion.fair], evidence.groups[champion.fair])
    return min(counts) >= evidence.thresholds.min_outcomes


def _against(evidence: Evidence, champion: ChampionTest) -> tuple[float, float, float]:
    fair = champion.fair
    pair = (evidence.y[fair], evidence.p[fair], champion.p[fair], evidence.groups[fair])
    return log_loss_difference(*pair, **evidence.resampled())
