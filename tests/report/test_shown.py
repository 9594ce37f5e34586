"""What a notebook shows: payload, HTML for JupyterLab, and plain text, from small frames."""

import base64
import json

import numpy as np
import pandas as pd
import pytest

from crmlab import report
from crmlab.report.outputs import media_type, payload_of, plain_json
from crmlab.schema import ParameterError

LEADS = pd.DataFrame(
    {
        "lead_id": ["L1", "L2", "L3"],
        "source": ["Fair", None, "<b>Web</b>"],
        "p_convert": [0.25, np.nan, 0.5],
        "n": [10, 2000, 3],
        "closed_at": pd.to_datetime(["2024-01-02", None, "2024-02-03"]),
        "open": [True, False, True],
    }
)


def spec_of(recorder):
    return payload_of(recorder.outputs[-1], "table")


def test_a_table_formats_by_type_and_leaves_the_frame_alone(recorder):
    before = LEADS.copy(deep=True)
    report.table(LEADS, caption="Leads.", formats={"p_convert": "percent"})
    pd.testing.assert_frame_equal(LEADS, before)
    spec = spec_of(recorder)
    assert spec["rows"][1] == ["L2", "–", "–", "2,000", "–", "no"]
    assert spec["rows"][2][2] == "50.0\u00a0%"
    assert [c["numeric"] for c in spec["columns"]] == [False, False, True, True, False, False]
    assert [c["label"] for c in spec["columns"]] == ["lead id", "source", "p convert", "n", "closed at", "open"]


def test_the_html_of_a_table_escapes_and_has_headings(recorder, read):
    report.table(LEADS, caption="All & <i>every</i> lead.")
    page = read(recorder.outputs[-1].data["text/html"])
    assert "<b>Web</b>" in page.text
    assert "<i>every</i>" in page.text
    assert not page.find("b")
    assert not page.find("i")
    assert len(page.find("th", scope="col")) == 6
    assert len(page.find("caption")) == 1


def test_the_index_is_shown_only_on_request(recorder, read):
    grouped = LEADS.set_index("lead_id")[["n"]]
    report.table(grouped, caption="Without.")
    assert [c["label"] for c in spec_of(recorder)["columns"]] == ["n"]
    report.table(grouped, caption="With.", index=True)
    assert [c["label"] for c in spec_of(recorder)["columns"]] == ["lead id", "n"]
    assert len(read(recorder.outputs[-1].data["text/html"]).find("th", scope="row")) == 3


def test_rows_beyond_the_limit_are_counted_not_dropped_in_silence(recorder, read):
    report.table(pd.DataFrame({"n": range(1234)}), caption="Many.", limit=50)
    output = recorder.outputs[-1]
    said = "Showing 50 of 1,234 rows; 1,184 are not shown."
    assert len(spec_of(recorder)["rows"]) == 50
    assert said in read(output.data["text/html"]).text
    assert output.data["text/plain"].endswith(said)
    report.table(pd.DataFrame({"n": range(60)}), caption="All.", limit=None)
    assert len(spec_of(recorder)["rows"]) == 60
    assert "not shown" not in recorder.outputs[-1].data["text/html"]


def test_a_long_text_is_cut_with_a_count(recorder):
    report.table(pd.DataFrame({"note": ["x" * 1000]}), caption="Notes.")
    assert spec_of(recorder)["rows"][0][0] == "x" * 300 + "… (+700 characters)"


def test_empty_frames_repeated_names_and_tuples_as_names(recorder):
    report.table(LEADS.head(0), caption="None.")
    assert spec_of(recorder)["rows"] == []
    report.table(pd.DataFrame([[1, 2]], columns=["a", "a"]), caption="Twice.")
    assert spec_of(recorder)["rows"] == [["1", "2"]]
    wide = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("won", "n")]))
    report.table(wide, caption="Levels.")
    assert spec_of(recorder)["columns"][0]["label"] == "won · n"


def test_bars_are_as_long_as_the_numbers_are_large(recorder):
    frame = pd.DataFrame({"lift": [4.0, 1.0, -2.0, None]})
    report.table(frame, caption="Lift.", bars=["lift"])
    assert spec_of(recorder)["columns"][0]["bar"] == [100.0, 25.0, None, None]


def test_marked_rows(recorder):
    report.table(LEADS, caption="Marked.", mark=LEADS["lead_id"].eq("L2"))
    assert spec_of(recorder)["marked"] == [1]


@pytest.mark.parametrize("argument", ["formats", "labels", "bars"])
def test_a_misspelt_column_is_refused_with_a_suggestion(recorder, argument):
    value = ["p_convrt"] if argument == "bars" else {"p_convrt": "percent"}
    with pytest.raises(ParameterError, match="did you mean `p_convert`"):
        report.table(LEADS, caption="x", **{argument: value})
    assert recorder.outputs == []


def test_a_table_without_a_caption_is_refused(recorder):
    with pytest.raises(ParameterError, match="caption"):
        report.table(LEADS, caption=" ")


