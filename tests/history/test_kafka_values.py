"""Records in Confluent's wire format, by schemas of a registry, beside JSON."""

import json

import pyarrow as pa
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from workbench import endpoints
from workbench.errors import ReplayError
from workbench.history.kafka_values import HEAD, decode_records
from workbench.history.schema_registry import definitions

PRESSURE = {"name": "pressure_bar", "type": ["null", "double"], "default": None}
OLD = {
    "type": "record", "name": "Reading", "namespace": "plant",
    "fields": [{"name": "pump", "type": "string"}, PRESSURE, {"name": "note", "type": "string"}],
}  # fmt: skip
NEW = {
    "type": "record", "name": "Reading", "namespace": "plant",
    "fields": [
        {"name": "pump", "type": "string"},
        PRESSURE,
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
        {"name": "speed_rpm", "type": "int", "default": 7},
    ],
}  # fmt: skip
# by AvroSerializer of confluent-kafka 2.16.1
REAL_OLD = bytes.fromhex("000000000306702d31020000000000000440046f6b")
REAL_NEW = bytes.fromhex("000001117106702d3200f6e1a0b7f16605")
KINDS = {"key": pa.string(), "version": pa.int64(), "value": pa.binary()}


@pytest.fixture(autouse=True)
def _no_registry(monkeypatch):
    for name in ("", "_LOGIN", "_LOGIN_FILE"):
        monkeypatch.delenv(f"WORKBENCH_SCHEMA_REGISTRY{name}", raising=False)


def wire(schema, number, record):
    out = bytearray(HEAD.pack(0, number))

    class Out:
        write = staticmethod(out.extend)

    schemaless_writer(Out, parse_schema(schema), record)
    return bytes(out)


def decode(*values, partitions=None, times_ms=None):
    count = len(values)
    records = {
        "key": [None] * count, "version": [0] * count, "value": [*values],
        "partition": partitions or [0] * count, "event_time": times_ms or [0] * count,
    }  # fmt: skip
    decoded = decode_records(records, KINDS, topic="kafka://pumps")
    return decoded, decoded.table["fields"].to_pylist()


