"""Let this process score for a job on its mini cluster: soon, and with its own variables.

Flink starts a Python process for a job even where this process is to score. What PyFlink runs there
imports all of Beam, some four seconds, to send one request back here. This file, run as a script,
stands in for Python there and sends that request alone; all else that it is asked for, Python does.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shlex
import sys
import tempfile
import threading
import types
import zlib
from pathlib import Path
from typing import Any

_STARTER = ["-m", "pyflink.fn_execution.beam.beam_boot"]
_ADDRESS = "PYTHON_LOOPBACK_SERVER_ADDRESS"
_READERS = {"read_grpc_client_inputs", "read_state", "read_log_control_messages"}  # Beam's threads
_WORKERS_OWN = {"TABLE_LOCAL_TIME_ZONE"}  # what a worker reads of its variables


def python() -> Path:
    """Return what Flink is to call in place of Python, for the jobs of this process."""
    from workbench import files
    from workbench.endpoints import home

    command = shlex.join([sys.executable, "-P", __file__])  # -P: not this folder's modules
    path = home().resolve() / "flink" / f"python-{zlib.crc32(command.encode()):08x}"
    if len(str(path).split()) > 1:  # Flink's script calls it without quotes
        return Path(sys.executable)
    if not path.exists():
        files.write_text(path, f'#!/bin/sh\nexec {command} "$@"\n', mode=0o700)
    return path


def score_here() -> None:
    """Let this process score for the jobs of its mini cluster; Beam's imports take a second."""
    _listen_privately()
    _keep_own_variables()


def _listen_privately() -> None:
    """Let this process take the workers' calls on a socket that its owner alone can reach.

    (PyFlink's takes them on a random port of every interface, and each call may bring code.)
    """
    from pyflink.fn_execution.beam.beam_worker_pool_service import BeamFnLoopbackWorkerPoolServicer

    BeamFnLoopbackWorkerPoolServicer.start = _listen


def _listen(pool: Any) -> str:
    """Return the address of the worker pool, which listens from the first call on."""
    kind = type(pool)  # PyFlink makes one per job, and they are one
    if not getattr(kind, "_listens_at", ""):
        import grpc
        from apache_beam.portability.api import beam_fn_api_pb2_grpc
        from apache_beam.utils import thread_pool_executor

        folder = tempfile.TemporaryDirectory(prefix="workbench-")  # rwx------
        atexit.register(folder.cleanup)
        server = grpc.server(thread_pool_executor.shared_unbounded_instance())
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
        address = f"unix:{folder.name}/pool"
        if not server.add_insecure_port(address):
            raise OSError(f"cannot listen at {address}")
        server.start()
        atexit.register(server.stop, 1)
        kind._listens_at = address
    return str(kind._listens_at)


def _keep_own_variables() -> None:
    """Keep this process's environment variables and working folder as they are while it scores.

    (PyFlink's worker within this process takes over those of the JVM, as they were when that one
    started: what was set since is lost, and no process that is started afterwards may use Flink.)
    """
    from pyflink.fn_execution.beam.beam_worker_pool_service import BeamFnLoopbackWorkerPoolServicer

    begin = BeamFnLoopbackWorkerPoolServicer.StartWorker
    if begin.__name__ == "begin_here":
        return

    def begin_here(self: object, request: Any, context: object) -> object:
        for name in set(request.params) - _WORKERS_OWN:
            del request.params[name]
        return begin(self, request, context)

    BeamFnLoopbackWorkerPoolServicer.StartWorker = begin_here


def let_flink_hang_up() -> None:
    """Let Beam's threads here, which wait for Flink, end without a word when a job has ended.

    (Each calls it an exception: a traceback in front of a person, and for a notebook that is run a
    failure. What became of the job, Flink says itself.)
    """
    said = threading.excepthook
    if hasattr(said, "of_beam"):
        return

    def heard(arguments: Any) -> None:
        import grpc

        thread = arguments.thread.name if arguments.thread else ""
        if thread not in _READERS or not isinstance(arguments.exc_value, grpc.RpcError):
            said(arguments)

    heard.of_beam = True  # type: ignore[attr-defined]
    threading.excepthook = heard


def _start(worker: str, provision: str) -> None:
    """Ask the process that runs the job to score, and wait until it has."""
    beam = types.ModuleType("apache_beam")  # its modules, without what it imports itself
    found = importlib.util.find_spec("apache_beam")
    beam.__path__ = list(found.submodule_search_locations or []) if found else []
    sys.modules["apache_beam"] = beam
    import grpc

    api = "apache_beam.portability.api.org.apache.beam.model"
    fn_api = importlib.import_module(f"{api}.fn_execution.v1.beam_fn_api_pb2")
    stubs = importlib.import_module(f"{api}.fn_execution.v1.beam_fn_api_pb2_grpc")
    endpoints = importlib.import_module(f"{api}.pipeline.v1.endpoints_pb2")
    request = fn_api.StartWorkerRequest(
        worker_id=worker,
        provision_endpoint=endpoints.ApiServiceDescriptor(url=provision),
        params={name: os.environ[name] for name in _WORKERS_OWN & set(os.environ)},
    )
    with grpc.insecure_channel(os.environ[_ADDRESS]) as channel:
        answer = stubs.BeamFnExternalWorkerPoolStub(channel).StartWorker(request)
    if answer.error:
        raise SystemExit(f"the worker does not start: {answer.error}")


def _main(arguments: list[str]) -> None:
    options = dict(
        argument.lstrip("-").split("=", 1) for argument in arguments[2:] if "=" in argument
    )
    if arguments[:2] == _STARTER and _ADDRESS in os.environ:
        _start(options["id"], options["provision_endpoint"])
    else:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _main(sys.argv[1:])
