"""Reports are no wider than what they are looked at with: a desk's window, a phone."""

import json

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from workbench import runs
from workbench.runs.sweeps import Sweep

from ..conftest import write_run

pytestmark = pytest.mark.slow

HASH = 32 * "3f"
TABLE = pd.DataFrame({f"a_long_column_{number}": [1.234567] * 3 for number in range(20)})
WIDE = f"""## {"Aheadingthatiswiderthanaphone" * 3}

`{HASH}{HASH}{HASH}` and https://example.org/{HASH}{HASH} {HASH}{HASH}

|{"a column |" * 20}
|{"---|" * 20}
|{"1.2345678 |" * 20}

```
{"x" * 300}
```

> {HASH}{HASH}
"""
SHOWN = f"""<p>{HASH}{HASH}</p><ul><li>{HASH}{HASH}</li></ul>
<table><tr><th>package</th><td><code>{HASH}{HASH}</code></td></tr></table>"""
OUTPUTS = [
    new_output("execute_result", {"text/html": TABLE.to_html()}, execution_count=1),
    new_output("display_data", {"text/html": SHOWN}),
    new_output("stream", text="z" * 500),
    new_output("execute_result", {"text/plain": f"'{HASH}'"}, execution_count=1),
]
DATA = {
    "topic": f"persistent://public/default/{HASH}",
    "start": "2026-01-05T00:00:00Z",
    "stop": "2026-01-12T00:00:00Z",
    "objects": [{"key": f"{HASH}-ledger-{number}", "etag": HASH} for number in range(3)],
}
METRICS = ("recall", "precision", "f1", "vus_pr", "false_alerts_per_sensor_day", "delay_median_s")
OUTSIDE = """[...document.querySelectorAll("body *")].filter((element) => {
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.right <= innerWidth + 1) return false;
  for (let above = element.parentElement; above !== document.body; above = above.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(above).overflowX)) return false;
  return true;
}).map((element) => element.outerHTML.slice(0, 99))"""


@pytest.fixture
def reports(tmp_path):
    """Write a report of each kind that holds what is too wide."""
    cells = [new_markdown_cell("# Wide"), new_markdown_cell(WIDE)]
    cells.append(new_code_cell("y" * 200, outputs=OUTPUTS))
    swept = []
    for number in range(1, 9):
        detector = {"name": "relation_between_channels", "window": number, "neighbours": number}
        params = {"detector": detector, "sensor": f"pump-{number}", "budget_per_day": number}
        metrics = dict.fromkeys(METRICS, number / 7)
        swept.append(
            write_run(tmp_path, number, cells, params=params, metrics=metrics, data=[DATA])
        )
    about = {
        "sources": [f"params/20_train-{HASH}.yaml"],
        "notebooks": ["notebooks/20_train.ipynb"],
        "metric": "delay_median_s",
        "repeated": ["sensor"],
        "cached": [],
        "lost": {f"params/{HASH}{HASH}.yaml": f"its worker ended: {HASH}{HASH}"},
    }
    sweep = Sweep(tmp_path / "sweep-20260105T101500Z-3fa1c0de", about, swept)
    sweep.path.mkdir()
    (sweep.path / "sweep.json").write_text(json.dumps(about))
    story = tmp_path / "story.html"
    return [
        runs.write_report(swept[0]),
        runs.write_sweep_report(sweep),
        runs.write_story(swept[:2], story, title=HASH, summary=[("package", HASH)]),
    ]


@pytest.mark.parametrize("width", [1200, 390, 320])
def test_a_report_is_no_wider_than_its_window_and_tables_scroll_in_their_frames(
    reports, chromium, width
):
    page = chromium.new_context(viewport={"width": width, "height": 800}, offline=True).new_page()
    for path in reports:
        page.goto(path.as_uri())

        page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")

        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        assert page.evaluate(OUTSIDE) == [], path
        for line in page.locator("pre.line").all():  # a hash wraps, where lines of a table scroll
            assert line.evaluate("line => line.scrollWidth <= line.clientWidth")
    page.goto(reports[0].as_uri())
    assert page.locator("pre.line").count() == 1


def test_a_sweep_shows_first_what_decided_it_and_all_of_it_in_a_desks_window(reports, chromium):
    page = chromium.new_context(viewport={"width": 1200, "height": 800}, offline=True).new_page()
    page.goto(reports[1].as_uri())

    heads = page.locator("#runs thead th").all()
    names = [head.inner_text().replace("\n", "") for head in heads]
    boxes = [head.bounding_box() for head in heads]

    assert [name.rstrip(" ↑↓") for name in names][-7:-4] == [
        "delay_median_s",
        "recall",
        "precision",
    ]
    assert all(box["x"] + box["width"] <= 1200 for box in boxes)
