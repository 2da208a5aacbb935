"""A route's place in a topic of Kafka: through pauses of its own, and through Kafka's."""

import contextlib
import time
import uuid

import pytest
from confluent_kafka import KafkaError, Producer

from workbench import kafka as door
from workbench.alerts import subscriptions
from workbench.errors import ServicesError


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_a_route_that_was_busy_for_longer_than_kafka_waits_goes_on(kafka, monkeypatch):
    monkeypatch.setenv("WORKBENCH_KAFKA", kafka.kafka)
    assert subscriptions._SETTINGS["max_poll_interval_ms"] == 86_400_000
    brief = {"max_poll_interval_ms": 6000, "session_timeout_ms": 6000}
    monkeypatch.setattr(subscriptions, "_SETTINGS", {**subscriptions._SETTINGS, **brief})
    topic = f"kafka://busy-{uuid.uuid4().hex[:8]}"

    with subscriptions.opened(topic, ["shift"]) as routes:
        producer = Producer(door.python_settings())
        for value in (b"first", b"second"):
            producer.produce(door.topic_name(topic), value)
        assert producer.flush(60) == 0
        first = _next(routes["shift"])
        routes["shift"].acknowledge(first.receipt)
        time.sleep(8)  # of work for another route
        second = _next(routes["shift"])
        while second.content == first.content:  # what was not committed may come again
            second = _next(routes["shift"])
        routes["shift"].acknowledge(second.receipt)

    assert (first.content, second.content) == (b"first", b"second")
    assert subscriptions.backlogs(topic, ["shift"]) == {"shift": 0}


def _next(subscription):
    end = time.monotonic() + 90
    while (received := subscription.receive(1)) is None:
        assert time.monotonic() < end
    return received


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (KafkaError._MAX_POLL_EXCEEDED, True),
        (KafkaError._ALL_BROKERS_DOWN, True),
        (KafkaError.REQUEST_TIMED_OUT, True),
        (KafkaError.COORDINATOR_NOT_AVAILABLE, True),
        (KafkaError.NOT_COORDINATOR, True),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, False),
        (KafkaError._AUTHENTICATION, False),
    ],
)
def test_what_goes_away_by_waiting_is_waited_for(code, passes):
    with contextlib.nullcontext() if passes else pytest.raises(ServicesError):
        subscriptions._check(KafkaError(code))
