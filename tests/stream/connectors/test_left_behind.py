"""A job that is started anew says what came while none ran."""

import pandas as pd
import pulsar
import pytest

from workbench.broker import admin, connect, rest_path
from workbench.cli.waiting import begins
from workbench.services import ingest_frame
from workbench.stream import left_behind, parse_stream

pytestmark = pytest.mark.pulsar
COLUMNS = {"sensor": "pump", "time": "at", "values": ["bar"]}


def plant(topic):
    return parse_stream(
        "plant",
        {
            "topic": f"persistent://public/default/{topic}",
            "sensor": "pump",
            "channels": ["bar"],
            "window": 10,
            "alerts": f"persistent://public/default/{topic}-alerts",
        },
    )


def send(topic, values):
    for value in values:  # each in an entry of its own
        time = pd.Timestamp("2026-01-05T00:00:00Z") + pd.Timedelta(value, "s")
        frame = pd.DataFrame({"pump": ["P1"], "at": [time], "bar": [float(value)]})
        ingest_frame(frame, topic, **COLUMNS)


def test_what_came_since_the_last_run_begins_at_the_position_that_is_told(services):
    send("behind", [1, 2])
    with connect() as client:  # a job's last checkpoint
        job = client.subscribe(
            "behind", "workbench-plant", initial_position=pulsar.InitialPosition.Earliest
        )
        job.acknowledge_cumulative([job.receive(5000), job.receive(5000)][1])
        job.close()
        assert left_behind(plant("behind")) is None

        send("behind", [3, 4])
        place = left_behind(plant("behind"))

        ledger, entry, partition = map(int, place.split(":"))
        first = pulsar.MessageId(partition, ledger, entry, -1)
        reader = client.create_reader("behind", first, start_message_id_inclusive=True)
        assert b'"bar":3.0' in reader.read_next(5000).data()
    assert begins("latest", place) == (
        f"it reads what comes from now on; what came since its last checkpoint is left out: "
        f"--position {place} reads it"
    )


def test_of_partitions_it_is_the_beginning_and_of_a_stream_that_never_ran_nothing(services):
    assert admin("PUT", f"{rest_path('behind-parted')}/partitions", json=2).ok
    assert left_behind(plant("behind-parted")) is None
    with connect() as client:
        client.subscribe("behind-parted", "workbench-plant").close()

    send("behind-parted", [1, 2])

    assert left_behind(plant("behind-parted")) == "earliest"
    assert begins("earliest", None) == "it reads from earliest on"
    assert begins("latest", None) == "it reads what comes from now on"
