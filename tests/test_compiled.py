"""Machine code is never that of another version, and needs no folder to be kept in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import workbench

CODE = """
import numpy as np
from workbench.archive.values import escapes, flat_json
data = np.frombuffer(b"a\\\\n", np.uint8)
out, offsets = np.zeros(8, np.uint8), np.zeros(2, np.int64)
state = np.array([flat_json.ESCAPED], np.uint8)
escapes.copy_strings(data, np.array([0]), np.array([3]), state, offsets, out)
print(flat_json.ESCAPED, out[:offsets[1]].tobytes())
"""


@pytest.mark.slow
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

    other = tmp_path / "workbench" / "archive" / "values" / "flat_json.py"
    text = other.read_text()
    other.write_text(
        text.replace("NULL, PLAIN, ESCAPED = range(3)", "NULL, ESCAPED, PLAIN = range(3)")
    )
    assert run() == "1 b'a\\n'"


UNCACHED = """
import numpy as np
from workbench.archive.format import entries
from workbench.detectors.methods import densities, forest, neighbours
from workbench.evaluation import curves
from workbench.evaluation.nab import onsets
print(f"{entries.crc32c(np.frombuffer(b'123456789', np.uint8), 0, 9):08x}")
print(curves.vus_pr([0, 1, 1, 0, 0], [0.0, 1.0, 1.0, 0.0, 0.0], buffer=2))
"""


@pytest.mark.slow
def test_all_rooms_work_where_no_cache_can_be_written(tmp_path):
    package = tmp_path / "workbench"
    shutil.copytree(
        Path(workbench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("a file: no folder can be made here, not even by root")
    closed = str(package / "__pycache__")

    done = subprocess.run(
        [sys.executable, "-c", UNCACHED], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HOME": closed, "XDG_CACHE_HOME": closed,
             "NUMBA_CACHE_DIR": closed},
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.split() == ["e3069283", "1.0"]


def test_numba_decorates_in_one_place_alone():
    sources = Path(workbench.__file__).parent
    decorated = [
        str(path.relative_to(sources))
        for path in sources.rglob("*.py")
        if re.search(r"\bnjit\b|numba\.jit|@jit", path.read_text())
    ]

    assert decorated == ["compiled.py"]
