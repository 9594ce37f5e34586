"""Sentences turn with the values: each branch says what its numbers say."""

import numpy as np
import pandas as pd
import pytest

from crmlab import findings
from crmlab.evaluation import ORACLE, Comparison
from crmlab.leakage import LeakVerdict, leak_verdict
from crmlab.metrics import METRICS, bootstrap_metrics
from crmlab.quality.problems import PROBLEMS
from crmlab.snapshots import Question
from crmlab.splits import Split


def comparison(chosen: str = "XGBoost", *, spread: float = 1.0, level: float = 0.0, oracle: bool = False) -> Comparison:
    """A thousand rows, half with true probability .05, half with .45, which came true exactly.

    `spread` is how much of the difference the model sees (1: all; above: it knows the outcomes), `level` its offset.
    """
    truth = np.repeat([0.05, 0.45], 500)
    y = np.concatenate([np.arange(500) < 25, np.arange(500) < 225]).astype(float)
    leak = max(spread - 1, 0) * (y - truth)
    # Not the same for all rows of a kind: otherwise every resample would give the same figure.
    model = 0.25 + min(spread, 1) * (truth - 0.25) + leak + level + np.tile([-0.01, 0.01], 500)
    p = {"base rate": np.full(1000, 0.25), "source table": np.full(1000, 0.26), "XGBoost": np.clip(model, 0.01, 0.99)}
    if oracle:
        p[ORACLE] = truth
    groups = np.arange(1000)
    metrics = bootstrap_metrics(y, p, groups, reference="base rate", n=50, seed=0)
    split = Split("temporal", np.arange(10), np.arange(1000))
    inner = pd.DataFrame({"model": list(p), "inner log loss": 1.0})
    return Comparison(split, y, groups, p, metrics, ("base rate", "source table"), inner, chosen)


def verdict(made: Comparison, label: str = "within_horizon") -> findings.Finding:
    floors = made.against_floors(n_bootstrap=50, seed=0)
    horizon = 90 if label == "within_horizon" else 0
    return findings.model_finding(made, floors, question=Question("demo", "lead", label, horizon, "weekly"))


def test_a_calibrated_model_that_beats_the_floors_is_good_news():
    found = verdict(comparison())
    assert found.tone == "good"
    assert "better than every floor" in found.sentence
    assert "Its best-scored tenth holds 18\N{NO-BREAK SPACE}% of the conversions" in found.sentence
    assert found.sentence.startswith("The XGBoost predicts conversion within 90 days of newer leads with log loss 0.")


def test_a_model_of_the_final_status_is_an_upper_bound():
    found = verdict(comparison(), label="final_status")
    assert found.tone == "caution"
    assert "upper bound" in found.sentence


def test_date_finding_counts_what_is_censored_and_says_what_missing_dates_cost():
    rows = pd.DataFrame({"lead_id": range(1203), "mature": [True] * 1200 + [False] * 3})
    assert findings.date_finding(rows, label="within_horizon").sentence.startswith(
        "1,200 rows have a settled label; 3 more"
    )
    static = findings.date_finding(rows, label="final_status")
    assert static.tone == "caution"
    assert "3 leads that are still open" in static.sentence


def test_a_model_off_its_level_is_a_caution():
    found = verdict(comparison(level=0.12))
    assert found.tone == "caution"
    assert "but its scores miss the observed shares" in found.sentence


def test_a_model_no_better_than_a_floor_is_not_praised():
    found = verdict(comparison(spread=0.0))
    assert found.tone == "caution"
    assert "not shown to be better than the base rate and the source table" in found.sentence


def test_a_chosen_floor_is_not_enough_evidence():
    found = verdict(comparison("source table"))
    assert found.tone == "caution"
    assert "the source table is kept" in found.sentence
    assert "not enough evidence" in found.sentence


def test_random_split_crowns_the_best_and_says_when_that_is_impossible():
    honest = comparison(spread=0.8, oracle=True)
    found = findings.split_finding(honest, comparison(spread=1.5, oracle=True))
    assert "would have crowned XGBoost" in found.sentence
    assert "which only a leak can achieve" in found.sentence
    modest = findings.split_finding(honest, comparison(spread=0.8, oracle=True))
    assert "leak" not in modest.sentence
    assert modest.tone == "plain"


def test_oracle_finding_with_and_without_a_known_truth():
    known = findings.oracle_finding(comparison(spread=0.8, oracle=True))
    assert known.tone == "good"
    assert "of the way from the base rate" in known.sentence
    assert "Nobody knows the true probabilities" in findings.oracle_finding(comparison()).sentence


def test_lift_finding_says_what_the_best_tenth_holds():
    found = findings.lift_finding(
        comparison(spread=2.0), entity="lead"
    )  # it knows the outcomes: all of its best tenth converted
    assert found.tone == "good"
    assert "The best-scored tenth of the XGBoost holds 40\N{NO-BREAK SPACE}% of the conversions" in found.sentence


def leaks(changed: int = 0, *, dated: bool = True, doubtful: int = 0) -> LeakVerdict:
    proof = pd.DataFrame({"as_of": [1, 2], "rows": [5, 5], "features": [50, 50], "changed": [changed, 0]})
    suspects = pd.DataFrame(
        {"column": [f"c{k}" for k in range(doubtful)], "verdict": "doubtful", "explanation": "Odd."}
    )
    return leak_verdict(proof if dated else proof.head(0), None, suspects)


