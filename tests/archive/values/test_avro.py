"""Avro schemas mean what the specification says, whichever path decodes their records."""

import datetime as dt
import io
import json
from decimal import Decimal

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from workbench.archive.values.avro.arrow_types import record_fields
from workbench.archive.values.avro.records import AvroValues
from workbench.archive.values.decoding import open_values
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.json_values import JsonValues
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError


def record(*fields, **more):
    return {"type": "record", "name": "R", **more, "fields": [field(*one) for one in fields]}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def named(kind, name, **more):
    return {"type": kind, "name": name, **more}


def rows_of(values, versions=0):
    sizes = np.array([-1 if value is None else len(value) for value in values], np.int64)
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(b"".join(value or b"" for value in values) + b"!", np.uint8).copy()
    versions = np.broadcast_to(np.array(versions, np.int64), sizes.shape)
    return EncodedValues(data, ends - np.maximum(sizes, 0), sizes, versions)


def packed(definition, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, definition, value)
    return out.getvalue()


def read(values, rows):
    """Return (the rows as dicts, what was said of misfits)."""
    said = []
    arrays = values.decode(rows, lambda row, what: said.append((row, what)))
    table = pa.table(arrays, names=[field.name for field in values.fields])
    table.validate(full=True)
    return table.to_pylist(), said


NESTED = field("xs", {"type": "array", "items": "int"})  # beside it, a record takes the slow path


def evolved(written, wanted, value):
    """Return what the field `v` is, by compiled code and by fastavro, and what is said of it."""
    answers = []
    for more in ([], [NESTED]):
        old, new = ({**record(), "fields": [first, *more]} for first in (written, wanted))
        values = AvroValues([Schema(0, "AVRO", old), Schema(1, "AVRO", new)], None)
        raw = packed(old, {written["name"]: value, "xs": [1]})
        rows, said = read(values, rows_of([raw]))
        answers.append((rows[0][wanted["name"]], [what for _, what in said]))
    assert answers[0] == answers[1]
    return answers[0]


UNIT = named("enum", "Unit", symbols=["BAR", "PA"])
NAMES = {
    "inherited": record(
        ("a", named("record", "Inner", namespace="com.plant.R", fields=[field("u", UNIT)])),
        ("b", "com.plant.R.Unit"),
        namespace="com.plant",
    ),
    "named in full": record(("a", UNIT), ("b", "com.plant.Unit"), namespace="com.plant"),
    "dotted": {
        **record(("a", {**UNIT, "name": "com.plant.Unit"}), ("b", "Unit")),
        "name": "com.plant.R",
    },
    "dotted beside a namespace": record(
        ("a", {**UNIT, "name": "x.Unit", "namespace": "y"}), ("b", "x.Unit"), namespace="z"
    ),
    "no namespace": record(("a", {**UNIT, "namespace": ""}), ("b", "Unit"), namespace="com.plant"),
    "Java's inner class": record(
        ("a", {**UNIT, "namespace": "com.plant.R$"}), ("b", "com.plant.R$.Unit")
    ),
    "repeated word for word": record(("a", UNIT), ("b", UNIT)),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_resolved_as_the_specification_says(name):
    fields = record_fields(NAMES[name])

    inner = pa.struct([pa.field("u", pa.string())])
    assert [one.type for one in fields] == [
        inner if name == "inherited" else pa.string(),
        pa.string(),
    ]


def test_two_types_of_one_short_name_are_kept_apart():
    definition = record(
        ("a", named("enum", "x.Q", symbols=["G", "B"])),
        ("c", ["null", named("record", "y.Q", fields=[field("k", "int")]), "x.Q"]),
        ("b", "x.Q"),
    )
    raw = packed(definition, {"a": "G", "c": ("y.Q", {"k": 1}), "b": "B"})

    rows, said = read(AvroValues([Schema(0, "AVRO", definition)], None), rows_of([raw]))

    assert (rows, said) == ([{"a": "G", "c": '{"y.Q": {"k": 1}}', "b": "B"}], [])


def test_symbols_of_any_alphabet_are_read_and_one_that_the_newest_lacks_is_its_default():
    old = named("enum", "Valve", symbols=["zu", "geöffnet", "A-B"])
    new = {**old, "symbols": ["geöffnet", "zu"], "default": "zu"}
    for more, behind in (([], b""), ([NESTED], b"\0")):
        both = [{**record(), "fields": [field("v", kind), *more]} for kind in (old, new)]
        schemas = [Schema(number, "AVRO", each) for number, each in enumerate(both)]
        values = AvroValues(schemas, None)

        raws = [number + behind for number in (b"\2", b"\4", b"\0", b"\0")]
        rows, said = read(values, rows_of(raws, [0, 0, 0, 1]))

        assert [row["v"] for row in rows] == ["geöffnet", "zu", "zu", "geöffnet"]
        assert said == []


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"symbols": ["A", "A"]}, "ValueError an enum has a symbol twice"),
        ({"symbols": ["A"], "default": "B"}, "ValueError an enum has no symbol 'B', which is its"),
    ],
)
def test_symbols_by_which_a_value_is_not_known_are_refused(more, what):
    with pytest.raises(ArchiveError, match=f"^the schema is no Avro schema: {what}"):
        record_fields(record(("v", named("enum", "Q", **more))))


