"""How a route follows an alerts topic, of Pulsar or of Kafka: nothing is past before it is settled.

Pulsar keeps each message that is not acknowledged. Kafka keeps, of a consumer group, one place in
each partition: it stands before the first record that is not settled, and what a restart brings
once more, the route's journal knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pulsar

from workbench import broker, kafka
from workbench.errors import ServicesError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

_HELD = 1000  # messages of Pulsar that wait in memory
_SETTINGS = {
    "auto_offset_reset": "earliest",  # of a partition that is new, or a topic that was made anew
    "enable_auto_commit": True,  # of what was stored: in the background, and when it is closed
    "enable_auto_offset_store": False,
    "auto_commit_interval_ms": 500,
    "session_timeout_ms": 10_000,  # until the next notifier has the partitions of one that died
    "max_poll_interval_ms": 86_400_000,  # the most there is: a target may keep a route busy so long
}
# What goes away by waiting. (`retriable()` is for producers: it denies most of them.)
_PASSING = (
    "_ALL_BROKERS_DOWN",
    "_MAX_POLL_EXCEEDED",  # it joins its group again, and what was not settled comes once more
    "_RESOLVE",
    "_TIMED_OUT",
    "_TIMED_OUT_QUEUE",
    "_TRANSPORT",
    "_WAIT_COORD",
    "BROKER_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "FENCED_LEADER_EPOCH",
    "ILLEGAL_GENERATION",
    "KAFKA_STORAGE_ERROR",
    "LEADER_NOT_AVAILABLE",
    "NETWORK_EXCEPTION",
    "NOT_COORDINATOR",
    "NOT_LEADER_FOR_PARTITION",
    "OFFSET_NOT_AVAILABLE",
    "REBALANCE_IN_PROGRESS",
    "REPLICA_NOT_AVAILABLE",
    "REQUEST_TIMED_OUT",
    "UNKNOWN_LEADER_EPOCH",
    "UNKNOWN_MEMBER_ID",
    "UNKNOWN_TOPIC_OR_PART",
)


@dataclass(frozen=True)
class Received:
    """A message of an alerts topic; `receipt` acknowledges it."""

    message_id: str
    content: bytes
    receipt: Any


class Subscription(Protocol):
    """A route's place in a topic, which lasts."""

    def receive(self, seconds: float) -> Received | None:
        """Return the next message, or None if none comes for so long."""

    def acknowledge(self, receipt: Any) -> None:
        """Say that a message is settled; if the queue is away it comes again."""

    def close(self) -> None:
        """Leave it to the next notifier."""


@contextlib.contextmanager
def opened(topic: str, names: list[str]) -> Iterator[dict[str, Subscription]]:
    """Give a subscription of each name, new ones at the newest message.

    Raises
    ------
    ServicesError
        If the queue cannot be reached, or refuses.
    """
    with contextlib.ExitStack() as stack:
        if kafka.is_topic(topic):
            begin_groups(topic, names)
            yield {
                name: KafkaSubscription(
                    topic, stack.enter_context(kafka.connect(group_id=name, **_SETTINGS))
                )
                for name in names
            }
            return
        client = stack.enter_context(broker.connect())
        try:
            subscriptions = {name: PulsarSubscription(client, topic, name) for name in names}
        except pulsar.PulsarException as err:
            raise ServicesError(f"the broker gives no subscription: {err}", where=topic) from err
        yield {**subscriptions}


class PulsarSubscription:
    """Of several notifiers one has it, and the next takes over."""

    def __init__(self, client: pulsar.Client, topic: str, name: str) -> None:
        self._consumer = client.subscribe(
            topic,
            name,
            consumer_type=pulsar.ConsumerType.Failover,
            initial_position=pulsar.InitialPosition.Latest,
            receiver_queue_size=_HELD,
        )

    def receive(self, seconds: float) -> Received | None:
        """Return the next message, or None if none comes for so long."""
        try:
            message = self._consumer.receive(timeout_millis=max(1, round(seconds * 1000)))
        except pulsar.Timeout:
            return None
        return Received(str(message.message_id()), message.data(), message)

    def acknowledge(self, receipt: pulsar.Message) -> None:
        """Say that a message is settled; if the broker is away it comes again."""
        with contextlib.suppress(pulsar.PulsarException):
            self._consumer.acknowledge(receipt)

    def close(self) -> None:
        """Leave it to the next notifier."""
        self._consumer.close()


