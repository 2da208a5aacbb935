"""SQL over topics."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from workbench import archive
from workbench.archive.querying.sql import TopicDataset, query, table, time_bounds
from workbench.cli import cli
from workbench.desk import magic
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


def test_a_natural_join_takes_hidden_columns_too_and_one_by_name_does_not(plant):
    text = "select count(*) n from t a {} (select * from t) b {}"

    assert rows(plant, text.format("natural join", "")) == [{"n": 0}]
    assert rows(plant, text.format("join", "using (pump, event_time)")) == [{"n": 6}]


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
    assert selection.bounds == (("event_time", 2000, None), ("event_time", None, 4000))
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

    assert str(caught.value) == f"no topic 'tt'\n  in {plant.url}\n  did you mean 't'?"


def test_a_wrong_query_is_one_clear_line(plant):
    with pytest.raises(ArchiveError) as caught:
        rows(plant, "select nothing from t")

    first = str(caught.value).splitlines()[0]
    assert first == 'Binder Error: Referenced column "nothing" not found in FROM clause!'


LATER = """
import sys
from workbench.archive import open
from workbench.archive.querying.sql import table
import pulsar  # as a notebook does that asks first and then sends

try:
    table(open(sys.argv[1]), "select flwo from t")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_wrong_query_is_one_clear_line_whatever_is_imported_after(plant):
    command = [sys.executable, "-c", LATER, plant.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("ArchiveError Binder Error: ")
    assert "{" not in done.stdout


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

    result = CliRunner().invoke(cli, ["sql", plant.url, text, *option])

    assert result.output == expected


def test_the_command_writes_parquet(plant, tmp_path):
    path = str(tmp_path / "out.parquet")

    result = CliRunner().invoke(cli, ["sql", plant.url, "select * from t", "--parquet", path])

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
    frame = magic.pulsar_sql(plant.url, "select count(*) n from t\n")

    assert frame["n"].tolist() == [6]
    assert magic.pulsar_sql(plant.url, "?")["topic"].tolist() == plant.names()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("selec 1", "syntax error"),
        ("select 1 from tt", "no topic 'tt'"),
        ("select k from t", '"k"'),
    ],
)
def test_a_typo_in_the_magic_is_shown_without_a_traceback(plant, capsys, text, said):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "workbench")

    result = shell.run_cell(f"%%pulsar_sql {plant.url}\n{text}\n")

    shown = capsys.readouterr().out
    assert isinstance(result.error_in_exec, ArchiveError)
    assert said in shown
    assert shown.startswith("ArchiveError: ")
    assert "Traceback" not in shown
    assert "magic.py" not in shown


def test_the_extension_loads():
    import workbench

    class Shell:
        def register_magic_function(self, *args):
            self.args = args

    shell = Shell()
    workbench.load_ipython_extension(shell)

    assert shell.args == (magic.pulsar_sql, "line_cell", "pulsar_sql")


def case(name, **options):
    """Return an archive of ../shared/cases, or skip."""
    from pathlib import Path

    for folder in Path(__file__).resolve().parents:
        bucket = folder.parent / "shared" / "cases" / "archive" / name / "bucket"
        if bucket.is_dir():
            return archive.open(str(bucket), **options)
    pytest.skip("there is no ../shared/cases")


def test_topics_that_differ_only_in_case_are_numbered_and_the_plain_name_is_refused():
    pumps = case("sql-case")

    assert rows(pumps, "select v from Pumps__1") == [{"v": 1}]
    assert rows(pumps, 'select v from "public/default".pumps__2') == [{"v": 2}]
    with pytest.raises(ArchiveError) as caught:
        rows(pumps, "select v from pumps")
    assert str(caught.value) == (
        "'pumps' is the name of 2 topics that differ only in case\n"
        f"  in {pumps.url}\n  SQL takes them for one: write Pumps__1 or pumps__2"
    )


@pytest.mark.parametrize("name", ["temp", '"Temp"', "TEMP"])
def test_columns_that_differ_only_in_case_are_numbered_and_the_plain_name_is_refused(name):
    pumps = case("sql-column-case")

    assert rows(pumps, "select Temp__1, temp__2, TEMP__3 from t") == [
        {"Temp__1": 1, "temp__2": 2, "TEMP__3": 3}
    ]
    with pytest.raises(ArchiveError) as caught:
        rows(pumps, f"select {name} from t")  # noqa: S608 - names of this test
    assert caught.value.message.endswith("the name of several columns that differ only in case")


def test_a_field_does_not_stand_in_for_the_key_of_another_case(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b'{"Key": 5}', (6, b"k"))])
    pumps = archive.open(str(tmp_path))

    assert rows(pumps, 'select "Key__1" a, "__key__" b from t') == [{"a": 5, "b": "k"}]
    with pytest.raises(ArchiveError) as caught:
        rows(pumps, "select key from t")
    assert "what a message itself says is __key__" in caught.value.hint


def test_a_field_called_event_time_is_not_the_time_of_the_message():
    pumps = case("sql-event-time-field")

    wanted = {"event_time": 10, "__event_time__": 0, "publish_time": 0}
    for column, count in wanted.items():
        text = f"select count(*) n from t where {column} < '2021-01-01'"  # noqa: S608
        assert rows(pumps, text) == [{"n": count}]


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("temp > 50", 4), ("temp + 0 > 50", 4), ("temp = 'NaN'", 2), ("temp <= 70.5", 3),
        ("temp between 50 and 60", 1), ("temp in (60, 'NaN')", 3), ("temp is null", 1),
        ("not temp > 50", 1),
    ],
)  # fmt: skip
def test_nan_is_the_greatest_number_in_filters_as_everywhere_in_duckdb(condition, count):
    text = f"select count(*) n from t where {condition}"  # noqa: S608
    assert rows(case("sql-nan"), text) == [{"n": count}]


def test_only_the_topics_that_a_query_names_are_opened():
    pumps = case("sql-unrelated-topic")

    assert rows(pumps, "select count(*) n from readings") == [{"n": 3}]
    with pytest.raises(ArchiveError, match="the schema's descriptors cannot be used"):
        rows(pumps, 'select count(*) n from "read"')