def test_a_type_defined_twice_and_differently_is_refused():
    other = {**UNIT, "symbols": ["PSI"]}

    with pytest.raises(ArchiveError) as caught:
        record_fields(record(("a", UNIT), ("b", other)))
    assert str(caught.value) == "the schema defines type 'Unit' twice, and differently"


@pytest.mark.parametrize("definition", [{"type": "record"}, record(("v", {"type": "array"}))])
def test_what_is_no_avro_schema_is_refused(definition):
    with pytest.raises(ArchiveError, match="the schema is no Avro schema: KeyError"):
        record_fields(definition)


MS, US = {"type": "long", "logicalType": "timestamp-millis"}, 1_000_000
NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
NOON_MS = int(NOON.timestamp() * 1000)


@pytest.mark.parametrize(
    ("written", "wanted", "value", "expected"),
    [
        ("int", "long", -5, -5),
        ("int", "float", 3, 3.0),
        ("int", "double", 3, 3.0),
        ("long", "float", 1 << 40, float(1 << 40)),
        ("long", "double", 1 << 40, float(1 << 40)),
        ("float", "double", 1.5, 1.5),
        ("string", "bytes", "ä", "ä".encode()),
        ("bytes", "string", b"ab", "ab"),
        (MS, "long", NOON_MS, NOON_MS),
        ("long", MS, NOON_MS, NOON),
        ("int", ["null", "double"], 3, 3.0),
        (["null", "int"], ["long", "null"], 3, 3),
        (["null", "int"], ["long", "null"], None, None),
        ("null", ["null", "string"], None, None),
    ],
)
def test_a_field_is_promoted(written, wanted, value, expected):
    assert evolved(field("v", written), field("v", wanted), value) == (expected, [])


def test_bytes_that_are_no_text_are_a_misfit_where_text_is_wanted():
    value, (what,) = evolved(field("v", "bytes"), field("v", "string"), b"\xff")

    assert value is None
    assert what.startswith("not Avro of version 0: UnicodeDecodeError")


def test_a_field_is_found_by_its_alias():
    wanted = field("pressure", "double", aliases=["v"])

    assert evolved(field("v", "double"), wanted, 1.5) == (1.5, [])