def begin_groups(topic: str, names: list[str]) -> None:
    """Put consumer groups that Kafka does not know behind the last record that there is.

    (Else one that was killed before it settled anything would begin at what is newest then.)
    """
    kafka.make_topic(topic)
    ends = {number: end for number, (_, end) in kafka.bounds(topic).items()}
    for name in names:
        if not kafka.committed(topic, name):
            kafka.commit(topic, name, ends)


class KafkaSubscription:
    """Of several notifiers each has partitions of its own."""

    def __init__(self, topic: str, consumer: Consumer) -> None:
        self._consumer, self._name = consumer, kafka.topic_name(topic)
        self._parts: dict[int, _Unsettled] = {}
        self._consumer.subscribe([self._name], on_assign=self._begin, on_revoke=self._begin)

    def _begin(self, _: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._parts.pop(place.partition, None)

    def receive(self, seconds: float) -> Received | None:
        """Return the next message, or None if none comes for so long.

        Raises
        ------
        ServicesError
            If Kafka refuses. One that is away is waited for.
        """
        record = self._consumer.poll(seconds)
        if record is None:
            return None
        if error := record.error():
            _check(error)
            return None
        number, offset = record.partition(), record.offset()
        self._parts.setdefault(number, _Unsettled()).take(offset)
        message_id = f"{self._name}-{number}:{offset}"
        return Received(message_id, record.value() or b"", (number, offset))

    def acknowledge(self, receipt: tuple[int, int]) -> None:
        """Say that a record is settled: the group's place moves on if no other is before it."""
        from confluent_kafka import KafkaException, TopicPartition

        number, offset = receipt
        if number not in self._parts:
            return  # another notifier's by now, to which the record comes again
        place = TopicPartition(self._name, number, self._parts[number].settle(offset))
        with contextlib.suppress(KafkaException):  # as above: it was taken away just now
            self._consumer.store_offsets(offsets=[place])

    def close(self) -> None:
        """Leave it to the next notifier, at the place where it is."""
        self._consumer.close()


class _Unsettled:
    """Which records of a partition were taken and are not settled.

    >>> part = _Unsettled()
    >>> for offset in (5, 6, 7):
    ...     part.take(offset)
    >>> part.settle(6), part.settle(5), part.settle(5), part.settle(7)
    (5, 7, 7, 8)
    """

    def __init__(self) -> None:
        self._offsets: dict[int, None] = {}  # ascending, as they come
        self._next = 0

    def take(self, offset: int) -> None:
        self._offsets[offset] = None
        self._next = offset + 1

    def settle(self, offset: int) -> int:
        """Return the first offset that is not settled."""
        self._offsets.pop(offset, None)
        return next(iter(self._offsets), self._next)


def _check(error: KafkaError) -> None:
    """Raise what does not go away by waiting."""
    from confluent_kafka import KafkaError

    passing = {getattr(KafkaError, name) for name in _PASSING}
    if error.fatal() or not (error.retriable() or error.code() in passing):
        raise kafka.refused(error)


def backlogs(topic: str, names: list[str]) -> dict[str, int]:
    """Return what subscriptions have not acknowledged; none of one that the queue does not know.

    Raises
    ------
    ServicesError
        If it does not answer, or there is no such topic.
    """
    if kafka.is_topic(topic):
        behind = {name: kafka.backlog(topic, name) for name in names}
        return {name: records for name, records in behind.items() if records is not None}
    totals: dict[str, int] = {}
    for part in broker.partitions(topic):
        held = broker.get(f"{broker.rest_path(part)}/stats")["subscriptions"]
        for name in held.keys() & set(names):
            totals[name] = totals.get(name, 0) + int(held[name]["msgBacklog"])
    return totals


__all__ = ["Received", "Subscription", "backlogs", "opened"]
