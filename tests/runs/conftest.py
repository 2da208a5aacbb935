"""A small project of a notebook and params files, written by the test."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import runs

PARAMETERS = "window: int = 60  # w, readings in a window [2..1000]\nsensor: str = ''  # which"


class Project:
    """Folders, and writers for what goes into them."""

    def __init__(self, path):
        self.path = path
        for name in ("notebooks", "params"):
            (path / name).mkdir()

    def notebook(self, *cells, parameters=PARAMETERS, name="20_try.ipynb"):
        written = new_notebook(
            cells=[
                new_markdown_cell("# Does it run?"),
                new_code_cell(parameters, metadata={"tags": ["parameters"]}),
                *(
                    new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell)
                    for cell in cells
                ),
            ]
        )
        path = self.path / "notebooks" / name
        nbformat.write(written, path)
        return path

    def params(self, text, name="20_try-a.yaml"):
        path = self.path / "params" / name
        path.write_text(text)
        return path


@pytest.fixture(scope="session")
def project_in():
    """Make a project of a folder."""
    return Project


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def write_run(store, number=1, cells=(), *, params=None, metrics=None, data=(), package=False):
    """Put a run into a store as one that ran there stands, without a kernel, and return it."""
    path = store / f"20260105T1015{number:02}Z-{number:08x}"
    path.mkdir(parents=True)
    notebook = new_notebook(cells=list(cells) or [new_markdown_cell("# Does it run?")])
    if not any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells):
        cell = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        notebook.cells.insert(1, cell)
    nbformat.write(notebook, path / "notebook.ipynb")
    about = {
        "status": "complete",
        "reason": None,
        "failed_cell": None,
        "notebook": "notebooks/20_try.ipynb",
        "source": f"params/20_try-{number}.yaml",
        "key": f"{number:064x}",
        "inputs": f"{number:08x}" + 28 * "3f",
        "started": f"2026-01-05T10:15:{number:02}Z",
        "wall_s": 4.2,
        "attempts": [{"wall_s": 4.2, "reason": None}],
    }
    manifest = {
        "data": list(data),
        "notebook_sha256": 32 * "ab",
        "files": {"data/labels.csv": 32 * "cd"},
        "code_sha256": 32 * "ef",
        "python": "3.11.7",
        "packages": {"numpy": "1.24.4", "pandas": "2.2.3"},
    }
    if package:
        (path / "detector").mkdir()
        (path / "detector" / "detector.json").write_text("{}")
    contents = {"run": about, "params": params or {}, "metrics": metrics or {}}
    for name, content in {**contents, "manifest": manifest}.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return runs.find(path)


@pytest.fixture
def chromium():
    """Give a browser without a network, or skip."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as browsers:
        try:
            browser = browsers.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-background-networking"],
            )
        except playwright.Error:
            pytest.skip("there is no Chromium here: apt-get install chromium")
        yield browser
        browser.close()
