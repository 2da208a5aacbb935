"""Where the outside world is read from."""

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
