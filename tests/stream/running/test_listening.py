"""While a job runs, nothing listens but on loopback, and there a stranger is not let in."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.stream import parse_stream, run
from workbench.stream.promotion_log import add_package

# Looks at a process and those below it until its input ends; a process of its own, since another
# thread of the job's would share its way to the JVM.
WATCH = """
import json, select, socket, sys
import psutil

def look(process):
    for one in process.net_connections("all"):
        if one.family == socket.AF_UNIX:
            paths.add(one.laddr)
        elif one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr):
            seen.add((" ".join(process.cmdline()[-2:]), one.laddr[0].removeprefix("::ffff:"),
                      one.laddr[1]))

seen, paths, root = set(), set(), psutil.Process(int(sys.argv[1]))
while not select.select([sys.stdin], [], [], 0.2)[0]:
    for process in [root, *root.children(recursive=True)]:
        if process.pid != psutil.Process().pid:
            try:
                look(process)
            except psutil.Error:  # ended meanwhile
                continue
print(json.dumps([sorted(seen), sorted(filter(None, paths))]))
"""


def watch():
    command = [sys.executable, "-c", WATCH, str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def watched(tmp_path_factory, package_folder, readings):
    """Where it listened while a job ran here: (process, address, port), and paths of sockets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_STORE", str(tmp_path_factory.mktemp("store")))
        stream = parse_stream(
            "pumps",
            {
                "topic": "persistent://public/default/pumps",
                "sensor": "pump",
                "channels": ["pressure_bar", "flow_l_min"],
                "lateness_s": 30,
                "window": 8,
                "alerts": "persistent://public/default/alerts",
                "detector": add_package(package_folder)[:16],
            },
        )
        with watch() as watcher:
            outcome = run(stream, readings)
            seen, paths = json.loads(watcher.communicate("")[0])
    assert len(outcome.scores) > 1000
    return seen, paths


@pytest.mark.flink
def test_a_job_of_this_process_listens_on_loopback_only(watched):
    seen, _ = watched

    assert len(seen) >= 2, "nothing was seen"
    assert [one for one in seen if one[1] not in ("127.0.0.1", "::1")] == []


@pytest.mark.flink
def test_a_job_and_its_scorer_speak_where_their_user_alone_can_enter(watched):
    _, paths = watched
    folders = {Path(path).parent for path in paths if "/workbench-" in path}

    assert len(folders) == 2, paths  # the worker pool's, and that of Flink's channels
    for folder in folders:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == os.getuid()


@pytest.mark.flink
def test_a_stranger_gives_the_jvm_no_commands(watched):
    from py4j.java_gateway import GatewayParameters, JavaGateway
    from py4j.protocol import Py4JError
    from pyflink.java_gateway import get_gateway

    port = get_gateway().gateway_parameters.port
    stranger = JavaGateway(gateway_parameters=GatewayParameters(port=port))

    with pytest.raises(Py4JError):
        stranger.jvm.java.lang.Runtime.getRuntime()
    assert get_gateway().jvm.java.lang.Math.abs(-1) == 1  # we do


@pytest.mark.flink
def test_a_stranger_calls_no_python_of_ours(watched):
    from pyflink.java_gateway import get_gateway

    callbacks = get_gateway().get_callback_server()
    address = (callbacks.get_listening_address(), callbacks.get_listening_port())
    with socket.create_connection(address, timeout=5) as stranger:
        stranger.sendall(b"c\np0\nping\ne\n")
        try:
            answer = stranger.recv(1000)
        except ConnectionResetError:
            answer = b""

    assert answer == b""
