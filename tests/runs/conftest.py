"""A small project of a notebook and params files, written by the test."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

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