@pytest.mark.parametrize(
    ("written", "wanted", "what"),
    [
        (
            MS,
            {**MS, "logicalType": "timestamp-micros"},
            "timestamp-millis and then timestamp-micros",
        ),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 3},
            "decimal of scale 2 and then decimal of scale 3",
        ),
    ],
)
def test_another_unit_in_a_later_version_is_no_promotion(written, wanted, what):
    value = NOON_MS if written is MS else b"\1"

    answer = evolved(field("v", written), field("v", wanted), value)

    assert answer == (
        None, [f"field v was {what}: which of them a value is is not known"],
    )  # fmt: skip


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}
DEFAULTS = [
    ("bytes", "\u0001\u00ff", b"\1\xff"),
    (named("fixed", "F", size=2), "\u0001\u00ff", b"\1\xff"),
    ("string", "ä", "ä"),
    ("double", 7, 7.0),
    (["double", "null"], 1.5, 1.5),
    (["null", "long"], None, None),
    (MS, NOON_MS, NOON),
    (UNIT, "PA", "PA"),
    ({"type": "map", "values": "bytes"}, {"k": "\u00ff"}, [("k", b"\xff")]),
    (["null", {"type": "array", "items": "long"}], None, None),
    ({**DECIMAL, "scale": 2}, "\u007b", Decimal("1.23")),
    (["string", "long"], "5", '{"string": "5"}'),
    (named("record", "In", fields=[field("k", "int", default=3)]), {}, {"k": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "default", "expected"), DEFAULTS)
def test_a_field_that_the_writer_lacks_has_its_default(kind, default, expected):
    old = record(("a", "int"))
    new = {**old, "fields": [*old["fields"], field("v", kind, default=default)]}
    for more in ([], [NESTED]):
        was, now = ({**one, "fields": [*one["fields"], *more]} for one in (old, new))
        values = AvroValues([Schema(0, "AVRO", was), Schema(1, "AVRO", now)], None)
        raw = packed(was, {"a": 1, "xs": [1]})

        rows, said = read(values, rows_of([raw, raw[:-1]]))

        assert rows[0]["v"] == expected
        assert rows[1]["v"] is None or not more
        assert [row for row, _ in said] == [1]


def test_the_branch_of_a_union_is_told_in_avros_json():
    union = [
        "null", "string", "long", "double", "boolean", "bytes",
        named("fixed", "F", size=1), {**UNIT}, {"type": "array", "items": ["null", "int"]},
        named("record", "a.T", fields=[field("k", "int")]), {"type": "map", "values": "int"},
    ]  # fmt: skip
    definition = record(("v", union))
    branches = {
        '{"string": "5"}': "5", '{"long": 5}': 5, '{"double": 5.0}': 5.0, '{"boolean": true}': True,
        '{"bytes": "ÿ"}': b"\xff", '{"F": "a"}': ("F", b"a"), '{"Unit": "PA"}': ("Unit", "PA"),
        '{"array": [{"int": 1}, null]}': [1, None], '{"a.T": {"k": 1}}': ("a.T", {"k": 1}),
        '{"map": {"k": 1}}': {"k": 1}, '{"double": "NaN"}': float("nan"),
    }  # fmt: skip

    raw = [packed(definition, {"v": value}) for value in [*branches.values(), None]]
    rows, said = read(AvroValues([Schema(0, "AVRO", definition)], None), rows_of(raw))

    assert said == []
    assert [row["v"] for row in rows] == [*branches, None]


@pytest.mark.parametrize(("value", "expected"), [(16_777_217, 16_777_217.0), (0.5, 0.5)])
def test_numbers_of_a_union_of_int_and_float_are_doubles(value, expected):
    definition = record(("v", ["int", "float"]))

    rows, said = read(
        AvroValues([Schema(0, "AVRO", definition)], None),
        rows_of([packed(definition, {"v": value})]),
    )

    assert (rows, said) == ([{"v": expected}], [])


def test_a_long_that_no_double_holds_is_a_misfit_in_a_union_with_doubles():
    definition = record(("v", ["long", "double"]))
    raw = [packed(definition, {"v": value}) for value in ((1 << 53) + 1, 1 << 53)]

    rows, said = read(AvroValues([Schema(0, "AVRO", definition)], None), rows_of(raw))

    assert rows == [{"v": None}, {"v": float(1 << 53)}]
    assert said == [(0, "field v has 9007199254740993, which a double cannot hold exactly")]


def test_a_record_that_holds_itself_is_text():
    definition = record(("v", "int"), ("next", ["null", "R"]))
    raw = packed(definition, {"v": 1, "next": {"v": 2, "next": None}})

    rows, said = read(AvroValues([Schema(0, "AVRO", definition)], None), rows_of([raw]))

    assert said == []
    assert rows == [{"v": 1, "next": '{"R": {"v": 2, "next": null}}'}]


def test_a_decimal_of_more_digits_than_its_type_is_a_misfit():
    definition = record(("v", DECIMAL))
    plain = record(("v", "bytes"))
    raw = [packed(plain, {"v": (value).to_bytes(2, "big", signed=True)}) for value in (-999, 1000)]

    rows, said = read(AvroValues([Schema(0, "AVRO", definition)], None), rows_of(raw))

    assert rows == [{"v": Decimal("-99.9")}, {"v": None}]
    assert said == [(1, "field v has a decimal of 4 digits, expected at most 3")]


@pytest.mark.parametrize(
    "kind",
    [
        {**DECIMAL, "precision": 39},
        {**DECIMAL, "scale": 4},
        {**DECIMAL, "precision": 0},
        {"type": "bytes", "logicalType": "decimal"},
        named("fixed", "F", size=1, logicalType="decimal", precision=3),
    ],
)
def test_a_decimal_that_is_none_or_too_wide_is_bytes(kind):
    (kept,) = record_fields(record(("v", kind)))

    assert kept.type == (pa.binary(1) if kind["type"] == "fixed" else pa.binary())


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        ({"type": "int", "logicalType": "time-millis"}, 86_400_000, "time-millis"),
        ({"type": "long", "logicalType": "time-micros"}, -1, "time-micros"),
    ],
)
def test_a_time_of_no_day_is_a_misfit(kind, value, what):
    assert evolved(field("v", kind), field("v", kind), value) == (
        None, [f"field v has {value}, which is no {what} of a day"],
    )  # fmt: skip


