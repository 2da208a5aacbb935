"""Another Python runs Flink's jobs where this one has no Flink."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import ServicesError
from workbench.services import flink_python


def test_a_python_with_flink_runs_its_own_jobs():
    assert flink_python.flink_interpreter() == Path(sys.executable)


def test_the_interpreter_that_is_named_has_to_be_there(monkeypatch):
    monkeypatch.setattr(flink_python, "has_flink", lambda: False)
    monkeypatch.setenv("WORKBENCH_FLINK_PYTHON", "/no/such/python")

    with pytest.raises(ServicesError, match=r"^WORKBENCH_FLINK_PYTHON is /no/such/python: no such"):
        flink_python.flink_interpreter()


def test_an_environment_of_another_lock_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setattr(flink_python, "has_flink", lambda: False)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    folder = tmp_path / "flink-python"
    folder.mkdir()

    (folder / ".ready").write_text("of an older lock")
    assert flink_python.flink_interpreter() is None
    (folder / ".ready").write_text(flink_python._state())
    assert flink_python.flink_interpreter() == folder / "bin" / "python"


def test_it_asks_for_flink_and_its_pins_but_for_nothing_of_the_developers():
    names = {requirement.name: requirement for requirement in flink_python._requirements()}

    assert str(names["apache-flink"]) == "apache-flink==1.20.5"
    assert {"jgo", "jupyterlab", "click"} <= set(names)
    assert not {"pytest", "mypy", "uv", "workbench"} & set(names)


def test_a_command_is_not_handed_on_and_on_by_pythons_without_flink():
    code = (
        "from workbench.services import flink_python\n"
        "flink_python.has_flink = lambda: False\n"
        "from workbench.cli import main; main()"
    )
    environment = {
        **os.environ, "WORKBENCH_FLINK_PYTHON": sys.executable, "WORKBENCH_CALLER": "{}"
    }  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-c", code, "parity", "plant"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (
        1,
        f"Error: {sys.executable} has no apache-flink, and commands that need it are handed to it\n"
        "  let WORKBENCH_FLINK_PYTHON name a Python 3.11 that has it, or unset it\n",
    )


@pytest.mark.parametrize("words", [["parity", "plant"], ["demo", "--store", "mine"]], ids=" ".join)
def test_a_command_is_handed_over_with_the_versions_of_who_asked(tmp_path, words):
    """A stand-in for the interpreter notes what it is started with."""
    note = tmp_path / "python"
    note.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$WORKBENCH_CALLER" > {tmp_path}/started\n')
    note.chmod(0o755)
    code = (
        "import sys; sys.modules['pyflink'] = None\n"
        "from workbench.services import flink_python\n"
        "flink_python.has_flink = lambda: False\n"
        f"sys.argv = ['workbench', *{words}]\n"
        "from workbench.cli import main; main()"
    )
    environment = {**os.environ, "WORKBENCH_FLINK_PYTHON": str(note)}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    *arguments, caller = (tmp_path / "started").read_text().splitlines()
    assert arguments[0] == "-c"
    assert arguments[2:] == words
    assert json.loads(caller)["python"] == platform.python_version()
