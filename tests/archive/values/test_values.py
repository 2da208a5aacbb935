"""Values decoded by compiled code are those that Python's json and fastavro give."""

import base64
import datetime as dt
import io
import json
import math
import os
import struct
from decimal import Decimal
from pathlib import Path

import fastavro
import lz4.block
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import archive
from workbench.archive.values import flat_json as flat
from workbench.archive.values.avro.arrow_types import record_fields
from workbench.archive.values.avro.records import AvroValues
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.grid import Grid
from workbench.archive.values.inference import Inference
from workbench.archive.values.json_values import JsonValues
from workbench.archive.values.schemas import Schema, parse_schemas
from workbench.errors import ArchiveError, ArchiveWarning


def record(**fields):
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }


def rows_of(values, version=0):
    sizes = np.array([-1 if one is None else len(one) for one in values], np.int64)
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(b"".join(one or b"" for one in values) + b"!", np.uint8).copy()
    return EncodedValues(
        data, ends - np.maximum(sizes, 0), sizes, np.full(len(values), version, np.int64)
    )


def packed(definition, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, definition, value)
    return out.getvalue()


def json_values(definition):
    return JsonValues([Schema(0, "JSON", definition)], None)


def refuse(row, what):
    raise AssertionError((row, what))


FLAT = record(s=["null", "string"], i="long", d=["null", "double"], b="boolean")
TEXT = st.text(st.characters(blacklist_categories=["Cs"]))


@settings(max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "s": st.none() | TEXT,
                "i": st.none() | st.integers(-(2**63), 2**63 - 1),
                "d": st.none() | st.floats() | st.integers(-(2**70), 2**70),
                "b": st.none() | st.booleans(),
                "other": st.recursive(
                    st.none() | TEXT | st.floats(), lambda x: st.lists(x) | st.dictionaries(TEXT, x)
                ),
            },
        ),
        max_size=4,
    ),
    st.booleans(),
    st.sampled_from([None, 1]),
)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:messages are rows of nulls")  # where only `other` is there
def test_json_is_what_python_reads(readings, ascii_only, indent):
    raw = [
        json.dumps(reading, ensure_ascii=ascii_only, indent=indent).encode() for reading in readings
    ]

    columns = json_values(FLAT).decode(rows_of([*raw, None]), refuse)

    for name, column in zip("sidb", columns, strict=True):
        expected = [reading.get(name) for reading in readings] + [None]
        if name == "d":
            expected = [None if reading is None else float(reading) for reading in expected]
            assert list(map(str, column.to_pylist())) == list(map(str, expected))
        else:
            assert column.to_pylist() == expected


SCALAR = (
    st.none() | st.booleans() | TEXT | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
DAMAGED = st.sampled_from(["", " ", "1", '"', "}", "}}", ",", "x"])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(SCALAR, SCALAR, SCALAR, SCALAR | st.lists(SCALAR), DAMAGED), max_size=8),
    st.sampled_from([None, 1]),
)
@pytest.mark.slow
def test_rows_that_look_alike_are_read_as_each_is_alone(readings, indent):
    names = ["s", "other", "i", "d"]
    raw = [
        (json.dumps(dict(zip(names, item, strict=False)), indent=indent) + item[4]).encode()
        for item in readings
    ]
    alone, together = set(), set()

    rows = [
        json_values(FLAT).decode(rows_of([item]), lambda _, what, i=i: alone.add((i, what)))
        for i, item in enumerate(raw)
    ]
    columns = json_values(FLAT).decode(rows_of(raw), lambda *args: together.add(args))

    assert together == alone
    for j, column in enumerate(columns):
        assert list(map(str, column.to_pylist())) == [str(row[j][0].as_py()) for row in rows]


