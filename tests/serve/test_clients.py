"""Real clients ask: psycopg, psql, SQLAlchemy with pandas; and the answers are the archive's."""

import datetime as dt
import decimal
import re
import shutil
import subprocess

import pytest

from workbench import archive

UTC = dt.UTC
DAY = "event_time >= '2026-01-06' and event_time < '2026-01-07'"


def rows(url, text):
    return [tuple(row.values()) for row in archive.table(archive.open(url), text).to_pylist()]


@pytest.mark.parametrize("binary", [False, True])
def test_a_result_is_that_of_workbench_sql(serve, connect, binary):
    text = f"from pumps select pump, event_time, vibration_mm_s where {DAY} order by all"
    server = serve()

    answer = connect(server).cursor(binary=binary).execute(text).fetchall()

    assert answer == rows(server.url, text)
    assert len(answer) > 8000


VALUES = [
    ("-1::smallint", -1),
    ("-70000::integer", -70000),
    ("-1::bigint", -1),
    ("12345678901234567890123::hugeint", decimal.Decimal("12345678901234567890123")),
    ("18446744073709551615::ubigint", decimal.Decimal("18446744073709551615")),
    ("1.250::numeric(10,3)", decimal.Decimal("1.250")),
    ("-0.0001::numeric(6,4)", decimal.Decimal("-0.0001")),
    ("0::numeric(5,2)", decimal.Decimal("0.00")),
    ("10000::numeric(7,0)", decimal.Decimal("10000")),
    ("0.1::double", 0.1),
    ("1e300::double", 1e300),
    ("0.5::float", 0.5),
    ("'inf'::double", float("inf")),
    ("'-inf'::double", float("-inf")),
    ("true", True),
    ("null", None),
    ("'é \\ \"'", 'é \\ "'),
    ("unhex('00ff')", b"\x00\xff"),
    ("date '1999-12-31'", dt.date(1999, 12, 31)),
    ("time '10:00:00.5'", dt.time(10, 0, 0, 500_000)),
    ("timestamp '1969-12-31 23:59:59.999999'", dt.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz '2026-01-05 01:00:00+01'", dt.datetime(2026, 1, 5, tzinfo=UTC)),
    ("interval '40 days 3 seconds'", dt.timedelta(40, 3)),
    ("[1, null, 3]", [1, None, 3]),
    ("['a', 'b\"c', 'd,e', null]", ["a", 'b"c', "d,e", None]),
    ("[]::double[]", []),
    ("{'a': 1}", {"a": 1}),
    ("uuid '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
]


@pytest.mark.parametrize("binary", [False, True])
def test_values_of_every_type_arrive(serve, connect, binary):
    texts, expected = zip(*VALUES, strict=True)

    found = connect(serve()).cursor(binary=binary).execute("select " + ", ".join(texts)).fetchone()

    assert found == expected


@pytest.mark.parametrize(
    "value",
    [
        -5, 2**40, 1.5, decimal.Decimal("0.123456789"),
        "it's \\ $1; --", True, None, decimal.Decimal("-12.340"),
        dt.date(2020, 1, 1), dt.datetime(2026, 1, 5, 1, tzinfo=UTC), dt.timedelta(2, 3), b"\x00'",
        ["a", "b c", "it's", 'x"y', None], [], "{}",
    ],
    ids=repr,
)  # fmt: skip
def test_a_parameter_comes_back_as_it_was(serve, connect, value):
    cursor = connect(serve()).cursor()
    kind = {str: "::text", list: "::text[]"}.get(type(value), "")

    for form in ("%s", "%t", "%b"):
        assert cursor.execute(f"select {form}{kind}", (value,)).fetchone() == (value,)


def test_any_of_a_list_is_found(serve, connect):
    text = "select distinct pump from pumps where pump = any(%s) order by 1"

    found = connect(serve()).execute(text, (["pump-3", "pump-1", "it's"],)).fetchall()

    assert found == [("pump-1",), ("pump-3",)]


def test_a_prepared_statement_answers_again_and_again(serve, connect):
    connection = connect(serve(), prepare_threshold=1)
    text = "select count(*) from pumps where event_time < %s and pump = %s"
    day = dt.datetime(2026, 1, 6, tzinfo=UTC)

    counts = {connection.execute(text, (day, "pump-1")).fetchone() for _ in range(4)}

    assert len(counts) == 1
    assert counts.pop() > (1000,)


def test_a_failed_transaction_wants_to_be_ended(serve, connect):
    import psycopg

    connection = connect(serve(), autocommit=False)

    with pytest.raises(psycopg.errors.UndefinedTable, match="no topic 'pimps'"):
        connection.execute("select * from pimps")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("select 1")
    connection.rollback()
    assert connection.execute("select 1").fetchone() == (1,)


def test_pandas_reads_through_sqlalchemy(serve):
    import pandas as pd
    import sqlalchemy as sa

    server = serve()
    engine = sa.create_engine(
        f"postgresql+psycopg://w@127.0.0.1:{server.server_address[1]}/archive"
    )
    text = f"from pumps select pump, event_time, vibration_mm_s where {DAY} order by all"

    frame = pd.read_sql(sa.text(text), engine)
    inspector = sa.inspect(engine)

    assert str(frame["event_time"].dtype) == "datetime64[ns, UTC]"
    assert frame["vibration_mm_s"].sum() == pytest.approx(
        sum(row[2] or 0 for row in rows(server.url, text))
    )
    assert inspector.get_table_names() == ["pumps"]
    assert {c["name"]: str(c["type"]) for c in inspector.get_columns("pumps")}["event_time"] == (
        "TIMESTAMP"
    )
    assert inspector.get_indexes("pumps") == []
    assert inspector.get_pk_constraint("pumps")["constrained_columns"] == []
    engine.dispose()


@pytest.mark.skipif(not shutil.which("psql"), reason="no psql on this machine")
def test_psql_shows_tables_columns_and_rows(serve):
    port = serve().server_address[1]

    def say(*commands):
        order = ["psql", "-X", "-h", "127.0.0.1", "-p", str(port), "-U", "w", "archive"]
        for command in commands:
            order += ["-c", command]
        done = subprocess.run(order, capture_output=True, text=True, timeout=120)
        assert done.stderr.replace("Did not find any relations.\n", "") == ""
        return done.stdout

    assert re.search(r"public \| pumps \| table \| workbench", say("\\dt"))
    assert re.search(r"event_time +\| timestamp with time zone", say("\\d pumps"))
    assert "archive" in say("\\l")
    assert "pumps" in say("\\d", "\\dt+", "\\d+", "\\d+ pumps", "\\dn", "\\du", "\\df", "\\dv")
    assert "2026-01-05 00:00:00.000000+00" in say("select min(event_time) from pumps")
    assert re.search(r"\b120045\b", say("begin", "select count(*) from pumps", "commit"))
