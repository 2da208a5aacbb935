"""Hand messages to the broker, until each is acknowledged; go on where an earlier try broke off.

A message's sequence id is its row, from 1, and the producer is named after what is sent. So the
broker knows how far the same readings came, and drops one that comes again.
"""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import pulsar
from _pulsar import SchemaType
from tqdm import tqdm

from workbench.broker import connect
from workbench.errors import ServicesError
from workbench.services.ingestion.messages import Messages
from workbench.services.ingestion.senders.deduplication import (
    PREFIX,
    deduplicate,
    forget,
    last_sequence_id,
)
from workbench.services.ingestion.senders.java import JavaSender, JavaWay, java_sender

COMPRESSIONS = {
    "none": pulsar.CompressionType.NONE,
    "lz4": pulsar.CompressionType.LZ4,
    "zlib": pulsar.CompressionType.ZLib,
    "zstd": pulsar.CompressionType.ZSTD,
    "snappy": pulsar.CompressionType.SNAPPY,
}
_PENDING = 5_000  # more are slower: the client looks through all that wait
_LOOK_EVERY = 1000  # messages
LARGE = 200_000  # messages, for which it is worth to start Java
_BUSY_S = 30.0  # for the broker to let go of a producer that was killed


class Sent(NamedTuple):
    """How long it took, how many were on the topic before, and whether a broken try can go on."""

    seconds: float
    before: int
    resumable: bool


@dataclass(frozen=True)
class _Way:
    """How messages are sent."""

    topic: str
    compression: str
    rate: float | None
    batch_messages: int
    name: str | None  # of the producer; None: the broker gives one

    def settings(self) -> dict[str, Any]:
        """Return the producer's settings."""
        return {
            "producer_name": self.name,
            "compression_type": COMPRESSIONS[self.compression],
            "batching_enabled": True,
            "batching_max_messages": self.batch_messages,
            # a paced reading leaves at once; of the others full batches, however slow we are
            "batching_max_publish_delay_ms": 10 if self.rate else 1000,
            "max_pending_messages": _PENDING,
            "block_if_queue_full": True,  # the default drops what does not fit
        }


def send(
    topic: str,
    messages: Messages,
    *,
    compression: str,
    rate: float | None,
    batch_messages: int,
    again: bool,
) -> Sent:
    """Send messages, without those that the same call had sent before it broke off.

    Parameters
    ----------
    again
        Whether to send all, whatever was sent before.

    Raises
    ------
    ServicesError
        If the broker is not there, has another schema on the topic, or did not take them all.
    KeyboardInterrupt
        As it comes, with a note of how far it came.
    """
    began = clock.monotonic()
    with connect() as client:
        # a schema that the topic refuses, and a topic that is new, come before its policy
        anonymous = _Way(topic, compression, rate, batch_messages, None)
        _producer(client, anonymous, messages).close()
        name = f"{PREFIX}{messages.digest()}"
        resumable = not again and deduplicate(topic, name)
        way = _Way(topic, compression, rate, batch_messages, name if resumable else None)
        before = _before(client, way, messages) if resumable else 0
        with ExitStack() as stack:
            java = _java(stack, client, way, messages, before)
            sender = java or _PythonSender(_producer(client, way, messages), rate)
            _send(sender, way, messages, before)
    if resumable:
        forget(topic, name)
    return Sent(clock.monotonic() - began, before, resumable)


class _Encoded(pulsar.schema.Schema):  # type: ignore[misc]
    """A schema for payloads that are encoded already."""

    def __init__(self, messages: Messages) -> None:
        kind = getattr(SchemaType, messages.schema.upper())
        super().__init__(bytes, kind, messages.definition, "Reading")

    def encode(self, obj: bytes) -> bytes:
        return obj


def _producer(client: pulsar.Client, way: _Way, messages: Messages) -> pulsar.Producer:
    deadline = clock.monotonic() + _BUSY_S
    while True:
        try:
            return client.create_producer(way.topic, schema=_Encoded(messages), **way.settings())
        except pulsar.ProducerBusy as err:
            if clock.monotonic() > deadline:
                raise ServicesError(
                    "the same readings are being sent already", where=way.topic
                ) from err
            clock.sleep(0.5)
        except pulsar.IncompatibleSchema as err:
            fields = ", ".join(field["name"] for field in messages.definition["fields"])
            raise ServicesError(
                f"the topic has another schema than {messages.schema} with the fields {fields}",
                where=way.topic,
                hint="send to another topic, or with the fields that it has",
            ) from err
        except pulsar.PulsarException as err:
            raise ServicesError(f"the broker takes no messages: {err}", where=way.topic) from err