@settings(max_examples=300)
@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(0, 1).map(repr))
def test_a_decimal_becomes_the_nearest_double(number):
    text = str(number).replace("E+", "e")

    (column,) = json_values(record(v="double")).decode(
        rows_of([f'{{"v": {text}}}'.encode()]), refuse
    )

    (value,) = column.to_pylist()
    assert struct.pack("d", value) == struct.pack("d", float(text))


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1): '{'"),
        (b"[1]", "a JSON list, expected an object: '[1]'"),
        (b'{"i": 1.5}', "field i is 1.5, expected a whole number of 64 bits: '{\"i\": 1.5}'"),
        (b'{"i": true}', "field i is True, expected a whole number of 64 bits: '{\"i\": true}'"),
        (b'{"d": "1"}', "field d is '1', expected a number: '{\"d\": \"1\"}'"),
        (b'{"b": 1}', "field b is 1, expected a boolean: '{\"b\": 1}'"),
        (b"", "Expecting value: line 1 column 1 (char 0): ''"),
        (b'{"i": 01}', "Expecting ',' delimiter: line 1 column 8 (char 7): '{\"i\": 01}'"),
    ],
)
def test_a_value_that_does_not_fit_is_reported_with_its_message(pulsar, tmp_path, raw, what):
    pulsar.ledger(tmp_path, [pulsar.entry(b'{"i": 1}'), pulsar.entry(raw)])
    topic = "persistent://public/default/t"
    schemas = {topic: [{"version": 0, "type": "JSON", "schema": FLAT}]}

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path), schemas=schemas).topic("t").read()
    assert str(caught.value) == (
        f"the value does not fit the schema: {what}\n  in {topic}, message 1:1:-1:-1\n"
        '  misfits="null" keeps such a message as nulls'
    )

    kept = archive.open(str(tmp_path), schemas=schemas, misfits="null").topic("t")
    assert kept.read()["i"].to_pylist() == [1, None]
    assert len(kept.damage.errors) == 1


@pytest.fixture
def drifting(pulsar, tmp_path):
    """Values without a schema: what is new comes in the middle, where no sample looks."""
    plain = [{"v": 1, "t": i, "on": True, "x": None} for i in range(1500)]
    odd = [
        {"v": 0.5, "late": "a", "on": False, "x": 1},
        {"v": "NaN", "ä": {"n": 1.25}, "t": "off"},
        {"v": 1 << 63, "big": -(1 << 63)},
    ]
    for number, values in enumerate([plain, [*odd[:1], None, *odd[1:]], plain], 1):
        entries = [
            pulsar.entry(b"[broken" if v is None else json.dumps(v).encode()) for v in values
        ]
        pulsar.ledger(tmp_path, entries, number=number)
    return str(tmp_path)


def test_without_a_schema_fields_are_those_of_all_values(drifting):
    topic = archive.open(drifting, misfits="null")["t"]

    with pytest.warns(ArchiveWarning, match=r"and t hold text and numbers: they are text$"):
        table = topic.read()

    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "v": "double", "t": "string", "on": "bool", "x": "int64",
        "late": "string", "ä": "string", "big": "int64",
    }  # fmt: skip
    rows = table.slice(1500, 4).to_pylist()
    assert [row["v"] for row in rows[:2]] == [0.5, None]
    assert math.isnan(rows[2]["v"])
    assert (rows[2]["ä"], rows[2]["t"], rows[3]["big"]) == ('{"n": 1.25}', "off", -(1 << 63))
    assert [error.message[:46] for error in topic.damage.errors] == [
        "the value does not fit the schema: Expecting v"
    ]


def test_what_was_seen_of_a_ledger_is_kept_for_the_next_read(drifting):
    with pytest.warns(ArchiveWarning, match="they are text"):
        first = archive.open(drifting)["t"].fields()
    key = archive.open(drifting)["t"].ledgers[1].key
    path = Path(drifting) / key
    before = path.stat()
    path.write_bytes(bytes(before.st_size))  # were it read, it would be damage
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.warns(ArchiveWarning, match="they are text"):
        assert archive.open(drifting)["t"].fields() == first


FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "NaN", "ü"]),
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | TEXT
    | st.sampled_from(["NaN", "Infinity", "-Infinity", "-Inf"]) | st.lists(st.integers()),
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(FIELDS | st.integers(), max_size=6), st.booleans())
@pytest.mark.slow
def test_kinds_of_fields_are_the_same_by_compiled_code_and_by_json(readings, ascii_only):
    raw = [json.dumps(reading, ensure_ascii=ascii_only).encode() for reading in readings]
    compiled, plain = Inference(), Inference()

    compiled.look(rows_of([*raw, None, *raw]))
    for reading in raw:
        plain.take(reading)

    assert compiled.kinds == plain.kinds
    assert compiled.others == 2 * plain.others


