"""Hostile CRM text: in every place of a page it stays text, runs nothing and fetches nothing.

The parse tests always run; where Chromium is installed the same pages are opened in it, beside the same strings on a
page without protection, which shows that the strings do bite and that the policy alone holds them.
"""

import json
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_output

from crmlab import report
from crmlab.report.escape import clean, escape
from crmlab.report.exporter import style_sheet, template_environment
from crmlab.report.outputs import media_type

# Where {n} marks the document and {hit} fetches an address that the test's server would see.
_RUN = "top.document.documentElement.setAttribute('data-ran-{n}','')"
_ATTACKS = [
    "<script>{run}</script>",
    "<script src={hit}></script>",
    "<ScRiPt >{run}</sCrIpT >",
    '<img src="x:x" onerror="{run}">',
    "<img src={hit}>",
    '<img src=x:x onerror={run} alt="`',
    '<svg onload="{run}"></svg>',
    '<svg><script>{run}</script><image href="{hit}"/></svg>',
    '<math><mtext><table><mglyph><style><img src=x:x onerror="{run}">',
    '"><script>{run}</script>',
    "'><img src=x:x onerror=\"{run}\"><'",
    '" autofocus onfocus="{run}" x="',
    "</details></table></div><script>{run}</script>",
    "</title><script>{run}</script>",
    "</style><script>{run}</script>",
    "</textarea></pre><script>{run}</script>",
    "<style>body{{background:url({hit})}}</style>",
    '<p style="background:url({hit});position:fixed">over all</p>',
    "x;background:url({hit});width:100%",
    '<link rel="stylesheet" href="{hit}">',
    '<iframe src="{hit}"></iframe>',
    '<iframe srcdoc="<script>{run}</script>"></iframe>',
    '<object data="{hit}"></object><embed src="{hit}">',
    '<video poster="{hit}" src="{hit}" autoplay></video>',
    '<body onload="{run}"><input autofocus onfocus="{run}">',
    '<details open ontoggle="{run}"><summary>x</summary></details>',
    '<base href="{hit}"><form action="{hit}"><button>send</button></form>',
    '<meta http-equiv="refresh" content="0;url={hit}">',
    '<a href="javascript:{run}" id="answer">click</a>',
    "[click](javascript:{run})",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "![picture]({hit})",
    "<{hit}> https://phish.example/login",
    "$\\href{{javascript:{run}}}{{x}}$ \\require{{html}} $$\\unicode{{x}}$$ <mathjax>",
    "```html\n<script>{run}</script>\n```",
    "&lt;script&gt;{run}&lt;/script&gt; &#60;img src=x:x onerror={run}&#62;",
    "{{{{ 7 * 191 }}}} {{% raw %}} ${{7*191}}",
    "<scr\x00ipt>{run}</script\x00> \x1b[31m \x08",
    "Rossi \u202egpj.exe\u202c \u2066isolated \u2028 line",
    "=HYPERLINK(\"{hit}\") @SUM(A1) <!-- <script>{run}</script> --!> ]]> <![CDATA[",
    "\ud800 lone \ufffe surrogate <plaintext>",
    '<template><img src=x:x onerror="{run}"></template><noscript><img src=x:x onerror="{run}"></noscript>',
]  # fmt: skip
ADDRESS = "http://127.0.0.1:1"
_DANGEROUS = {
    "script", "iframe", "object", "embed", "base", "form", "input", "button", "svg", "math", "template", "video",
    "audio", "noscript", "frame", "frameset", "applet", "plaintext", "textarea",
}  # fmt: skip
_HARMLESS_LINK = re.compile(r"#[^\s\"']*|\.\./\.\./index\.html|[\w%.~-]+(/[\w%.~-]+)*\.(html|ipynb)")
_HARMLESS_STYLE = re.compile(
    r"(text-align: ?(left|right|center);?)?"
    r"|background:linear-gradient\(#4c9fcf,#4c9fcf\) 0 [.\d]+em/[\d.]+% 8px no-repeat"
)


