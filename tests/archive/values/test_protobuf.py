"""Protocol Buffers are decoded by the descriptors that a topic's schema brings."""

import base64
import datetime as dt
import json

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from workbench import archive
from workbench.errors import ArchiveError, ArchiveWarning

TOPIC = "persistent://public/default/t"
ENUM = descriptor_pb2.EnumDescriptorProto(
    name="State", value=[{"name": "OFF", "number": 0}, {"name": "ON", "number": 7}]
)
IMPORTED = [timestamp_pb2, duration_pb2, struct_pb2, wrappers_pb2]


def field(name, number, kind, *, many=False, of="", oneof=None, optional=False):
    label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
    made = Field(name=name, number=number, type=kind, label=label, type_name=of or None)
    if oneof is not None:
        made.oneof_index = oneof
    made.proto3_optional = optional
    return made


FIELDS = [
    field("pump", 1, Field.TYPE_STRING),
    field("bar", 2, Field.TYPE_DOUBLE),
    field("count", 3, Field.TYPE_SINT64),
    field("big", 4, Field.TYPE_FIXED64),
    field("on", 5, Field.TYPE_BOOL),
    field("raw", 6, Field.TYPE_BYTES),
    field("state", 7, Field.TYPE_ENUM, of=".plant.Reading.State"),
    field("maybe", 8, Field.TYPE_INT32, optional=True, oneof=1),
    field("xs", 9, Field.TYPE_FLOAT, many=True),
    field("states", 10, Field.TYPE_ENUM, many=True, of=".plant.Reading.State"),
    field("site", 11, Field.TYPE_MESSAGE, of=".plant.Reading.Site"),
    field("sites", 12, Field.TYPE_MESSAGE, many=True, of=".plant.Reading.Site"),
    field("tags", 13, Field.TYPE_MESSAGE, many=True, of=".plant.Reading.TagsEntry"),
    field("left", 14, Field.TYPE_STRING, oneof=0),
    field("right", 15, Field.TYPE_INT64, oneof=0),
    field("at", 16, Field.TYPE_MESSAGE, of=".google.protobuf.Timestamp"),
    field("took", 17, Field.TYPE_MESSAGE, of=".google.protobuf.Duration"),
    field("wrapped", 18, Field.TYPE_MESSAGE, of=".google.protobuf.Int64Value"),
    field("any", 19, Field.TYPE_MESSAGE, of=".google.protobuf.Struct"),
    field("next", 20, Field.TYPE_MESSAGE, of=".plant.Reading"),
]


def reading_file():
    message = descriptor_pb2.DescriptorProto(name="Reading", field=FIELDS, enum_type=[ENUM])
    message.oneof_decl.add(name="side")
    message.oneof_decl.add(name="_maybe")
    message.nested_type.add(name="Site", field=[field("name", 1, Field.TYPE_STRING)])
    entry = message.nested_type.add(name="TagsEntry")
    entry.field.extend([field("key", 1, Field.TYPE_STRING), field("value", 2, Field.TYPE_INT32)])
    entry.options.map_entry = True
    imported = [module.DESCRIPTOR.name for module in IMPORTED]
    return descriptor_pb2.FileDescriptorProto(
        name="reading.proto", package="plant", syntax="proto3",
        message_type=[message], dependency=imported,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reading():
    """Return the class of a message, and its schema as the broker keeps it."""
    files = [reading_file()]
    for module in IMPORTED:
        copy = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(copy)
        files.append(copy)
    pool = descriptor_pool.DescriptorPool()
    for file in [*files[1:], files[0]]:
        pool.AddSerializedFile(file.SerializeToString())
    descriptors = descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()
    schema = {
        "fileDescriptorSet": base64.b64encode(descriptors).decode(),
        "rootMessageTypeName": "plant.Reading",
        "rootFileDescriptorName": "reading.proto",
    }
    root = pool.FindMessageTypeByName("plant.Reading")
    held = [message_factory.GetMessageClass(one) for one in (*with_parts(root), root)]
    HELD.extend(held)  # upb 4.23 frees a class with its last reference, and then crashes
    return held[-1], schema


HELD = []


def with_parts(message):
    parts = [part.message_type for part in message.fields if part.message_type]
    inner = [part for part in parts if part.full_name != message.full_name]
    deeper = [x for part in inner if "Value" not in part.name for x in with_parts(part)]
    return inner + [x for x in deeper if not x.full_name.startswith("google")]


def opened(pulsar, folder, payloads, schema, **options):
    pulsar.ledger(folder, [pulsar.entry(raw, (16, bytes(8))) for raw in payloads])
    kept = {TOPIC: [{"version": 0, "type": "PROTOBUF_NATIVE", "schema": json.dumps(schema)}]}
    return archive.open(str(folder), schemas=kept, **options)["t"]


def test_every_kind_of_field_is_a_column(pulsar, tmp_path, reading):
    make, schema = reading
    full = make(
        pump="ä", bar=4.25, count=-3, big=(1 << 64) - 1, on=True, raw=b"\0\xff", state=7,
        maybe=0, xs=[0.5, 1.5], states=[7, 0, 9], site={"name": "a"}, sites=[{"name": "b"}, {}],
        tags={"b": 2, "a": 1}, right=5, next={"pump": "n"},
    )  # fmt: skip
    full.at.FromDatetime(dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC))
    full.took.FromTimedelta(dt.timedelta(seconds=1.5))
    full.wrapped.value = 0
    full.any.update({"k": [1, None, "x"]})
    topic = opened(pulsar, tmp_path, [full.SerializeToString(), b""], schema)

    first, empty = topic.read().to_pylist()

    assert first == {
        "pump": "ä", "bar": 4.25, "count": -3, "big": (1 << 64) - 1, "on": True,
        "raw": b"\0\xff", "state": "ON", "maybe": 0, "xs": [0.5, 1.5],
        "states": ["ON", "OFF", "9"], "site": {"name": "a"},
        "sites": [{"name": "b"}, {"name": ""}], "tags": [("a", 1), ("b", 2)],
        "left": None, "right": 5, "at": dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC),
        "took": dt.timedelta(seconds=1.5), "wrapped": 0, "any": '{"k": [1.0, null, "x"]}',
        "next": '{"pump": "n"}',
    }  # fmt: skip
    assert empty == {
        "pump": "", "bar": 0.0, "count": 0, "big": 0, "on": False, "raw": b"", "state": "OFF",
        "maybe": None, "xs": [], "states": [], "site": None, "sites": [], "tags": [],
        "left": None, "right": None, "at": None, "took": None, "wrapped": None, "any": None,
        "next": None,
    }  # fmt: skip
    assert topic.read(columns=["bar"]).to_pydict() == {"bar": [4.25, 0.0]}
    assert archive.table(archive.open(str(tmp_path), schemas={TOPIC: [
        {"version": 0, "type": "PROTOBUF_NATIVE", "schema": schema}
    ]}), "select max(bar) as bar from t")["bar"].to_pylist() == [4.25]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"\x0a\x05ab", "not plant.Reading: "),
        (b"\x0a\x01\xff", "not plant.Reading: "),  # proto3 has UTF-8 alone
        (bytes.fromhex("82010a08ffffffffffffffff7f"), "which nanoseconds of 64 bits cannot count"),
    ],
)
def test_a_value_that_is_no_such_message_is_a_misfit(pulsar, tmp_path, reading, raw, what):
    make, schema = reading
    good = make(pump="a").SerializeToString()
    topic = opened(pulsar, tmp_path, [good, raw], schema, misfits="null")

    assert topic.read()["pump"].to_pylist() == ["a", None]
    (error,) = topic.damage.errors
    assert what in error.message
    assert error.where == f"{TOPIC}, message 1:1:-1:-1"


