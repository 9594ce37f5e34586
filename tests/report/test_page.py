"""The page of an executed notebook: what stands first, what is folded, what failed."""

import re

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from crmlab import report
from crmlab.report.outputs import media_type

TITLE = "# Which leads convert?\n\nThe director decides."
TABLE = pd.DataFrame({"model": ["a", "b"], "log_loss": [0.25, 0.5]})


def html_output(markup, plain="plain words"):
    return new_output("display_data", data={"text/html": markup, "text/plain": plain})


@pytest.fixture
def page_of(notebook):
    return lambda *cells, **kw: report.render(notebook(*cells), **({"source_name": "03_models.ipynb"} | kw))


@pytest.fixture
def story(recorder):
    """Return the cells of a small notebook in the usual order."""
    report.start("Which leads convert?", {"as_of": "2025-01-06", "horizon_days": 90})
    start = recorder.cell("report.start(...)", 1)
    report.table(TABLE.head(1), caption="The data.")
    load = recorder.cell("load()", 2)
    report.headline("Model a is best.", tone="good")
    report.table(TABLE, caption="The models.")
    answer = recorder.cell("report.headline(...)", 3)
    report.record("log_loss", 0.25, n=100, headline=True)
    return [TITLE, start, "## Data\n\nRows.", load, "## Models\n\nRead it so.", answer, recorder.cell("record()", 4)]


def test_the_question_the_answer_and_its_table_come_before_all_else(story, page_of, read):
    text = read(page_of(*story)).text
    places = [text.rindex("Which leads convert?"), *(text.index(t) for t in ("Model a is best.", "The models."))]
    places += [
        text.index(t) for t in ("The director decides.", "Parameters, data, versions", "The data.", "Read it so.")
    ]
    assert places == sorted(places)
    assert text.count("Model a is best.") == 1
    assert text.count("The models.") == 1
    assert "stand at the top of this page" in text


def test_title_language_policy_and_contents(story, page_of, read):
    page = read(page_of(*story))
    policy = page.find("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert page.find("html", lang="en")
    assert len(page.find("h1")) == 1
    assert re.search(r"<title>Which leads convert\?</title>", page_of(*story))
    anchors = {a["href"][1:] for a in page.find("a") if a["href"].startswith("#")}
    ids = [own["id"] for _, own in page.elements if "id" in own]
    assert {"data", "models", "answer", "main"} <= anchors <= set(ids)
    assert len(ids) == len(set(ids))


def test_code_is_folded_and_there(story, page_of, read):
    page = read(page_of(*story))
    folded = page.find("details", **{"class": "code"})
    assert len(folded) == 4
    assert not any("open" in own for own in folded)
    assert "report.headline(...)" in page.text


def test_parameters_and_recorded_numbers_are_folded(story, page_of, read):
    page = read(page_of(*story))
    assert len(page.find("details", **{"class": "setup"})) == 2
    assert "as_of" in page.text
    assert "Recorded numbers (1)" in page.text


def test_headings_of_the_same_name_get_their_own_anchors(page_of, read):
    page = read(page_of("# T", "## By source", "## By source", "### By *source* & `more`", "# Answer", "## ?"))
    assert [own["id"] for own in page.find("h2")] == ["by-source", "by-source-2", "section-answer", "section"]
    assert page.find("h3")[0]["id"] == "by-source-more"
    assert len(page.find("h1")) == 1


def test_a_notebook_without_anything_still_has_a_page(page_of, read):
    assert "03_models" in read(page_of()).text


def test_a_figure_keeps_its_own_description_caption_and_folded_table(recorder, page_of, read):
    import matplotlib.pyplot as plt

    for alt in ("First figure.", "Second figure."):
        _, ax = plt.subplots()
        report.figure(ax, alt=alt, data=TABLE, caption=f"{alt} In words.")
    page = read(page_of("# T", recorder.cell()))
    images = page.find("img")
    assert [image["alt"] for image in images] == ["First figure.", "Second figure."]
    assert all(image["src"].startswith("data:image/png;base64,") and image["width"] for image in images)
    assert page.text.count("In words.") == 2
    assert len(page.find("details", **{"class": "behind"})) == 2
    assert len(page.find("table")) == 2


def test_a_foreign_picture_says_that_it_has_no_description(page_of, read):
    cell = new_code_cell(
        "x", outputs=[new_output("display_data", data={"image/png": "aGk=", "text/plain": "<Figure>"})]
    )
    assert read(page_of("# T", cell)).find("img")[0]["alt"] == "Figure without a description"


def test_a_frame_shown_by_hand_keeps_its_table_and_loses_its_style(page_of, read):
    cell = new_code_cell(
        "frame", outputs=[html_output(TABLE.to_html() + "<style scoped>.dataframe {color: red}</style>")]
    )
    page = read(page_of("# T", cell))
    assert len(page.find("table")) == 1
    assert "log_loss" in page.text
    assert "color: red" not in page.style + page.text


def test_the_page_believes_the_payload_not_the_html_beside_it(recorder, page_of, read):
    report.table(TABLE, caption="True.")
    recorder.outputs[0].data["text/html"] = "<p>Forged</p>"
    assert "Forged" not in read(page_of("# T", recorder.cell())).text


HUGE = [{"label": "x", "numeric": True, "bar": [10**400]}]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"columns": 3, "rows": []},
        {"columns": [{}], "rows": [["x"]], "caption": ""},
        {"columns": HUGE, "rows": [["x"]], "caption": ""},
        {"columns": HUGE, "rows": [["x", "y"]], "caption": ""},
    ],
)
def test_a_payload_that_is_no_table_falls_back_to_text(page_of, read, payload):
    data = {media_type("table"): payload, "text/plain": "the words"}
    cell = new_code_cell("x", outputs=[new_output("display_data", data=data)])
    assert "the words" in read(page_of("# T", cell)).text