@pytest.mark.parametrize("written", ["1.50", "0.1e1", "2.5"])
def test_a_number_in_a_field_of_text_is_as_it_was_written(written):
    raw = [b'{"s": "a", "n": {"s": 1.0}}', f'{{"s": {written}, "n": {{"s": 7}}}}'.encode()]
    inner = {"type": "record", "name": "N", "fields": [{"name": "s", "type": "string"}]}

    columns = json_values(record(s="string", n=inner)).decode(rows_of(raw), refuse)

    shown = "1" if written == "0.1e1" else written
    assert columns[0].to_pylist() == ["a", shown]


def test_what_lies_under_a_null_is_zero():
    grid = Grid(np.zeros(1, np.uint8), np.array([flat.DOUBLE, flat.LONG]), 1 << 16)

    doubles, ints = grid.array(0, pa.float32()), grid.array(1, pa.int64())

    assert (doubles.null_count, ints.null_count) == (1 << 16, 1 << 16)
    assert not any(doubles.buffers()[1].to_pybytes() + ints.buffers()[1].to_pybytes())


def test_a_double_too_large_for_a_float_is_infinite():
    (column,) = json_values(record(f="float")).decode(
        rows_of([b'{"f": 1e300}', b'{"f": -1e39}', None]), refuse
    )

    assert column.to_pylist() == [math.inf, -math.inf, None]


WIDE = 3_000_000_000
NESTED = record(a={"type": "array", "items": "int"})


@pytest.mark.parametrize(
    ("values", "raw", "what"),
    [
        (
            json_values(record(i="int")),
            b'{"i": 3000000000}',
            "field i is 3000000000, expected a whole number of 32 bits: '{\"i\": 3000000000}'",
        ),
        (
            AvroValues([Schema(0, "AVRO", record(i="int"))], None),
            packed(record(i="long"), {"i": WIDE}),
            "field i has 3000000000, expected a whole number of 32 bits",
        ),
        (
            AvroValues([Schema(0, "AVRO", NESTED)], None),
            packed(record(a={"type": "array", "items": "long"}), {"a": [1, WIDE]}),
            "field a has 3000000000, expected a whole number of 32 bits",
        ),
    ],
    ids=["json", "avro", "nested avro"],
)
def test_a_number_of_more_bits_than_an_int_has_is_no_int(values, raw, what):
    seen = []

    columns = values.decode(rows_of([raw]), lambda *args: seen.append(args))

    assert seen == [(0, what)]
    assert [column.to_pylist() for column in columns] == [[None]] * len(columns)


def test_json_may_be_nested():
    definition = record(
        a={"type": "array", "items": "int"},
        m={"type": "map", "values": "double"},
        r={"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "string"}]},
        y="bytes",
    )
    value = {"a": [1, 2], "m": {"k": 1}, "r": {"x": "t"}, "y": "aGk="}

    columns = json_values(definition).decode(rows_of([json.dumps(value).encode(), None]), refuse)

    assert [column.to_pylist() for column in columns] == [
        [[1, 2], None],
        [[("k", 1.0)], None],
        [{"x": "t"}, None],
        [b"hi", None],
    ]


WRITER = record(
    s="string",
    n=["null", "string"],
    i="int",
    u=["long", "null"],
    f="float",
    d="double",
    b="boolean",
    y="bytes",
    e={"type": "enum", "name": "E", "symbols": ["LOW", "HIGH"]},
    t={"type": "long", "logicalType": "timestamp-millis"},
)


@settings(max_examples=100)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "s": TEXT,
                "n": st.none() | TEXT,
                "i": st.integers(-(2**31), 2**31 - 1),
                "u": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f": st.floats(width=32, allow_nan=False),
                "d": st.floats(allow_nan=False),
                "b": st.booleans(),
                "y": st.binary(),
                "e": st.sampled_from(["LOW", "HIGH"]),
                "t": st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1)).map(
                    lambda item: item.replace(microsecond=0, tzinfo=dt.UTC)
                ),
            }
        ),
        max_size=5,
    )
)
@pytest.mark.slow
def test_avro_is_what_fastavro_reads(readings):
    raw = [packed(WRITER, item) for item in readings]
    decoder = AvroValues([Schema(0, "AVRO", WRITER)], None)

    columns = decoder.decode(rows_of([*raw, None]), refuse)

    names = [field.name for field in decoder.fields]
    table = pa.table(columns, names=names)
    assert table.to_pylist() == [*readings, dict.fromkeys(names)]