def test_what_confluents_serializer_writes_is_read_by_the_newest_schema(schema_registry):
    running = schema_registry({3: OLD, 70001: NEW})

    decoded, rows = decode(
        *(REAL_OLD, REAL_NEW, None, REAL_OLD), partitions=[0, 0, 1, 1], times_ms=[0, 9, 1, 2]
    )

    assert decoded.remark == "schema 70001 of the latest record has no note, which others have"
    assert rows[0] == {"pump": "p-1", "pressure_bar": 2.5, "at": None, "speed_rpm": None}
    assert (rows[1]["pump"], rows[1]["pressure_bar"], rows[1]["speed_rpm"]) == ("p-2", None, -3)
    assert rows[1]["at"].isoformat() == "2026-01-05T00:00:00.123000+00:00"
    assert rows[2] == dict.fromkeys(rows[0])
    assert rows[3] == rows[0]
    assert decoded.table["version"].to_pylist() == [3, 70001, -1, 3]
    assert decoded.table["value"].to_pylist()[0] == REAL_OLD  # the very bytes
    assert (decoded.misfits, decoded.schemas) == ((), (3, 70001))
    decode(REAL_OLD)
    assert sorted(running.asked) == ["/schemas/ids/3", "/schemas/ids/70001"]  # each once


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.text(st.characters(codec="utf-8"), max_size=9),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_json_and_avro_in_one_topic_are_the_same_rows(rows):
    values = [
        wire(OLD, 5, {"pump": pump, "pressure_bar": bar, "note": ""})
        if is_avro
        else json.dumps({"pump": pump, "pressure_bar": bar}).encode()
        for is_avro, pump, bar in rows
    ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_SCHEMA_REGISTRY", "http://registry.invalid")
        patch.setattr("workbench.history.kafka_values.definitions", lambda _: {5: OLD})
        decoded, found = decode(*values)

    assert [(row["pump"], row["pressure_bar"]) for row in found] == [row[1:] for row in rows]
    assert decoded.misfits == ()


def test_what_a_schema_lacks_within_another_is_null_and_a_symbol_is_as_written(schema_registry):
    def schema(pose, symbols, **enum):
        return {
            "type": "record", "name": "Reading",
            "fields": [
                {"name": "pose", "type": {"type": "record", "name": "Pose", "fields": pose}},
                {"name": "path", "type": {"type": "array", "items": "Pose"}},
                {"name": "state", "type":
                    {"type": "enum", "name": "State", "symbols": symbols, **enum}},
            ],
        }  # fmt: skip

    x, y = {"name": "x", "type": "double"}, {"name": "y", "type": "double", "default": 7.0}
    old = schema([x], ["ON", "WORN"])
    new = schema([x, y], ["OFF", "ON"], default="OFF")
    schema_registry({1: old, 2: new})

    decoded, rows = decode(
        wire(old, 1, {"pose": {"x": 1.0}, "path": [{"x": 2.0}], "state": "WORN"}),
        wire(new, 2, {"pose": {"x": 3.0, "y": 4.0}, "path": [], "state": "OFF"}),
    )

    assert decoded.misfits == ()
    assert rows == [
        {"pose": {"x": 1.0, "y": None}, "path": [{"x": 2.0, "y": None}], "state": "WORN"},
        {"pose": {"x": 3.0, "y": 4.0}, "path": [], "state": "OFF"},
    ]


def test_what_is_neither_is_a_row_of_nulls_and_counted(schema_registry):
    schema_registry({3: OLD})
    cut, unknown = REAL_OLD[:-1], wire(OLD, 4, {"pump": "p", "pressure_bar": 1.0, "note": ""})

    decoded, rows = decode(REAL_OLD, cut, b"no reading", unknown, b"", b"\0\0", b'{"pump": "p-9"}')

    assert decoded.misfits == (1, 2, 3, 4, 5)
    assert [row["pump"] for row in rows] == ["p-1", None, None, None, None, None, "p-9"]
    assert decoded.schemas == (3, 4)


def test_without_a_registry_avro_is_refused_or_said():
    with pytest.raises(ReplayError) as error:
        decode(REAL_OLD, None, REAL_NEW)

    assert str(error.value) == (
        "all records begin as Avro of a schema registry, and none is known\n"
        "  in kafka://pumps\n  WORKBENCH_SCHEMA_REGISTRY=http://HOST:PORT"
    )
    decoded, rows = decode(b'{"pump": "p-1"}', REAL_OLD)
    assert rows == [{"pump": "p-1"}, {"pump": None}]
    assert decoded.misfits == (1,)
    assert decoded.remark == "1 begin as Avro of a schema registry, and none is known"


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"schema": "...", "schemaType": "PROTOBUF"}, "the schema is PROTOBUF, expected Avro that"),
        ({"schema": "{}", "references": [{"name": "a"}]}, "the schema refers to other schemas, "),
        ({"schema": "{"}, "the schema is no JSON: Expecting property name"),
        ({"schema": '{"type": "record", "doc": NaN}'}, "the schema is no JSON: NaN is none of"),
        ({"schema": "1" * 1001}, "the JSON of the schema has a number of more than 1000 digits"),
        ({"schema": 5}, "the schema registry gives no schema"),
        ({"schema": json.dumps({**OLD, "x": 1})[:-2] + "[" * 1000 + "]" * 1000 + "}"},
         "the JSON of the schema is nested more than 1000 levels deep"),
        (b'{"schema": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
         "the schema registry does not answer: RecursionError"),
        (b'{"schema": "' + b" " * (4 << 20) + b'"}',
         "the schema registry gives more than 4194304 bytes"),
        ({"schema": '"string"'}, "schema 3 is string, expected a record"),
        ({"schema": '{"type": "record"}'}, "schema 3 is {'type': 'record'}, expected a record"),
        ({"schema": json.dumps({**OLD, "fields": [{"name": "a", "type": "b"}]})},
         "the schema names type 'b', which it does not define"),
        (None, "the schema registry has none of the schemas that records name"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_read_by_is_refused(schema_registry, stored, message):
    schema_registry({3: stored})

    with pytest.raises(ReplayError) as error:
        decode(REAL_OLD)

    assert str(error.value).startswith(message)


def test_records_of_several_kinds_are_refused_if_none_is_most(schema_registry):
    schema_registry({3: OLD, 4: {**OLD, "name": "Alarm"}, 5: "string"})
    alarm = wire(OLD, 4, {"pump": "p", "pressure_bar": 1.0, "note": ""})

    with pytest.raises(ReplayError, match=r"^the records are of several kinds, .*: Alarm, Reading"):
        decode(REAL_OLD, alarm)
    decoded, rows = decode(REAL_OLD, alarm, REAL_OLD, HEAD.pack(0, 5) + b"\2a")
    assert decoded.misfits == (1, 3)
    assert [row["pump"] for row in rows] == ["p-1", None, "p-1", None]
    assert decoded.remark == "schemas of another kind: 4 (Alarm), 5 (string)"


def test_columns_are_those_of_the_latest_record_whatever_its_id(schema_registry):
    schema_registry({3: OLD, 70001: NEW})

    decoded, rows = decode(REAL_NEW, b'{"tank": "t-1"}', REAL_OLD)

    assert decoded.misfits == (1,)
    assert rows[2] == {"pump": "p-1", "pressure_bar": 2.5, "note": "ok"}
    assert rows[0] == {"pump": "p-2", "pressure_bar": None, "note": None}
    assert decoded.remark == (
        "schema 3 of the latest record has no at, speed_rpm, which others have"
    )


def test_ids_that_the_registry_lacks_are_asked_for_a_hundred_times_and_no_more(schema_registry):
    running = schema_registry({})

    with pytest.raises(ReplayError, match=r"^the schema registry has none of 100 ids and more"):
        decode(*(HEAD.pack(0, number) for number in range(2_000)))
    assert len(running.asked) == 101


def test_a_registry_is_asked_with_its_login_and_the_login_stands_in_no_error(
    schema_registry, monkeypatch, tmp_path
):
    running = schema_registry({3: OLD})
    running.login = "plant:planted-7c"

    with pytest.raises(ReplayError) as error:
        definitions([3])
    assert str(error.value) == (
        f"the schema registry refuses with 401\n  in {running.url}/schemas/ids/3"
    )
    path = tmp_path / "login"
    path.write_text("plant:planted-7c\n")
    monkeypatch.setenv("WORKBENCH_SCHEMA_REGISTRY_LOGIN_FILE", str(path))
    assert definitions([3]) == {3: OLD}
    told = endpoints.registry_file()
    assert told.read_text() == f"{running.url}\nplant:planted-7c\n"
    assert told.stat().st_mode & 0o777 == 0o600
    assert "planted" not in repr(endpoints.endpoints())
    monkeypatch.setenv("WORKBENCH_SCHEMA_REGISTRY", "http://plant:planted-7c@registry.example")
    with pytest.raises(ReplayError) as error:
        definitions([3])
    assert str(error.value) == (
        "http://registry.example is not the address of a schema registry alone\n"
        "  in WORKBENCH_SCHEMA_REGISTRY\n"
        "  http(s)://HOST:PORT; user and password are WORKBENCH_SCHEMA_REGISTRY_LOGIN"
    )


def test_an_address_that_is_no_registry_is_told_from_an_id_that_is_not_there(
    schema_registry, monkeypatch
):
    running = schema_registry({})
    assert definitions([3]) == {}
    running.schemas[3] = OLD
    assert definitions([3]) == {3: OLD}  # registered since
    monkeypatch.setenv("WORKBENCH_SCHEMA_REGISTRY", f"{running.url}/apis")

    with pytest.raises(ReplayError) as error:
        definitions([3])

    assert error.value.message == "there is no schema registry"
    assert error.value.hint == "of Apicurio, the address ends with /apis/ccompat/v7"
    monkeypatch.setenv("WORKBENCH_SCHEMA_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(ReplayError, match=r"^the schema registry does not answer: Connection"):
        definitions([3])
