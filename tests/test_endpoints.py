"""Where the outside world is read from."""

import json
from dataclasses import fields

import pytest

from workbench import endpoints


def test_a_notebook_and_the_shell_mean_the_same_project(tmp_path, monkeypatch):
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()

    monkeypatch.chdir(tmp_path / "notebooks")

    assert endpoints.project() == tmp_path


def test_the_environment_wins_over_the_local_services(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    (tmp_path / "services.json").write_text(
        '{"endpoints": {"broker": "pulsar://127.0.0.1:1", "admin": "http://127.0.0.1:2"}}'
    )
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://plant:6650")
    monkeypatch.delenv("WORKBENCH_ADMIN", raising=False)

    known = endpoints.endpoints()

    assert (known.broker, known.admin) == ("pulsar://plant:6650", "http://127.0.0.1:2")


LOCAL = {
    "broker": "pulsar://127.0.0.1:1", "admin": "http://127.0.0.1:2", "broker_token": "token",
    "kafka": "127.0.0.1:3", "kafka_config": "/home/client.properties",
    "flink": "http://127.0.0.1:4", "flink_password": "password",
    "s3_endpoint": "http://127.0.0.1:5", "s3_key": "key", "s3_secret": "secret",
}  # fmt: skip


@pytest.fixture
def local(tmp_path, monkeypatch):
    """Local services, of which the environment says nothing."""
    for each in fields(endpoints.Endpoints):
        monkeypatch.delenv(each.metadata["env"], raising=False)
    monkeypatch.delenv("WORKBENCH_BROKER_TOKEN_FILE", raising=False)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    (tmp_path / "services.json").write_text(json.dumps({"endpoints": LOCAL}))


@pytest.mark.parametrize(
    ("variable", "address", "hidden"),
    [
        ("WORKBENCH_BROKER", "pulsar://plant:6650", {"broker_token"}),
        ("WORKBENCH_ADMIN", "http://plant:8080", {"broker_token"}),
        ("WORKBENCH_KAFKA", "plant:9092", {"kafka_config"}),
        ("WORKBENCH_FLINK", "http://plant:8081", {"flink_password"}),
        ("AWS_ENDPOINT_URL", "http://plant:9000", {"s3_key", "s3_secret"}),
    ],
)
def test_what_lets_one_into_a_local_service_is_shown_to_no_other(
    local, variable, address, hidden, monkeypatch
):
    before = endpoints.endpoints()
    monkeypatch.setenv(variable, address)

    assert {getattr(before, name) for name in LOCAL} == set(LOCAL.values())
    changed = endpoints.endpoints()
    secrets = {"broker_token", "kafka_config", "flink_password", "s3_key", "s3_secret"}
    assert {name for name in secrets if getattr(changed, name) != LOCAL[name]} == hidden
    assert {getattr(changed, name) for name in hidden} == {""}


def test_an_address_that_is_said_to_be_the_local_one_is_let_in(local, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER", LOCAL["broker"])

    assert endpoints.endpoints().broker_token == LOCAL["broker_token"]


def test_a_token_of_ones_own_goes_before_the_local_one(local, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN_FILE", str(tmp_path / "token"))
    (tmp_path / "token").write_text("mine")
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://plant:6650")

    assert endpoints.endpoints().broker_token == "mine"  # noqa: S105 - no secret


def test_a_broker_that_is_named_is_not_shown_the_token_of_the_local_one(local, monkeypatch):
    assert endpoints.token_for(f"{LOCAL['admin']}/") == LOCAL["broker_token"]
    assert endpoints.token_for("http://plant:8080") == ""
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", "mine")
    assert endpoints.token_for("http://plant:8080") == "mine"


def test_a_secret_is_not_in_the_repr(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    assert "hunter2" not in repr(endpoints.endpoints())


def test_a_token_may_stand_in_a_file(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("hunter2\n")
    monkeypatch.delenv("WORKBENCH_BROKER_TOKEN", raising=False)
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN_FILE", str(path))

    assert endpoints.endpoints().broker_token == path.read_text().strip()
    assert endpoints.broker_token_file() == path


def test_a_token_is_passed_to_jobs_in_a_file_that_its_owner_alone_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", "hunter2")
    monkeypatch.delenv("WORKBENCH_BROKER_TOKEN_FILE", raising=False)

    path = endpoints.broker_token_file()

    assert path.read_text() == "hunter2"
    assert path.stat().st_mode & 0o777 == 0o600
