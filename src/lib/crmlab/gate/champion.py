"""Models published earlier, measured on the rows of today's test that neither they nor the challenger had seen."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmlab.registry import PublishedModel, Registry
from crmlab.schema import DataError, RunError

__all__ = ["ChampionTest", "champion_tests"]

_MOST = 5


@dataclass(frozen=True)
class ChampionTest:
    """An earlier model's predictions of today's test rows.

    Attributes
    ----------
    model_id : of the published model; its tested twin is what is measured.
    p : probabilities, shape (rows,); NaN where `fair` is False.
    fair : rows after its training had ended and the labels seen in it were settled, shape (rows,).
    note : why it cannot be measured at all; empty otherwise.
    """

    model_id: str
    p: np.ndarray
    fair: np.ndarray
    note: str = ""


def champion_tests(
    registry: Registry, X: pd.DataFrame, *, order: np.ndarray, gap_days: int = 0, most: int = _MOST
) -> list[ChampionTest]:
    """Predict today's test rows with the models published earlier, as far as each of them may be tested there.

    The tested twins are used: their training ended earlier than that of the models which give the scores. Of many, the
    newest one and those that were furthest ahead of the base rate in their own verdicts are measured.

    Parameters
    ----------
    X : features of the test rows.
    order : date or running number of each row, as in the training spans of the models' meta (`train.to`).
    gap_days : days between the newest training row and the first fair row; with dates only.
    most : earlier models to load.
    """
    return [_test(p, X, order, gap_days) for p in _strongest(registry.publications(), most)]


def _strongest(publications: list[PublishedModel], most: int) -> list[PublishedModel]:
    distinct = list({p.tested_id: p for p in publications}.values())
    newest, older = distinct[-1:], distinct[:-1]
    # A share of the base rate's loss, because base rates differ from window to window.
    older.sort(key=lambda p: p.content["log_loss"] / p.content["base_log_loss"])
    return newest + older[: max(most - 1, 0)]


def _test(published: PublishedModel, X: pd.DataFrame, order: np.ndarray, gap_days: int) -> ChampionTest:
    nothing = np.full(len(X), np.nan), np.zeros(len(X), dtype=bool)
    try:
        ended = published.tested_meta["train"]["to"]
        fair = _after(np.asarray(order), ended, gap_days)
        p = nothing[0].copy()
        if fair.any():
            p[fair] = published.load_tested().predict_proba(X.loc[fair])[:, 1]
    except (RunError, DataError) as error:
        return ChampionTest(published.model_id, *nothing, f"it cannot be measured: {error.problem}")
    return ChampionTest(published.model_id, p, fair)


def _after(order: np.ndarray, ended: object, gap_days: int) -> np.ndarray:
    if ended is None:
        return np.zeros(len(order), dtype=bool)
    if order.dtype.kind == "M":
        return order >= np.datetime64(pd.Timestamp(ended) + pd.Timedelta(days=max(gap_days, 1)))
    return order > float(ended)
