"""The processes of a service: start, find, stop.

A service and all that it starts carry `WORKBENCH_SERVICE=NAME@HOME` in their environment. They
are found by that mark in the process table, never by a process id that was written down: no
crash can orphan one, and a recycled id is never mistaken for a service.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from workbench.endpoints import home
from workbench.errors import ServicesError

_MARK = "WORKBENCH_SERVICE"
# Of the one who starts: no service needs them, and Flink logs the environment of its workers
_SECRETS = ("TOKEN", "SECRET", "PASSWORD", "LOGIN", "ACCESS_KEY_ID", "ACCESS_KEY", "API_KEY")
_STOP_S = 30  # Pulsar takes 2 to 5 s to close its ledgers
_KILL_S = 10


def log_path(name: str) -> Path:
    """Return the file that gets what a service prints, over all its starts."""
    return home() / "logs" / f"{name}.log"


def _mark(name: str) -> str:
    return f"{name}@{home().resolve()}"


def start(name: str, command: Sequence[object], environment: Mapping[str, str]) -> None:
    """Start a service in a session of its own, so that it outlives this process."""
    log = log_path(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PULSAR_", "FLINK_")) and not key.endswith(_SECRETS)
    }
    # The shell ends at once: the service is nobody's child, and never a zombie of ours
    detached = ["sh", "-c", '"$@" >>"$0" 2>&1 </dev/null &', str(log), *map(str, command)]
    subprocess.run(
        detached,
        cwd=home(),  # what a service writes without being told where stays in its home
        env=inherited | dict(environment) | {_MARK: _mark(name)},
        start_new_session=True,
        umask=0o077,  # what a service writes is its owner's alone
        check=True,
    )


def processes(name: str) -> list[psutil.Process]:
    """Return the living processes of a service, the oldest (the service itself) first."""
    return sorted(_marked(_mark(name)), key=lambda process: process.create_time())


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # ended meanwhile, or not ours to read
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def stop(name: str) -> int:
    """End all processes of a service, gently at first, and return how many there were.

    Raises
    ------
    ServicesError
        If one is still there after SIGKILL.
    """
    running = processes(name)
    _signal(running[:1], "terminate")
    psutil.wait_procs(running[:1], timeout=_STOP_S)
    rest = processes(name)
    _signal(rest, "terminate")
    psutil.wait_procs(rest, timeout=2)
    _signal(processes(name), "kill")
    # of those that were found: one that is being torn down shows its environment no more
    _, left = psutil.wait_procs({*running, *rest}, timeout=_KILL_S)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise ServicesError(f"{name} does not end: process {pids}")
    return len(running)


def _signal(found: list[psutil.Process], how: str) -> None:
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            getattr(process, how)()  # psutil checks that the id still means this process


def owner(port: int) -> str:
    """Return who listens on a port of this machine, as far as we may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
                pid = connection.pid
                return f"process {pid} ({psutil.Process(pid).name()})" if pid else "a process"
    return "a process"
