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

from workbench.broker import connect
from workbench.cli import cli
from workbench.detectors import late
from workbench.errors import ServicesError
from workbench.services import ingest_frame, look
from workbench.times import epoch_ms

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
        messages = []
        while reader.has_message_available():
            messages.append(reader.read_next(timeout_millis=5000))
        return messages


def refusal(call, *args, **kwargs):
    with pytest.raises(ServicesError) as error:
        call(*args, **kwargs)
    return str(error.value)


@pytest.mark.pulsar
def test_a_reading_is_a_message_with_key_event_time_and_compact_json(services):
    frame = readings()

    sent = ingest_frame(frame, "ingest-json", **COLUMNS)

    assert (sent.topic, sent.readings) == ("persistent://public/default/ingest-json", 10)
    stored = messages(sent.topic)
    assert [message.partition_key() for message in stored] == frame["pump"].tolist()
    start_ms = START.value // 10**6
    assert [message.event_timestamp() for message in stored] == [
        start_ms + 1000 * i for i in range(10)
    ]
    assert stored[3].data() == b'{"pump":"pump-2","pressure_bar":null,"flow_l_min":3.0}'
    rows = pd.DataFrame([json.loads(message.data()) for message in stored])
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

    assert "22695 readings to persistent://public/default/ingest-nab in " in result.output
    stored = messages("ingest-nab")
    assert len(stored) == 22_695
    name = MACHINE.stem
    assert json.loads(stored[0].data()) == {"sensor": name, "value": 73.96732207}
    assert pd.Timestamp(stored[0].event_timestamp(), unit="ms") == pd.Timestamp("2013-12-02 21:15")


@pytest.mark.pulsar
def test_readings_leave_at_the_rate_asked_for(services):
    began = time.monotonic()

    ingest_frame(readings(40), "ingest-rate", rate=40, **COLUMNS)

    assert time.monotonic() - began > 0.9


@pytest.mark.pulsar
def test_a_bad_line_leaves_the_topic_untouched(services, tmp_path):
    path = tmp_path / "pumps.csv"
    path.write_text("timestamp,value\n" + "2026-01-05,1\n" * 5000 + "2026-01-05,off\n")

    result = CliRunner().invoke(
        cli, f"ingest {path} --topic ingest-untouched --time timestamp --values value"
    )

    assert result.exit_code == 1
    assert str(result.exception) == (
        f"'off' is not a number\n  in {path} line 5002, column value\n"
        "  --skip-damaged leaves such lines out, and counts them"
    )
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


def test_an_unreachable_broker_is_named(monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:9")
    text = refusal(ingest_frame, readings(), "pumps", **COLUMNS)

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


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"pump": [None] * 10}, "pump names no sensor\n  in row 0"),
        ({"pump": ["p"] * 9 + [""]}, "pump names no sensor\n  in row 9"),
        ({"flow_l_min": [True] * 10}, "flow_l_min holds boolean values, expected numbers"),
        ({"flow_l_min": ["1.250"] * 10}, "flow_l_min holds string values, expected numbers"),
        ({"pump": ["p"] * 9 + [" \t"]}, "pump names no sensor\n  in row 9"),
        (
            {"pump": ["p", "p\u200b"] * 5},
            "pump: 'p\\u200b' hides the character U+200B\n  in row 1",
        ),
        (
            {"flow_l_min": [2**53, *[2**53 + 1] * 9]},
            "9007199254740993 has more digits than a reading, which is a double, can hold\n"
            "  in row 1",
        ),
        (
            {"flow_l_min": pd.array([None, *[2**53 + 1] * 9], dtype="Int64")},
            "9007199254740993 has more digits than a reading, which is a double, can hold\n"
            "  in row 1",
        ),
    ],
)
def test_what_is_no_name_or_number_is_refused(change, text):
    assert refusal(ingest_frame, readings().assign(**change), "t", **COLUMNS) == text


def test_a_column_that_is_asked_for_twice_is_refused():
    columns = COLUMNS | {"values": ["pump"]}

    assert refusal(ingest_frame, readings(), "t", **columns) == (
        "a column is asked for twice: pump, at, pump\n  in the frame"
    )


@pytest.mark.parametrize("kind", ["int64", "object", "Int64", "uint64"])
@pytest.mark.parametrize("number", [1_767_571_200, 1_767_571_200 * 10**6, 1_767_571_200 * 10**9])
def test_no_other_unit_is_taken_for_milliseconds(number, kind):
    frame = readings().assign(at=pd.array([number] * 10, dtype=kind))

    assert refusal(ingest_frame, frame, "t", **COLUMNS) == (
        f"{number} is not a time in ms since 1970\n  in row 0"
    )


ORDERS = {
    "by time": (["time", "pump"], True),
    "by sensor": (["pump", "time"], True),
    "newest first": (["time", "pump"], False),
}


