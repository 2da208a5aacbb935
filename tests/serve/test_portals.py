"""A client that takes a result in parts, as JDBC with a fetch size does: bytes of the protocol."""

import shutil
import socket
import struct
import threading
from pathlib import Path

import psycopg
import pytest

CASES = Path(__file__).parents[1] / "archive" / "cases"
TEXT = "select event_time from pumps where event_time < '2026-01-08' order by event_time"


class Client:
    """What PostgreSQL's documentation calls a frontend, by hand: no Python client takes parts."""

    def __init__(self, server):
        self.socket = socket.create_connection(server.server_address[:2], 60)
        self.answers = self.socket.makefile("rb")
        hello = struct.pack("!i", 196_608) + b"user\0w\0database\0archive\0\0"
        self.socket.sendall(struct.pack("!i", 4 + len(hello)) + hello)
        self.until(b"Z")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answers.close()
        self.socket.close()

    def send(self, kind, body=b""):
        self.socket.sendall(kind + struct.pack("!i", 4 + len(body)) + body)

    def until(self, *kinds):
        """Return the messages up to one of these kinds."""
        messages = []
        while not messages or messages[-1][0] not in kinds:
            kind, length = struct.unpack("!ci", self.answers.read(5))
            messages.append((kind, self.answers.read(length - 4)))
            assert kind != b"E", messages[-1]
        return messages

    def parts(self, text, rows_at_once):
        """Return the rows of a query, a list for each time that some were asked for."""
        self.send(b"P", b"\0" + text.encode() + b"\0\0\0")
        self.send(b"B", b"\0\0" + b"\0\0" * 3)
        parts, end = [], b"s"
        while end == b"s":
            self.send(b"E", b"\0" + struct.pack("!i", rows_at_once))
            self.send(b"H")
            messages = self.until(b"s", b"C")
            parts.append([body for kind, body in messages if kind == b"D"])
            end = messages[-1][0]
        self.send(b"S")
        self.until(b"Z")
        return parts


@pytest.mark.parametrize("rows_at_once", [1000, 16_384, 20_000])
def test_a_result_is_whole_however_many_rows_are_taken_at_once(serve, rows_at_once):
    with Client(serve()) as client:
        (whole,), parts = client.parts(TEXT, 0), client.parts(TEXT, rows_at_once)

    assert len(whole) > 20_000
    assert [len(part) for part in parts[:-1]] == [rows_at_once] * (len(parts) - 1)
    assert [row for part in parts for row in part] == whole


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("select 1 -- a comment at the end", 1),
        ("select 1 --a comment\r + 1", 2),
        ("select date'2026-01-05'::text = '2026-01-05'", True),
        ("select/* a blank */1", 1),
        ("select 'query(' || 'read_text(x)'", "query(read_text(x)"),
    ],
)
@pytest.mark.parametrize("prepared", [False, True])
def test_a_statement_is_read_as_it_is_written(serve, connect, text, answer, prepared):
    cursor = connect(serve()).execute(text, prepare=prepared, binary=prepared)

    assert cursor.fetchone() == (answer,)


def test_what_is_explained_is_described_without_running_it(serve, connect):
    connection = connect(serve())
    long = "select sum(sqrt(a.range * b.range)) from range(10000000) a, range(10000) b"
    timer = threading.Timer(20, connection.cancel_safe)  # were it run, it would end as a failure
    timer.start()

    lines = connection.execute("explain " + long, prepare=True).fetchall()
    timer.cancel()

    assert any("range" in line[-1].lower() for line in lines)


def test_a_statement_behind_a_semicolon_does_not_run_when_it_is_prepared(serve, connect):
    connection = connect(serve())

    with pytest.raises(psycopg.Error):
        connection.execute("select 1; create table left_behind (a int)", prepare=True)
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select * from left_behind")


def test_a_topic_that_cannot_be_read_hides_no_other(serve, connect, tmp_path):
    bucket = tmp_path / "archive"
    shutil.copytree(serve().url, bucket)
    for part in (CASES / "json-decimal" / "bucket").iterdir():
        content = bytearray(part.read_bytes())
        if not part.name.endswith("-index"):
            content[len(content) // 2] ^= 1
        (bucket / part.name).write_bytes(content)
    connection = connect(serve(bucket, cache=tmp_path / "columns"))

    listed = "select column_name from information_schema.columns where table_name = %s"
    names = connection.execute(listed, ("pumps",)).fetchall()

    assert ("flow_l_min",) in names
    with pytest.raises(psycopg.Error, match="names type"):
        connection.execute('select * from "json-decimal"').fetchall()


@pytest.mark.parametrize(
    ("condition", "types"),
    [
        ("event_time >= $1 and event_time < $2", [1184, 1184]),
        ("$1 <= vibration_mm_s and pump in ('pump-1', $2)", [701, 25]),
        ("event_time between $1 and $2 and __partition__ = $3 limit $4", [1184, 1184, 23, 20]),
        ("pump = any($1) or flow_l_min > $2::int", [1009, 23]),
        ("concat($1, pump) = 'pump-1'", [25]),
    ],
)
def test_a_parameter_has_the_type_of_what_it_stands_beside(serve, condition, types):
    """As drivers want it that encode by type: JDBC in binary, asyncpg, pgx."""
    text = "select event_time, flow_l_min from pumps where " + condition  # noqa: S608

    with Client(serve()) as client:
        client.send(b"P", b"\0" + text.encode() + b"\0\0\0")
        client.send(b"D", b"S\0")
        client.send(b"S")
        answers = dict(client.until(b"Z"))

    count, *oids = struct.unpack(f"!h{len(types)}I", answers[b"t"])
    assert oids == types
    assert count == len(types)
    assert answers[b"T"].startswith(struct.pack("!h", 2) + b"event_time\0")