def test_avro_readers_see_the_newest_schema():
    old = record(i="int", gone="string", s="string")
    new = record(s="string", i="double", added={"type": "string"}, count=["null", "int"])
    new["fields"][2]["default"] = "kWh"
    new["fields"][3]["default"] = None
    schemas = [Schema(0, "AVRO", old), Schema(1, "AVRO", new)]
    raw = [packed(old, {"i": 7, "gone": "x", "s": "a"})]

    columns = AvroValues(schemas, None).decode(rows_of(raw), refuse)

    assert [column.to_pylist() for column in columns] == [["a"], [7.0], ["kWh"], [None]]
    one = AvroValues(schemas, ["added"]).decode(rows_of(raw), refuse)
    assert [column.to_pylist() for column in one] == [["kWh"]]


def test_avro_may_be_nested():
    definition = record(
        a={"type": "array", "items": "int"},
        r={"type": "record", "name": "In", "fields": [{"name": "x", "type": ["null", "string"]}]},
        m={"type": "map", "values": "long"},
        p={"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
        x=["string", "int"],
        w=["int", "double"],
    )
    value = {
        "a": [1], "r": {"x": None}, "m": {"k": 2}, "p": Decimal("12.34"), "x": 5, "w": 1.5,
    }  # fmt: skip

    columns = AvroValues([Schema(0, "AVRO", definition)], None).decode(
        rows_of([packed(definition, value), None]), refuse
    )

    assert [column.to_pylist()[0] for column in columns] == [
        [1], {"x": None}, [("k", 2)], Decimal("12.34"), '{"int": 5}', 1.5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "version", "what"),
    [
        (
            b"\x02",
            0,
            "not Avro of version 0: it ends early, or a size in it is negative or passes its end "
            "(at byte 0 of it)",
        ),
        (b"\x02a", 3, "schema version 3 is not known, only [0]"),
    ],
)
def test_broken_avro_is_reported(raw, version, what):
    seen = []
    decoder = AvroValues([Schema(0, "AVRO", record(s="string"))], None)

    (column,) = decoder.decode(rows_of([raw], version), lambda *args: seen.append(args))

    assert seen == [(0, what)]
    assert column.to_pylist() == [None]


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("string", "the schema is string, expected a record"),
        (record(x="Nowhere"), "the schema names type 'Nowhere', which it does not define"),
    ],
)
def test_schemas_that_are_not_read(definition, message):
    with pytest.raises(ArchiveError) as caught:
        record_fields(definition)
    assert str(caught.value) == message


NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
NOON_MS = int(NOON.timestamp() * 1000)
DAYS = NOON_MS // 86_400_000


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("STRING", "é".encode(), "é"),
        ("BYTES", b"\xff", b"\xff"),
        ("BOOLEAN", b"\1", True),
        ("INT8", b"\xff", -1),
        ("INT16", b"\1\0", 256),
        ("INT32", struct.pack(">i", -5), -5),
        ("INT64", struct.pack(">q", 1 << 40), 1 << 40),
        ("FLOAT", struct.pack(">f", 1.5), 1.5),
        ("DOUBLE", struct.pack(">d", math.pi), math.pi),
        ("TIMESTAMP", struct.pack(">q", NOON_MS), NOON),
        ("INSTANT", struct.pack(">qi", NOON_MS // 1000, 0), NOON),
        ("LOCAL_DATE", struct.pack(">q", DAYS), dt.date(2026, 1, 5)),
        ("LOCAL_DATE_TIME", struct.pack(">qq", DAYS, 0), dt.datetime(2026, 1, 5)),
        ("LOCAL_TIME", struct.pack(">q", 3_600_000_000_000), dt.time(1)),
    ],
)
def test_primitive_schemas(pulsar, tmp_path, kind, raw, value):
    pulsar.ledger(tmp_path, [pulsar.entry(raw), pulsar.entry(b"", (25, 1))])
    schemas = {"persistent://public/default/t": [{"version": 0, "type": kind, "schema": ""}]}

    column = archive.open(str(tmp_path), schemas=schemas).topic("t").read()["value"]

    assert column.to_pandas().tolist()[0] == value
    assert column.null_count == 1


def test_a_primitive_of_another_size_is_reported(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"abc")])
    schemas = {"persistent://public/default/t": [{"version": 0, "type": "INT32", "schema": ""}]}

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path), schemas=schemas).topic("t").read()
    assert caught.value.message == "the value does not fit the schema: INT32 has 4 bytes, found 3"


