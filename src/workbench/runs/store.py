"""The run store: a folder of run folders, readable with `ls`, no server.

    runs/20260105T101500Z-3fa1c0de/
        params.json      every parameter, resolved
        notebook.ipynb   as executed
        report.html      the same for readers, one file
        metrics.json     what the notebook recorded
        manifest.json    what went in: data (objects, etags, message ids), notebook, code, packages
        run.json         status, reason, times, hashes
        detector/        the package it fitted, if any
        figures/         figures for the report of its sweep, if any

A run is written in a folder of another name and appears when it is complete and on disk
(`workbench.files`), so whatever ends the machine, a folder without a dot in front is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench import files
from workbench.cards import Card, HasCard
from workbench.endpoints import project
from workbench.errors import RunError, did_you_mean
from workbench.runs.columns import flat

_READ_BYTES = 1 << 16
_ABOUT = {"status": str, "notebook": str, "source": str, "wall_s": int | float}  # lists show it
_SHORTEST = 4  # characters of a name: fewer delete the wrong run
_NO_RUNS = "there is no run yet: `workbench train` and `workbench sweep` make them"


@dataclass(frozen=True)
class Run(HasCard):
    """One run in the store.

    Attributes
    ----------
    path
        Its folder.
    about
        Contents of `run.json`.
    cached
        Whether it stood for a run that was asked for and not made.
    """

    path: Path
    about: dict[str, Any] = field(repr=False)
    cached: bool = False

    @property
    def id(self) -> str:
        """UTC time and hash of all inputs."""
        return self.path.name

    @property
    def status(self) -> str:
        """`complete` or `failed`."""
        return str(self.about["status"])

    @property
    def reason(self) -> str | None:
        """Why it failed."""
        reason: str | None = self.about.get("reason")
        return reason

    @property
    def notebook(self) -> str:
        """The notebook it executed, from the project's folder."""
        return str(self.about["notebook"])

    @property
    def wall_s(self) -> float:
        """Seconds from start to the executed notebook."""
        return float(self.about["wall_s"])

    @property
    def package(self) -> Path | None:
        """The folder of the detector package it fitted."""
        folder = self.path / "detector"
        return folder if (folder / "detector.json").is_file() else None

    @property
    def package_id(self) -> str | None:
        """The id of that package, by which promotions name it: 64 hexadecimal digits."""
        if self.package is None:
            return None
        return hashlib.sha256((self.package / "detector.json").read_bytes()).hexdigest()

    @cached_property
    def params(self) -> dict[str, Any]:
        """Every parameter, resolved."""
        return self._read("params.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What its notebook recorded."""
        return self._read("metrics.json")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What went in: data, files, notebook, code, packages."""
        return self._read("manifest.json")

    def card(self) -> Card:
        """Return how it ended, its metrics and its parameters."""
        facts = {
            "status": self.status,
            "reason": self.reason,
            "notebook": self.notebook,
            "parameters": self.about.get("source"),
            "took": f"{self.wall_s:.3g} s",
            "cached": "yes, it stood for this one" if self.cached else "",
            "package": self.package,
            "report": self.path / "report.html",
        }
        rows = [
            {"what": what, "name": name, "value": value}
            for what, values in (("metric", self.metrics), ("parameter", self.params))
            for name, value in flat(values).items()
        ]
        return Card("run", self.id, facts, rows)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return _document(self.path, name)
        except (OSError, ValueError) as error:
            raise RunError(f"the run has no readable {name}", where=self.path) from error


def store_folder(store: Path | str = "runs") -> Path:
    """Return the store's folder; a relative one lies in the project."""
    return project() / store


def runs(store: Path | str = "runs") -> list[Run]:
    """Return all whole runs, oldest first.

    Raises
    ------
    RunError
        If the `run.json` of one is damaged; `listing` goes on with the others.
    """
    whole, damaged = listing(store)
    if damaged:
        raise damaged[0]
    return whole


def listing(
    store: Path | str = "runs", *, records: Sequence[str] = ()
) -> tuple[list[Run], list[RunError]]:
    """Return the runs that can be read, oldest first, and what is wrong with the others.

    Parameters
    ----------
    records
        Of `params`, `metrics` and `manifest`: what must be readable beside `run.json`.
    """
    readable: list[Run] = []
    damaged: list[RunError] = []
    for path in _folders(store):
        try:
            run = _load_whole(path)
            for record in records if run else ():
                getattr(run, record)
        except RunError as error:
            damaged.append(error)
        else:
            readable += [run] if run else []
    return readable, damaged


def _folders(store: Path | str) -> list[Path]:
    folder = store_folder(store)
    if not folder.is_dir():
        return []
    # a store may have 10,000 runs: their names alone
    names = sorted(name for name in os.listdir(folder) if name[0] != ".")  # noqa: PTH208
    return [folder / name for name in names]


def find(name: Path | str, store: Path | str = "runs") -> Run:
    """Return the run of that folder, id, or start of one id or of its hash.

    Raises
    ------
    RunError
        If there is none, or several, or the start is shorter than four characters.
    """
    for path in (Path(name), store_folder(store) / name):
        if (path / "run.json").is_file():
            return _load(path.resolve())
    ids = [path.name for path in _folders(store) if (path / "run.json").is_file()]
    return _load(store_folder(store) / match_id(str(name), ids, store))


def match_id(name: str, ids: Sequence[str], store: Path | str = "runs") -> str:
    """Return the one of `ids` that starts with `name`, or whose hash does.

    Examples
    --------
    >>> match_id("3fa1", ["20260105T101500Z-3fa1c0de", "20260105T101502Z-90b2ee01"])
    '20260105T101500Z-3fa1c0de'
    """
    where = store_folder(store)
    if len(name) < _SHORTEST:
        raise RunError(
            f"{name!r} is too short to name a run", where=where, hint=f"type {_SHORTEST} characters"
        )
    matches = [run for run in ids if run.startswith(name) or _hash(run).startswith(name)]
    if len(matches) == 1:
        return matches[0]
    count = f"{len(matches)} runs are" if matches else "no run is"
    hint = did_you_mean(name, matches or ids) or _NO_RUNS
    raise RunError(f"{count} called {name!r}", where=where, hint=hint)


def _hash(run_id: str) -> str:
    return run_id.partition("-")[2]


def remove(run: Run) -> None:
    """Delete a run; its folder leaves the store at once, then its files go."""
    files.remove_folder(run.path)


def run_name(started: str, inputs_hash: str) -> str:
    """Return the id of the run that started then, of inputs with that hash.

    Examples
    --------
    >>> run_name("2026-01-05T10:15:00Z", "3fa1c0de99")
    '20260105T101500Z-3fa1c0de'
    """
    return f"{started.replace('-', '').replace(':', '')}-{inputs_hash[:8]}"


def publish(folder: Path, name: str) -> Path:
    """Let a finished run appear in its store under its id, and return where."""
    for number in itertools.count(1):  # the same inputs twice in a second, by --force
        target = folder.with_name(name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            files.put_new(folder, target)
            return target
    raise AssertionError("unreachable: there is always another number")


def _load_whole(path: Path) -> Run | None:
    """Return the run in a folder; None if there is none."""
    try:
        return _load(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _load(path: Path) -> Run:
    try:
        about = _document(path, "run.json")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise RunError(f"run.json cannot be read: {error.strerror}", where=path) from error
    except ValueError as error:
        raise RunError("run.json is damaged", where=path) from error
    for name, kind in _ABOUT.items():
        if not isinstance(about.get(name), kind):
            raise RunError(f"run.json is damaged: {name} is {about.get(name)!r}", where=path)
    return Run(path, about)


def _document(folder: Path, name: str) -> dict[str, Any]:
    """Return a record of a run, a JSON object.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no JSON object.
    """
    document = json.loads(_content(os.path.join(folder, name)))  # noqa: PTH118 - as `_content`
    if not isinstance(document, dict):
        raise ValueError(f"{name} is no JSON object")
    return document


def _content(path: str) -> bytes:
    """Return the bytes of a file: of 20,000 small ones, and `open` would take as long again."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(handle, _READ_BYTES), b""))
    finally:
        os.close(handle)
