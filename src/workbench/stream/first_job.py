"""A job of nobody's, run once on a machine: the JVMs of all others start from what it loaded.

Any job would do (`class_path`), but its JVM leaves its classes when it ends, and a notebook's, or a
stream's, may not end for long.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import parse_stream
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.promotion_log import add_package
from workbench.stream.running import class_path
from workbench.stream.running.job import run

_SCRIPT = "from workbench.stream.first_job import run_first; run_first()"
_WRITING_S = 180.0  # 5 s on an idle core
_POLL_S = 0.2


def leave_classes() -> Path | None:
    """Return the archive that JVMs start from, made by a small job if there is none.

    None: the disk is nearly full or only read, or a job that runs will leave one when it ends.

    Raises
    ------
    StreamError
        If that job fails.
    """
    jars = [function_jar()]  # what a job over history has besides Flink
    if class_path.archive(jars) is None and not class_path.is_awaited(jars):
        _run_apart()
        until_s = time.monotonic() + _WRITING_S
        while class_path.is_awaited(jars) and time.monotonic() < until_s:
            time.sleep(_POLL_S)  # the JVM writes after its Python has ended
    return class_path.archive(jars)


def _run_apart() -> None:
    """Run the job in a process whose JVM ends with it, away from everybody's packages."""
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        variables = {"WORKBENCH_HOME": folder, "WORKBENCH_STORE": str(Path(folder) / "store")}
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise StreamError(f"a first job does not run: {done.stderr.strip()}")


def run_first() -> None:
    """Score made-up readings, with alerts among them."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=2_000)
    values[1_000:1_020] += 9
    times = pd.to_datetime(np.arange(2_000) * 1_000, unit="ms", utc=True)
    frame = pd.DataFrame({"event_time": times, "part": "a", "value": values})
    spec = {"name": "pca", "window": 4, "channels": ["value"]}
    detector = detectors.fit(spec, frame.head(1_000), sensor="part")
    topics = {name: f"persistent://public/default/{name}" for name in ("topic", "alerts")}
    stream = parse_stream("first", {**topics, "sensor": "part", "channels": ["value"], "window": 4})
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        target, rule = Path(folder) / "package", detectors.EpisodeRule()
        detectors.save(detector, target, threshold=3.0, rule=rule, training={})
        run(stream, frame, package=add_package(target))


__all__ = ["leave_classes", "run_first"]
