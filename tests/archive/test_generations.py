"""Ledgers of another life of a topic, or of another cluster, are told and kept apart."""

import os
import re
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workbench import archive
from workbench.archive.format.index import Index, Metadata
from workbench.archive.generations import generations
from workbench.archive.storage.ledger import Ledger
from workbench.errors import ArchiveError, ArchiveWarning, ReplayError, WorkbenchError
from workbench.history import replay

HOUR_MS = 3_600_000
OTHER = "11111111-1111-4111-8111-111111111111"


def ledger(number, created_ms, topic="persistent://a/b/t"):
    metadata = Metadata(topic, 0, 10, created_ms)
    key = f"{number}-{created_ms}"
    return Ledger(number, key, key, "", 200, Index(metadata, 200, ()))


def ids(ledgers):
    return [[each.id for each in life] for life in generations(ledgers)]


def test_ids_that_rise_with_time_are_one_life():
    assert ids([ledger(5, HOUR_MS), ledger(9, 2 * HOUR_MS), ledger(900, 9 * HOUR_MS)]) == [
        [5, 9, 900]
    ]


def test_ids_that_start_again_are_another_life():
    older = [ledger(5, HOUR_MS), ledger(9, 2 * HOUR_MS)]
    newer = [ledger(0, 3 * HOUR_MS), ledger(7, 4 * HOUR_MS)]

    assert ids([newer[0], older[0], newer[1], older[1]]) == [[5, 9], [0, 7]]


def test_two_clusters_that_offload_in_turn_are_two_lives():
    first = [ledger(10 + i, (2 * i + 1) * HOUR_MS) for i in range(4)]
    second = [ledger(5000 + i, (2 * i + 2) * HOUR_MS) for i in range(4)]

    assert ids([*first, *second]) == [[10, 11, 12, 13], [5000, 5001, 5002, 5003]]


def test_clocks_of_brokers_may_differ_a_little():
    assert ids([ledger(1, HOUR_MS), ledger(2, HOUR_MS - 59_000)]) == [[1, 2]]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 40_000)), min_size=1))
def test_no_ordinary_topic_has_more_than_one_life(steps):
    number, created_ms, ledgers = 0, HOUR_MS, []
    for more, later in steps:
        number, created_ms = number + more, created_ms + later
        ledgers.append(ledger(number, created_ms - later // 2))  # of a broker whose clock is slow
    assert len(generations(ledgers)) == 1


@pytest.fixture
def bucket(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"old") for _ in range(3)], number=5)
    pulsar.ledger(tmp_path, [pulsar.entry(b"new") for _ in range(4)], number=5, uuid=OTHER)
    index = tmp_path / f"{OTHER}-ledger-5-index"
    created = pulsar.protobuf((10, 1_699_999_999_000))
    later = pulsar.protobuf((10, 1_700_999_999_000))
    index.write_bytes(index.read_bytes().replace(created, later))
    return str(tmp_path)


def test_the_newest_is_read_and_it_is_said(bucket):
    opened = archive.open(bucket)

    with pytest.warns(ArchiveWarning, match=r"of 2 generations .* the newest is read: 1: 3 entr"):
        topic = opened.topic("t")

    assert topic.messages()["value"].to_pylist() == [b"new"] * 4
    assert opened.topic("t", generation=2).messages().num_rows == 4
    assert opened.topic("t", generation=1).messages()["value"].to_pylist() == [b"old"] * 3
    assert topic.card().facts["generation"] == "2 of 2"
    assert opened.topics()["entries"].tolist() == [4]
    assert opened.card().rows[0]["generations"] == 2
    older, newer = archive.check(opened)
    assert (older.messages, newer.messages) == (3, 4)
    assert older.notes[0].startswith("generation 1 of 2: another life of the topic")


