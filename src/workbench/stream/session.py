"""Run a stream on a Flink session cluster: submit, look, stop, take a savepoint, resume.

`workbench services up flink` starts such a cluster here; any other one is named by the address of
its JobManager's REST API. A job that was submitted is remembered in `WORKBENCH_HOME/flink/jobs/`,
by the name of its stream. Its checkpoints are kept when it ends, however it ends: `resume` goes on
from the newest of them, or from a savepoint, in a new job. A standalone JobManager remembers
nothing: after its death that is how the job comes back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from workbench.endpoints import endpoints, home
from workbench.errors import StreamError, did_you_mean
from workbench.stream.definition import Stream, load_stream
from workbench.stream.live import launch
from workbench.stream.rest import HINT, ask, first_line

_SAVEPOINT_S = 300.0
_POLL_S = 0.3
_ENDED = frozenset({"CANCELED", "FAILED", "FINISHED", "LOST"})


@dataclass(frozen=True)
class Submitted:
    """A job on a session cluster, as it is remembered.

    Attributes
    ----------
    stream
        Name or path of the stream file.
    job
        Flink's id of it.
    jobmanager
        REST API and web UI of the cluster, `http://host:port`.
    package
        Id of the package that it started with.
    fixed
        Whether it was started with that package in place of the stream's detector.
    submitted
        When, ISO-8601 UTC.
    restored
        The checkpoint or savepoint that it went on from; empty: none.
    savepoint
        The savepoint that it was stopped with; empty: none.
    """

    stream: str
    job: str
    jobmanager: str
    package: str
    fixed: bool
    submitted: str
    restored: str = ""
    savepoint: str = ""


@dataclass(frozen=True)
class Status:
    """How a job is.

    Attributes
    ----------
    state
        What Flink says: `RUNNING`, `RESTARTING`, `FAILED`, ...; `LOST`: the cluster does not know
        the job (its JobManager was started anew).
    since
        When it was submitted, ISO-8601 UTC.
    checkpoints
        How many were completed since then.
    checkpoint
        Path of the newest; empty: none.
    restarts
        How often Flink restarted it.
    failure
        First line of the last failure; empty: none.
    """

    stream: str
    job: str
    jobmanager: str
    state: str
    since: str
    checkpoints: int = 0
    checkpoint: str = ""
    restarts: int = 0
    failure: str = ""


def submit(
    stream: str | Path | Stream,
    *,
    jobmanager: str | None = None,
    position: str = "latest",
    package: str | None = None,
    restored: str = "",
) -> Submitted:
    """Start the job on a session cluster, and return once it is accepted there.

    Parameters
    ----------
    jobmanager
        `HOST:PORT` of its REST API; None: the local services', or `WORKBENCH_FLINK`.
    position, package
        As for `start`.
    restored
        A checkpoint or savepoint to go on from; then `position` does not count.

    Raises
    ------
    StreamError
        If no JobManager answers, the stream runs already, or for what `start` raises.
    """
    found, web = load_stream(stream), _address(jobmanager)
    ask(web, "GET", "/overview")
    _refuse_second(found.name)
    host, _, port = web.removeprefix("http://").rpartition(":")
    settings = {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "pipeline.name": f"workbench {found.name}",
        **retention(found.name),
        **({"execution.state-recovery.path": restored} if restored else {}),
    }
    job = launch(found, settings, position=position, package=package)
    submitted = Submitted(
        stream=found.name if isinstance(stream, Stream) else str(stream),
        job=job.id,
        jobmanager=web,
        package=job.package,
        fixed=package is not None,
        submitted=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        restored=restored,
    )
    _remember(found.name, submitted)
    return submitted


def retention(name: str) -> Mapping[str, str]:
    """Return Flink's settings by which a job survives: checkpoints that stay, endless restarts."""
    return {
        "execution.checkpointing.dir": _checkpoints(name).as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.tolerable-failed-checkpoints": "1000",  # storage may be away
        "restart-strategy.type": "exponential-delay",  # without end: a broker may be away for long
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
    }


def _checkpoints(name: str) -> Path:
    return home().resolve() / "flink" / "checkpoints" / name


def _address(jobmanager: str | None) -> str:
    known = jobmanager or endpoints().flink
    if not known:
        raise StreamError("no JobManager is known", hint=HINT)
    return "http://" + known.removeprefix("http://").rstrip("/")


def remembered(name: str | None = None) -> list[Submitted]:
    """Return the jobs that were submitted from here, by stream; or that of one stream.

    Raises
    ------
    StreamError
        If none was submitted for the stream of this name.
    """
    known = {path.stem: path for path in sorted(_jobs().glob("*.json"))}
    if name is None:
        return [_load(path) for path in known.values()]
    if name not in known:
        raise StreamError(
            f"stream {name} was never submitted to a session cluster",
            hint=did_you_mean(name, known) or f"workbench stream run {name} --target session",
        )
    return [_load(known[name])]


def name_of(one: Submitted) -> str:
    """Return the name of the stream of a job, where its file was named by a path."""
    return Path(one.stream).stem


def _jobs() -> Path:
    return home() / "flink" / "jobs"


def _load(path: Path) -> Submitted:
    return Submitted(**json.loads(path.read_text(encoding="utf-8")))


def _remember(name: str, submitted: Submitted) -> None:
    path = _jobs() / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(submitted), indent=1) + "\n", encoding="utf-8")
    new.replace(path)