@pytest.mark.parametrize("value", [10**400, [1], {"a": 1}, None, True, "text", -1.5])
def test_a_recorded_value_of_any_kind_can_be_shown(page_of, read, value):
    payload = {"name": "odd", "value": value, "low": value, "high": value, "n": value, "unit": "percent:9:9"}
    cell = new_code_cell("x", outputs=[new_output("display_data", data={media_type("metric"): payload})])
    assert "Recorded numbers (1)" in read(page_of("# T", cell)).text


def test_streams_text_and_scripts(page_of, read):
    outputs = [
        new_output("stream", name="stdout", text="printed\x1b[31m red\x1b[0m"),
        new_output("stream", name="stderr", text="a warning"),
        new_output("execute_result", data={"text/plain": "<object>"}),
        new_output("display_data", data={"application/javascript": "alert(1)", "text/plain": "js"}),
        new_output("display_data", data={"text/markdown": "*bold* [link](https://x.example)", "text/plain": "md"}),
    ]
    page = read(page_of("# T", new_code_cell("x", outputs=outputs, execution_count=1)))
    for expected in ("printed red", "a warning", "<object>", "needs a script", "bold"):
        assert expected in page.text
    assert "alert(1)" not in page.text
    assert not page.find("a", href="https://x.example")
    assert page.find("details", **{"class": "messages"})


def failing_cells():
    error = new_output(
        "error", ename="ValueError", evalue="n < 10 & so on", traceback=["\x1b[0;31mline 1\x1b[0m", "line 2"]
    )
    ran = new_code_cell("fine()", execution_count=1)
    failed = new_code_cell("broken()", execution_count=2, outputs=[error])
    return ["# T", "## Fit", ran, failed, new_code_cell("never()"), new_code_cell("never()")]


