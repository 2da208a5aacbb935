"""What makes a run the same run."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

PROGRAM = """
from workbench.runs import inputs

before = inputs.packages()
inputs.packages.cache_clear()
import pkg_resources

assert any(place.endswith("_vendor") for place in __import__("sys").path)
assert inputs.packages() == before
assert {"numpy", "pandas"} <= set(before)
"""


@pytest.mark.skipif(not find_spec("pkg_resources"), reason="setuptools here puts no copies there")
def test_packages_are_the_same_once_flinks_python_has_put_copies_on_the_path():
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
