import contextlib
import json

import psutil
import pulsar
import pytest

from workbench import broker
from workbench import services as room
from workbench.broker import connect
from workbench.errors import ServicesError
from workbench.services import artifacts
from workbench.services.processes import processes

FUNCTION = """
import google.protobuf
import numpy as np
from pulsar import Function


class Mean(Function):
    def process(self, text, context):
        return f"{np.mean([float(one) for one in text.split()])} {np.__version__}"
"""


def deploy(name, source):
    """Register a Python function that reads NAME-in and writes NAME-out."""
    config = {
        "tenant": "public",
        "namespace": "default",
        "name": name,
        "className": f"{name}.Mean",
        "inputs": [f"persistent://public/default/{name}-in"],
        "output": f"persistent://public/default/{name}-out",
        "runtime": "PYTHON",
        "autoAck": True,
        "parallelism": 1,
    }
    parts = {
        "functionConfig": (None, json.dumps(config), "application/json"),
        "data": (f"{name}.py", source.encode(), "application/octet-stream"),
    }
    path = f"/admin/v3/functions/public/default/{name}"
    broker.check(broker.admin("POST", path, files=parts))


@pytest.mark.pulsar
def test_a_python_function_runs_on_our_own_packages(functions):
    import numpy as np

    deploy("mean", FUNCTION)
    with connect() as client:
        answers = client.subscribe("mean-out", "test")
        readings = client.create_producer("mean-in")
        answer = None
        for _ in range(120):  # a Python function reads what comes after it subscribed
            readings.send(b"1 2 6")
            with contextlib.suppress(pulsar.Timeout):
                answer = answers.receive(timeout_millis=1000)
                break

    assert answer.data().decode() == f"3.0 {np.__version__}"
    listening = {
        (place.laddr.ip.removeprefix("::ffff:"), place.laddr.port)
        for process in processes("pulsar")
        for place in process.net_connections("tcp")
        if place.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= len(room.ports("pulsar")) + 2  # it tells its status and its metrics
    assert {address for address, _ in listening} == {"127.0.0.1"}


@pytest.mark.pulsar
def test_the_functions_worker_answers_once_pulsar_is_up(functions):
    assert broker.get("/worker/cluster/leader")["workerHostname"] == "127.0.0.1"


@pytest.mark.pulsar
def test_options_that_a_running_pulsar_does_not_have_are_refused(functions):
    with pytest.raises(ServicesError) as error:
        room.up(["pulsar"], functions=False)

    assert str(error.value) == (
        "pulsar runs with functions True, not False\n"
        "  workbench services down pulsar, then up again"
    )


@pytest.mark.slow
def test_packages_that_pip_does_not_get_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")

    with pytest.raises(ServicesError) as error:
        artifacts.function_packages()

    pins = artifacts._LOCK.with_name("functions.txt")
    assert str(error.value).startswith("pip fails: ERROR: No matching distribution found for ")
    assert str(error.value).endswith(f"\n  in {pins}")
