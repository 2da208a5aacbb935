"""The topics of a stream on Pulsar and on Kafka: made, written and read to their end."""

import os
import time
from typing import NamedTuple

import pulsar
from confluent_kafka import Producer, TopicPartition

from workbench import broker
from workbench import kafka as door
from workbench.broker import connect

PARTITIONS = 4


def topics(place):
    """Return names that no earlier try has used: its broker may be here still."""
    mark = os.urandom(2).hex()
    return (f"{place}faults-{name}-{mark}" for name in ("in", "scores", "alerts"))


class Message(NamedTuple):
    """What a topic holds."""

    key: str
    value: bytes
    event_ms: int
    id: str


class PulsarQueue:
    """Topics of Pulsar, whose archive is in S3."""

    service = "pulsar"

    def __init__(self):
        self.topic, self.scores, self.alerts = topics("persistent://public/default/")

    def make(self):
        path = f"{broker.rest_path(self.topic)}/partitions"
        broker.check(broker.admin("PUT", path, json=PARTITIONS))
        with connect() as client:
            for topic in (self.topic, self.scores, self.alerts):
                client.create_producer(topic).close()

    def send(self, rows, failed):
        def sent(result, _):
            if result != pulsar.Result.Ok:
                failed.append(result)

        with connect() as client:
            producer = client.create_producer(
                self.topic,
                send_timeout_millis=0,  # a broker may be away for long
                block_if_queue_full=True,
                batching_enabled=True,
                batching_max_messages=300,
                batching_max_publish_delay_ms=50,
            )
            for value, event_ms, key in rows:
                producer.send_async(value, sent, event_timestamp=event_ms, partition_key=key)
            producer.flush()

    def read(self, topic, timeout_s):
        """Yield a topic's messages until none comes for so long; keys as the connector has them."""
        last = time.monotonic()
        with connect() as client:
            reader = client.create_reader(topic, pulsar.MessageId.earliest)
            while time.monotonic() < last + timeout_s:
                try:
                    yield self._message(reader.read_next(1000))
                except pulsar.Timeout:
                    continue
                last = time.monotonic()

    @staticmethod
    def _message(message):
        at = message.message_id()
        place = f"{at.ledger_id()}:{at.entry_id()}:{at.partition()}:{at.batch_index()}"
        return Message(message.partition_key(), message.data(), message.event_timestamp(), place)


class KafkaQueue:
    """Topics of Kafka."""

    service = "kafka"

    def __init__(self):
        self.topic, self.scores, self.alerts = topics("kafka://")

    def make(self):
        for topic, partitions in ((self.topic, PARTITIONS), (self.scores, 1), (self.alerts, 1)):
            door.make_topic(topic, partitions=partitions)

    def send(self, rows, failed):
        def sent(error, _):
            if error is not None:
                failed.append(error)

        waiting = {"message.timeout.ms": 0, "log_level": 0}  # a broker may be away for long
        settings = {"enable.idempotence": True, "linger.ms": 50, **waiting}
        producer = Producer({**door.python_settings(), **settings})
        for value, event_ms, key in rows:
            producer.produce(
                door.topic_name(self.topic), value, key, timestamp=event_ms, on_delivery=sent
            )
            producer.poll(0)
            while len(producer) > 50_000:
                producer.poll(0.1)
        assert producer.flush(120) == 0

    def read(self, topic, timeout_s):
        """Yield a topic's messages, until none comes for so long."""
        last = time.monotonic()
        with door.connect() as consumer:
            name = door.topic_name(topic)
            consumer.assign([TopicPartition(name, number, 0) for number in door.partitions(topic)])
            while time.monotonic() < last + timeout_s:
                for record in consumer.consume(1000, timeout=1):
                    assert record.error() is None
                    place = f"{name}-{record.partition()}:{record.offset()}"
                    key, value = record.key().decode(), record.value()
                    yield Message(key, value, record.timestamp()[1], place)
                    last = time.monotonic()
