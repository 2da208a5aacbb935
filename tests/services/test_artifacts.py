import pytest
from jgo.maven import MavenContext

from workbench.errors import ServicesError
from workbench.services import artifacts, connector_jars


@pytest.mark.parametrize("group", artifacts.GROUPS)
def test_every_file_is_pinned_with_size_and_sha256(group):
    pins = artifacts.pinned(group)

    assert [pin for pin in pins if pin.size < 100 or len(pin.sha256) != 64] == []
    roots, _ = artifacts.GROUPS[group]
    assert [pin.coordinates for pin in pins[: len(roots)]] == roots  # class path order


def test_a_version_that_is_not_in_the_lock_is_refused(monkeypatch):
    roots = ["org.apache.flink:flink-connector-pulsar:4.2.0-1.20"]
    monkeypatch.setitem(artifacts.GROUPS, "connector", (roots, True))

    with pytest.raises(ServicesError) as error:
        connector_jars()

    assert str(error.value) == (
        "nothing is pinned for org.apache.flink:flink-connector-pulsar:4.2.0-1.20\n"
        f"  in {artifacts._LOCK}\n"
        "  after a change of version: python -m workbench.services.artifacts"
    )


@pytest.mark.slow
def test_a_download_that_was_cut_short_is_fetched_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    pin = artifacts.pinned("connector")[0]
    path = artifacts._path(pin)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of a jar")
    monkeypatch.setattr(artifacts, "pinned", lambda group: [pin])

    assert artifacts.fetch("connector") == [path]
    assert path.stat().st_size == pin.size


def test_a_file_that_is_not_what_was_pinned_is_refused_and_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    pin = artifacts.pinned("connector")[0]
    other = artifacts.Pin(pin.coordinates, pin.size, "0" * 64)
    monkeypatch.setattr(artifacts, "pinned", lambda group: [other])

    with pytest.raises(ServicesError) as error:
        artifacts.fetch("connector")

    path = artifacts._path(pin)
    assert str(error.value) == (
        f"{pin.coordinates} has sha256 {pin.sha256}, pinned is {'0' * 64}\n"
        f"  in {path}\n"
        "  it was damaged or replaced on the way, and is removed: try again"
    )
    assert not path.exists()


def test_without_a_network_the_download_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    pin = artifacts.pinned("connector")[0]
    monkeypatch.setattr(artifacts, "pinned", lambda group: [pin])

    with pytest.raises(ServicesError) as error:
        artifacts.fetch("connector")

    assert str(error.value) == (
        f"cannot download {pin.coordinates}: ProxyError\n"
        f"  in {', '.join(MavenContext().remote_repos.values())}\n"
        "  is there a network, and does it need a proxy (HTTPS_PROXY)?"
    )
