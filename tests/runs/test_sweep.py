"""Many runs: all checked first, executed in parallel, none lost, none twice."""

import json
import re

import pytest
from click.testing import CliRunner

from workbench import runs
from workbench.cli import cli
from workbench.errors import ParamsError, RunError
from workbench.runs.execution.notebook import Limits
from workbench.runs.leaderboard import selected

RECORD = """from workbench.runs import record
if window == 13:
    raise ValueError("unlucky")
record({'recall': window / 100, 'delay_median_s': 60.0 * window})"""
GRID = "notebook: notebooks/20_try.ipynb\ngrid: {window: [10, 11, 12, 13]}\n"


def call(*arguments, **options):
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False, **options)


@pytest.mark.notebook
def test_a_sweep_runs_every_combination_once_and_a_second_one_runs_what_failed(project):
    project.notebook(RECORD)
    file = project.params(GRID)

    first = runs.sweep([file], jobs=2)
    second = runs.sweep([file], jobs=2)
    third = runs.sweep([file], jobs=2, resume=True)

    assert [run.params["window"] for run in first.runs] == [10, 11, 12, 13]
    assert [run.status for run in first.runs] == ["complete"] * 3 + ["failed"]
    assert [run.cached for run in second.runs] == [True, True, True, False]
    assert [run.cached for run in third.runs] == [True] * 4
    assert (third.path, first.path != second.path) == (second.path, True)
    assert [run.id for run in first.runs[:3]] == [run.id for run in third.runs[:3]]
    assert runs.find_sweep(first.id).failed == [first.runs[3]]
    assert len(runs.runs()) == 5


@pytest.mark.notebook
def test_progress_is_a_plain_line_for_each_run_where_nobody_looks(project, capfd):
    project.notebook(RECORD)

    runs.sweep([project.params(GRID)], jobs=1)

    lines = capfd.readouterr().err.splitlines()
    stamp = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
    assert lines[0] == "4 runs, 0 of them in the store already"
    assert re.fullmatch(rf"\[1/4\] {stamp} [\d.]+ s \(params/20_try-a.yaml\)", lines[1])
    assert re.fullmatch(rf"\[4/4\] {stamp} failed: ValueError: unlucky \(.*\)", lines[4])


@pytest.mark.notebook
def test_the_command_line_lists_sorts_selects_compares_and_removes(project):
    project.notebook(RECORD)
    project.params(GRID)

    swept = call("sweep", "params/20_try-a.yaml", "--jobs", "2")
    assert swept.exit_code == 1
    assert swept.stdout.splitlines()[0] == "4 runs (0 cached), 1 failed"

    rows = [
        json.loads(line) for line in call("runs", "--sort", "recall", "--json").output.splitlines()
    ]
    assert [row.get("recall") for row in rows] == [0.12, 0.11, 0.1, None]
    best = call(
        "runs", "--sort", "delay_median_s", "--where", "status=complete"
    ).output.splitlines()
    assert best[1].startswith(rows[2]["run"])

    first, other = rows[1]["run"], rows[2]["run"]
    differences = [
        json.loads(line)
        for line in call("runs", "diff", first, other, "--json").output.splitlines()
    ]
    assert differences[0] == {"what": "parameter", "name": "window", first: "11", other: "10"}
    assert {row["name"] for row in differences} == {"window", "recall", "delay_median_s"}

    shown = json.loads(call("runs", "show", first.partition("-")[2], "--json").output)
    assert shown["params"]["window"] == 11
    assert "window: 11" in call("runs", "show", first).output

    asked = call("runs", "rm", first, first[:-1], input="n\n")
    assert asked.exit_code == 1
    assert asked.stderr.splitlines()[:2] == [
        f"{first} complete  notebooks/20_try.ipynb  params/20_try-a.yaml",
        "delete 1 of the runs? [y/N]: n",
    ]
    assert first in call("runs").output
    assert call("runs", "rm", "--yes", first).output == f"removed {first}\n"
    assert first not in call("runs").output


def test_what_is_not_there_is_answered_with_the_nearest(project):
    (project.path / "runs" / "20260105T101500Z-3fa1c0de").mkdir(parents=True)
    path = project.path / "runs" / "20260105T101500Z-3fa1c0de" / "run.json"
    path.write_text("{}")

    with pytest.raises(RunError) as error:
        runs.find("20260105T101500Z-3fa1c0dd")
    assert str(error.value) == (
        f"no run is called '20260105T101500Z-3fa1c0dd'\n  in {project.path / 'runs'}\n"
        "  did you mean '20260105T101500Z-3fa1c0de'?"
    )

    with pytest.raises(RunError) as error:
        runs.find_sweep("sweep-x")
    assert str(error.value) == f"no sweep is called 'sweep-x'\n  in {project.path / 'runs'}"

    path.write_text("{")
    with pytest.raises(RunError) as error:
        runs.runs()
    assert str(error.value) == f"run.json is damaged\n  in {path.parent}"


