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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from workbench import files
from workbench.endpoints import endpoints, home
from workbench.errors import StreamError, did_you_mean
from workbench.flink_rest import HINT, ask, first_line
from workbench.services import PASSWORD_FILE, password_file
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.running.failures import innermost
from workbench.stream.running.job_status import Status as Status
from workbench.stream.running.live import launch
from workbench.stream.running.retention import retention
from workbench.times import iso, now_ms

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
    definition, web = load_stream(stream), _address(jobmanager)
    ask(web, "GET", "/overview")
    _refuse_second(definition.name)
    host, _, port = web.removeprefix("http://").rpartition(":")
    settings = {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "pipeline.name": f"workbench {definition.name}",
        **_password(web),
        **retention(_checkpoints(definition.name).as_uri()),
        **({"execution.state-recovery.path": restored} if restored else {}),
    }
    # then only partitions that were not there yet have no position of their own
    position = "earliest" if restored else position
    job = launch(definition, settings, position=position, package=package)
    submitted = Submitted(
        stream=definition.name if isinstance(stream, Stream) else str(stream),
        job=job.id,
        jobmanager=web,
        package=job.package,
        fixed=package is not None,
        submitted=iso(now_ms(), "s"),
        restored=restored,
    )
    _remember(definition.name, submitted)
    return submitted


def _password(web: str) -> dict[str, str]:
    addresses = endpoints()
    if not addresses.flink_password or web != addresses.flink:
        return {}
    return {PASSWORD_FILE: str(password_file("session", addresses.flink_password))}


def _checkpoints(name: str) -> Path:
    return home().resolve() / "flink" / "checkpoints" / name


def _address(jobmanager: str | None) -> str:
    address = jobmanager or endpoints().flink
    if not address:
        raise StreamError("no JobManager is known", hint=HINT)
    return "http://" + address.removeprefix("http://").rstrip("/")


def remembered(name: str | None = None) -> list[Submitted]:
    """Return the jobs that were submitted from here, by stream; or that of one stream.

    Raises
    ------
    StreamError
        If none was submitted for the stream of this name.
    """
    paths = {path.stem: path for path in sorted(_jobs().glob("*.json"))}
    if name is None:
        return [_load(path) for path in paths.values()]
    if name not in paths:
        raise StreamError(
            f"stream {name} was never submitted to a session cluster",
            hint=did_you_mean(name, paths) or f"workbench stream run {name} --target session",
        )
    return [_load(paths[name])]


def name_of(job: Submitted) -> str:
    """Return the name of the stream of a job, where its file was named by a path."""
    return Path(job.stream).stem


def _jobs() -> Path:
    return home() / "flink" / "jobs"


def _load(path: Path) -> Submitted:
    return Submitted(**json.loads(path.read_text(encoding="utf-8")))


def _remember(name: str, submitted: Submitted) -> None:
    path = _jobs() / f"{name}.json"
    files.write_json(path, asdict(submitted))


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
    (submission,) = remembered(name)
    known = {job["jid"] for job in ask(submission.jobmanager, "GET", "/jobs/overview")["jobs"]}
    if submission.job not in known:
        return Status(name, submission.job, submission.jobmanager, "LOST", submission.submitted)
    job = ask(submission.jobmanager, "GET", f"/jobs/{submission.job}")
    checkpoints = ask(submission.jobmanager, "GET", f"/jobs/{submission.job}/checkpoints")
    failures = ask(
        submission.jobmanager, "GET", f"/jobs/{submission.job}/exceptions?maxExceptions=1"
    )
    newest = checkpoints["latest"].get("completed") or {}
    entries = failures.get("exceptionHistory", {}).get("entries", [])
    trace = entries[0]["stacktrace"] if entries else ""
    return Status(
        stream=name,
        job=submission.job,
        jobmanager=submission.jobmanager,
        state=job["state"],
        since=submission.submitted,
        checkpoints=checkpoints["counts"]["completed"],
        checkpoint=newest.get("external_path", ""),
        checkpoint_ms=newest.get("latest_ack_timestamp"),
        failed_checkpoints=checkpoints["counts"]["failed"],
        restarts=_restarts(submission),
        failure=first_line(trace),
        cause=innermost(trace),
        behind=_behind(submission, [vertex["id"] for vertex in job["vertices"]]),
    )


def _restarts(job: Submitted) -> int:
    found = ask(job.jobmanager, "GET", f"/jobs/{job.job}/metrics?get=numRestarts")
    return int(float(found[0]["value"])) if found else 0


def _behind(job: Submitted, vertices: Sequence[str]) -> int | None:
    """Return the counter of `java/PartitionOrder`; None: no task has it, or one begins again."""
    for vertex in vertices:
        metrics = f"/jobs/{job.job}/vertices/{vertex}/subtasks/metrics"
        for metric in ask(job.jobmanager, "GET", metrics):
            if metric["id"].endswith(".behind"):
                totals = ask(job.jobmanager, "GET", metrics, params={"get": metric["id"]})
                return int(float(totals[0]["sum"])) if totals else None
    return None


def savepoint(name: str) -> str:
    """Write a savepoint of the running job, and return its path."""
    (job,) = remembered(name)
    return _triggered(
        job, "savepoints", {"target-directory": _savepoints(name), "cancel-job": False}
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
    (job,) = remembered(name)
    path = ""
    if with_savepoint:
        path = _triggered(job, "stop", {"targetDirectory": _savepoints(name), "drain": False})
    else:
        ask(job.jobmanager, "PATCH", f"/jobs/{job.job}?mode=cancel")
    _await_end(name)
    _remember(name, replace(job, savepoint=path))
    return path


def _savepoints(name: str) -> str:
    return (home().resolve() / "flink" / "savepoints" / name).as_uri()


def _triggered(job: Submitted, what: str, body: Mapping[str, object]) -> str:
    trigger = ask(job.jobmanager, "POST", f"/jobs/{job.job}/{what}", json=body)["request-id"]
    deadline = time.monotonic() + _SAVEPOINT_S
    while time.monotonic() < deadline:
        found = ask(job.jobmanager, "GET", f"/jobs/{job.job}/savepoints/{trigger}")
        if found["status"]["id"] == "COMPLETED":
            operation = found["operation"]
            if "location" in operation:
                return str(operation["location"])
            trace = operation["failure-cause"]["stack-trace"]
            why = innermost(trace) or first_line(trace)
            raise StreamError(f"the savepoint of {job.stream} fails: {why}", where=job.jobmanager)
        time.sleep(_POLL_S)
    raise StreamError(
        f"the savepoint of {job.stream} takes more than {_SAVEPOINT_S:g} s", where=job.jobmanager
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
    paths = [path for folder in folders for path in folder.rglob("_metadata")]
    if not paths:
        raise StreamError(
            f"stream {name} has no checkpoint and no savepoint",
            where=folders[0],
            hint=f"workbench stream run {name} --target session --position earliest",
        )
    return max(paths, key=lambda path: path.stat().st_mtime_ns).parent.as_uri()


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
    (job,) = remembered(name)
    return submit(
        job.stream,
        jobmanager=jobmanager or job.jobmanager,
        package=package or (job.package if job.fixed else None),
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
