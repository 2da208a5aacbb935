"""Let this process score for a job on its mini cluster: soon, and with its own variables.

Flink starts a Python process for a job even where this process is to score. What PyFlink runs there
imports all of Beam, some four seconds, to send one request back here. This file, run as a script,
stands in for Python there and sends that request alone; all else that it is asked for, Python does.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import types
import zlib
from pathlib import Path
from typing import Any

_STARTER = ["-m", "pyflink.fn_execution.beam.beam_boot"]
_ADDRESS = "PYTHON_LOOPBACK_SERVER_ADDRESS"
_WORKERS_OWN = {"TABLE_LOCAL_TIME_ZONE"}  # what a worker reads of its variables


def python() -> Path:
    """Return what Flink is to call in place of Python, for the jobs of this process."""
    from workbench.endpoints import home

    command = shlex.join([sys.executable, "-P", __file__])  # -P: not this folder's modules
    path = home().resolve() / "flink" / f"python-{zlib.crc32(command.encode()):08x}"
    if len(str(path).split()) > 1:  # Flink's script calls it without quotes
        return Path(sys.executable)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        temporary.chmod(0o700)
        temporary.replace(path)
    return path


def keep_own_variables() -> None:
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


def _start(worker: str, provision: str) -> None:
    """Ask the process that runs the job to score, and wait until it has."""
    beam = types.ModuleType("apache_beam")  # its modules, without what it imports itself
    found = importlib.util.find_spec("apache_beam")
    beam.__path__ = list(found.submodule_search_locations or []) if found else []
    sys.modules["apache_beam"] = beam
    import grpc

    api = "apache_beam.portability.api.org.apache.beam.model"
    made = importlib.import_module(f"{api}.fn_execution.v1.beam_fn_api_pb2")
    stubs = importlib.import_module(f"{api}.fn_execution.v1.beam_fn_api_pb2_grpc")
    endpoints = importlib.import_module(f"{api}.pipeline.v1.endpoints_pb2")
    request = made.StartWorkerRequest(
        worker_id=worker,
        provision_endpoint=endpoints.ApiServiceDescriptor(url=provision),
        params={name: os.environ[name] for name in _WORKERS_OWN & set(os.environ)},
    )
    with grpc.insecure_channel(os.environ[_ADDRESS]) as channel:
        answer = stubs.BeamFnExternalWorkerPoolStub(channel).StartWorker(request)
    if answer.error:
        raise SystemExit(f"the worker does not start: {answer.error}")


def _main(arguments: list[str]) -> None:
    given = dict(one.lstrip("-").split("=", 1) for one in arguments[2:] if "=" in one)
    if arguments[:2] == _STARTER and _ADDRESS in os.environ:
        _start(given["id"], given["provision_endpoint"])
    else:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _main(sys.argv[1:])
