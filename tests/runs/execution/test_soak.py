"""A sweep that is stopped in the middle and goes on: all complete, none twice.

`make soak` runs it with 500 runs and 8 jobs, for which CI has no time.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from workbench import runs
from workbench.files import remove_abandoned

COUNT = int(os.environ.get("SOAK_RUNS", "6"))
JOBS = "8" if COUNT > 100 else "2"
RECORD = """from workbench.runs import record
record({'square': window**2})"""


def left_running(folder):
    """Workers and kernels of this test's folder, and whatever else was started there."""
    commands = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("SOAK") == str(folder):
                commands.append(process.cmdline())
        except psutil.Error:
            continue
    return commands


def begin_and_stop(folder, ending, after):
    """Start the sweep, stop it once `after` runs are done, and return what it said."""
    command = [Path(sys.executable).with_name("workbench"), "sweep", "params/20_try-a.yaml"]
    process = subprocess.Popen(
        [*command, "--jobs", JOBS],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SOAK": str(folder)},
        # what a job in the background inherits, a signal that is ignored, is not the sweep's doing
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not re.match(rf"\[{after}/", process.stderr.readline()):
        assert process.poll() is None
    process.send_signal(ending)
    return process.communicate(timeout=60)[1], process.returncode


def test_what_a_dead_worker_left_is_removed_though_nobody_waited_for_it(tmp_path):
    with subprocess.Popen(["true"]) as dead, subprocess.Popen(["sleep", "60"]) as living:
        while psutil.Process(dead.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        host = socket.gethostname()
        names = [f".partial-{host}-{one.pid}-abc" for one in (dead, living)]
        for name in [*names, ".partial-elsewhere-1-abc"]:
            (tmp_path / name / "figures").mkdir(parents=True)

        remove_abandoned(tmp_path)

        living.kill()
    kept = [f".partial-{host}-{living.pid}-abc", ".partial-elsewhere-1-abc"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.notebook
@pytest.mark.timeout(7200 if COUNT > 100 else 600)
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_stopped_leaves_no_kernel_and_goes_on_from_there(project, ending):
    project.notebook(RECORD)
    windows = list(range(2, 2 + COUNT))
    project.params(f"notebook: notebooks/20_try.ipynb\ngrid: {{window: {windows}}}\n")

    printed, code = begin_and_stop(project.path, ending, after=COUNT // 2)

    if ending == signal.SIGINT:
        assert code == 130
        assert "stopped; what is complete stays" in printed
    deadline = time.monotonic() + 20
    while left_running(project.path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_running(project.path) == []
    before = {run.id for run in runs.runs()}
    assert COUNT // 2 <= len(before) < COUNT
    made = runs.sweep(["params/20_try-a.yaml"], jobs=int(JOBS), resume=True)
    assert Counter(run.params["window"] for run in runs.runs()) == Counter(windows)
    assert all(run.metrics == {"square": run.params["window"] ** 2} for run in made)
    assert before == {run.id for run in made if run.cached}
    assert not list((project.path / "runs").glob(".partial-*"))
