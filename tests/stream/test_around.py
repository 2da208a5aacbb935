"""The readings around a message, asked of a real broker, against all that a replay gives."""

import json
import re
import uuid

import pulsar
import pytest

import workbench
from workbench import broker
from workbench.errors import StreamError
from workbench.stream import parse_stream, readings_around

START_MS = 1_767_571_200_000
COUNT = 9_000


@pytest.fixture(scope="module")
def pumps(services):
    """A topic of two partitions and three pumps, whose ledgers change twice."""
    topic = f"persistent://public/default/around-{uuid.uuid4().hex[:8]}"
    broker.check(broker.admin("PUT", f"{broker.rest_path(topic)}/partitions", json=2))
    with broker.connect() as client:
        for part in range(3):
            producer = client.create_producer(
                topic, batching_enabled=True, batching_max_messages=7,
                message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution,
                block_if_queue_full=True,
            )  # fmt: skip
            for number in range(part * COUNT // 3, (part + 1) * COUNT // 3):
                reading = {"pump": f"pump-{number % 3}", "flow": number * 1.0, "head": None}
                other = {"valve": "open"}  # no reading
                content = json.dumps(other if number % 100 == 99 else reading).encode()
                producer.send_async(content, None, event_timestamp=START_MS + 1000 * number)
            producer.flush()
            producer.close()
            if part < 2:
                broker.check(broker.admin("PUT", f"{broker.rest_path(topic)}/unload"))
    return parse_stream(
        "plant",
        {
            "topic": topic, "sensor": "pump", "channels": ["flow", "head"], "window": 10,
            "alerts": "alerts", "derived": {"half": "flow / 2"}, "limits": {"high": "flow > 9"},
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def everything(pumps):
    return workbench.replay(pumps.topic, source="broker")


@pytest.mark.pulsar
@pytest.mark.parametrize("part", [0.01, 0.35, 0.6, 0.999])
@pytest.mark.parametrize("count", [5, 60, 700])
def test_they_are_those_of_the_sensor_that_stand_nearest_in_its_partition(
    pumps, everything, part, count
):
    place = everything["message_id"].iloc[int(part * len(everything))]
    ledger, entry, partition, _ = map(int, place.split(":"))

    frame = readings_around(pumps, "pump-1", place, count=count, seconds=300)

    places = everything["message_id"].str.split(":", expand=True).astype(int)
    mine = everything[(places[2] == partition) & (everything["pump"] == "pump-1")]
    mine_places = list(zip(places[0][mine.index], places[1][mine.index], strict=True))
    before = sum(each < (ledger, entry) for each in mine_places)
    expected = mine[max(0, before - count) : before + count]
    assert frame["flow"].tolist() == expected["flow"].tolist()
    assert frame["half"].tolist() == (expected["flow"] / 2).tolist()
    assert frame["event_time"].tolist() == expected["event_time"].tolist()
    assert frame["head"].isna().all()


@pytest.mark.pulsar
def test_bytes_bound_what_is_read_and_what_is_given_has_no_gap(pumps, everything):
    place = everything["message_id"].iloc[int(0.3 * len(everything))]
    most = 60_000  # of some 45 a message: a tenth of the topic

    frame = readings_around(pumps, "pump-1", place, count=3_000, seconds=300, most_bytes=most)

    steps = frame["event_time"].diff().dropna()
    whole = everything[everything["pump"] == "pump-1"]["event_time"].diff().dropna()
    assert 100 < len(frame) < 1_500
    assert steps.max() <= whole.max()
    assert len(readings_around(pumps, "pump-1", place, count=5, most_bytes=1)) <= 1


@pytest.mark.pulsar
def test_what_the_broker_has_no_more_is_said(pumps):
    for place, said in (
        ("1:2:0:-1", "the broker has message 1:2 no more"),
        ("plant-0:17", "'plant-0:17' is no message id of Pulsar"),
    ):
        with pytest.raises(StreamError, match=f"^{re.escape(said)}$"):
            readings_around(pumps, "pump-1", place, count=5)


def test_of_kafka_nothing_is_read():
    described = {
        "topic": "kafka://pumps", "sensor": "pump", "channels": ["flow"], "window": 10,
        "alerts": "alerts", "limits": {"high": "flow > 9"},
    }  # fmt: skip
    stream = parse_stream("plant", described)

    with pytest.raises(
        StreamError, match=r"^readings around a message are read from Pulsar alone$"
    ):
        readings_around(stream, "pump-1", "pumps-0:17", count=5)
