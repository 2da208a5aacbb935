"""Parquet out of an archive, schemas into it, ledgers skipped by what earlier reads learnt."""

import http.server
import json
import os
import threading

import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner

from workbench import archive
from workbench.archive.values.schemas import fetch_schemas
from workbench.archive.writing.exporting import export
from workbench.cli import cli
from workbench.errors import ArchiveError, ServicesError

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def bucket(pulsar, tmp_path):
    """Three ledgers of two readings; day i of 1970 for reading i."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    for number in range(3):
        entries = [
            pulsar.entry(json.dumps({"v": i}).encode(), (12, i * DAY_MS + 1))
            for i in (2 * number, 2 * number + 1)
        ]
        pulsar.ledger(folder, entries, number=number)
    return folder


@pytest.mark.slow
def test_an_export_is_a_folder_a_day(bucket, tmp_path):
    topic = archive.open(str(bucket)).topic("t")

    done = export(topic, tmp_path / "out", start="1970-01-02")

    assert (done.ledgers, done.rows, done.files) == (3, 5, 5)
    table = ds.dataset(tmp_path / "out", partitioning="hive", exclude_invalid_files=True)
    assert sorted(table.to_table()["v"].to_pylist()) == [1, 2, 3, 4, 5]
    assert (tmp_path / "out/event_date=1970-01-02/ledger-00000000.parquet").is_file()


def test_an_export_goes_on_where_it_stopped(bucket, tmp_path, pulsar):
    out = tmp_path / "out"
    export(archive.open(str(bucket)).topic("t"), out)
    (out / "_export/ledger-00000001.json").unlink()
    pulsar.ledger(bucket, [pulsar.entry(b'{"v": 6}', (12, 9 * DAY_MS))], number=3)

    done = export(archive.open(str(bucket)).topic("t"), out)

    assert (done.ledgers, done.done_before, done.rows, done.files) == (2, 2, 3, 7)


def test_an_export_of_something_else_is_refused(bucket, tmp_path):
    topic = archive.open(str(bucket)).topic("t")
    export(topic, tmp_path / "out")

    with pytest.raises(ArchiveError) as caught:
        export(topic, tmp_path / "out", start="1970-01-02", columns=["event_time"])
    assert str(caught.value) == (
        f"the folder holds an export with another start, columns\n  in {tmp_path}/out\n"
        "  export into another folder"
    )
    with pytest.raises(ArchiveError) as caught:
        export(topic, bucket)
    assert str(caught.value) == f"the folder is not empty, and holds no export\n  in {bucket}"


def test_an_export_joins_chunks_across_ledgers_when_it_goes_on(pulsar, tmp_path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    parts = [(b"{", 0), (b'"v": 1}', 1)]
    for number, (raw, chunk) in enumerate(parts):
        fields = (26, b"x"), (27, 2), (28, 8), (29, chunk)
        entries = [pulsar.entry(b'{"v": 0}'), pulsar.entry(raw, *fields)]
        pulsar.ledger(bucket, entries, number=number)
    out = tmp_path / "out"
    export(archive.open(str(bucket)).topic("t"), out)
    (out / "_export/ledger-00000001.json").unlink()

    done = export(archive.open(str(bucket)).topic("t"), out)

    assert (done.ledgers, done.done_before, done.rows) == (1, 1, 2)


def test_ledgers_that_surely_hold_nothing_are_not_read_again(bucket):
    record = {"type": "record", "name": "R", "fields": [{"name": "v", "type": "long"}]}
    schemas = {"persistent://public/default/t": [{"version": 0, "type": "JSON", "schema": record}]}

    def read(*interval):
        topic = archive.open(str(bucket), schemas=schemas).topic("t")
        return topic.read(*interval)["v"].to_pylist()

    assert read("1970-01-03", "1970-01-04") == [2]
    for path in bucket.glob("*-ledger-0"):
        data = path.read_bytes()
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(bytes(len(data)))
        os.utime(path, ns=times)

    assert read("1970-01-03", "1970-01-04") == [2]
    with pytest.raises(ArchiveError):
        read("1970-01-01", "1970-01-04")


def test_a_changed_object_is_read_again(bucket, pulsar):
    topic = archive.open(str(bucket)).topic("t")
    assert topic.read("1970-01-09")["v"].to_pylist() == []
    pulsar.ledger(bucket, [pulsar.entry(b'{"v": 77}', (12, 8 * DAY_MS))], number=1)

    assert archive.open(str(bucket)).topic("t").read("1970-01-09")["v"].to_pylist() == [77]


class Admin(http.server.BaseHTTPRequestHandler):
    """Answers as a broker's REST API does for one topic."""

    tokens = []  # noqa: RUF012 - of all instances: one each request

    def do_GET(self):
        self.tokens.append(self.headers["Authorization"])
        versions = [{"version": 0, "type": "JSON", "data": '{"type": "record"}', "properties": {}}]
        pages = {
            "/admin/v2/schemas/public/default/t/schemas": (200, {"getSchemaResponses": versions}),
            "/admin/v2/schemas/public/default/b+c/schemas": (200, {"getSchemaResponses": []}),
            "/admin/v2/schemas/public/default/locked/schemas": (401, {}),
            "/admin/v2/schemas/public/default/strange/schemas": (200, {"getSchemaResponses": [1]}),
        }
        code, body = pages.get(self.path, (404, {}))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def admin():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_schemas_are_fetched_and_kept_beside_the_objects(bucket, admin):
    runner = CliRunner()

    result = runner.invoke(cli, ["archive", "schemas", str(bucket), "--from", admin])

    assert result.output == "schemas.json: schemas of 1 of 1 topics\n"
    shown = runner.invoke(cli, ["archive", "schemas", str(bucket)]).output
    assert shown == 'persistent://public/default/t version 0: JSON {"type": "record"}\n'