def _refuse_second(name: str) -> None:
    if not (_jobs() / f"{name}.json").is_file():
        return
    try:
        now = status(name)
    except StreamError:  # its cluster is gone
        return
    if now.state not in _ENDED:
        raise StreamError(
            f"stream {name} runs already: job {now.job} is {now.state}",
            where=now.jobmanager,
            hint=f"workbench stream stop {name}",
        )


def status(name: str) -> Status:
    """Return how the job of a stream is.

    Raises
    ------
    StreamError
        If none was submitted, or no JobManager answers.
    """
    (one,) = remembered(name)
    known = {job["jid"] for job in ask(one.jobmanager, "GET", "/jobs/overview")["jobs"]}
    if one.job not in known:
        return Status(name, one.job, one.jobmanager, "LOST", one.submitted)
    job = ask(one.jobmanager, "GET", f"/jobs/{one.job}")
    checkpoints = ask(one.jobmanager, "GET", f"/jobs/{one.job}/checkpoints")
    failures = ask(one.jobmanager, "GET", f"/jobs/{one.job}/exceptions?maxExceptions=1")
    newest = checkpoints["latest"].get("completed") or {}
    entries = failures.get("exceptionHistory", {}).get("entries", [])
    return Status(
        stream=name,
        job=one.job,
        jobmanager=one.jobmanager,
        state=job["state"],
        since=one.submitted,
        checkpoints=checkpoints["counts"]["completed"],
        checkpoint=newest.get("external_path", ""),
        restarts=_restarts(one),
        failure=first_line(entries[0]["stacktrace"]) if entries else "",
    )


def _restarts(one: Submitted) -> int:
    found = ask(one.jobmanager, "GET", f"/jobs/{one.job}/metrics?get=numRestarts")
    return int(float(found[0]["value"])) if found else 0


def savepoint(name: str) -> str:
    """Write a savepoint of the running job, and return its path."""
    (one,) = remembered(name)
    return _triggered(
        one, "savepoints", {"target-directory": _savepoints(name), "cancel-job": False}
    )


def stop(name: str, *, with_savepoint: bool = True) -> str:
    """End the job, and return the path of the savepoint that holds its state; empty: none.

    Parameters
    ----------
    with_savepoint
        If not, it is cancelled: its newest checkpoint stays, and what came since comes again.

    Raises
    ------
    StreamError
        If no JobManager answers, it does not know the job, or the savepoint fails.
    """
    (one,) = remembered(name)
    path = ""
    if with_savepoint:
        path = _triggered(one, "stop", {"targetDirectory": _savepoints(name), "drain": False})
    else:
        ask(one.jobmanager, "PATCH", f"/jobs/{one.job}?mode=cancel")
    _await_end(name)
    _remember(name, replace(one, savepoint=path))
    return path


def _savepoints(name: str) -> str:
    return (home().resolve() / "flink" / "savepoints" / name).as_uri()


def _triggered(one: Submitted, what: str, body: Mapping[str, object]) -> str:
    trigger = ask(one.jobmanager, "POST", f"/jobs/{one.job}/{what}", json=body)["request-id"]
    deadline = time.monotonic() + _SAVEPOINT_S
    while time.monotonic() < deadline:
        found = ask(one.jobmanager, "GET", f"/jobs/{one.job}/savepoints/{trigger}")
        if found["status"]["id"] == "COMPLETED":
            operation = found["operation"]
            if "location" in operation:
                return str(operation["location"])
            why = first_line(operation["failure-cause"]["stack-trace"])
            raise StreamError(f"the savepoint of {one.stream} fails: {why}", where=one.jobmanager)
        time.sleep(_POLL_S)
    raise StreamError(
        f"the savepoint of {one.stream} takes more than {_SAVEPOINT_S:g} s", where=one.jobmanager
    )


def _await_end(name: str) -> None:
    deadline = time.monotonic() + _SAVEPOINT_S
    while (now := status(name)).state not in _ENDED:
        if time.monotonic() > deadline:
            raise StreamError(
                f"job {now.job} does not end, it is {now.state}", where=now.jobmanager
            )
        time.sleep(_POLL_S)


def newest_state(name: str) -> str:
    """Return the newest savepoint or complete checkpoint of a stream, as a URI.

    Raises
    ------
    StreamError
        If there is none.
    """
    folders = (_checkpoints(name), home().resolve() / "flink" / "savepoints" / name)
    found = [path for folder in folders for path in folder.rglob("_metadata")]
    if not found:
        raise StreamError(
            f"stream {name} has no checkpoint and no savepoint",
            where=folders[0],
            hint=f"workbench stream run {name} --target session --position earliest",
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent.as_uri()


def resume(
    name: str,
    *,
    jobmanager: str | None = None,
    package: str | None = None,
    restored: str | None = None,
) -> Submitted:
    """Go on where the job of a stream was, in a new job.

    Parameters
    ----------
    jobmanager
        `HOST:PORT`; None: where it ran last.
    package
        Id of another package in place of the one it ran with.
    restored
        A savepoint or checkpoint; None: the newest.

    Raises
    ------
    StreamError
        If it runs still, or nothing is there to go on from.
    """
    (one,) = remembered(name)
    return submit(
        one.stream,
        jobmanager=jobmanager or one.jobmanager,
        package=package or (one.package if one.fixed else None),
        restored=restored or newest_state(name),
    )


__all__ = [
    "Status",
    "Submitted",
    "name_of",
    "newest_state",
    "remembered",
    "resume",
    "savepoint",
    "status",
    "stop",
    "submit",
]
