"""The JVM that carries out this process's commands to Flink, and nobody else's."""

from __future__ import annotations

import os
import secrets
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import StreamError
from workbench.stream.running.class_path import class_path

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway

_MAIN = ["-c", "org.apache.flink.client.python.PythonGatewayServer", "local"]
_POLL_S = 0.05


def guard_gateway() -> None:
    """Let PyFlink start its JVM so that it wants a token, and sends one with what it asks us."""
    from pyflink import java_gateway

    java_gateway.launch_gateway = _launch


def _launch() -> JavaGateway:
    from py4j.java_gateway import CallbackServerParameters, GatewayParameters, JavaGateway

    token = secrets.token_hex(32)
    port = _start(token)
    return JavaGateway(
        gateway_parameters=GatewayParameters(port=port, auto_convert=True, auth_token=token),
        callback_server_parameters=CallbackServerParameters(
            port=0, daemonize=True, daemonize_connections=True, auth_token=token
        ),
    )


def _start(token: str) -> int:
    """Start the JVM and return its port."""
    from pyflink.pyflink_gateway_server import launch_gateway_server_process

    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        port_file = Path(folder) / "port"
        variables = {
            **os.environ,
            **class_path(),
            "WORKBENCH_GATEWAY_TOKEN": token,  # of this user's processes alone
            "_PYFLINK_CONN_INFO_PATH": str(port_file),
        }
        process: subprocess.Popen[bytes] = launch_gateway_server_process(variables, _MAIN)
        while not port_file.exists():
            if process.poll() is not None:
                said = process.stderr.read().decode(errors="replace") if process.stderr else ""
                raise StreamError(f"the JVM ended while starting: {said.strip()}")
            time.sleep(_POLL_S)
        (port,) = struct.unpack("!I", port_file.read_bytes())
    return int(port)
