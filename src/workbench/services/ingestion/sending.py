"""Hand messages to the broker, until each is acknowledged; go on where an earlier try broke off.

A message's sequence id is its row, from 1, and the producer is named after what is sent. So the
broker knows how far the same readings came, and drops one that comes again.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pulsar
from _pulsar import SchemaType
from tqdm import tqdm

from workbench.broker import connect
from workbench.errors import ServicesError
from workbench.services.ingestion.deduplication import (
    PREFIX,
    deduplicate,
    forget,
    last_sequence_id,
)
from workbench.services.ingestion.messages import Messages

COMPRESSIONS = {
    "none": pulsar.CompressionType.NONE,
    "lz4": pulsar.CompressionType.LZ4,
    "zlib": pulsar.CompressionType.ZLib,
    "zstd": pulsar.CompressionType.ZSTD,
    "snappy": pulsar.CompressionType.SNAPPY,
}
_PENDING = 5_000  # more are slower: the client looks through all that wait
_LOOK_EVERY = 1000  # messages
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
        producer = _producer(client, way, messages)
        before = 0
        if resumable and producer.last_sequence_id() > 0:
            before = last_sequence_id(topic, name)
        _send(producer, way, messages, before)
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


def _send(producer: pulsar.Producer, way: _Way, messages: Messages, before: int) -> None:
    """Send the messages after so many."""
    answers: dict[object, object] = {}  # of each kind the last; a call of C, as it is hot
    bar = tqdm(total=len(messages), initial=before, desc=f"sending to {way.topic}",
               unit=" readings", disable=None)  # fmt: skip
    try:
        with bar:
            for row, (key, time_ms, payload) in enumerate(
                paced(messages.rows(before), way.rate), start=before + 1
            ):
                producer.send_async(
                    payload,
                    answers.__setitem__,
                    partition_key=key,
                    event_timestamp=time_ms,
                    sequence_id=row,
                )
                if row % _LOOK_EVERY == 0:
                    bar.update(row - bar.n)
                    if answers.keys() - {pulsar.Result.Ok}:
                        break
            _finish(producer, answers)
            bar.update(len(messages) - bar.n)
    except KeyboardInterrupt as err:
        err.add_note(_stopped(producer, way, len(messages)))
        raise
    if refusals := answers.keys() - {pulsar.Result.Ok}:
        raise ServicesError(
            f"the broker did not take all of {len(messages)} readings: {refusals.pop()}",
            where=way.topic,
            hint=_hint(way),
        )


def _finish(producer: pulsar.Producer, answers: dict[object, object]) -> None:
    try:
        producer.flush()
        producer.close()
    except pulsar.PulsarException as err:
        answers[err] = None


def _stopped(producer: pulsar.Producer, way: _Way, count: int) -> str:
    acknowledged = max(0, producer.last_sequence_id())
    return f"stopped: {way.topic} has taken {acknowledged} of {count} readings; {_hint(way)}"


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
