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
