"""One of each fault while readings flow; nothing is lost, invented or changed.

`make faults`, in `test_two_hours.py`, is the long form, with more of what can be killed.
"""

import time
from functools import partial

import numpy as np
import pytest

from workbench import services as room
from workbench.stream.running import session

from .jobs import await_checkpoint, make_package, stream_file, told
from .judging import judge_job
from .queues import PulsarQueue
from .readings import SEED, Flow
from .victims import kill, kill_jobmanager, kill_python_worker, restart_s3

RATE = 100  # readings a second


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(1200)
def test_no_alert_is_lost_or_invented_through_faults(services, store, tmp_path):
    queue, rng = PulsarQueue(), np.random.default_rng(SEED)
    package = make_package(tmp_path / "package")
    path = stream_file(queue, tmp_path)
    flow = Flow(queue, SEED, RATE)
    queue.make()
    room.up(["flink"])
    try:
        session.submit(path, position="earliest", package=package)
        flow.start()
        await_checkpoint(path.stem)
        faults = kinds(queue, path.stem)
        for name in rng.permutation([*faults]):
            time.sleep(rng.uniform(1, 3))  # while readings flow
            faults[name]()
            began_s = time.monotonic()
            await_checkpoint(path.stem)
            told(f"{flow.sent:,} readings, {name}: {time.monotonic() - began_s:.0f} s to recover")
        flow.ending.set()
        flow.join()
        assert flow.failed == []
        outcome = judge_job(queue, flow, tmp_path / "package", package)
        told(f"{outcome.summary}; {session.status(path.stem).restarts} restarts of the last job")
        session.stop(path.stem, with_savepoint=False)
    finally:
        flow.ending.set()
        room.down(["flink"])


def kinds(queue, job):
    return {
        "kill taskmanager": partial(kill, "taskmanager"),
        "kill jobmanager": partial(kill_jobmanager, [job]),
        "kill python worker": kill_python_worker,
        "kill pulsar": partial(kill, "pulsar"),
        "restart s3": partial(restart_s3, queue.topic),
    }