def test_a_replay_reads_the_generation_asked_for(bucket):
    frame = replay("t", archive=bucket, generation=1)

    assert frame["value"].tolist() == [b"old"] * 3
    assert frame.attrs["manifest"]["generation"] == 1
    with pytest.raises(ReplayError) as caught:
        replay("t", archive=bucket, source="both", generation=1)
    assert str(caught.value) == (
        "generation 1 is asked of source 'both', which has the newest alone\n"
        "  source='archive' reads the others"
    )


def test_a_generation_that_is_not_there_is_refused(bucket):
    with pytest.raises(ArchiveError) as caught:
        archive.open(bucket).topic("t", generation=3)
    assert str(caught.value) == (
        "persistent://public/default/t has no generation 3\n  it has 1 to 2"
    )


def test_one_id_with_other_entries_is_of_another_cluster(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"a")] * 3, number=5)
    pulsar.ledger(tmp_path, [pulsar.entry(b"b")] * 4, number=5, uuid=OTHER)

    with pytest.warns(ArchiveWarning, match="2 generations"):
        rows = archive.open(str(tmp_path)).topic("t").messages().num_rows
    assert rows in (3, 4)  # created at the same moment: neither is newer, and both can be read


REGISTERED_MS = 1_700_050_000_000  # when the topic that is there now was given its schema
OLD, NEW = b'{"a": 1}', b'{"b": 2.5}'


def record(field, version=0, registered_ms=REGISTERED_MS, **more):
    definition = {"type": "record", "name": "R", "fields": [{"name": field, "type": "double"}]}
    schema = {"version": version, "type": "JSON", "schema": definition}
    return {**schema, "timestamp": registered_ms, **more}


def write(pulsar, folder, number, made_ms, published_ms, version, value, part=None):
    """Write a ledger of two messages that name a version of the schema, or None."""
    named = [] if version is None else [(16, version.to_bytes(8, "big"))]
    entries = [pulsar.entry(value, *named, publish_ms=published_ms)] * 2
    topic = "public/default/persistent/t" + ("" if part is None else f"-partition-{part}")
    index = folder / f"{pulsar.ledger(folder, entries, number=number, topic=topic)}-index"
    before, after = (pulsar.protobuf((10, ms)) for ms in (1_699_999_999_000, made_ms))
    index.write_bytes(index.read_bytes().replace(before, after))


@pytest.fixture
def lived(pulsar, tmp_path):
    """Make a bucket of ledgers: id, when made, when published, schema version, value."""

    def make(*ledgers):
        for ledger in ledgers:
            write(pulsar, tmp_path, *ledger)
        return str(tmp_path)

    return make


def life_of_two(*, of_new):
    """Two ledgers of a topic that is gone, and of the one of today `of_new`: ids rise on."""
    first, second = REGISTERED_MS - 40 * HOUR_MS, REGISTERED_MS - 20 * HOUR_MS
    old = [(5, first, first + 60_000, 0, OLD), (8, second, second + 60_000, 1, OLD)]
    made = [REGISTERED_MS - 500, REGISTERED_MS + HOUR_MS][:of_new]
    return [*old, *((11 + i, ms, ms + 900, 0, NEW) for i, ms in enumerate(made))]


TOPIC = "persistent://public/default/t"
OLDER = [record("a", 0, REGISTERED_MS - 41 * HOUR_MS), record("a", 1, REGISTERED_MS - 30 * HOUR_MS)]


def test_a_message_older_than_the_schema_it_names_is_of_another_life(lived):
    schemas = {TOPIC: [record("b")]}

    opened = archive.open(lived(*life_of_two(of_new=2)), schemas=schemas)

    with pytest.warns(ArchiveWarning, match=r"of 2 generations .* 1: 4 entries"):
        topic = opened.topic("t")
    assert topic.read()["b"].to_pylist() == [2.5] * 4
    assert [ledger.id for ledger in opened.topic("t", generation=1).ledgers] == [5, 8]
    assert opened.topic("t", generation=1).read()["a"].to_pylist() == [1] * 4  # by its values
    assert opened.topics()["entries"].tolist() == [4]


