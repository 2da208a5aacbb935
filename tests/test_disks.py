"""A disk that is full or only read: one clear line, nothing half written, and done when it is well.

`test_crashes.py` does the same at every line of what is written; here commands meet a real disk.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("disks.py")
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


@pytest.fixture(scope="module")
def mounts():
    can = subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"no mounts of one's own: {can.stderr.decode().strip()}")


@pytest.mark.slow
@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_takes_nothing_is_said_in_a_line_and_nothing_is_half_written(
    how, command, mounts, tmp_path
):
    script = [sys.executable, "-W", "ignore", str(SCRIPT), how, command, str(tmp_path)]
    done = subprocess.run([*OWN_MOUNTS, *script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    where = tmp_path / COMMANDS[command][how == "ro"]
    if command in IN_PYTHON:
        assert told["said"].splitlines()[-1].startswith("OSError: ")
        assert f"{SAID[how]}: '{where}" in told["said"].splitlines()[-1]
    else:
        assert f"Error: {SAID[how]}\n  in {where}" in told["said"]
        assert "Traceback" not in told["said"]
    assert (told["code"], told["same"]) == (1, True)
    assert (told["again"], told["changed"], told["parts"]) == (0, True, []), told["complaint"]
