"""Run a stream on live readings: topics in, topics out, or whatever ends are given.

What can be known before Flink starts is checked before: the broker, the topics, the package.
Delivery is at least once; an alert that comes again has the same id, which is its message key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep as pause
from typing import TYPE_CHECKING

from workbench.endpoints import home
from workbench.errors import StreamError
from workbench.stream.connectors import topics
from workbench.stream.connectors.topics import Ends, job_jars
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.flink_sql.tables import Sink, Source
from workbench.stream.running.class_path import job_ran
from workbench.stream.running.failures import failure
from workbench.stream.running.job import define, embedded, environment, inserts
from workbench.stream.selection import Selection, select

if TYPE_CHECKING:
    from pyflink.common import JobClient
    from pyflink.common.completable_future import CompletableFuture
    from pyflink.table import TableEnvironment

_POLL_S = 0.2
_STOP_S = 60.0  # until a job is ended
_CANCELED = "JobCancellationException"


@dataclass(frozen=True, eq=False)
class Job:
    """A running job.

    Attributes
    ----------
    stream
        Name of the stream.
    package
        Id of the package that it started with.
    """

    stream: str
    package: str
    _client: JobClient

    @property
    def id(self) -> str:
        """Flink's id of it, 32 hexadecimal digits."""
        return str(self._client.get_job_id())

    def state(self) -> str:
        """Return what Flink says of the job: `RUNNING`, `FINISHED`, `FAILED`, `CANCELED`, ..."""
        if not self._ended:
            return str(self._client.get_job_status().result().name)
        error = self._client.get_job_execution_result().exception()
        if error is None:
            return "FINISHED"
        return "CANCELED" if _CANCELED in str(error) else "FAILED"

    @property
    def _ended(self) -> bool:
        """Whether it came to an end of any kind: its mini cluster is gone then."""
        return bool(self._client.get_job_execution_result().done())

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the job ends, or so long; return whether it has ended.

        Raises
        ------
        StreamError
            If the job fails.
        """
        with failure():
            return _done(self._client.get_job_execution_result(), timeout_s)

    def stop(self) -> None:
        """End the job without a savepoint: the next one begins where its position says.

        Raises
        ------
        StreamError
            If Flink refuses, or has not ended it within a minute.
        """
        if self._ended:
            return
        with failure():
            stopped = _done(self._client.cancel(), _STOP_S)
        if not stopped:
            raise StreamError(
                f"the job of stream {self.stream} has not ended {_STOP_S:g} s after it was stopped",
                where=f"job {self.id}",
                hint="what it waits for (a broker, a topic) may not answer; try again",
            )


def _done(future: CompletableFuture, timeout_s: float | None) -> bool:
    """Wait for Flink's answer, at most so long, and raise what it says; return whether it came.

    In steps: within `result()` Python would hear nothing, neither Ctrl-C nor an end of the wait.
    """
    waited = 0.0
    while not future.done() and (timeout_s is None or waited < timeout_s):
        pause(_POLL_S)
        waited += _POLL_S
    if not future.done():
        return False
    future.result()
    return True


def start(
    stream: str | Path | Stream,
    *,
    position: str = "latest",
    package: str | None = None,
    restarts: int = 10,
    ends: Ends | None = None,
) -> Job:
    """Start the job on a mini cluster within this process, and return while it runs.

    Parameters
    ----------
    position
        Where it begins to read: `latest`, `earliest`, or a message id `ledger:entry:partition`.
    package
        Id of a package in place of the stream's detector.
    restarts
        How often Flink may restart it from its last checkpoint.
    ends
        Tables in place of the stream file's topics: a Source for `messages`, and Sinks for what it
        writes: `alerts`, `scores`, `late`, `refused`, ... What is not given stays as it is.

    Raises
    ------
    StreamError
        If the stream file, its package, an end or its SQL is wrong.
    ServicesError
        If the broker or a topic is not there.
    """
    settings = {
        "execution.checkpointing.dir": (home().resolve() / "flink" / "checkpoints").as_uri(),
        "restart-strategy.type": "fixed-delay" if restarts else "none",
        "restart-strategy.fixed-delay.attempts": str(max(restarts, 1)),
        "restart-strategy.fixed-delay.delay": "2 s",
    }
    return launch(stream, settings, position=position, package=package, ends=ends)


def launch(
    stream: str | Path | Stream,
    settings: Mapping[str, str],
    *,
    position: str = "latest",
    package: str | None = None,
    ends: Ends | None = None,
) -> Job:
    """Start the job wherever Flink's `settings` say, and return once it is accepted there.

    Parameters and errors are those of `start`.
    """
    definition = load_stream(stream)
    selection = select(definition, package)
    source, sinks = topics.ends(definition, ends or {}, position=position)
    jars = ";".join(jar.as_uri() for jar in job_jars(definition, ends))
    common = {"pipeline.jars": jars, "execution.checkpointing.interval": "5 s"}
    env = environment(brief=False, batch=False, **{**common, **settings})
    return _begin(env, selection, source, sinks)


def embed(
    stream: str | Path | Stream, *, position: str = "latest", package: str | None = None
) -> Job:
    """Start the job in the application cluster that started this process.

    Parameters and errors are those of `start`; the jars are on that cluster's class path.
    """
    definition = load_stream(stream)
    selection = select(definition, package)
    return _begin(embedded(), selection, *topics.ends(definition, {}, position=position))


def _begin(
    env: TableEnvironment, selection: Selection, source: Source, sinks: Mapping[str, Sink]
) -> Job:
    stream, first = selection.stream, selection.package
    define(env, selection, source)
    with failure():
        client = inserts(env, stream, sinks).execute().get_job_client()
    job_ran()
    return Job(stream.name, first.id if first else "", client)


__all__ = ["Job", "embed", "launch", "start"]
