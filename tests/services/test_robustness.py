import json
import time
import uuid

import numpy as np
import pandas as pd
import psutil
import pulsar
import pytest

from workbench import services as room
from workbench.broker import connect
from workbench.endpoints import home
from workbench.errors import ServicesError
from workbench.services import artifacts, ingest_frame, offload, offloading, standalone


def send(topic, n=500, start=0):
    frame = pd.DataFrame({"value": np.arange(start, start + n, dtype="float64")})
    frame["at"], frame["sensor"] = pd.Timestamp("2026-01-05", tz="UTC"), "s-1"
    ingest_frame(frame, topic, sensor="sensor", time="at", values=["value"], batch_messages=100)


def values(topic):
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        received = []
        while reader.has_message_available():
            received.append(json.loads(reader.read_next(10_000).data())["value"])
    return received


@pytest.mark.pulsar
def test_a_killed_broker_comes_up_again_with_all_it_acknowledged(services):
    topic = f"killed-{uuid.uuid4().hex[:8]}"  # a second try begins with no rows of the first
    send(topic)
    offload(topic)
    send(topic, start=500)
    (before,) = room.status(["pulsar"])
    psutil.Process(before.pids[0]).kill()
    while room.status(["pulsar"])[0].state != "down":
        time.sleep(0.1)

    log = home() / "logs" / "pulsar.log"
    logged = log.stat().st_size
    (after,) = room.up(["pulsar"])

    assert (after.state, after.address) == ("up", before.address)
    assert values(topic) == list(range(1000))
    send(topic, start=1000)
    assert [one.entries for one in offload(topic).ledgers] == [5, 5, 5]
    assert values(topic) == list(range(1500))
    with log.open("rb") as file:
        file.seek(logged)
        # its bookie is not busy registering anew for ever, because it was registered before
        assert file.read().count(b"Successfully re-acquired lock") < 10


@pytest.mark.pulsar
def test_metadata_that_a_broker_has_open_is_left_alone(services):
    folder = home() / "pulsar"

    with pytest.raises(ServicesError) as error:
        standalone._forget_bookies(artifacts.pulsar_home(), folder)

    assert error.value.message.startswith("Pulsar's metadata cannot be opened: While lock file: ")
    assert "\n" not in error.value.message
    assert error.value.where == str(folder / "metadata")
    assert error.value.hint == "does another Pulsar run on it? workbench services status"


@pytest.mark.pulsar
def test_metadata_that_does_not_open_in_time_is_told(services, monkeypatch):
    monkeypatch.setattr(standalone, "_FORGET_S", 0.05)

    with pytest.raises(ServicesError) as error:
        standalone._forget_bookies(artifacts.pulsar_home(), home() / "pulsar")

    assert error.value.message == "Pulsar's metadata cannot be opened: no answer within 0.05 s"


@pytest.mark.pulsar
def test_a_java_that_was_killed_without_a_word_is_told(services, monkeypatch, tmp_path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nkill -KILL $$\n")
    java.chmod(0o700)
    monkeypatch.setattr(standalone, "java", lambda: java)

    with pytest.raises(ServicesError) as error:
        standalone._forget_bookies(artifacts.pulsar_home(), home() / "pulsar")

    assert error.value.message == "Pulsar's metadata cannot be opened: Java ended with -9"


@pytest.mark.pulsar
def test_an_offload_waits_in_the_broker_while_the_s3_endpoint_is_away(services):
    send("s3-away")
    room.down(["s3"])
    try:
        with pytest.raises(ServicesError) as unreachable:
            offload("s3-away")
        with pytest.raises(ServicesError) as running:
            offloading._offload_one("persistent://public/default/s3-away", timeout_s=1)
    finally:
        room.up(["s3"])

    assert str(unreachable.value) == (
        "the bucket cannot be reached: "
        f'Could not connect to the endpoint URL: "{services.s3_endpoint}/offload"\n'
        "  in s3://offload\n"
        "  workbench services up s3, or workbench doctor"
    )
    assert str(running.value) == (
        "the offload still runs after 1 s\n"
        "  in persistent://public/default/s3-away\n"
        "  does the broker have the credentials of its bucket, and reach it?"
    )
    assert [one.entries for one in offload("s3-away").ledgers] == [5]
    assert values("s3-away") == list(range(500))
