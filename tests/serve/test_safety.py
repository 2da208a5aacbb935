"""What a client cannot do, and what one client cannot do to the others."""

import socket
import struct
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from workbench.errors import WorkbenchError
from workbench.serve import Limits
from workbench.serve.errors import QueryError
from workbench.serve.statements import check

FORBIDDEN = [
    "copy pumps to '/tmp/out.csv'",
    "copy (select 1) to stdout",
    "attach '/tmp/other.db'",
    "detach archive",
    "install httpfs",
    "load httpfs",
    "pragma version",
    "pragma database_list",
    "set memory_limit = '100GB'",
    "set enable_external_access = true",
    "set threads = 64",
    "set global temp_directory = '/tmp'",
    "set variable x = 1",
    "reset_all",
    "create table x (a int)",
    "create temp table x as select 1",
    "create view x as select 1",
    "create macro f(x) as x",
    "create secret s (type s3)",
    "insert into pumps select * from pumps",
    "update pumps set pump = ''",
    "delete from pumps",
    "drop view pumps",
    "alter table pumps add column a int",
    "truncate pumps",
    "export database '/tmp/x'",
    "import database '/tmp/x'",
    "call pragma_version()",
    "checkpoint",
    "vacuum",
    "analyze",
    "use memory",
    "prepare p as select 1",
    "execute p",
    "explain analyze copy (select 1) to '/tmp/x'",
    "explain create table x (a int)",
    "with x as (select 1) insert into pumps select * from x",
    "select * from read_csv('/etc/passwd')",
    "select * from read_csv_auto('/etc/passwd')",
    "select * from read_parquet('/etc/passwd')",
    "select * from read_json('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from glob('/*')",
    "select * from '/etc/passwd'",
    "select * from 'file.parquet'",
    "select * from parquet_metadata('/etc/passwd')",
    "select * from query('copy (select 1) to ''/tmp/x''')",
    "select getenv('HOME')",
    "call enable_logging()",
    "select * from enable_logging()",
    "from enable_profiling()",
    'select * from "enable_logging"()',
    "select * from enable_logging/**/()",
    "select * from enable_logging--\r()",
    "select * from duckdb_logs()",
    "select * from query('select 1')",
    "select * from query_table('pumps')",
    "select * from read_ndjson_auto('/etc/passwd')",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "explain analyze select * from query('select 1')",
    "explain (format json) insert into pumps select * from pumps",
    "select * from pandas_scan(NULL)",
    "select * from python_map_function((select 1), NULL, NULL)",
    "select * from enable_logging\u200b()",
    "select * from enable_logging\ufeff()",
    "select 1 as a$$, (select count(*) from enable_logging()) as b$$",
    "select $é$'$é$, (select count(*) from enable_logging()), '1'",
    "select write_log('x')",
    "select * from duckdb_settings()",
    "select main.current_setting('temp_directory')",
    "select * from duckdb_functions()",
    "select 1; copy (select 1) to '/tmp/x'",
    "select * from server",  # a variable of Python
]


@pytest.mark.parametrize("text", FORBIDDEN)
@pytest.mark.parametrize("prepared", [False, True])
def test_a_statement_that_is_no_query_of_the_archive_is_refused(serve, connect, text, prepared):
    connection = connect(serve())

    with pytest.raises(psycopg.Error):
        connection.execute(text, prepare=prepared, binary=prepared)
    assert connection.execute("select 1").fetchone() == (1,)


def test_no_function_of_duckdb_that_gives_a_table_is_answered_but_those_of_values():
    import duckdb

    names = duckdb.sql(
        "select distinct function_name from duckdb_functions() "
        "where function_type in ('table', 'table_macro', 'pragma')"
    ).fetchall()
    answered = {name for (name,) in names if not refuses(f'select * from "{name}"(1)')}  # noqa: S608

    assert len(names) > 100
    assert answered <= {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree",
                        "pg_timezone_names"}  # fmt: skip


def refuses(text):
    try:
        check(text)
    except QueryError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drop view pumps", "DROP is not answered: the archive is read only\nHINT:  SELECT is"),
        ("set timezone to 'Europe/Berlin'", "times are in UTC, not in europe/berlin"),
        ("set names 'latin1'", "text is in UTF8, not in latin1"),
        ("set threads = 3", "threads cannot be set"),
        ("show threads", "no setting 'threads'"),
        ("select $1", "there is no parameter $1"),
        (f"select {'abs(' * 900}1{')' * 900}", "the query is nested too deeply to be looked at"),
    ],
)
def test_a_refusal_says_why(serve, connect, text, said):
    with pytest.raises(psycopg.Error) as caught:
        connect(serve()).execute(text)

    assert str(caught.value).startswith(said)


def test_two_statements_in_one_cannot_hide_a_third(serve, connect):
    connection = connect(serve())

    with pytest.raises(psycopg.Error, match="DROP is not answered"):
        connection.execute("select 1; drop view pumps")


