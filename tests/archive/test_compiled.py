"""Machine code of another version of the package is never used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import workbench

CODE = """
import numpy as np
from workbench.archive import escapes, flat_json
data = np.frombuffer(b"a\\\\n", np.uint8)
out, offsets = np.zeros(8, np.uint8), np.zeros(2, np.int64)
state = np.array([flat_json.ESCAPED], np.uint8)
escapes.copy_strings(data, np.array([0]), np.array([3]), state, offsets, out)
print(flat_json.ESCAPED, out[:offsets[1]].tobytes())
"""


def test_a_change_of_one_module_is_seen_by_the_machine_code_of_all(tmp_path):
    shutil.copytree(
        Path(workbench.__file__).parent,
        tmp_path / "workbench",
        ignore=shutil.ignore_patterns("__pycache__"),
    )

    def run():
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        return done.stdout.strip()

    assert run() == "2 b'a\\n'"

    other = tmp_path / "workbench" / "archive" / "flat_json.py"
    text = other.read_text()
    other.write_text(
        text.replace("NULL, PLAIN, ESCAPED = range(3)", "NULL, ESCAPED, PLAIN = range(3)")
    )
    assert run() == "1 b'a\\n'"
