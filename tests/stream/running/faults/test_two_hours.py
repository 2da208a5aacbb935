"""Processes are killed or stopped while readings flow; nothing is lost, invented or changed.

`make faults`: both queues at once, for FAULTS_MINUTES, and until there were FAULTS_KILLS kills and
FAULTS_READINGS readings. FAULTS_QUEUES=kafka is one of them alone, and FAULTS_SEED plays another
one. CI has `test_short.py`.
"""

import os
import time
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from workbench import alerts as alerts_room
from workbench import services as room
from workbench.services import offload
from workbench.stream.running import session

from .jobs import await_checkpoint, make_package, stream_file, told, until
from .judging import check_delivered, judge_job
from .memory import Memory
from .queues import KafkaQueue, PulsarQueue
from .readings import SEED, Flow, block
from .victims import (
    Program,
    Serving,
    Target,
    kill,
    kill_jobmanager,
    kill_python_worker,
    pause,
    restart_s3,
)

IS_ASKED_FOR = "FAULTS_MINUTES" in os.environ
MINUTES = float(os.environ.get("FAULTS_MINUTES", "110"))
KILLS = int(os.environ.get("FAULTS_KILLS", "100"))
READINGS = int(os.environ.get("FAULTS_READINGS", "5000000"))
QUEUES = os.environ.get("FAULTS_QUEUES", "pulsar,kafka").split(",")
RATE = READINGS / (MINUTES * 60 * 0.95)  # of all queues together


def begin(stack, queue, folder, url, package):
    """Start all that follows a queue's topic, then the readings."""
    queue.make()
    route = {"to": "webhook", "url": url, "wait_s": 0, "every_s": 0}
    path = stream_file(queue, folder, routes={"shift": route})
    notifier = Program("notifier", "alerts", "run", path, log=folder / f"{path.stem}.log")
    stack.callback(notifier.end)
    notifier.start()
    until(lambda: all(one.backlog is not None for one in alerts_room.route_status(path)))
    session.submit(path, position="earliest", package=package)
    return SimpleNamespace(queue=queue, job=path.stem, notifier=notifier, path=path)


def kinds(lines, server, rng):
    """Return what can happen, by name; what is of an archive, where there is one to serve."""
    jobs = [line.job for line in lines]
    queues = [line.queue.service for line in lines]
    services = ("taskmanager", *queues)
    longest_s = {**dict.fromkeys(services, 25), "taskmanager": 70}  # Flink waits for 50 s
    archived = {
        "kill serve": server and server.kill_and_ask,
        "restart s3": partial(restart_s3, lines[0].queue.topic),
    }
    return {
        "kill taskmanager": partial(kill, "taskmanager"),
        "kill jobmanager": partial(kill_jobmanager, jobs),
        "kill python worker": kill_python_worker,
        **{f"kill {name}": partial(kill, name) for name in queues},
        **{f"kill notifier of {line.job}": line.notifier.kill for line in lines},
        **(archived if server else {}),
        **{
            f"pause {name}": lambda name=name: pause(name, rng.uniform(2, longest_s[name]))
            for name in services
        },
    }


class Faults:
    """All kinds of faults in random order, round after round.

    Attributes
    ----------
    kills, others
        How many there were: SIGKILL; SIGSTOP, and a bucket that is away.
    """

    def __init__(self, lines, server, rng):
        self.lines, self.rng = lines, rng
        self.kinds = kinds(lines, server, rng)
        self.kills = self.others = 0

    def go_on(self):
        """Let each kind happen, what harms no job twice; each job recovers from each."""
        aside = [name for name in self.kinds if "notifier" in name or "serve" in name]
        for name in self.rng.permutation([*self.kinds, *aside]):
            time.sleep(self.rng.uniform(1, 3))  # while readings flow
            began_s = time.monotonic()
            self.kinds[name]()
            for line in self.lines:
                line.notifier.keep()
            there_s = time.monotonic()
            for line in self.lines if name not in aside else ():
                await_checkpoint(line.job)
            self.kills += name.startswith("kill")
            self.others += not name.startswith("kill")
            sent = " + ".join(f"{line.flow.sent:,}" for line in self.lines)
            told(
                f"{time.strftime('%H:%M:%S')} {sent} readings, {name}: {there_s - began_s:.0f} s, "
                f"jobs back after {time.monotonic() - there_s:.0f} s"
            )


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(0)
@pytest.mark.skipif(not IS_ASKED_FOR, reason="`make faults` takes two hours")
def test_nothing_is_lost_or_invented_through_faults(services, store, tmp_path):
    rng, target = np.random.default_rng(SEED), Target()
    queues = [queue for queue in (PulsarQueue(), KafkaQueue()) if queue.service in QUEUES]
    room.up([*(queue.service for queue in queues), "flink"])
    with ExitStack() as stack:
        stack.callback(room.down, ["flink", "kafka"])
        url = stack.enter_context(target.listening())
        package = make_package(tmp_path / "package")
        lines = [begin(stack, queue, tmp_path, url, package) for queue in queues]
        server = start_flows(stack, lines, tmp_path)
        memory = Memory(lambda: others(lines, server))
        memory.start()
        faults = Faults(lines, server, rng)
        flow_through(faults, lines, server)
        memory.ending.set()
        for line in lines:
            judge(line, target, tmp_path / "package", package)
        told(f"{faults.kills} kills, {faults.others} other faults, {target.posts} messages sent on")
    told("\n".join(memory.report()))
    memory.check()


def start_flows(stack, lines, folder):
    """Let readings flow; return a server that answers for the first of Pulsar's, if it is there."""
    for line in lines:
        line.flow = Flow(line.queue, SEED, RATE / len(lines))
        stack.callback(line.flow.ending.set)
        line.flow.start()
    early = block(SEED, 0)[0]
    until(lambda: lines[0].flow.sent > len(early))
    for line in lines:
        await_checkpoint(line.job)
    if lines[0].queue.service != PulsarQueue.service:
        return None
    offload(lines[0].queue.topic)
    server = Serving(lines[0].queue.topic, early, folder / "serve.log")
    stack.callback(server.end)
    server.start()
    server.check()
    return server


def others(lines, server):
    if server:
        yield "serve", server.process.pid
    for line in lines:
        yield f"notifier of {line.job}", line.notifier.process.pid


def flow_through(faults, lines, server):
    """Let faults happen until there were enough; then let all that was sent come through."""
    end = time.monotonic() + MINUTES * 60
    is_enough = False
    while not is_enough:
        faults.go_on()
        sent = sum(line.flow.sent for line in lines)
        is_enough = faults.kills >= KILLS and sent >= READINGS and time.monotonic() >= end
    for line in lines:
        line.flow.ending.set()
    for line in lines:
        line.flow.join()
        assert line.flow.failed == []
    if server:
        server.check()


def judge(line, target, folder, package):
    """Compare what a job and its notifier made of a topic with the batch path."""
    outcome = judge_job(line.queue, line.flow, folder, package)
    line.notifier.keep()
    until(lambda: all(one.backlog == 0 for one in alerts_room.route_status(line.path)))
    check_delivered(target.alerts.get(line.job, {}), outcome.alerts, outcome.messages)
    restarts = session.status(line.job).restarts
    session.stop(line.job, with_savepoint=False)
    told(f"{line.job}: {outcome.summary}; each delivered; {restarts} restarts of the last job")
