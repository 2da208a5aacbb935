"""No message of Protocol Buffers and no descriptor takes the process down."""

import base64
import os
import struct

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, struct_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto as Message
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.archive.values.decoding import open_values
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError

TRIES = int(os.environ.get("WORKBENCH_FUZZ", "150"))
MANY = "it claims more values than its bytes can hold"
DEEP = "nested more than 100 levels deep"


def field(name, number, kind=Field.TYPE_INT32, *, many=False, oneof=None):
    label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
    made = Field(name=name, number=number, label=label)
    if isinstance(kind, str):
        made.type, made.type_name = Field.TYPE_MESSAGE, f".p.{kind}"
    else:
        made.type = kind
    if oneof is not None:
        made.oneof_index = oneof
    return made


def file(*messages, name="a.proto", **more):
    more = {"package": "p", "syntax": "proto3", **more}
    return descriptor_pb2.FileDescriptorProto(name=name, message_type=messages, **more)


def stored(*files, root="p.R"):
    """Return a schema as the broker keeps it."""
    content = descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()
    return {
        "fileDescriptorSet": base64.b64encode(content).decode(),
        "rootMessageTypeName": root,
        "rootFileDescriptorName": "a.proto",
    }


def number(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def delimited(tag, content):
    return bytes([tag << 3 | 2]) + number(len(content)) + content


def nested(levels):
    raw = b""
    for _ in range(levels):
        raw = delimited(3, raw)
    return raw


WIDE = Message(name="W", field=[field(f"f{i}", i + 1) for i in range(1500)])
ENTRY = Message(name="MEntry", field=[field("key", 1, Field.TYPE_STRING), field("value", 2, "W")])
ENTRY.options.map_entry = True
ROOT = Message(
    name="R",
    field=[
        field("xs", 1, "W", many=True), field("m", 2, "R.MEntry", many=True), field("next", 3, "R"),
        field("left", 4, "W", oneof=0), field("right", 5, "W", oneof=0),
        field("ints", 6, many=True), field("text", 7, Field.TYPE_STRING),
    ],
    nested_type=[ENTRY],
    oneof_decl=[{"name": "side"}],
)  # fmt: skip
SCHEMA = stored(file(WIDE, ROOT))
VALUES = {
    "empty messages": (delimited(1, b"") * 500_000, MANY),
    "entries of a map": (
        b"".join(delimited(2, delimited(1, number(i))) for i in range(9999)),
        MANY,
    ),
    "two sides in turn": ((delimited(4, b"") + delimited(5, b"")) * 100_000, MANY),
    "itself": (nested(2000), f"it is {DEEP}"),
    "groups": (b"\x63" * 100_000 + b"\x64" * 100_000, f"it is {DEEP}"),
    "a cut size": (delimited(9, b"abc")[:-1], "it ends early, or a size"),
    "an absurd size": (b"\x4a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "it ends early, or a size"),
    "an end without a group": (b"\x0c", "it ends early, or a size or a tag in it is none"),
    "a group that stays open": (b"\x63\x08\x01", "it ends early, or a size or a tag in it is none"),
}
CHAIN = [Message(name=f"M{i}", field=[field("m", 1, f"M{i + 1}")]) for i in range(30_000)]
CHAIN.append(Message(name="M30000"))
PAIRS = [
    Message(name=f"P{i}", field=[field("a", 1, f"P{i + 1}"), field("b", 2, f"P{i + 1}")])
    for i in range(24)
]
NO_ENTRY = Message(name="MEntry", field=ENTRY.field[:1], options=ENTRY.options)
SCHEMAS = {
    "an entry without a value": (
        stored(file(WIDE, Message(name="R", field=ROOT.field[1:2], nested_type=[NO_ENTRY]))),
        "the schema's map MEntry has no key and value as maps have",
    ),
    "an entry alone": (
        stored(file(WIDE, Message(
            name="R", field=[field("m", 2, "R.MEntry")], nested_type=[ENTRY]
        ))),
        "the schema's p.R.m is an entry of a map, alone",
    ),
    "a chain of types": (
        stored(file(*CHAIN, Message(name="R", field=[field("x", 1, "M0")]))),
        f"the schema is {DEEP}",
    ),
    "types by reference": (
        stored(file(*PAIRS, Message(name="P24"), Message(name="R", field=[field("x", 1, "P0")]))),
        "the schema unfolds to more than 10000 types",
    ),
    "fields": (
        stored(file(Message(name="R", field=[field(f"f{i}", i + 1) for i in range(12_000)]))),
        "the schema unfolds to more than 10000 types",
    ),
    "fields of what is not used": (
        stored(file(*[Message(name="R", field=[Field()] * 100_001)])),
        "the schema has more than 100000 messages, fields and symbols",
    ),
    "a name": (
        stored(file(Message(name="R", field=[field("f" * 10**6, 1)]))),
        "the schema has a name of 1000000 characters, expected at most 1000",
    ),
    "bytes": (
        stored(file(Message(name="R"), source_code_info={"location": [{"path": [1] * (9 << 20)}]})),
        "bytes of descriptors, expected at most 8388608",
    ),
    "files that import each other": (
        stored(
            file(Message(name="R"), dependency=["b.proto"]),
            file(name="b.proto", dependency=["a.proto"]),
        ),
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "a file that is not there": (
        stored(file(Message(name="R"), dependency=["gone.proto"])),
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "a name that is none": (
        stored(file(Message(name="R", field=[field("a b", 1)]))),
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "a number that is none": (
        stored(file(Message(name="R", field=[field("a", 0)]))),
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "two fields of one number": (
        stored(file(Message(name="R", field=[field("a", 1), field("b", 1)]))),
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "a type that is not there": (
        stored(file(Message(name="R", field=[field("a", 1, "Gone")]))),
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "no such message": (
        stored(file(Message(name="Q"))), "the schema's descriptors cannot be used: KeyError: ",
    ),
    "a root that is no name": (
        {**stored(file(Message(name="R"))), "rootMessageTypeName": 5},
        "the schema's descriptors cannot be used: TypeError: ",
    ),
    "no object": ([1], "the schema's descriptors cannot be used: TypeError: "),
}  # fmt: skip


@pytest.mark.slow
def test_a_message_that_claims_too_much_is_an_error_with_its_id(errors_of):
    lines = errors_of("PROTOBUF_NATIVE", [(SCHEMA, raw) for raw, _ in VALUES.values()])

    for i, (line, (_, what)) in enumerate(zip(lines, VALUES.values(), strict=True)):
        assert line.startswith(f"ArchiveError the value does not fit the schema: not p.R: {what}")
        assert f"persistent://public/default/t{i}, message {i}:0:-1:-1" in line


@pytest.mark.slow
def test_a_descriptor_that_claims_too_much_is_an_error_with_its_topic(errors_of):
    lines = errors_of("PROTOBUF_NATIVE", [(schema, b"") for schema, _ in SCHEMAS.values()])

    for i, (line, (_, what)) in enumerate(zip(lines, SCHEMAS.values(), strict=True)):
        assert line.startswith("ArchiveError the schema")
        assert what in line
        assert f"in the schemas of persistent://public/default/t{i}" in line


def test_what_the_bytes_pay_for_is_read_however_sparse():
    sparse = b"".join(delimited(1, b"\xa0\x06" + number(i)) for i in range(40))
    rows = {
        "one empty message": delimited(1, b""),
        "one of each side": delimited(4, b"") + delimited(5, b"\x08\x05"),
        "packed numbers": delimited(6, b"\1" * 100_000),
        "numbers one by one": b"\x30\1" * 50_000,
        "messages within messages": nested(90),
        "a large unknown field": delimited(9, bytes(1 << 20)),
        "unknown groups": b"\x63\x08\x01\x64" * 1000,
    }
    values = open_values([Schema(0, "PROTOBUF_NATIVE", SCHEMA)], None)

    xs, _, _, left, right, ints, _ = values.decode(encoded(*rows.values()), refuse)

    assert list(map(len, xs.to_pylist())) == [1, 0, 0, 0, 0, 0, 0]
    assert xs.to_pylist()[0][0]["f1499"] == 0
    assert [value and value["f0"] for value in right.to_pylist()] == [None, 5] + [None] * 5
    assert left.null_count == 7
    assert list(map(len, ints.to_pylist())) == [0, 0, 100_000, 50_000, 0, 0, 0]
    few = Message(name="W", field=WIDE.field[:100])
    narrow = open_values([Schema(0, "PROTOBUF_NATIVE", stored(file(few, ROOT)))], ["xs"])
    assert len(narrow.decode(encoded(sparse), refuse)[0].to_pylist()[0]) == 40


def test_a_field_of_an_extension_stays_unknown():
    base = Message(name="R", field=[field("a", 1)], extension_range=[{"start": 100, "end": 200}])
    more = field("b", 100, "W", many=True)
    more.extendee = ".p.R"
    schema = stored(file(WIDE, base, extension=[more], syntax="proto2"))
    values = open_values([Schema(0, "PROTOBUF_NATIVE", schema)], None)
    empty = b"\xa2\x06\x00"  # an extension of 1,500 fields, in three bytes

    (a,) = values.decode(encoded(b"\x08\x05" + empty * 100_000), refuse)

    assert a.to_pylist() == [5]


def test_the_first_of_an_enums_names_for_a_number_is_its_name():
    kind = descriptor_pb2.EnumDescriptorProto(
        name="E", value=[{"name": "ZERO", "number": 0}, {"name": "NOUGHT", "number": 0}]
    )
    kind.options.allow_alias = True
    part = Field(name="e", number=1, type=Field.TYPE_ENUM, type_name=".p.E", label=1)
    schema = stored(file(Message(name="R", field=[part]), enum_type=[kind]))

    (e,) = open_values([Schema(0, "PROTOBUF_NATIVE", schema)], None).decode(encoded(b""), refuse)

    assert e.to_pylist() == ["ZERO"]


def test_a_message_without_fields_is_one_row():
    schema = stored(
        file(Message(name="Empty"), Message(name="R", field=[field("xs", 1, "Empty", many=True)]))
    )
    (xs,) = open_values([Schema(0, "PROTOBUF_NATIVE", schema)], None).decode(
        encoded(delimited(1, b"") * 2, b""), refuse
    )
    (alone,) = open_values(
        [Schema(0, "PROTOBUF_NATIVE", {**schema, "rootMessageTypeName": "p.Empty"})], None
    ).decode(encoded(b"", b""), refuse)

    assert xs.to_pylist() == [["{}", "{}"], []]
    assert alone.to_pylist() == ["{}", "{}"]


def test_a_type_of_the_librarys_name_and_other_fields_is_read_by_its_fields():
    """Its own descriptors decide, not what the library has by that name."""
    named = [("Timestamp", "seconds"), ("Int64Value", "values"), ("Struct", "fields")]
    parts = [Message(name=name, field=[field(part, 1, Field.TYPE_STRING)]) for name, part in named]
    root = Message(name="R", field=[field(f"f{i}", i + 1, "R") for i in range(3)])
    for i, (name, _) in enumerate(named):
        root.field[i].type_name = f".google.protobuf.{name}"
    own = file(*parts, name="own.proto", package="google.protobuf")
    schema = stored(file(root, dependency=["own.proto"]), own)
    values = open_values([Schema(0, "PROTOBUF_NATIVE", schema)], ["f0", "f1"])

    first, second = values.decode(encoded(delimited(1, b"\x0a\1a") + delimited(2, b"")), refuse)

    assert (first.to_pylist(), second.to_pylist()) == ([{"seconds": "a"}], [{"values": ""}])


def test_what_protojson_cannot_say_is_a_misfit():
    copy = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(copy)
    part = field("any", 1, "R")
    part.type_name = ".google.protobuf.Value"
    schema = stored(file(Message(name="R", field=[part]), dependency=[copy.name]), copy)
    infinity = b"\x11" + struct.pack("<d", float("inf"))
    said = []

    (text,) = open_values([Schema(0, "PROTOBUF_NATIVE", schema)], None).decode(
        encoded(delimited(1, infinity), delimited(1, b"\x20\1")),
        lambda row, what: said.append(what),
    )

    assert text.to_pylist() == [None, "true"]
    assert [what.partition(":")[0] for what in said] == ["not p.R"]


def encoded(*raws):
    sizes = np.array([len(raw) for raw in raws], np.int64)
    data = np.frombuffer(b"".join(raws) + b"!", np.uint8).copy()
    return EncodedValues(data, np.cumsum(sizes) - sizes, sizes, np.zeros(len(raws), np.int64))


def refuse(row, what):
    raise AssertionError((row, what))


NAMES = st.sampled_from(["A", "B", "C", "R"])
KINDS = st.sampled_from([kind for kind in range(1, 19) if kind not in (10, 11, 14)]) | NAMES


@st.composite
def messages(draw):
    names = ["A", "B", "C", "R"]
    made = []
    for name in names:
        kinds = draw(st.lists(st.tuples(KINDS, st.booleans()), max_size=4))
        parts = [field(f"f{i}", i + 1, kind, many=many) for i, (kind, many) in enumerate(kinds)]
        if draw(st.booleans()):
            parts += [field(f"g{i}", i + 10) for i in range(60)]
        made.append(Message(name=name, field=parts))
    return made


PIECES = st.one_of(
    st.binary(max_size=12),
    st.builds(
        lambda tag, content: delimited(tag, content), st.integers(1, 12), st.binary(max_size=9)
    ),
    st.builds(lambda tag, wire: bytes([tag << 3 | wire]), st.integers(1, 12), st.integers(0, 7)),
)


@settings(max_examples=TRIES)
@given(parts=messages(), raws=st.lists(st.lists(PIECES, max_size=8).map(b"".join), max_size=5))
@pytest.mark.slow
def test_any_bytes_of_any_message_are_rows_or_misfits(parts, raws):
    values = open_values([Schema(0, "PROTOBUF_NATIVE", stored(file(*parts)))], None)
    said = []

    arrays = values.decode(encoded(*raws), lambda row, what: said.append(row))

    for array, kind in zip(arrays, values.fields, strict=True):
        assert array.type == kind.type
        assert len(array) == len(raws)
        array.validate(full=True)


@settings(max_examples=TRIES)
@given(parts=messages(), raw=st.lists(PIECES, max_size=8).map(b"".join))
@pytest.mark.slow
def test_what_is_walked_through_is_read_as_the_library_reads_it(parts, raw):
    """A value is refused by the walk where the library refuses it, and nowhere else."""
    wide = [Message(name=each.name, field=[*each.field, *WIDE.field[200:260]]) for each in parts]
    walked = open_values([Schema(0, "PROTOBUF_NATIVE", stored(file(*wide)))], None)
    plain = walked._class
    said = []

    walked.decode(encoded(raw), lambda row, what: said.append(what))

    refused = [what for what in said if MANY not in what]
    try:
        plain.FromString(raw)
    except Exception:
        assert refused
    else:
        assert not any("it ends early" in what for what in refused)


@settings(max_examples=TRIES)
@given(places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
@pytest.mark.slow
def test_damaged_descriptors_are_an_error_of_the_archive_or_columns(places):
    content = bytearray(
        descriptor_pb2.FileDescriptorSet(
            file=[file(Message(name="W", field=WIDE.field[:9]), ROOT)]
        ).SerializeToString()
    )
    for place, byte in places:
        content[place % len(content)] = byte
    schema = {**SCHEMA, "fileDescriptorSet": base64.b64encode(bytes(content)).decode()}
    try:
        values = open_values([Schema(0, "PROTOBUF_NATIVE", schema)], None)
    except ArchiveError:
        return
    raw = delimited(1, b"\x08\1") + delimited(2, b"") + delimited(7, b"x") + nested(3)
    for array in values.decode(encoded(raw, b""), lambda row, what: None):
        array.validate(full=True)
