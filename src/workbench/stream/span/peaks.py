"""How much memory was resident at most: of this process, and of the JVM that Flink runs in."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

_RESET = "5"  # of proc_pid_clear_refs(5): the peak of resident memory is what is resident now


def forget() -> None:
    """Let peaks be counted from now on; where the system does not allow it, from the beginning."""
    for process in ("self", _flink()):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text(_RESET)


def peaks_mib() -> tuple[float, float]:
    """Return the peaks of this process and of Flink's, MiB; 0: there is none."""
    return _peak_mib("self"), _peak_mib(_flink())


def _peak_mib(process: str) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    said = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(said[1]) / 1024 if said else 0.0


def _flink() -> str:
    """Return the id of the JVM that PyFlink has started; empty: none yet.

    Nothing is imported for it: whether there is a Flink at all is told where a job is to start.
    """
    gateway = getattr(sys.modules.get("pyflink.java_gateway"), "_gateway", None)
    return "" if gateway is None else str(gateway.jvm.java.lang.ProcessHandle.current().pid())


__all__ = ["forget", "peaks_mib"]
