"""Each operation on the stores, killed or refused by the disk anywhere: before or after."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crashes.py")


KILLED = [
    "promote",
    "add package",
    "mend package",
    "journal",
    "answer",
    "record",
    "export",
    "publish",
]
OUT_OF_DISK = ["promote", "add package", "mend package", "answer", "export"]
REFUSED = [(how, name) for how in ("EROFS", "EIO") for name in ("promote", "add package")]
CUT = ["promote", "answer"]  # lines are added to files, which a write may reach in part


@pytest.mark.parametrize(
    ("how", "operation"),
    [
        *(("kill", name) for name in KILLED),
        *(("ENOSPC", name) for name in OUT_OF_DISK),
        *REFUSED,
        *(("limit", name) for name in CUT),
    ],
)
@pytest.mark.slow
def test_an_operation_that_ends_at_any_line_is_done_or_not_and_can_be_done_again(
    how, operation, tmp_path
):
    command = [sys.executable, str(SCRIPT), operation, how, str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False)
    tries = [json.loads(line) for line in printed.stdout.splitlines()]

    assert printed.returncode == 0, printed.stderr
    assert len(tries) > 15, "too few lines were tried"
    first, after = tries[0][1], tries[-1][2]
    assert first != after
    for number, (_, _, state, looked, again, last) in enumerate(tries, 1):
        assert looked == 0, f"after line {number} nobody can look"
        assert state in (first, after), f"line {number}"
        assert (again, last) == (0, after), f"again, after line {number}"
