"""The Python that runs Flink's jobs, where the one that was asked has no Flink.

apache-flink 1.20 has no wheels for Python 3.12 and later, and pins numpy, pandas and pyarrow of its
day. Everything else of this package runs on today's. So a command that needs Flink is handed to an
interpreter that has it: `WORKBENCH_FLINK_PYTHON`, or an environment that uv makes from the lock
file under `WORKBENCH_HOME`, which sees the very files of this package.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from workbench import files
from workbench.endpoints import home
from workbench.errors import ServicesError

PYTHON = "3.11"
CALLER = "WORKBENCH_CALLER"  # versions of the environment that handed a command over, JSON
EXTRAS = ("services", "stream", "notebooks", "kafka")
_CALLERS = ("numpy", "pandas", "pyarrow", "pyod", "scikit-learn", "workbench")


def has_flink() -> bool:
    """Tell whether this interpreter has PyFlink."""
    return find_spec("pyflink") is not None


def flink_interpreter() -> Path | None:
    """Return the interpreter that runs Flink's jobs; None if there is none yet.

    Raises
    ------
    ServicesError
        If `WORKBENCH_FLINK_PYTHON` names no file.
    """
    if has_flink():
        return Path(sys.executable)
    given = os.environ.get("WORKBENCH_FLINK_PYTHON")
    if given and not Path(given).is_file():
        raise ServicesError(
            f"WORKBENCH_FLINK_PYTHON is {given}: no such file",
            hint="name a Python 3.11 that has apache-flink, or unset it: workbench stream setup",
        )
    if given:
        return Path(given)
    return _interpreter() if _ready() else None


def make_flink_interpreter() -> Path:
    """Return the interpreter that runs Flink's jobs; make its environment if there is none.

    It takes some two minutes and 2 GiB. Only one process at a time makes it; one that is killed
    leaves nothing that counts.

    Raises
    ------
    ServicesError
        If uv finds no Python 3.11, or cannot install what the lock file names.
    """
    existing = flink_interpreter()
    if existing is not None:
        return existing
    with files.locked(home() / "flink-python.lock"):
        if not _ready():
            _make()
    return _interpreter()


def hand_over(arguments: list[str]) -> None:
    """Go on as the Python that has Flink, with the same command; this process becomes it.

    Raises
    ------
    ServicesError
        If this process is one that a command was handed over to, and has no Flink either.
    """
    if CALLER in os.environ:
        raise ServicesError(
            f"{sys.executable} has no apache-flink, and commands that need it are handed to it",
            hint="let WORKBENCH_FLINK_PYTHON name a Python 3.11 that has it, or unset it",
        )
    interpreter = make_flink_interpreter()
    caller = {name: importlib.metadata.version(name) for name in _CALLERS}
    caller = {"python": platform.python_version(), **caller}
    environment = {**os.environ, CALLER: json.dumps(caller)}
    command = [str(interpreter), "-c", "from workbench.cli import main; main()", *arguments]
    sys.stdout.flush()
    os.execve(interpreter, command, environment)  # noqa: S606 - the interpreter is found above


def caller_versions() -> dict[str, str]:
    """Return the versions of the environment that handed this command over: `caller NAME`."""
    handed = json.loads(os.environ.get(CALLER, "{}"))
    return {f"caller {name}": str(version) for name, version in handed.items()}


def _folder() -> Path:
    return home() / "flink-python"


def _interpreter() -> Path:
    return _folder() / "bin" / "python"


def _ready() -> bool:
    mark = _folder() / ".ready"
    return mark.is_file() and mark.read_text() == _state()


def _state() -> str:
    """Return what an environment is made of; another state needs another environment."""
    package = Path(__file__).parents[1]
    lock = hashlib.sha256(_lock().read_bytes()).hexdigest()
    return f"{package} {importlib.metadata.version('workbench')} {lock}"


def _lock() -> Path:
    """Return the lock file: in a wheel inside the package, in a clone at its top."""
    package = Path(__file__).parents[1]
    inside = package / "requirements.lock"
    return inside if inside.is_file() else package.parents[1] / "requirements.lock"


def _make() -> None:
    folder = _folder()
    _uv("venv", "--clear", "--python", PYTHON, str(folder))
    wanted = [str(requirement) for requirement in _requirements()]
    _uv("pip", "install", "--python", str(_interpreter()), "-c", str(_lock()), *wanted)
    packages = folder / "lib" / f"python{PYTHON}" / "site-packages"
    (packages / "workbench").symlink_to(Path(__file__).parents[1])
    mine = importlib.metadata.distribution("workbench")
    described = packages / f"workbench-{mine.version}.dist-info" / "METADATA"
    described.parent.mkdir()
    files.write_text(described, mine.read_text("METADATA") or "")
    files.write_text(folder / ".ready", _state())


def _requirements() -> Iterator[Requirement]:
    """Yield what this package asks for beside Flink, on Flink's Python."""
    for text in importlib.metadata.requires("workbench") or []:
        asked = Requirement(text)
        places = [{"python_version": PYTHON, "extra": extra} for extra in ("", *EXTRAS)]
        if asked.name != "workbench" and (
            asked.marker is None or any(asked.marker.evaluate(place) for place in places)
        ):
            asked.marker = None
            yield asked


def _uv(*arguments: str) -> None:
    if find_spec("uv") is None:
        raise ServicesError(
            "uv is not installed, which makes the environment that Flink needs",
            hint="pip install uv; or name a Python 3.11 that has apache-flink by "
            "WORKBENCH_FLINK_PYTHON",
        )
    done = subprocess.run(
        [sys.executable, "-m", "uv", "--quiet", *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise ServicesError(
            f"uv {arguments[0]} failed: {(done.stderr or done.stdout).strip()}",
            hint="Flink's environment is not made; "
            "WORKBENCH_FLINK_PYTHON may name one that is there",
        )