def test_times_of_any_year_are_read():
    kinds = ["timestamp-millis", "local-timestamp-micros", "timestamp-nanos"]
    definition = record(*((kind, {"type": "long", "logicalType": kind}) for kind in kinds))
    plain = record(*((kind, "long") for kind in kinds))
    years = np.array(["2500-01-01", "0001-01-01", "9999-12-31"], "datetime64[ms]").astype(int)
    raw = [packed(plain, {kind: int(ms) for kind in kinds}) for ms in years]

    values = AvroValues([Schema(0, "AVRO", definition)], None)
    arrays = values.decode(rows_of(raw), pytest.fail)

    assert [array.cast(pa.int64()).to_pylist() for array in arrays] == [years.tolist()] * 3


@pytest.mark.slow
def test_messages_of_another_type_of_schema_become_the_newest_columns():
    old, new = record(("a", "int")), record(("a", "int"), ("b", ["null", "string"]))
    new["fields"][1]["default"] = None
    versions = [Schema(0, "JSON", old), Schema(1, "AVRO", new), Schema(2, "STRING")]
    raw = [
        b'{"a": 1}',
        packed(new, {"a": 2, "b": "x"}),
        b"text",
        None,
        packed(new, {"a": 3, "b": None}),
    ]
    rows = rows_of(raw, [0, 1, 2, 0, -1])

    as_avro = read(open_values([versions[2], *versions[:2]], None), rows)
    as_json = read(open_values([versions[1], versions[0]], None), rows_of(raw[:2], [0, 1]))

    columns = [{"a": 1, "b": None}, {"a": 2, "b": "x"}, {"a": None, "b": None},
               {"a": None, "b": None}, {"a": 3, "b": None}]  # fmt: skip
    assert as_avro == (columns, [(2, "its schema version 2 is STRING, the newest is AVRO")])
    assert as_json == ([{"a": 1}, {"a": 2}], [])


