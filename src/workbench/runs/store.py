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

A run is written under a name that starts with `.partial-` and appears by rename when it is
complete and on disk, so whatever ends the machine, a folder without that prefix is whole.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from workbench.cards import Card, Shown
from workbench.endpoints import project
from workbench.errors import RunError, did_you_mean

_PARTIAL = ".partial-"
_NO_RUNS = "there is no run yet: `workbench train` and `workbench sweep` make them"


@dataclass(frozen=True)
class Run(Shown):
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
        """Return what a notebook shows of it."""
        from workbench.runs.showing import run_card

        return run_card(self)

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"the run has no readable {name}", where=self.path) from error
        return found


def store_folder(store: Path | str = "runs") -> Path:
    """Return the store's folder; a relative one lies in the project."""
    return project() / store


def runs(store: Path | str = "runs") -> list[Run]:
    """Return all whole runs, oldest first."""
    folder = store_folder(store)
    if not folder.is_dir():
        return []
    return [
        _load(path)
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path / "run.json").is_file()
    ]


def find(name: Path | str, store: Path | str = "runs") -> Run:
    """Return the run of that folder, id, or unambiguous start or hash of an id.

    Raises
    ------
    RunError
        If there is none, or several.
    """
    for path in (Path(name), store_folder(store) / name):
        if (path / "run.json").is_file():
            return _load(path.resolve())
    known = [one.id for one in runs(store)]
    hits = [one for one in known if str(name) and (one.startswith(str(name)) or str(name) in one)]
    if len(hits) == 1:
        return _load(store_folder(store) / hits[0])
    found = f"{len(hits)} runs are" if hits else "no run is"
    raise RunError(
        f"{found} called {str(name)!r}",
        where=store_folder(store),
        hint=did_you_mean(str(name), hits or known) or _NO_RUNS,
    )


def remove(run: Run) -> None:
    """Delete a run; its folder leaves the store at once, then its files go."""
    doomed = run.path.with_name(f"{_PARTIAL}{socket.gethostname()}-0-{run.id.replace('-', '')}")
    run.path.rename(doomed)
    shutil.rmtree(doomed)


def new_folder(store: Path) -> Path:
    """Return an empty folder for a run to be written in, of which the store takes no notice."""
    store.mkdir(parents=True, exist_ok=True)
    prefix = f"{_PARTIAL}{socket.gethostname()}-{os.getpid()}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=store))


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
    folder.chmod(0o755)
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)
    for number in itertools.count(1):  # the same inputs twice in a second, by --force
        target = folder.with_name(name if number == 1 else f"{name}-{number}")
        if target.exists():
            continue
        try:
            folder.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue
        _sync(target.parent)
        return target
    raise AssertionError("unreachable: there is always another number")


def sweep_partial(store: Path) -> None:
    """Remove what runs that died on this machine left half written."""
    for path in store.glob(f"{_PARTIAL}*"):
        host, pid = _writer(path.name)
        if host == socket.gethostname() and not _lives(pid):
            shutil.rmtree(path, ignore_errors=True)


def _lives(pid: int) -> bool:
    """Tell whether a process runs; one that nobody waited for has ended all the same."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _writer(name: str) -> tuple[str, int]:
    host, _, rest = name.removeprefix(_PARTIAL).rpartition("-")[0].rpartition("-")
    return host, int(rest) if rest.isdigit() else 0


def _load(path: Path) -> Run:
    try:
        return Run(path, json.loads((path / "run.json").read_text(encoding="utf-8")))
    except ValueError as error:
        raise RunError("run.json is damaged", where=path) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
