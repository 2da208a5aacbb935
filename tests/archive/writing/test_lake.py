"""A Delta table kept current: what Delta's own engine reads in it is what `read` gives."""

import datetime as dt
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import deltalake
import pytest
from click.testing import CliRunner

from workbench import archive, files
from workbench.archive import sync
from workbench.cli import cli
from workbench.errors import ArchiveError

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parents[3] / "data" / "archive"
IDS = ("ledger_id", "entry_id", "batch_index")


def rows_of(folder):
    """Return the table's rows by message id, as Delta's engine reads them."""
    table = deltalake.DeltaTable(str(folder))
    read = deltalake.QueryBuilder().register("t", table).execute("select * from t").read_all()
    columns = {
        name: [value.as_py() for chunk in read.column(name).chunks for value in chunk]
        for name in read.schema.names
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(rows, key=lambda row: tuple(row[name] for name in IDS))


def expected(url, topic):
    opened = archive.open(str(url)).topic(topic)
    names = [*opened.fields(), "event_time", "publish_time", "key", *IDS, "partition"]
    rows = opened.read(columns=names).to_pylist()
    return sorted(rows, key=lambda row: tuple(row[name] for name in IDS))


def without_day(rows):
    return [{name: value for name, value in row.items() if name != "event_date"} for row in rows]


def same(rows, others):
    """Compare rows, where a NaN is a NaN."""
    assert len(rows) == len(others)
    differing = [(a, b) for a, b in zip(rows, others, strict=True) if repr(a) != repr(b)]
    ordered = [(a, {name: b[name] for name in a}) for a, b in differing]
    assert [pair for pair in ordered if plain(pair[0]) != plain(pair[1])] == []


def plain(row):
    return repr({k: v.timestamp() if isinstance(v, dt.datetime) else v for k, v in row.items()})


def part_of(folder, ledgers):
    """Copy the first ledgers of the sample into a folder."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SAMPLE / "schemas.json", folder)
    keys = [ledger.key for ledger in archive.open(str(SAMPLE)).topic("pumps").ledgers]
    for key in keys[:ledgers]:
        for name in (key, f"{key}-index"):
            shutil.copy(SAMPLE / name, folder)
    return folder


def test_a_run_adds_exactly_the_new_ledgers_in_one_commit(tmp_path):
    bucket, lake = part_of(tmp_path / "bucket", 2), tmp_path / "lake"

    first = sync(archive.open(str(bucket)).topic("pumps"), lake)
    again = sync(archive.open(str(bucket)).topic("pumps"), lake)
    part_of(bucket, 4)
    more = sync(archive.open(str(bucket)).topic("pumps"), lake)

    assert [run.ledgers for run in (first, again, more)] == [2, 0, 2]
    assert [run.version for run in (first, again, more)] == [1, 1, 2]
    found = rows_of(lake)
    same(without_day(found), expected(bucket, "pumps"))
    assert {row["event_date"] == row["event_time"].date() for row in found} == {True}
    history = deltalake.DeltaTable(str(lake)).history(1)[0]
    assert json.loads(history["workbench.last_message_ids"]) == more.last_message_ids


@pytest.mark.slow
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(tmp_path):
    lake = tmp_path / "lake"
    code = "from workbench.cli import main; import sys; sys.argv[0] = 'workbench'; main()"
    command = [sys.executable, "-c", code, "archive", "sync", str(SAMPLE), "pumps", str(lake)]
    begun = time.monotonic()
    subprocess.run([*command[:-1], str(tmp_path / "whole")], check=True, capture_output=True)
    whole_s = time.monotonic() - begun

    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(whole_s * share)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if deltalake.DeltaTable.is_deltatable(str(lake)):
            assert len(rows_of(lake)) in {0, 120_045}
    subprocess.run(command, check=True, capture_output=True)

    assert len(rows_of(lake)) == 120_045
    assert not list(lake.rglob(".partial*"))


def test_what_a_killed_run_left_in_the_folder_of_a_day_is_removed(tmp_path):
    bucket, lake = part_of(tmp_path / "bucket", 1), tmp_path / "lake"
    topic = archive.open(str(bucket)).topic("pumps")
    sync(topic, lake)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    day = next(lake.glob("event_date=*"))
    left = day / f"{files.PARTIAL}{socket.gethostname()}-{process.pid}-0123abcd"
    left.write_bytes(b"half a ledger")

    sync(topic, lake)

    assert not left.exists()


@pytest.mark.parametrize("call", range(0, 40, 3))
def test_a_write_that_fails_leaves_whole_runs(tmp_path, monkeypatch, call):
    bucket, lake = part_of(tmp_path / "bucket", 1), tmp_path / "lake"
    topic = archive.open(str(bucket)).topic("pumps")
    calls = iter(range(1000))

    def failing(real):
        def wrapped(*args, **options):
            if next(calls) == call:
                raise OSError("no space left on device")
            return real(*args, **options)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("replace", "fsync", "open"):
            patch.setattr(os, name, failing(getattr(os, name)))
        try:
            sync(topic, lake)
        except OSError:
            if deltalake.DeltaTable.is_deltatable(str(lake)):
                assert rows_of(lake) == []
    sync(topic, lake)

    assert len(rows_of(lake)) == len(expected(bucket, "pumps"))


@pytest.mark.parametrize(
    "name", ["D1-json", "D2-avro", "D3-plain", "D6-partitioned", "D8-nulls", "D9-evolution"]
)
def test_what_a_real_offloader_wrote_is_the_same_in_the_table(golden, tmp_path, name):
    case = golden(name)
    opened = archive.open(case.bucket)

    for topic in opened.names():
        lake = tmp_path / topic.rpartition("/")[2]
        sync(opened.topic(topic), lake)
        same(without_day(rows_of(lake)), expected(case.bucket, topic))


def test_a_table_of_something_else_is_refused(tmp_path):
    opened = archive.open(str(SAMPLE)).topic("pumps")
    sync(opened, tmp_path / "lake", columns=["pump"])
    opened.name += "-other"

    with pytest.raises(ArchiveError, match="the table is of another topic"):
        sync(opened, tmp_path / "lake")


def test_a_column_that_is_new_is_null_in_older_rows(tmp_path):
    bucket, lake = part_of(tmp_path / "bucket", 1), tmp_path / "lake"
    sync(archive.open(str(bucket)).topic("pumps"), lake, columns=["pump"])
    part_of(bucket, 2)

    sync(archive.open(str(bucket)).topic("pumps"), lake)

    flows = [row["flow_l_min"] for row in rows_of(lake)]
    assert flows[0] is None
    assert flows[-1] > 0


def test_files_that_the_library_compacts_stay_the_same_rows(tmp_path):
    bucket, lake = part_of(tmp_path / "bucket", 2), tmp_path / "lake"
    for ledgers in (1, 2):
        sync(archive.open(str(part_of(tmp_path / f"{ledgers}", ledgers))).topic("pumps"), lake)

    deltalake.DeltaTable(str(lake)).optimize.compact()

    same(without_day(rows_of(lake)), expected(bucket, "pumps"))
    assert sync(archive.open(str(bucket)).topic("pumps"), lake).ledgers == 0


def test_the_command_says_what_it_did(tmp_path):
    order = ["archive", "sync", str(SAMPLE), "pumps", str(tmp_path / "lake"), "--columns", "pump"]

    said = [CliRunner().invoke(cli, order).output for _ in range(2)]

    assert said[0].endswith("120045 rows of 7 ledgers added\n")
    assert said[1].endswith("0 rows of 0 ledgers added\n")


def raw_of(folder):
    return [row["value"] for row in rows_of(folder)]


def test_a_ledger_whose_transaction_is_open_waits_with_those_behind_it(pulsar, tmp_path):
    bucket, lake = tmp_path / "bucket", tmp_path / "lake"
    bucket.mkdir()
    pulsar.ledger(bucket, [pulsar.entry(b"first")], number=1)
    pulsar.ledger(bucket, [pulsar.entry(b"committed", (22, 5), (23, 1))], number=2)
    pulsar.ledger(bucket, [pulsar.entry(b"behind")], number=3)
    waiting = sync(archive.open(str(bucket)).topic("t"), lake).waiting
    before = raw_of(lake)

    end = pulsar.entry(b"", (20, 21), (22, 5), (23, 1))
    pulsar.ledger(bucket, [end], number=4)
    done = sync(archive.open(str(bucket)).topic("t"), lake)

    assert (waiting, before) == (2, [b"first"])
    assert (done.waiting, raw_of(lake)) == (0, [b"first", b"committed", b"behind"])


def test_an_export_takes_a_ledger_again_once_its_transaction_has_ended(pulsar, tmp_path):
    import pyarrow.parquet as pq

    bucket, out = tmp_path / "bucket", tmp_path / "out"
    bucket.mkdir()
    pulsar.ledger(bucket, [pulsar.entry(b"committed", (22, 5), (23, 1))], number=2)
    archive.export(archive.open(str(bucket)).topic("t"), out)

    end = pulsar.entry(b"", (20, 21), (22, 5), (23, 1))
    pulsar.ledger(bucket, [end], number=4)
    archive.export(archive.open(str(bucket)).topic("t"), out)

    files = sorted(out.glob("event_date=*/*.parquet"))
    assert [v for path in files for v in pq.ParquetFile(path).read()["value"].to_pylist()] == [
        b"committed"
    ]


def test_a_message_whose_chunks_come_in_two_runs_is_one_row(pulsar, tmp_path):
    def chunk(number, payload):
        return pulsar.entry(payload, (26, b"x"), (27, 2), (28, 4), (29, number))

    bucket, lake = tmp_path / "bucket", tmp_path / "lake"
    bucket.mkdir()
    pulsar.ledger(bucket, [pulsar.entry(b"plain"), chunk(0, b"ab")], number=1)
    sync(archive.open(str(bucket)).topic("t"), lake)

    pulsar.ledger(bucket, [chunk(1, b"cd")], number=2)
    sync(archive.open(str(bucket)).topic("t"), lake)

    assert raw_of(lake) == [b"plain", b"abcd"]


def test_a_message_whose_chunks_come_in_three_runs_is_one_row(pulsar, tmp_path):
    bucket, lake = tmp_path / "bucket", tmp_path / "lake"
    bucket.mkdir()
    for number, payload in enumerate((b"ab", b"cd", b"ef")):
        raw = pulsar.entry(payload, (26, b"x"), (27, 3), (28, 6), (29, number))
        pulsar.ledger(bucket, [raw], number=number + 1)
        sync(archive.open(str(bucket)).topic("t"), lake)

    assert raw_of(lake) == [b"abcdef"]
