"""What more than one room's tests need."""

from dataclasses import fields

import pytest

from workbench.endpoints import Endpoints, endpoints


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """Start a real Pulsar and S3 endpoint for the whole session; give their endpoints.

    An offloaded ledger leaves BookKeeper at the next trim (no deletion lag).
    """
    from workbench import services as room

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(tmp_path_factory.mktemp("workbench")))
        for one in fields(Endpoints):
            patch.delenv(one.metadata["env"], raising=False)
        try:
            room.up(deletion_lag_ms=0)
            yield endpoints()
        finally:
            room.down()


@pytest.fixture(scope="module")
def functions(services):
    """Let Pulsar run its functions worker for a module's tests; give its endpoints."""
    from workbench import services as room

    room.down(["pulsar"])
    room.up(["pulsar"], functions=True)
    yield services
    room.down(["pulsar"])
    room.up(["pulsar"], functions=False)
