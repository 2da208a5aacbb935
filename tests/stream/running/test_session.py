"""The job on a real session cluster, on real topics, through a stop and a dead JobManager."""

import http.server
import json
import socket
import ssl
import threading
import time

import numpy as np
import psutil
import pulsar
import pytest
import requests
import yaml
from click.testing import CliRunner

from workbench import desk, detectors
from workbench import services as room
from workbench.broker import connect
from workbench.cli import cli
from workbench.endpoints import endpoints, home
from workbench.errors import StreamError
from workbench.services import ingest_frame
from workbench.services.processes import processes
from workbench.stream.connectors.pulsar import lasting_position
from workbench.stream.promotion_log import add_package
from workbench.stream.running import session
from workbench.times import now_ms

LOOPBACK = {"127.0.0.1", "::1"}


@pytest.fixture(scope="module")
def cluster(services):
    """The session's services, and a Flink session cluster beside them."""
    try:
        room.up(["flink"])
        yield services.flink
    finally:
        room.down(["flink"])


@pytest.fixture
def packages(store, package_folder, tmp_path):
    """Two packages that score alike; the second has a higher threshold."""
    first = detectors.load(package_folder)
    detectors.save(first.detector, tmp_path / "b", threshold=3.5, rule=first.rule, training={})
    return add_package(package_folder), add_package(tmp_path / "b")


@pytest.fixture
def restarting():
    """A server that lists a counter, and has none of it any more when it is asked for it."""
    asked = []

    class JobManager(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = b"[]" if "?" in self.path else b'[{"id": "0.order.behind"}]'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), JobManager) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_counter_that_goes_while_it_is_asked_for_is_not_known(restarting):
    url, asked = restarting
    job = session.Submitted("plant", "7c1d0f", url, "", False, "2026-01-01T00:00:00Z")

    assert session._behind(job, ["v"]) is None
    metrics = "/jobs/7c1d0f/vertices/v/subtasks/metrics"
    assert asked == [metrics, f"{metrics}?get=0.order.behind"]


