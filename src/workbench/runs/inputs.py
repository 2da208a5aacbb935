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
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import workbench
from workbench.endpoints import project
from workbench.runs.parameters import read_cells
from workbench.runs.specs import Plan, shown


def inputs(plan: Plan) -> dict[str, Any]:
    """Return everything that a run of `plan` depends on and that is known before it."""
    return {
        "notebook": shown(plan.notebook),
        "notebook_sha256": _notebook_hash(plan.notebook, plan.notebook.stat().st_mtime_ns),
        "parameters": plan.parameters,
        "files": {shown(path): _file_hash(path) for path in _files(plan.parameters)},
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
    """Return the version of every package that is installed, by name."""
    found = ((one.name, one.version) for one in metadata.distributions())
    return {name.lower(): version for name, version in sorted(found) if name != "workbench"}


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


@cache
def _notebook_hash(path: Path, _modified_ns: int) -> str:
    return digest([(cell.kind, cell.source, cell.tags) for cell in read_cells(path)])


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(value: object) -> list[Path]:
    """Return the files (not folders) that texts in `value` name, from the project's folder."""
    if isinstance(value, dict):
        return sorted({one for inner in value.values() for one in _files(inner)})
    if isinstance(value, list):
        return sorted({one for inner in value for one in _files(inner)})
    if not isinstance(value, str) or not 0 < len(value) < 1000 or "\0" in value:
        return []
    path = project() / value
    try:
        return [path] if path.is_file() else []
    except OSError:  # a text that no file system takes for a name
        return []
