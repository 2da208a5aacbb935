"""What is wrong with the bytes is an error with key, offset, found and expected."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from workbench import archive
from workbench.archive.checking import check
from workbench.archive.format.index import parse_metadata
from workbench.errors import ArchiveError, ArchiveWarning, WorkbenchError


def message_of(folder, **options):
    with pytest.raises(ArchiveError) as caught:
        archive.open(str(folder), **options).topic("t").messages()
    return str(caught.value)


def edit(path, at, raw):
    data = bytearray(path.read_bytes())
    data[at : at + len(raw)] = raw
    path.write_bytes(data)


@pytest.fixture
def key(pulsar, tmp_path):
    """A ledger of two blocks: entries 0 and 1, padding, entry 2."""
    entries = [pulsar.entry(b"a" * 50), pulsar.entry(b"b" * 50), pulsar.entry(b"c" * 50)]
    return pulsar.ledger(tmp_path, entries, block_bytes=128 + 2 * (12 + len(entries[0])) + 20)


SIZE = 79  # of each of these entries


@pytest.mark.slow
def test_two_blocks_with_padding_are_read(key, tmp_path):
    table = archive.open(str(tmp_path)).topic("t").messages()

    assert table["value"].to_pylist() == [b"a" * 50, b"b" * 50, b"c" * 50]
    assert (tmp_path / key).stat().st_size == 330 + 219


def test_no_archive(tmp_path):
    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path / "nowhere"))
    assert str(caught.value) == f"no archive at {tmp_path}/nowhere"


def test_an_empty_archive(tmp_path):
    (tmp_path / "notes.txt").write_text("not an object")
    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path))
    assert str(caught.value) == (
        f"no offloaded ledger at {tmp_path}\n  found 1 objects, none named UUID-ledger-ID"
    )


def test_an_unknown_file_system():
    with pytest.raises(ArchiveError) as caught:
        archive.open("nosuch://bucket")
    assert str(caught.value) == "cannot open nosuch://bucket: Protocol not known: nosuch"


def test_an_unknown_topic_is_answered_with_the_nearest(key, tmp_path):
    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topic("persistent://public/default/u")
    assert str(caught.value) == (
        f"no topic 'persistent://public/default/u'\n  in {tmp_path}\n"
        "  did you mean 'persistent://public/default/t'?"
    )


def test_a_short_name_of_two_topics(pulsar, tmp_path):
    for number, space in enumerate(("a/b", "c/d")):
        topic = f"{space}/persistent/t"
        pulsar.ledger(tmp_path, [pulsar.entry(b"")], number=number, topic=topic)
    assert message_of(tmp_path) == (
        "'t' is the name of 2 topics\n  persistent://a/b/t, persistent://c/d/t"
    )


def test_a_truncated_object(key, tmp_path):
    path = tmp_path / key
    path.write_bytes(path.read_bytes()[:400])
    assert message_of(tmp_path) == (
        f"the object has 400 bytes, expected 549\n  in {key} at byte 400\n"
        "  ledger 1 of persistent://public/default/t: truncated, or offloaded only in part"
    )


def test_a_missing_object(key, tmp_path):
    (tmp_path / key).unlink()
    assert message_of(tmp_path) == (
        f"the data object of ledger 1 is missing, expected 549 bytes\n  in {key}"
    )


def test_a_half_uploaded_ledger(key, tmp_path):
    (tmp_path / f"{key}-index").unlink()

    with pytest.warns(ArchiveWarning) as caught:
        assert len(archive.open(str(tmp_path)).topics()) == 0
    assert str(caught[0].message) == (
        "the data object of ledger 1 has no index: its upload is running, or failed "
        f"(in {key}, of any topic: the object's metadata names none)"
    )


def named(path, topic):
    """Give an object the user metadata that the offloader gives it, as s3proxy keeps that."""
    name = f"{'/'.join(topic.split('/')[2:4])}/persistent/{topic.rpartition('/')[2]}"
    try:
        os.setxattr(path, "user.user-metadata.managedledgername", name.encode())
    except OSError as err:
        pytest.skip(f"this file system keeps no extended attributes: {err}")


@pytest.fixture
def beside(pulsar, tmp_path, key):
    """A data object without an index, beside the ledger of `t`."""
    other = pulsar.ledger(tmp_path, [pulsar.entry(b"u")], number=9, topic="a/b/persistent/u")
    (tmp_path / f"{other}-index").unlink()
    return tmp_path / other


def test_an_upload_of_another_topic_does_not_matter(beside, tmp_path):
    named(beside, "persistent://a/b/u")

    assert archive.open(str(tmp_path)).topic("t").messages().num_rows == 3  # a warning fails it


def test_an_upload_that_may_be_of_the_topic_is_told_and_read_on(beside, tmp_path):
    opened = archive.open(str(tmp_path))

    with pytest.warns(ArchiveWarning, match="the data object of ledger 9 has no index"):
        assert opened.topic("t").messages().num_rows == 3


def test_a_damaged_index_refuses_the_reads_of_its_own_topic_alone(pulsar, tmp_path, key):
    other = pulsar.ledger(tmp_path, [pulsar.entry(b"u")], number=9, topic="a/b/persistent/u")
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")], number=10, topic="a/b/persistent/u")
    (tmp_path / f"{other}-index").write_bytes(b"damaged")
    named(tmp_path / f"{other}-index", "persistent://a/b/u")
    opened = archive.open(str(tmp_path))

    assert opened.topic("t").messages().num_rows == 3
    with pytest.raises(ArchiveError, match="an index has at least 32 bytes, found 7"):
        opened.topic("u").messages()


@pytest.mark.parametrize(
    "name",
    [
        "public/default/persistant/t",
        "public/default/persistent/t\x01",
        "public/default/persistent/%FF",
        "pub\x1flic/default/persistent/t",
        "public/default/persistent/a%2",
        "public/default/persistent/",
    ],
)
def test_names_that_no_broker_writes_are_refused(pulsar, tmp_path, name):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], topic=name)

    with pytest.raises(ArchiveError, match="is not tenant/namespace/persistent/topic, as a brok"):
        archive.open(str(tmp_path)).topics()


@pytest.fixture
def between(pulsar, tmp_path):
    """A ledger whose index names `jsoo`, between two of `json`."""
    names = ["json", "jsoo", "json"]
    keys = [
        pulsar.ledger(tmp_path, [pulsar.entry(b"a")], number=i, topic=f"a/b/persistent/{name}")
        for i, name in enumerate(names)
    ]
    return tmp_path / f"{keys[1]}-index"


def test_a_ledger_whose_name_is_a_letter_off_its_neighbours_is_told(between, tmp_path):
    with pytest.warns(ArchiveWarning) as caught:
        assert archive.open(str(tmp_path)).topic("json").messages().num_rows == 2
    assert str(caught[0].message) == (
        "the index of ledger 1 names persistent://a/b/jsoo, the ledgers before and behind are of "
        f"persistent://a/b/json: a damaged name? (in {between.name}, of persistent://a/b/json)"
    )


def test_a_name_that_the_metadata_contradicts_is_damage(between, tmp_path):
    named(between, "persistent://a/b/json")
    opened = archive.open(str(tmp_path))

    assert opened.names() == ["persistent://a/b/json"]
    with pytest.raises(ArchiveError, match="jsoo, the object's metadata persistent://a/b/json"):
        opened.topic("json").messages()


def test_a_name_that_the_metadata_confirms_is_right(between, tmp_path):
    named(between, "persistent://a/b/jsoo")

    assert archive.open(str(tmp_path)).topic("json").messages().num_rows == 2


def test_topics_that_differ_in_a_number_are_ordinary(pulsar, tmp_path):
    for i, name in enumerate(["pump-1", "pump-2", "pump-1"]):
        pulsar.ledger(tmp_path, [pulsar.entry(b"a")], number=i, topic=f"a/b/persistent/{name}")

    assert archive.open(str(tmp_path)).topic("pump-1").messages().num_rows == 2


def test_an_id_of_more_than_63_bits_is_no_ledgers(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], number=1 << 63)

    with pytest.raises(ArchiveError, match=f"the key names ledger {1 << 63}, ids have 63 bits"):
        archive.open(str(tmp_path)).topics()


def test_nor_is_it_a_mapfiles(pulsar, tmp_path):
    folder = tmp_path / "a/b/persistent/t" / f"{1 << 63}-{pulsar.UUID}"
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"SEQ")

    with pytest.raises(ArchiveError, match=f"the key names ledger {1 << 63}, ids have 63 bits"):
        archive.open(str(tmp_path)).topics()


@pytest.mark.parametrize("end", ["partition-4294967296", "partition-03"])
def test_what_a_broker_takes_for_no_partition_is_a_topic(pulsar, tmp_path, end):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], topic=f"a/b/persistent/t-{end}")

    assert archive.open(str(tmp_path)).names() == [f"persistent://a/b/t-{end}"]
    table = archive.open(str(tmp_path)).topic(f"t-{end}").messages()
    assert table["partition"].to_pylist() == [-1]


@pytest.mark.parametrize("created_ms", [-1, 1 << 62])
def test_a_ledger_created_at_no_time_is_refused(pulsar, created_ms):
    name = [(1, b"pulsar/managed-ledger"), (2, b"a/b/persistent/t")]
    raw = pulsar.protobuf((3, 5), (4, 0), (5, 3), (10, created_ms), (11, name))

    with pytest.raises(ArchiveError) as caught:
        parse_metadata(raw, where="key")
    assert str(caught.value) == (f"the ledger was created at {created_ms} ms, no time\n  in key")


@pytest.mark.parametrize(
    ("at", "raw", "message", "where"),
    [
        (0, b"\0", "the block's magic is 0xdbabcb, expected 0xfbdbabcb", 0),
        (11, b"\0", "the block's header length is 0, expected 128", 0),
        (18, b"\0", "the block's block length is 74, expected 330", 0),
        (27, b"\5", "the block's first entry is 5, expected 0", 0),
        (330 + 27, b"\5", "the block's first entry is 5, expected 2", 330),
        (0, b"\x26\xa6\x6d\x32", "the streaming layout (magic 0x26A66D32) is not read: "
         "no Pulsar release writes it", 0),
        (128 + 11, b"\7", "entry 7 follows, expected 0", 128),
        (128 + 2, b"\1", f"entry 0 claims {SIZE + 256} bytes, 190 are left in the block", 128),
        (310, b"\xfe\xdc\0", "padding has byte 0x00, expected 0xDE", 312),
        (128, b"\xff", "padding has byte 0xFF, expected 0xFE", 128),
        (330 + 128 + 12 + 40, b"C", "entry 2 of ledger 1: CRC32C is 9d769aca, expected 95076ece",
         330 + 128 + 12),
        (140, b"\x0f", "entry 0 of ledger 1: the entry is too short for its headers", 140),
    ],
)  # fmt: skip
def test_damage_in_the_data(key, tmp_path, at, raw, message, where):
    edit(tmp_path / key, at, raw)

    assert message_of(tmp_path).splitlines()[:2] == [message, f"  in {key} at byte {where}"]


def test_a_block_that_ends_early(pulsar, tmp_path):
    entries = [pulsar.entry(b"a" * 50), pulsar.entry(b"b" * 50)]
    key = pulsar.ledger(tmp_path, entries)
    edit(tmp_path / key, 128 + 12 + SIZE, (b"\xfe\xdc\xde\xad" * 23)[: 12 + SIZE])

    assert message_of(tmp_path) == (
        f"the block ends with entry 0, expected 1\n  in {key} at byte 0\n"
        "  entries are lost: an entry longer than a block, or a damaged offload"
    )


def test_entries_of_another_total(pulsar, tmp_path):
    entries = [pulsar.entry(b"a")]
    blocks = pulsar.blocks(entries)
    key = f"{pulsar.UUID}-ledger-1"
    (tmp_path / key).write_bytes(blocks[0][0])
    (tmp_path / f"{key}-index").write_bytes(pulsar.index(blocks, pulsar.metadata(0, 99)))

    assert message_of(tmp_path) == f"the entries have 30 bytes, expected 99\n  in {key}"


@pytest.mark.parametrize(
    ("index", "message", "where"),
    [
        (b"short", "an index has at least 32 bytes, found 5", ""),
        (struct.pack(">Iiqqii", 1, 0, 0, 128, 1, 0),
         "the index's magic is 0x1, expected 0xDE47DE47", ""),
        (struct.pack(">Iiqqii", 0x3D1FB0BC, 0, 0, 128, 1, 0),
         "the streaming layout (magic 0x3D1FB0BC) is not read: no Pulsar release writes it", ""),
        (struct.pack(">Iiqqii", 0xDE47DE47, 0, 0, 64, 1, 0),
         "block headers have 64 bytes, expected 128", " at byte 16"),
        (struct.pack(">Iiqqii", 0xDE47DE47, 0, 0, 128, 7, 9),
         "the index claims 7 blocks and 9 bytes of metadata, it has 32 bytes", " at byte 24"),
    ],
)  # fmt: skip
def test_damage_in_the_index(key, tmp_path, index, message, where):
    (tmp_path / f"{key}-index").write_bytes(index)

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topics()
    assert str(caught.value) == f"{message}\n  in {key}-index{where}"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (b"\x0a\xff", "the metadata is not protobuf, or is cut short"),
        (b"\x0f", "the metadata is not protobuf, or is cut short"),
        (b"\xff", "the metadata is not protobuf, or is cut short"),
        (b"\x28\x01", "the ledger's state is 1, expected 3 (closed)"),
        (b"\x28\x03", "the ledger's metadata names no pulsar/managed-ledger"),
    ],
)
def test_damage_in_the_metadata(pulsar, tmp_path, metadata, message):
    key = f"{pulsar.UUID}-ledger-1"
    blocks = pulsar.blocks([pulsar.entry(b"a")])
    (tmp_path / f"{key}-index").write_bytes(pulsar.index(blocks, metadata))

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topics()
    assert str(caught.value) == f"{message}\n  in {key}-index at byte 32"


def test_metadata_of_no_entries(pulsar, tmp_path):
    key = f"{pulsar.UUID}-ledger-1"
    blocks = pulsar.blocks([pulsar.entry(b"a")])
    (tmp_path / f"{key}-index").write_bytes(pulsar.index(blocks, pulsar.metadata(-1, 0)))

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topics()
    assert str(caught.value) == (
        f"the ledger's last entry is -1 and its length 0\n  in {key}-index at byte 32"
    )


def test_a_managed_ledger_of_another_form(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], topic="just/three/parts")

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topics()
    assert str(caught.value).splitlines()[0] == (
        "'just/three/parts' is not tenant/namespace/persistent/topic, as a broker writes it"
    )


def test_a_block_of_another_part(tmp_path, key):
    index = bytearray((tmp_path / f"{key}-index").read_bytes())
    index[-9] = 3
    (tmp_path / f"{key}-index").write_bytes(index)

    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topics()
    assert str(caught.value) == (
        "block 2 is said to be part 3, entries from 2, bytes 330 to 549: that is no block after "
        f"byte 330\n  in {key}-index at byte {len(index) - 40}"
    )


@pytest.mark.parametrize(
    ("fields", "payload", "message"),
    [
        (((8, 9),), b"x", "compression 9 is not known, only NONE, LZ4, ZLIB, ZSTD, SNAPPY"),
        (((8, 1), (9, 4 << 30)), b"xyz", "3 bytes of LZ4 cannot become 4294967296"),
        (((8, 1), (9, 100)), b"xyz", "LZ4 payload of 3 bytes is damaged"),
        (((8, 2), (9, 100)), b"xyz", "ZLIB payload of 3 bytes is damaged"),
        (((8, 3), (9, 100)), b"xyz", "ZSTD payload of 3 bytes is damaged"),
        (((8, 4), (9, 100)), b"xyz", "SNAPPY payload of 3 bytes is damaged"),
        (((8, 2), (9, 100)), b"x\x9cJLJNIMK\xcf\xc8\xccJ\x84\xb3\x00\x00\x00\x00\xff\xff",
         "ZLIB payload has 20 bytes decompressed, expected 100"),
        (((11, 3),), b"\0\0\0\1x", "the batch holds fewer messages than it claims"),
        (((11, 1),), b"\0\0\0\xffxxx", "a message's metadata in the batch is not protobuf, "
         "or passes its bounds"),
        (((11, 1 << 62),), b"", "the batch holds fewer messages than it claims"),
        (((1, b""), (11, -1)), b"", "the entry's metadata is not protobuf, or is cut short"),
    ],
)  # fmt: skip
def test_payloads_that_are_not_what_they_claim(pulsar, tmp_path, fields, payload, message):
    key = pulsar.ledger(tmp_path, [pulsar.entry(payload, *fields)])

    assert message_of(tmp_path) == f"entry 0 of ledger 1: {message}\n  in {key} at byte 140"


def test_a_batch_with_bytes_behind_it(pulsar, tmp_path):
    key = pulsar.ledger(tmp_path, [pulsar.entry(pulsar.single(b"x") + b"rest", (11, 1))])

    assert message_of(tmp_path) == (
        f"entry 0 of ledger 1: the batch holds bytes after its last message\n  in {key} at byte 140"
    )


def test_metadata_without_a_producer(pulsar, tmp_path):
    head = pulsar.protobuf((2, 1), (3, 1))
    key = pulsar.ledger(tmp_path, [struct.pack(">I", len(head)) + head])

    assert message_of(tmp_path) == (
        "entry 0 of ledger 1: the entry's metadata lacks producer, sequence id or publish time\n"
        f"  in {key} at byte 140"
    )


def test_damage_can_be_skipped_and_is_listed(key, tmp_path):
    edit(tmp_path / key, 140 + 50, b"X")
    topic = archive.open(str(tmp_path), skip_damaged=True).topic("t")

    assert topic.messages()["value"].to_pylist() == [b"b" * 50, b"c" * 50]
    (skipped,) = topic.manifest()["skipped"]
    assert skipped.startswith("entry 0 of ledger 1: CRC32C is ")


def test_a_damaged_block_is_skipped_to_the_next(key, tmp_path):
    edit(tmp_path / key, 0, b"X")
    topic = archive.open(str(tmp_path), skip_damaged=True).topic("t")

    assert topic.messages()["value"].to_pylist() == [b"c" * 50]


def test_checksums_can_be_left_out(key, tmp_path):
    edit(tmp_path / key, 140 + 70, b"X")

    table = archive.open(str(tmp_path), verify=False).topic("t").messages()

    assert table["value"].to_pylist()[0].count(b"X") == 1


OTHER = "11111111-1111-4111-8111-111111111111"


def test_of_two_attempts_the_complete_one_is_read(pulsar, tmp_path):
    whole = pulsar.ledger(tmp_path, [pulsar.entry(b"a")], uuid=OTHER)
    half = pulsar.ledger(tmp_path, [pulsar.entry(b"a")])
    (tmp_path / half).write_bytes((tmp_path / half).read_bytes()[:-1])

    opened = archive.open(str(tmp_path))

    assert opened.topic("t").messages().num_rows == 1
    assert opened.topic("t").manifest()["objects"][0]["key"] == whole
    *_, last = check(opened)
    assert last.problems == ()
    assert last.notes[0].startswith("the object has 169 bytes, expected 170\n")


def test_an_unfinished_attempt_beside_a_complete_one_does_no_harm(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], uuid=OTHER)
    half = pulsar.ledger(tmp_path, [pulsar.entry(b"a")])
    (tmp_path / f"{half}-index").unlink()

    assert archive.open(str(tmp_path)).topic("t").messages().num_rows == 1


@pytest.mark.parametrize("which", ["", "-index"])
def test_a_pipe_or_a_device_in_a_folder_is_no_object(pulsar, tmp_path, which):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], number=1)
    pipe = pulsar.ledger(tmp_path, [pulsar.entry(b"b")], number=2)
    device = pulsar.ledger(tmp_path, [pulsar.entry(b"c")], number=3)
    for name in (pipe, device):
        (tmp_path / f"{name}{which}").unlink()
    os.mkfifo(tmp_path / f"{pipe}{which}")  # who reads it waits for ever
    (tmp_path / f"{device}{which}").symlink_to("/dev/zero")  # who reads it has no memory left
    os.mkfifo(tmp_path / "schemas.json")

    topic = archive.open(str(tmp_path), skip_damaged=True).topic("t")

    assert topic.messages()["value"].to_pylist() == [b"a"]
    assert len(topic.damage.errors) == 2


def test_a_link_to_an_object_is_read(pulsar, tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    key = pulsar.ledger(tmp_path, [pulsar.entry(b"a")])
    for name in (key, f"{key}-index"):
        (folder / name).symlink_to(tmp_path / name)

    assert archive.open(str(folder)).topic("t").messages()["value"].to_pylist() == [b"a"]


def test_an_index_without_end_is_not_read(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")], number=1)
    key = pulsar.ledger(tmp_path, [pulsar.entry(b"b")], number=2)
    os.truncate(tmp_path / f"{key}-index", 1 << 40)  # a hole, of no bytes on disk

    assert message_of(tmp_path) == (
        f"the object has 1099511627776 bytes, expected at most 268435456\n  in {key}-index"
    )


def test_check_compares_two_complete_attempts(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a"), pulsar.entry(b"b")], uuid=OTHER)
    pulsar.ledger(tmp_path, [pulsar.entry(b"a"), pulsar.entry(b"B")])

    (report,) = check(archive.open(str(tmp_path)))

    (problem,) = report.problems
    assert problem.splitlines()[0] == "entry 1 of ledger 1 differs between two attempts"
    assert report.notes == (
        f"ledger 1 has two complete attempts: {pulsar.UUID}-ledger-1 is read, not {OTHER}-ledger-1",
    )


def test_check_counts_what_it_could_read(golden, tmp_path):
    case = golden("D8-nulls")
    folder = tmp_path / "bucket"
    shutil.copytree(case.bucket, folder)
    largest = max(Path(folder).iterdir(), key=lambda path: path.stat().st_size)
    edit(largest, 1000, b"\0\1\2\3\4\5\6\7")

    (report,) = check(archive.open(str(folder), skip_damaged=True))

    assert (report.ledgers, len(report.problems)) == (4, 1)
    assert 600 < report.messages < 900


def test_time_bounds_and_columns_are_checked(key, tmp_path):
    topic = archive.open(str(tmp_path)).topic("t")

    for call, message in [
        (lambda: topic.messages("yesterday"),
         "'yesterday' is not a time\n  expected ISO 8601, as 2026-01-05T00:00:00Z"),
        (lambda: topic.messages(by="time"),
         "cannot select by 'time'\n  known: event_time, publish_time"),
        (lambda: topic.read(columns=["event_tme"]),
         "no column 'event_tme'\n  did you mean 'event_time'?"),
    ]:  # fmt: skip
        with pytest.raises(WorkbenchError) as caught:
            call()
        assert str(caught.value) == message


def test_objects_of_the_streaming_layout_are_named(key, tmp_path):
    (tmp_path / f"{OTHER}-index").write_bytes(b"\x3d\x1f\xb0\xbc" + bytes(60))
    (tmp_path / OTHER).write_bytes(b"\x26\xa6\x6d\x32" + bytes(60))
    expected = (
        "the streaming layout (magic 0x3D1FB0BC) is not read: no Pulsar release writes it\n"
        f"  in {OTHER}-index"
    )

    assert message_of(tmp_path) == expected
    skipped = archive.open(str(tmp_path), skip_damaged=True).topic("t")
    assert skipped.messages().num_rows > 0
    assert skipped.manifest()["skipped"] == [expected]

    for path in tmp_path.glob(f"{key}*"):
        path.unlink()
    with pytest.raises(ArchiveError) as caught:
        archive.open(str(tmp_path)).topics()
    assert str(caught.value) == expected


def of_two_clusters(pulsar, folder, *ids):
    """Write ledgers of `t`, and of `u` with the same ids; give the last index of `u`."""
    for topic, uuid in (("t", pulsar.UUID), ("u", OTHER)):
        for number in ids:
            whole = [pulsar.entry(b"x")]
            pulsar.ledger(folder, whole, uuid=uuid, number=number, topic=f"a/b/persistent/{topic}")
    return folder / f"{OTHER}-ledger-{ids[-1]}-index"


def test_a_damaged_index_is_no_leftover_where_clusters_share_a_bucket(pulsar, tmp_path):
    """Each counts its ledgers by itself: rows of one were missing without a word."""
    of_two_clusters(pulsar, tmp_path, 1, 2).write_bytes(b"damaged")

    with pytest.raises(ArchiveError, match="an index has at least 32 bytes, found 7"):
        archive.open(str(tmp_path)).topic("u").messages()


@pytest.mark.parametrize("owner", ["t", "u"])
def test_a_damaged_index_is_a_leftover_of_its_own_topic_alone(pulsar, tmp_path, owner):
    index = of_two_clusters(pulsar, tmp_path, 2)
    pulsar.ledger(tmp_path, [pulsar.entry(b"x")], number=1, topic="a/b/persistent/u")
    index.write_bytes(b"damaged")
    named(index, f"persistent://a/b/{owner}")
    opened = archive.open(str(tmp_path))

    assert opened.topic("t").messages().num_rows == 1
    if owner == "t":
        assert opened.topic("u").messages().num_rows == 1
    else:
        with pytest.raises(ArchiveError, match="an index has at least 32 bytes, found 7"):
            opened.topic("u").messages()
