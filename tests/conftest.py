"""What more than one room's tests need."""

import base64
import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import google_crc32c
import psutil
import pytest
import requests
from hypothesis import settings

from workbench import broker
from workbench.endpoints import Endpoints, endpoints
from workbench.errors import ServicesError

# jsonschema, of nbformat, would compile 39 grammars of IRIs at import: 1.3 s of each process
sys.modules.setdefault("rfc3987_syntax", None)
# In the background of a shell SIGINT is ignored, and would be by all that a test starts and ends.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("shared", deadline=None)  # the machine is shared: no case is timed
settings.load_profile("shared")
# Of a JVM that lives for a minute, half of the work is its second compiler's.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
_SERVICES_HOME = pytest.StashKey[str]()
_FAILED = pytest.StashKey[bool]()
_STOP_S = 60  # for the jobs of a test that failed


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector from going through all tests and libraries again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def services(request, tmp_path_factory):
    """Start a real Pulsar and S3 endpoint for the whole session; give their endpoints.

    An offloaded ledger leaves BookKeeper at the next trim (no deletion lag).
    """
    from workbench import services as room

    request.config.stash[_SERVICES_HOME] = str(tmp_path_factory.mktemp("workbench"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", request.config.stash[_SERVICES_HOME])
        for one in fields(Endpoints):
            patch.delenv(one.metadata["env"], raising=False)
        try:
            room.up(deletion_lag_ms=0)
            yield endpoints()
        finally:
            room.down()


@pytest.fixture(autouse=True)
def _away_from_services(request, monkeypatch, tmp_path_factory):
    """Let a test that does not ask for the services know nothing of them, though they may run."""
    theirs = request.config.stash.get(_SERVICES_HOME, None)
    here = os.environ.get("WORKBENCH_HOME", "")
    if "services" not in request.fixturenames and here == theirs:
        monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path_factory.getbasetemp() / "no-services"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(autouse=True)
def _a_second_try_finds_nothing(request, monkeypatch):
    """End the jobs of a test, and delete the topics of one that failed: what is tried again is new.

    Those of its module's fixtures, which were there before, stay.
    """
    if "services" not in request.fixturenames:
        yield
        return
    _bring_back()
    before, jobs = _topics(), []
    if request.node.get_closest_marker("flink"):
        from workbench.stream.running import live

        begin = live._begin

        def begins(*arguments, **options):
            jobs.append(begin(*arguments, **options))
            return jobs[-1]

        monkeypatch.setattr(live, "_begin", begins)
    yield
    if not request.node.stash.get(_FAILED, False):
        return
    stops = [threading.Thread(target=_stop, args=(job,), daemon=True) for job in jobs]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join(_STOP_S)  # one whose JobManager is gone hears nothing any more
    for topic in _topics() - before:
        parts = "" if broker.parts(topic) == [topic] else "/partitions"
        broker.admin("DELETE", f"{broker.rest_path(topic)}{parts}?force=true")


def _bring_back():
    """Start Pulsar where a test that failed left it killed: its failure is not that of the next."""
    from workbench import services as room

    url = urlsplit(endpoints().admin)
    try:
        socket.create_connection((url.hostname, url.port)).close()
    except ConnectionRefusedError:
        room.up(["pulsar"])


def _stop(job):
    with contextlib.suppress(Exception):  # of a cluster that is gone, in Java's words
        job.stop()


def _topics():
    """Those that a broker has; of one that is away none."""
    with contextlib.suppress(ServicesError):
        return set(broker.topics("public/default"))
    return set()


@pytest.fixture(scope="session")
def functions(services):
    """Let Pulsar run its functions worker, from now on; give its endpoints."""
    from workbench import services as room

    room.down(["pulsar"])
    room.up(["pulsar"], functions=True)
    return services


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """Start a real Kafka for a module's tests, in a home of its own; give the endpoints."""
    from workbench import services as room

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(tmp_path_factory.mktemp("kafka")))
        for one in fields(Endpoints):
            patch.delenv(one.metadata["env"], raising=False)
        try:
            room.up(["kafka"])
            yield endpoints()
        finally:
            room.down()


class StandInRegistry:
    """A stand-in for a schema registry: none that is real was to be had by a package's coordinates.

    It answers `GET /schemas/ids/{id}`, as Confluent's API Reference documents it, and no more.
    (Confluent's own Python client and deserializer take it for a registry.)

    Attributes
    ----------
    schemas
        By id: an Avro schema as JSON, the very content of an answer, or its bytes.
    asked
        Paths of the requests.
    login
        `user:password` that it wants; empty: none.
    trouble, page
        How many requests more it answers in trouble, and with which status and content.
    """

    def __init__(self, schemas):
        self.schemas, self.asked, self.login = schemas, [], ""
        self.trouble, self._port = 0, 0
        self.page = 503, {"error_code": 50301, "message": "Service Unavailable"}

    def answer(self, path, authorization):
        self.asked.append(path)
        if self.trouble:
            self.trouble -= 1
            return self.page
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and authorization != wanted:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        start, _, number = path.partition("?")[0].rpartition("/")
        if start != "/schemas/ids":
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        schema = self.schemas.get(int(number))
        if schema is None:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        is_answer = isinstance(schema, bytes) or "schema" in schema
        return 200, schema if is_answer else {"schema": json.dumps(schema)}

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"

    def start(self):
        """Listen: where it did before, if it did."""
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), _registry_handler(self))
        self._port = self._http.server_port
        loop = {"poll_interval": 0.05}
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs=loop)
        self._thread.start()

    def stop(self):
        """Refuse connections, as where the process is gone."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _registry_handler(registry):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, content = registry.answer(self.path, self.headers.get("authorization"))
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def short_beats(monkeypatch):
    """Let the hearts of jobs that this process starts beat every 2 s, in place of 10.

    For who waits for what a job has counted, and not for the time between two beats.
    """
    from workbench.stream.flink_sql import events

    monkeypatch.setattr(events, "BEAT_S", 2)


@pytest.fixture
def schema_registry(monkeypatch):
    """Serve schemas by id as the registry that is known, which stands in for a real one.

    A port may have been that of another test's: what is kept of its schemas is forgotten.
    """
    from workbench.history.schema_registry import _fetched

    with contextlib.ExitStack() as stack:

        def serve(schemas):
            _fetched.cache_clear()
            registry = StandInRegistry(schemas)
            registry.start()
            stack.callback(registry.stop)
            monkeypatch.setenv("WORKBENCH_SCHEMA_REGISTRY", registry.url)
            return registry

        yield serve


@contextlib.contextmanager
def chromium_page(**options):
    """Give a page of Debian's Chromium, or skip; `options` are those of Playwright's `new_page`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(**options)
        page.set_default_timeout(90_000)
        yield page
        browser.close()


