"""Params files and sweep files: YAML in, plans of single runs out, checked before anything starts.

A params file holds the notebook's parameters, and `notebook` where the command line names none.
A sweep file has these keys and no others:

    notebook: notebooks/20_train.ipynb
    base: {topic: pumps}           # for every run
    grid:                          # every combination
      window: [30, 60]
      detector.neighbours: [3, 5]  # a key inside a mapping of base
    random: {draws: 20, seed: 7, window: {min: 10, max: 500, log: true}}
    repeat: {sensor: [pump-1, pump-2]}  # all of the above once for each

Text that looks like a date stays text, and only `true` and `false` are truth values.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.endpoints import project
from workbench.errors import ParamsError, did_you_mean
from workbench.runs import redaction
from workbench.runs.parameters import (
    Parameter,
    Problem,
    declared,
    read_cells,
    refuse,
    resolve,
)

if TYPE_CHECKING:
    import numpy as np

_SWEEP_KEYS = ("notebook", "base", "grid", "random", "repeat")


@dataclass(frozen=True)
class Plan:
    """One run to be made: a notebook, a value for each of its parameters, and where they came from.

    Attributes
    ----------
    repeated
        The parameters (dotted where inside a mapping) that `repeat` set: runs that differ only in
        them are the same candidate.
    """

    notebook: Path
    parameters: dict[str, Any]
    source: str
    repeated: tuple[str, ...] = ()


class _Loader(yaml.SafeLoader):
    """YAML without its traps: no dates, `yes` is text, `1e-3` is a number, no key twice."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":timestamp", ":bool"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|false|True|False"), list("tfTF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class _Document:
    """A YAML mapping, and the line on which each of its keys stands (by path of keys)."""

    path: str
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def place(self, *keys: str) -> str:
        return f"{self.path}:{self.lines[keys]}" if keys in self.lines else self.path


def plan(notebook: Path, given: Mapping[str, Any], *, source: str = "given") -> Plan:
    """Return the run of `notebook` with the values `given`, or raise with every fault."""
    parameters = declared(read_cells(notebook), shown(notebook))
    values, problems = _resolved(parameters, given, {"": source})
    refuse(problems)
    return Plan(notebook, values, source)


def read_plans(notebook: Path | None, files: Iterable[Path]) -> list[Plan]:
    """Return the runs that params and sweep files ask for, or raise with every fault of all.

    Parameters
    ----------
    notebook
        For files that name none; None: each must name its own.
    files
        Params files and sweep files, mixed.
    """
    plans: list[Plan] = []
    problems: list[Problem] = []
    for path in files:
        try:
            plans += _plans(notebook, path, problems)
        except ParamsError as error:
            problems.append(Problem(error.message, error.where or str(path), error.hint))
    refuse(problems)
    return plans


def _plans(notebook: Path | None, path: Path, problems: list[Problem]) -> list[Plan]:
    document = _read(path)
    chosen = _notebook(notebook, document)
    parameters = declared(read_cells(chosen), shown(chosen))
    swept = any(
        isinstance(document.values.get(key), dict) and key not in parameters
        for key in ("base", "grid", "random", "repeat")
    )
    found = _sweep(document, parameters, problems) if swept else [_single(document)]
    plans = []
    for given, repeated, places in found:
        values, faults = _resolved(parameters, given, places)
        problems += [one for one in faults if one not in problems]
        plans.append(Plan(chosen, values, document.path, repeated))
    return plans


def _resolved(
    parameters: Mapping[str, Parameter], given: Mapping[str, Any], places: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Resolve, but say of a secret only where it stands."""
    if not redaction.holds_secret(given):
        return resolve(parameters, given, places=places)
    return {}, [
        Problem(
            f"{redaction.mask(str(name))} holds a secret",
            places.get(str(name), places[""]),
            "endpoints and secrets come from the environment",
        )
        for name, value in given.items()
        if redaction.holds_secret([name, value])
    ]


def shown(path: Path) -> str:
    """Return `path` as a person in the project would write it."""
    full = path.resolve()
    return str(full.relative_to(project())) if full.is_relative_to(project()) else str(path)


_Found = tuple[dict[str, Any], tuple[str, ...], dict[str, str]]


def _single(document: _Document) -> _Found:
    given = {key: value for key, value in document.values.items() if key != "notebook"}
    places = {"": document.path, **{str(key): document.place(str(key)) for key in given}}
    return given, (), places


def _sweep(
    document: _Document, parameters: Mapping[str, Parameter], problems: list[Problem]
) -> Iterator[_Found]:
    for key in set(document.values) - set(_SWEEP_KEYS):
        hint = did_you_mean(str(key), _SWEEP_KEYS)
        problems.append(Problem(f"a sweep file has no key {key!r}", document.place(str(key)), hint))
    sections = {key: _section(document, key, problems) for key in _SWEEP_KEYS[1:]}
    grid, repeat = (_lists(document, key, sections[key], problems) for key in ("grid", "repeat"))
    draws = list(_draws(document, sections["random"], problems))
    for repeated, drawn, chosen in itertools.product(_product(repeat), draws, _product(grid)):
        given = copy.deepcopy(sections["base"])
        places = {"": document.path, **{key: document.place("base", key) for key in given}}
        for section, values in (("repeat", repeated), ("random", drawn), ("grid", chosen)):
            for name, value in values.items():
                _put(given, name, value)
                places[name.split(".")[0]] = document.place(section, name)
        yield given, tuple(repeated), places


def _section(document: _Document, key: str, problems: list[Problem]) -> dict[str, Any]:
    section = document.values.get(key) or {}
    if isinstance(section, dict):
        return section
    problems.append(
        Problem(f"{key} is a {type(section).__name__}, expected a mapping", document.place(key))
    )
    return {}


def _lists(
    document: _Document, key: str, section: dict[str, Any], problems: list[Problem]
) -> dict[str, list[Any]]:
    for name, values in section.items():
        if not isinstance(values, list) or not values:
            problems.append(
                Problem(
                    f"{key}: {name} is {values!r}, expected a list of values",
                    document.place(key, name),
                )
            )
    return {name: one for name, one in section.items() if isinstance(one, list) and one}


def _product(lists: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def _draws(
    document: _Document, section: dict[str, Any], problems: list[Problem]
) -> Iterator[dict[str, Any]]:
    if not section:
        yield {}
        return
    import numpy as np

    draws, seed = section.get("draws"), section.get("seed", 0)
    if not isinstance(draws, int) or draws < 1:
        problems.append(
            Problem(f"random: draws is {draws!r}, expected a count", document.place("random"))
        )
        return
    generator = np.random.default_rng(seed)
    spaces = {name: one for name, one in section.items() if name not in ("draws", "seed")}
    for name, space in spaces.items():
        if (fault := _space_fault(space)) is not None:
            problems.append(Problem(f"random: {name} {fault}", document.place("random", name)))
            return
    for _ in range(draws):
        yield {name: _draw(space, generator) for name, space in spaces.items()}


def _space_fault(space: object) -> str | None:
    wanted = "expected a list, or {min: , max: , log: true|false}"
    if isinstance(space, list) and space:
        return None
    if not isinstance(space, dict) or set(space) - {"log"} != {"min", "max"}:
        return f"is {space!r}, {wanted}"
    low, high = space["min"], space["max"]
    if not all(isinstance(one, (int, float)) for one in (low, high)) or not low < high:
        return f"goes from {low!r} to {high!r}, expected min < max"
    if space.get("log") and low <= 0:
        return f"has log and min {low}, expected min > 0"
    return None


def _draw(space: Any, generator: np.random.Generator) -> Any:
    if isinstance(space, list):
        return space[int(generator.integers(len(space)))]
    low, high = space["min"], space["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    if space.get("log"):
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
        return round(value) if whole else value
    return int(generator.integers(low, high + 1)) if whole else float(generator.uniform(low, high))


def _put(given: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = str(dotted).split(".")
    for key in path:
        inner = given.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # the type check of the parameter names it
        given = inner
    given[last] = value


def _notebook(notebook: Path | None, document: _Document) -> Path:
    named = document.values.get("notebook")
    if notebook is None and named is None:
        raise ParamsError(
            "no notebook is named", where=document.path, hint="add `notebook: notebooks/….ipynb`"
        )
    if notebook is not None:
        return notebook
    if not isinstance(named, str):
        raise ParamsError(f"notebook is {named!r}, expected a path", where=document.path)
    return project() / named


def _read(path: Path) -> _Document:
    if not path.is_file():
        near = did_you_mean(path.name, [one.name for one in path.parent.glob("*.y*ml")])
        raise ParamsError("there is no such params file", where=path, hint=near)
    loader = _Loader(path.read_text(encoding="utf-8"))
    try:
        node = loader.get_single_node()
        if node is None:
            return _Document(shown(path), {}, {})
        if not isinstance(node, yaml.MappingNode):
            raise ParamsError("this is not a mapping of parameters", where=shown(path))
        lines = dict(_lines(node, shown(path)))
        values: dict[str, Any] = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        where = f"{shown(path)}{line}"
        raise ParamsError(f"this is not YAML: {error.problem}", where=where) from error
    finally:
        loader.dispose()
    return _Document(shown(path), values, lines)


def _lines(
    node: yaml.MappingNode, path: str, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], int]]:
    seen = set()
    for key, value in node.value:
        keys = (*above, str(key.value))
        if keys in seen:
            where = f"{path}:{key.start_mark.line + 1}"
            raise ParamsError(f"{key.value} is given twice", where=where)
        seen.add(keys)
        yield keys, key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            yield from _lines(value, path, keys)
