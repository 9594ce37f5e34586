"""Reasons in words: they add up, say what the feature says, judge nobody and carry no markup of the CRM."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from crmlab.explain import (
    OWNER,
    Contributions,
    feature_words,
    plain_text,
    reasons,
    score_sentence,
    topics,
    typical_values,
)

MEANINGS = {
    "web_visits_n_7d": ("count", "Number of web visits in the last 7 days."),
    "web_visits_n_30d": ("count", "Number of web visits in the last 30 days."),
    "web_visits_recency_days": ("recency", "Recency of web visits: days since the newest; missing if none."),
    "email_replies_n_ever": ("count", "Number of email replies so far."),
    "meetings_days_90d": ("days", "Days with meetings in the last 90 days."),
    "stage_recency_days": ("recency", "Recency of changes of stage (time in stage): days since the newest; missing."),
    "calls_since_first_days": ("since first", "Age of the oldest of calls in days; missing if none."),
    "source": ("field", "Channel that brought the lead."),
    "month": ("calendar", "Month of the year of `as_of`: the season."),
    "margin_rate": ("state", "Margin rate, as last entered."),
    "owner_probability": ("state", "Owner's own probability, as last entered."),
    "owner_id": ("state", "Rep who owned the deal, as last entered."),
    "owner_win_rate_90d": ("linked", "Its owner: deals won, of deals closed."),
    "team_deals_open_n": ("linked", "Its owner's team: open deals at hand."),
    "account_nps": ("linked", "Its company: newest Net Promoter answer, as last entered."),
    "account_wins_n_ever": ("linked", "Its company: number of deals won with the company so far."),
    "tag_vip": ("text", "Whether it carried the tag vip."),
    "interactions_per_day_30d": ("exposure", "Number of interactions in the last 30 days, per day of exposure in it."),
}
CATALOG = pd.DataFrame([(f, *said) for f, said in MEANINGS.items()], columns=["feature", "family", "meaning"])
GAP = float("nan")


@pytest.mark.parametrize(
    ("feature", "value", "typical", "words"),
    [
        ("web_visits_n_30d", 12, 3.0, "12 web visits in the last 30 days (typical: 3)"),
        ("web_visits_n_30d", 1, 0.0, "1 web visit in the last 30 days (typical: 0)"),
        ("web_visits_n_30d", 0, 3.0, "no web visits in the last 30 days (typical: 3)"),
        ("email_replies_n_ever", 1.0, GAP, "1 email reply so far (typical: none)"),
        ("web_visits_recency_days", 41.0, 6.0, "days since the last web visit: 41 (typical: 6)"),
        ("web_visits_recency_days", GAP, 6.0, "no web visits yet (typical: 6)"),
        ("meetings_days_90d", 1, 0.0, "1 day with meetings in the last 90 days (typical: 0)"),
        ("stage_recency_days", 12.345, 3.0, "days since the last change of stage: 12.3 (typical: 3)"),
        ("calls_since_first_days", 5.0, 9.0, "days since the first call: 5 (typical: 9)"),
        ("source", "trade fair", "web", "source: trade fair (most common: web)"),
        ("source", None, "web", "source: not known (most common: web)"),
        ("month", 2.0, 6.0, "month of the year: February (typical: June)"),
        ("margin_rate", 0.388, 0.34, "margin rate: 38.8 % (typical: 34 %)"),
        ("owner_probability", 0.05, 0.2, "owner's own probability: 5 % (typical: 20 %)"),
        ("owner_id", "R11", "R02", OWNER),
        ("owner_win_rate_90d", 0.1, 0.4, OWNER),
        ("team_deals_open_n", 3, 4, OWNER),
        ("account_nps", 9.0, 7.0, "its company: newest Net Promoter answer: 9 (typical: 7)"),
        ("account_wins_n_ever", 2, 0.0, "2 deals won with the company so far (typical: 0)"),
        ("tag_vip", 1.0, 0.0, "the tag vip: yes (typical: no)"),
        ("interactions_per_day_30d", 0.25, 0.1, "interactions in the last 30 days, per day: 0.25 (typical: 0.1)"),
    ],
)
def test_a_value_in_words(feature, value, typical, words):
    assert feature_words(CATALOG)[feature](value, typical) == words


def test_the_words_of_every_feature_of_the_catalog_can_be_made():
    for feature, words in feature_words(CATALOG).items():
        for value in (0.0, 1.0, 2.5, GAP):
            said = words(value, 1.0, "before")
            assert said == said.strip()
            assert "{" not in said, feature


def test_topics_put_together_what_says_the_same():
    expected = {
        "calls": "calls_n_7d calls_days_30d calls_recency_days calls_duration_mean_30d calls_smoothed_weekly",
        "interactions": "interactions_n_7d interactions_in_n_7d interactions_trend_7d_30d",
        "amount": "amount amount_growth",
        OWNER: "owner_id owner_wins_n_90d team_deals_open_n x_sales_rep",
        "owner's own probability": "owner_probability",
        "colour": "x_colour",
        "age": "lead_to_opportunity_days",
        "history with the company": "account_cycle_days_mean_ever",
        "representation": "representation",
    }
    pairs = [(topic, feature) for topic, features in expected.items() for feature in features.split()]
    assert topics([feature for _, feature in pairs]).to_list() == [topic for topic, _ in pairs]


def made(values: dict[str, list[float]], base: float = -1.0) -> Contributions:
    frame = pd.DataFrame(values)
    return Contributions(base, frame, base + frame.sum(axis=1).to_numpy())


@pytest.fixture
def case():
    X = pd.DataFrame(
        {
            "web_visits_n_7d": [4, 0],
            "web_visits_n_30d": [12, 0],
            "web_visits_recency_days": [2.0, GAP],
            "source": ["fair", "web"],
            "owner_id": ["R1", "R2"],
            "owner_win_rate_90d": [0.9, 0.1],
            "margin_rate": [0.3, 0.2],
        },
        index=pd.Index(["D1", "D2"], name="deal"),
    )
    parts = {
        "web_visits_n_7d": [0.3, -0.1],
        "web_visits_n_30d": [0.5, -0.2],
        "web_visits_recency_days": [-0.1, -0.4],
        "source": [0.2, 0.1],
        "owner_id": [-0.3, 0.6],
        "owner_win_rate_90d": [-0.3, 0.6],
        "margin_rate": [0.001, 0.05],
    }
    found = made(parts)
    return Contributions(found.base, found.values.set_axis(X.index), found.logit), X


def test_windows_of_one_count_are_one_reason_with_the_exact_sum(case):
    found = reasons(*case, CATALOG, n=2)
    first = found[(found["row"] == "D1") & (found["direction"] == "for")]
    assert first["topic"].to_list() == ["web visits", "source"]
    assert first["log_odds"].to_list() == pytest.approx([0.7, 0.2])
    assert first["reason"].to_list() == [
        "12 web visits in the last 30 days (typical: 6)",
        "source: fair (most common: fair)",
    ]
    second = found[(found["row"] == "D2") & (found["direction"] == "against")]
    assert second["reason"].to_list() == ["no web visits yet (typical: 2)"]
    assert second["log_odds"].to_list() == pytest.approx([-0.7])


def test_lines_add_up_to_the_score_in_log_odds_and_in_points(case):
    contributions, X = case
    for n in (0, 1, 5):
        found = reasons(contributions, X, CATALOG, n=n)
        sums = found.groupby("row", sort=False)[["log_odds", "points"]].sum()
        assert sums["log_odds"].to_numpy() == pytest.approx(contributions.logit, abs=1e-12)
        assert sums["points"].to_numpy() == pytest.approx(100 * expit(contributions.logit), abs=1e-10)
        assert found.groupby("row").size().between(2, 2 + 2 * n).all()
    # Points go with log odds: one factor per row.
    one = found[(found["row"] == "D1") & (found["direction"] != "base") & (found["log_odds"].abs() > 1e-9)]
    assert (one["points"] / one["log_odds"]).std() < 1e-9


def test_owners_are_one_reason_without_names_and_figures(case):
    found = reasons(*case, CATALOG)
    owners = found[found["topic"] == OWNER]
    assert owners["log_odds"].to_list() == pytest.approx([-0.6, 1.2])
    assert owners["reason"].to_list() == [OWNER, OWNER]
    assert owners[["feature", "value", "typical"]].isna().all(axis=None)
    assert not found.astype("str").apply(lambda c: c.str.contains("R1|R2|owner_id|0.9")).any(axis=None)


def test_small_effects_are_left_to_everything_else(case):
    found = reasons(*case, CATALOG)
    first = found[found["row"] == "D1"]
    assert "margin rate" not in first["topic"].to_list()
    rest = first[first["direction"] == "everything else"]
    assert rest["log_odds"].item() == pytest.approx(0.001)
    assert rest["reason"].item() == "everything else (1 smaller reason)"


def test_typical_values_come_from_the_rows_given(case):
    contributions, X = case
    typical = typical_values(X.assign(source=["web", "web"], web_visits_n_30d=[1, 2]))
    found = reasons(contributions, X, CATALOG, typical=typical)
    said = found["reason"].to_list()
    assert "12 web visits in the last 30 days (typical: 1.5)" in said
    assert "source: fair (most common: web)" in said


def test_typical_values():
    X = pd.DataFrame({"a": [1.0, 2.0, 9.0, GAP], "b": [GAP] * 4})
    X["c"], X["d"] = pd.Series(["y", "x", None, None], dtype="str"), pd.Series([None] * 4, dtype="str")
    found = typical_values(X)
    assert (found["a"], found["c"]) == (2.0, "x"), "of equally common levels the first by name"
    assert pd.isna(found["b"])
    assert pd.isna(found["d"])
    assert found["b"] is not pd.NA


def test_features_outside_the_catalog_are_called_by_their_names(case):
    found = reasons(*case, CATALOG[CATALOG["feature"] != "source"])
    assert "source: fair (most common: fair)" in found["reason"].to_list()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=120))
def test_crm_text_is_one_short_plain_line(text):
    shown = plain_text(text)
    assert len(shown) <= 40
    assert shown.isprintable() or all(c.isprintable() or ord(c) > 0x7F for c in shown)
    assert "\n" not in shown
    assert plain_text(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("write to ada@example.com", "write to «email»"),
        ("a\u202eb\x00c", "a b c"),
        ("x" * 60, "x" * 39 + "…"),
        ("<b>bold</b>", "<b>bold</b>"),
    ],
)
def test_hostile_text(text, shown):
    assert plain_text(text) == shown


def test_hostile_levels_and_tag_names_are_cleaned_in_reasons(case):
    contributions, X = case
    X = X.assign(source=["fair\u202e\nada@example.com", "web"])
    found = reasons(contributions, X, CATALOG)
    line = found[(found["row"] == "D1") & (found["topic"] == "source")].iloc[0]
    assert line["reason"].startswith("source: fair «email»")
    assert line["value"] == "fair «email»"
    hostile = CATALOG.assign(meaning=CATALOG["meaning"].str.replace("tag vip", "tag \u202e" + "v" * 500))
    assert len(feature_words(hostile)["tag_vip"](1, 0)) < 200
    assert "\u202e" not in feature_words(hostile)["tag_vip"](1, 0)


def test_a_score_in_a_sentence(case):
    found = reasons(*case, CATALOG)
    said = score_sentence(found[found["row"] == "D1"])
    assert said.startswith(f"{100 * expit(-0.699):.0f} %: from {100 * expit(-1):.0f} % to start with; for it: 12 web")
    assert f"against it: {OWNER}" in said
    nothing = reasons(made({"source": [0.0]}), pd.DataFrame({"source": ["a"]}), CATALOG)
    assert "nothing for it; nothing against it" in score_sentence(nothing)


def test_no_rows(case):
    contributions, X = case
    empty = Contributions(contributions.base, contributions.values.head(0), contributions.logit[:0])
    found = reasons(empty, X.head(0), CATALOG)
    assert found.empty
    assert "points" in found


def test_many_rows_are_fast_and_keep_their_order():
    generator = np.random.default_rng(0)
    names = [f for f in MEANINGS if f not in {"source", "owner_id"}]
    X = pd.DataFrame(generator.poisson(2, (3_000, len(names))).astype("float64"), columns=names)
    parts = pd.DataFrame(generator.normal(size=X.shape), columns=names)
    found = reasons(Contributions(0.0, parts, parts.sum(axis=1).to_numpy()), X, CATALOG)
    assert found["row"].is_monotonic_increasing
    ranks = found[found["direction"] == "for"].groupby("row")["log_odds"]
    assert ranks.apply(lambda s: s.is_monotonic_decreasing).all()