@pytest.fixture
def page():
    """A page as wide as a laptop's screen."""
    with chromium_page(viewport={"width": 1400, "height": 1000}) as page:
        yield page


@pytest.fixture
def phone():
    """A page as wide as a phone."""
    size = {"width": 390, "height": 844}
    with chromium_page(viewport=size, device_scale_factor=2, has_touch=True) as page:
        yield page


class Lab(str):
    """The address of a JupyterLab, the folder that it serves, and what lets one in."""

    token = "a-token-for-this-test"  # noqa: S105

    def __new__(cls, url, project):
        lab = super().__new__(cls, url)
        lab.project = project
        return lab


@contextlib.contextmanager
def running_lab(project, **environment):
    """Start `workbench lab` on a folder; stop it and its kernels after."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"JUPYTER_TOKEN": Lab.token, "WORKBENCH_HOME": str(project / "home"), **environment}
    own |= {name: str(project / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    workbench = Path(sys.executable).parent / "workbench"
    command = [workbench, "lab", "--no-browser", "--port", str(port)]
    with (project / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=project, env={**os.environ, **own}, stdout=log, stderr=log
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/login", server, project / "log")
        yield Lab(f"http://127.0.0.1:{port}", project)
    finally:
        if server.poll() is None:
            _end(server.pid)
        server.wait(30)


def _wait_for(url, server, log):
    for _ in range(480):
        if server.poll() is not None:
            pytest.fail(f"JupyterLab ended: {log.read_text()}")
        try:
            requests.get(url, timeout=5)
        except requests.RequestException:
            time.sleep(0.25)
        else:
            return
    pytest.fail(f"JupyterLab did not answer: {log.read_text()}")


def _end(pid):
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    family[0].terminate()
    for one in psutil.wait_procs(family, timeout=20)[1]:
        one.kill()


@pytest.fixture(scope="session")
def laboratory():
    """Give what starts JupyterLab on a folder."""
    return running_lab


class Writer:
    """Builds any ledger, whole or broken, as the offloader of Pulsar 4.0.8 writes it."""

    UUID = "00000000-0000-4000-8000-000000000000"

    def varint(self, value):
        value &= (1 << 64) - 1
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    def protobuf(self, *fields):
        """Return (number, value) fields; a value is an int, bytes, or fields of its own."""
        out = b""
        for number, value in fields:
            if isinstance(value, int):
                out += self.varint(number << 3) + self.varint(value)
            else:
                raw = value if isinstance(value, bytes) else self.protobuf(*value)
                out += self.varint(number << 3 | 2) + self.varint(len(raw)) + raw
        return out

    def single(self, payload, *fields):
        """Return one message of a batch."""
        head = self.protobuf((3, len(payload)), *fields)
        return struct.pack(">I", len(head)) + head + payload

    def entry(self, payload, *fields, checksum=True, publish_ms=1_700_000_000_000):
        """Return an entry; `fields` are added to producer, sequence id and publish time."""
        head = self.protobuf((1, b"producer"), (2, 7), (3, publish_ms), *fields)
        body = struct.pack(">I", len(head)) + head + payload
        if not checksum:
            return body
        return b"\x0e\x01" + struct.pack(">I", google_crc32c.value(body)) + body

    def metadata(
        self, last_entry, entry_bytes, topic="public/default/persistent/t",
        created_ms=1_699_999_999_000,
    ):  # fmt: skip
        custom = [(11, [(1, b"pulsar/managed-ledger"), (2, topic.encode())])]
        return self.protobuf(
            (1, 1),
            (2, 1),
            (3, entry_bytes),
            (4, last_entry),
            (5, 3),
            (10, created_ms),
            *custom,
        )

    def blocks(self, entries, block_bytes=None):
        """Return (bytes, first entry) of each block; all but the last are `block_bytes` long."""
        rows = [struct.pack(">iq", len(raw), i) + raw for i, raw in enumerate(entries)]
        blocks, next_row = [], 0
        while next_row < len(rows) or not blocks:
            body, first = b"", next_row
            while next_row < len(rows) and (
                block_bytes is None or 128 + len(body) + len(rows[next_row]) <= block_bytes
            ):
                body += rows[next_row]
                next_row += 1
            size = 128 + len(body) if next_row == len(rows) else block_bytes
            head = struct.pack(">Iqqq", 0xFBDBABCB, 128, size, first).ljust(128, b"\0")
            padding = (b"\xfe\xdc\xde\xad" * (size // 4 + 1))[: size - 128 - len(body)]
            blocks.append((head + body + padding, first))
        return blocks

    def index(self, blocks, metadata, data_bytes=None):
        total = sum(len(raw) for raw, _ in blocks) if data_bytes is None else data_bytes
        size = 32 + len(metadata) + 20 * len(blocks)
        out = struct.pack(">Iiqqii", 0xDE47DE47, size, total, 128, len(blocks), len(metadata))
        out += metadata
        offset = 0
        for part, (raw, first) in enumerate(blocks, 1):
            out += struct.pack(">qiq", first, part, offset)
            offset += len(raw)
        return out

    def ledger(self, folder, entries, *, number=1, block_bytes=None, uuid=UUID, **metadata):
        """Write a ledger's two objects into `folder`; return the key of the data object."""
        blocks = self.blocks(entries, block_bytes)
        properties = self.metadata(len(entries) - 1, sum(map(len, entries)), **metadata)
        key = f"{uuid}-ledger-{number}"
        (folder / key).write_bytes(b"".join(raw for raw, _ in blocks))
        (folder / f"{key}-index").write_bytes(self.index(blocks, properties))
        return key


@pytest.fixture
def pulsar():
    return Writer()
