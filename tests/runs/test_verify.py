"""A run made again gives the same, or what changed is said."""

import json

import pytest
from click.testing import CliRunner

from workbench import runs
from workbench.cli import cli
from workbench.errors import RunError

RECORD = """from workbench.runs import record
record({'twice': 2 * window + float(Path('../drift.txt').read_text()),
        'readings_per_s': __import__('time').time()})"""


def call(*arguments):
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.mark.notebook
def test_a_result_is_the_same_until_something_changes(project, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(project.path / "home"))
    (project.path / "drift.txt").write_text("0")
    notebook = project.notebook("from pathlib import Path", RECORD)
    run = runs.train(notebook, {"window": 30})

    same = call("verify", run.id)
    assert (same.exit_code, same.output) == (0, f"{run.id}: the result is the same\n")

    (project.path / "drift.txt").write_text("0.5")
    other = call("verify", run.id, "--json")
    assert other.exit_code == 1
    assert json.loads(other.output) == {
        "what": "metric", "name": "twice", "then": "60.0", "now": "60.5",
    }  # fmt: skip
    assert len(runs.runs()) == 1
    assert list((project.path / "home").iterdir()) == []


@pytest.mark.notebook
def test_what_cannot_be_made_again_is_said(project, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(project.path / "home"))
    notebook = project.notebook("if (sensor != ''):\n    raise ValueError(sensor)")
    run = runs.train(notebook, {"window": 30})
    with pytest.raises(RunError):
        runs.train(notebook, {"sensor": "pump-9"})
    failed = runs.runs()[-1]

    with pytest.raises(RunError) as error:
        runs.verify(failed)
    assert str(error.value) == (
        f"the run failed: ValueError: pump-9\n  in {failed.path}\n  nothing to compare"
    )

    project.notebook("1 / 0")
    with pytest.raises(RunError) as error:
        runs.verify(run)
    assert str(error.value) == (
        f"its notebook fails now: ZeroDivisionError: division by zero\n  in {run.path}"
    )

    notebook.unlink()
    with pytest.raises(RunError) as error:
        runs.verify(run)
    assert str(error.value) == f"its notebook notebooks/20_try.ipynb is gone\n  in {run.path}"


@pytest.mark.notebook
def test_code_that_is_none_of_this_project_is_not_executed_unless_it_is_trusted(
    project, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_HOME", str(project.path / "home"))
    notebook = project.notebook("from workbench.runs import record\nrecord({'twice': 2 * window})")
    run = runs.train(notebook, {"window": 30})
    about = json.loads((run.path / "run.json").read_text())
    brought = run.path / "brought.ipynb"
    brought.write_bytes(notebook.read_bytes())
    inside = str(brought.relative_to(project.path))
    (run.path / "run.json").write_text(json.dumps({**about, "notebook": inside}))

    assert call("verify", run.id).exit_code == 0  # it is equal to one of ours, which is executed

    code = "import os; os.mkdir('../../code-was-run')"
    project.notebook(code, name="other.ipynb").rename(brought)
    refused = CliRunner().invoke(cli, ["verify", run.id])
    assert refused.exit_code == 1
    assert str(refused.exception or refused.output).startswith(
        f"its notebook {inside} is none of this project's, and is code"
    )
    assert not list(project.path.parent.rglob("code-was-run"))
    trusted = call("verify", run.id, "--trust")
    assert trusted.exit_code == 1, "another result, but it was executed"
