"""What a stream's topics hold since a moment, and how far its job is: asked of the queue alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pulsar

from workbench import broker, kafka
from workbench.errors import TimesError
from workbench.services import POSITIONING
from workbench.stream import Stream

_READ_MS = 5_000
# raised of a message that is none of its topic's: deep, infinite, of other types, without a time
NO_DOCUMENT = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, TimesError
)  # fmt: skip


class Tails:
    """The messages of some topics since a moment, each once.

    Parameters
    ----------
    topics
        By a name of theirs. An empty one: there is none, and nothing comes.
    since_ms
        By the same name: messages published before, epoch ms, are passed over.
    """

    def __init__(self, topics: Mapping[str, str], since_ms: Mapping[str, int]) -> None:
        self._tails: dict[str, _Tail | _KafkaTail] = {
            name: (_KafkaTail if kafka.is_topic(topic) else _Tail)(topic, since_ms[name])
            for name, topic in topics.items()
            if topic
        }

    def new(self) -> Iterator[tuple[str, list[bytes]]]:
        """Yield name and messages behind the last one read; of a topic that is not there none.

        Raises
        ------
        ServicesError, PulsarException
            If a queue does not answer.
        """
        with ExitStack() as stack:
            client: pulsar.Client | None = None
            for name, tail in self._tails.items():
                if isinstance(tail, _KafkaTail):
                    yield name, tail.new()
                    continue
                client = client or stack.enter_context(broker.connect())
                yield name, tail.new(client)


class _Tail:
    """Of a topic of Pulsar, whose partitions follow one another in a look."""

    def __init__(self, topic: str, since_ms: int) -> None:
        self._topic, self._since_ms = topic, since_ms
        self._last: dict[str, Any] = {}  # message id, by partition

    def new(self, client: pulsar.Client) -> list[bytes]:
        last, contents = dict(self._last), []
        for part in broker.parts(self._topic):
            for message in self._behind(client, part):
                last[part] = message.message_id()
                contents.append(message.data())
        self._last = last  # all are here: what a broker that fails has given is asked for again
        return contents

    def _behind(self, client: pulsar.Client, part: str) -> Iterator[Any]:
        if part not in self._last:
            reader = broker.reader_since(client, part, self._since_ms)
        elif broker.get_or_none(f"{broker.rest_path(part)}/stats") is None:
            reader = None  # deleted; the client would make it anew
        else:
            reader = client.create_reader(part, self._last[part])
        if reader is None:
            return
        try:
            while reader.has_message_available():
                yield reader.read_next(_READ_MS)
        finally:
            reader.close()


class _KafkaTail:
    """Of a topic of Kafka, whose partitions follow one another in a look."""

    def __init__(self, topic: str, since_ms: int) -> None:
        self._topic, self._since_ms = topic, since_ms
        self._next: dict[int, int] = {}  # offset, by partition

    def new(self) -> list[bytes]:
        if kafka.topic_name(self._topic) not in kafka.topics():
            return []
        tails = kafka.tails(self._topic, self._since_ms, self._next)
        return [content for _, records in sorted(tails.items()) for _, content in records]


@dataclass(frozen=True)
class Readers:
    """How far a stream's job is.

    Attributes
    ----------
    backlog
        Entries, of Kafka records, of the readings' topic that it has not acknowledged; None: nobody
        ever read it.
    consumers
        Those of the job that are connected, one for each partition, as the broker tells them; None:
        Kafka, of whose consumer groups Flink is no member, does not tell.
    """

    backlog: int | None
    consumers: tuple[dict[str, Any], ...] | None


def readers(stream: Stream) -> Readers:
    """Return how far a stream's job is.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no topic.
    """
    name = f"workbench-{stream.name}"
    if kafka.is_topic(stream.topic):
        return Readers(kafka.backlog(stream.topic, name), None)
    parts = [
        broker.get(f"{broker.rest_path(part)}/stats") for part in broker.partitions(stream.topic)
    ]
    held = [part["subscriptions"][name] for part in parts if name in part["subscriptions"]]
    consumers = [consumer for part in held for consumer in part["consumers"]]
    return Readers(
        backlog=sum(part["msgBacklog"] for part in held) if held else None,
        consumers=tuple(each for each in consumers if each["consumerName"] != POSITIONING),
    )


__all__ = ["NO_DOCUMENT", "Readers", "Tails", "readers"]
