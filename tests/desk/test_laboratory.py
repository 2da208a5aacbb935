"""JupyterLab as `workbench lab` starts it, with the view to drag in a real browser."""

import contextlib
import json
import os
import re
import sys
import uuid

import nbformat
import pytest
import requests
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from workbench import desk
from workbench.desk.laboratory import write_kernel
from workbench.errors import DeskError

SETUP = """\
from workbench import desk, detectors, plant
readings, labels = plant.simulate(pumps=2, days=4, seed=7)
early = readings["event_time"] < "2026-01-07T00:00:00Z"
spec = {"name": "regression", "window": 10, "channels": list(plant.CHANNELS)}
fitted = detectors.fit(spec, readings[early], sensor="pump", seed=7)
rule = detectors.EpisodeRule(k=3, n=5, m=10)
detectors.save(fitted, "package", threshold=4.0, rule=rule, training={})
package = detectors.load("package")
rest = readings[~early].reset_index(drop=True)
found = detectors.detect(package, rest, sensor="pump", lateness_ms=60_000)
'magic at hand' if get_ipython().find_line_magic("pulsar_sql") else 'no magic'"""
LABEL = """\
from workbench import desk, plant
from workbench.stream import parse_stream
readings, _ = plant.simulate(pumps=2, days=4, seed=7)
described = {"topic": "pumps", "alerts": "alerts", "sensor": "pump", "window": 10}
stream = parse_stream("plant", {**described, "channels": list(plant.CHANNELS)})
'ready'"""
LABELLING = 'view = desk.label(stream, readings, who="ada")\nview'
VIEW = 'view = desk.tune(rest, found, package, labels=labels, sensor="pump")\nview'


def test_the_kernel_is_this_python_with_the_magic(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))

    folder = write_kernel()

    assert folder == tmp_path / "home" / "jupyter"
    kernel = json.loads((folder / "kernels" / "python3" / "kernel.json").read_text())
    assert kernel["argv"][0] == sys.executable
    assert kernel["argv"][-1] == "--InteractiveShellApp.extra_extensions=workbench"


def test_an_empty_token_is_refused(monkeypatch):
    monkeypatch.setenv("JUPYTER_TOKEN", "")

    with pytest.raises(DeskError) as refused:
        desk.lab()

    assert str(refused.value) == (
        "JUPYTER_TOKEN is empty, which lets everybody on this machine in\n"
        "  unset it, or set it to a secret"
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory, laboratory):
    """Start `workbench lab` on a project of two notebooks."""
    project = tmp_path_factory.mktemp("project")
    (project / "params").mkdir()
    (project / "notebooks").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    texts = {"drag": (SETUP, VIEW), "label": (LABEL, LABELLING)}
    for name, cells in texts.items():
        code = [nbformat.v4.new_code_cell(text) for text in cells]
        notebook = nbformat.v4.new_notebook(cells=code, metadata=kernel)
        nbformat.write(notebook, project / "notebooks" / f"{name}.ipynb")
    with laboratory(project) as lab:
        yield lab


@pytest.mark.notebook
def test_nobody_gets_in_without_the_token(url):
    assert requests.get(f"{url}/api/contents", timeout=30).status_code == 403
    known = requests.get(f"{url}/api/contents", params={"token": url.token}, timeout=30)
    assert {one["name"] for one in known.json()["content"]} >= {"notebooks", "params"}


def run(page, url, said):
    """Open a notebook and run its two cells; the first one ends with what it says."""
    page.goto(url)
    page.locator(".jp-CodeCell").nth(1).wait_for()
    page.get_by_text("workbench | Idle").wait_for()  # what is run before is lost
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-OutputArea-output", has_text=said).wait_for()
    page.keyboard.press("Shift+Enter")