def test_topics_without_a_schema_are_left_out(admin):
    spaces = "persistent://public/default"

    assert fetch_schemas(admin, [f"{spaces}/b c", f"{spaces}/unknown"]) == {}


def test_a_broker_that_refuses_is_an_error(admin):
    with pytest.raises(ServicesError) as caught:
        fetch_schemas(admin, ["persistent://public/default/locked"])
    url = f"{admin}/admin/v2/schemas/public/default/locked/schemas"
    assert str(caught.value) == f"the broker refuses with status 401\n  in {url}"


def test_an_answer_that_is_no_list_of_schemas_is_an_error(admin):
    with pytest.raises(ArchiveError) as caught:
        fetch_schemas(admin, ["persistent://public/default/strange"])
    assert str(caught.value).startswith("no schemas from the broker: ")


def test_no_token_of_the_environment_goes_to_an_address_that_is_named(admin, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", "secret")
    Admin.tokens.clear()
    fetch_schemas(admin, ["t"])
    fetch_schemas(admin, ["t"], token="mine")  # noqa: S106 - no secret
    assert Admin.tokens == [None, "Bearer mine"]


def test_the_commands_list_inspect_check_and_export(bucket, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(cli, ["archive", *arguments])

    key = "00000000-0000-4000-8000-000000000000-ledger-0"
    assert json.loads(run("ls", str(bucket), "--json").output)["entries"] == 6
    assert "persistent://public/default/t" in run("ls", str(bucket)).output
    shown = run("info", str(bucket), "t").output.splitlines()
    assert shown[:2] == ["persistent://public/default/t: messages 0:0 to 2:1", "  v: int64"]
    assert shown[2].endswith(key)
    assert json.loads(run("info", str(bucket), "t", "--json").output)["fields"] == {"v": "int64"}
    assert run("check", str(bucket)).output.endswith(
        "3 ledgers, 6 entries, 6 messages, "
        f"{sum(path.stat().st_size for path in bucket.glob('*[0-9]'))} bytes: fine\n"
    )
    out = str(tmp_path / "out")
    assert run("export", str(bucket), "t", out).output == (
        f"{out}: 6 rows of 3 ledgers written, 0 ledgers were done, 6 files\n"
    )
    (bucket / key).write_bytes(b"")
    assert run("check", str(bucket)).exit_code == 1
