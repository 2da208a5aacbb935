"""The API reference is what the docstrings say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_reference_is_what_the_docstrings_say():
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_api.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (made.returncode, made.stderr) == (0, ""), made.stderr