def write_stream(path, content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


class Topic:
    """What a job writes, read as it comes."""

    def __init__(self, client, name):
        self._reader = client.create_reader(name, pulsar.MessageId.earliest)
        self.messages = []

    def await_more(self, enough, timeout_s=180):
        deadline = time.monotonic() + timeout_s
        while not enough(self.messages) and time.monotonic() < deadline:
            try:
                self.messages.append(json.loads(self._reader.read_next(1000).data()))
            except pulsar.Timeout:
                continue
        return self.messages


def due(stream_lateness_ms, readings):
    """Which readings have been scored once these came: neither late nor still waited for."""
    times = detectors.epoch_ms(readings["event_time"])
    newest = np.maximum.accumulate(np.concatenate([[-(2**62)], times[:-1]]))
    late = times <= newest - stream_lateness_ms
    return ~late & (times <= times.max() - stream_lateness_ms)


@pytest.mark.flink
@pytest.mark.pulsar
def test_the_cluster_listens_on_loopback_only(cluster):
    assert open_to_others("jobmanager") + open_to_others("taskmanager") == []


@pytest.mark.flink
@pytest.mark.pulsar
def test_a_job_goes_on_where_it_was_stopped_or_lost(cluster, packages, readings, content, tmp_path):
    topic = "persistent://public/default/session-readings"
    scores = "persistent://public/default/session-scores"
    alerts = "persistent://public/default/session-alerts"
    path = write_stream(tmp_path / "pumps.yaml", content(topic=topic, scores=scores, alerts=alerts))
    sent = {"sensor": "pump", "time": "event_time", "values": ["pressure_bar", "flow_l_min"]}
    first, second = packages
    run = CliRunner()

    ingest_frame(readings.head(1000), topic, **sent)
    asked = ["stream", "run", path, "--target", "session", "--position", "earliest"]
    result = run.invoke(cli, [*asked, "--package", first], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "no heartbeat topic: nobody counts readings that are late" in result.output
    with connect() as client:
        client.create_producer(scores).close()
        seen = Topic(client, scores)
        seen.await_more(lambda scored: len(scored) >= due(30_000, readings.head(1000)).sum())
        assert session.status("pumps").state == "RUNNING"
        assert secrets_told(cluster) == []
        assert open_to_others("jobmanager") == []
        result = run.invoke(cli, ["stream", "savepoint", "pumps"], catch_exceptions=False)
        assert result.stdout.startswith("file:")

        with pytest.raises(StreamError, match=r"^stream pumps runs already: job [0-9a-f]{32} is"):
            session.submit(path, position="earliest", package=first)
        result = run.invoke(cli, ["stream", "stop", "pumps"], catch_exceptions=False)
        assert "savepoint file:" in result.output
        assert session.status("pumps").state == "FINISHED"

        ingest_frame(readings.iloc[1000:2000], topic, **sent)
        result = run.invoke(
            cli, ["stream", "resume", "pumps", "--package", second], catch_exceptions=False
        )
        assert "restored from file:" in result.output
        seen.await_more(lambda scored: len(scored) >= due(30_000, readings.head(2000)).sum())

        (job,) = session.remembered("pumps")
        await_checkpoint("pumps")
        since_ms = now_ms() - session.status("pumps").checkpoint_ms
        assert 0 <= since_ms < 600_000
        metrics = flink_metrics(path)
        assert metrics["workbench_job_up"] == [1.0]
        assert metrics["workbench_checkpoint_timestamp_seconds"][0] > time.time() - 600
        assert metrics["workbench_checkpoints"][0] >= 1
        assert "checkpoints, the newest " in run.invoke(cli, ["stream", "status", "pumps"]).output
        psutil.Process(room.status(["jobmanager"])[0].pids[0]).kill()
        ingest_frame(readings.iloc[2000:], topic, **sent)
        room.up(["flink"])
        assert session.status("pumps").state == "LOST"
        assert flink_metrics(path)["workbench_job_up"] == [0.0]
        session.resume("pumps")
        expected = due(30_000, readings)
        scored = seen.await_more(
            lambda scored: len({row["message_id"] for row in scored}) >= expected.sum()
        )

    result = run.invoke(cli, ["stream", "status", "pumps", "--json"], catch_exceptions=False)
    assert json.loads(result.output)["state"] == "RUNNING"
    assert await_count("pumps") == 0
    session.stop("pumps", with_savepoint=False)
    assert session.status("pumps").state == "CANCELED"
    by_id = {row["message_id"]: row for row in scored}
    assert len(by_id) == expected.sum()
    batch = detectors.score_readings(
        detectors.load(tmp_path / "b").detector, readings[expected], sensor="pump"
    )
    _same_scores(by_id, readings[expected], batch)
    packages_seen = [row["package"] for row in scored]
    assert set(packages_seen) == {first, second}
    assert job.package == second


def _same_scores(by_id, readings, batch):
    """Each reading, by sensor and time, has the score of the batch path."""
    times = detectors.epoch_ms(readings["event_time"])
    wanted = {}
    for sensor, event_ms, score in zip(readings["pump"], times, batch, strict=True):
        wanted.setdefault((sensor, event_ms), []).append(score)
    given = {}
    for one in by_id.values():
        score = np.nan if one["score"] is None else one["score"]
        given.setdefault((one["sensor"], one["event_ms"]), []).append(score)
    assert given.keys() == wanted.keys()
    for key, scores in given.items():
        np.testing.assert_allclose(np.sort(scores), np.sort(wanted[key]), rtol=1e-9)


@pytest.mark.flink
@pytest.mark.pulsar
def test_the_rest_api_answers_who_knows_the_password_and_no_page_of_another_site(cluster):
    ours = ("workbench", endpoints().flink_password)

    def ask(**options):
        return requests.get(f"{cluster}/overview", timeout=10, **options).status_code

    assert ask(auth=ours) == 200
    assert ask() == ask(auth=("workbench", "another")) == 401
    assert ask(auth=ours, headers={"Host": "rebound.example:80"}) == 403
    assert ask(auth=ours, headers={"Origin": "http://rebound.example"}) == 403
    assert requests.post(f"{cluster}/jobs", timeout=10).status_code == 401
    assert requests.post(f"{cluster}/jars/upload", timeout=10, auth=ours).status_code == 404


@pytest.mark.flink
@pytest.mark.pulsar
def test_jobmanager_and_taskmanager_hear_none_but_each_other(cluster):
    inner = {
        one.laddr
        for name in ("jobmanager", "taskmanager")
        for process in processes(name)
        for one in process.net_connections("tcp")
        if one.status == "LISTEN" and f"http://{one.laddr[0]}:{one.laddr[1]}" != cluster
    }
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE

    assert len(inner) >= 4
    for address in inner:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            speak(address, stranger)


def speak(address, context):
    """Say something under TLS, and hear the answer."""
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain) as speaking,
    ):
        speaking.sendall(bytes(64))
        if not speaking.recv(64):
            raise ConnectionError("closed")


