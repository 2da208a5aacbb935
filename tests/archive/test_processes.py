"""Processes that build beside the reader: the same rows and errors, and none of them is left."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from workbench import archive
from workbench.archive.processes.pool import POOL
from workbench.errors import ArchiveError

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/bucket"))
GOLDEN = ["D1-json", "D2-avro", "D4-zlib", "D6-partitioned", "D7-multiblock", "D9-evolution"]
TOPIC = "persistent://public/default/t"
RECORD = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "sensor", "type": ["null", "string"]},
        {"name": "value", "type": ["null", "double"]},
    ],
}
SCHEMAS = {TOPIC: [{"version": 0, "type": "JSON", "schema": RECORD}]}
ENTRIES = 60


def readings(pulsar, folder, *, odd=(), ledgers=2):
    """Write ledgers of 60 entries each, of 1,000 readings; `odd` are payloads of the 40th entry."""
    for number in range(1, ledgers + 1):
        entries = []
        for i in range(ENTRIES):
            raws = [b'{"sensor": "s%d", "value": %d.5}' % (j % 7, i) for j in range(1000)]
            if i == 40:
                raws[: len(odd)] = odd
            singles = [pulsar.single(raw, (5, 1_700_000_000_000 + i)) for raw in raws]
            entries.append(pulsar.entry(b"".join(singles), (11, len(raws))))
        pulsar.ledger(folder, entries, number=number)


def opened(folder, **options):
    return archive.open(str(folder), **{"schemas": SCHEMAS, **options})


def both(folder, **options):
    """Return the topic as one worker reads it, and as processes do."""
    by_one = opened(folder, workers=1, **options)["t"]
    return by_one, opened(folder, workers=2, processes=True, **options)["t"]


def what_is_read(read):
    """Return the rows, or the error, and what was warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            rows = read()
        except ArchiveError as err:
            rows = str(err)
    return rows, sorted({str(each.message) for each in said})


@pytest.mark.parametrize("name", [*NAMES, *GOLDEN])
def test_real_buckets_give_the_same_rows_warnings_and_errors(name, golden):
    bucket, schemas = CASES / name / "bucket", None
    if name in GOLDEN:
        bucket, schemas = golden(name).bucket, golden(name).schemas()
    alone = archive.open(str(bucket), workers=1, schemas=schemas)
    shared = archive.open(str(bucket), workers=2, processes=True, schemas=schemas)

    built = POOL.built
    for topic in alone.names():
        for way in ("read", "messages"):
            expected = what_is_read(getattr(alone[topic], way))
            assert what_is_read(getattr(shared[topic], way)) == expected
    assert POOL.built > built


def test_columns_spans_and_batches_are_the_same(pulsar, tmp_path):
    readings(pulsar, tmp_path)
    by_one, shared = both(tmp_path)
    span = 1_700_000_000_010, 1_700_000_000_045

    built = POOL.built
    assert shared.read().equals(by_one.read())
    assert POOL.built > built
    columns = ["value", "key", "ledger_id", "publish_time"]
    assert shared.read(*span, columns).equals(by_one.read(*span, columns))
    expected = [batch.num_rows for batch in by_one.batches(batch_rows=7000)]
    assert [batch.num_rows for batch in shared.batches(batch_rows=7000)] == expected
    assert shared.manifest() == by_one.manifest()


def test_bounds_of_ledgers_are_kept_by_whom_they_were_met(pulsar, tmp_path, monkeypatch):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    readings(pulsar, bucket)
    interval = archive.Selection.of(None, 1_600_000_000_000, "event_time")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    topic = opened(bucket, workers=2, processes=True)["t"]
    assert archive.ledgers_holding(str(bucket), topic.ledgers, interval) == topic.ledgers

    topic.read()

    assert archive.ledgers_holding(str(bucket), topic.ledgers, interval) == []


ODD = [b'{"sensor": 1, "value": "x"}', b"no JSON"]


def test_a_misfit_is_the_same_error(pulsar, tmp_path):
    readings(pulsar, tmp_path, odd=ODD)
    by_one, shared = both(tmp_path)

    assert what_is_read(shared.read) == what_is_read(by_one.read)
    assert "message 1:40:-1:0" in what_is_read(shared.read)[0]


def test_misfits_that_are_kept_are_the_same_nulls_and_notes(pulsar, tmp_path):
    readings(pulsar, tmp_path, odd=ODD)
    by_one, shared = both(tmp_path, misfits="null")

    assert shared.read().equals(by_one.read())
    noted = sorted(map(str, by_one.damage.errors))
    assert len(noted) == 4
    assert sorted(map(str, shared.damage.errors)) == noted


def test_times_that_cannot_be_are_told_the_same(pulsar, tmp_path, monkeypatch):
    payload = pulsar.single(b'{"sensor": "a", "value": 1}', (5, 1 << 62))
    entries = [pulsar.entry(payload * 100, (11, 100)) for _ in range(30)]
    pulsar.ledger(tmp_path, entries)
    by_one, shared = both(tmp_path)
    span = 0, 1_800_000_000_000

    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "one"))  # what is known of ledgers
    expected = what_is_read(lambda: by_one.read(*span))
    assert len(expected[1]) == 1
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "two"))
    assert what_is_read(lambda: shared.read(*span)) == expected


