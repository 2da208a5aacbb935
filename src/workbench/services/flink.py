"""A standalone Flink session cluster: one JobManager and one TaskManager of PyFlink's own bin/.

For `workbench stream run --target session`. It takes jobs on loopback only; what a job needs
beyond Flink (the connector's jars, its settings) comes with the job.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from workbench import files
from workbench.endpoints import home
from workbench.errors import ServicesError, StreamError
from workbench.flink_rest import ask
from workbench.services.flink_guard import PASSWORD_FILE, password_file, python_jar
from workbench.services.jdk import complaint, java
from workbench.services.processes import start
from workbench.services.state import State

PORTS = ("jobmanager", "flink_web")  # the TaskManager's are its own affair
_JVM_OPTIONS = "env.java.opts.all"


def _distribution() -> Path:
    """Return PyFlink's folder, without the cost of importing it."""
    return Path(str(importlib.metadata.distribution("apache-flink").locate_file("pyflink")))


def _settings(state: State, folder: Path) -> dict[str, object]:
    ports = state["ports"]
    return {
        "jobmanager.bind-host": "127.0.0.1",
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": ports["jobmanager"],
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": ports["flink_web"],
        "rest.bind-port": ports["flink_web"],
        "web.submit.enable": "false",  # jobs come from our client, not from uploads
        PASSWORD_FILE: password_file("session", state["endpoints"]["flink_password"]),
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.numberOfTaskSlots": 4,
        "taskmanager.memory.process.size": "1600m",
        "env.java.opts.taskmanager": "-XX:+UseParallelGC",  # as a job in our own process has
        "io.tmp.dirs": folder / "tmp",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        # a death is seen within seconds, by two heartbeats that reach nobody; Flink's own are
        # 10 s apart. Who is reached and does not answer for 50 s, Flink's own, is frozen: a busy
        # TaskManager that begins a job is silent for longer than 15 s.
        "heartbeat.interval": "2 s",
        "execution.checkpointing.num-retained": 3,
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
        "execution.checkpointing.savepoint-dir": (folder / "savepoints").as_uri(),
    }


def _configure(state: State) -> dict[str, str]:
    """Write the configuration; return the environment that points Flink's scripts to it."""
    distribution, folder = _distribution(), home() / "flink"
    conf = folder / "conf"
    # the JobManager may be reading its own just now, where the TaskManager's is written
    others = shutil.ignore_patterns("config.yaml")
    shutil.copytree(distribution / "conf", conf, dirs_exist_ok=True, ignore=others)
    (folder / "tmp").mkdir(exist_ok=True)
    settings = {_JVM_OPTIONS: _shipped_jvm_options(distribution)} | _settings(state, folder)
    settings |= _private_channels(state, folder)
    lines = [f"{key}: {json.dumps(str(value))}" for key, value in settings.items()]
    files.write_text(conf / "config.yaml", "\n".join(lines) + "\n", mode=0o600)
    return {
        "JAVA_HOME": str(java().parent.parent),
        "FLINK_HOME": str(distribution),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LIB_DIR": str(_link_jars(distribution, folder / "lib")),
        "FLINK_LOG_DIR": str(home() / "logs"),
        "FLINK_PID_DIR": str(folder / "tmp"),
    }


def _private_channels(state: State, folder: Path) -> dict[str, object]:
    """Return what lets JobManager and TaskManager hear each other alone: they carry code.

    Each shows the other the one certificate that is made here, at the first start.
    """
    store, password = folder / "internal.p12", state["endpoints"]["flink_password"]
    if not store.is_file():
        with files.new_file(store, mode=0o600) as part:
            part.unlink()  # keytool wants to make it
            _make_certificate(part, password)
            part.chmod(0o600)
    settings = {f"security.ssl.internal.{name}store": store.resolve() for name in ("key", "trust")}
    passwords = ("keystore-password", "truststore-password", "key-password")
    return {
        "security.ssl.internal.enabled": "true",
        "security.ssl.algorithms": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        **settings,
        **{f"security.ssl.internal.{name}": password for name in passwords},
    }


def _make_certificate(path: Path, password: str) -> None:
    """Write a key and a certificate of its own, as PKCS #12, with the JDK's keytool."""
    options = ["-alias", "workbench", "-keyalg", "RSA", "-keysize", "3072"]
    options += ["-dname", "CN=workbench", "-validity", "36500", "-storetype", "PKCS12"]
    command = [str(java()), "-m", "java.base/sun.security.tools.keytool.Main", "-genkeypair"]
    command += [*options, "-keystore", str(path), "-storepass:env", "WORKBENCH_STOREPASS"]
    variables = os.environ | {"WORKBENCH_STOREPASS": password}
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    if done.returncode:
        raise ServicesError(f"keytool makes no certificate: {complaint(done.stdout + done.stderr)}")


def _link_jars(distribution: Path, lib: Path) -> Path:
    """Put our flink-python beside Flink's own jars: a submitted job does not bring it along."""
    wanted = {jar.name: jar for jar in [*distribution.glob("lib/*.jar"), python_jar()]}
    lib.mkdir(exist_ok=True)
    for link in lib.iterdir():
        if link.name not in wanted or link.resolve() != wanted[link.name].resolve():
            link.unlink()
    for name, jar in wanted.items():
        if not (lib / name).is_symlink():
            (lib / name).symlink_to(jar)
    return lib


def _shipped_jvm_options(distribution: Path) -> str:
    import yaml

    shipped = yaml.safe_load((distribution / "conf" / "config.yaml").read_text(encoding="utf-8"))
    options: str = shipped["env"]["java"]["opts"]["all"]
    return options


def launch_jobmanager(state: State) -> None:
    """Start the JobManager with its web UI."""
    command = [_distribution() / "bin" / "jobmanager.sh", "start-foreground"]
    start("jobmanager", command, _configure(state))


def launch_taskmanager(state: State) -> None:
    """Start the TaskManager, under a new name: the JobManager remembers dead ones for a while."""
    command = [_distribution() / "bin" / "taskmanager.sh", "start-foreground"]
    name = f"taskmanager.resource-id={_taskmanager_id(state)}"
    start("taskmanager", [*command, "-D", name], _configure(state))


def _taskmanager_id(state: State) -> str:
    return f"taskmanager-{state['starts']['taskmanager']}"


def jobmanager_missing(state: State) -> str:
    """Return what is not ready yet: nothing once the REST API answers."""
    try:
        _taskmanagers(state)
    except StreamError as err:
        return err.message
    return ""


def taskmanager_missing(state: State) -> str:
    """Return what is not ready yet: nothing once the JobManager knows this very one."""
    try:
        registered = _taskmanager_id(state) in _taskmanagers(state)
    except StreamError as err:
        return err.message
    return "" if registered else "it is not registered with the JobManager"


def _taskmanagers(state: State) -> set[str]:
    answer = ask(state["endpoints"]["flink"], "GET", "/taskmanagers", timeout_s=5)
    return {manager["id"] for manager in answer["taskmanagers"]}
