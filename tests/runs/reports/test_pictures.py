"""Pictures of a notebook stay in its report, and nothing that runs or loads comes with them."""

import base64
import io
import re

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from workbench import runs
from workbench.runs.reports.pictures import clean_svg, picture
from workbench.runs.reports.run_report import harmless, markdown

from ..conftest import write_run

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SVG = '<svg viewBox="0 0 9 9" width="9" height="9"><rect width="9" height="9" fill="#a00"/></svg>'
SVG_64 = base64.b64encode(SVG.encode()).decode()
ATTACHED = {"image.png": {"image/png": PNG}, "a b.png": {"image/png": PNG}}
LEFT = "[a picture is left out: {}]"

KEPT = {
    "Markdown attachment": "before ![pump](attachment:image.png) after",
    "attachment in a tag": 'before <img src="attachment:image.png" width="20"> after',
    "attachment with a blank": "before ![pump](attachment:a%20b.png) after",
    "attachment by reference": "before ![pump][p] after\n\n[p]: attachment:image.png",
    "attachment under a heading": "## What\n\n![pump](attachment:image.png)",
    "address in Markdown": f"![pump](data:image/png;base64,{PNG})",
    "vector address in Markdown": f"![pump](data:image/svg+xml;base64,{SVG_64})",
    "address in a tag": f'<img src="data:image/png;base64,{PNG}" alt="x">',
    "in a table": f"| a |\n|---|\n| ![x](data:image/png;base64,{PNG}) |",
    "in a picture element": f'<picture><img src="data:image/png;base64,{PNG}"></picture>',
    "with blanks and capitals": f'<img src=" DATA:Image/PNG;x=y;BASE64,{PNG[:9]}\n{PNG[9:]}">',
    "without its end": f'<img src="data:image/png;base64,{PNG.rstrip("=")}">',
    "gif": f'<img src="data:image/gif;base64,{GIF}">',
    "not in base64": f"<img src='data:image/svg+xml;utf8,{SVG.replace('#', '%23')}'>",
    "drawn in the text": f"<div>{SVG}</div>",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_a_picture_that_lies_in_the_notebook_stays(text):
    images = BeautifulSoup(markdown(text, ATTACHED), "html.parser")("img")

    assert len(images) == 1
    assert re.match(r"data:image/(png|gif|svg\+xml);base64,[\w+/]+=*$", images[0]["src"])
    if "svg" in images[0]["src"]:
        drawn = base64.b64decode(images[0]["src"].partition(",")[2])
        assert b'fill="#a00"' in drawn
        assert b'viewBox="0 0 9 9"' in drawn


OUT = {
    "another server": ('<img src="https://example.org/x.png">', "it does not lie in the notebook"),
    "another server's": ("![x](//example.org/x.png)", "it does not lie in the notebook"),
    "a file": ("![x](pump.png)", "it does not lie in the notebook"),
    "nothing": ("<img>", "it does not lie in the notebook"),
    "a script": ('<img src="javascript:x()">', "it does not lie in the notebook"),
    "a page": (f'<img src="data:text/html;base64,{PNG}">', "it is damaged, or none"),
    "a page called so": (f'<img src="data:image/html;base64,{PNG}">', "it is damaged, or none"),
    "damaged": ('<img src="data:image/png;base64,iV?O">', "it is damaged, or none"),
    "empty": ('<img src="data:image/png;base64,">', "it is damaged, or none"),
    "no drawing": ('<img src="data:image/svg+xml,<html/>">', "it is damaged, or none"),
    "not attached": ("![x](attachment:other.png)", "the cell has no such attachment, 'other.png'"),
}


@pytest.mark.parametrize(("text", "why"), OUT.values(), ids=OUT)
def test_a_picture_that_is_left_out_is_told(text, why):
    html = markdown(f"before {text} after", ATTACHED)

    assert "<img" not in html
    assert LEFT.format(why) in BeautifulSoup(html, "html.parser").get_text()


ACTIVE = [
    '<svg><script>x()</script><path d="M0 0"/></svg>',
    '<svg onload="x()"><path d="M0 0" onclick="x()"/></svg>',
    '<svg><foreignObject><iframe src="https://example.org"/></foreignObject></svg>',
    '<svg><use href="https://example.org/a.svg#b"/><image href="https://example.org/x.png"/></svg>',
    '<svg xmlns:l="http://www.w3.org/1999/xlink"><a l:href="javascript:x">'
    '<path d="M0 0"/></a></svg>',
    '<svg><style>@import "https://example.org/a.css";</style><path d="M0 0"/></svg>',
    '<svg><style>path { fill: u\\72l(https://example.org/a) }</style><path d="M0 0"/></svg>',
    '<svg><path d="M0 0" style="fill: url(https://example.org/a)"/></svg>',
    '<svg><set attributeName="href" to="javascript:x()"/><path d="M0 0"/></svg>',
    '<?xml-stylesheet href="https://example.org/a.css"?><svg><path d="M0 0"/></svg>',
    '<!DOCTYPE svg [<!ENTITY e "&lt;script&gt;x()&lt;/script&gt;">]><svg><text>&e;</text></svg>',
    '<svg xmlns:h="http://www.w3.org/1999/xhtml"><h:script>x()</h:script><path d="M0 0"/></svg>',
    '<svg><image href="data:image/svg+xml,%3Csvg onload=%22x()%22/%3E"/></svg>',
]
RUNS = re.compile(r"<script|onload=|onclick=|example[.]org|javascript:|foreign|<set|<!ENTITY", re.I)


@pytest.mark.parametrize("svg", ACTIVE)
def test_a_drawing_keeps_its_shapes_and_nothing_that_runs_or_loads(svg):
    cleaned = (clean_svg(svg.encode()) or b"").decode()

    assert not RUNS.search(cleaned)
    assert ("<path" in svg) == ("<path" in cleaned)
    for inner in re.findall(r"base64,([\w+/=]+)", cleaned):
        assert not RUNS.search(base64.b64decode(inner).decode())


def test_entities_that_blow_up_make_no_drawing():
    lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE svg [<!ENTITY a0 "ha">{lines}]><svg><text>&a9;</text></svg>'

    assert clean_svg(bomb.encode()) is None
    assert clean_svg(b"<svg>" + b"<g>" * 100_000 + b"</g>" * 100_000 + b"</svg>") is None


LINKS = [
    "data:text/html,<script>x()</script>",
    "DA\tTA:text/html,x",
    "java\nscript:x()",
    " javascript:x()",
    "&#106;avascript:x()",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:x",
]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_to_no_page_of_its_own_making(link):
    html = harmless(f"<a href='{link}'>here</a>")

    assert html == "<a>here</a>"


def test_links_to_pages_mail_and_places_stay():
    for link in ("https://example.org/a?b=c:d", "mailto:a@example.org", "#cell-3", "other.html"):
        assert harmless(f'<a href="{link}">here</a>') == f'<a href="{link}">here</a>'


def test_what_would_have_played_or_been_drawn_by_a_script_is_told():
    assert harmless("<iframe src='https://example.org'>no</iframe>") == (
        "<em>[what stood in &lt;iframe&gt; is left out]</em>"
    )
    assert harmless("<div id='chart'></div><script>draw()</script>").endswith(
        "<em>[what a script would have drawn is left out]</em>"
    )
    assert harmless("<p>a text</p><script>x()</script>") == "<p>a text</p>"


@given(st.text(alphabet=" <>\"'=/&;:#imgsrcdatvxnlo\n\t()\0", max_size=200))
def test_no_text_becomes_anything_that_runs(text):
    soup = BeautifulSoup(harmless(f"{text}<img src={text}><svg {text}>"), "html.parser")

    assert not {"script", "svg", "style", "iframe", "object", "link"} & {e.name for e in soup()}
    assert not [name for e in soup() for name in e.attrs if name.startswith("on")]
    for image in soup("img"):
        assert picture(image["src"]) == image["src"]


HOSTILE = "".join(ACTIVE) + "".join(f'<a href="{link}">x</a>' for link in LINKS)


@pytest.mark.slow
def test_a_browser_shows_every_picture_of_a_report_and_asks_nobody(tmp_path, chromium):
    notes = [text for name, text in KEPT.items() if "utf8" not in text]
    cells = [
        new_markdown_cell("# Pictures"),
        *(new_markdown_cell(f"## Note\n\n{text}", attachments=ATTACHED) for text in notes),
        new_code_cell(
            "show()",
            outputs=[
                new_output(
                    "display_data", {"text/html": f'<img src="data:image/png;base64,{PNG}">'}
                ),
                new_output("display_data", {"text/markdown": KEPT["address in Markdown"]}),
                new_output("display_data", {"image/png": PNG, "text/plain": "picture"}),
                new_output("display_data", {"image/gif": GIF, "text/plain": "picture"}),
                new_output("display_data", {"image/svg+xml": SVG, "text/plain": "picture"}),
                new_output("display_data", {"text/html": HOSTILE}),
                new_output("display_data", {"text/markdown": HOSTILE + OUT["another server"][0]}),
            ],
        ),
    ]
    path = runs.write_report(write_run(tmp_path, 1, cells))
    asked, said = [], []
    page = chromium.new_context(offline=True).new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    page.goto(path.as_uri())

    plain = page.evaluate(
        "[...document.images].filter(e => !atob(e.src.split(',')[1]).includes('M0 0'))"
        ".map(e => e.naturalWidth)"
    )
    assert len(plain) >= len(notes) + 5
    assert min(plain) > 0
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert said == []


def test_a_figure_is_dimmed_on_a_dark_page_and_a_photo_is_not(tmp_path):
    figure, drawn = Figure(), io.BytesIO()
    figure.subplots().plot([1, 2])
    figure.savefig(drawn, format="png", bbox_inches="tight")
    outputs = [
        new_output("display_data", {"image/png": png})
        for png in (base64.encodebytes(drawn.getvalue()).decode(), PNG, "no picture")
    ]

    path = runs.write_report(write_run(tmp_path, 1, [new_code_cell("a", outputs=outputs)]))

    images = BeautifulSoup(path.read_text(), "html.parser")("img")
    assert [image.get("class") for image in images] == [["drawn"], None, None]
