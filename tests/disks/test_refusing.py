"""A disk that is full or only read: one clear line, nothing half written, and done when it is well.

`tests/test_crashes.py` does it at every line of what is written; here commands meet a real disk.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("commands.py")
OWN_MOUNTS = ["unshare", "--mount", "--map-root-user"]
SAID = {"full": "No space left on device", "ro": "Read-only file system"}
# where each writes first, under the disk's folder, when it is full; when it is only read
COMMANDS = {
    "rollback": ("store/streams/plant/promotions.jsonl", "store/streams/plant/.lock"),
    "answer": (".workbench/alerts/plant/answers.jsonl", ".workbench"),
    "export": ("out/_export/export.json", "out"),
    "train": ("runs", "runs"),
    "sweep": ("runs/sweep", "runs"),
    "add package": ("store/packages", "store/packages"),
    "record": ("runs/interactive/metrics.json", "runs"),
}
IN_PYTHON = ("add package", "record")


@pytest.fixture(scope="module", params=SAID)
def tried(request, tmp_path_factory):
    """How the disk is, its folder, and what commands did on it."""
    how, folder = request.param, tmp_path_factory.mktemp(request.param)
    can = subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"no mounts of one's own: {can.stderr.decode().strip()}")
    command = [*OWN_MOUNTS, sys.executable, "-W", "ignore", str(SCRIPT), how, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return how, folder, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_takes_nothing_is_said_in_a_line_and_nothing_is_half_written(tried, command):
    how, folder, all_told = tried
    outcome, where = all_told[command], folder / command / COMMANDS[command][how == "ro"]

    if command in IN_PYTHON:
        line = outcome["said"].splitlines()[-1]
        assert line.startswith("OSError: ")
        assert f"{SAID[how]}: '{where}" in line
    else:
        assert f"Error: {SAID[how]}\n  in {where}" in outcome["said"]
        assert "Traceback" not in outcome["said"]
    assert (outcome["code"], outcome["same"]) == (1, True)
    assert (outcome["again"], outcome["done"], outcome["parts"]) == (0, True, []), outcome["then"]
