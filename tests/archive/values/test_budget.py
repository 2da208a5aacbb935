"""No value and no schema takes the process down: what they claim is counted before it is made."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import archive
from workbench.archive.values.decoding import open_values
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError

TRIES = int(os.environ.get("WORKBENCH_FUZZ", "150"))
HUGE = 10**8
EMPTY = {"type": "record", "name": "Empty", "fields": []}
ENUM = {"type": "enum", "name": "Unit", "symbols": ["BAR", "PA"]}


def record(**fields):
    parts = [{"name": name, "type": kind} for name, kind in fields.items()]
    return {"type": "record", "name": "R", "fields": parts}


def array(items, levels=1):
    for _ in range(levels):
        items = {"type": "array", "items": items}
    return items


def fixed(size, **more):
    return {"type": "fixed", "name": "F", "size": size, **more}


def decimal(precision):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": 0}


def number(value):
    """Return a whole number as Avro writes it."""
    value, out = (value << 1) ^ (value >> 63), bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def wide(name="W", **first):
    """Return a record of 3,000 fields that may be left out, after some that are written."""
    kind = {**record(**first), "name": name}
    more = [{"name": f"f{i}", "type": ["null", "int"], "default": None} for i in range(3000)]
    return {**kind, "fields": [*kind["fields"], *more]}


def doubling(types):
    """Return a record that unfolds to 2 ** types of them, each written once."""
    inner = {"type": "record", "name": "T0", "fields": [{"name": "v", "type": "int"}]}
    for i in range(1, types + 1):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"T{i - 1}"}]
        inner = {"type": "record", "name": f"T{i}", "fields": fields}
    return record(x=inner)


MANY = "it claims more values than its bytes can hold"
BLOCK = "a block of items whose size is not theirs"
CUT = "it ends early, or a size in it is negative or passes its end"
ITSELF = {"type": "record", "name": "R", "fields": [{"name": "n", "type": ["null", "R"]}]}
VALUES = {
    "nulls": (record(x=array("null")), number(HUGE) + b"\0", MANY),
    "empty records": (record(x=array(EMPTY)), number(HUGE) + b"\0", MANY),
    "fixed of no bytes": (record(x=array(fixed(0))), number(HUGE) + b"\0", MANY),
    "many blocks": (record(x=array(EMPTY)), number(900) * 9000 + b"\0", MANY),
    "a map": (record(x={"type": "map", "values": "null"}), number(HUGE) + b"\0" * 50, MANY),
    "absent records": (record(x=array(["null", wide()])), number(10**5) + b"\0" * 100_001, MANY),
    "integers": (record(x=array("int")), number(1 << 62) + b"\2\2\0", MANY),
    "an absurd block": (record(x=array("int")), number(-2) + number(1 << 60) + b"\2\2\0", BLOCK),
    "a negative block": (record(x=array("int")), number(-2) + number(-4) + b"\2\2\0", BLOCK),
    "a short block": (record(x=array("int")), number(-1) + number(2) + b"\2\2\0", BLOCK),
    "the least count": (record(x=array("int")), number(-(1 << 63)) + b"\0\0\0", BLOCK),
    "a negative size": (record(x="string", y=array("int")), number(-3) + b"abc\0", CUT),
    "an absurd size": (record(x="bytes", y=array("int")), number(1 << 62) + b"abc\0", CUT),
    "a fixed": (record(x=fixed(1 << 30)), b"\2\5", CUT),
    "an endless number": (record(x="long", y=array("int")), b"\xff" * 999_999 + b"\1\0", CUT),
    "an enum": (record(x=ENUM), number(-1), "a symbol that its enum does not have"),
    "a nested enum": (record(x=array(ENUM)), b"\2\1\0", "a symbol that its enum does not have"),
    "a union": (record(x=["int", "null"]), b"\1\2", "a branch that its union does not have"),
    "a nested union": (
        record(x=array(["int", "string"])), b"\2\1\2\0", "a branch that its union does not have",
    ),
    "a boolean": (record(x=array("boolean")), b"\2\7\0", "a boolean that is neither 0 nor 1"),
    "itself": (ITSELF, b"\2" * 100_000 + b"\0", "it is nested more than 100 levels deep"),
}  # fmt: skip
DEEP = '{"type":"array","items":' * 20_000 + '"int"' + "}" * 20_000
SCHEMAS = {
    "900 nested arrays": (record(x=array("int", 900)), "nested more than 100 levels deep"),
    "20,000 nested types": (
        '{"type":"record","name":"R","fields":[{"name":"x","type":' + DEEP + "}]}",
        "nested more than 100 levels deep",
    ),
    "types by reference": (doubling(24), "unfolds to more than 10000 types"),
    "fields": (
        record(**{f"f{i}": "int" for i in range(100_000)}), "unfolds to more than 10000 types",
    ),
    "symbols": (
        record(x={**ENUM, "symbols": [f"S{i}" for i in range(100_000)]}),
        "unfolds to more than 10000 types",
    ),
    "a decimal": (record(x=decimal(10**9)), "a decimal of 1e+09 digits, expected at most 10000"),
    "a fixed": (record(x=fixed(1 << 62)), "a fixed of 4.612e+18 bytes, expected 0 to 2147483647"),
    "a negative fixed": (record(x=fixed(-1)), "a fixed of -1 bytes, expected 0 to 2147483647"),
    "a name": (record(**{"f" * 10**6: "int"}), "a name of 1000000 characters, expected at most"),
    "a default": (
        {"type": "record", "name": "R", "fields": [
            {"name": "x", "type": array("int"), "default": [1] * 10**6}
        ]},
        "a default of more than 1000 characters",
    ),
}  # fmt: skip


@pytest.mark.slow
def test_a_value_that_claims_too_much_is_an_error_with_its_message(errors_of):
    lines = errors_of("AVRO", [case[:2] for case in VALUES.values()])

    for i, (line, (_, _, what)) in enumerate(zip(lines, VALUES.values(), strict=True)):
        assert line.startswith(
            f"ArchiveError the value does not fit the schema: not Avro of version 0: {what}"
        )
        assert f"persistent://public/default/t{i}, message {i}:0:-1:-1" in line


@pytest.mark.parametrize("kind", ["AVRO", "JSON"])
@pytest.mark.slow
def test_a_schema_that_claims_too_much_is_an_error_with_its_topic(errors_of, kind):
    raw = b"\0" if kind == "AVRO" else b"{}"

    lines = errors_of(kind, [(schema, raw) for schema, _ in SCHEMAS.values()])

    for i, (line, (_, what)) in enumerate(zip(lines, SCHEMAS.values(), strict=True)):
        assert line.startswith("ArchiveError the schema ")
        assert what in line
        assert f"in the schemas of persistent://public/default/t{i}" in line


def test_fields_that_an_older_writer_did_not_have_are_counted(refused_rows):
    older, newer = ({**record(a="int"), "name": "W"}, wide(a="int"))
    schemas = [Schema(0, "AVRO", record(x=array(older))), Schema(1, "AVRO", record(x=array(newer)))]
    few, many = (number(count) + b"\2" * count + b"\0" for count in (1, 100_000))

    assert refused_rows(schemas, [few, many]) == {1: f"not Avro of version 0: {MANY}"}


ITEMS = {"a list": array(wide()), "a map": {"type": "map", "values": wide()}}


@pytest.mark.parametrize("kind", ITEMS)
def test_objects_of_json_that_leave_everything_out_are_counted(refused_rows, kind):
    def value(count):
        parts = [{}] * count if kind == "a list" else {str(i): {} for i in range(count)}
        return json.dumps({"x": parts}).encode()

    sparse = json.dumps({"x": [{f"f{i}": i for i in range(12)}] * 20}).encode()
    rows = [value(1), value(100_000), sparse if kind == "a list" else value(2)]

    refused = refused_rows([Schema(0, "JSON", record(x=ITEMS[kind]))], rows)

    assert list(refused) == [1]
    assert refused[1].startswith(f"{MANY}: '{{")


def test_the_parts_of_a_key_value_are_held_to_the_same(pulsar, tmp_path):
    parts = {"key": record(k="int"), "value": record(x=array(wide()))}
    kinds = {"key.schema.type": "JSON", "value.schema.type": "JSON"}
    value = json.dumps({"x": [{}] * 50_000}).encode()
    raw = b"\0\0\0\2{}" + len(value).to_bytes(4, "big") + value
    pulsar.ledger(tmp_path, [pulsar.entry(raw)])
    schema = {"version": 0, "type": "KEY_VALUE", "schema": parts, "properties": kinds}
    topic = archive.open(
        str(tmp_path), schemas={"persistent://public/default/t": [schema]}, misfits="null"
    )["t"]

    assert topic.read().to_pylist() == [{"__key.k": None, "x": None}]
    (error,) = topic.damage.errors
    assert MANY in error.message
    assert error.where == "persistent://public/default/t, message 1:0:-1:-1"


@pytest.fixture
def refused_rows():
    """Return what says which rows, each by version 0, are misfits, and why up to the place."""

    def refused(schemas, raws):
        values, said = open_values(schemas, None), {}
        for row, raw in enumerate(raws):
            arrays = values.decode(encoded(raw), lambda _, what, row=row: said.update({row: what}))
            assert [len(array_) for array_ in arrays] == [1]
        return {row: what.partition(" (at byte")[0] for row, what in said.items()}

    return refused


@pytest.mark.parametrize(
    "raw",
    [
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' + b"9" * 100_000 + b"}",
        b'{"x":1e99999999999999999999}',
        b'{"x":1e-999999999}',
        b'{"x":1e999999999}',
    ],
)
def test_json_that_claims_too_much_is_a_misfit(raw):
    values = open_values([Schema(0, "JSON", record(x=decimal(9999), y=array("int")))], None)
    said = []

    x, _ = values.decode(encoded(raw), lambda row, what: said.append(row))

    assert (said, x.to_pylist()) == ([0], [None])


def test_decimals_of_more_digits_than_arrow_has_are_the_same_bytes_in_json_and_avro():
    schema = record(x=decimal(50))
    (json_bytes,) = open_values([Schema(0, "JSON", schema)], None).decode(
        encoded(b'{"x":-12345678901234567890123456789012345678901}'), refuse
    )
    raw = json_bytes.to_pylist()[0]

    (avro_bytes,) = open_values([Schema(0, "AVRO", schema)], None).decode(
        encoded(number(len(raw)) + raw), refuse
    )

    assert int.from_bytes(raw, "big", signed=True) == -12345678901234567890123456789012345678901
    assert avro_bytes == json_bytes


def test_a_wide_fixed_takes_no_memory_where_it_is_null():
    values = open_values([Schema(0, "AVRO", record(x=["null", fixed(1 << 30)]))], None)

    (x,) = values.decode(encoded(b"\0"), refuse)

    assert (x.type, x.to_pylist()) == (pa.binary(), [None])


def test_a_record_may_refer_to_itself_in_many_fields():
    fields = [{"name": f"f{i}", "type": ["null", "R"]} for i in range(40)]
    schema = {"type": "record", "name": "R", "fields": fields}

    values = open_values([Schema(0, "AVRO", schema)], ["f0"])

    (f0,) = values.decode(encoded(b"\2" + b"\0" * 79), refuse)
    assert json.loads(f0.to_pylist()[0])["R"]["f39"] is None


def encoded(raw):
    data = np.frombuffer(raw + b"!", np.uint8).copy()
    return EncodedValues(data, *(np.array([x], np.int64) for x in (0, len(raw), 0)))


def refuse(row, what):
    raise AssertionError(what)


NAMES = st.sampled_from(["A", "B", "C"])
LEAVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
LEAVES |= st.integers(0, 3000).map(lambda size: {**fixed(size), "name": f"F{size}"})
LEAVES |= st.just(ENUM) | st.integers(-1, 60).map(decimal) | NAMES
TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(array),
        inner.map(lambda items: {"type": "map", "values": items}),
        st.lists(inner, max_size=3),
        st.builds(lambda name, kinds: fields_of(name, kinds), NAMES, st.lists(inner, max_size=3)),
    ),
    max_leaves=8,
)


def fields_of(name, kinds):
    fields = [{"name": f"f{i}", "type": kind} for i, kind in enumerate(kinds)]
    return {"type": "record", "name": name, "fields": fields}


BYTES = st.binary(max_size=40) | st.lists(st.integers(-300, 300), max_size=20).map(
    lambda numbers: b"".join(map(number, numbers))
)


@settings(max_examples=TRIES)
@given(
    kinds=st.lists(TYPES, max_size=4),
    older=st.lists(TYPES, max_size=4) | st.none(),
    raw=st.lists(BYTES, min_size=1, max_size=4),
    kind=st.sampled_from(["AVRO", "JSON"]),
    version=st.integers(0, 1),
)
@pytest.mark.slow
def test_any_bytes_of_any_schema_are_rows_or_an_error_of_the_archive(
    kinds, older, raw, kind, version
):
    schemas = [Schema(1, kind, fields_of("R", kinds))]
    if older is not None:
        schemas.insert(0, Schema(0, kind, fields_of("R", older)))
    said = []
    try:
        values = open_values(schemas, None)
    except ArchiveError:
        return
    for one in raw:
        rows = encoded(one)
        rows.versions[:] = version
        arrays = values.decode(rows, lambda row, what: said.append(what))
        for array_, field in zip(arrays, values.fields, strict=True):
            assert array_.type == field.type
            array_.validate(full=True)
