"""What a query reads of the archive, what it finds decoded, and what it counts."""

import shutil
from pathlib import Path

import psycopg
import pytest
from prometheus_client import generate_latest

from workbench.serve import Limits

TEXT = "select count(*), avg(flow_l_min) from pumps where event_time >= '2026-01-12' and " \
    "event_time < '2026-01-13'"  # fmt: skip


def bytes_read(connection):
    return int(connection.execute("show workbench.bytes_read").fetchone()[0])


def test_only_the_ledgers_of_the_span_are_read_and_the_second_look_reads_none(
    serve, connect, tmp_path
):
    connection = connect(serve(cache=tmp_path))
    connection.execute("select avg(vibration_mm_s) from pumps")  # when which ledger's readings were
    whole = bytes_read(connection)

    day = connection.execute(TEXT).fetchone()
    first = bytes_read(connection)
    again = connection.execute(TEXT).fetchone()

    assert 0 < first < whole / 3
    assert (again, bytes_read(connection)) == (day, 0)


def test_a_second_look_reads_nothing_where_the_fields_are_inferred(serve, connect, tmp_path):
    bucket = tmp_path / "archive"
    shutil.copytree(serve().url, bucket)
    (bucket / "schemas.json").unlink()
    connection = connect(serve(bucket, cache=tmp_path / "columns"))

    first = connection.execute(TEXT).fetchone()
    again = connection.execute(TEXT).fetchone()

    assert first == connect(serve()).execute(TEXT).fetchone()
    assert (again, bytes_read(connection)) == (first, 0)


def test_a_day_takes_the_ledgers_of_that_day_alone(serve, connect, tmp_path, pulsar):
    """A bound that is not part of the span does not take the ledger that begins with it."""
    day_ms = 86_400_000
    for day in range(4):
        value = pulsar.single(b'{"v": 1}', (5, day * day_ms))
        entry = pulsar.entry(value, (11, 1), publish_ms=day * day_ms + 1)
        pulsar.ledger(tmp_path, [entry], number=day + 1)
    connection = connect(serve(tmp_path, cache=tmp_path / "columns"))
    connection.execute("select count(v) from t").fetchall()
    span = "event_time >= '1970-01-02' and event_time {} '1970-01-03'"

    read = []
    for number, bound in enumerate(("<", "<=")):
        text = f"select count(v + {number}), max(__sequence_id__) from t where "  # noqa: S608
        found = connection.execute(text + span.format(bound)).fetchone()
        read.append((found[0], bytes_read(connection)))

    assert [count for count, _ in read] == [1, 2]
    assert 0 < read[0][1] <= read[1][1]


def test_a_column_that_was_damaged_or_deleted_in_the_cache_is_decoded_again(
    serve, connect, tmp_path
):
    connection = connect(serve(cache=tmp_path))
    before = connection.execute(TEXT).fetchone()
    files = sorted(tmp_path.glob("*.arrow"))

    files[0].unlink()
    files[1].write_bytes(b"ARROW1 and no more")

    assert connection.execute(TEXT).fetchone() == before
    assert bytes_read(connection) > 0


def test_the_cache_keeps_to_its_limit(serve, connect, tmp_path):
    connection = connect(serve(cache=tmp_path, limits=Limits(cache_mib=1)))

    connection.execute("select * from pumps").fetchall()

    assert sum(path.stat().st_size for path in tmp_path.glob("*")) <= 2**20


def test_a_query_that_is_given_up_leaves_no_half_column(serve, connect, tmp_path):
    connection = connect(serve(cache=tmp_path))

    assert connection.execute("select pump from pumps limit 1").fetchone() == ("pump-1",)
    whole = connection.execute("select count(pump) from pumps").fetchone()

    assert whole == (120045,)


def test_a_damaged_archive_is_an_error_and_not_a_shorter_answer(serve, connect, tmp_path):
    bucket = tmp_path / "archive"
    shutil.copytree(serve().url, bucket)
    data = max(bucket.glob("*-ledger-*[0-9]"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    connection = connect(serve(bucket, cache=tmp_path / "columns"))

    for _ in range(2):
        with pytest.raises(psycopg.Error, match="CRC32C is"):
            connection.execute("select avg(flow_l_min) from pumps").fetchall()


def test_ledgers_that_come_later_are_seen(serve, connect, tmp_path):
    bucket = tmp_path / "archive"
    bucket.mkdir()
    sample = serve().url
    names = sorted(path.name for path in Path(sample).iterdir())
    late = [name for name in names if name.endswith(("-index",))][-1].removesuffix("-index")
    for name in names:
        if late not in name:
            shutil.copy(f"{sample}/{name}", bucket)
    server = serve(bucket, cache=tmp_path / "columns", refresh_s=0.2)
    connection = connect(server)
    before = connection.execute("select count(*) from pumps").fetchone()[0]

    for name in names:
        if late in name:
            shutil.copy(f"{sample}/{name}", bucket)
    for _ in range(100):
        now = connection.execute("select count(*) from pumps").fetchone()[0]
        if now != before:
            break
        connection.execute("select 1 from range(10000000) t(i) where i < 0")

    assert (before < 120045, now) == (True, 120045)


def test_what_queries_did_is_counted(serve, connect, tmp_path):
    server = serve(cache=tmp_path)
    connection = connect(server)
    for _ in range(2):
        connection.execute(TEXT)
    with pytest.raises(psycopg.Error):
        connection.execute("select nothing")

    text = generate_latest(server.metrics.registry).decode()

    assert 'workbench_serve_queries_total{outcome="complete"} 2.0' in text
    assert 'workbench_serve_queries_total{outcome="failed"} 1.0' in text
    assert "workbench_serve_rows_total 2.0" in text
    assert "workbench_serve_connections 1.0" in text
    hits = text.partition('columns_total{cache="hit"} ')[2].split()[0]
    misses = text.partition('columns_total{cache="miss"} ')[2].split()[0]
    # the first look may take more ledgers: what times they hold is not known yet
    assert 0 < float(hits) <= float(misses)
