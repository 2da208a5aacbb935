"""What Flink calls to start Python, where the process that runs the job is to score."""

import os
import subprocess
import sys
from concurrent import futures

import pytest

from workbench.stream.running import loopback

STARTER = ["-m", "pyflink.fn_execution.beam.beam_boot", "--id=1-1", "--provision_endpoint=here:7"]


@pytest.fixture
def python(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    return loopback.python()


@pytest.fixture
def pool():
    """A worker pool as PyFlink has one: what it was asked, and what it shall answer."""
    grpc = pytest.importorskip("grpc")
    from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import (
        beam_fn_api_pb2,
        beam_fn_api_pb2_grpc,
    )

    class Pool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
        error, asked = "", ()

        def StartWorker(self, request, context):  # noqa: N802 - Beam's name
            self.asked += ((request.worker_id, request.provision_endpoint.url, request.params),)
            return beam_fn_api_pb2.StartWorkerResponse(error=self.error)

    server, pool = grpc.server(futures.ThreadPoolExecutor(1)), Pool()
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    pool.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield pool
    server.stop(None).wait()


def start(python, pool):
    variables = {
        **os.environ,
        "PYTHON_LOOPBACK_SERVER_ADDRESS": pool.address,
        "TABLE_LOCAL_TIME_ZONE": "UTC",
        "PYTHONVERBOSE": "1",  # names on stderr what is imported
    }
    return subprocess.run([python, *STARTER], capture_output=True, text=True, env=variables)


def test_the_process_of_the_job_is_asked_to_score_and_beam_is_not_imported(python, pool):
    done = start(python, pool)

    assert done.returncode == 0, done.stderr
    assert pool.asked == (("1-1", "here:7", {"TABLE_LOCAL_TIME_ZONE": "UTC"}),)
    assert "import 'grpc'" in done.stderr
    assert "import 'apache_beam.pipeline'" not in done.stderr


def test_why_it_cannot_score_is_told(python, pool):
    pool.error = "no room"

    done = start(python, pool)

    assert done.returncode == 1
    assert "the worker does not start: no room" in done.stderr


def test_all_else_python_does(python):
    say = "import sys; print(sys.argv[1:], sys.executable)"

    done = subprocess.run([python, "-c", say, "a b", "$c"], capture_output=True, text=True)

    assert done.stdout == f"['a b', '$c'] {sys.executable}\n", done.stderr
    assert loopback.python() == python


def test_a_folder_with_a_blank_leaves_flink_with_python_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "my plant"))

    assert str(loopback.python()) == sys.executable


def test_a_folder_given_relative_to_here_is_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", "here")

    assert loopback.python().is_relative_to(tmp_path / "here")


HANG_UP = """
import threading, grpc
from workbench.stream.running.loopback import let_flink_hang_up

let_flink_hang_up()
let_flink_hang_up()

def call():
    grpc.insecure_channel("127.0.0.1:1").unary_unary("/nobody/there")(b"", timeout=5)

def divide():
    1 / 0

for name, work in (("read_state", call), ("read_grpc_client_inputs", call), ("mine", call),
                   ("read_state", divide)):
    thread = threading.Thread(target=work, name=name)
    thread.start()
    thread.join()
"""


def test_a_thread_of_beam_ends_without_a_word_when_flink_hangs_up_and_no_other_does():
    done = subprocess.run([sys.executable, "-c", HANG_UP], capture_output=True, text=True)

    begun = [line for line in done.stderr.splitlines() if line.startswith("Exception in thread")]
    assert done.returncode == 0
    assert begun == ["Exception in thread mine:", "Exception in thread read_state:"]
    assert "ZeroDivisionError" in done.stderr