def test_messages_of_the_older_type_are_read_by_the_numbers_kept_beside_their_schema(
    pulsar, tmp_path, reading
):
    make, _ = reading
    raw = make(pump="a", bar=1.5, state=7, site={"name": "x"}, xs=[1.5]).SerializeToString()
    fields = [("pump", 1, "STRING"), ("bar", 2, "DOUBLE"), ("state", 7, "ENUM"),
             ("site", 11, "MESSAGE"), ("xs", 9, "FLOAT")]  # fmt: skip
    labels = {"xs": "LABEL_REPEATED"}
    info = [
        {"number": n, "name": x, "type": kind, "label": labels.get(x, "LABEL_OPTIONAL")}
        for x, n, kind in fields
    ]
    pulsar.ledger(tmp_path, [pulsar.entry(raw)])
    definition = {"type": "record", "name": "Reading", "namespace": "plant", "fields": []}
    schemas = {TOPIC: [{
        "version": 0, "type": "PROTOBUF", "schema": definition,
        "properties": {"__PARSING_INFO__": json.dumps(info)},
    }]}  # fmt: skip

    with pytest.warns(ArchiveWarning, match="does not say which fields have presence"):
        rows = archive.open(str(tmp_path), schemas=schemas)["t"].read().to_pylist()

    assert rows == [{"pump": "a", "bar": 1.5, "state": 7, "site": b"\x0a\x01x", "xs": [1.5]}]


def test_both_parts_of_a_key_value_may_be_of_the_older_type(pulsar, tmp_path):
    info = [{"number": 1, "name": "x", "type": "INT32", "label": "LABEL_OPTIONAL"}]
    inner = json.dumps({"__PARSING_INFO__": json.dumps(info)})
    record = {"type": "record", "name": "R", "fields": []}
    pulsar.ledger(tmp_path, [pulsar.entry(b"\0\0\0\2\x08\5" + b"\0\0\0\2\x08\7")])
    properties = {f"{part}.schema.type": "PROTOBUF" for part in ("key", "value")}
    properties |= {f"{part}.schema.properties": inner for part in ("key", "value")}
    schema = {"version": 0, "type": "KEY_VALUE", "schema": {"key": record, "value": record}}
    topic = archive.open(str(tmp_path), schemas={TOPIC: [{**schema, "properties": properties}]})[
        "t"
    ]

    with pytest.warns(ArchiveWarning, match="does not say which fields have presence"):
        assert topic.read().to_pylist() == [{"__key.x": 5, "x": 7}]


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({}, "KeyError: 'fileDescriptorSet'"),
        ({"fileDescriptorSet": "AAAA", "rootMessageTypeName": "x"}, "DecodeError: "),
        ({"fileDescriptorSet": "", "rootMessageTypeName": "x"}, "KeyError: "),
    ],
)
def test_a_schema_without_its_descriptors_is_refused(pulsar, tmp_path, schema, what):
    with pytest.raises(ArchiveError, match=f"the schema's descriptors cannot be used: {what}"):
        opened(pulsar, tmp_path, [b""], schema).read()
