import json
import os
import time
from pathlib import Path

import fastavro
import numpy as np
import pandas as pd
import pulsar
import pytest
from click.testing import CliRunner

from workbench.cli import cli
from workbench.errors import ServicesError
from workbench.services import connect, ingest_frame

NAB = Path(os.environ.get("WORKBENCH_NAB", "../shared/data/nab")).absolute()
MACHINE = NAB / "data/realKnownCause/machine_temperature_system_failure.csv"
START = pd.Timestamp("2026-01-05T00:00:00Z")


def readings(n=10, sensors=2):
    rng = np.random.default_rng(7)
    values = rng.normal(7.0, 0.1, n)
    values[3] = np.nan
    return pd.DataFrame(
        {
            "pump": [f"pump-{1 + i % sensors}" for i in range(n)],
            "at": START + pd.to_timedelta(np.arange(n), unit="s"),
            "pressure_bar": values,
            "flow_l_min": np.arange(n),
        }
    )


COLUMNS = {"sensor": "pump", "time": "at", "values": ["pressure_bar", "flow_l_min"]}


def messages(topic):
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        found = []
        while reader.has_message_available():
            found.append(reader.read_next(timeout_millis=5000))
        return found


def refusal(call, *args, **kwargs):
    with pytest.raises(ServicesError) as error:
        call(*args, **kwargs)
    return str(error.value)


@pytest.mark.pulsar
def test_a_reading_is_a_message_with_key_event_time_and_compact_json(services):
    frame = readings()

    sent = ingest_frame(frame, "ingest-json", **COLUMNS)

    assert (sent.topic, sent.readings) == ("persistent://public/default/ingest-json", 10)
    found = messages(sent.topic)
    assert [one.partition_key() for one in found] == frame["pump"].tolist()
    start_ms = START.value // 10**6
    assert [one.event_timestamp() for one in found] == [start_ms + 1000 * i for i in range(10)]
    assert found[3].data() == b'{"pump":"pump-2","pressure_bar":null,"flow_l_min":3.0}'
    rows = pd.DataFrame([json.loads(one.data()) for one in found])
    np.testing.assert_array_equal(rows["pressure_bar"], frame["pressure_bar"])


@pytest.mark.pulsar
@pytest.mark.parametrize("compression", ["none", "lz4", "zlib", "zstd", "snappy"])
def test_avro_and_every_compression_come_back_equal(services, compression):
    frame = readings()
    topic = f"ingest-avro-{compression}"

    ingest_frame(frame, topic, schema="avro", compression=compression, **COLUMNS)

    with connect() as client:
        reader = client.create_reader(
            topic, pulsar.MessageId.earliest, schema=pulsar.schema.AvroSchema(None, definition())
        )
        rows = pd.DataFrame([reader.read_next(5000).value() for _ in frame.index])
    np.testing.assert_array_equal(rows["pressure_bar"], frame["pressure_bar"])
    np.testing.assert_array_equal(rows["pump"], frame["pump"])


def definition():
    double = ["null", "double"]
    fields = [{"name": "pump", "type": "string"}]
    fields += [{"name": name, "type": double, "default": None} for name in COLUMNS["values"]]
    return fastavro.parse_schema({"type": "record", "name": "Reading", "fields": fields})


@pytest.mark.pulsar
def test_nothing_is_dropped_when_more_is_sent_than_the_client_holds(services):
    frame = pd.concat([readings(1000)] * 12)

    ingest_frame(frame, "ingest-many", batch_messages=100, **COLUMNS)

    assert len(messages("ingest-many")) == 12_000


@pytest.mark.pulsar
@pytest.mark.skipif(not NAB.is_dir(), reason=f"NAB is not at {NAB}: set WORKBENCH_NAB")
def test_a_nab_file_goes_in_by_one_command(services):
    command = f"ingest {MACHINE} --topic ingest-nab --time timestamp --values value"

    result = CliRunner().invoke(cli, command)

    assert result.output.startswith("22695 readings to persistent://public/default/ingest-nab in ")
    found = messages("ingest-nab")
    assert len(found) == 22_695
    name = MACHINE.stem
    assert json.loads(found[0].data()) == {"sensor": name, "value": 73.96732207}
    assert pd.Timestamp(found[0].event_timestamp(), unit="ms") == pd.Timestamp("2013-12-02 21:15")


