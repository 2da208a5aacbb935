"""A door for value types of the caller's own: here CBOR (RFC 8949), in some thirty lines."""

import struct

import pyarrow as pa
import pytest

from workbench import archive
from workbench.errors import ArchiveError

TOPIC = "persistent://public/default/t"


def read_cbor(raw, place=0):
    """Return (value, position behind it) of whole numbers, doubles, text and maps."""
    kind, size = raw[place] >> 5, raw[place] & 31
    place += 1
    if kind == 7 and size == 27:
        return struct.unpack_from(">d", raw, place)[0], place + 8
    if size in (24, 25, 26, 27):
        width = 1 << size - 24
        size, place = int.from_bytes(raw[place : place + width], "big"), place + width
    if kind < 2:
        return (size if kind == 0 else -1 - size), place
    if kind == 3:
        return raw[place : place + size].decode(), place + size
    result = {}
    for _ in range(size):
        key, place = read_cbor(raw, place)
        result[key], place = read_cbor(raw, place)
    return result, place


class Cbor:
    fields = (pa.field("pump", pa.string()), pa.field("bar", pa.float64()))

    def __init__(self, schemas):
        self.schemas = schemas

    def decode(self, payloads, misfit):
        rows = [self._row(i, raw, misfit) for i, raw in enumerate(payloads)]
        return [pa.array([row.get(one.name) for row in rows], one.type) for one in self.fields]

    def _row(self, i, raw, misfit):
        try:
            return {} if raw is None else read_cbor(raw)[0]
        except IndexError:
            misfit(i, "no CBOR")
            return {}


PAYLOADS = [
    bytes.fromhex("a2") + b"\x64pump\x61a" + b"\x63bar\xfb" + struct.pack(">d", 4.25),
    bytes.fromhex("a2") + b"\x63bar\x19\x01\x2c" + b"\x64pump\x62bb",
]


@pytest.fixture
def bucket(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(raw) for raw in PAYLOADS])
    return str(tmp_path)


ROWS = [{"pump": "a", "bar": 4.25}, {"pump": "bb", "bar": 300.0}]


def test_a_topic_of_another_type_is_read_by_a_decoder_given_for_it(bucket):
    opened = archive.open(bucket, decoders={TOPIC: Cbor})

    assert opened["t"].read().to_pylist() == ROWS
    assert opened["t"].fields() == ["pump", "bar"]
    assert opened["t"].read(columns=["bar", "entry_id"]).to_pydict() == {
        "bar": [4.25, 300.0],
        "entry_id": [0, 1],
    }
    assert archive.table(opened, "select max(bar) as bar from t").to_pydict() == {"bar": [300.0]}


def test_a_schema_type_of_pulsar_is_read_by_a_decoder_given_for_it(bucket):
    schemas = {TOPIC: [{"version": 0, "type": "PROTOBUF_NATIVE", "schema": {"x": 1}}]}
    opened = archive.open(bucket, schemas=schemas, decoders={"PROTOBUF_NATIVE": Cbor})

    assert opened["t"].read().to_pylist() == ROWS
    assert opened["t"].open_values(None).decoder.schemas[0].definition == {"x": 1}


def test_a_payload_that_is_none_of_the_type_is_a_misfit(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(raw) for raw in (PAYLOADS[0], PAYLOADS[0][:3] + b"z")])
    opened = archive.open(str(tmp_path), decoders={TOPIC: Cbor})

    with pytest.raises(ArchiveError) as caught:
        opened["t"].read()
    assert caught.value.message == "the value does not fit the schema: no CBOR"
    assert caught.value.where == f"{TOPIC}, message 1:1:-1:-1"

    topic = archive.open(str(tmp_path), decoders={TOPIC: Cbor}, misfits="null")["t"]
    assert topic.read()["bar"].to_pylist() == [4.25, None]
    assert [error.message for error in topic.damage.errors] == [caught.value.message]


class Short(Cbor):
    def decode(self, payloads, misfit):
        return super().decode(payloads[:1], misfit)


class Broken(Cbor):
    def decode(self, payloads, misfit):
        raise KeyError("v")


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (Short, "gives 1 of string, 1 of double, expected 2 of string, 2 of double"),
        (Broken, "fails: KeyError: 'v'"),
    ],
)
def test_what_a_decoder_gives_is_checked(bucket, decoder, message):
    with pytest.raises(ArchiveError) as caught:
        archive.open(bucket, decoders={TOPIC: decoder})["t"].read()
    assert str(caught.value) == f"the decoder for {TOPIC} {message}"


def test_a_decoder_for_nothing_is_refused(bucket):
    with pytest.raises(ArchiveError) as caught:
        archive.open(bucket, decoders={"PROTOBUF_NATVE": Cbor})
    assert str(caught.value) == (
        "a decoder is given for 'PROTOBUF_NATVE', no schema type and no topic here\n"
        "  did you mean 'PROTOBUF_NATIVE' or 'PROTOBUF'?"
    )
