"""Run a stream on live readings: Pulsar topics in, Pulsar topics out.

What can be known before Flink starts is checked before: the broker, the topics, the package.
Delivery is at least once; an alert that comes again has the same id, which is its message key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep as pause
from typing import TYPE_CHECKING, Any

from workbench.detectors import Package
from workbench.endpoints import endpoints, home
from workbench.errors import StreamError
from workbench.services import broker
from workbench.stream import ends, events
from workbench.stream.definition import Stream, load_stream
from workbench.stream.functions import job_jars
from workbench.stream.job import define, embedded, environment, execute, failure, inserts
from workbench.stream.outcome import written
from workbench.stream.selection import started
from workbench.stream.views import SHADOW
from workbench.stream.views import columns as alert_columns

if TYPE_CHECKING:
    from pyflink.common import JobClient
    from pyflink.table import TableEnvironment

_POLL_S = 0.2


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
        """Return what Flink says of the job: `RUNNING`, `FAILED`, ..."""
        return str(self._client.get_job_status().result().name)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the job ends, or so long.

        Raises
        ------
        StreamError
            If the job fails.
        """
        finished = self._client.get_job_execution_result()
        waited = 0.0
        with failure():
            while not finished.done() and (timeout_s is None or waited < timeout_s):
                pause(_POLL_S)
                waited += _POLL_S
            if finished.done():
                finished.result()

    def stop(self) -> None:
        """End the job without a savepoint: the next one begins where its position says."""
        with failure():
            self._client.cancel().result()


def start(
    stream: str | Path | Stream,
    *,
    position: str = "latest",
    package: str | None = None,
    restarts: int = 10,
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

    Raises
    ------
    StreamError
        If the stream file, its package or its SQL is wrong.
    ServicesError
        If the broker or a topic is not there.
    """
    settings = {
        "execution.checkpointing.dir": (home().resolve() / "flink" / "checkpoints").as_uri(),
        "restart-strategy.type": "fixed-delay" if restarts else "none",
        "restart-strategy.fixed-delay.attempts": str(max(restarts, 1)),
        "restart-strategy.fixed-delay.delay": "2 s",
    }
    return launch(stream, settings, position=position, package=package)


def launch(
    stream: str | Path | Stream,
    settings: Mapping[str, str],
    *,
    position: str = "latest",
    package: str | None = None,
) -> Job:
    """Start the job wherever Flink's `settings` say, and return once it is accepted there.

    Parameters and errors are those of `start`.
    """
    found = load_stream(stream)
    first = started(found, package)
    check_topics(found)
    jars = ";".join(jar.as_uri() for jar in job_jars())
    common = {"pipeline.jars": jars, "execution.checkpointing.interval": "5 s"}
    env = environment(brief=False, batch=False, **{**common, **settings})
    return _begin(env, found, first, position, package or found.detector)


def embed(
    stream: str | Path | Stream, *, position: str = "latest", package: str | None = None
) -> Job:
    """Start the job in the application cluster that started this process.

    Parameters and errors are those of `start`; the jars are on that cluster's class path.
    """
    found = load_stream(stream)
    first = started(found, package)
    check_topics(found)
    return _begin(embedded(), found, first, position, package or found.detector)


def _begin(
    env: TableEnvironment, found: Stream, first: Package | None, position: str, role: str
) -> Job:
    known = endpoints()
    subscription = f"workbench-{found.name}"
    source = ends.pulsar_source(
        found, known, start=settled(found.topic, position), subscription=subscription
    )
    execute(env, source, found)
    execute(env, events.TICKS, found)
    define(env, found, first, role, message_id=ends.MESSAGE_ID["pulsar"], live=True)
    sinks = topics(found)
    for name, topic in sinks.items():
        statement = ends.pulsar_sink(f"{name}_sink", written(found, name), topic, known)
        execute(env, statement, found)
    with failure():
        client = inserts(env, found, tuple(sinks), keys=_keys(sinks)).execute().get_job_client()
    return Job(found.name, first.id if first else "", client)


def settled(topic: str, position: str) -> str:
    """Return a position that still means the same after a while.

    A job that fails before its first checkpoint begins anew: at `latest` it would leave out what
    came meanwhile. (Of a partitioned topic there is no one message id to begin at.)
    """
    if position != "latest" or broker.partitions(topic) != [broker.full_name(topic)]:
        return position
    last = broker.get(f"{broker.rest_path(topic)}/lastMessageId")
    return f"{last['ledgerId']}:{last['entryId'] + 1}:-1"


def check_topics(stream: Stream) -> None:
    """Refuse a stream whose readings have no topic; give its alerts' topic a schema.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic; then with the nearest names.
    StreamError
        If the topic's schema has no such fields.
    """
    broker.partitions(stream.topic)
    _check_fields(stream)
    for topic in filter(None, [stream.alerts, stream.shadow]):
        _register(topic, alert_schema(stream))


def _check_fields(stream: Stream) -> None:
    answer = broker.admin("GET", f"/schemas{broker.rest_path(stream.topic)[11:]}/schema")
    if answer.status_code == 404:
        return  # no schema: any field may come
    broker.check(answer)
    found = answer.json()
    if found["type"] not in {"JSON", "STRING", "BYTES"}:
        raise StreamError(f"the readings are {found['type']}, expected JSON", where=stream.topic)
    if found["type"] != "JSON":
        return
    known = [one["name"] for one in json.loads(found["data"]).get("fields", [])]
    for name in (*stream.fields, *filter(None, [stream.event_time])):
        if name not in known:
            raise StreamError(
                f"the readings have no field {name!r}, they have {', '.join(known)}",
                where=stream.topic,
            )


def alert_schema(stream: Stream) -> dict[str, Any]:
    """Return the Avro definition by which Pulsar describes the JSON of an alert."""
    kinds = {"STRING": "string", "DOUBLE": "double", "BIGINT": "long"}
    values = {
        "type": "record",
        "name": "Channels",
        "fields": [_nullable(name, "double") for name in stream.measured],
    }
    fields = [
        _nullable(name, kinds.get(kind, values)) for name, kind in alert_columns(stream).items()
    ]
    return {"type": "record", "name": "Alert", "fields": fields}


def _nullable(name: str, kind: object) -> Mapping[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None}


def _register(topic: str, schema: Mapping[str, Any]) -> None:
    body = {"type": "JSON", "schema": json.dumps(schema), "properties": {}}
    path = f"/schemas{broker.rest_path(topic)[11:]}/schema"
    broker.check(broker.admin("POST", path, json=body))


def topics(stream: Stream) -> dict[str, str]:
    """Return the topic that each view is written to."""
    beside = range(2, 2 + len(stream.also))
    found = {
        "alerts": stream.alerts,
        "scores": stream.scores,
        **{f"scores_{number}": stream.scores for number in beside},
        "shadow": stream.shadow,
        f"scores{SHADOW}": stream.shadow and f"{stream.shadow}-scores",
        "refused": stream.refused,
        "heartbeat": stream.heartbeat,
    }
    return {name: topic for name, topic in found.items() if topic}


def _keys(names: Iterable[str]) -> dict[str, str]:
    keys = {"alerts": "id", "shadow": "id", "refused": "message_id", "heartbeat": "at"}
    return {name: keys.get(name, "sensor") for name in names}
