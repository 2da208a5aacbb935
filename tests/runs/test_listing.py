"""`workbench runs` on a terminal, and the way from a package to its run and back."""

import hashlib
import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from workbench import runs
from workbench.cli import cli
from workbench.errors import RunError

from .conftest import write_run

PACKAGE = hashlib.sha256(b"{}").hexdigest()  # of the detector.json that `write_run` writes

NAMES = ["run", "status", "notebook", "source", "wall_s", "f1", "recall", "readings"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of three runs that differ in f1 and recall."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # an IPython of an earlier test may have set it
    for number in (1, 2, 3):
        metrics = {"f1": number / 10, "recall": number / 9, "readings": 20_160}
        write_run(tmp_path / "runs", number, metrics=metrics, package=number == 2)


def listed(*options):
    return CliRunner().invoke(cli, ["runs", *options], catch_exceptions=False).stdout


def on_terminal(*options, columns):
    """Run the command with a terminal so wide as its output; give its lines, and what it says."""
    ours, its = pty.openpty()
    command = [sys.executable, "-c", "from workbench.cli import cli; cli()", "runs", *options]
    variables = {**os.environ, "COLUMNS": str(columns)}
    done = subprocess.run(
        command, stdout=its, stderr=subprocess.PIPE, text=True, check=True, env=variables
    )
    os.close(its)
    printed = os.read(ours, 1 << 16).decode()
    os.close(ours)
    return printed.splitlines(), done.stderr.splitlines()


@pytest.mark.slow
def test_a_terminal_shows_what_differs_and_says_what_is_left_out(store):
    lines, remarks = on_terminal(columns=52)

    assert lines[0].split() == ["run", "source", "f1"]
    assert max(map(len, lines)) <= 52
    assert remarks == [
        "the same in all: status complete, notebook 20_try, wall_s 4.2, readings 20160",
        "left out, --wide shows them: recall",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "names"), [(34, ["run", "recall"]), (10, ["run"])])
def test_what_the_runs_are_sorted_by_is_shown_first_and_the_run_always(store, columns, names):
    lines, _ = on_terminal("--sort", "recall", columns=columns)

    assert lines[0].split() == names


@pytest.mark.slow
@pytest.mark.parametrize(("options", "columns"), [(["--wide"], 40), ([], 200)])
def test_all_columns_are_there_by_wish_and_where_there_is_room(store, options, columns):
    lines, remarks = on_terminal(*options, columns=columns)

    assert lines[0].split() == NAMES
    assert remarks == []


def test_a_file_has_all_columns_however_wide_the_terminal_is(store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    assert listed().splitlines()[0].split() == NAMES


def test_a_package_leads_to_its_run_and_back(store):
    _, line = listed("--package", PACKAGE[:8]).splitlines()
    run = line.split()[0]

    assert run.startswith("20260105T101502Z")
    assert f"package: {PACKAGE}\n" in listed("show", run)
    assert listed("--package", "0000") == ""


def test_a_run_that_is_changed_added_or_removed_is_seen_at_once(store):
    assert [run.metrics["f1"] for run in runs.runs()] == [0.1, 0.2, 0.3]

    first, second, _ = runs.runs()
    metrics = first.path / "metrics.json"
    written = metrics.stat()
    metrics.write_text(metrics.read_text().replace("0.1", "0.7"))
    os.utime(metrics, ns=(written.st_atime_ns, written.st_mtime_ns))  # as large and as old
    runs.remove(second)
    write_run(first.path.parent, 4, metrics={"f1": 0.4})

    assert [line.split()[5] for line in listed().splitlines()[1:]] == ["0.7", "0.3", "0.4"]


@pytest.mark.parametrize("content", ["[]", "null", "1", "", "{", "\udcff"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.json", "run.json is damaged"),
        ("metrics.json", "the run has no readable metrics.json"),
        ("params.json", "the run has no readable params.json"),
    ],
)
def test_a_record_that_is_no_json_object_is_told(store, name, message, content):
    path = runs.runs()[1].path
    (path / name).write_text(content, errors="surrogateescape")

    with pytest.raises(RunError) as caught:
        json.dumps([(run.params, run.metrics) for run in runs.runs()])

    assert str(caught.value) == f"{message}\n  in {path}"


DAMAGES = [("run.json", "{"), ("run.json", "{}"), ("metrics.json", "[]"), ("metrics.json", None)]


def damage(path, name, content):
    (path / name).unlink()
    if content is not None:
        (path / name).write_text(content)


@pytest.mark.parametrize(("name", "content"), DAMAGES)
@pytest.mark.parametrize("options", [[], ["--sort", "f1"], ["--json"], ["--where", "f1=0.3"]])
def test_a_damaged_run_is_named_and_the_others_are_listed(store, name, content, options):
    whole, broken, last = (run.path.name for run in runs.runs())
    damage(store_path() / broken, name, content)

    done = CliRunner().invoke(cli, ["runs", *options], catch_exceptions=False)

    assert done.exit_code == 1
    assert [run in done.stdout for run in (whole, broken, last)] == [
        "--where" not in options, False, True,
    ]  # fmt: skip
    message, where = done.stderr.splitlines()
    assert message.startswith("not listed: ")
    assert name in message
    assert where == f"  in {store_path() / broken}"


def test_damaged_parameters_are_named_where_they_are_asked_for(store):
    broken = runs.runs()[1].path
    damage(broken, "params.json", "{")

    assert CliRunner().invoke(cli, ["runs"]).exit_code == 0  # it shows none of them
    done = CliRunner().invoke(cli, ["runs", "--where", "status=complete"])

    assert done.exit_code == 1
    assert done.stderr == f"not listed: the run has no readable params.json\n  in {broken}\n"
    assert broken.name not in done.stdout


@pytest.mark.parametrize(("name", "content"), DAMAGES)
def test_a_run_is_found_beside_a_damaged_one(store, name, content):
    whole, broken, _ = runs.runs()
    damage(broken.path, name, content)

    assert runs.find(whole.id[:16]).path == whole.path
    with pytest.raises(RunError, match=name):
        runs.find(broken.id).card()


def store_path():
    return runs.store.store_folder()
