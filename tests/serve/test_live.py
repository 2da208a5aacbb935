"""`--live`: archive and broker joined, with a real broker and bucket."""

import json
import os
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

import psutil
import psycopg
import pulsar as client_library
import pytest

from workbench import broker, replay
from workbench import services as room
from workbench.archive import Selection
from workbench.endpoints import endpoints
from workbench.errors import ReplayError, ServicesError
from workbench.history import Tail, tail_parts
from workbench.serve import Limits, Live

pytestmark = pytest.mark.pulsar
BEGIN_MS = 1_767_225_600_000  # 2026-01-01
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def bucket(services):
    """Offload something, so that there is an archive; give its address."""
    send(full("offloaded_before"), range(1))
    room.offload(full("offloaded_before"))
    return services.archive


@pytest.fixture
def live(bucket, serve, tmp_path):
    """Give a function that starts a live server of the services' bucket, or of another archive."""

    def start(url=bucket, **options):
        options = {"cache": tmp_path / "columns", "refresh_s": 0.2, **options}
        return serve(url, live=Live(()), **options)

    return start


def send(topic, numbers, value=lambda i: {"i": i}, partitions=0, **options):
    """Send a reading a minute, number i at minute i, with a key and a property."""
    if partitions:
        path = f"{broker.rest_path(topic)}/partitions"
        broker.check(broker.admin("PUT", path, json=partitions))
    with broker.connect() as client:
        producer = client.create_producer(topic, block_if_queue_full=True, **options)
        for i in numbers:
            producer.send_async(
                json.dumps(value(i)).encode(),
                None,
                event_timestamp=BEGIN_MS + i * MINUTE_MS,
                partition_key=f"pump-{i % 3}",
                properties={"n": str(i)},
            )
        producer.flush()
        producer.close()


