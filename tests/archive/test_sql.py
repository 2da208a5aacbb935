"""SQL over topics."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from workbench import archive
from workbench.archive import magic
from workbench.archive.sql import TopicDataset, query, table, time_bounds
from workbench.cli import cli
from workbench.errors import ArchiveError


@pytest.fixture
def plant(pulsar, tmp_path):
    """A topic of six JSON readings, one a second from 1970, and one that names clash in."""

    def entry(i, pump):
        value = json.dumps({"pump": pump, "flow": i / 2, "key": i}).encode()
        fields = (6, pump.encode()), (4, [(1, b"line"), (2, b"A")]), (12, 1000 * (i + 1))
        return pulsar.entry(value, *fields, publish_ms=9_000_000)

    readings = [entry(i, f"pump-{i % 2}") for i in range(6)]
    pulsar.ledger(tmp_path, readings[:4], number=1)
    pulsar.ledger(tmp_path, readings[4:], number=2)
    pulsar.ledger(tmp_path, [readings[0]], number=3, topic="plant/b/persistent/odd+%C3%A9.name")
    return archive.open(str(tmp_path))


def rows(plant, text):
    return table(plant, text).to_pylist()


def test_fields_are_columns(plant):
    assert rows(plant, "select pump, max(flow) top from t group by 1 order by 1") == [
        {"pump": "pump-0", "top": 2.0},
        {"pump": "pump-1", "top": 2.5},
    ]


def test_hidden_columns_have_the_names_of_pulsar_sql(plant):
    (row,) = rows(
        plant,
        "select key, __key__, __message_id__, __partition__, __properties__['line'] line, "
        "epoch_ms(__event_time__) event_ms, epoch_ms(__publish_time__) published_ms, "
        "__sequence_id__, __producer_name__ from t where __message_id__ = '2:1:-1:-1'",
    )

    assert row == {
        "key": 5,
        "__key__": "pump-1",
        "__message_id__": "2:1:-1:-1",
        "__partition__": -1,
        "line": "A",
        "event_ms": 6000,
        "published_ms": 9_000_000,
        "__sequence_id__": 7,
        "__producer_name__": "producer",
    }


def test_topics_of_any_name_are_found_by_namespace(plant):
    assert rows(plant, 'select count(*) n from "plant/b"."odd é.name"') == [{"n": 1}]
    assert rows(plant, 'select count(*) n from "public/default".t') == [{"n": 6}]


def test_projection_and_time_bounds_reach_the_reader(plant):
    dataset = TopicDataset(plant.topic("t"))
    seen = []
    select = dataset.topic.select
    dataset.topic.select = lambda *args: seen.append(args) or select(*args)
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("t", dataset)
    text = (
        "select sum(flow) from t where event_time >= '1970-01-01 00:00:02' "
        "and event_time < '1970-01-01 00:00:04' and flow > 0"
    )

    assert connection.execute(text).fetchall() == [(1.5,)]
    ((selection, columns),) = seen
    assert selection.bounds == (("event_time", 2000, None), ("event_time", None, 4001))
    assert columns == ["flow", "event_time", "publish_time"]


@pytest.mark.parametrize(
    "text",
    [
        '(pump == "(event_time >= 1970-01-01 00:00:01.000)")',
        "invert((event_time >= 1970-01-01 00:00:01.000))",
        "((event_time >= 1970-01-01 00:00:01.000) or (flow > 1))",
        "None",
    ],
)
def test_no_bound_is_read_where_none_is_sure(text):
    assert list(time_bounds(text, pa.schema([("pump", pa.string())]))) == []


def test_a_misspelt_topic_is_answered_with_the_nearest(plant):
    with pytest.raises(ArchiveError) as caught:
        rows(plant, "select * from tt")

    assert str(caught.value) == f"no topic 'tt'\n  in {plant.store.url}\n  did you mean 't'?"


def test_a_wrong_query_is_one_clear_line(plant):
    with pytest.raises(ArchiveError) as caught:
        rows(plant, "select nothing from t")

    first = str(caught.value).splitlines()[0]
    assert first == 'Binder Error: Referenced column "nothing" not found in FROM clause!'


def test_damage_found_by_a_query_is_the_readers_error(plant, tmp_path):
    key = plant.topic("t").ledgers[0].key
    data = bytearray((tmp_path / key).read_bytes())
    data[200] ^= 1
    (tmp_path / key).write_bytes(data)

    with pytest.raises(ArchiveError) as caught:
        list(query(archive.open(str(tmp_path)), "select count(pump) from t"))

    assert "CRC32C is" in caught.value.message


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ([], "  pump  n\npump-0  3\npump-1  3\n"),
        (["--csv"], '"pump","n"\n"pump-0",3\n"pump-1",3\n'),
        (["--json"], '{"pump": "pump-0", "n": 3}\n{"pump": "pump-1", "n": 3}\n'),
    ],
)
def test_the_command_prints(plant, option, expected):
    text = "select pump, count(*) n from t group by 1 order by 1"

    result = CliRunner().invoke(cli, ["sql", plant.store.url, text, *option])

    assert result.output == expected


def test_the_command_writes_parquet(plant, tmp_path):
    path = str(tmp_path / "out.parquet")

    result = CliRunner().invoke(cli, ["sql", plant.store.url, "select * from t", "--parquet", path])

    assert result.output == f"{path}: 6 rows\n"
    assert pq.read_table(path)["flow"].to_pylist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


@pytest.mark.parametrize(
    ("option", "shown"), [([], " n\n 5\n"), (["--csv"], '"n"\n5\n'), (["--json"], '{"n": 5}\n')]
)
def test_the_command_tells_what_it_skipped(plant, tmp_path, option, shown):
    key = next(one.key for one in plant.topic("t").ledgers if one.id == 2)
    data = bytearray((tmp_path / key).read_bytes())
    data[-1] ^= 1
    (tmp_path / key).write_bytes(data)
    (tmp_path / f"{'2' * 8}-0000-4000-8000-{'0' * 12}-ledger-9").write_bytes(b"half")
    command = ["sql", str(tmp_path), "select count(*) n from t", *option]

    refused = CliRunner().invoke(cli, command)
    skipped = CliRunner().invoke(cli, [*command, "--skip-damaged"])

    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert skipped.exit_code == 0
    assert skipped.stdout == shown
    half, damaged = skipped.stderr.split("skipped: ")[1:]
    assert half.startswith("the data object of ledger 9 has no index: its upload is running")
    assert damaged.startswith("entry 1 of ledger 2: CRC32C is ")
    assert f"in {key} at byte" in damaged


def test_the_magic_returns_a_frame(plant):
    frame = magic.pulsar_sql(plant.store.url, "select count(*) n from t\n")

    assert frame["n"].tolist() == [6]
    assert magic.pulsar_sql(plant.store.url, "?")["topic"].tolist() == plant.names()


def test_the_extension_loads():
    import workbench

    class Shell:
        def register_magic_function(self, *args):
            self.args = args

    shell = Shell()
    workbench.load_ipython_extension(shell)

    assert shell.args == (magic.pulsar_sql, "line_cell", "pulsar_sql")
