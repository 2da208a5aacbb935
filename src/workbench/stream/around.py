"""The readings around one message of a stream's topic, as the broker still has them.

Asked by place, not by time: what led to an alert stands before its message, whatever clocks say. So
it is read backwards, in pieces, each as long as the ones before it let expect; bounded in readings,
bytes and time, for it is asked while somebody waits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pulsar

from workbench import broker, kafka
from workbench.errors import ServicesError, StreamError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.function.memory import Reading
from workbench.stream.function.parsing import parse

_ID = re.compile(r"(\d+):(\d+):(-?\d+):(-?\d+)")
_FIRST_PIECE, _LEAST_PIECE = 64, 16  # entries
_WIDER = 16  # times, at most, from a piece to the next


def readings_around(
    stream: Stream,
    sensor: str,
    message_id: str,
    *,
    count: int,
    seconds: float = 30.0,
    most_bytes: int = 32 << 20,
) -> pd.DataFrame:
    """Return the readings of a sensor before and after a message of the stream's topic.

    Parameters
    ----------
    sensor
        As the stream takes it from a message.
    message_id
        `ledger:entry:partition:batch`, as alerts have it; only its partition is read.
    count
        How many readings before the message's entry, and from it on.
    seconds, most_bytes
        Time and bytes of messages, of other sensors too; what is beyond them is left out, first
        what came after, then what is farthest before.

    Returns
    -------
    frame
        `event_time`, the measured channels; in the order of the topic.

    Raises
    ------
    StreamError
        If the topic is Kafka's, the id is none, or the broker has the message no more.
    ServicesError
        If the broker does not answer, or refuses.
    """
    if kafka.is_topic(stream.topic):
        raise StreamError("readings around a message are read from Pulsar alone")
    match = _ID.fullmatch(message_id or "")
    if match is None:
        raise StreamError(f"{message_id!r} is no message id of Pulsar")
    ledger, entry, partition, _ = map(int, match.groups())
    topic = broker.full_name(stream.topic) + (f"-partition-{partition}" if partition >= 0 else "")
    began_s = time.monotonic()
    try:
        with broker.connect() as client:
            pieces = _Pieces(client, stream, topic, sensor, began_s, seconds, most_bytes)
            readings = _around(pieces, (ledger, entry), partition, count)
    except pulsar.PulsarException as err:
        raise ServicesError(f"the readings cannot be read: {err}", where=topic) from err
    return _frame(stream, readings)


def _around(pieces: _Pieces, place: tuple[int, int], partition: int, count: int) -> list[Reading]:
    alert = pieces.read(place, (place[0], place[1] + 1), partition, count)
    if not pieces.messages and not pieces.spent:
        raise StreamError(f"the broker has message {place[0]}:{place[1]} no more")
    before: list[Reading] = []
    stop, entries, total = place, _FIRST_PIECE, 1
    while len(before) < count and entries >= _LEAST_PIECE:
        start = pieces.back(stop, entries)
        if start == stop:
            break
        piece = pieces.read(start, stop, partition, None)
        if pieces.spent:  # it may end before what is there already begins
            break
        before = piece + before
        stop, total = start, total + entries
        wanted = round(1.2 * total * (count - len(before)) / max(len(before), 1))
        entries = min(_WIDER * total, max(_FIRST_PIECE, wanted), pieces.fitting(total))
    after: list[Reading] = []
    if len(alert) < count:
        after = pieces.read((place[0], place[1] + 1), None, partition, count - len(alert))
    return before[-count:] + alert + after


@dataclass
class _Pieces:
    """What is read of one partition, and how much of it may still be."""

    client: pulsar.Client
    stream: Stream
    topic: str
    sensor: str
    began_s: float
    seconds: float
    most_bytes: int
    read_bytes: int = 0
    messages: int = 0
    _ledgers: list[tuple[int, int]] = field(default_factory=list)

    @property
    def spent(self) -> bool:
        """Whether time or bytes are used up."""
        return self._part >= 1

    @property
    def _part(self) -> float:
        """How much of time or bytes is used up, 1 is all."""
        used_s = time.monotonic() - self.began_s
        return max(self.read_bytes / max(self.most_bytes, 1), used_s / max(self.seconds, 1e-9))

    def fitting(self, entries: int) -> int:
        """Return how many entries half of what is left will do for, as it did for so many."""
        return int(entries * max(0.0, 1 - self._part) / max(self._part, 1e-9) / 2)

    def read(
        self, start: tuple[int, int], stop: tuple[int, int] | None, partition: int, most: int | None
    ) -> list[Reading]:
        """Return the sensor's readings in entries from `start` to before `stop`; None: the end."""
        if self.spent:
            return []
        readings: list[Reading] = []
        first = pulsar.MessageId(partition, *start, -1)
        reader = self.client.create_reader(self.topic, first, start_message_id_inclusive=True)
        try:
            for message in self._messages(reader):
                place = message.message_id()
                if stop is not None and (place.ledger_id(), place.entry_id()) >= stop:
                    break
                self.messages += 1
                reading = _reading(self.stream, message)
                if reading is not None and reading.sensor == self.sensor:
                    readings.append(reading)
                    if most is not None and len(readings) >= most:
                        break
        finally:
            reader.close()
        return readings

    def _messages(self, reader: pulsar.Reader) -> Iterator[Any]:
        while not self.spent and reader.has_message_available():
            left_s = self.began_s + self.seconds - time.monotonic()
            wait_ms = max(1, round(1000 * left_s))
            try:
                message = reader.read_next(wait_ms)
            except pulsar.Timeout:
                return
            self.read_bytes += len(message.data())
            yield message

    def back(self, place: tuple[int, int], entries: int) -> tuple[int, int]:
        """Return the place so many entries before another, or the first that there is."""
        ledger, entry = place
        if entry >= entries:
            return ledger, entry - entries
        missing = entries - entry
        for earlier, held in reversed([each for each in self.ledgers() if each[0] < ledger]):
            if held >= missing:
                return earlier, held - missing
            ledger, missing = earlier, missing - held
        return ledger, 0

    def ledgers(self) -> list[tuple[int, int]]:
        """Return id and entries of each ledger of the topic, ascending."""
        if not self._ledgers:
            stats: Mapping[str, Any] = broker.get(f"{broker.rest_path(self.topic)}/internalStats")
            held = [(each["ledgerId"], each["entries"]) for each in stats["ledgers"]]
            self._ledgers = sorted(held)
        return self._ledgers


def _reading(stream: Stream, message: Any) -> Reading | None:
    times_ms = message.event_timestamp(), message.publish_timestamp()
    try:
        return parse(stream, message.data(), "", times_ms)
    except (ValueError, RecursionError):  # no reading: the job refuses it
        return None


def _frame(stream: Stream, readings: list[Reading]) -> pd.DataFrame:
    times = pd.to_datetime([reading.event_ms for reading in readings], unit="ms", utc=True)
    columns = {name: [reading.channels[name] for reading in readings] for name in stream.channels}
    frame = pd.DataFrame({"event_time": times, **columns})
    if not stream.derived:
        return frame
    from workbench.stream.promotion.proof import with_derived  # here: it brings the job along

    return with_derived(stream, frame)


__all__ = ["readings_around"]
