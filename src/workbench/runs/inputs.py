"""What a run is made of, and the hash of it.

Two parts. The *key* is known before a run: notebook, parameters, the files they name, package
versions, the code of workbench. The *data* is known after it: what the notebook's replays read.
The id of a run hashes both. An earlier run stands for a new one if its key is the same and its
data would be read the same again (same objects, same etags).
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import workbench
from workbench.endpoints import project
from workbench.runs.planning.documents import project_path
from workbench.runs.planning.parameters import read_cells
from workbench.runs.planning.specs import Plan


def inputs(plan: Plan) -> dict[str, Any]:
    """Return everything that a run of `plan` depends on and that is known before it."""
    return {
        "notebook": project_path(plan.notebook),
        "notebook_sha256": notebook_hash(plan.notebook),
        "parameters": plan.parameters,
        "files": {project_path(path): _file_hash(path) for path in _files(plan.parameters)},
        "code_sha256": code_hash(),
        "python": platform.python_version(),
        "packages": packages(),
    }


def key(known: dict[str, Any]) -> str:
    """Return the hash of what `inputs` returned; where the notebook stands does not matter."""
    return digest({name: value for name, value in known.items() if name != "notebook"})


def digest(value: object) -> str:
    """Return the SHA-256 of `value` as canonical JSON, in hex.

    Examples
    --------
    >>> digest({"a": 1, "b": 2.5}) == digest({"b": 2.5, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def packages() -> dict[str, str]:
    """Return the version of every package that is installed, by name.

    Setuptools' own copies of others are none: whoever imports `pkg_resources`, as Flink's Python
    does, has them on the path from then on, and a run would be another before and after.
    """
    places = [place for place in sys.path if Path(place).name != "_vendor"]
    installed = ((each.name, each.version) for each in metadata.distributions(path=places))
    return {name.lower(): version for name, version in sorted(installed) if name != "workbench"}


@cache
def code_hash() -> str:
    """Return the hash of workbench's own code, the command line left out."""
    root = Path(workbench.__file__).parent
    code = {
        str(path.relative_to(root)): _file_hash(path)
        for path in sorted(root.rglob("*.py"))
        if path.parent.name != "cli"
    }
    return digest(code)


def notebook_hash(path: Path) -> str:
    """Return the hash of a notebook's cells, its outputs left out."""
    return _notebook_hash(path, path.stat().st_mtime_ns)


@cache
def _notebook_hash(path: Path, _modified_ns: int) -> str:
    return digest([(cell.kind, cell.source, cell.tags) for cell in read_cells(path)])


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(value: object) -> list[Path]:
    """Return the files (not folders) that texts in `value` name, from the project's folder."""
    if isinstance(value, dict):
        return sorted({file for inner in value.values() for file in _files(inner)})
    if isinstance(value, list):
        return sorted({file for inner in value for file in _files(inner)})
    if not isinstance(value, str) or not 0 < len(value) < 1000 or "\0" in value:
        return []
    path = project() / value
    try:
        return [path] if path.is_file() else []
    except OSError:  # a text that no file system takes for a name
        return []
