"""Train on the past, leave a gap as long as the horizon, test on the newest rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.schema import ENTITY_KEYS, DataError, NotEnoughEvidence, ParameterError
from crmlab.snapshots import entity_of, nouns_of

__all__ = [
    "MIN_OUTCOMES",
    "Split",
    "check_enough",
    "check_split",
    "check_test_share",
    "ordered_split",
    "random_split",
    "temporal_split",
]

MIN_OUTCOMES = 40
"""Fewest entities with the outcome, and fewest without, on either side of a split (as Dynamics 365 asks)."""


@dataclass(frozen=True)
class Split:
    """Positions of the rows to train and to test on; rows in neither stand in the gap or have no mature label.

    Attributes
    ----------
    name : how the rows were divided: `temporal`, `ordered` or `random`.
    train, test : integer positions into the snapshots.
    test_start : first date tested; NaT where there is none.
    gap_days : days between the newest label seen in training and `test_start`.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    test_start: pd.Timestamp = pd.NaT
    gap_days: int = 0

    def table(self, snapshots: pd.DataFrame) -> pd.DataFrame:
        """Return one row per part: from, to, rows, entities, rows with the outcome and their share."""
        mature = snapshots["mature"].to_numpy()
        neither = np.setdiff1d(np.flatnonzero(mature), np.concatenate([self.train, self.test]))
        parts = {"train": self.train, "gap (not used)": neither, "test": self.test}
        return pd.DataFrame([_part_row(name, snapshots.iloc[rows]) for name, rows in parts.items()])


def temporal_split(snapshots: pd.DataFrame, *, test_share: float, gap_days: int) -> Split:
    """Split labelled snapshots by date.

    Parameters
    ----------
    snapshots : frame with as_of, label, mature.
    test_share : share of the mature rows to test on, the newest; rows of one date stay together.
    gap_days : at least the horizon, so that every label seen in training was settled before the test begins.

    Raises
    ------
    NotEnoughEvidence : a side holds no rows.
    """
    check_test_share(test_share)
    mature = snapshots["mature"].to_numpy()
    if not mature.any():
        raise NotEnoughEvidence(
            "No label is mature: every horizon reaches past the data.",
            found=f"{len(snapshots):,} snapshots",
            remedy="choose a shorter `horizon_days` or a later `as_of`.",
        )
    dates = snapshots["as_of"]
    start = dates[mature].quantile(1 - test_share, interpolation="higher")
    train = mature & ((dates + pd.Timedelta(days=gap_days) <= start) & (dates < start)).to_numpy()
    test = mature & (dates >= start).to_numpy()
    if not train.any():
        raise NotEnoughEvidence(
            f"Nothing is left to train on before a gap of {gap_days} days.",
            found=f"mature snapshots from {dates[mature].min():%Y-%m-%d}, test from {start:%Y-%m-%d}",
            remedy="choose a smaller `test_share` or a shorter `horizon_days`, or bring more history.",
        )
    return Split("temporal", np.flatnonzero(train), np.flatnonzero(test), start, gap_days)


def ordered_split(snapshots: pd.DataFrame, order: pd.Series, *, test_share: float) -> Split:
    """Split snapshots with one row per entity by order of entry (a date or a running number): the newest are tested.

    There is no gap, because nobody knows when these labels were settled; the report has to say so.
    """
    check_test_share(test_share)
    mature = np.flatnonzero(snapshots["mature"].to_numpy())
    ranks = order.to_numpy()[mature].argsort(kind="stable")
    cut = round(len(mature) * (1 - test_share))
    return Split("ordered", np.sort(mature[ranks[:cut]]), np.sort(mature[ranks[cut:]]))


def random_split(snapshots: pd.DataFrame, *, test_share: float, seed: int) -> Split:
    """Split rows by lot, as most published work does: shown beside the temporal split, never used to decide."""
    check_test_share(test_share)
    mature = np.flatnonzero(snapshots["mature"].to_numpy())
    shuffled = np.random.default_rng(seed).permutation(mature)
    cut = round(len(mature) * (1 - test_share))
    return Split("random", np.sort(shuffled[:cut]), np.sort(shuffled[cut:]))


def check_enough(snapshots: pd.DataFrame, split: Split, *, minimum: int = MIN_OUTCOMES) -> None:
    """Check that both sides hold enough entities with the outcome and enough without.

    Raises
    ------
    NotEnoughEvidence : a side holds fewer than `minimum` of either.
    """
    entity = entity_of(snapshots)
    key, nouns = ENTITY_KEYS[entity], nouns_of(entity)
    for side, rows in (("train", split.train), ("test", split.test)):
        part = snapshots.iloc[rows]
        with_outcome = part.loc[part["label"].eq(True), key].nunique()
        others = part.loc[part["label"].eq(False), key].nunique()
        if min(with_outcome, others) < minimum:
            raise NotEnoughEvidence(
                f"Too few outcomes to {side} on: at least {minimum} {nouns.many} that {nouns.did} and {minimum} others "
                f"are needed.",
                found=f"{with_outcome} that {nouns.did} and {others} others in the {side} part",
                remedy="bring more history, choose a shorter `horizon_days` or a larger share for that part.",
            )


def check_split(snapshots: pd.DataFrame, split: Split, *, horizon_days: int) -> None:
    """Check what must hold before anything is fitted.

    Raises
    ------
    DataError : an (entity, as_of) stands twice, a row without a mature label is used, a row is on both sides, or a
        training label was settled after the test began.
    """
    key = ENTITY_KEYS[entity_of(snapshots)]
    used = np.concatenate([split.train, split.test])
    train = snapshots.iloc[split.train]
    settled = train["as_of"] + pd.Timedelta(days=horizon_days)
    laws = {
        "one row per entity and date": not snapshots.duplicated([key, "as_of"]).any(),
        "no row is on both sides": len(np.unique(used)) == len(used),
        "every row used has a mature label": bool(snapshots["mature"].to_numpy()[used].all()),
        "training labels were settled before the test began": split.test_start is pd.NaT
        or bool((settled <= split.test_start).all()),
    }
    broken = [law for law, holds in laws.items() if not holds]
    if broken:
        raise DataError("The rows do not keep what the comparison needs.", found=f"broken: {'; '.join(broken)}")


def _part_row(name: str, rows: pd.DataFrame) -> dict[str, object]:
    entity = entity_of(rows)
    nouns = nouns_of(entity)
    return {
        "part": name,
        "from": rows["as_of"].min(),
        "to": rows["as_of"].max(),
        "rows": len(rows),
        nouns.many: rows[ENTITY_KEYS[entity]].nunique(),
        nouns.did: int(rows["label"].sum()),
        "share": float(rows["label"].astype("float64").mean()) if len(rows) else np.nan,
    }


def check_test_share(test_share: float) -> None:
    """Check that a share leaves rows to train and rows to test on.

    Raises
    ------
    ParameterError : it does not lie between 0 and 1.
    """
    if not 0 < test_share < 1:
        raise ParameterError(
            "`test_share` must lie between 0 and 1.", found=str(test_share), remedy="write a share such as 0.3."
        )