def test_each_life_is_read_by_its_own_schemas(lived):
    kept = archive.parse_schemas({TOPIC: OLDER}, where="kept")
    schemas = archive.merge_schemas(kept, {TOPIC: [record("b")]})

    opened = archive.open(lived(*life_of_two(of_new=2)), schemas=schemas)

    older, newer = (opened.topic("t", generation=number) for number in (1, 2))
    assert schemas[TOPIC][-1]["life"] == 1
    assert [(x.version, x.life) for x in older.schemas()] == [(0, 0), (1, 0)]
    assert [(x.version, x.life) for x in newer.schemas()] == [(0, 1)]
    assert older.read()["a"].to_pylist() == [1.0] * 4
    assert newer.read()["b"].to_pylist() == [2.5] * 4


def test_what_has_not_been_offloaded_of_the_newest_life_does_not_hide_the_older(lived):
    opened = archive.open(lived(*life_of_two(of_new=1)), schemas=both_lives())

    topic = opened.topic("t", generation=1)
    assert topic.read()["a"].to_pylist() == [1.0] * 4
    assert (topic.generations, topic.is_past) == (2, True)


def both_lives():
    kept = archive.parse_schemas({TOPIC: OLDER}, where="kept")
    return archive.merge_schemas(kept, {TOPIC: [record("b")]})


NOT_OFFLOADED = "nothing of the newest life of .* has been offloaded: .* an earlier life are read"
DAY_MS = 24 * HOUR_MS
OLD_MS = REGISTERED_MS - DAY_MS  # when the topic that is gone had messages


@pytest.mark.parametrize("count", [1, 2])
def test_where_all_ledgers_are_of_an_earlier_life_it_is_read_as_it_was_and_that_is_said(
    lived, count
):
    opened = archive.open(lived(*life_of_two(of_new=0)[:count]), schemas=both_lives())

    with pytest.warns(ArchiveWarning, match=NOT_OFFLOADED):
        topic = opened.topic("t")

    assert topic.read()["a"].to_pylist() == [1.0] * 2 * count
    assert [schema.life for schema in topic.schemas()] == [0, 0]
    (checked,) = archive.check(opened)
    assert checked.notes[0].startswith("generation 1 of 1: another life of the topic")


def test_partitions_with_a_ledger_each_are_judged_together(lived):
    """Of the topic that is gone each has one, none of which has a successor in its partition."""
    old = [(5 + part, OLD_MS, OLD_MS + 60_000, 0, OLD, part) for part in range(3)]
    new_ms = REGISTERED_MS + HOUR_MS
    new = [(11, new_ms, new_ms + 900, 0, NEW, 2)]

    opened = archive.open(lived(*old, *new), schemas=both_lives())

    with pytest.warns(ArchiveWarning, match="of 2 generations .* 1: 6 entries"):
        assert opened.topic("t").read()["b"].to_pylist() == [2.5] * 2
    with pytest.warns(ArchiveWarning, match="of 2 generations .* 1: 2 entries"):
        assert opened.topic("t-partition-2").read()["b"].to_pylist() == [2.5] * 2
    with pytest.warns(ArchiveWarning, match=NOT_OFFLOADED):
        assert opened.topic("t-partition-0").read()["a"].to_pylist() == [1.0] * 2


def test_a_partition_is_judged_by_what_the_others_tell(lived):
    """One ledger was closed before the schema was there: that of the other is as old."""
    closed = [
        (6, OLD_MS, OLD_MS + 60_000, 0, OLD, 0),
        (9, REGISTERED_MS - 500, REGISTERED_MS + 900, 0, NEW, 0),
    ]
    alone = (5, OLD_MS, OLD_MS + 60_000, 0, OLD, 1)
    followed = [
        (7, OLD_MS + HOUR_MS, OLD_MS + HOUR_MS + 60_000, 0, OLD, 2),
        (12, REGISTERED_MS + HOUR_MS, REGISTERED_MS + HOUR_MS + 900, 0, NEW, 2),
    ]

    opened = archive.open(lived(*closed, alone, *followed), schemas={TOPIC: [record("b")]})

    assert [sorted(ledger.id for ledger in life.ledgers) for life in opened.lives(TOPIC)] == [
        [5, 6, 7],
        [9, 12],
    ]
    with pytest.warns(ArchiveWarning, match=NOT_OFFLOADED):
        assert opened.topic("t-partition-1").read()["a"].to_pylist() == [1] * 2


