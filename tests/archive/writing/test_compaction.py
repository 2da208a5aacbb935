"""The compacted view: of each key the newest message, as a broker's compaction leaves it."""

import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner

from workbench import archive, replay
from workbench.archive import compaction
from workbench.cli import cli
from workbench.errors import ArchiveError, ReplayError

BYTES = {"persistent://public/default/t": [{"version": 0, "type": "BYTES", "schema": ""}]}
KEY, EVENT, NULL_VALUE, SIZE = 6, 12, 25, 9  # of MessageMetadata
BATCH_KEY, BATCH_NULL = 2, 9  # of SingleMessageMetadata
IDS = ["ledger_id", "entry_id", "batch_index"]
GOLDEN = ["D1-json", "D2-avro", "D3-plain", "D6-partitioned", "D8-nulls", "D9-evolution"]


def left(folder, *span, **options):
    topic = archive.open(str(folder), schemas=BYTES).topic("t")
    table = topic.read(
        *span, columns=["key", "value"], by="publish_time", compacted=True, **options
    )
    batches = topic.batches(
        *span, columns=["key", "value"], by="publish_time", batch_rows=2, compacted=True, **options
    )
    assert [row for batch in batches for row in batch.to_pylist()] == table.to_pylist()
    rows = [(row["key"], row["value"]) for row in table.to_pylist()]
    assert asked(folder, span) == rows
    return rows


def asked(folder, span):
    """Return what SQL answers."""
    limits = [f"publish_time >= make_timestamp({ms} * 1000)" for ms in span[:1]]
    limits += [f"publish_time < make_timestamp({ms} * 1000)" for ms in span[1:]]
    where = f"where {' and '.join(limits)}" if span else ""
    opened = archive.open(str(folder), schemas=BYTES)
    text = f"select __key__, value from t {where}"  # noqa: S608 - the test's own
    return [tuple(row.values()) for row in archive.table(opened, text, compacted=["t"]).to_pylist()]


def exported(folder, name="event_date"):
    """Return the ids of all rows of an export, in order."""
    files = sorted(folder.glob(f"{name}=*/*.parquet"))
    return sorted(
        tuple(row.values())
        for file in files
        for row in ds.dataset(file).to_table(columns=IDS).to_pylist()
    )


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


@pytest.mark.parametrize("name", GOLDEN)
def test_sql_and_exports_have_the_rows_of_a_read(golden, tmp_path, name):
    case = golden(name)
    opened = archive.open(case.bucket, schemas=case.schemas())
    (full,) = opened.names()
    rows = opened.topic(full).read(columns=[*IDS, "partition"], compacted=True).to_pylist()

    archive.export(opened.topic(full), tmp_path / "out", compacted=True)
    text = f'select __message_id__ id from "{full}"'  # noqa: S608 - the test's own
    answer = archive.table(opened, text, compacted=[full])["id"].to_pylist()

    parts = ("ledger_id", "entry_id", "partition", "batch_index")
    assert answer == [":".join(str(row[part]) for part in parts) for row in rows]
    assert exported(tmp_path / "out") == sorted(tuple(row[part] for part in IDS) for row in rows)
    every = case.expected().select(IDS).num_rows
    assert len(rows) < every


