"""A store of ten thousand runs."""

import json

import pytest
from click.testing import CliRunner

from workbench import runs
from workbench.cli import cli

RUNS = 10_000


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(RUNS):
        folder = tmp_path / "runs" / f"20260105T101500Z-{number:08x}"
        folder.mkdir(parents=True)
        about = {
            "status": "complete",
            "notebook": "notebooks/20_try.ipynb",
            "source": "a.yaml",
            "wall_s": 1.5,
        }
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "params.json").write_text(json.dumps({"window": number % 60}))
        (folder / "metrics.json").write_text(json.dumps({"f1": number / RUNS, "alerts": number}))
    return tmp_path / "runs"


@pytest.mark.slow
def test_ten_thousand_runs_are_listed_and_ranked(store):
    listed = CliRunner().invoke(cli, ["runs"], catch_exceptions=False)
    ranked = CliRunner().invoke(cli, ["runs", "--sort", "f1"], catch_exceptions=False)

    lines = listed.output.splitlines()
    assert len(lines) == 1 + RUNS
    assert lines[0].split() == ["run", "status", "notebook", "source", "wall_s", "f1", "alerts"]
    assert lines[7].split()[-2:] == ["0.0006", "6"]
    assert ranked.output.splitlines()[1].split()[-1] == str(RUNS - 1)


def test_a_folder_that_is_no_run_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "notes").mkdir(parents=True)
    (tmp_path / "runs" / "README").write_text("")
    (tmp_path / "runs" / ".partial-x").mkdir()

    assert runs.runs() == []
