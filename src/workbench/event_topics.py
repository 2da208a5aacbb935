"""Topics of events that each have weight, alerts and answers: one is sent, all are read.

Of Pulsar, or of Kafka where the name begins with `kafka://`. A broker that does not answer is an
error, never fewer events; what it has deleted nobody sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench import broker, kafka
from workbench.errors import ServicesError

_READ_MS = 10_000
_FLUSH_S = 30.0


def send(topic: str, payload: bytes, *, key: str, schema: Mapping[str, Any]) -> None:
    """Send one event, and return once the broker has it.

    Parameters
    ----------
    payload
        JSON.
    key
        Of the message: events of one key stay in order.
    schema
        Avro definition of a record, by which Pulsar describes the JSON; Kafka keeps none.

    Raises
    ------
    ServicesError
        If the broker is away, or does not take it.
    """
    if kafka.is_topic(topic):
        _send_to_kafka(topic, payload, key)
    else:
        _send_to_pulsar(topic, payload, key, schema)


def _send_to_pulsar(topic: str, payload: bytes, key: str, schema: Mapping[str, Any]) -> None:
    import pulsar
    from _pulsar import SchemaType

    class Encoded(pulsar.schema.Schema):  # type: ignore[misc]
        """A schema that is told to the broker; what is sent is JSON already."""

        def encode(self, obj: bytes) -> bytes:
            return obj

    try:
        with broker.connect() as client:
            described = Encoded(bytes, SchemaType.JSON, schema, schema["name"])
            producer = client.create_producer(topic, schema=described)
            producer.send(payload, partition_key=key)
            producer.close()
    except pulsar.PulsarException as err:
        raise ServicesError(f"the broker does not take it: {err}", where=topic) from err


def _send_to_kafka(topic: str, payload: bytes, key: str) -> None:
    kafka.make_topic(topic)
    import confluent_kafka

    settings = {**kafka.python_settings(), "enable.idempotence": True, "log_level": 0}
    producer = confluent_kafka.Producer(settings)
    refusals: list[object] = []
    producer.produce(
        kafka.topic_name(topic), payload, key, on_delivery=lambda error, _: refusals.append(error)
    )
    if producer.flush(_FLUSH_S) or any(refusals):
        why = refusals[0] if refusals else f"no answer within {_FLUSH_S:g} s"
        raise ServicesError(f"Kafka does not take it: {why}", where=topic)


def read(topic: str) -> list[bytes]:
    """Return all events that a topic has, by partition; none where there is no such topic yet.

    Raises
    ------
    ServicesError
        If the broker is away, or does not give all of them.
    """
    if not kafka.is_topic(topic):
        return _read_pulsar(topic)
    if kafka.topic_name(topic) not in kafka.topics():
        return []
    values = kafka.tails(topic, 0, {})
    return [value for number in sorted(values) for _, value in values[number]]


def _read_pulsar(topic: str) -> list[bytes]:
    import pulsar

    name = broker.full_name(topic)
    if name not in broker.topics("/".join(name.split("://")[1].split("/")[:2])):
        return []
    payloads: list[bytes] = []
    try:
        with broker.connect() as client:
            for part in broker.partitions(name):
                reader = client.create_reader(part, pulsar.MessageId.earliest)
                while reader.has_message_available():
                    payloads.append(reader.read_next(_READ_MS).data())
                reader.close()
    except pulsar.PulsarException as err:
        raise ServicesError(f"the topic cannot be read: {err}", where=topic) from err
    return payloads


__all__ = ["read", "send"]