@pytest.fixture(params=ORDERS)
def pumps(request, tmp_path):
    """Four pumps of 400 minutes each, in one of the orders that exports come in."""
    columns, ascending = ORDERS[request.param]
    minute = np.repeat(np.arange(400), 4)
    frame = pd.DataFrame(
        {
            "pump": [f"p{1 + i % 4}" for i in range(1600)],
            "time": (START + pd.to_timedelta(minute, unit="min")).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "bar": np.arange(1600) / 8,
        }
    )
    path = tmp_path / "pumps.csv"
    frame.sort_values(columns, ascending=ascending, kind="stable").to_csv(path, index=False)
    return request.param, path, frame


ASKED = {"sensor": "pump", "time": "time", "values": ["bar"]}


def test_the_order_of_lines_is_told_and_that_of_time_sent(pumps):
    order, path, frame = pumps

    by_time = look(path, **ASKED)
    as_is = look(path, as_is=True, **ASKED)

    assert by_time.order == as_is.order
    back, behind_min, late_readings = {
        "by time": (0, 0, 0), "by sensor": (3, 399, 1197), "newest first": (399, 399, 1596)
    }[order]  # fmt: skip
    assert (by_time.order.back, by_time.order.behind_ms) == (back, behind_min * 60_000)
    assert by_time.order.late == late_readings
    sent_ms = epoch_ms(by_time.frame["time"])
    assert not late(sent_ms, 1).any() or (np.diff(sent_ms) >= 0).all()
    assert late(epoch_ms(as_is.frame["time"]), 1000).sum() == late_readings
    key = ["time", "pump"]
    expected = frame.assign(time=pd.to_datetime(frame["time"])).sort_values(key)
    pd.testing.assert_frame_equal(
        by_time.frame.sort_values(key, ignore_index=True),
        expected[by_time.frame.columns].reset_index(drop=True),
        check_dtype=False,
    )


def test_readings_of_one_instant_keep_the_order_of_their_lines(tmp_path):
    path = tmp_path / "pumps.csv"
    path.write_text("time,v\n2026-01-06,3\n2026-01-05,1\n2026-01-05,2\n2026-01-05,0\n")

    assert look(path, time="time", values=["v"]).frame["v"].tolist() == [1, 2, 0, 3]


def test_a_look_tells_all_that_is_worth_knowing(tmp_path):
    path = tmp_path / "pumps.csv"
    good = "".join(f"p,2026-01-05T00:{minute:02}:00Z,1\n" for minute in range(20, 60))
    path.write_text(f"pump,time,bar\n{good}p,2026-01-05T00:00:00Z\np,2026-01-05T00:20:00Z,1")

    result = CliRunner().invoke(
        cli,
        f"ingest {path} --sensor pump --time time --values bar --look --skip-damaged --lateness 60",
    )

    assert result.output.splitlines() == [
        "41 readings of 1 sensor, 2026-01-05T00:20:00Z to 2026-01-05T00:59:00Z",
        "times are read as ISO 8601",
        "time goes back once, by up to 39 min; a stream with lateness_s: 60 would call 1 of 41 "
        "readings late; sent in the order of time",
        "1 reading has the sensor and time of another",
        "1 line is left out: line 42: has 2 fields, the header has 3",
        "the last line has no end: it may have lost more",
    ]


def test_without_a_topic_there_is_but_a_look():
    result = CliRunner().invoke(cli, "ingest pumps.csv --time time --values bar")

    assert result.exit_code == 2
    assert "Missing option '--topic' (or '--look', to send nothing)." in result.output


def test_times_outside_of_1980_to_tomorrow_are_asked_for(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("time,v\n1975-01-05T00:00:00Z,1\n")
    command = f"ingest {path} --time time --values v --look"

    refused = CliRunner().invoke(cli, command)
    taken = CliRunner().invoke(cli, f"{command} --between 1970-01-02 1980-01-01")

    assert str(refused.exception).startswith("'1975-01-05T00:00:00Z' is 1975-01-05T00:00:00.000Z ")
    assert taken.output.startswith("1 reading of 1 sensor, 1975-01-05T00:00:00Z to ")


@pytest.mark.pulsar
def test_lines_out_of_order_arrive_in_the_order_of_time(services, tmp_path):
    path = tmp_path / "back.csv"
    path.write_text("time,v\n2026-01-06,3\n2026-01-05,1\n")

    for more in ("", " --as-is"):
        topic = f"ingest-back{more.strip()}"
        result = CliRunner().invoke(
            cli, f"ingest {path} --topic {topic} --time time --values v{more}"
        )
        assert "would call 1 of 2 readings late" in result.output
        values = [json.loads(message.data())["v"] for message in messages(topic)]
        assert values == ([3, 1] if more else [1, 3])


def test_a_time_before_1970_is_refused():
    frame = readings()
    frame.loc[2, "at"] = pd.Timestamp(0, tz="UTC")

    assert refusal(ingest_frame, frame, "t", **COLUMNS) == (
        "1970-01-01 00:00:00+00:00 is not a time after 1970\n  in row 2"
    )