def attacks(address=ADDRESS):
    """Return the strings, each with its own mark and its own address."""
    return [attack.format(run=_RUN.format(n=n), hit=f"{address}/hit-{n}", n=n) for n, attack in enumerate(_ATTACKS)]


@pytest.fixture
def hostile(recorder, notebook):
    """Return a function that makes a notebook with the strings in every place that data can reach."""

    def build(strings):
        _show_everything(strings)
        own = recorder.cell("rows", 1)
        foreign = new_code_cell("rows", execution_count=2, outputs=[o for s in strings for o in _foreign(s)])
        forged = new_code_cell("rows", execution_count=3, outputs=[_forged(s) for s in strings])
        error = new_output("error", ename=strings[0], evalue="\n".join(strings), traceback=strings)
        broken = new_code_cell("\n".join(strings), execution_count=4, outputs=[error])
        return notebook("# Title", own, foreign, forged, broken, title=strings[0], papermill={"input_path": strings[0]})

    return build


def _show_everything(strings):
    import matplotlib.pyplot as plt

    frame = pd.DataFrame({"note": strings, strings[0]: strings}, dtype=object).assign(n=1)
    params = dict(zip(strings, strings, strict=True)) | {"as_of": strings[0], "horizon_days": strings[1]}
    report.start(strings[0], params, _Crm(strings))
    report.table(frame, caption=strings[0], limit=None)
    report.table(
        frame.set_index("note"), caption="Index.", index=True, limit=None, labels={"n": strings[3]}, bars=["n"]
    )
    wide = pd.DataFrame([range(len(strings))], columns=pd.Index(strings, dtype=object))
    report.table(wide, caption="Columns.")
    for text in strings:
        report.headline(text, tone="good")
        report.sentence(text)
        report.record(text, text, label=text, unit=text, headline=True)
        report.record(f"{text} n", 1.5, label=text, unit=text)
    _, ax = plt.subplots(figsize=(1, 1))
    report.figure(ax, alt=" ".join(strings), data=frame, caption=" ".join(strings), limit=None)


class _Crm:
    def __init__(self, strings):
        self.title, self.fingerprint = strings[0], strings[1]
        self._strings = strings

    def counts(self):
        return dict.fromkeys(self._strings, 1)


def _foreign(text):
    """Outputs that a user's own code made of the text."""
    yield new_output("display_data", data={"text/html": text, "text/plain": text})
    yield new_output("display_data", data={"text/html": f"<table><tr><td {text}>{text}</td></tr></table>"})
    yield new_output("display_data", data={"text/markdown": text, "text/plain": text})
    yield new_output("display_data", data={"text/latex": text, "text/plain": text})
    yield new_output("display_data", data={"image/svg+xml": text})
    yield new_output("display_data", data={"image/png": text}, metadata={"image/png": {"alt": text, "width": text}})
    yield new_output("display_data", data={"application/javascript": text})
    yield new_output("stream", name="stdout", text=text)
    yield new_output("stream", name="stderr", text=text)


def _forged(text):
    """A payload of our own kind that our own code would never write."""
    column = {"label": text, "numeric": text, "bar": [text], "short": text}
    table = {"columns": [column], "rows": [[text]], "caption": text, "total": 1, "marked": [0], "heads": 1}
    payloads = {
        media_type("table"): table if len(text) % 2 else {"columns": text, "rows": text},
        "text/plain": text,
    }
    return new_output("display_data", data=payloads)