def test_a_schema_type_that_is_not_read_is_named(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"abc")])
    schemas = {"persistent://public/default/t": [{"version": 0, "type": "AUTO", "schema": ""}]}

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path), schemas=schemas).topic("t").read()
    assert str(caught.value) == (
        "values of schema type AUTO are not read\n"
        "  in the schemas of persistent://public/default/t\n  messages() gives their bytes"
    )


KEY_VALUE = {"key": record(site="string"), "value": record(v="double")}


@pytest.mark.parametrize("encoding", ["INLINE", "SEPARATED"])
def test_key_value_has_the_fields_of_both(pulsar, tmp_path, encoding):
    key, value = packed(KEY_VALUE["key"], {"site": "A"}), packed(KEY_VALUE["value"], {"v": 2.5})
    inline = struct.pack(">i", len(key)) + key + struct.pack(">i", len(value)) + value
    entries = {
        "INLINE": [pulsar.entry(inline), pulsar.entry(struct.pack(">ii", -1, -1))],
        "SEPARATED": [
            pulsar.entry(value, (6, base64.b64encode(key)), (17, 1)),
            pulsar.entry(b"", (25, 1)),
        ],
    }
    pulsar.ledger(tmp_path, entries[encoding])
    properties = {
        "kv.encoding.type": encoding, "key.schema.type": "AVRO", "value.schema.type": "AVRO",
    }  # fmt: skip
    stored = {"version": 0, "type": "KEY_VALUE", "schema": json.dumps(KEY_VALUE)}
    schemas = {"persistent://public/default/t": [{**stored, "properties": properties}]}
    topic = archive.open(str(tmp_path), schemas=schemas).topic("t")

    assert topic.read().to_pylist() == [
        {"__key.site": "A", "v": 2.5},
        {"__key.site": None, "v": None},
    ]
    assert topic.read(columns=["v"]).to_pylist() == [{"v": 2.5}, {"v": None}]


def test_a_broken_key_value_is_reported(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"\0\0\0\x09k")])
    stored = {"version": 0, "type": "KEY_VALUE", "schema": {"key": "", "value": ""}}
    schemas = {"persistent://public/default/t": [stored]}

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path), schemas=schemas).topic("t").read()
    assert caught.value.message == (
        "the value does not fit the schema: part of a KeyValue claims 9 bytes, 1 are left"
    )


def test_a_column_of_messages_is_added_to_the_fields(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b'{"key": 1, "v": 2}', (6, b"pump"))])
    topic = archive.open(str(tmp_path)).topic("t")

    assert topic.read(columns=["__key__", "entry_id"]).to_pylist() == [
        {"key": 1, "v": 2, "__key__": "pump", "entry_id": 0}
    ]
    assert topic.read(columns=["v", "key"]).to_pylist() == [{"v": 2, "key": 1}]


def test_what_is_no_list_of_schemas_is_refused():
    with pytest.raises(ArchiveError) as caught:
        parse_schemas({"t": [{"type": "JSON"}]}, where="schemas.json")
    assert str(caught.value) == (
        "not a list of schemas for every topic: KeyError 'version'\n  in schemas.json\n"
        '  expected {"persistent://tenant/ns/topic": [{"version": 0, "type": "JSON", '
        '"schema": {...}}]}'
    )


def test_batches_are_what_read_gives(golden):
    case = golden("D3-plain")
    topic = archive.open(case.bucket).topic("d3-plain")

    batches = list(topic.batches(batch_rows=64))

    assert [batch.num_rows for batch in batches] == [64] * 7 + [52]
    assert pa.Table.from_batches(batches).to_pylist() == topic.read().to_pylist()


@pytest.mark.slow
def test_batches_of_large_values_have_fewer_rows(pulsar, tmp_path):
    raw = bytes(3 << 20)
    packed = lz4.block.compress(raw, store_size=False)
    pulsar.ledger(tmp_path, [pulsar.entry(packed, (8, 1), (9, len(raw)))] * 25)
    topic = archive.open(str(tmp_path)).topic("t")

    batches = [(batch.num_rows, batch.nbytes >> 20) for batch in topic.batches()]

    assert batches == [(11, 33), (11, 33), (3, 9)]
