"""A network that resets or stalls, wherever it does: all rows, or an error in time; never fewer."""

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from s3fs import S3FileSystem

from workbench.archive.storage import s3
from workbench.errors import ArchiveError, ArchiveWarning, StorageError

pytestmark = [pytest.mark.server, pytest.mark.slow]
NS = "public/default/persistent"
WAIT_S = 3  # a machine that is busy answers within it
REGISTERED_MS = 1_700_000_050_000
COMMIT, OF = (20, 21), ((22, 5), (23, 1))
SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]}
STORED = {"version": 0, "type": "JSON", "schema": SCHEMA, "timestamp": REGISTERED_MS}


def write_bucket(pulsar, folder):
    """Write topics whose rows depend on more than the ledger that they stand in."""

    def ledger(topic, number, *entries, **metadata):
        pulsar.ledger(folder, list(entries), number=number, topic=f"{NS}/{topic}", **metadata)

    def chunk(number):
        return pulsar.entry(b"%d" % number, (26, b"u"), (27, 2), (28, 2), (29, number))

    ledger("transacted", 1, pulsar.entry(b"a"), pulsar.entry(b"b", *OF))
    ledger("transacted", 2, pulsar.entry(b"c", *OF))
    ledger("transacted", 3, pulsar.entry(b"", COMMIT, *OF))
    ledger("chunked", 4, pulsar.entry(b"first"), chunk(0))
    ledger("chunked", 5, chunk(1), pulsar.entry(b"last"))
    for number, text in ((6, b'{"x":1}'), (7, b'{"x":1,"y":"alone"}'), (8, b'{"x":2}')):
        ledger("bare", number, pulsar.entry(text))
    version = (16, bytes(8))
    ledger("lived", 9, pulsar.entry(b'{"x":9}', version), created_ms=REGISTERED_MS - 10**8)
    later = pulsar.entry(b'{"x":10}', version, publish_ms=REGISTERED_MS + 5)
    ledger("lived", 10, later, created_ms=REGISTERED_MS + 1)
    (folder / "schemas.json").write_text(
        json.dumps({"persistent://public/default/lived": [STORED]})
    )


@pytest.fixture
def folder(pulsar, tmp_path, monkeypatch):
    """Give a folder with a bucket for each case: what was met of one says nothing of another."""
    first = tmp_path / "buckets" / "0"
    first.mkdir(parents=True)
    write_bucket(pulsar, first)
    for number in range(1, 41):
        shutil.copytree(first, first.parent / str(number))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # s3fs tries five times by itself
    return first.parent


def content(endpoint, number, **options):
    """Return all rows of a bucket by topic, or the error that ends the reading."""
    try:
        opened = endpoint.open(f"/{number}", **options)
        topics = [opened.topic(name) for name in opened.names()]
        raw = [topic.messages()["value"].to_pylist() for topic in topics]
        return raw, [topic.read().to_pylist() for topic in topics if topic.fields() != ["value"]]
    except ArchiveError as err:
        return err


def each_place(serving, folder, how, times, *, step=1, **options):
    """Return all rows; and what is read, and how often it failed, with a fault at each place."""
    with serving(folder, "--fault", how, "--times", str(times)) as endpoint:
        whole = content(endpoint, 0)
        count = endpoint.requests()["places"]["0"]
        places = range(1, count + 1, step)
        with warnings.catch_warnings(), ThreadPoolExecutor(12) as pool:
            warnings.simplefilter("ignore", ArchiveWarning)
            tries = list(pool.map(lambda place: content(endpoint, place, **options), places))
        faults = endpoint.requests()["faults"]
    assert 20 < count <= 40
    assert whole[0][1] == [b"first", b"01", b"last"]
    return whole, [(rows, faults.get(str(n), 0)) for n, rows in zip(places, tries, strict=True)]


def fewer(whole, tries):
    """Return the places where a fault led to something else than all rows, or the store's error."""
    return [
        (place, rows)
        for place, (rows, _) in enumerate(tries, 1)
        if rows != whole and type(rows) is not StorageError
    ]


@pytest.mark.parametrize("how", ["reset", "cut"])
def test_a_connection_that_is_reset_once_costs_no_row(serving, folder, how):
    whole, tries = each_place(serving, folder, how, 1)

    assert [rows for rows, _ in tries] == [whole] * len(tries)
    assert {faults for _, faults in tries} == {1}


@pytest.mark.parametrize("how", ["reset", "cut"])
def test_what_cannot_be_read_of_a_network_is_an_error_wherever_it_is(serving, folder, how):
    whole, tries = each_place(serving, folder, how, 10**9, skip_damaged=True)

    assert all(faults for _, faults in tries)
    assert fewer(whole, tries) == []
    errors = [type(rows) for rows, _ in tries if rows != whole]
    assert len(errors) >= (len(tries) if how == "reset" else 1)  # what was cut may go on


@pytest.mark.parametrize("how", ["hang", "stall"])
def test_a_network_that_stands_still_is_asked_again_and_then_an_error(
    serving, folder, how, monkeypatch
):
    soon = s3.dt.timedelta(seconds=WAIT_S)
    monkeypatch.setattr(s3, "_CLIENT_OPTIONS", {**s3._CLIENT_OPTIONS, "read_timeout": soon})
    monkeypatch.setattr(S3FileSystem, "read_timeout", WAIT_S)

    whole, tries = each_place(serving, folder, how, 1, step=2)
    assert [rows for rows, _ in tries] == [whole] * len(tries)

    whole, tries = each_place(serving, folder, how, 10**9, step=3, skip_damaged=True)
    assert fewer(whole, tries) == []
    assert StorageError in {type(rows) for rows, _ in tries}