def open_to_others(name):
    """Where a service and all below it listen besides loopback."""
    return [
        (one.laddr, process.cmdline()[-3:])
        for process in processes(name)
        for one in process.net_connections("tcp")
        if one.status == "LISTEN" and one.laddr[0].removeprefix("::ffff:") not in LOOPBACK
    ]


def await_count(name):
    """Return how many readings are counted as behind, once the JobManager has been told of it."""
    deadline = time.monotonic() + 60
    while session.status(name).behind is None and time.monotonic() < deadline:
        time.sleep(1)
    return session.status(name).behind


def flink_metrics(path):
    """What a scrape tells of the job on its cluster."""
    families = desk.StreamMetrics([path]).collect()
    return {family.name: [sample.value for sample in family.samples] for family in families}


def await_checkpoint(name):
    before = session.status(name).checkpoints
    deadline = time.monotonic() + 60
    while session.status(name).checkpoints <= before and time.monotonic() < deadline:
        time.sleep(0.5)


def secrets_told(web):
    """Where secrets stand that should stand nowhere."""
    (job,) = session.remembered("pumps")
    ours = ("workbench", endpoints().flink_password)
    answers = {
        path: requests.get(web + path, timeout=10, auth=ours).text
        for path in (
            "/jobmanager/config",
            "/jobmanager/environment",
            "/jobmanager/log",
            f"/jobs/{job.job}",
            f"/jobs/{job.job}/config",
            f"/jobs/{job.job}/plan",
            f"/jobs/{job.job}/exceptions",
        )
    }
    answers |= {
        str(path): path.read_text(errors="replace")
        for path in (home() / "logs").rglob("*")
        if path.is_file()
    }
    assert "security.ssl" in answers["/jobmanager/config"], "nothing was told"
    secrets = (endpoints().broker_token, ours[1])
    return [place for place, text in answers.items() if any(each in text for each in secrets)]


@pytest.mark.pulsar
def test_latest_is_where_the_topic_ends_when_the_job_is_submitted(services, readings):
    topic = "persistent://public/default/session-latest"
    sent = {"sensor": "pump", "time": "event_time", "values": ["pressure_bar"]}
    ingest_frame(readings.head(10), topic, **sent)

    position = lasting_position(topic, "latest", "workbench-latest")

    ledger, entry, _ = map(int, position.split(":"))
    with connect() as client:
        at = pulsar.MessageId(-1, ledger, entry, -1)
        reader = client.create_reader(topic, at, start_message_id_inclusive=True)
        assert not reader.has_message_available()
        ingest_frame(readings.tail(1), topic, **sent)
        assert reader.read_next(10_000).message_id().ledger_id() >= ledger
    assert lasting_position(topic, "earliest", "workbench-latest") == "earliest"
    assert position.endswith(":-1")


def test_a_stream_that_was_never_submitted_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))

    with pytest.raises(StreamError) as error:
        session.status("pumps")

    assert str(error.value) == (
        "stream pumps was never submitted to a session cluster\n"
        "  workbench stream run pumps --target session"
    )


def test_a_cluster_that_does_not_answer_is_told(tmp_path, monkeypatch, stream):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))

    with pytest.raises(StreamError) as error:
        session.submit(stream, jobmanager="127.0.0.1:1")

    assert str(error.value) == (
        "no JobManager answers at http://127.0.0.1:1 (ConnectionError)\n"
        "  workbench services up flink, or name another one with --jobmanager HOST:PORT"
    )


def test_a_stream_without_a_checkpoint_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))

    with pytest.raises(StreamError) as error:
        session.newest_state("pumps")

    assert str(error.value) == (
        "stream pumps has no checkpoint and no savepoint\n"
        f"  in {tmp_path / 'flink' / 'checkpoints' / 'pumps'}\n"
        "  workbench stream run pumps --target session --position earliest"
    )