def check_harmless(page):
    """Check each element, attribute and address of a parsed page against what the templates may write."""
    tags = {tag for tag, _ in page.elements}
    assert not tags & _DANGEROUS
    assert len(page.find("style")) == 1
    assert page.style.strip() == str(style_sheet()).strip()
    assert [own.get("http-equiv") for own in page.find("meta") if "http-equiv" in own] == ["Content-Security-Policy"]
    assert page.find("link") == [{"rel": "icon", "href": "data:,"}]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "formaction", "data", "srcset", "poster", "background", "srcdoc", "ping"):
            if name in attributes and tag != "link":
                assert tag in ("img", "a"), (tag, attributes)
        if tag == "img":
            assert re.fullmatch(r"data:image/(png|jpeg|gif|svg\+xml);base64,[A-Za-z0-9+/=]*", attributes["src"])
        if tag == "a":
            assert _HARMLESS_LINK.fullmatch(attributes.get("href", "#")), attributes
        assert _HARMLESS_STYLE.fullmatch(attributes.get("style", "")), attributes


def test_no_string_becomes_markup_anywhere_in_a_page(hostile, read):
    strings = attacks()
    run = dict.fromkeys(("run", "title", "started_at", "code_version", "data_fingerprint", "error"), " ".join(strings))
    page = read(report.render(hostile(strings), source_name=f"{strings[0]}.ipynb", run=run))
    check_harmless(page)


@pytest.mark.parametrize("text", attacks(), ids=range(len(_ATTACKS)))
def test_a_table_shows_each_string_as_it_is(recorder, notebook, read, text):
    report.table(pd.DataFrame({"note": [text]}, dtype=object), caption="Notes.")
    page = read(report.render(notebook("# T", recorder.cell()), source_name="x"))
    check_harmless(page)
    assert clean(text) in page.text


@pytest.mark.parametrize("text", attacks(), ids=range(len(_ATTACKS)))
def test_a_markdown_cell_cannot_run_or_load_anything(notebook, read, text):
    page = read(
        report.render(notebook("# T", text, f"## {text}", f"- {text}\n\n| a |\n|---|\n| {text} |"), source_name="x")
    )
    links = [own.get("href", "") for own in page.find("a")]
    assert not [href for href in links if re.match(r"\s*(javascript|data|vbscript|file):", href, re.IGNORECASE)]
    safe = [(tag, own) for tag, own in page.elements if not (tag == "a" and own.get("href", "").startswith("http"))]
    page.elements = safe  # an author may link to a web page; nothing is loaded until it is clicked
    check_harmless(page)


def test_the_html_for_jupyterlab_holds_no_markup_either(recorder, read):
    _show_everything(attacks())
    for output in recorder.outputs:
        page = read(output.data.get("text/html", ""))
        assert not {tag for tag, _ in page.elements} & (_DANGEROUS | {"img", "a", "style", "link", "meta"})
        assert not [name for _, own in page.elements for name in own if name.startswith("on")]
        json.dumps(output.data, ensure_ascii=False).encode("utf-8")  # no lone surrogate: the notebook can be saved


def test_control_characters_and_reordering_marks_are_made_visible():
    assert clean("a\x00b\x1b\u202e\u2066\ud800") == "a" + "\ufffd" + "b" + "\ufffd" * 4
    assert clean("Müller, Đặng, 株式会社, שלום\t\n") == "Müller, Đặng, 株式会社, שלום\t\n"


@settings(max_examples=300)
@given(st.text())
def test_any_text_survives_escaping_as_text_and_as_attribute(text):
    from html.parser import HTMLParser

    class Parts(HTMLParser):
        found: list

        def handle_starttag(self, tag, attrs):
            self.found.append((tag, attrs))

        def handle_data(self, data):
            self.found.append(data)

    parser = Parts(convert_charrefs=True)
    parser.found = []
    parser.feed(f'<i title="{escape(text)}">{escape(text)}</i>')
    parser.close()
    assert parser.found[0] == ("i", [("title", clean(text))])
    assert "".join(parser.found[1:]) == clean(text)


