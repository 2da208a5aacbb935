"""What earlier reads met spares later ones whole ledgers, and is kept for each topic alone."""

import hashlib
import json

import pytest

from workbench import archive
from workbench.archive import statistics

DAY_MS = 86_400_000


@pytest.fixture
def folder(pulsar, tmp_path, monkeypatch):
    """Give a folder of six ledgers of three topics, two of them partitions, a day each."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "objects"
    folder.mkdir()
    for number in range(6):
        entries = [pulsar.entry(b"%d" % number, publish_ms=(number + 1) * DAY_MS)] * 2
        name = ("pumps-partition-0", "pumps-partition-1", "fans")[number % 3]
        pulsar.ledger(folder, entries, number=number, topic=f"a/b/persistent/{name}")
    return folder


def kept(tmp_path):
    """Return what is kept, by file."""
    return {path: json.loads(path.read_text()) for path in tmp_path.glob("home/archive/**/*.json")}


def test_what_was_met_of_a_topic_is_kept_in_a_file_of_its_own(folder, tmp_path):
    opened = archive.open(str(folder))
    opened.topic("fans").messages()
    fans = kept(tmp_path)
    opened.topic("pumps-partition-1").messages()
    opened.topic("pumps").messages()
    both = kept(tmp_path)

    assert [len(names) for names in fans.values()] == [2]
    assert sorted(len(names) for names in both.values()) == [2, 4]
    assert fans.items() <= both.items()


def test_a_day_reads_the_ledgers_of_that_day_alone(folder):
    archive.open(str(folder)).topic("pumps").messages()
    opened = archive.open(str(folder))
    before = opened.bucket.traffic.bytes
    rows = opened.topic("pumps").messages(2 * DAY_MS, 3 * DAY_MS)
    (ledger,) = (x for x in opened.topic("pumps").ledgers if x.id == 1)

    assert rows.num_rows == 2
    assert opened.bucket.traffic.bytes - before <= ledger.bytes


def test_a_file_of_an_earlier_release_says_nothing(folder, tmp_path):
    opened = archive.open(str(folder))
    ledgers = [x for held in opened.catalogue.ledgers.values() for x in held]
    name = hashlib.sha256(opened.url.encode()).hexdigest()[:16]
    path = tmp_path / "home" / "archive" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({f"{x.key} {x.etag}": [] for x in ledgers}))

    assert opened.topic("fans").messages(by="event_time", start=0).num_rows == 4


def test_a_ledger_of_chunks_that_were_no_message_is_read_again(pulsar, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "objects"
    folder.mkdir()

    def chunk(number):
        entry = pulsar.entry(b"ab", (26, b"x"), (27, 3), (28, 6), (29, number))
        pulsar.ledger(folder, [entry], number=number + 1)

    def rows():
        return archive.open(str(folder), schemas={}).topic("t").messages().num_rows

    chunk(1), chunk(2)
    assert rows() == 0

    chunk(0)  # the ledger with its beginning is there late

    assert rows() == 1


def test_what_another_reader_met_says_nothing(folder, tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(statistics, "READER", "workbench.archive 0")
        archive.open(str(folder)).topic("fans").messages()
        for path, names in kept(tmp_path).items():
            path.write_text(json.dumps({name: [] for name in names}))  # empty, said that one
        assert archive.open(str(folder)).topic("fans").messages().num_rows == 0

    assert archive.open(str(folder)).topic("fans").messages().num_rows == 4