def test_a_ledger_that_nothing_tells_from_one_of_a_slow_clock_is_doubted_aloud(lived):
    """Its successor was made when the schema was there: it may have been open until then."""
    opened = archive.open(
        lived((5, OLD_MS, OLD_MS + 60_000, 0, OLD)), schemas={TOPIC: [record("b")]}
    )

    doubt = "1 of 1 ledgers have messages that name a schema which .* ledger 5 of .*/t: of a topic"
    with pytest.warns(ArchiveWarning, match=doubt):
        assert opened.topic("t").generations == 1
    (checked,) = archive.check(opened)
    assert checked.notes[0].startswith("1 of 1 ledgers have")


@pytest.mark.parametrize("asked", [None, ["b"]])
def test_readings_of_another_life_that_no_time_tells_are_nulls_and_that_is_said(lived, asked):
    """Without times in `schemas.json` nothing tells lives apart but the fields themselves."""
    opened = archive.open(
        lived((5, OLD_MS, OLD_MS + 60_000, 0, OLD)),
        schemas={TOPIC: [record("b", registered_ms=0)]},
    )

    said = r"rows of nulls: they have a, and none of the fields of their schema, b: are they of an"
    with pytest.warns(ArchiveWarning, match=said):
        assert opened.topic("t").read(columns=asked)["b"].null_count == 2


def test_rows_of_nulls_are_told_once_with_the_ledger_and_topic_of_one(lived):
    times = (OLD_MS, OLD_MS + HOUR_MS)
    url = lived(*((5 + i, ms, ms + 60_000, 0, OLD) for i, ms in enumerate(times)))
    topic = archive.open(url, schemas={TOPIC: [record("b", registered_ms=0)]}).topic("t")

    with pytest.warns(ArchiveWarning) as said:
        topic.read()

    (warning,) = said
    assert re.search(rf"They are in ledger [56] of {TOPIC}, and perhaps in", str(warning.message))