def _hostile_reports(folder, strings):
    """Write run folders whose every field is hostile, under a study with a hostile name."""
    for i, text in enumerate(strings):
        run = folder / 'study <img src=x onerror=alert(1)> & "q"' / f"run {i} <script>"
        run.mkdir(parents=True)
        entry = {
            "notebook": text,
            "title": text,
            "status": text,
            "reason": text,
            "html": text,
            "ipynb": "../../x.ipynb",
        }
        metric = {"kind": "metric", "notebook": text, "name": text, "label": text, "value": 1.5, "unit": text}
        said = {"kind": "headline", "notebook": text, "name": "h", "label": text, "unit": text}
        facts = dict.fromkeys(
            ("title", "started_at", "error", "data_fingerprint", "code_version", "study", "run"), text
        )
        facts |= {"outcome": ("finished", "failed", "interrupted")[i % 3], "notebooks": [entry], "seconds": text}
        (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
        (run / "metrics.json").write_text(json.dumps([metric | {"headline": True}, said]), encoding="utf-8")


def test_no_string_becomes_markup_in_the_index(tmp_path, read):
    _hostile_reports(tmp_path, attacks())
    check_harmless(read(report.build_index(tmp_path)))


def test_a_browser_runs_and_fetches_nothing(browser, hostile):
    strings = attacks(browser.address)
    page = report.render(hostile(strings), source_name="x", run={"run": "r"})
    (browser.folder / "page.html").write_text(page, encoding="utf-8")
    assert browser.effects("page.html") == set()


def test_a_browser_runs_and_fetches_nothing_in_the_index(browser):
    _hostile_reports(browser.folder / "reports", attacks(browser.address))
    (browser.folder / "index.html").write_text(report.build_index(browser.folder / "reports"), encoding="utf-8")
    assert browser.effects("index.html") == set()


def test_the_same_strings_bite_where_nothing_protects(browser):
    """Without this, a browser that shows nothing at all would pass the tests above."""
    for n, text in enumerate(attacks(browser.address)):
        (browser.folder / f"raw-{n}.html").write_text(f"<!DOCTYPE html><html><body>{clean(text)}", encoding="utf-8")
    frames = "".join(f'<iframe src="raw-{n}.html"></iframe>' for n in range(len(_ATTACKS)))
    (browser.folder / "frames.html").write_text(
        f'<!DOCTYPE html><html><link rel="icon" href="data:,">{frames}', encoding="utf-8"
    )
    biting = {int(effect.rpartition("-")[2]) for effect in browser.effects("frames.html")}
    assert biting >= {0, 1, 3, 4, 6, 12, 16, 17, 19, 20, 21, 22, 25, 27}, sorted(biting)


def test_the_policy_alone_holds_what_is_not_escaped(browser):
    """The second wall: unescaped strings behind the policy run nothing and load nothing but by leaving the page."""
    head = template_environment().get_template("head.html.j2").render()
    leaving = [n for n, text in enumerate(_ATTACKS) if 'http-equiv="refresh"' in text]  # no policy stops a redirect
    body = "\n".join(clean(text) for n, text in enumerate(attacks(browser.address)) if n not in leaving)
    (browser.folder / "policy.html").write_text(
        f"<!DOCTYPE html><html><head>{head}</head><body>{body}", encoding="utf-8"
    )
    assert browser.effects("policy.html") == set()


def test_a_phone_needs_no_sideways_scrolling(browser, recorder, notebook):
    wide = pd.DataFrame({f"a rather long column name {i}": ["x" * 60, "word " * 40] for i in range(12)})
    report.headline("Leads" * 60)
    report.table(wide, caption="Wide. " * 40)
    nb = notebook(
        "# " + "Verylongwordwithoutbreaks" * 6, "## S\n\n" + "https://x.example/" + "y" * 200, recorder.cell("x" * 500)
    )
    (browser.folder / "page.html").write_text(
        report.render(nb, source_name="x" * 99, run={"run": "r"}), encoding="utf-8"
    )
    measure = """<!DOCTYPE html><html><body><iframe src="page.html" width="390" height="844" style="border:0" onload="
      const page = this.contentDocument.documentElement;
      document.body.dataset.overhang = page.scrollWidth - page.clientWidth"></iframe>"""
    (browser.folder / "frame.html").write_text(measure, encoding="utf-8")
    assert 'data-overhang="0"' in browser.open("frame.html")