def test_a_run_is_found_by_its_hash_and_two_by_none(project):
    for name in ("20260105T101500Z-3fa1c0de", "20260105T101600Z-3fa1c0de"):
        (project.path / "runs" / name).mkdir(parents=True)
        about = {"status": "complete", "notebook": "a.ipynb", "source": "a.yaml", "wall_s": 1.0}
        (project.path / "runs" / name / "run.json").write_text(json.dumps(about))

    assert runs.find("20260105T1016").id == "20260105T101600Z-3fa1c0de"

    for middle in ("1016", "T1016", "a1c0", "c0de"):
        with pytest.raises(RunError, match=f"no run is called '{middle}'"):
            runs.find(middle)
    for short in ("", "202", "3fa"):
        with pytest.raises(RunError) as error:
            runs.find(short)
        assert str(error.value) == (
            f"{short!r} is too short to name a run\n  in {project.path / 'runs'}\n"
            "  type 4 characters"
        )

    with pytest.raises(RunError) as error:
        runs.find("3fa1c0de")
    assert str(error.value) == (
        f"2 runs are called '3fa1c0de'\n  in {project.path / 'runs'}\n"
        "  known: 20260105T101500Z-3fa1c0de, 20260105T101600Z-3fa1c0de"
    )

    with pytest.raises(RunError) as error:
        assert runs.find("20260105T1016").params
    where = project.path / "runs" / "20260105T101600Z-3fa1c0de"
    assert str(error.value) == f"the run has no readable params.json\n  in {where}"


def test_a_condition_names_something_that_runs_have(project):
    folder = project.path / "runs" / "20260105T101500Z-3fa1c0de"
    folder.mkdir(parents=True)
    about = {"status": "complete", "notebook": "n.ipynb", "source": "p.yaml", "wall_s": 1.0}
    for name, value in (("run", about), ("params", {"spec": {"name": "knn"}}), ("metrics", {})):
        (folder / f"{name}.json").write_text(json.dumps(value))

    assert [run.id for run in selected(runs.runs(), ["spec.name=knn"])] == [folder.name]
    assert selected(runs.runs(), ["spec.name=pca", "status=complete"]) == []

    with pytest.raises(RunError) as error:
        selected(runs.runs(), ["spec.name"])
    assert str(error.value) == "'spec.name' is not NAME=VALUE"

    with pytest.raises(RunError) as error:
        selected(runs.runs(), ["spec.nam=knn"])
    assert str(error.value) == "no run has 'spec.nam'\n  did you mean 'spec.name'?"


@pytest.mark.notebook
def test_nothing_runs_if_one_file_of_many_is_wrong(project):
    project.notebook(RECORD)
    good, bad = project.params(GRID), project.params("windw: 1\nsensor: 3", "20_try-bad.yaml")

    with pytest.raises(ParamsError) as error:
        runs.sweep([good, bad], notebook="notebooks/20_try.ipynb")

    assert str(error.value) == (
        "2 faults, nothing was run\n"
        "the notebook has no parameter 'windw', it has sensor, window\n"
        "  in params/20_try-bad.yaml:1\n"
        "  did you mean 'window'?\n"
        "sensor is a int (3), the notebook wants str\n"
        "  in params/20_try-bad.yaml:2\n"
        '  put it in quotes: sensor: "3"'
    )
    assert not (project.path / "runs").exists()


@pytest.mark.notebook
def test_a_run_over_its_time_or_memory_fails_with_the_reason_and_is_tried_again(project):
    project.notebook("hoard = []\nwhile True:\n    hoard.append(bytearray(window * 1000_000))")
    memory = project.params("window: 10", "20_try-memory.yaml")

    with pytest.raises(RunError, match=r"used \d+ MiB of memory, its limit is 300 MiB"):
        runs.train("notebooks/20_try.ipynb", memory, limits=Limits(memory_mib=300, retries=1))

    project.notebook("import time\ntime.sleep(window)")
    with pytest.raises(RunError, match="the run failed: took longer than its limit of 2 s"):
        runs.train("notebooks/20_try.ipynb", memory, limits=Limits(time_s=2))

    hungry, slow = runs.runs()
    assert [one["reason"][:4] for one in hungry.about["attempts"]] == ["used", "used"]
    assert "took longer than its limit" in (slow.path / "report.html").read_text()


@pytest.mark.notebook
def test_a_worker_that_dies_takes_one_run_with_it_and_no_more(project):
    project.notebook("import os, signal\nif window == 10:\n    os.kill(os.getppid(), 9)", RECORD)

    made = runs.sweep([project.params(GRID)], jobs=1)

    assert list(made.lost.values()) == ["its worker ended with -9: no last words"]
    assert [run.params["window"] for run in made.runs] == [11, 12, 13]
    assert (made.path / "report.html").is_file()
