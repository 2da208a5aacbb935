"""One run: checked, executed, recorded, kept."""

import json
import sys
from pathlib import Path

import nbformat
import pytest

from workbench import runs
from workbench.errors import ParamsError, RunError
from workbench.files import part_folder
from workbench.runs.store import publish

RECORD = (
    "from workbench.runs import folder, record\nrecord({'twice': 2 * window, 'none': float('nan')})"
)


@pytest.mark.notebook
def test_a_run_keeps_parameters_notebook_metrics_manifest_and_report(project):
    run = runs.train(project.notebook(RECORD), project.params("window: 30"))

    assert {path.name for path in run.path.iterdir()} == {
        "params.json", "notebook.ipynb", "metrics.json", "manifest.json", "run.json", "report.html",
    }  # fmt: skip
    assert run.path.parent == project.path / "runs"
    assert run.params == {"window": 30, "sensor": ""}
    assert run.metrics == {"twice": 60, "none": None}
    assert (run.status, run.reason, run.package, run.cached) == ("complete", None, None, False)
    assert run.id == runs.find(run.id).id == next(one.id for one in runs.runs())


@pytest.mark.notebook
def test_the_same_inputs_again_are_not_run_again(project):
    notebook, file = project.notebook(RECORD), project.params("window: 30")
    first = runs.train(notebook, file)

    again = runs.train(notebook, project.params("window: 30  # as before", "20_try-b.yaml"))
    other = runs.train(notebook, project.params("window: 31", "20_try-c.yaml"))

    assert (again.cached, again.id) == (True, first.id)
    assert (other.cached, other.metrics["twice"]) == (False, 62)


@pytest.mark.notebook
def test_a_damaged_run_stands_for_none_and_stops_no_other(project):
    notebook, file = project.notebook(RECORD), project.params("window: 30")
    first = runs.train(notebook, file)
    (first.path / "manifest.json").write_text("{")
    second = runs.train(notebook, file)
    (first.path / "run.json").write_text("{")

    third = runs.train(notebook, file)

    assert (second.cached, second.id != first.id) == (False, True)
    assert (third.cached, third.id) == (True, second.id)


@pytest.mark.notebook
def test_a_kernel_is_this_python_even_with_an_empty_home(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project.path / "nobody"))
    monkeypatch.setenv("JUPYTER_PATH", str(project.path / "nothing"))
    notebook = project.notebook(
        "import sys\nfrom workbench.runs import record\nrecord({'python': sys.executable})"
    )

    run = runs.train(notebook, project.params(""))

    assert run.metrics["python"] == sys.executable
    assert not (project.path / "nobody").exists()


@pytest.mark.notebook
def test_a_failed_run_is_kept_and_its_report_begins_with_the_failing_cell(project):
    notebook = project.notebook("print('before')", "raise ValueError(f'no sensor {sensor!r}')")

    with pytest.raises(RunError) as error:
        runs.train(notebook, project.params("sensor: <script>alert(1)</script>"))

    (run,) = runs.runs()
    reason = "ValueError: no sensor '<script>alert(1)</script>'"
    assert str(error.value) == (
        f"the run failed: {reason}\n  in notebooks/20_try.ipynb\n  see {run.path}/report.html"
    )
    assert (run.status, run.reason) == ("failed", reason)
    report = (run.path / "report.html").read_text()
    assert report.index("Why it failed") < report.index("Parameters") < report.index("before")
    assert "<script" not in report
    assert not any("papermill-error" in str(cell) for cell in notebook_of(run).cells)


def notebook_of(run):
    return nbformat.read(run.path / "notebook.ipynb", as_version=4)


@pytest.mark.notebook
def test_no_path_of_this_machine_stays_in_what_papermill_writes(project):
    run = runs.train(project.notebook("1"), project.params(""))

    assert str(project.path) not in (run.path / "notebook.ipynb").read_text()


@pytest.mark.notebook
def test_a_failed_run_is_run_again(project):
    notebook, file = project.notebook("raise SystemError('once')"), project.params("")

    for _ in range(2):
        with pytest.raises(RunError):
            runs.train(notebook, file)

    assert [run.status for run in runs.runs()] == ["failed", "failed"]


def test_recording_outside_of_a_run_goes_to_the_interactive_folder(project, monkeypatch):
    monkeypatch.delenv("WORKBENCH_RUN", raising=False)
    monkeypatch.chdir(project.path / "notebooks")

    runs.record({"recall": 0.5})
    runs.record({"precision": 1})

    assert runs.folder() == project.path / "runs" / "interactive"
    kept = json.loads((runs.folder() / "metrics.json").read_text())
    assert kept == {"recall": 0.5, "precision": 1}
    assert runs.runs() == []


def test_what_cannot_be_recorded_is_refused(project):
    with pytest.raises(RunError) as error:
        runs.record({"scores": object()})
    assert str(error.value) == "metric scores is a object, expected a number or a short text"

    with pytest.raises(RunError) as error:
        runs.record({"../x": 1})
    assert str(error.value) == "'../x' is not a name: letters, digits, '_', '.' and '-'"

    with pytest.raises(RunError) as error:
        runs.record({}, data=[1])
    assert str(error.value) == (
        "the data is a list without a manifest\n"
        "  give the frame that workbench.replay returned, or its .attrs['manifest']"
    )

    with pytest.raises(RunError) as error:
        runs.record({}, detector_package=Path("nowhere"))
    assert str(error.value) == "there is no detector package\n  in nowhere"


def test_a_sweep_is_not_for_train(project):
    notebook = project.notebook()
    file = project.params("grid: {window: [2, 3]}")

    with pytest.raises(ParamsError) as error:
        runs.train(notebook, file)

    assert str(error.value) == f"this asks for 2 runs\n  in {file}\n  use `workbench sweep`"


def test_values_without_a_notebook_are_refused():
    with pytest.raises(ParamsError) as error:
        runs.train(None, {"window": 3})

    assert str(error.value) == "no notebook is named"


def test_runs_of_the_same_inputs_in_the_same_second_get_a_number(project):
    store = project.path / "runs"
    names = [publish(part_folder(store), "20260105T101500Z-3fa1c0de").name for _ in range(2)]

    assert names == ["20260105T101500Z-3fa1c0de", "20260105T101500Z-3fa1c0de-2"]


@pytest.mark.notebook
def test_a_package_written_in_the_run_folder_is_kept_once(project):
    notebook = project.notebook(
        "from workbench.runs import folder, record\n(folder() / 'package').mkdir()",
        "(folder() / 'package/detector.json').write_text('{}')",
        "record({}, detector_package=folder() / 'package')",
    )

    run = runs.train(notebook, {})

    assert run.package == run.path / "detector"
    assert not (run.path / "package").exists()
