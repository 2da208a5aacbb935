"""Any part of a topic by itself has the rows that a read of the whole has of its ledgers."""

import pickle
import runpy
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench import archive
from workbench.errors import ArchiveError

PULSAR = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["Writer"]()
COMMIT, ABORT = 21, 22
ALL = archive.Selection()


def rows(parts, selection=ALL):
    """Return (ledger, entry, value) of the messages of parts, one part after the other."""
    names = ["ledger_id", "entry_id", "value"]
    batches = [batch for part in parts for batch in part.select(selection, names)]
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def whole(topic):
    table = topic.messages().select(["ledger_id", "entry_id", "value"])
    return [tuple(row.values()) for row in table.to_pylist()]


def opened(folder):
    return archive.open(str(folder), schemas={}).topic("t")


# what a producer may send, in any order: chunks are (message, number), `end` is of a transaction
ENTRIES = st.one_of(
    st.tuples(st.just("plain")),
    st.tuples(st.just("chunk"), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("of"), st.integers(0, 2)),
    st.tuples(st.just("end"), st.integers(0, 2)),
)


def raw(entry, number):
    kind, *about = entry
    payload = f"{number:02}".encode()
    if kind == "chunk":
        message, part = about
        fields = (26, b"m%d" % message), (27, 3), (28, 6), (29, part)
        return PULSAR.entry(payload, *fields)
    if kind == "of":
        return PULSAR.entry(payload, (22, about[0]), (23, 1))
    if kind == "end":  # the same of one transaction always: even ones are committed
        marker = ABORT if about[0] % 2 else COMMIT
        return PULSAR.entry(b"", (20, marker), (22, about[0]), (23, 1))
    return PULSAR.entry(payload)


@pytest.mark.slow
@example([[("chunk", 0, 1), ("chunk", 0, 0)], [("chunk", 0, 1)], [("chunk", 0, 2)]], 3)
@settings(max_examples=150)
@given(
    st.lists(st.lists(ENTRIES, min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 7)
)
def test_chunks_and_transactions_across_any_cut_are_the_rows_of_the_whole(ledgers, count):
    with tempfile.TemporaryDirectory() as name:
        for number, entries in enumerate(ledgers, 1):
            written = [raw(entry, 10 * number + i) for i, entry in enumerate(entries)]
            PULSAR.ledger(Path(name), written, number=number)
        topic = opened(name)

        parts = archive.cut(topic, ALL, count)

        assert rows(parts) == whole(topic)
        for part in parts:
            ids = {ledger.id for ledger in part.ledgers}
            assert rows([part]) == [row for row in whole(topic) if row[0] in ids]


def test_a_part_that_begins_in_the_middle_of_a_message_has_it_whole(pulsar, tmp_path):
    for number in range(3):
        fields = (26, b"x"), (27, 3), (28, 6), (29, number)
        pulsar.ledger(tmp_path, [pulsar.entry(b"ab", *fields)], number=number + 1)
    topic = opened(tmp_path)

    parts = archive.cut(topic, ALL, 3)

    assert [rows([part]) for part in parts] == [[], [], [(3, 0, b"ababab")]]


def test_a_topic_without_chunks_and_transactions_reads_no_other_ledger(pulsar, tmp_path):
    keys = [pulsar.ledger(tmp_path, [pulsar.entry(b"v")], number=number) for number in range(1, 4)]
    topic = opened(tmp_path)
    topic.decoder()  # looks at the first and the last ledger, for a schema
    (tmp_path / keys[0]).unlink()
    (tmp_path / keys[2]).unlink()

    assert rows([archive.Part(topic, topic.ledgers[1:2])]) == [(2, 0, b"v")]


def test_parts_are_of_even_bytes_and_never_more_than_ledgers(pulsar, tmp_path):
    for number, count in enumerate([1, 1, 1, 1, 4, 8], 1):
        pulsar.ledger(tmp_path, [pulsar.entry(b"v" * 1000)] * count, number=number)
    topic = opened(tmp_path)

    def ids(count):
        parts = archive.cut(topic, ALL, count)
        return [[ledger.id for ledger in part.ledgers] for part in parts]

    assert ids(1) == [[1, 2, 3, 4, 5, 6]]
    assert ids(2) == [[1, 2, 3, 4, 5], [6]]
    assert ids(99) == [[1], [2], [3], [4], [5], [6]]


def test_ledgers_that_surely_hold_nothing_of_an_interval_are_in_no_part(
    pulsar, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    for number in range(1, 4):
        pulsar.ledger(bucket, [pulsar.entry(b"v", publish_ms=1000 * number)], number=number)
    opened(bucket).messages()
    interval = archive.Selection.of(2000, 3000, "publish_time")

    parts = archive.cut(opened(bucket), interval, 3)

    assert [[ledger.id for ledger in part.ledgers] for part in parts] == [[2]]
    assert rows(parts, interval) == [(2, 0, b"v")]


def test_a_topic_travels_without_a_connection_and_reads_the_same(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")])
    topic = opened(tmp_path)

    sent = pickle.loads(pickle.dumps(archive.detach(topic)))  # noqa: S301 - ours

    assert sent.access.bucket.fs is None
    assert archive.attach(sent).messages().equals(topic.messages())


def test_what_is_wrong_with_a_part_is_said_where_it_is_read_and_nowhere_else(pulsar, tmp_path):
    keys = [pulsar.ledger(tmp_path, [pulsar.entry(b"v")], number=number) for number in (1, 2)]
    topic = opened(tmp_path)
    topic.decoder()
    path = tmp_path / keys[0]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    first, second = archive.cut(topic, ALL, 2)

    with pytest.raises(ArchiveError, match="entry 0 of ledger 1: CRC32C is"):
        rows([first])
    assert rows([second]) == [(2, 0, b"v")]


def test_a_part_has_the_endless_messages_whose_last_chunk_it_has(pulsar, tmp_path):
    def chunk(message, number):
        return pulsar.entry(b"ab", (26, message), (27, 3), (28, 6), (29, number))

    ledgers = [
        [chunk(b"whole", 0), chunk(b"endless", 0), pulsar.entry(b"", (22, 6), (23, 1))],
        [chunk(b"whole", 1), chunk(b"endless", 1)],
        [chunk(b"whole", 2), chunk(b"lost", 0)],
    ]
    for number, entries in enumerate(ledgers, 1):
        pulsar.ledger(tmp_path, entries, number=number)
    topic = opened(tmp_path)
    whole(topic)

    endless = []
    for part in archive.cut(topic, ALL, 3):
        rows([part])
        endless.append((topic.undecided, topic.unfinished))

    assert endless == [(["1:2"], 0), ([], 1), ([], 1)]


@pytest.mark.parametrize("skip", [False, True])
def test_a_topic_that_was_sent_and_not_attached_says_so(pulsar, tmp_path, skip):
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")])
    sent = archive.open(str(tmp_path), schemas={}, skip_damaged=skip).topic("t")
    topic = pickle.loads(pickle.dumps(archive.detach(sent)))  # noqa: S301 - ours

    with pytest.raises(ArchiveError) as error:
        whole(topic)

    assert str(error.value) == (
        "this topic was sent from another process, and has no connection in this one\n"
        f"  in {tmp_path}\n  archive.attach(topic) returns it with one"
    )
    assert len(whole(archive.attach(topic))) == 1
