"""Many readings go by Pulsar's Java client: the same messages, and either goes on for the other."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np
import pandas as pd
import psutil
import pulsar
import pytest
from click.testing import CliRunner

import workbench
from workbench.broker import admin, connect, get, rest_path
from workbench.cli import cli
from workbench.services import ingest_frame, jdk
from workbench.services.ingestion.senders import pulsar as sending

START = pd.Timestamp("2026-01-05T00:00:00Z")
WORKBENCH = [sys.executable, "-c", "from workbench.cli import main; main()"]
COLUMNS = {"sensor": "pump", "time": "at", "values": ["bar", "flow"]}
MANY = 260_000

pytestmark = pytest.mark.pulsar


def readings(n):
    return pd.DataFrame(
        {
            "pump": [f"Pumpe Süd {i % 7}" for i in range(n)],
            "at": START + pd.to_timedelta(np.arange(n), unit="s"),
            "bar": np.arange(n, dtype=float),
            "flow": np.where(np.arange(n) % 5, np.arange(n) / 3, np.nan),
        }
    )


def messages(topic):
    """Return what is on a topic, in its order: all of a message that does not name its place."""
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while reader.has_message_available():
            yield reader.read_next(timeout_millis=5000)


def values(topic):
    bars = defaultdict(list)
    for message in messages(topic):
        bars[message.partition_key()].append(json.loads(message.data())["bar"])
    return dict(bars)


def wanted(frame):
    return {pump: rows.tolist() for pump, rows in frame.groupby("pump")["bar"]}


def told_counts(text):
    """Return how many readings were sent, and how many were there before."""
    told = re.search(r"^(\d+) readings .* s; (\d+) were there before", text, re.M)
    return int(told[1]), int(told[2])


def command(path, topic):
    return ["ingest", str(path), "--topic", topic, "--sensor", "pump", "--time", "at",
            "--values", "bar,flow"]  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Give so many readings that Java sends them, and the file that holds them."""
    path = tmp_path_factory.mktemp("many") / "pumps.csv"
    frame = readings(MANY)
    frame.to_csv(path, index=False)
    return frame, path


def taken(topic):
    answer = admin("GET", f"{rest_path(topic)}/stats")
    return answer.json()["msgInCounter"] if answer.ok else 0


def await_taken(process, topic, count):
    deadline = time.monotonic() + 120
    while taken(topic) <= count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def java_of(process):
    senders = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if "SendReadings" in child.cmdline():
                senders.append(child)
    return senders


@pytest.mark.parametrize("schema", ["json", "avro"])
def test_both_clients_send_the_same_messages(services, monkeypatch, schema):
    frame, sent = readings(5_000), {}

    for client, large in (("java", 1), ("python", MANY)):
        monkeypatch.setattr(sending, "LARGE", large)
        ingest_frame(frame, f"by-{client}-{schema}", **COLUMNS, schema=schema)
        sent[client] = [
            (m.data(), m.partition_key(), m.event_timestamp(), m.schema_version(), m.properties())
            for m in messages(f"by-{client}-{schema}")
        ]

    assert sent["java"] == sent["python"]
    assert len(sent["java"]) == 5_000
    versions = [get(f"/schemas/public/default/by-{c}-{schema}/schemas") for c in ("java", "python")]
    assert [[each["data"] for each in v["getSchemaResponses"]] for v in versions] == 2 * [
        [versions[0]["getSchemaResponses"][0]["data"]]
    ]


def test_what_java_began_and_kill_9_ended_is_gone_on_with_once_and_in_order(services, many):
    frame, path = many
    process = subprocess.Popen([*WORKBENCH, *command(path, "java-first")])
    await_taken(process, "java-first", 80_000)
    assert java_of(process)
    process.kill()
    process.wait()

    result = CliRunner().invoke(cli, command(path, "java-first"))

    assert result.exit_code == 0, result.exception
    sent, before = told_counts(result.stdout)
    assert (sent + before, before > 80_000) == (MANY, True)
    assert values("java-first") == wanted(frame)


def test_what_python_began_and_kill_9_ended_is_gone_on_with_by_java(services, many):
    frame, path = many
    process = subprocess.Popen([*WORKBENCH, *command(path, "python-first"), "--rate", "4000"])
    await_taken(process, "python-first", 2_000)
    assert not java_of(process)
    process.kill()
    process.wait()

    again = subprocess.Popen([*WORKBENCH, *command(path, "python-first")], stdout=subprocess.PIPE)
    seen = set()
    while again.poll() is None:
        with contextlib.suppress(psutil.Error):
            seen |= {child.pid for child in java_of(again)}
        time.sleep(0.02)

    told = again.communicate()[0].decode()
    assert (again.returncode, len(seen)) == (0, 1)
    sent, before = told_counts(told)
    assert (sent + before, before > 1_000) == (MANY, True)
    assert values("python-first") == wanted(frame)


def test_ctrl_c_ends_java_too_and_tells_what_the_topic_has(services, many):
    _, path = many
    process = subprocess.Popen(
        [*WORKBENCH, *command(path, "java-stopped")], stderr=subprocess.PIPE, text=True
    )
    await_taken(process, "java-stopped", 40_000)
    (java,) = java_of(process)

    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=120)[1]

    assert (process.returncode, java.is_running()) == (1, False)
    told_taken = int(re.search(r"has taken (\d+) of 260000 readings; send the same", stderr)[1])
    assert told_taken == sum(1 for _ in messages("java-stopped"))


def test_a_java_that_is_killed_is_an_error_and_the_rest_goes_on(services, many):
    frame, path = many
    process = subprocess.Popen(
        [*WORKBENCH, *command(path, "java-killed")], stderr=subprocess.PIPE, text=True
    )
    await_taken(process, "java-killed", 40_000)
    (java,) = java_of(process)

    java.kill()
    stderr = process.communicate(timeout=120)[1]

    assert process.returncode == 1
    assert "did not take all of 260000 readings: its Java process has ended" in stderr
    assert "send the same readings again: it goes on from there" in stderr
    assert CliRunner().invoke(cli, command(path, "java-killed")).exit_code == 0
    assert values("java-killed") == wanted(frame)


def test_without_a_java_python_sends_and_says_so(services, monkeypatch, capsys):
    monkeypatch.setattr(sending, "LARGE", 1)
    monkeypatch.setattr(jdk, "VERSIONS", (99,))

    sent = ingest_frame(readings(50), "no-java", **COLUMNS)

    assert (sent.readings, sent.resumable) == (50, True)
    told = capsys.readouterr().err
    assert "sent by the client for Python, which is slower: no Java 99: " in told
    assert values("no-java") == wanted(readings(50))


def test_a_topic_with_partitions_keeps_each_sensor_where_python_puts_it(services, monkeypatch):
    assert admin("PUT", f"{rest_path('java-parted')}/partitions", json=3).ok
    places = []
    for large in (1, MANY):
        monkeypatch.setattr(sending, "LARGE", large)
        ingest_frame(readings(50), "java-parted", **COLUMNS)
        places.append([taken(f"java-parted-partition-{part}") for part in range(3)])

    assert places[1] == [2 * count for count in places[0]]


def test_a_block_that_the_archive_reads_has_the_readings_that_java_sent(services, many):
    from workbench.services import offload

    frame, _ = many
    ingest_frame(frame, "java-archived", **COLUMNS)
    offload("java-archived")

    kept = workbench.replay("java-archived")

    assert kept["bar"].tolist() == frame["bar"].tolist()