def test_a_result_beyond_the_limit_of_rows_is_an_error_not_a_shorter_table(serve, connect):
    server = serve(limits=Limits(rows=100))

    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="more than 100 rows"):
        connect(server).execute("select * from range(101)").fetchall()
    assert len(connect(server).execute("select * from range(100)").fetchall()) == 100


LONG = "select count(*) from range(1000000000000) t(i) where i % 3 = 1"


def test_a_query_beyond_the_limit_of_time_is_ended(serve, connect):
    with pytest.raises(psycopg.errors.QueryCanceled, match=r"more than 0\.5 s"):
        connect(serve(limits=Limits(seconds=0.5))).execute(LONG)


def test_memory_is_bounded(serve, connect):
    server = serve(limits=Limits(memory_mib=64))

    with pytest.raises(psycopg.errors.OutOfMemory):
        connect(server).execute("select list(i) from range(100000000) t(i)").fetchall()
    assert connect(server).execute("select 1").fetchone() == (1,)


def test_a_client_too_many_is_refused(serve, connect):
    server = serve(limits=Limits(connections=1))
    first = connect(server)

    with pytest.raises(psycopg.OperationalError, match="1 clients are connected, as many as may"):
        connect(server)
    first.close()
    _until(lambda: not server._clients)
    assert connect(server).execute("select 1").fetchone() == (1,)


def test_a_query_is_cancelled_from_another_connection(serve, connect):
    connection = connect(serve())
    threading.Timer(0.5, connection.cancel_safe).start()

    with pytest.raises(psycopg.errors.QueryCanceled, match="canceled on user's request"):
        connection.execute(LONG)
    assert connection.execute("select 1").fetchone() == (1,)


def test_a_client_that_is_killed_frees_its_query(serve):
    server = serve()
    code = (
        f"import psycopg; psycopg.connect('host=127.0.0.1 user=w port={server.server_address[1]}'"
    )
    client = subprocess.Popen([sys.executable, "-c", f'{code}).execute("{LONG}")'])
    _until(lambda: server._running, 60)

    client.kill()
    client.wait()

    _until(lambda: not server._running and not server._clients)


def _until(condition, seconds=60):
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "it does not happen"
        time.sleep(0.02)


def test_a_reader_that_stops_reading_holds_nobody_up(serve, connect):
    server = serve(limits=Limits(running=1))
    slow = connect(server).cursor()
    rows = slow.stream("select i, repeat('x', 1000) from range(1000000) t(i)")
    next(rows)

    assert connect(server).execute("select count(*) from pumps").fetchone() == (120045,)
    rows.close()


@pytest.mark.parametrize("options", [{}, {"passwords": {"w": "secret"}}])
def test_another_address_takes_tls_and_a_password(serve, options):
    with pytest.raises(WorkbenchError, match=r"0\.0\.0\.0 can be reached from elsewhere"):
        serve(host="0.0.0.0", **options)  # noqa: S104 - refused


def test_a_password_is_asked_for_by_scram_and_never_sent(serve, connect):
    server, right = serve(passwords={"w": "secret"}), {"password": "secret"}

    assert connect(server, **right).execute("select 1").fetchone() == (1,)
    for user, password in (("w", "wrong"), ("nobody", "secret")):
        with pytest.raises(psycopg.OperationalError, match=f"password of user '{user}' is wrong"):
            connect(server, user=user, password=password)
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        connect(server)
    weak = {"password": "secret", "require_auth": "password,md5"}
    with pytest.raises(psycopg.OperationalError, match="auth"):
        connect(server, **weak)


def test_the_connection_is_encrypted_where_there_is_a_certificate(serve, connect, tmp_path):
    order = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = {"key": tmp_path / "key.pem", "certificate": tmp_path / "certificate.pem"}
    order += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    order += ["-keyout", str(files["key"]), "-out", str(files["certificate"])]
    subprocess.run(order, check=True, capture_output=True)
    server = serve(passwords={"w": "secret"}, **files)

    login = {"password": "secret", "sslrootcert": str(files["certificate"])}
    connection = connect(server, sslmode="verify-full", **login)

    assert connection.execute("select count(*) from pumps").fetchone() == (120045,)
    assert connection.pgconn.ssl_in_use
    server.tls_only = True  # as on another address
    with pytest.raises(psycopg.OperationalError, match="by TLS only"):
        connect(server, sslmode="disable", **login)


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!ii", 8, 1234),
        struct.pack("!i", 2**31 - 1),
        struct.pack("!ii", 9, 196608) + b"\0" + b"Q" + struct.pack("!i", 2**30),
        struct.pack("!ii", 9, 196608) + b"\0" + b"B" + struct.pack("!i", 4),
        struct.pack("!ii", 9, 196608) + b"\0" + b"D" + struct.pack("!i", 6) + b"X\0",
        b"",
    ],
)
def test_bytes_that_are_no_protocol_end_one_connection_alone(serve, connect, first):
    server = serve()
    with socket.create_connection(server.server_address) as stranger:
        stranger.sendall(first)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(60)
        while stranger.recv(4096):
            pass

    assert connect(server).execute("select 1").fetchone() == (1,)
