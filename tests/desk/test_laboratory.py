"""JupyterLab as `workbench lab` starts it, with the view to drag in a real browser."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import requests

from workbench import desk
from workbench.desk.laboratory import write_kernel
from workbench.errors import DeskError

TOKEN = "a-token-for-this-test"  # noqa: S105
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
def url(tmp_path_factory):
    """Start `workbench lab` on a project of one notebook; stop it and its kernels after."""
    project = tmp_path_factory.mktemp("project")
    (project / "params").mkdir()
    (project / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(SETUP), nbformat.v4.new_code_cell(VIEW)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=kernel), project / "notebooks" / "drag.ipynb"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"JUPYTER_TOKEN": TOKEN, "WORKBENCH_HOME": str(project / "home")}
    own |= {name: str(project / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [
        Path(sys.executable).parent / "workbench",
        "lab",
        "--no-browser",
        "--port",
        str(port),
    ]
    with (project / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=project, env={**os.environ, **own}, stdout=log, stderr=log
        )
    try:
        _wait(f"http://127.0.0.1:{port}/login", server, project / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        if server.poll() is None:
            _end(server.pid)
        server.wait(30)


def _wait(url, server, log):
    for _ in range(240):
        if server.poll() is not None:
            pytest.fail(f"JupyterLab ended: {log.read_text()}")
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.25)
        else:
            return
    pytest.fail(f"JupyterLab did not answer: {log.read_text()}")


def _end(pid):
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    family[0].terminate()
    for one in psutil.wait_procs(family, timeout=20)[1]:
        one.kill()


@pytest.mark.notebook
def test_nobody_gets_in_without_the_token(url):
    assert requests.get(f"{url}/api/contents", timeout=30).status_code == 403
    known = requests.get(f"{url}/api/contents", params={"token": TOKEN}, timeout=30)
    assert {one["name"] for one in known.json()["content"]} >= {"notebooks", "params"}


@pytest.fixture
def page():
    """A page of Debian's Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(90_000)
        yield page
        browser.close()


@pytest.mark.notebook
def test_a_dragged_threshold_changes_alerts_and_events_found_in_the_browser(url, page, tmp_path):
    page.goto(f"{url}/lab/tree/notebooks/drag.ipynb?token={TOKEN}")
    page.locator(".jp-CodeCell").nth(1).wait_for()
    page.get_by_text("workbench | Idle").wait_for()  # what is run before is lost
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-OutputArea-output", has_text="magic at hand").wait_for()
    page.keyboard.press("Shift+Enter")
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
