"""Rolling origins: only the settled past is fitted, periods do not overlap, and drift shows in the trend."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from crmlab.evaluation.origins import rolling_origins, thin_rows
from crmlab.schema import DataError, NotEnoughEvidence, ParameterError

GAP = 30


def history(n: int = 3000, *, fading: bool = False, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two years of rows of 1,000 entities with one feature that tells; where `fading`, it stops to."""
    generator = np.random.default_rng(seed)
    day = np.sort(generator.integers(0, 720, n))
    strength = 2.0 * (1 - day / 720) if fading else 1.5
    features = pd.DataFrame({"x": generator.normal(size=n), "constant": 1.0, "month": day // 30 % 12 + 1.0})
    y = generator.random(n) < 1 / (1 + np.exp(1 - strength * features["x"]))
    as_of = pd.Series(pd.Timestamp("2022-01-03") + pd.to_timedelta(day, unit="D"))
    rows = pd.DataFrame({"lead_id": generator.integers(0, 1000, n), "as_of": as_of, "label": y.astype("boolean")})
    return features, rows.assign(mature=True)


def makers(known: pd.DataFrame) -> dict:
    return {"base rate": lambda: DummyClassifier(strategy="prior"), "logistic": lambda: LogisticRegression()}


class Spy(DummyClassifier):
    """Notes the rows it is fitted on."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y):
        Spy.seen.append(X.index.to_numpy())
        return super().fit(X, y)


def test_training_is_settled_before_each_test_and_periods_stand_side_by_side():
    features, rows = history()
    Spy.seen = []
    found = rolling_origins(
        features, rows, lambda _: {"spy": lambda: Spy(strategy="prior")}, key="lead_id", gap_days=GAP, n_origins=4
    )
    origins = found.table.drop_duplicates("origin")
    assert origins["origin"].to_list() == [1, 2, 3, 4]
    for positions, origin in zip(Spy.seen, origins.itertuples(), strict=True):
        assert rows["as_of"].iloc[positions].max() + pd.Timedelta(days=GAP) <= origin.test_from
        assert rows["as_of"].iloc[positions].max() == origin.train_to
        assert len(positions) == origin.n_train
    assert (origins["test_to"].to_numpy()[:-1] < origins["test_from"].to_numpy()[1:]).all()
    assert origins["n_test"].sum() == (rows["as_of"] >= origins["test_from"].iloc[0]).sum()
    assert origins["test_to"].iloc[-1] == rows["as_of"].max()


def test_a_signal_beats_the_base_rate_at_every_origin():
    features, rows = history()
    found = rolling_origins(features, rows, makers, key="lead_id", gap_days=GAP)
    trend = found.trend().set_index(["model", "metric"])
    assert trend.loc[("logistic", "log loss"), "base_wins"] == 0
    assert trend.loc[("base rate", "log loss"), "base_wins"] == 4
    assert trend.loc[("logistic", "ROC AUC"), "mean"] > 0.75
    assert np.isnan(trend.loc[("logistic", "calibration error"), "base_wins"])
    assert ((found.table["low"] <= found.table["value"]) | (found.table["metric"] == "calibration error")).all()
    assert len(found.skipped) == 0


def test_a_fading_signal_shows_in_the_trend():
    features, rows = history(8000, fading=True)
    trend = rolling_origins(features, rows, makers, key="lead_id", gap_days=GAP, n_origins=5).trend()
    auc = trend.set_index(["model", "metric"]).loc[("logistic", "ROC AUC")]
    assert auc["high"] < 0
    assert auc["last"] < auc["first"] - 0.05


def test_the_trend_by_hand():
    from crmlab.evaluation.origins import Origins

    table = pd.DataFrame(
        {"origin": [1, 2, 3], "model": "m", "metric": "log loss", "value": [0.5, 0.4, 0.3], "base": 0.35}
    )
    row = Origins(table, pd.DataFrame()).trend().iloc[0]
    assert [row["first"], row["last"], row["mean"], row["spread"], row["slope"]] == pytest.approx(
        [0.5, 0.3, 0.4, 0.1, -0.1]
    )
    assert row["base_wins"] == 2


def test_thinning_keeps_every_entity_in_every_month_once():
    _, rows = history()
    kept = rows.iloc[thin_rows(rows, key="lead_id", seed=0)]
    month = kept["as_of"].dt.to_period("M")
    assert not pd.DataFrame({"lead": kept["lead_id"], "month": month}).duplicated().any()
    pairs = pd.DataFrame({"lead": rows["lead_id"], "month": rows["as_of"].dt.to_period("M")}).drop_duplicates()
    assert len(kept) == len(pairs)
    few = thin_rows(rows, key="lead_id", seed=0, most=100)
    assert len(few) == 100
    assert (np.diff(few) > 0).all()
    assert few.max() > 2000  # a draw over all of time, not the oldest


def test_immature_rows_are_neither_fitted_nor_tested():
    features, rows = history()
    settled = (rows["as_of"] < "2023-06-01") & (np.arange(len(rows)) % 3 > 0)
    found = rolling_origins(features, rows.assign(mature=settled), makers, key="lead_id", gap_days=GAP)
    origins = found.table.drop_duplicates("origin")
    assert origins["test_to"].max() < pd.Timestamp("2023-06-01")
    assert origins["n_test"].sum() == (settled & (rows["as_of"] >= origins["test_from"].min())).sum()
    assert (origins["n_train"] < settled.sum()).all()


def test_models_may_be_fitted_in_their_own_way():
    features, rows = history()
    calls = []

    def fit(model, X, y, part):
        calls.append((len(X), part["as_of"].max()))
        return model.fit(X, y)

    rolling_origins(features, rows, makers, key="lead_id", gap_days=GAP, n_origins=2, fit=fit)
    assert len(calls) == 4
    assert calls[0] == calls[1] < calls[2]


def test_what_cannot_be_done_is_named():
    features, rows = history(300)
    with pytest.raises(NotEnoughEvidence, match="more than one origin"):
        rolling_origins(features, rows, makers, key="lead_id", gap_days=700)
    with pytest.raises(ParameterError, match="2 origins"):
        rolling_origins(features, rows, makers, key="lead_id", gap_days=GAP, n_origins=1)
    with pytest.raises(DataError, match="date of every row"):
        rolling_origins(features, rows.assign(as_of=pd.NaT), makers, key="lead_id", gap_days=GAP)
    with pytest.raises(DataError, match="row for row"):
        rolling_origins(features.iloc[:5], rows, makers, key="lead_id", gap_days=GAP)
    with pytest.raises(NotEnoughEvidence, match="mature"):
        rolling_origins(features, rows.assign(mature=False), makers, key="lead_id", gap_days=GAP)
