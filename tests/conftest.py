"""What more than one room's tests need."""

import os
from dataclasses import fields

import pytest

from workbench.endpoints import Endpoints, endpoints

_SERVICES_HOME = pytest.StashKey[str]()


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


@pytest.fixture(scope="module")
def functions(services):
    """Let Pulsar run its functions worker for a module's tests; give its endpoints."""
    from workbench import services as room

    room.down(["pulsar"])
    room.up(["pulsar"], functions=True)
    yield services
    room.down(["pulsar"])
    room.up(["pulsar"], functions=False)