class Chunks:
    """A producer that sends chunks of a message one by one, and dies when it is told to.

    It speaks Pulsar's protocol itself: the client sends all of a message, or nothing.
    Source: apache/pulsar 4.0.8, PulsarApi.proto BaseCommand.
    """

    def __init__(self, topic, pulsar, uuid):
        self.topic, self.pulsar, self.uuid = topic, pulsar, uuid

    def send(self, chunks, of, i):
        """Send some chunks, by number, of a reading in `of` of them, on a connection of its own."""
        value = json.dumps({"i": i}).encode()
        parts = [value[n * len(value) // of : (n + 1) * len(value) // of] for n in range(of)]
        place = urlsplit(endpoints().broker)
        with socket.create_connection((place.hostname, place.port), timeout=30) as self.socket:
            token = endpoints().broker_token.encode()
            self._command(2, [(1, b"test"), (3, token), (4, 19), (5, b"token")])
            self._command(5, [(1, self.topic.encode()), (2, 1), (3, 1), (4, self.uuid)])
            for n in chunks:
                facts = (26, self.uuid), (27, of), (28, len(value)), (29, n)
                time_ms = (12, BEGIN_MS + i * MINUTE_MS)
                entry = self.pulsar.entry(parts[n], time_ms, *facts)
                self._command(6, [(1, 1), (2, n + 1)], entry)

    def _command(self, kind, fields, entry=b""):
        command = self.pulsar.protobuf((1, kind), (kind, fields))
        body = struct.pack(">I", len(command)) + command + entry
        self.socket.sendall(struct.pack(">I", len(body)) + body)
        size = struct.unpack(">I", self.socket.recv(4, socket.MSG_WAITALL))[0]
        answer = self.socket.recv(size, socket.MSG_WAITALL)[4:]
        assert answer[1] in (3, 7, 17), answer  # connected, receipt, success


def numbers(connection, table, where="true"):
    text = f"select i from {table} where {where} order by i"  # noqa: S608
    return [row[0] for row in connection.execute(text).fetchall()]


def messages_read(connection):
    return int(connection.execute("show workbench.messages_read").fetchone()[0])


def full(name):
    return f"persistent://public/default/{name}"


@pytest.mark.parametrize("partitions", [0, 2])
def test_what_is_offloaded_and_what_the_broker_has_are_each_there_once(live, connect, partitions):
    name = f"seam_{partitions}"
    send(full(name), range(50), partitions=partitions)
    room.offload(full(name))
    send(full(name), range(50, 90))
    connection = connect(live())

    both = replay(full(name), source="both")
    rows = connection.execute(
        f"select __message_id__, i, event_time, publish_time, key, __partition__, "  # noqa: S608
        f"__properties__, __producer_name__ from {name}"
    ).fetchall()

    assert sorted(row[1] for row in rows) == list(range(90))
    assert {row[0] for row in rows} == set(both["message_id"])
    expected = {
        row.message_id: (row.i, row.event_time, row.publish_time, row.key)
        for row in both.itertuples()
    }
    assert {row[0]: row[1:5] for row in rows} == expected
    assert {row[5] for row in rows} == ({0, 1} if partitions else {-1})
    assert len({json.dumps(row[6]).replace(f'"{row[1]}"', "NUMBER") for row in rows}) == 1
    assert "NUMBER" in json.dumps(rows[0][6]).replace(f'"{rows[0][1]}"', "NUMBER")
    assert all(row[7].startswith("standalone-") for row in rows)
    assert messages_read(connection) == 40


def test_what_is_sent_after_connecting_is_in_the_next_query_and_stays_there_once_offloaded(
    live, connect
):
    send(full("grows"), range(10))
    room.offload(full("grows"))
    server = live()
    connection = connect(server)
    assert numbers(connection, "grows") == list(range(10))

    for upto in (20, 30):
        send(full("grows"), range(upto - 10, upto))
        assert numbers(connection, "grows") == list(range(upto))
    room.offload(full("grows"))
    while messages_read(connection) > 0:  # until the archive was listed again
        assert numbers(connection, "grows") == list(range(30))
    assert numbers(connection, "grows") == list(range(30))


def test_a_topic_of_the_broker_alone_is_a_table_also_one_that_is_made_later(live, connect):
    connection = connect(live())
    with pytest.raises(psycopg.Error, match="no topic 'made_later'"):
        connection.execute("select i from made_later")

    send(full("made_later"), range(5))

    assert numbers(connection, "made_later") == list(range(5))
    assert numbers(connect(live()), '"public/default".made_later') == list(range(5))
    columns = connection.execute(
        "select column_name from information_schema.columns where table_name = 'made_later'"
    ).fetchall()
    assert {("i",), ("event_time",), ("key",)} <= set(columns)


def test_a_field_that_only_the_broker_has_is_a_column_and_null_in_the_archive(live, connect):
    send(full("wider"), range(3))
    room.offload(full("wider"))
    connection = connect(live())
    assert numbers(connection, "wider") == [0, 1, 2]

    send(full("wider"), range(3, 5), lambda i: {"i": i / 2, "bar": f"b{i}"})
    rows = connection.execute("select i, bar from wider order by event_time").fetchall()

    assert rows == [(0.0, None), (1.0, None), (2.0, None), (1.5, "b3"), (2.0, "b4")]


class Before(client_library.schema.Record):
    a = client_library.schema.Double()


class Now(client_library.schema.Record):
    a = client_library.schema.Double()
    b = client_library.schema.Double(required_default=True)


def test_a_schema_that_came_since_the_last_offload_is_read(live, connect):
    def send_record(record):
        with broker.connect() as client:
            schema = client_library.schema.AvroSchema(type(record))
            client.create_producer(full("evolves"), schema=schema).send(record)

    send_record(Before(a=1.0))
    room.offload(full("evolves"))
    connection = connect(live())
    assert connection.execute("select a from evolves").fetchall() == [(1.0,)]

    send_record(Now(a=2.0, b=3.0))

    rows = connection.execute("select a, b from evolves order by a").fetchall()
    assert rows == [(1.0, None), (2.0, 3.0)]


def test_of_a_span_only_what_may_hold_it_is_read_from_the_broker(live, connect):
    send(full("long"), range(20_000))
    connection = connect(live())
    assert numbers(connection, "long") == list(range(20_000))
    hour = "event_time >= '2026-01-10' and event_time < '2026-01-10 01:00'"

    minutes = numbers(connection, "long", hour)
    first = messages_read(connection)
    send(full("long"), range(20_000, 20_010))
    last = numbers(connection, "long", f"i >= 0 and event_time >= '{stamp(20_000)}'")

    assert minutes == list(range(9 * 1440, 9 * 1440 + 60))
    assert 60 <= first < 10_000
    assert (last, messages_read(connection) < 10_000) == (list(range(20_000, 20_010)), True)


def stamp(i):
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime((BEGIN_MS + i * MINUTE_MS) / 1000))


def test_a_message_in_chunks_is_a_row_also_where_its_first_chunk_is_of_no_time(live, connect):
    topic = full("chunked")
    send(topic, range(20))
    send(topic, [20], lambda i: {"i": i, "pad": os.urandom(4_000_000).hex()},
         chunking_enabled=True, batching_enabled=False)  # fmt: skip
    send(topic, range(21, 40))
    connection = connect(live())

    for _ in range(2):
        assert numbers(connection, "chunked") == list(range(40))
        late = numbers(connection, "chunked", f"event_time >= '{stamp(20)}'")
        assert late == list(range(20, 40))


def test_the_number_that_the_client_does_not_tell_is_refused_and_null_in_a_whole_row(live, connect):
    send(full("sequence"), range(2))
    connection = connect(live())

    with pytest.raises(psycopg.Error, match="__sequence_id__ is not known of the broker's"):
        connection.execute("select i from sequence where __sequence_id__ >= 0")
    cursor = connection.execute("select * from sequence")
    place = [column.name for column in cursor.description].index("__sequence_id__")
    assert [row[place] for row in cursor.fetchall()] == [None, None]


def test_a_ledger_that_is_another_at_the_broker_is_refused(live, connect, pulsar, tmp_path):
    send(full("stranger"), range(3))
    stats = broker.get(f"{broker.rest_path(full('stranger'))}/internalStats")
    number = stats["ledgers"][0]["ledgerId"]
    bucket = tmp_path / "archive"
    bucket.mkdir()
    entries = [pulsar.entry(pulsar.single(b'{"i": 1}'), (11, 1)) for _ in range(7)]
    pulsar.ledger(bucket, entries, number=number, topic="public/default/persistent/stranger")

    with pytest.raises(psycopg.Error, match="has 7 entries in the archive and 3 at the broker"):
        connect(live(bucket)).execute("select i from stranger")


def test_chunks_of_a_producer_that_died_are_no_row_as_they_are_none_in_the_archive(
    live, connect, pulsar
):
    topic = full("died")
    send(topic, range(5))
    connection = connect(live())

    Chunks(topic, pulsar, b"first").send([0, 1], of=3, i=99)
    assert numbers(connection, "died") == [0, 1, 2, 3, 4]
    send(topic, [5])
    Chunks(topic, pulsar, b"whole").send([0, 1], of=2, i=6)
    Chunks(topic, pulsar, b"second").send([0], of=2, i=98)
    for _ in range(2):
        assert numbers(connection, "died") == list(range(7))
        assert numbers(connection, "died", f"event_time >= '{stamp(6)}'") == [6]

    room.offload(topic)
    assert sorted(replay(topic)["i"]) == list(range(7))
    assert numbers(connection, "died") == list(range(7))


def test_what_the_archive_has_the_beginning_of_is_refused_if_the_broker_has_the_end(
    live, connect, pulsar
):
    topic = full("begun")
    send(topic, range(3))
    producer = Chunks(topic, pulsar, b"cut")
    producer.send([0, 1], of=3, i=3)
    room.offload(topic)
    send(topic, range(4, 6))
    server = live()

    assert numbers(connect(server), "begun") == [0, 1, 2, 4, 5]
    producer.send([2], of=3, i=3)
    send(topic, [6])

    with pytest.raises(psycopg.Error, match="the beginning of 1 messages in chunks"):
        numbers(connect(server), "begun")


def test_what_retention_removes_while_it_is_read_is_refused(live, connect):
    topic = full("trimmed")
    for first in (0, 10, 20):
        send(topic, range(first, first + 10))
        broker.check(broker.admin("PUT", f"{broker.rest_path(topic)}/unload"))
    (part,) = tail_parts(topic)
    whole = list(Tail().read(part, (), Selection(), lambda: None))
    assert sum(map(len, whole)) == 30

    broker.check(broker.admin("DELETE", f"{broker.rest_path(topic)}/truncate"))
    with pytest.raises(ReplayError, match="10 entries, was removed from the broker while it was"):
        list(Tail().read(part, (), Selection(), lambda: None))


def test_a_cancelled_query_stops_reading_the_broker(live, connect):
    send(full("much"), range(60_000), lambda i: {"i": i, "pad": "x" * 100})
    server = live(limits=Limits(memory_mib=256))
    connection = connect(server)
    running = []
    threading.Thread(target=cancel_once_it_reads, args=(server, connection, running)).start()

    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("select count(*), max(pad) from much").fetchall()

    stopped = running[0].messages_read
    assert 0 < stopped < 60_000
    assert numbers(connection, "much", "i < 5") == list(range(5))  # while nothing goes on behind
    assert running[0].messages_read == stopped


def cancel_once_it_reads(server, connection, running):
    while not running:
        time.sleep(0.01)
        running += [work for work, _ in list(server._running.values()) if work.messages_read]
    connection.cancel_safe()


def test_a_broker_that_is_not_there_is_an_error_of_one_line(live, connect, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", endpoints().broker_token)
    send(full("away"), range(3))
    connection = connect(live())
    assert numbers(connection, "away") == [0, 1, 2]

    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:1")
    with pytest.raises(psycopg.Error) as by_rest:
        connection.execute("select i from away")
    monkeypatch.delenv("WORKBENCH_ADMIN")
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:1")
    with pytest.raises(psycopg.Error) as by_client:
        connection.execute("select i from away").fetchall()

    said = "no broker answers at {}: Connection refused"
    assert by_rest.value.diag.message_primary == said.format("http://127.0.0.1:1")
    assert by_client.value.diag.message_primary == said.format("pulsar://127.0.0.1:1")
    assert connection.execute("select 1").fetchone() == (1,)
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:1")
    with pytest.raises(ServicesError, match="no broker answers"):
        live()


def test_a_broker_that_dies_in_the_middle_is_an_error_and_not_a_shorter_answer(live, connect):
    send(full("dies"), range(60_000), lambda i: {"i": i, "pad": "x" * 2000})
    server = live()
    connection = connect(server)
    threading.Thread(target=kill_once_it_is_read, args=(server,)).start()

    try:
        with pytest.raises(psycopg.Error, match="no broker answers at pulsar://"):
            connection.execute("select count(*), max(pad) from dies").fetchall()
    finally:
        room.down(["pulsar"])
        room.up(["pulsar"], deletion_lag_ms=0)
    assert len(numbers(connection, "dies")) == 60_000


def kill_once_it_is_read(server):
    port = urlsplit(endpoints().broker).port
    listening = [
        place.pid
        for place in psutil.net_connections("tcp")
        if place.status == psutil.CONN_LISTEN and place.laddr.port == port
    ]
    running = []
    while not running:
        time.sleep(0.01)
        running += [work for work, _ in list(server._running.values()) if work.messages_read]
    psutil.Process(listening[0]).kill()