@pytest.fixture
def states(pulsar, tmp_path):
    """States of two machines, a second apart, and readings of one of them."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    for number, names in enumerate(["ab", "a"]):
        entries = [
            pulsar.entry(b'{"state":%d}' % number, (KEY, name.encode()), (EVENT, 1000 * number + i))
            for i, name in enumerate(names, 1)
        ]
        pulsar.ledger(folder, entries, number=number, topic="public/default/persistent/states")
    readings = [pulsar.entry(b'{"v":%d}' % i, (KEY, b"a")) for i in range(3)]
    pulsar.ledger(folder, readings, number=5, topic="public/default/persistent/readings")
    return folder


def test_a_topic_is_compacted_by_name_others_of_the_query_are_not(states):
    text = """select v, s.state from readings r join states s on r.key = s.key
        where (select count(*) from states) = 2 order by v"""

    table = archive.table(archive.open(str(states)), text, compacted=["states"])

    assert table.to_pylist() == [{"v": v, "state": 1} for v in range(3)]


@pytest.mark.parametrize(
    ("condition", "keys"),
    [("event_time < '1970-01-01 00:00:01'", ["b"]), ("state = 0", ["b"]), ("true", ["b", "a"])],
)
def test_conditions_are_asked_of_what_is_newest_of_the_whole_topic(states, condition, keys):
    text = f"select key from states where {condition}"  # noqa: S608 - the test's own

    table = archive.table(archive.open(str(states)), text, compacted=["states"])

    assert table["key"].to_pylist() == keys


def test_the_commands_give_the_compacted_view(states, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(cli, arguments, catch_exceptions=False)

    text = "select key, state from states"
    asked = run("sql", str(states), text, "--compacted", "states", "--csv")
    url, out = str(states), str(tmp_path / "out")
    written = run("archive", "export", url, "states", out, "--compacted", "--stop", "1970-01-02")

    assert asked.stdout.split() == ['"key","state"', '"b",0', '"a",1']
    assert "2 rows of 2 ledgers written" in written.stdout
    assert exported(tmp_path / "out") == [(0, 1, -1), (1, 0, -1)]


def test_what_is_to_be_compacted_is_a_table_of_the_query(states):
    opened = archive.open(str(states))

    with pytest.raises(ArchiveError) as caught:
        archive.table(opened, "select * from readings", compacted=["states"])
    assert str(caught.value) == (
        "persistent://public/default/states is to be compacted, and is no table of the query\n"
        f"  in {opened.url}\n  it reads persistent://public/default/readings"
    )
    with pytest.raises(ArchiveError) as caught:
        archive.table(opened, "select * from states", compacted=["state"])
    assert str(caught.value).startswith("no topic 'state'")


def test_sync_and_kafka_refuse_it_by_name(states, tmp_path):
    synced = CliRunner().invoke(
        cli, ["archive", "sync", str(states), "states", str(tmp_path / "lake"), "--compacted"]
    )
    asked = CliRunner().invoke(cli, ["sql", "kafka://", "select 1", "--compacted", "states"])

    assert str(synced.exception) == (
        "sync has no compacted view: it adds rows, and a key's newer message takes one away\n"
        "  workbench archive export --compacted, into a folder for each state of the topic"
    )
    assert not (tmp_path / "lake").exists()
    assert asked.exit_code == 2
    assert "--compacted is of an archive: Kafka compacts its own topics" in asked.stderr


def test_a_compacted_export_goes_on_until_the_topic_has_grown(states, pulsar, tmp_path):
    def export(**options):
        topic = archive.open(str(states)).topic("states")
        return archive.export(topic, tmp_path / "out", **options)

    export(compacted=True)
    (tmp_path / "out/_export/ledger-00000001.json").unlink()  # as if it had been killed
    again = export(compacted=True)
    assert (again.ledgers, again.done_before, again.rows) == (1, 1, 1)
    with pytest.raises(ArchiveError) as caught:
        export()
    assert caught.value.message == "the folder holds an export with another compaction"

    entry = pulsar.entry(b'{"state":2}', (KEY, b"b"))
    pulsar.ledger(states, [entry], number=2, topic="public/default/persistent/states")
    with pytest.raises(ArchiveError) as caught:
        export(compacted=True)
    assert str(caught.value) == (
        "the folder holds a compacted export of 2 ledgers, the topic has 3 now, or others: the "
        "newest of a key may be another message\n"
        f"  in {tmp_path / 'out'}\n  export into another folder"
    )
    assert exported(tmp_path / "out") == [(0, 1, -1), (1, 0, -1)]


def test_a_compacted_export_does_not_go_on_with_one_of_every_message(states, tmp_path):
    topic = archive.open(str(states)).topic("states")
    archive.export(topic, tmp_path / "out")

    with pytest.raises(ArchiveError, match="another compaction"):
        archive.export(topic, tmp_path / "out", compacted=True)


def test_damage_outside_of_an_interval_is_told_since_the_newest_may_be_there(states):
    (damaged,) = states.glob("*-ledger-1")
    content = bytearray(damaged.read_bytes())
    content[128 + 12 : 128 + 40] = bytes(28)
    damaged.write_bytes(content)
    opened = archive.open(str(states), skip_damaged=True)
    topic, skipped = opened.topic("states"), []

    rows = topic.read(0, 1000, ["key"], compacted=True).to_pylist()
    text = "select key from states where event_time < '1970-01-01 00:00:01'"
    for batch in archive.query(opened, text, skipped=skipped, compacted=["states"]):
        assert set(batch["key"].to_pylist()) <= {"a", "b"}

    assert [row["key"] for row in rows] == ["a", "b"]
    assert len(skipped) == 1
    assert skipped == topic.manifest()["skipped"]
    with pytest.raises(ArchiveError):
        archive.table(archive.open(str(states)), text, compacted=["states"])


def test_more_keys_than_there_is_memory_for_are_refused(states, monkeypatch):
    monkeypatch.setattr(compaction, "MOST_BYTES", 600)  # of a GiB

    for read in (
        lambda opened: opened.topic("states").read(compacted=True),
        lambda opened: archive.table(opened, "select * from states", compacted=["states"]),
    ):
        with pytest.raises(ArchiveError) as caught:
            read(archive.open(str(states)))
        assert str(caught.value) == (
            "compaction has met 2 keys, and holds as many as 0 MiB do\n"
            "  in persistent://public/default/states\n"
            "  read it without compaction; of a partitioned topic each partition by itself"
        )


def test_keys_that_are_taken_out_take_no_memory(monkeypatch):
    monkeypatch.setattr(compaction, "MOST_BYTES", 1000)
    keys = [("t", b"%d" % i) for i in range(100)]
    parts = [part for key in keys for part in ({key: (1, 2, 3)}, {key: (1, 2, 4)}, {key: None})]

    assert compaction.newest_places([*parts, {keys[0]: (9, 9, 9)}]) == {(9, 9, 9)}