def _before(client: pulsar.Client, way: _Way, messages: Messages) -> int:
    """Return how many of the messages the topic has."""
    producer = _producer(client, way, messages)
    known = producer.last_sequence_id() > 0
    producer.close()
    return last_sequence_id(way.topic, way.name or "") if known else 0


class _PythonSender:
    """The producer of this process."""

    def __init__(self, producer: pulsar.Producer, rate: float | None) -> None:
        self._producer, self._rate = producer, rate

    @property
    def taken(self) -> int:
        """The last sequence id that was acknowledged; of a batch, its first."""
        return int(max(0, self._producer.last_sequence_id()))

    def send(self, messages: Messages, before: int, progress: Callable[[int], object]) -> None:
        """Send the messages after so many; `progress` is called with the last that was sent.

        Raises
        ------
        ServicesError
            If the broker did not take them all.
        """
        answers: dict[object, object] = {}  # of each kind the last; a call of C, as it is hot
        rows = paced(messages.rows(before), self._rate)
        for row, (key, time_ms, payload) in enumerate(rows, start=before + 1):
            self._producer.send_async(
                payload,
                answers.__setitem__,
                partition_key=key,
                event_timestamp=time_ms,
                sequence_id=row,
            )
            if row % _LOOK_EVERY == 0:
                progress(row)
                if answers.keys() - {pulsar.Result.Ok}:
                    break
        self._finish(answers)
        if refusals := answers.keys() - {pulsar.Result.Ok}:
            raise ServicesError(str(refusals.pop()))
        progress(len(messages))

    def _finish(self, answers: dict[object, object]) -> None:
        try:
            self._producer.flush()
            self._producer.close()
        except pulsar.PulsarException as err:
            answers[err] = None


def _java(
    stack: ExitStack, client: pulsar.Client, way: _Way, messages: Messages, before: int
) -> JavaSender | None:
    """Return a sender in Java if there is much to send, and tell why if there can be none.

    Of a topic with partitions, each client puts the readings of a sensor into another.
    """
    alone = len(client.get_topic_partitions(way.topic)) == 1
    if way.rate or not alone or len(messages) - before < LARGE:
        return None
    java = JavaWay(way.topic, way.compression, way.batch_messages, way.name or "")
    try:
        return stack.enter_context(java_sender(java, messages))
    except ServicesError as err:
        why = f"sent by the client for Python, which is slower: {err.message}"
        tqdm.write(why, file=sys.stderr)
        return None


def _send(sender: JavaSender | _PythonSender, way: _Way, messages: Messages, before: int) -> None:
    """Send the messages after so many, and show how far it is."""
    bar = tqdm(total=len(messages), initial=before, desc=f"sending to {way.topic}",
               unit=" readings", disable=None)  # fmt: skip
    try:
        with bar:
            sender.send(messages, before, lambda row: bar.update(max(0, row - bar.n)))
    except KeyboardInterrupt as err:
        err.add_note(
            f"stopped: {way.topic} has taken {max(before, sender.taken)} of {len(messages)} "
            f"readings; {_hint(way)}"
        )
        raise
    except ServicesError as err:
        raise ServicesError(
            f"the broker did not take all of {len(messages)} readings: {err.message}",
            where=way.topic,
            hint=_hint(way),
        ) from err


def _hint(way: _Way) -> str:
    if way.name:
        return "send the same readings again: it goes on from there"
    return "what it took stays: send the readings again, or to a new topic"


def paced(messages: Iterable[Any], rate: float | None) -> Iterator[Any]:
    """Yield no faster than `rate` a second; None: as fast as may be."""
    began = clock.monotonic()
    for number, message in enumerate(messages):
        if rate:
            clock.sleep(max(0.0, began + number / rate - clock.monotonic()))
        yield message
