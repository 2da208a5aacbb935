"""What is killed or stopped for a while, and how it is brought back."""

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import loads
from pathlib import Path
from socket import socket

import pandas as pd
import psutil
import psycopg

from workbench import services as room
from workbench.endpoints import endpoints
from workbench.services import offload
from workbench.services.processes import processes
from workbench.stream.running import session

from .memory import called

RUN = "from workbench.cli import main; main()"
AWAY = re.compile(r"^Error: .*(answer|gives no subscription|refuses)", re.M)  # a broker


def kill(service):
    """SIGKILL the first process of a service, and start it again."""
    (first, *_) = processes(service)
    first.kill()
    psutil.wait_procs([first], timeout=10)
    room.up(["flink" if service in ("taskmanager", "jobmanager") else service])


def kill_python_worker():
    """SIGKILL what scores, beneath the TaskManager, which starts another."""
    for process in processes("taskmanager"):
        if called("taskmanager", process) == "python worker":
            with suppress(psutil.NoSuchProcess):
                process.kill()


def kill_jobmanager(jobs):
    """SIGKILL the JobManager; another forgets the jobs, which go on from their last checkpoints."""
    kill("jobmanager")
    for job in jobs:
        session.resume(job)


def restart_s3(topic):
    """Be without a bucket for a second; then offload: Pulsar deletes what lies there."""
    room.down(["s3"])
    time.sleep(1)
    room.up(["s3"])
    offload(topic)


def pause(service, seconds):
    """SIGSTOP all of a service: its peers have open connections on which nothing comes."""
    stopped = processes(service)
    each(stopped, "suspend")
    try:
        time.sleep(seconds)
    finally:
        each(stopped, "resume")


def each(found, how):
    for process in found:
        with suppress(psutil.NoSuchProcess):
            getattr(process, how)()


class Program:
    """A command of ours in a process of its own, which is killed and started again."""

    def __init__(self, name, *arguments, log):
        self.name, self.log = name, log
        self.command = [sys.executable, "-c", RUN, *map(str, arguments)]
        self.process = None

    def start(self):
        with Path(self.log).open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=os.environ, cwd=Path(self.log).parent, stdout=log, stderr=log
            )

    def keep(self):
        """Start it again, as a supervisor does, if there was no broker as it started."""
        if self.process.poll() is not None:
            last = self.log.read_text()[-600:]
            assert AWAY.search(last), f"{self.name} ended by itself: {last}"
            self.start()

    def kill(self):
        """SIGKILL it, and start it again."""
        self.process.kill()
        self.process.wait()
        self.start()

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Target:
    """A webhook that takes what a notifier delivers.

    Attributes
    ----------
    alerts
        Of each stream, by id and status, as they came last.
    posts
        How many messages came.
    """

    def __init__(self):
        self.alerts, self.posts = {}, 0

    @contextmanager
    def listening(self):
        """Give its address."""
        http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            http.server_close()
            thread.join()

    def take(self, content):
        self.posts += 1
        alerts = self.alerts.setdefault(content["stream"], {})
        for alert in content["alerts"]:
            alert.pop("severity")  # the notifier's own
            alerts[alert["id"], alert["status"]] = alert


class Handler(BaseHTTPRequestHandler):
    """Of a target."""

    def __init__(self, target, *arguments):
        self.target = target
        super().__init__(*arguments)

    def do_POST(self):
        """Take a message."""
        self.target.take(loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


class Serving(Program):
    """`workbench serve --live`, and a client that knows the right answer."""

    def __init__(self, topic, frame, log):
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        archive = ("--archive", endpoints().archive, "--live")
        super().__init__("serve", "serve", *archive, "--port", self.port, log=log)
        last_ms = int(frame["event_ms"].max()) - 1_000  # behind it are others' readings, too
        frame = frame[frame["event_ms"] <= last_ms]
        until = pd.Timestamp(last_ms, unit="ms").isoformat() + "Z"
        table = '"' + topic.split("/")[-1] + '"'
        what = "distinct sensor, epoch_ms(event_time), pressure_bar, flow_l_min"
        which = f"event_time <= timestamptz '{until}'"
        self.text = f"select {what} from {table} where {which}"  # noqa: S608
        columns = ("sensor", "event_ms", "pressure_bar", "flow_l_min")
        self.rows = set(frame[list(columns)].itertuples(index=False, name=None))

    def check(self):
        """Ask as soon as it answers: the rows are right, each time."""
        with self.connected() as connection:
            rows = set(connection.execute(self.text).fetchall())
        assert rows == self.rows, f"{len(rows)} rows, not {len(self.rows)}"

    def connected(self, seconds=120):
        deadline = time.monotonic() + seconds
        address = {"host": "127.0.0.1", "port": self.port, "user": "w", "dbname": "archive"}
        while True:
            try:
                return psycopg.connect(**address, autocommit=True)
            except psycopg.OperationalError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def kill_and_ask(self):
        """SIGKILL it; the next one answers as the last."""
        self.kill()
        self.check()