def test_a_failure_is_said_first_linked_and_marked(page_of, read):
    page = read(page_of(*failing_cells(), source_name="03_models.failed.ipynb"))
    assert "This notebook did not finish" in page.text
    assert "Fit" in page.text
    assert "ValueError: n < 10 & so on" in page.text
    assert "2 code cells after it were not run" in page.text
    marked = page.find("div", **{"class": "cell failed"})
    assert len(marked) == 1
    assert page.find("a", href=f"#{marked[0]['id']}")
    assert "line 1\nline 2" in page.text
    assert "\x1b" not in page.text


def test_papermills_own_banners_are_left_out(page_of, read):
    banner = new_markdown_cell("An Exception was encountered", metadata={"tags": ["papermill-error-cell-tag"]})
    page = read(page_of(*failing_cells(), banner))
    assert "An Exception was encountered" not in page.text


def test_a_killed_kernel_leaves_no_error_but_is_said_all_the_same(page_of, read):
    done = new_code_cell("done()", execution_count=1, metadata={"papermill": {"status": "completed"}})
    hung = new_code_cell("hung()", metadata={"papermill": {"status": "running"}})
    page = read(page_of("# T", done, hung, run={"error": "the kernel died"}, source_name="x.failed"))
    assert "This notebook did not finish" in page.text
    assert "the kernel died" in page.text
    assert page.find("div", **{"class": "cell failed"})
    bare = read(page_of("# T", done, source_name="x.failed"))
    assert "This notebook did not finish" in bare.text


def test_a_finished_notebook_has_no_failure(story, page_of, read):
    assert "did not finish" not in read(page_of(*story, run={"error": "another notebook failed"})).text


def test_links_and_facts_of_a_run(story, page_of, read):
    run = {"run": "2026-11-22", "started_at": "2026-11-22T09:49:00Z", "code_version": "a1b2", "data_fingerprint": "ff"}
    page = read(page_of(*story, run=run))
    assert page.find("a", href="../../index.html")
    assert page.find("a", href="03_models.ipynb")
    assert "Code version: a1b2" in page.text
    assert not read(page_of(*story)).find("a", href="../../index.html")


def test_the_page_is_the_same_every_time_and_leaves_the_notebook_alone(story, notebook):
    nb = notebook(*story)
    before = str(nb)
    pages = {report.render(nb, source_name="x", run=None) for _ in range(2)}
    assert len(pages) == 1
    assert str(nb) == before


def test_the_page_itself_is_small(page_of):
    assert len(page_of("# T")) < 18 * 1024


def test_nbconvert_can_use_the_exporter_by_its_name(story, notebook):
    from nbconvert.exporters import get_exporter

    exporter = get_exporter("crmlab.report.exporter.ReportExporter")()
    page, _ = exporter.from_notebook_node(notebook(*story))
    assert "Model a is best." in page
    assert exporter.file_extension == ".html"


def test_a_real_kernel_stores_what_the_page_needs(notebook, read):
    from nbclient import NotebookClient

    source = """
import matplotlib.pyplot as plt
import pandas as pd
from crmlab import report
report.start("Q?", {"as_of": "2025-01-06"})
fig, ax = plt.subplots()
report.figure(ax, alt="A figure.", caption="Words.")
report.headline("Yes.", tone="good")
report.table(pd.DataFrame({"n": [1]}), caption="T.")
report.record("x", float("nan"))
"""
    nb = notebook("# Real", new_code_cell(source), kernelspec={"name": "python3", "display_name": "Python 3"})
    NotebookClient(nb, timeout=120, kernel_name="python3").execute()
    page = read(report.render(nb, source_name="real"))
    assert [image["alt"] for image in page.find("img")] == ["A figure."]  # once: the figure was closed
    assert "Yes." in page.text
    assert "Words." in page.text
    assert [row["name"] for row in report.metrics_of(nb)] == ["headline_1", "x"]


def test_the_reader_sees_which_data_which_date_and_how_far_ahead(story, page_of, read):
    text = read(page_of(*story, run={"title": "Demo leads"})).text
    assert "Demo leads" in text
    assert "as of 2025-01-06" in text
    assert "90 days ahead" in text
