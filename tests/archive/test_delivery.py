"""Which entries are messages: markers, transactions, chunks, encryption."""

import os

import lz4.block
import pytest

from workbench import archive
from workbench.archive.selection import Selection
from workbench.errors import ArchiveError


def values(folder, **options):
    return archive.open(str(folder), **options).topic("t").messages()["value"].to_pylist()


def test_markers_are_not_rows(pulsar, tmp_path):
    marker = pulsar.entry(b"snapshot", (20, 10))
    pulsar.ledger(tmp_path, [pulsar.entry(b"a"), marker, pulsar.entry(b"b")])

    assert values(tmp_path) == [b"a", b"b"]


def test_an_unknown_marker_is_named(pulsar, tmp_path):
    key = pulsar.ledger(tmp_path, [pulsar.entry(b"", (20, 99))])

    with pytest.raises(ArchiveError) as caught:
        values(tmp_path)

    expected = f"entry 0 of ledger 1: marker 99 is of no known kind\n  in {key} at byte 140"
    assert str(caught.value) == expected


def test_only_messages_of_committed_transactions_are_rows(pulsar, tmp_path):
    def of(number):
        return (22, number), (23, 1)

    first = [
        pulsar.entry(b"committed", *of(5)),
        pulsar.entry(b"plain"),
        pulsar.entry(b"aborted", *of(6)),
        pulsar.entry(b"", (20, 22), *of(6)),
        pulsar.entry(b"undecided", *of(7)),
    ]
    pulsar.ledger(tmp_path, first, number=3)
    pulsar.ledger(tmp_path, [pulsar.entry(b"", (20, 21), *of(5))], number=4)
    topic = archive.open(str(tmp_path)).topic("t")

    assert topic.messages()["value"].to_pylist() == [b"committed", b"plain"]
    assert topic.undecided == ["3:4"]
    assert topic.manifest()["undecided"] == ["3:4"]


def test_a_message_whose_transaction_may_end_in_what_is_damaged_is_not_left_out(pulsar, tmp_path):
    of, early, late = ((22, 5), (23, 1)), 1_700_000_000_000, 1_800_000_000_000
    between = (early + late) // 2
    pulsar.ledger(tmp_path, [pulsar.entry(b"a", *of, publish_ms=early)], number=1)
    end = pulsar.entry(b"", (20, 21), *of, publish_ms=late)
    key = pulsar.ledger(tmp_path, [end, pulsar.entry(b"b", publish_ms=late)], number=2)
    topic = archive.open(str(tmp_path)).topic("t")
    assert topic.messages()["value"].to_pylist() == [b"a", b"b"]  # the times of both are kept
    made = (tmp_path / key).stat().st_mtime_ns
    (tmp_path / key).write_bytes(b"????" + (tmp_path / key).read_bytes()[4:])
    os.utime(tmp_path / key, ns=(made, made))
    topic = archive.open(str(tmp_path)).topic("t")

    with pytest.raises(ArchiveError, match="magic") as caught:
        topic.messages(stop=between)
    (part,) = archive.cut(topic, Selection.of(None, between, "publish_time"), 1)
    with pytest.raises(ArchiveError) as again:
        list(part.select(Selection.of(None, between, "publish_time")))
    assert str(again.value) == str(caught.value)
    skipping = archive.open(str(tmp_path), skip_damaged=True).topic("t")
    assert skipping.messages(stop=between).num_rows == 0
    assert list(map(str, skipping.damage.errors)) == [str(caught.value)]
    assert skipping.undecided == ["1:0"]


def chunk(pulsar, uuid, number, payload, *fields, of=3, total=6):
    return pulsar.entry(payload, (26, uuid), (27, of), (28, total), (29, number), *fields)


def test_chunks_of_several_messages_are_joined_at_the_last(pulsar, tmp_path):
    first = [
        chunk(pulsar, b"x", 0, b"ab"),
        chunk(pulsar, b"y", 0, b"AB"),
        chunk(pulsar, b"x", 1, b"cd"),
        chunk(pulsar, b"x", 1, b"cd"),
        pulsar.entry(b"whole"),
    ]
    second = [
        chunk(pulsar, b"y", 1, b"CD"),
        chunk(pulsar, b"y", 2, b"EF"),
        chunk(pulsar, b"x", 2, b"ef", (12, 1_700_000_000_123)),
        chunk(pulsar, b"z", 0, b"lost"),
    ]
    pulsar.ledger(tmp_path, first, number=1)
    pulsar.ledger(tmp_path, second, number=2)
    topic = archive.open(str(tmp_path)).topic("t")

    table = topic.messages()

    assert table["value"].to_pylist() == [b"whole", b"ABCDEF", b"abcdef"]
    assert table["ledger_id"].to_pylist() == [1, 2, 2]
    assert table["entry_id"].to_pylist() == [4, 1, 2]
    assert topic.unfinished == 1


def test_a_message_that_lost_a_chunk_is_dropped_and_may_start_again(pulsar, tmp_path):
    entries = [
        chunk(pulsar, b"x", 1, b"no beginning"),
        chunk(pulsar, b"x", 0, b"ab"),
        chunk(pulsar, b"x", 2, b"gap"),
        chunk(pulsar, b"x", 0, b"12"),
        chunk(pulsar, b"x", 1, b"34"),
        chunk(pulsar, b"x", 2, b"56"),
    ]
    pulsar.ledger(tmp_path, entries)

    assert values(tmp_path) == [b"123456"]


def test_a_chunked_message_is_compressed_as_a_whole(pulsar, tmp_path):
    raw = b"reading " * 1000
    packed = lz4.block.compress(raw, store_size=False)
    size = len(packed)
    fields = (8, 1), (9, len(raw))
    entries = [
        chunk(pulsar, b"x", 0, packed[:9], *fields, of=2, total=size),
        chunk(pulsar, b"x", 1, packed[9:], *fields, of=2, total=size),
    ]
    pulsar.ledger(tmp_path, entries)

    assert values(tmp_path) == [raw]


def test_chunks_of_another_total_are_an_error(pulsar, tmp_path):
    entries = [chunk(pulsar, b"x", i, b"12", total=7) for i in range(3)]
    key = pulsar.ledger(tmp_path, entries)

    with pytest.raises(ArchiveError) as caught:
        values(tmp_path)

    at = 128 + 2 * (len(entries[0]) + 12) + 12
    assert str(caught.value) == (
        f"entry 2 of ledger 1: its 3 chunks have 6 bytes, expected 7\n  in {key} at byte {at}"
    )


def test_encrypted_messages_are_refused_by_the_names_of_their_keys(pulsar, tmp_path):
    keys = (13, [(1, b"plant-a"), (2, b"wrapped")]), (13, [(1, b"plant-b"), (2, b"wrapped")])
    key = pulsar.ledger(tmp_path, [pulsar.entry(b"clear"), pulsar.entry(b"?", *keys)])

    with pytest.raises(ArchiveError) as caught:
        values(tmp_path)

    place = 128 + 12 + len(pulsar.entry(b"clear")) + 12
    assert str(caught.value) == (
        "entry 1 of ledger 1: it is encrypted with key 'plant-a', 'plant-b': "
        f"archive.open(keys=...) decrypts\n  in {key} at byte {place}"
    )
    assert values(tmp_path, skip_damaged=True) == [b"clear"]