def test_both_says_that_the_broker_alone_is_read_where_the_archive_has_an_earlier_life(
    lived, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:9")
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:9")
    opened = archive.open(lived(*life_of_two(of_new=0)), schemas=both_lives())

    with pytest.warns(ArchiveWarning) as said, pytest.raises(WorkbenchError, match="broker"):
        replay("t", archive=opened, source="both")

    (warning,) = said
    assert str(warning.message) == (
        f"nothing of the newest life of {TOPIC} has been offloaded: it was made anew, and what the "
        "broker holds is all that is read; source='archive' reads the earlier life"
    )


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_sure_of_a_ledger_says_nothing_of_later_ones(lived, kept):
    """One was made long before its first producer, whose clock is five minutes slow."""
    slow_ms = REGISTERED_MS - 5 * 60_000
    ledgers = [
        (5, OLD_MS, OLD_MS + 60_000, 0, OLD),
        (9, REGISTERED_MS - HOUR_MS, slow_ms, 0, NEW),
        (12, REGISTERED_MS + HOUR_MS, REGISTERED_MS + HOUR_MS, 0, NEW),
    ]

    opened = archive.open(lived(*ledgers), schemas=both_lives() if kept else {TOPIC: [record("b")]})

    old, new = opened.lives(TOPIC)
    assert [[ledger.id for ledger in life.ledgers] for life in (old, new)] == [[5], [9, 12]]
    assert [[ledger.id for ledger in life.doubted] for life in (old, new)] == [[], [9]]
    doubt = "1 of 2 ledgers have .* the first is ledger 9 of"
    with (
        pytest.warns(ArchiveWarning, match=doubt),
        pytest.warns(ArchiveWarning, match="2 generations"),
    ):
        assert opened.topic("t").read()["b"].to_pylist() == [2.5] * 4


def test_the_times_of_a_later_ledger_do_not_settle_an_earlier_one(lived):
    """All three of a life whose producer's clock is slow; nothing was closed before its schema."""
    hours = [-3, -2, 1]
    ledgers = [
        (9 + i, REGISTERED_MS + h * HOUR_MS, REGISTERED_MS + (h - 1) * HOUR_MS, v, NEW, i)
        for i, (h, v) in enumerate(zip(hours, [0, 0, 0], strict=True))
    ]

    (life,) = archive.open(lived(*ledgers), schemas={TOPIC: [record("b")]}).lives(TOPIC)

    assert [ledger.id for ledger in life.doubted] == [9, 10]


def test_an_object_written_before_the_schema_was_there_is_of_another_life(lived):
    url = lived((5, OLD_MS, OLD_MS + 60_000, 0, OLD))
    for path in Path(url).iterdir():
        os.utime(path, (REGISTERED_MS / 1000 - 3600,) * 2)

    opened = archive.open(url, schemas={TOPIC: [record("b")]})

    with pytest.warns(ArchiveWarning, match=NOT_OFFLOADED):
        assert opened.topic("t").read()["a"].to_pylist() == [1] * 2


def test_the_time_that_a_broker_adds_is_believed(pulsar, tmp_path):
    """As `AppendBrokerTimestampMetadataInterceptor` puts it in front of an entry."""
    write(pulsar, tmp_path, 5, OLD_MS, OLD_MS + 60_000, 0, OLD)
    by_broker = pulsar.protobuf((1, OLD_MS + 50_000))
    head = b"\x0e\x02" + struct.pack(">I", len(by_broker)) + by_broker
    named = (16, (0).to_bytes(8, "big"))
    entries = [head + pulsar.entry(OLD, named, publish_ms=OLD_MS + 60_000)] * 2
    index = tmp_path / f"{pulsar.ledger(tmp_path, entries, number=5)}-index"
    before, after = (pulsar.protobuf((10, ms)) for ms in (1_699_999_999_000, OLD_MS))
    index.write_bytes(index.read_bytes().replace(before, after))

    opened = archive.open(str(tmp_path), schemas={TOPIC: [record("b")]})

    with pytest.warns(ArchiveWarning, match=NOT_OFFLOADED):
        assert opened.topic("t").read()["a"].to_pylist() == [1] * 2


HOURS = st.tuples(st.integers(0, 100), st.sampled_from([0, 500, 59_000, 61_000])).map(
    lambda time: time[0] * HOUR_MS + time[1]
)


@given(
    made=st.lists(HOURS, min_size=1, max_size=6, unique=True).map(sorted),
    registered=st.lists(HOURS, min_size=1, max_size=3, unique=True).map(sorted),
    wrong_ms=st.integers(-HOUR_MS, HOUR_MS),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(made=[0, HOUR_MS + 500], registered=[HOUR_MS], wrong_ms=0)
def test_no_ordinary_topic_is_cut_by_its_schemas(pulsar, made, registered, wrong_ms):
    """Whatever clocks its producers have, and though it was there long before its schema."""
    schemas = {TOPIC: [record("b", v, REGISTERED_MS + ms) for v, ms in enumerate(registered)]}
    with tempfile.TemporaryDirectory() as folder:
        for number, made_ms in enumerate(made):
            end_ms = made[number + 1] if number + 1 < len(made) else made_ms + HOUR_MS
            version = sum(ms < end_ms for ms in registered) - 1
            published_ms = max(made_ms, end_ms - HOUR_MS) + wrong_ms
            times = (REGISTERED_MS + ms for ms in (made_ms, published_ms))
            write(pulsar, Path(folder), number, *times, version if version >= 0 else None, NEW)
        assert len(archive.open(folder, schemas=schemas).lives(TOPIC)) == 1
