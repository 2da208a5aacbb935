"""What differs in a Python worker of a real cluster from a mini cluster, which has none."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

WORKER = """
import builtins, sys, types

worker = types.ModuleType("worker")
sys.modules["worker"] = worker

class Custom:
    def print(self, *args): pass

Custom.print.__module__ = "worker"
builtins.print = Custom().print  # as PyFlink's worker does
from workbench.stream.flink_sql import udf
sys.stdout.write(udf.Scorer.__name__)
"""


def test_the_scoring_function_can_be_imported_where_print_is_another_one():
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True)

    assert (done.stdout, done.returncode) == ("Scorer", 0), done.stderr
