"""In what two runs differ."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from workbench.runs.columns import as_text, flat
from workbench.runs.store import Run


def differences(first: Run, second: Run) -> Iterator[dict[str, str]]:
    """Yield one row for each parameter, input, piece of data and metric in which they differ.

    `what` says of which kind it is; a value that a run has not is "-". Numbers are the same to a
    relative 1e-9, as sums in another order may be.
    """
    for what, mine, theirs in (
        ("parameter", flat(first.params), flat(second.params)),
        ("data", _data(first), _data(second)),
        ("input", _inputs(first), _inputs(second)),
        ("metric", flat(first.metrics), flat(second.metrics)),
        ("package", _package(first), _package(second)),
    ):
        for name in dict.fromkeys([*mine, *theirs]):
            if not _same(mine.get(name), theirs.get(name)):
                yield {
                    "what": what,
                    "name": name,
                    first.id: as_text(mine.get(name, "-")),
                    second.id: as_text(theirs.get(name, "-")),
                }


def _same(first: object, other: object) -> bool:
    if isinstance(first, float) and isinstance(other, float):
        return math.isclose(first, other, rel_tol=1e-9)
    return first == other


def _package(run: Run) -> dict[str, str]:
    """Return the hash of each file of the run's detector package, by name."""
    if run.package is None:
        return {}
    files = sorted(path for path in run.package.rglob("*") if path.is_file())
    return {
        str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _inputs(run: Run) -> dict[str, Any]:
    skipped = ("data", "parameters", "notebook")
    return flat({key: value for key, value in run.manifest.items() if key not in skipped})


def _data(run: Run) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for manifest in run.manifest["data"]:
        topic = manifest.get("topic", "")
        for key, value in manifest.items():
            if key == "objects":
                facts.update({f"{topic} {entry.get('key')}": entry.get("etag") for entry in value})
            else:
                facts[f"{topic} {key}"] = value
    return facts
