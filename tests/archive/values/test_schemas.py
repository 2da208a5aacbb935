"""Schemas once kept beside the objects are never lost: a broker forgets them, messages do not."""

import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from workbench.archive import merge_schemas, parse_schemas
from workbench.cli import cli
from workbench.errors import ArchiveError

CASE = Path(__file__).parents[1] / "cases" / "schemas-overwritten" / "bucket"
TOPIC = "persistent://public/arch/sdel"


def avro(field, version=0, **more):
    definition = {"type": "record", "name": "R", "fields": [{"name": field, "type": "string"}]}
    return {"version": version, "type": "AVRO", "schema": definition, "properties": {}, **more}


def kept(*stored):
    return parse_schemas({TOPIC: list(stored)}, where="schemas.json")


def test_versions_that_the_broker_has_forgotten_stay():
    merged = merge_schemas(kept(avro("a"), avro("b", 1)), {TOPIC: [avro("c", 2)], "t": [avro("d")]})

    assert merged == {TOPIC: [avro("a"), avro("b", 1), avro("c", 2)], "t": [avro("d")]}


def test_topics_that_the_broker_has_forgotten_stay():
    assert merge_schemas(kept(avro("a")), {}) == {TOPIC: [avro("a")]}


@pytest.mark.parametrize("other", [avro("b"), avro("a", type="JSON")], ids=["fields", "type"])
def test_another_schema_under_the_same_version_is_refused(other):
    with pytest.raises(ArchiveError) as caught:
        merge_schemas(kept(avro("a")), {TOPIC: [other]})
    assert str(caught.value) == (
        f"version 0 is another at the broker than the one kept\n  in {TOPIC}\n"
        "  a topic made anew, or another cluster's: keep its schemas in a file of their own"
    )


def test_a_topic_made_anew_keeps_the_schemas_of_both_lives():
    before = [avro("a", timestamp=1000), avro("b", 1, timestamp=2000)]
    after = avro("c", timestamp=3000)

    merged = merge_schemas(kept(*before), {TOPIC: [after]})
    again = merge_schemas(kept(*merged[TOPIC]), {TOPIC: [after, avro("d", 1, timestamp=4000)]})

    assert merged == {TOPIC: [*before, {**after, "life": 1}]}
    assert again[TOPIC][2:] == [{**after, "life": 1}, avro("d", 1, timestamp=4000, life=1)]


def test_a_version_registered_after_all_that_were_kept_and_forgotten_goes_on_in_their_life():
    before, after = avro("a", timestamp=1000), avro("b", 1, timestamp=2000)

    assert merge_schemas(kept(before), {TOPIC: [after]}) == {TOPIC: [before, after]}


@pytest.fixture
def admin():
    """Answer on loopback as a broker's admin address that knows no schema any more."""

    class Forgetful(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forgetful)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetching_from_a_broker_that_forgot_keeps_what_is_beside_the_objects(admin, tmp_path):
    bucket = shutil.copytree(CASE, tmp_path / "bucket")
    before = json.loads((bucket / "schemas.json").read_text())

    done = CliRunner().invoke(cli, ["archive", "schemas", str(bucket), "--from", admin])

    assert done.output == "schemas.json: schemas of 0 of 1 topics\n"
    assert json.loads((bucket / "schemas.json").read_text()) == before
