"""An ingest that broke off goes on: each reading once, in order, on a real broker."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict

import fastavro
import numpy as np
import pandas as pd
import pulsar
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.broker import admin, connect, get, partitions, rest_path
from workbench.cli import cli
from workbench.errors import ServicesError
from workbench.services import ingest_frame
from workbench.services.ingestion.messages import Messages, record

START = pd.Timestamp("2026-01-05T00:00:00Z")
WORKBENCH = [sys.executable, "-c", "from workbench.cli import main; main()"]
COLUMNS = {"sensor": "pump", "time": "at", "values": ["bar"]}


def readings(n, sensors=5):
    return pd.DataFrame(
        {
            "pump": [f"P{i % sensors}" for i in range(n)],
            "at": START + pd.to_timedelta(np.arange(n), unit="s"),
            "bar": np.arange(n, dtype=float),
        }
    )


def values(topic):
    """Return what the topic holds, by sensor, in its order."""
    by_key = defaultdict(list)
    with connect() as client:
        for part in partitions(topic):
            reader = client.create_reader(part, pulsar.MessageId.earliest)
            while reader.has_message_available():
                message = reader.read_next(timeout_millis=5000)
                by_key[message.partition_key()].append(json.loads(message.data())["bar"])
    return dict(by_key)


def taken(topic):
    """Return how many messages a topic has taken; one that is not there, none."""
    try:
        return sum(get(f"{rest_path(part)}/stats")["msgInCounter"] for part in partitions(topic))
    except ServicesError:
        return 0


def killed(command, topic):
    """Start a command, and kill it without a warning once the topic has some of what it sends."""
    process = subprocess.Popen([*WORKBENCH, *command])
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            if taken(topic) > 2000:
                return
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


@pytest.mark.pulsar
def test_after_a_kill_the_same_command_sends_the_rest_once_and_in_order(services, tmp_path):
    frame = readings(20_000)
    frame.to_csv(tmp_path / "pumps.csv", index=False)
    command = ["ingest", str(tmp_path / "pumps.csv"), "--topic", "resumed", "--sensor", "pump"]
    command += ["--time", "at", "--values", "bar"]

    killed([*command, "--rate", "4000"], "resumed")
    ingest_frame(readings(10, sensors=1).assign(pump="other"), "resumed", **COLUMNS)
    result = CliRunner().invoke(cli, command)

    assert result.exit_code == 0, result.exception
    found = re.search(r"^(\d+) readings to .* s; (\d+) were there before", result.stdout, re.M)
    sent, before = map(int, found.groups())
    assert (sent + before, before > 1000) == (20_000, True)
    assert status("resumed") == "Disabled"
    topic = values("resumed")
    assert topic.pop("other") == list(range(10))
    assert topic == {pump: rows.tolist() for pump, rows in frame.groupby("pump")["bar"]}


@pytest.mark.pulsar
def test_a_topic_with_partitions_takes_all_and_promises_nothing(services):
    assert admin("PUT", f"{rest_path('ingest-parted')}/partitions", json=3).ok

    for _ in range(2):
        sent = ingest_frame(readings(50), "ingest-parted", **COLUMNS)
        assert (sent.readings, sent.before, sent.resumable) == (50, 0, False)

    assert values("ingest-parted") == {
        f"P{i}": 2 * [float(n) for n in range(i, 50, 5)] for i in range(5)
    }


@pytest.mark.pulsar
def test_after_ctrl_c_it_is_told_how_far_it_came_and_what_goes_on(services, tmp_path):
    readings(100_000).to_csv(tmp_path / "pumps.csv", index=False)
    command = [*WORKBENCH, "ingest", str(tmp_path / "pumps.csv")]
    command += ["--topic", "stopped", "--sensor", "pump", "--time", "at", "--values", "bar"]
    process = subprocess.Popen([*command, "--rate", "1000"], stderr=subprocess.PIPE, text=True)
    while True:
        time.sleep(0.2)
        if taken("stopped"):
            break

    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "stopped: persistent://public/default/stopped has taken " in printed
    assert " of 100000 readings; send the same readings again: it goes on from there" in printed
    assert "Traceback" not in printed


@pytest.mark.pulsar
def test_where_deduplication_was_on_before_the_same_readings_are_sent_once(services):
    ingest_frame(readings(1), "once", **COLUMNS)
    assert admin("POST", f"{rest_path('once')}/deduplicationEnabled", json=True).ok
    while status("once") != "Enabled":
        time.sleep(0.05)

    first = ingest_frame(readings(50), "once", **COLUMNS)
    second = ingest_frame(readings(50), "once", **COLUMNS)
    again = ingest_frame(readings(50), "once", again=True, **COLUMNS)

    counts = [(each.readings, each.before) for each in (first, second, again)]
    assert counts == [(50, 0), (0, 50), (50, 0)]
    assert str(second).endswith("; 50 were there before, of the same readings")
    assert sum(map(len, values("once").values())) == 101
    assert status("once") == "Enabled"


@pytest.mark.pulsar
def test_what_was_sent_whole_is_sent_whole_again_and_the_topic_is_left_as_it_was(services):
    for _ in range(2):
        sent = ingest_frame(readings(50), "whole", **COLUMNS)
        assert (sent.readings, sent.before, sent.resumable) == (50, 0, True)
        assert status("whole") == "Disabled"

    properties = get(f"{rest_path('whole')}/properties")
    assert [name for name in properties if name.startswith("workbench")] == []
    assert sum(map(len, values("whole").values())) == 100


def status(topic):
    return get(f"{rest_path(topic)}/stats")["deduplicationStatus"]


@pytest.mark.pulsar
def test_a_broker_whose_rest_api_is_out_of_reach_takes_all_and_promises_nothing(
    services, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:9")
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", services.broker_token)

    for _ in range(2):
        sent = ingest_frame(readings(50), "unremembered", **COLUMNS)
        assert (sent.readings, sent.before, sent.resumable) == (50, 0, False)


doubles = st.floats(allow_infinity=False, width=64)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=200), doubles, doubles), min_size=1),
    st.sampled_from(["json", "avro"]),
    st.integers(0, 3),
)
def test_an_encoded_reading_is_decoded_as_it_was(rows, schema, first):
    names = list(dict.fromkeys(name for name, _, _ in rows))
    sensor_of = np.array([names.index(name) for name, _, _ in rows])
    columns = tuple(np.array([row[i] for row in rows]) for i in (1, 2))
    definition = record("pump", ["a", "b"], {"a": "Druck"})
    messages = Messages(tuple(names), sensor_of, np.arange(len(rows)), columns, schema, definition)
    parsed = fastavro.parse_schema(definition)

    decoded = list(messages.rows(first))

    assert [(key, ms) for key, ms, _ in decoded] == [
        (name, ms) for ms, (name, _, _) in enumerate(rows)
    ][first:]
    for (name, *wanted), (_, _, payload) in zip(rows[first:], decoded, strict=True):
        if schema == "json":
            fields = json.loads(payload)
        else:
            fields = fastavro.schemaless_reader(io.BytesIO(payload), parsed, None)
        assert fields["pump"] == name
        for field, number in zip(("a", "b"), wanted, strict=True):
            given_back = np.nan if fields[field] is None else fields[field]
            assert isinstance(given_back, float)
            np.testing.assert_equal(given_back, number)


def test_only_the_same_readings_have_the_same_digest():
    def digest(**change):
        columns = {"sensors": ("a", "b"), "sensor_of": np.array([0, 1]), "times_ms": np.arange(2),
                   "columns": (np.array([1.0, 2.0]),), "schema": "json",
                   "definition": record("s", ["v"], {})} | change  # fmt: skip
        return Messages(**columns).digest()

    changes = [{}, {"sensors": ("a", "c")}, {"sensor_of": np.array([1, 0])},
               {"times_ms": np.array([0, 2])}, {"columns": (np.array([1.0, 2.5]),)},
               {"schema": "avro"}, {"definition": record("s", ["w"], {})}]  # fmt: skip

    assert len({digest(**change) for change in changes}) == len(changes)
    assert digest() == digest()
