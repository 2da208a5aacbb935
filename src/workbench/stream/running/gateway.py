"""The JVM that carries out this process's commands to Flink, and nobody else's."""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import re
import secrets
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from workbench import services
from workbench.endpoints import private_home
from workbench.errors import StreamError
from workbench.stream.running.class_path import class_path

if TYPE_CHECKING:
    from py4j.java_gateway import GatewayConnection, JavaGateway

_MAIN = ["-c", "org.apache.flink.client.python.PythonGatewayServer", "local"]
_POLL_S = 0.02
_END_S = 5.0
# A short job compiles quickly instead of well: half the processor time. One that stays has windows
# that move at each reading, and G1, Flink's own, is at a loss with them: 60,000 readings/s of
# 100,000 sensors, where this one lets 85,000 pass. What is called often compiles well all the same,
# a second later, and what its start calls no more: a third of the time until the first score.
_BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_STEADY = (
    "-XX:+UseParallelGC",
    "-XX:Tier4InvocationThreshold=50000",  # these are ten times Java's own
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
_COLLECTOR = re.compile(r"-XX:\+Use\w+GC")


@dataclass(frozen=True)
class _Jvm:
    """A JVM that starts, and what it was told; it ends when nobody holds its input any more."""

    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]
    token: str
    jars: frozenset[Path]

    def port(self) -> int:
        """Wait until it listens, and return its port."""
        file = Path(self.folder.name) / "port"
        while not file.exists():
            if self.process.poll() is not None:
                stderr = self.process.stderr
                said = stderr.read().decode(errors="replace") if stderr else ""
                raise StreamError(f"the JVM ended while starting: {said.strip()}")
            time.sleep(_POLL_S)
        (port,) = struct.unpack("!I", file.read_bytes())
        return int(port)


_lock = threading.Lock()
_jvms: list[_Jvm] = []  # the one of this process, as PyFlink has one


def start_gateway(*, brief: bool = False, jars: Sequence[Path] = ()) -> frozenset[Path]:
    """Start the JVM of this process, unless it has one; it gets ready while Python imports.

    Return which jars of jobs it was started with: these no job has to bring.

    Parameters
    ----------
    brief
        For jobs of seconds.
    jars
        Jars of jobs. Flink loads what a job brings for it alone, and Java compiles that anew: 3 s
        of processor time for each job that reads a topic.

    Raises
    ------
    StreamError
        If this Python has no Flink.
    ServicesError
        If there is no Java, or our jar for PyFlink does not compile.
    """
    _prepare_java(brief=brief)
    with _lock:
        pyflink = sys.modules.get("pyflink.java_gateway")
        runs = any(jvm.process.poll() is None for jvm in _jvms)
        if not runs and getattr(pyflink, "_gateway", None) is None:
            _jvms[:] = [_started(jars)]
        return _jvms[0].jars if _jvms else frozenset()


def guard_gateway() -> None:
    """Let PyFlink take a JVM that wants a token, and sends one with what it asks us."""
    from pyflink import java_gateway

    java_gateway.launch_gateway = _launch


def _launch() -> JavaGateway:
    from py4j.java_gateway import CallbackServerParameters, GatewayParameters, JavaGateway

    (jvm,) = _jvms
    token = jvm.token
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(port=jvm.port(), auto_convert=True, auth_token=token),
        callback_server_parameters=CallbackServerParameters(
            port=0, daemonize=True, daemonize_connections=True, auth_token=token
        ),
    )
    keep_threads(gateway)
    return gateway


class _Connections(threading.local):
    """The idle connections of the thread that asks, for `py4j.java_gateway.GatewayClient.deque`."""

    def __init__(self) -> None:
        self._own: deque[GatewayConnection] = deque()

    def pop(self) -> GatewayConnection:
        return self._own.pop()

    def append(self, connection: GatewayConnection) -> None:
        self._own.append(connection)

    def __len__(self) -> int:
        return len(self._own)


def keep_threads(gateway: JavaGateway) -> None:
    """Let each thread of Python keep its own thread of Java, which py4j does not see to.

    A connection is a thread of Java, and a collection of garbage in any thread of Python takes
    the one that is idle. The next command then went by another, where Flink's planner lacks what
    it keeps by thread (`metadataHandlerProvider`), and the class loader is not that of the jars.
    """
    client = gateway._gateway_client
    if isinstance(client.deque, _Connections):  # pyflink has one gateway for all jobs of a process
        return
    kept, client.deque = client.deque, _Connections()
    for connection in kept:  # of this thread
        client.deque.append(connection)


def _started(jars: Sequence[Path]) -> _Jvm:
    from pyflink.pyflink_gateway_server import launch_gateway_server_process

    folder, token = tempfile.TemporaryDirectory(prefix="workbench-"), secrets.token_hex(32)
    atexit.register(folder.cleanup)
    variables = {
        **os.environ,
        **class_path(jars),
        "WORKBENCH_GATEWAY_TOKEN": token,  # of this user's processes alone
        "_PYFLINK_CONN_INFO_PATH": str(Path(folder.name) / "port"),
    }
    process = launch_gateway_server_process(variables, _MAIN)
    return _Jvm(process, folder, token, frozenset(jars))


def end_java() -> None:
    """End the JVM of this process and what it has started, if it has one: a start is broken off.

    It ends by itself when this process does, but not always where that is amid its own start.
    """
    for jvm in _jvms:
        with contextlib.suppress(psutil.NoSuchProcess):
            java = psutil.Process(jvm.process.pid)
            family = [java, *java.children(recursive=True)]
            java.terminate()
            for process in psutil.wait_procs(family, timeout=_END_S)[1]:
                process.kill()


def _prepare_java(*, brief: bool) -> None:
    """Let PyFlink find the JDK, and keep its logs out of site-packages."""
    if not services.has_flink():
        raise StreamError(
            f"Python {platform.python_version()} has no Flink: apache-flink 1.20 needs 3.11",
            hint="the commands are handed to a Python that has it: `workbench promote`, `parity`, "
            "`backtest`, `stream run`",
        )
    os.environ["JAVA_HOME"] = str(services.java().parent.parent)
    logs = private_home() / "logs" / "flink"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ["FLINK_LOG_DIR"] = str(logs)
    _add_java_options(_BRIEF if brief else _STEADY)


def _add_java_options(options: tuple[str, ...]) -> None:
    """Let the JVM that PyFlink starts have these, and no collector beside one of the user's."""
    import pyflink
    from pyflink.pyflink_gateway_server import get_jvm_opts

    conf = Path(pyflink.__file__).parent / "conf"
    given = get_jvm_opts({**os.environ, "FLINK_CONF_DIR": str(conf)})
    # what a job before this one asked for, maybe in the process that started this one
    users = [option for option in given if option not in {*_BRIEF, *_STEADY}]
    if any(_COLLECTOR.fullmatch(option) for option in users):
        options = tuple(option for option in options if not _COLLECTOR.fullmatch(option))
    os.environ["FLINK_ENV_JAVA_OPTS"] = " ".join([*users, *options])