@pytest.mark.parametrize("processes", [True, False])
def test_batches_before_damage_come_first_whoever_builds(pulsar, tmp_path, processes):
    readings(pulsar, tmp_path)
    path = next(tmp_path.glob("*-ledger-2"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    def rows_and_error(topic):
        rows = 0
        try:
            for batch in topic.select(archive.Selection()):
                rows += batch.num_rows
        except ArchiveError as err:
            return rows, str(err)
        return rows, ""

    by_one = opened(tmp_path, workers=1)["t"]
    shared = opened(tmp_path, workers=2, processes=processes)["t"]
    assert "CRC32C" in rows_and_error(by_one)[1]
    assert rows_and_error(shared) == rows_and_error(by_one)


def test_what_a_process_cannot_be_told_is_built_here(pulsar, tmp_path):
    readings(pulsar, tmp_path, ledgers=1)
    by_one, shared = both(tmp_path)

    built = POOL.built
    assert shared.read(compacted=True).equals(by_one.read(compacted=True))
    assert POOL.built == built


READS = """
import os, sys, time
from workbench import archive
from workbench.archive.processes.pool import POOL

topic = archive.open(sys.argv[1], workers=2, processes=True)["t"]
rows = topic.read().num_rows
built = POOL.built
"""


def reading(code, folder):
    """Return a process that reads a bucket, and then does more."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    )


def are_gone(pids, seconds=60):
    """Return whether all of some processes are gone, or will soon be."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_processes_of_one_that_is_killed_end(pulsar, tmp_path, number):
    readings(pulsar, tmp_path)
    (tmp_path / "schemas.json").write_text(json.dumps(SCHEMAS))
    code = "print(built, *POOL.pids(), flush=True); time.sleep(600)"
    with reading(READS + code, tmp_path) as reader:
        built, *pids = map(int, reader.stdout.readline().split())
        assert built > 0
        assert len(pids) == 2
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)

        reader.send_signal(number)

        assert are_gone(pids)


def test_a_killed_process_loses_no_row(pulsar, tmp_path):
    readings(pulsar, tmp_path, ledgers=4)
    (tmp_path / "schemas.json").write_text(json.dumps(SCHEMAS))
    code = """
import signal
import pyarrow as pa

expected = archive.open(sys.argv[1], workers=1)["t"].read()
batches, killed = [], 0
for batch in topic.batches(batch_rows=5000):
    batches.append(batch)
    for pid in POOL.pids():  # children of this process, not waited for yet
        os.kill(pid, signal.SIGKILL)
        killed += 1
print(built, killed, pa.Table.from_batches(batches).equals(expected), topic.read().equals(expected))
"""
    with reading(READS + code, tmp_path) as reader:
        built, killed, *same = reader.stdout.read().split()
    assert int(built) > 0
    assert int(killed) > 1
    assert same == ["True", "True"]


def test_a_fork_of_the_reader_reads_by_processes_of_its_own(pulsar, tmp_path):
    readings(pulsar, tmp_path)
    (tmp_path / "schemas.json").write_text(json.dumps(SCHEMAS))
    code = """
pids = POOL.pids()
child = os.fork()
if not child:
    again = archive.open(sys.argv[1], workers=2, processes=True)["t"].read().num_rows
    os._exit(again == rows and not set(pids) & set(POOL.pids()) and len(POOL.pids()) == 2)
ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
again = topic.read().num_rows
print(ended, again == rows, set(pids) == set(POOL.pids()), *pids)
"""
    with reading(READS + code, tmp_path) as reader:
        ended, same_rows, same_pids, *pids = reader.stdout.read().split()
    assert (ended, same_rows, same_pids) == ("1", "True", "True")
    assert are_gone(map(int, pids))


@pytest.mark.parametrize("is_run", [False, True])
def test_processes_are_started_when_as_much_was_read_as_they_cost_and_never_in_a_run(
    pulsar, tmp_path, monkeypatch, is_run
):
    monkeypatch.delenv("WORKBENCH_RUN", raising=False)
    if is_run:  # the memory of its kernel's children counts to its limit
        monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path / "run"))
    readings(pulsar, tmp_path)
    (tmp_path / "schemas.json").write_text(json.dumps(SCHEMAS))
    code = """
from workbench.archive.processes import pool

assert not POOL.pids()
pool.WORTH_BYTES = 3 * sum(ledger.bytes for ledger in topic.ledgers) // 2  # as if it were large
again = topic.read().num_rows
count = len(POOL.pids())
POOL.wait()
assert POOL.built == 0 or count
last = topic.read().num_rows
print(rows == again == last, count, POOL.built > 0)
"""
    with reading(READS.replace("processes=True", "processes=None") + code, tmp_path) as reader:
        expected = ["True", "0", "False"] if is_run else ["True", "2", "True"]
        assert reader.stdout.read().split() == expected


def test_no_process_is_started_for_a_small_read_nor_where_one_core_is_allowed(pulsar, tmp_path):
    readings(pulsar, tmp_path, ledgers=1)
    (tmp_path / "schemas.json").write_text(json.dumps(SCHEMAS))
    code = """
print(rows, len(POOL.pids()))
"""
    ways = {"processes=True": 0, "processes=None": 0, "processes=False": 0}
    for way in ways:
        environment = {**os.environ, "NUMBA_NUM_THREADS": "1" if way.endswith("True") else "2"}
        done = subprocess.run(
            [sys.executable, "-c", READS.replace("processes=True", way) + code, str(tmp_path)],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        assert done.stdout.split() == ["60000", str(ways[way])]