@pytest.mark.parametrize(
    ("changed", "label", "tone", "words"),
    [
        (0, "within_horizon", "good", "Nothing recorded later enters a feature: 500 values were computed again"),
        (3, "within_horizon", "bad", "The future leaks into a feature."),
        (0, "final_status", "caution", "a matter of trust"),
    ],
)
def test_leak_finding(changed, label, tone, words):
    found = findings.leak_finding(leaks(changed), label=label)
    assert found.tone == tone
    assert words in found.sentence


def test_leak_finding_without_dates_claims_nothing():
    assert "no dates" in findings.leak_finding(leaks(dated=False), label="final_status").sentence


def test_leak_finding_asks_for_a_look_at_what_is_doubtful():
    found = findings.leak_finding(leaks(doubtful=2), label="within_horizon")
    assert found.tone == "caution"
    assert found.sentence.endswith("2 features should be looked at by a person.")


def test_recorded_leaks_count_plants_and_not_the_comparison(monkeypatch):
    told = {}
    monkeypatch.setattr(findings.evidence, "record", lambda name, value, **rest: told.update({name: value}))
    planted = pd.DataFrame({"plant": ["a", "b", "no plant"], "named_by": ["truncation", "nobody", "nobody"]})
    findings.record_leaks(leaks(), planted)
    assert told == {"leaks": 0, "values_checked": 500, "planted_leaks_named": 0.5}


def problems(*kinds: tuple[str, float]) -> pd.DataFrame:
    rows = [(PROBLEMS[kind][0], "leads", "x", 5, share, "") for kind, share in kinds]
    return pd.DataFrame(rows, columns=["problem", "table", "column", "rows", "share", "what_to_do"])


def columns(*, tells: bool) -> pd.DataFrame:
    return pd.DataFrame(
        {"table": "leads", "column": ["owner_id"], "as_of_safe": [False], "filled": [0.5], "tells_outcome": [tells]}
    )


def test_quality_finding_names_the_widest_fault_and_not_the_missing_history():
    found = findings.quality_finding(
        problems(("late", 0.2), ("today_only", 1.0), ("outlier", 0.1)), columns(tells=False)
    )
    assert found.sentence.startswith(f"2 kinds of problem found; the widest is “{PROBLEMS['late'][0]}”")
    assert "goes with the outcome" not in found.sentence
    telling = findings.quality_finding(problems(("today_only", 1.0)), columns(tells=True))
    assert telling.sentence.startswith("No impossible or doubtful rows")
    assert "leads.owner_id is filled goes with the outcome" in telling.sentence


def test_group_finding_ignores_small_groups_and_compares_intervals():
    table = pd.DataFrame(
        {
            "group": ["a", "b", "c"],
            "share": [0.1, 0.4, 0.9],
            "low": [0.05, 0.3, 0.2],
            "high": [0.15, 0.5, 1.0],
            "small": [False, False, True],
        }
    )
    found = findings.group_finding(table, by="source", outcome="conversion")
    assert "(a) to 40.0\N{NO-BREAK SPACE}% (b)" in found.sentence
    assert "lie apart" in found.sentence
    overlapping = table.assign(high=[0.35, 0.5, 1.0])
    assert "overlap" in findings.group_finding(overlapping, by="source", outcome="conversion").sentence
    assert "too few" in findings.group_finding(table.head(1), by="source", outcome="conversion").sentence


def test_association_finding_counts_what_is_stable():
    table = pd.DataFrame({"feature": ["a", "b", "c"], "auc": [0.7, 0.6, 0.51], "same_direction": [1.0, 0.5, 1.0]})
    found = findings.association_finding(table)
    assert "2 of 3 features move with the outcome" in found.sentence
    assert "1 of them in the same direction" in found.sentence
    assert findings.association_finding(table.assign(auc=0.5)).tone == "caution"
    assert "No label is settled" in findings.association_finding(table.assign(auc=np.nan)).sentence


def test_owner_finding_counts_intervals_that_leave_out_one():
    owners = pd.DataFrame({"ratio_low": [1.1, 0.8, 0.2], "ratio_high": [2.0, 1.2, 0.9]})
    assert findings.owner_finding(owners).sentence.startswith("2 of 3 owners")
    assert "Only today's owner is known" in findings.owner_finding(owners.head(0)).sentence


def test_conversion_view_keeps_each_share_with_its_interval():
    table = pd.DataFrame({"group": ["a"], "n": [10], "converted": [3]})
    shares = {
        f"{k}_{h}d": [v] for h, s in ((30, 0.1), (90, 0.3)) for k, v in (("share", s), ("low", s / 2), ("high", s * 2))
    }
    table = table.assign(**shares, difference=[0.1], difference_low=[0.0], difference_high=[0.2])
    view = findings.conversion_view(table, horizons=[30, 90], compare_at=90)
    assert view["30 days"].item() == (0.1, 0.05, 0.2)
    assert view["against the rest, 90 days"].item() == (0.1, 0.0, 0.2)
    assert set(findings.view_formats(view)) == {"30 days", "90 days", "against the rest, 90 days"}


def test_summary_formats_cover_every_measure():
    assert set(findings.metric_formats(pd.DataFrame(columns=["model", *METRICS]))) == set(METRICS)
