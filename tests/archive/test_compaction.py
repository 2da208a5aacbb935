"""The compacted view: of each key the newest message, as a broker's compaction leaves it."""

import pytest

from workbench import archive, replay
from workbench.errors import ReplayError

BYTES = {"persistent://public/default/t": [{"version": 0, "type": "BYTES", "schema": ""}]}
KEY, EVENT, NULL_VALUE, SIZE = 6, 12, 25, 9  # of MessageMetadata
BATCH_KEY, BATCH_NULL = 2, 9  # of SingleMessageMetadata


def left(folder, *span, **options):
    topic = archive.open(str(folder), schemas=BYTES).topic("t")
    table = topic.read(
        *span, columns=["key", "value"], by="publish_time", compacted=True, **options
    )
    batches = topic.batches(
        *span, columns=["key", "value"], by="publish_time", batch_rows=2, compacted=True, **options
    )
    assert [row for batch in batches for row in batch.to_pylist()] == table.to_pylist()
    return [(row["key"], row["value"]) for row in table.to_pylist()]


def test_the_newest_of_each_key_stays_at_its_place(pulsar, tmp_path):
    first = [pulsar.entry(b"a1", (KEY, b"a")), pulsar.entry(b"b1", (KEY, b"b"))]
    second = [pulsar.entry(b"c1", (KEY, b"c")), pulsar.entry(b"a2", (KEY, b"a"))]
    pulsar.ledger(tmp_path, first, number=1)
    pulsar.ledger(tmp_path, second, number=2)

    assert left(tmp_path) == [("b", b"b1"), ("c", b"c1"), ("a", b"a2")]


def test_keys_whose_newest_message_is_empty_are_out_and_may_come_back(pulsar, tmp_path):
    entries = [
        pulsar.entry(b"a1", (KEY, b"a")),
        pulsar.entry(b"b1", (KEY, b"b")),
        pulsar.entry(b"c1", (KEY, b"c")),
        pulsar.entry(b"", (KEY, b"a")),
        pulsar.entry(b"", (KEY, b"b"), (NULL_VALUE, 1)),
        pulsar.entry(b"b2", (KEY, b"b")),
    ]
    pulsar.ledger(tmp_path, entries)

    assert left(tmp_path) == [("c", b"c1"), ("b", b"b2")]


def test_messages_without_a_key_are_out_and_an_empty_key_is_one(pulsar, tmp_path):
    entries = [pulsar.entry(b"1"), pulsar.entry(b"2", (KEY, b"")), pulsar.entry(b"3", (KEY, b""))]
    pulsar.ledger(tmp_path, entries)

    assert left(tmp_path) == [("", b"3")]


def test_messages_of_a_batch_count_by_themselves(pulsar, tmp_path):
    batch = b"".join(
        [
            pulsar.single(b"a1", (BATCH_KEY, b"a")),
            pulsar.single(b"b1", (BATCH_KEY, b"b")),
            pulsar.single(b"", (BATCH_KEY, b"c"), (BATCH_NULL, 1)),
            pulsar.single(b"none"),
            pulsar.single(b"b2", (BATCH_KEY, b"b")),
        ]
    )
    entries = [pulsar.entry(b"c1", (KEY, b"c")), pulsar.entry(batch, (11, 5), (KEY, b"first"))]
    pulsar.ledger(tmp_path, entries)

    assert left(tmp_path) == [("a", b"a1"), ("b", b"b2")]


def test_chunks_are_one_message_also_across_ledgers(pulsar, tmp_path):
    def chunk(number, payload):
        return pulsar.entry(payload, (26, b"u"), (27, 2), (28, 4), (29, number), (KEY, b"a"))

    pulsar.ledger(tmp_path, [chunk(0, b"ab"), pulsar.entry(b"old", (KEY, b"a"))], number=1)
    pulsar.ledger(tmp_path, [chunk(1, b"cd")], number=2)

    assert left(tmp_path) == [("a", b"abcd")]


def test_an_interval_holds_what_is_newest_of_the_whole_topic(pulsar, tmp_path):
    entries = [
        pulsar.entry(name + b"%d" % ms, (KEY, name), publish_ms=ms)
        for ms, name in [(1000, b"a"), (2000, b"b"), (3000, b"a")]
    ]
    pulsar.ledger(tmp_path, entries)

    assert left(tmp_path, 0, 3000) == [("b", b"b2000")]


def test_partitions_are_compacted_by_themselves(pulsar, tmp_path):
    for number in range(2):
        pulsar.ledger(
            tmp_path,
            [pulsar.entry(b"%d" % number, (KEY, b"a"))],
            number=number,
            topic=f"public/default/persistent/t-partition-{number}",
        )

    assert left(tmp_path) == [("a", b"0"), ("a", b"1")]


def test_a_replay_says_that_it_is_compacted(pulsar, tmp_path):
    entries = [pulsar.entry(b'{"v":%d}' % i, (KEY, b"a")) for i in range(3)]
    pulsar.ledger(tmp_path, entries)

    frame = replay("t", archive=str(tmp_path), compacted=True)

    assert frame["v"].tolist() == [2]
    assert frame.attrs["manifest"]["compacted"] is True
    with pytest.raises(ReplayError) as caught:
        replay("t", source="both", archive=str(tmp_path), compacted=True)
    assert str(caught.value) == "compacted=True is of source 'archive' alone, not of 'both'"
