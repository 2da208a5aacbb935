"""Ledgers of the `filesystem` offloader, as Hadoop writes MapFiles.

What a real offloader wrote is read in test_cases.py, and damaged here. The writer below makes what
that one does not write: no compression, chunks over two blocks, other codecs, single faults.
"""

import random
import struct
import zlib
from pathlib import Path

import pytest

from workbench import archive
from workbench.errors import ArchiveError, WorkbenchError

UUID = "00000000-0000-4000-8000-000000000000"
SYNC = bytes(range(16))


def vint(value):
    if value <= 127:
        return bytes([value])
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([(256 - 112 - len(raw))]) + raw


def text(name):
    raw = f"org.apache.hadoop.io.{name}".encode()
    return vint(len(raw)) + raw


def header(flags=b"\1\1", codec="compress.DefaultCodec"):
    names = text("LongWritable") + text("BytesWritable")
    return b"SEQ\x06" + names + flags + (text(codec) if codec else b"") + bytes(4) + SYNC


def block(records):
    keys = b"".join(struct.pack(">q", number) for number, _ in records)
    values = [struct.pack(">i", len(raw)) + raw for _, raw in records]
    out = struct.pack(">i", -1) + SYNC + vint(len(records))
    for raw in (
        bytes([8]) * len(records),
        keys,
        b"".join(vint(len(one)) for one in values),
        b"".join(values),
    ):
        packed = zlib.compress(raw)
        out += vint(len(packed)) + packed
    return out


def plain(records):
    out = b""
    for number, raw in records:
        body = struct.pack(">qi", number, len(raw)) + raw
        out += struct.pack(">ii", len(body), 8) + body
    return out + struct.pack(">i", -1) + SYNC


@pytest.fixture
def records(pulsar):
    entries = [pulsar.entry(bytes([i]) * 200) for i in range(5)]
    metadata = pulsar.metadata(4, sum(map(len, entries)), topic="a/b/persistent/t")
    return [(-1, metadata), *enumerate(entries)]


def write(folder, data, number=7):
    path = folder / "a/b/persistent/t" / f"{number}-{UUID}"
    path.mkdir(parents=True)
    (path / "data").write_bytes(data)
    (path / "index").write_bytes(b"SEQ\x06")
    return f"a/b/persistent/t/{number}-{UUID}/data"


def values(folder):
    return archive.open(str(folder)).topic("t").messages()["value"].to_pylist()


REAL = Path(__file__).parents[1] / "cases" / "mapfile-real" / "bucket"


@pytest.mark.parametrize("topic", ["keys", "kv-SEPARATED-avro"])
def test_a_damaged_file_of_a_real_offloader_gives_its_rows_or_an_error(tmp_path, topic):
    (file,) = (REAL / "public/arch/persistent" / topic).glob("*/data")
    expected = archive.open(str(REAL)).topic(topic).messages()
    copy = tmp_path / file.relative_to(REAL)
    copy.parent.mkdir(parents=True)
    chance, refused = random.Random(7), 0
    for _ in range(150):
        data = bytearray(file.read_bytes())
        place = chance.randrange(len(data))
        if chance.random() < 0.3:
            del data[place : place + chance.randrange(1, 40)]
        else:
            data[place] ^= 1 << chance.randrange(8)
        copy.write_bytes(data)
        try:
            opened = archive.open(str(tmp_path))
            tables = [opened.topic(name).messages() for name in opened.topics()["topic"]]
        except WorkbenchError:
            refused += 1
            continue
        assert all(table.equals(expected) for table in tables)
    assert refused > 100


def test_records_without_compression_are_read(records, tmp_path):
    write(tmp_path, header(b"\0\0", "") + plain(records))

    assert values(tmp_path) == [bytes([i]) * 200 for i in range(5)]


def test_chunks_are_joined(pulsar, tmp_path):
    entries = [
        pulsar.entry(raw, (26, b"x"), (27, 2), (28, 4), (29, i))
        for i, raw in enumerate([b"ab", b"cd"])
    ]
    metadata = pulsar.metadata(1, sum(map(len, entries)), topic="a/b/persistent/t")
    write(tmp_path, header() + block([(-1, metadata), (0, entries[0])]) + block([(1, entries[1])]))

    assert values(tmp_path) == [b"abcd"]


def open_and_read(folder):
    archive.open(str(folder)).topics()
    return values(folder)


def wrong(records, name):
    whole = header() + block(records)
    return {
        "magic": (b"SEQ\x05" + whole[4:], "not a SequenceFile of version 6"),
        "class": (
            whole.replace(b"BytesWritable", b"OtherWritable"),
            "a SequenceFile of ['LongWritable', 'OtherWritable'], not of ledger entries",
        ),
        "record": (
            header(b"\1\0") + whole,
            "record compression by DefaultCodec is not read, "
            "only block compression by DefaultCodec",
        ),
        "codec": (
            header(codec="compress.SnappyCodec"),
            "block compression by SnappyCodec is not read, only block compression by DefaultCodec",
        ),
        "first": (
            header() + block(records[1:]),
            "the first record is not the ledger's metadata (key -1)",
        ),
        "cut": (whole[:-9], None),
        "sync": (whole + struct.pack(">i", -1) + bytes(16), "the sync marker is another"),
        "escape": (whole + bytes(20), "a block starts without its sync marker"),
        "gap": (
            header() + block(records[:3]) + block(records[4:]),
            "entry 3 follows, expected 2",
        ),
        "end": (header() + block(records[:4]), "the file ends with entry 2, expected 4"),
        "count": (
            header() + block(records[:1]) + struct.pack(">i", -1) + SYNC + b"\2"
            + 4 * (vint(len(zlib.compress(b""))) + zlib.compress(b"")),
            "a block of 2 records does not hold them",
        ),
        "length": (  # of nine bytes, the last of them the sign of 64 bits
            header() + block(records[:1]) + struct.pack(">i", -1) + SYNC + b"\1"
            + b"".join(
                vint(len(zlib.compress(raw))) + zlib.compress(raw)
                for raw in (b"\x08", bytes(8), b"\x88" + b"\xff" * 8, b"abcd")
            ),
            "a block of 1 records does not hold them",
        ),
        "zlib": (
            header() + block(records[:1]) + struct.pack(">i", -1) + SYNC + b"\1\4abcd",
            "a zlib stream is damaged: Error -3 while decompressing data: incorrect header check",
        ),
        "short zlib": (
            header() + block(records[:1]) + struct.pack(">i", -1) + SYNC + b"\1\5"
            + zlib.compress(b"abcdefgh")[:5],
            "a zlib stream is cut short",
        ),
        "key": (header(b"\0\0", "") + struct.pack(">ii", 20, 9), "a record's key is no entry id"),
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["magic", "class", "record", "codec", "first", "cut", "sync", "escape", "gap", "end", "count",
     "length", "zlib", "short zlib", "key"],
)  # fmt: skip
def test_what_is_not_read_is_named(records, tmp_path, name):
    data, message = wrong(records, name)
    write(tmp_path, data)

    with pytest.raises(ArchiveError) as caught:
        open_and_read(tmp_path)
    if name == "cut":
        assert "bytes are claimed" in caught.value.message
    else:
        assert caught.value.message == message
    assert f"7-{UUID}/data" in str(caught.value.where)
