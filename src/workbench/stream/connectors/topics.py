"""The ends of a job by name: those given, and for the rest the topics of the stream file.

How a topic begins says what it is of: `persistent://` is Pulsar's, as is a name without a scheme;
`kafka://` is Kafka's.
A queue more is a module with `source`, `sink` and `jars`, and a line in QUEUES.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from workbench.errors import StreamError, did_you_mean
from workbench.stream.connectors import kafka, pulsar
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.flink_sql.outputs import beside, topics
from workbench.stream.flink_sql.tables import MESSAGES, Sink, Source

Ends = Mapping[str, Source | Sink]


def left_behind(stream: Stream) -> str | None:
    """Return the position from which on a topic has what no job of a stream has read.

    None if there is nothing; of Kafka, where it is not known, too.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic.
    """
    return pulsar.left_behind(stream) if queue(stream.topic) is pulsar else None


def is_read(stream: Stream) -> bool | None:
    """Tell whether a job of a stream, or its function, is connected to the stream's topic.

    None of Kafka, which does not tell: Flink's readers are no members of a consumer group.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic.
    """
    return pulsar.is_read(stream) if queue(stream.topic) is pulsar else None


class Queue(Protocol):
    """What a module has to have, for topics of its queue to be ends of a job.

    `source` and `sink` check what can be known before Flink starts.
    """

    def source(self, stream: Stream, position: str) -> Source:
        """Return the end that reads a stream's topic from a position on."""
        ...

    def sink(self, stream: Stream, name: str, topic: str) -> Sink:
        """Return the end that writes the view `name` to a topic."""
        ...

    def jars(self) -> list[Path]:
        """Return what Flink needs for them."""
        ...


QUEUES: dict[str, Queue] = {  # by scheme
    "persistent": pulsar,
    "non-persistent": pulsar,
    "kafka": kafka,
}


def queue(topic: str) -> Queue:
    """Return what a topic is of.

    Raises
    ------
    StreamError
        If no queue has such topics.

    Examples
    --------
    >>> queue("persistent://public/default/pumps") is pulsar
    True
    """
    scheme, colon, _ = topic.partition("://")
    if not colon:
        return pulsar
    if scheme not in QUEUES:
        raise StreamError(
            f"topic {topic} is of no queue that a stream can read or write",
            hint=f"topics begin with {', '.join(f'{name}://' for name in QUEUES)}",
        )
    return QUEUES[scheme]


def ends(
    stream: Stream, given: Ends, *, position: str = "latest"
) -> tuple[Source, dict[str, Sink]]:
    """Return where a job reads, and where it writes each view.

    Parameters
    ----------
    given
        Ends in place of the stream file's: `messages`, a Source, and for a view's name a Sink.
    position
        Where to begin, if `messages` is not among them.

    Raises
    ------
    StreamError
        If the stream has no such end, a topic is of no queue, or for what its queue refuses.
    """
    _check(stream, given)
    written = {name: topic for name, topic in topics(stream).items() if name not in given}
    read = given.get(MESSAGES) or queue(stream.topic).source(stream, position)
    assert isinstance(read, Source)  # noqa: S101 - for mypy: `_check` refuses others
    sinks = {name: sink for name, sink in given.items() if isinstance(sink, Sink)}
    for name, topic in written.items():
        if name == "heartbeat" and read.bounded:
            continue  # it beats by the wall clock, for as long as readings may come
        sinks[name] = queue(topic).sink(stream, name, topic)
    return read, sinks


def _check(stream: Stream, given: Ends) -> None:
    scores = ["scores", *beside(stream)] if stream.detects else []
    names = [MESSAGES, *topics(stream), *scores, "late", "refused"]
    for name, end in given.items():
        if name not in names:
            raise StreamError(
                f"stream {stream.name} has no end {name!r}",
                hint=did_you_mean(name, names) or f"it has {', '.join(dict.fromkeys(names))}",
            )
        kind = Source if name == MESSAGES else Sink
        if not isinstance(end, kind):
            raise StreamError(f"end {name!r} is a {type(end).__name__}, expected a {kind.__name__}")


def job_jars(stream: Stream, given: Ends | None = None) -> list[Path]:
    """Return every jar that a job needs: those of its queues, of the ends given, and ours."""
    given = given or {}
    named = {MESSAGES: stream.topic, **topics(stream)}
    queues = {
        id(of): of for name, topic in named.items() if name not in given and (of := queue(topic))
    }
    jars = [jar for of in queues.values() for jar in of.jars()]
    jars += [jar for end in given.values() for jar in end.jars]
    return list(dict.fromkeys([*jars, function_jar()]))


__all__ = ["QUEUES", "Ends", "Queue", "ends", "is_read", "job_jars", "left_behind", "queue"]
