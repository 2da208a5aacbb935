"""The dashboards in docs/dashboards, and what Grafana asks besides: word for word."""

import datetime as dt
import json
import re
from pathlib import Path

import pytest

DASHBOARDS = Path(__file__).parents[2] / "docs" / "dashboards"
FROM, TO = "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z"
VALUES = {"machine": "pump-1", "channel": "vibration_mm_s", "__interval": "10m"}


def expanded(text, values):
    """Return a query as Grafana sends it.

    Source: grafana/grafana, pkg/tsdb/grafana-postgresql-datasource/macros.go; the formats of
    variables in packages/grafana-scenes.
    """
    for name, value in values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        text = text.replace(f"${{{name}:sqlstring}}", quoted).replace(f"${{{name}}}", value)
        text = text.replace(f"${name}", value)
    text = re.sub(r"\$__timeFilter\((.+?)\)", rf"\1 BETWEEN '{FROM}' AND '{TO}'", text)
    seconds = {"s": 1, "m": 60, "h": 3600}

    def group(macro):
        column, every = macro[1].strip(), macro[2].strip().strip("'")
        n = int(every[:-1]) * seconds[every[-1]]
        return f'floor(extract(epoch from {column})/{n})*{n} AS "time"'

    return re.sub(r"\$__timeGroupAlias\(([^,]+),([^)]+)\)", group, text)


def board(name):
    return json.loads((DASHBOARDS / f"{name}.json").read_text())


def queries(name):
    """Yield (title, query) of all panels, variables and annotations."""
    content = board(name)
    for panel in content["panels"]:
        yield panel["title"], panel["targets"][0]["rawSql"]
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]
    for note in content["annotations"]["list"]:
        yield note["name"], note["target"]["rawSql"]


def values_of(name):
    texts = board(name)["templating"]["list"]
    return {each["name"]: each["query"] for each in texts if each["type"] == "textbox"} | VALUES


def ask(connection, text):
    cursor = connection.execute(text)
    return [column.name for column in cursor.description], cursor.fetchall()


@pytest.mark.parametrize(("title", "text"), list(queries("machine")))
def test_the_history_of_a_machine_is_shown(serve, connect, title, text):
    columns, rows = ask(connect(serve()), expanded(text, values_of("machine")))

    assert rows, title
    if "time" in columns:
        times = [row[columns.index("time")] for row in rows]
        begin, end = (dt.datetime.fromisoformat(text).timestamp() for text in (FROM, TO))
        assert begin <= min(times) <= max(times) <= end
        assert times == sorted(times)
    if title == "machine":
        assert rows == [(f"pump-{i}",) for i in range(1, 7)]
    if title == "channel":
        assert ("vibration_mm_s",) in rows
    if title.startswith("Channel"):
        assert len(rows) == 145  # BETWEEN takes the last instant, too
        assert all(row[2] <= row[1] <= row[3] for row in rows)


@pytest.fixture
def stream_bucket(pulsar, tmp_path):
    """Return an archive with alerts, one of them sent twice, and a heartbeat."""
    start = int(dt.datetime.fromisoformat(FROM).timestamp() * 1000) + 3_600_000

    def message(value, late_ms):
        raw = json.dumps(value).encode()
        return pulsar.entry(raw, (12, start), publish_ms=start + late_ms)

    def alert(name, status, stop):
        return {
            "id": name, "stream": "plant", "sensor": "pump-1", "kind": "detector",
            "status": status, "start": "2026-01-06T01:00:00.000Z",
            "peak_time": "2026-01-06T01:05:00.000Z", "stop": stop, "peak_score": 6.0,
            "threshold": 3.0, "readings": 5, "package": "abc",
        }  # fmt: skip

    alerts = [
        message(alert("a", "open", None), 7000),
        message(alert("a", "open", None), 8000),
        message(alert("a", "closed", "2026-01-06T01:10:00.000Z"), 600_000),
    ]
    beat = dict.fromkeys(("read", "scored", "warming", "late", "refused", "duplicate"), 60)
    beats = [message({"at": "2026-01-06T01:00:10Z", **beat}, 100)]
    pulsar.ledger(tmp_path, alerts, number=1, topic="public/default/persistent/alerts")
    other = "00000000-0000-4000-8000-000000000001"
    topic = "public/default/persistent/heartbeat"
    pulsar.ledger(tmp_path, beats, number=2, uuid=other, topic=topic)
    return tmp_path


def test_a_running_stream_is_shown(serve, connect, stream_bucket, tmp_path_factory):
    server = serve(stream_bucket, cache=tmp_path_factory.mktemp("columns"))
    connection = connect(server)
    begun = dt.datetime(2026, 1, 6, 1, tzinfo=dt.UTC)
    start_s = begun.timestamp()

    shown = {
        title: ask(connection, expanded(text, values_of("stream")))[1]
        for title, text in queries("stream")
    }

    assert shown["Alerts begun"] == [(start_s, "pump-1", 1)]
    assert shown["Peak score over its threshold"] == [(start_s, "pump-1", 2.0)]
    assert shown["Lag: from the start of an alert to its first message"] == [(start_s, 7.0)]
    assert shown["Readings of the job"] == [(start_s, 60, 60, 60, 60, 60, 60)]
    ended = begun + dt.timedelta(minutes=10)
    row = ("pump-1", "detector", "closed", begun, ended, 6.0, 3.0, "abc", "a")
    assert shown["Alerts"] == [row]
    assert shown["alerts"] == [(begun, ended, "pump-1", "detector")]


SCHEMAS = """quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )"""
ASKED = [  # by its query builder; source: grafana/grafana, postgresMetaQuery.ts
    ("SELECT current_setting('server_version_num')::int/100 as version", [(1300,)]),
    ("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", []),
    (
        """SELECT
    CASE WHEN SCHEMAS
      THEN quote_ident(table_name)
      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
    END AS "table"
    FROM information_schema.tables
    WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog')
    ORDER BY CASE WHEN SCHEMAS THEN 0 ELSE 1 END, 1""",
        [("pumps",)],
    ),
    (
        """SELECT quote_ident(column_name) AS "column", data_type AS "type"
    FROM information_schema.columns
    WHERE
      CASE WHEN array_length(parse_ident('pumps'),1) = 2
        THEN quote_ident(table_schema) = (parse_ident('pumps'))[1]
          AND quote_ident(table_name) = (parse_ident('pumps'))[2]
        ELSE quote_ident(table_name) = 'pumps'
          AND SCHEMAS
      END LIMIT 2""",
        [("pump", "text"), ("flow_l_min", "double precision")],
    ),
    ("-- ping", None),
]


@pytest.mark.parametrize(("text", "rows"), ASKED)
def test_what_grafana_asks_on_its_own_is_answered(serve, connect, text, rows):
    cursor = connect(serve()).execute(text.replace("SCHEMAS", SCHEMAS))

    assert (None if rows is None else cursor.fetchall()) == rows
