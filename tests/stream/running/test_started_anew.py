"""`workbench stream run` as people start, end and start it: as a process, with Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from typing import ClassVar

import pandas as pd
import psutil
import pytest
import yaml

from workbench import alerts, event_topics
from workbench.alerts.lists import REASON
from workbench.services import ingest_frame
from workbench.stream import is_read, load_stream

pytestmark = [pytest.mark.pulsar, pytest.mark.flink, pytest.mark.timeout(600)]
RUN = "from workbench.cli import main; main()"
START = pd.Timestamp("2026-01-05T00:00:00Z")


@pytest.fixture
def name(services, tmp_path, monkeypatch):
    """A stream that needs no detector: more than 5 bar is an alert until it is less."""
    name = f"anew-{uuid.uuid4().hex[:8]}"
    content = {
        "topic": f"persistent://public/default/{name}", "sensor": "pump", "channels": ["bar"],
        "window": 2, "alerts": f"persistent://public/default/{name}-alerts",
        "lateness_s": 0.001, "limits": {"pressure": "bar > 5"}, "detector": "none",
    }  # fmt: skip
    for folder in ("streams", "notebooks", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "streams" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    send(name, 0, 1.0)
    yield name
    for command in Command.started:  # of a test that failed
        for process in command.all_of_it():
            process.kill()


def send(name, second, bar):
    time = START + pd.Timedelta(second, "s")
    frame = pd.DataFrame({"pump": ["P1"], "at": [time], "bar": [bar]})
    ingest_frame(frame, name, sensor="pump", time="at", values=["bar"])


class Command:
    """`workbench stream run` in a process group of its own, as a shell starts it."""

    started: ClassVar = []

    def __init__(self, name, *options):
        self.started.append(self)
        self.mark = f"workbench-test-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, "stream", "run", name, *options],
            env={**os.environ, "WORKBENCH_TEST_MARK": self.mark},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines = []

    def until_line(self, part):
        """Read what it says up to a line with `part`."""
        for line in self.process.stderr:
            self.lines.append(line)
            if part in line:
                return
        pytest.fail("".join(self.lines))

    def all_of_it(self):
        """Return every process that it started and that still is, by their environment."""
        return [each for each in psutil.process_iter() if self.mark in _environment(each)]

    def interrupt(self):
        """Press Ctrl-C: the terminal tells every process of the group. Return what it says yet."""
        os.killpg(self.process.pid, signal.SIGINT)
        _, said = self.process.communicate(timeout=120)
        return said


def _environment(process):
    try:
        return process.environ().get("WORKBENCH_TEST_MARK", "")
    except psutil.Error:
        return ""


def await_(true, seconds=150):
    end = time.monotonic() + seconds
    while not (result := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return result


def said(name):
    """Return the alerts on the topic, in their order."""
    return [
        json.loads(each) for each in event_topics.read(f"persistent://public/default/{name}-alerts")
    ]


def test_an_alert_that_a_stop_left_open_is_closed_by_the_next_start(name):
    first = Command(name)
    first.until_line("it reads what comes from now on")
    send(name, 1, 9.0)
    send(name, 2, 9.0)
    (opened,) = await_(lambda: said(name))
    assert opened["status"] == "open"
    assert alerts.left_open(load_stream(name)).kept == (
        "another job of this stream is connected to its topic"
    )
    first.interrupt()
    assert first.process.returncode == 0
    await_(lambda: not is_read(load_stream(name)))
    send(name, 3, 9.0)

    second = Command(name)
    second.until_line(
        "it reads what comes from now on; what came since its last checkpoint is left out"
    )
    second.until_line("closed 1 alert that its last job left open: P1 pressure since 2026-01-05T00")
    second.interrupt()

    closed = said(name)[-1]
    assert closed == {**opened, "status": "closed", "stop": closed["stop"], "reason": REASON}
    assert closed["start"] < closed["stop"]
    assert alerts.left_open(load_stream(name)).alerts == ()
    assert [row["status"] for row in alerts.list_alerts(name)] == ["closed"]


def _listens(process):
    """Tell whether the JVM of a command answers it."""
    return any(
        each.name() == "java" and any(one.status == "LISTEN" for one in each.net_connections())
        for each in process.children(recursive=True)
    )


@pytest.mark.parametrize("phase", ["said", "java", "flink", "job"])
def test_ctrl_c_while_a_job_starts_is_one_line_and_leaves_no_process(name, phase):
    reached = {
        "said": lambda _: True,
        "java": lambda each: any(child.name() == "java" for child in each.children()),
        "flink": _listens,
        "job": lambda _: is_read(load_stream(name)),
    }
    command = Command(name)
    command.until_line("starting Flink and the job, some 20 s")
    await_(lambda: reached[phase](psutil.Process(command.process.pid)))

    rest = command.interrupt()

    if phase != "job":  # there it may run already
        assert command.process.returncode == 1
        assert rest == "\nended before the job ran\n"
    assert "Traceback" not in rest
    _, left = psutil.wait_procs(command.all_of_it(), timeout=30)
    assert left == []
    assert command.all_of_it() == []