def test_a_figure_is_one_picture_with_words_and_its_table(recorder):
    import matplotlib.pyplot as plt

    report.use_style()
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1], [0, 1])
    data = pd.DataFrame({"x": [0, 1], "y": [0.0, 0.5]})
    report.figure(ax, alt="A rising line.", data=data, caption="It rises.", formats={"y": "percent"})
    picture, words = recorder.outputs
    size = picture.metadata["image/png"]
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")
    assert size["alt"] == "A rising line."
    assert 300 < size["width"] < 420
    assert payload_of(words, "caption")["data"]["rows"][1] == ["1", "50.0\u00a0%"]
    assert not plt.fignum_exists(fig.number)


def test_a_figure_without_description_and_something_else_are_refused(recorder):
    with pytest.raises(ParameterError, match="description"):
        report.figure(object(), alt="")
    with pytest.raises(ParameterError, match="not a figure"):
        report.figure(object(), alt="x")


def test_the_style_is_taken_over_by_seaborn():
    import seaborn

    report.use_style()
    assert seaborn.color_palette()[0] == pytest.approx((0, 0x72 / 255, 0xB2 / 255))


def test_statements_need_words_and_a_known_tone(recorder):
    with pytest.raises(ParameterError, match="did you mean `caution`"):
        report.headline("Yes.", tone="cautious")
    with pytest.raises(ParameterError, match="words"):
        report.sentence("  ")
    report.headline("Yes.", tone="good")
    assert payload_of(recorder.outputs[-1], "headline") == {"sentence": "Yes.", "tone": "good"}


def test_recorded_numbers_are_finite_json(recorder, notebook):
    report.record("a", np.float64(0.25), low=np.float32(0.2), high=float("inf"), n=np.int64(12), unit="percent")
    report.record("b", float("nan"), label="Nothing")
    report.record("c", True)
    report.record("best_model", "xgboost")
    metrics = report.metrics_of(notebook(recorder.cell()), notebook="03_model_comparison")
    json.dumps(metrics, allow_nan=False)
    assert metrics[0] == {
        "kind": "metric", "notebook": "03_model_comparison", "name": "a", "label": "a", "value": 0.25,
        "low": pytest.approx(0.2), "high": None, "n": 12, "unit": "percent", "headline": False,
    }  # fmt: skip
    assert [row["value"] for row in metrics] == [0.25, None, True, "xgboost"]


def test_the_later_record_of_a_name_counts_and_headlines_are_kept(recorder, notebook):
    report.record("a", 1)
    report.headline("Yes.", tone="good")
    report.headline("But.", tone="caution")
    report.record("a", 2)
    nb = notebook(recorder.cell(), papermill={"input_path": "notebooks/03_model_comparison.ipynb"})
    rows = report.metrics_of(nb)
    said = [(row["label"], row["unit"]) for row in rows if row["kind"] == "headline"]
    assert said == [("Yes.", "good"), ("But.", "caution")]
    assert [row["value"] for row in rows if row["kind"] == "metric"] == [2]
    assert {row["notebook"] for row in rows} == {"03_model_comparison"}
    assert len({tuple(row) for row in rows}) == 1  # tidy: every row has the same fields


def test_a_metric_without_a_name_and_one_that_is_no_mapping_are_left_out(notebook, recorder):
    report.record("good", 1)
    cell = recorder.cell()
    for broken in ({"value": 1}, [1, 2], "not json", None):
        cell.outputs.append(cell.outputs[0].copy() | {"data": {media_type("metric"): broken}})
    assert [row["name"] for row in report.metrics_of(notebook(cell))] == ["good"]


class FakeCrm:
    title = "Demo & Co"
    fingerprint = "abc123"

    def counts(self):
        return {"leads": 10_000, "tickets": 0}


def test_the_start_shows_what_is_needed_to_repeat_the_run_and_no_secret(recorder, read):
    params = {"as_of": "2025-01-06", "horizon_days": 90, "api_token": "s3cr3t", "DB_PASSWORD": "hunter2", "seed": 7}
    book = report.start("Who converts?", params, FakeCrm())
    output = recorder.outputs[-1]
    text = read(output.data["text/html"]).text
    for expected in ("Who converts?", "2025-01-06", "Demo & Co", "abc123", "10,000", "pandas"):
        assert expected in text
    assert "s3cr3t" not in json.dumps(output)
    assert "hunter2" not in json.dumps(output)
    assert book.params["horizon_days"] == 90
    assert book.params["api_token"] == "hidden"


def test_nothing_is_shown_or_printed_outside_of_a_notebook(capsys):
    report.table(LEADS, caption="Quiet.")
    assert capsys.readouterr().out == ""


def test_plain_json_handles_what_pandas_and_numpy_bring():
    value = {"a": np.float32("nan"), "b": pd.NA, "c": pd.NaT, "d": (np.int8(1),), "e": "\ud800", 5: np.bool_(True)}
    assert plain_json(value) == {"a": None, "b": None, "c": None, "d": [1], "e": "\ufffd", "5": True}
