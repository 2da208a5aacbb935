"""Start and stop the local services, and tell how they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from tqdm import tqdm

from workbench.errors import ServicesError, did_you_mean
from workbench.services import flink, kafka_server, s3, standalone
from workbench.services import state as states
from workbench.services.processes import log_path, owner, processes, stop
from workbench.services.state import State

_RELEASE_S = 3
_READY_S = 300  # 12 s on two idle cores, far more on busy ones


@dataclass(frozen=True)
class _Service:
    address: str  # which of the endpoints it is
    ports: tuple[str, ...]
    launch: Callable[[State], None]
    missing: Callable[[State], str]


_SERVICES = {  # in the order of starting; stopped in reverse
    "s3": _Service("s3_endpoint", s3.PORTS, s3.launch, s3.missing),
    "pulsar": _Service("broker", standalone.PORTS, standalone.launch, standalone.missing),
    "kafka": _Service("kafka", kafka_server.PORTS, kafka_server.launch, kafka_server.missing),
    "jobmanager": _Service("flink", flink.PORTS, flink.launch_jobmanager, flink.jobmanager_missing),
    "taskmanager": _Service("flink", (), flink.launch_taskmanager, flink.taskmanager_missing),
}
_TOGETHER = {"flink": ("jobmanager", "taskmanager")}
NAMES = tuple(_SERVICES)


@dataclass(frozen=True)
class Status:
    """How one service is.

    Attributes
    ----------
    state
        `up` (answers), `starting` (runs, but does not answer yet) or `down`.
    detail
        What a service that is `starting` still lacks, or whose processes those of a `down` one are.
    address
        Where clients reach it.
    pids
        All its processes, the service itself first.
    memory_mib
        Resident memory of all of them together, MiB.
    log
        The file that holds what it printed.
    """

    name: str
    state: str
    detail: str
    address: str
    pids: tuple[int, ...]
    memory_mib: int
    log: Path


def up(
    names: Collection[str] = ("s3", "pulsar"),
    *,
    deletion_lag_ms: int | None = None,
    functions: bool | None = None,
) -> list[Status]:
    """Start services and return once they really answer; those that run are left alone.

    Parameters
    ----------
    names
        Of `NAMES`; `flink` is its JobManager and TaskManager.
    deletion_lag_ms
        How long an offloaded ledger stays in BookKeeper too, ms; remembered. None: as it was,
        at first 4 h, Pulsar's default.
    functions
        Whether Pulsar runs its functions worker too, which takes 15 s longer; remembered.
        None: as it was, at first not.

    Raises
    ------
    ServicesError
        For an unknown name, no JDK, a failed download, a port in use, options that the running
        Pulsar does not have, or a service that ends or does not answer in time; then what this
        call started is stopped again.
    """
    chosen = _chosen(names)
    with states.locked():
        state = states.load()
        _set_options(state, {"deletion_lag_ms": deletion_lag_ms, "functions": functions})
        down = [name for name in chosen if not _lives(name, state)]
        for name in down:
            stop(name)  # what one that was killed left behind: a function of Pulsar's, say
            _check_ports(name, state)
        try:
            for name in down:
                _start(name, state)
            for name in chosen:
                if name not in down and not _is_ready(name, state):  # it was ending as we looked
                    stop(name)
                    _check_ports(name, state)
                    down.append(name)
                    _start(name, state)
                if name in down and not _is_ready(name, state):
                    raise _failure(f"{name} ended while starting", name)
        except BaseException:  # an interrupt too
            for name in reversed(down):
                stop(name)
            raise
    return status(chosen)


def _set_options(state: State, asked: Mapping[str, int | None]) -> None:
    options: dict[str, int] = state["options"]
    changed = {
        name: value for name, value in asked.items() if value is not None and value != options[name]
    }
    if changed and processes("pulsar"):
        told = ", ".join(f"{name} {options[name]}, not {changed[name]}" for name in changed)
        raise ServicesError(
            f"pulsar runs with {told}", hint="workbench services down pulsar, then up again"
        )
    options.update(changed)


def _chosen(names: Collection[str]) -> list[str]:
    wanted: set[str] = set()
    for name in names:
        if name not in _SERVICES and name not in _TOGETHER:
            hint = did_you_mean(name, [*_SERVICES, *_TOGETHER])
            raise ServicesError(f"no service {name!r}", hint=hint)
        wanted.update(_TOGETHER.get(name, (name,)))
    return [name for name in _SERVICES if name in wanted]


def ports(name: str) -> list[int]:
    """Return the ports on which a service listens, or would."""
    remembered = states.load()["ports"]
    return [remembered[port_name] for port_name in _SERVICES[name].ports]


def _start(name: str, state: State) -> None:
    state["starts"][name] = state["starts"].get(name, 0) + 1
    state["processes"].pop(name, None)
    states.save(state)  # first: after a crash, what runs must be known
    _SERVICES[name].launch(state)
    state["processes"][name] = _identity(name)
    states.save(state)


def _identity(name: str) -> dict[str, int]:
    first = processes(name)[:1]
    return {"pid": first[0].pid} if first else {}


def _lives(name: str, state: State) -> bool:
    """Tell whether the service itself runs: processes that it started may survive it.

    By its id among those that carry its mark. When it began is no part of it: that is told from
    the instant of booting, which moves with a clock that is put right.
    """
    running = processes(name)
    recorded = state["processes"].get(name)
    if not recorded:  # a crash of who started it came first
        return bool(running)
    return recorded["pid"] in [process.pid for process in running]


def _check_ports(name: str, state: State) -> None:
    for port_name in _SERVICES[name].ports:
        port = state["ports"][port_name]
        if not _is_free_soon(port):
            raise ServicesError(
                f"port {port} of {name} ({port_name}) is in use by {owner(port)}",
                where=states.path(),
                hint="end that process, or write another port there",
            )


def _is_free_soon(port: int) -> bool:
    """Tell whether a port is free, or set free now by a service that was killed."""
    deadline = time.monotonic() + _RELEASE_S
    while not states.is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _is_ready(name: str, state: State) -> bool:
    """Wait until a service answers; return whether it did, and has not ended before."""
    service, deadline = _SERVICES[name], time.monotonic() + _READY_S
    bar = tqdm(desc=f"{name}: starting", bar_format="{desc} {elapsed}", disable=None)
    with bar:
        while lacks := service.missing(state):
            if not _lives(name, state):
                return False
            if time.monotonic() > deadline:
                raise _failure(f"{name} is not ready after {_READY_S} s: {lacks}", name)
            bar.update()
            time.sleep(0.2)
        bar.set_description_str(f"{name}: up in")
    return True


def _failure(message: str, name: str) -> ServicesError:
    last = "\n  ".join(logs(name, lines=8).splitlines())
    return ServicesError(message, where=log_path(name), hint=f"its last lines:\n  {last}")


def down(names: Collection[str] = NAMES) -> dict[str, int]:
    """Stop services and return how many processes each had; their data and logs stay.

    Raises
    ------
    ServicesError
        For an unknown name, or a process that does not end.
    """
    chosen = _chosen(names)
    with states.locked():
        return {name: stop(name) for name in reversed(chosen)}


def status(names: Collection[str] = NAMES) -> list[Status]:
    """Return how the services are; changes nothing."""
    state = states.load()
    return [_status(name, state) for name in _chosen(names)]


def _status(name: str, state: State) -> Status:
    running = processes(name)
    lives = _lives(name, state)
    lacks = _SERVICES[name].missing(state) if lives else ""
    if running and not lives:
        lacks = "it was killed, these it had started"
    return Status(
        name=name,
        state=("starting" if lacks else "up") if lives else "down",
        detail=lacks,
        address=state["endpoints"][_SERVICES[name].address],
        pids=tuple(process.pid for process in running),
        memory_mib=sum(_resident(process) for process in running) >> 20,
        log=log_path(name),
    )


def _resident(process: psutil.Process) -> int:
    try:
        size: int = process.memory_info().rss
    except psutil.NoSuchProcess:  # ended since it was found
        return 0
    return size


def logs(name: str, *, lines: int = 40) -> str:
    """Return the last lines that a service printed.

    Raises
    ------
    ServicesError
        For an unknown name, or a service that was never started here.
    """
    (name,) = _chosen([name])
    path = log_path(name)
    if not path.is_file():
        raise ServicesError(
            f"{name} has no log yet", where=path, hint=f"workbench services up {name}"
        )
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
