"""Hand encoded readings to Kafka, until each is acknowledged."""

from __future__ import annotations

import time as clock
from typing import Any

from tqdm import tqdm

from workbench import kafka
from workbench.errors import ServicesError
from workbench.services.ingestion.messages import Messages
from workbench.services.ingestion.senders.pulsar import paced

_CODECS = {"zlib": "gzip"}  # called otherwise by Kafka
_FLUSH_S = 120.0
_LINGER_MS = (10, 200)  # a paced reading leaves at once; of the others full batches


def send_to_kafka(
    topic: str,
    messages: Messages,
    *,
    compression: str,
    rate: float | None,
) -> float:
    """Send encoded readings, and return after how many seconds all were acknowledged.

    The sensor is the record's key, so its readings stay in one partition; the event time is the
    record's timestamp. The topic is made if it is new. An idempotent producer: no try of its own
    comes twice. What broke off cannot go on: the same readings, sent again, all come again.

    Raises
    ------
    ServicesError
        If Kafka is not there or did not take them all, or for a schema: it has none of its own.
    """
    if messages.schema != "json":
        what = f"Kafka keeps no schema to read {messages.schema} by"
        raise ServicesError(what, hint="schema json")
    kafka.make_topic(topic)
    import confluent_kafka

    began, name = clock.monotonic(), kafka.topic_name(topic)
    settings = {
        "enable.idempotence": True,
        "compression.type": _CODECS.get(compression, compression),
        "linger.ms": _LINGER_MS[0 if rate else 1],
        "log_level": 0,
    }
    producer = confluent_kafka.Producer({**kafka.python_settings(), **settings})
    errors: list[str] = []

    def answered(error: object, _record: object) -> None:
        if error is not None:
            errors.append(str(error))

    bar = tqdm(total=len(messages), desc=f"sending to {topic}", unit=" readings", disable=None)
    with bar:
        for sent, (key, time_ms, payload) in enumerate(paced(messages.rows(), rate)):
            _produce(producer, name, payload, key, time_ms, answered)
            if sent % 1000 == 999:
                bar.update(1000)
                if errors:
                    break
        left = producer.flush(_FLUSH_S)
        bar.update(0 if errors else len(messages) - bar.n)
    if errors or left:
        why = errors[0] if errors else f"no answer within {_FLUSH_S:g} s"
        raise ServicesError(
            f"Kafka did not take {len(errors) + left} of {len(messages)} readings: {why}",
            where=topic,
            hint="what it took before stays: send the file again, or to a new topic",
        )
    return clock.monotonic() - began


def _produce(
    producer: Any, name: str, payload: bytes, key: str, time_ms: int, answered: Any
) -> None:
    while True:
        try:
            producer.produce(name, payload, key, timestamp=time_ms, on_delivery=answered)
            break
        except BufferError:  # as many wait as may: some leave meanwhile
            producer.poll(0.1)
    producer.poll(0)


__all__ = ["send_to_kafka"]