def test_a_primitive_of_another_type_and_as_many_bytes_is_a_misfit():
    values = open_values([Schema(0, "INT64"), Schema(1, "DOUBLE")], None)

    rows, said = read(values, rows_of([bytes(8), bytes(8)], [0, 1]))

    assert rows == [{"value": None}, {"value": 0.0}]
    assert said == [(0, "its schema version 0 is INT64, the newest is DOUBLE")]


JAVA = record(
    ("instant", ["null", MS]),
    ("date", ["null", {"type": "int", "logicalType": "date"}]),
    ("time", ["null", {"type": "long", "logicalType": "time-micros"}]),
    ("local", ["null", {"type": "long", "logicalType": "local-timestamp-millis"}]),
    ("decimal", ["null", {**DECIMAL, "precision": 30, "scale": 4}]),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"instant": 1767614400.005000000}', NOON.replace(microsecond=5000)),
        (f'{{"instant": {NOON_MS}}}', NOON),
        ('{"date": [2024, 2, 29]}', dt.date(2024, 2, 29)),
        ('{"time": [1, 2, 3, 4000]}', dt.time(1, 2, 3, 4)),
        ('{"local": [2024, 1, 1, 12, 30]}', dt.datetime(2024, 1, 1, 12, 30)),
        ('{"decimal": 12345678901234567890.1234}', Decimal("12345678901234567890.1234")),
        ('{"decimal": -1e3}', Decimal(-1000)),
        ('{"decimal": 0}', Decimal(0)),
    ],
)
def test_json_of_javas_own_types_is_read(text, expected):
    rows, said = read(JsonValues([Schema(0, "JSON", JAVA)], None), rows_of([text.encode()]))

    assert said == []
    assert [value for value in rows[0].values() if value is not None] == [expected]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            '{"instant": 1700000000.5}',
            "field instant is 1700000000.5, expected a whole number of 64",
        ),
        ('{"date": [2024, 2, 30]}', "day is out of range for month"),
        ('{"time": [25, 0]}', "hour must be in 0..23"),
        ('{"time": 86400000000}', "field time is 86400000000, expected a whole number of 64 bits"),
        ('{"decimal": 0.00001}', "field decimal is 0.00001, expected 4 digits after the point"),
        ('{"decimal": 1e999999999}', "field decimal is 1E+999999999, expected at most 30 digits"),
        ('{"decimal": "1"}', "field decimal is '1', expected a number"),
    ],
)
def test_json_that_is_no_value_of_javas_types_is_a_misfit(text, what):
    rows, said = read(JsonValues([Schema(0, "JSON", JAVA)], None), rows_of([text.encode()]))

    assert set(rows[0].values()) == {None}
    assert what in said[0][1]


def test_json_of_a_union_keeps_text_and_number_apart():
    definition = record(("v", ["null", "string", "long"]))
    raw = [json.dumps({"v": value}).encode() for value in ("5", 5, None)]

    rows, said = read(JsonValues([Schema(0, "JSON", definition)], None), rows_of(raw))

    assert (rows, said) == ([{"v": '"5"'}, {"v": "5"}, {"v": None}], [])


def test_json_keeps_fields_that_only_an_older_version_has():
    old, new = record(("a", "int"), ("old", "string")), record(("b", "int"), ("a", "int"))
    values = JsonValues([Schema(0, "JSON", old), Schema(1, "JSON", new)], None)

    rows, _ = read(values, rows_of([b'{"a": 1, "old": "x"}', b'{"a": 2, "b": 3}'], [0, 1]))

    assert rows == [{"b": None, "a": 1, "old": "x"}, {"b": 3, "a": 2, "old": None}]


def test_half_a_surrogate_pair_in_nested_json_becomes_a_replacement_character():
    definition = record(("v", {"type": "map", "values": "string"}))

    rows, said = read(
        JsonValues([Schema(0, "JSON", definition)], None),
        rows_of([b'{"v": {"\\ud800": "\\udc00"}}']),
    )

    assert (rows, said) == ([{"v": [("\ufffd", "\ufffd")]}], [])