@pytest.mark.notebook
def test_a_dragged_threshold_changes_alerts_and_events_found_in_the_browser(url, page, tmp_path):
    run(page, f"{url}/lab/tree/notebooks/drag.ipynb?token={url.token}", "magic at hand")
    table = page.locator(".widget-html table")
    table.wait_for()
    assert "5 of 5" in table.inner_text()
    picture = page.locator("img.widget-image").get_attribute("src")

    handle = page.locator(".widget-hslider .noUi-handle").last.bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 900, y, steps=5)  # past the end: above every score
    page.mouse.up()

    page.locator(".widget-html tr", has_text=re.compile("all sensors.*0.00.*0 of 5")).wait_for()
    page.wait_for_function(
        "before => document.querySelector('img.widget-image').src != before", arg=picture
    )
    page.get_by_text("workbench | Idle").wait_for()
    assert page.get_by_text("Jupyter news").count() == 0  # nobody is asked to fetch any
    page.screenshot(path=os.environ.get("WORKBENCH_SCREENSHOT", str(tmp_path / "lab.png")))


def drag(page, begin, end, down=0.5):
    """Drag over the picture, from and to parts of its width, at a part of its height."""
    box = page.locator(".jupyter-matplotlib canvas").first.bounding_box()
    y = box["y"] + down * box["height"]
    page.mouse.move(box["x"] + begin * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=8)
    page.mouse.up()


def span(page):
    """What the slider below the picture says."""
    return page.locator(".widget-readout").first.inner_text()


def pictured(page):
    """Whether the view's picture has come, with a size; a page that loads may lose it."""
    picture = page.locator(".jupyter-matplotlib canvas").first
    with contextlib.suppress(PlaywrightTimeout):
        picture.wait_for(timeout=30_000)
    box = picture.bounding_box() if picture.count() else None
    return box is not None and box["width"] > 100 and box["height"] > 100


def labelling(page, url):
    """Open the labelling notebook and run it, again where its picture was lost."""
    for _ in range(4):  # of a workspace of its own: others have their notebooks open, hidden
        name = uuid.uuid4().hex
        notebook = f"label.ipynb?token={url.token}"
        run(page, f"{url}/lab/workspaces/{name}/tree/notebooks/{notebook}", "ready")
        if pictured(page):
            return
    pytest.fail("no picture in four pages")


@pytest.mark.notebook
@pytest.mark.timeout(600)
def test_a_span_is_dragged_named_and_undone_and_a_reload_loses_nothing(url, page, tmp_path):
    kept = url.project / "home" / "alerts" / "plant" / "answers.jsonl"

    def keep(begin, end, kind, down):
        before = span(page)
        drag(page, begin, end, down)
        page.wait_for_function(
            "text => document.querySelector('.widget-readout').innerText != text", arg=before
        )
        page.locator(".widget-dropdown select").nth(1).select_option(label=kind)
        page.get_by_role("button", name="keep").click()

    labelling(page, url)
    keep(0.3, 0.4, "a fault that no alert told", 0.3)
    page.get_by_text(": missed, kept").wait_for()
    keep(0.6, 0.7, "known: maintenance, or meant to be", 0.65)
    page.get_by_text(": known, kept").wait_for()
    page.get_by_text("workbench | Idle").wait_for()
    page.wait_for_timeout(3_000)  # the picture comes after what is said
    page.screenshot(path=tmp_path / "label.png")
    page.get_by_role("button", name="undo").click()
    page.get_by_text(": withdrawn, kept").wait_for()
    before = kept.read_text()
    page.reload()
    page.get_by_text("workbench | Idle").wait_for()

    assert kept.read_text() == before
    missed, caught, withdrawn = map(json.loads, before.splitlines())
    assert [one["verdict"] for one in (missed, caught, withdrawn)] == [
        "missed", "known", "withdrawn",
    ]  # fmt: skip
    assert missed["start"] < missed["stop"] < caught["start"] < caught["stop"]
    assert withdrawn["alert"] == caught["id"]
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    if not pictured(page):
        labelling(page, url)
    keep(0.8, 0.9, "nothing, whatever it looks like", 0.475)
    page.get_by_text(": false, kept").wait_for()
    page.get_by_text("workbench | Idle").wait_for()
    page.wait_for_timeout(3_000)
    page.screenshot(path=tmp_path / "again.png")
    assert [json.loads(line)["verdict"] for line in kept.read_text().splitlines()][3:] == ["false"]