@pytest.mark.pulsar
def test_readings_leave_at_the_rate_asked_for(services):
    began = time.monotonic()

    ingest_frame(readings(40), "ingest-rate", rate=40, **COLUMNS)

    assert 0.9 < time.monotonic() - began < 5


@pytest.mark.pulsar
def test_a_bad_line_leaves_the_topic_untouched(services, tmp_path):
    path = tmp_path / "pumps.csv"
    path.write_text("timestamp,value\n" + "2026-01-05,1\n" * 5000 + "2026-01-05,off\n")

    result = CliRunner().invoke(
        cli, f"ingest {path} --topic ingest-untouched --time timestamp --values value"
    )

    assert result.exit_code == 1
    assert str(result.exception) == f"'off' is not a number\n  in {path} line 5002, column value"
    assert messages("ingest-untouched") == []


@pytest.mark.pulsar
def test_a_topic_with_another_schema_is_refused(services):
    ingest_frame(readings(), "ingest-other", **COLUMNS)

    text = refusal(ingest_frame, readings(), "ingest-other", schema="avro", **COLUMNS)

    assert text == (
        "the topic has another schema than avro with the fields pump, pressure_bar, flow_l_min\n"
        "  in persistent://public/default/ingest-other\n"
        "  send to another topic, or with the fields that it has"
    )


@pytest.mark.pulsar
def test_a_topic_that_cannot_be_made_is_refused(services):
    text = refusal(ingest_frame, readings(), "nowhere/default/pumps", **COLUMNS)

    assert text.startswith("the broker takes no messages: Pulsar error: ")
    assert text.endswith("\n  in persistent://nowhere/default/pumps")


def test_an_unreachable_broker_is_named_at_once(monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:9")
    began = time.monotonic()

    text = refusal(ingest_frame, readings(), "pumps", **COLUMNS)

    assert time.monotonic() - began < 5
    assert text == (
        "no broker answers at pulsar://127.0.0.1:9: Connection refused\n"
        "  workbench services up pulsar, or set WORKBENCH_BROKER to a broker that runs"
    )


def test_without_any_broker_the_way_to_one_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.delenv("WORKBENCH_BROKER", raising=False)

    assert refusal(ingest_frame, readings(), "pumps", **COLUMNS) == (
        "no broker is known\n"
        "  workbench services up pulsar, or set WORKBENCH_BROKER to a broker that runs"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"values": ["presure_bar"]},
            "there is no column 'presure_bar'\n  in the frame\n  did you mean 'pressure_bar'?",
        ),
        (
            {"compression": "gzip"},
            "no compression 'gzip'\n  known: lz4, none, snappy, zlib, zstd",
        ),
        ({"schema": "jsn"}, "no schema 'jsn'\n  did you mean 'json'?"),
        (
            {"topic": "a/b"},
            "'a/b' is not the name of a persistent topic\n"
            "  persistent://TENANT/NAMESPACE/TOPIC, or TOPIC for one in public/default",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, text):
    assert refusal(ingest_frame, **({"frame": readings(), "topic": "t"} | COLUMNS | change)) == text


def test_a_column_that_cannot_be_a_field_is_refused():
    frame = readings().rename(columns={"flow_l_min": "flow (l/min)"})

    text = refusal(ingest_frame, frame, "t", sensor="pump", time="at", values=["flow (l/min)"])

    assert text == (
        "column 'flow (l/min)' cannot be a field of a schema\n"
        "  rename it: a letter or _, then letters, digits and _"
    )


def test_a_reading_that_is_not_finite_is_refused():
    frame = readings()
    frame.loc[5, "pressure_bar"] = np.inf

    assert refusal(ingest_frame, frame, "t", **COLUMNS) == "pressure_bar is not finite\n  in row 5"


def test_a_time_before_1970_is_refused():
    frame = readings()
    frame.loc[2, "at"] = pd.Timestamp(0, tz="UTC")

    assert refusal(ingest_frame, frame, "t", **COLUMNS) == (
        "1970-01-01 00:00:00+00:00 is not a time after 1970\n  in row 2"
    )
