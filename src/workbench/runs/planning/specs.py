"""Params files and sweep files: YAML in, plans of single runs out, checked before anything starts.

A params file holds the notebook's parameters, and `notebook` where the command line names none.
A sweep file has these keys and no others:

    notebook: notebooks/20_train.ipynb
    base: {topic: pumps}           # for every run
    grid:                          # every combination
      window: [30, 60]
      detector.neighbours: [3, 5]  # a key inside a mapping of base
    random: {draws: 20, seed: 7, window: {min: 10, max: 500, log: true}}
    search: {trials: 40, metric: vus_pr, window: {min: 10, max: 500}}  # guided; alone
    repeat: {sensor: [pump-1, pump-2]}  # all of the above once for each

Text that looks like a date stays text, and only `true` and `false` are truth values.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.endpoints import project
from workbench.errors import ParamsError, did_you_mean
from workbench.runs import redaction
from workbench.runs.planning.documents import Document, project_path, read_document
from workbench.runs.planning.parameters import (
    Parameter,
    Problem,
    declared,
    read_cells,
    refuse,
    resolve,
)
from workbench.runs.planning.spaces import (
    draw,
    end_of,
    metric_fault,
    overlap_fault,
    rungs_fault,
    seed_fault,
    space_fault,
    trials_fault,
)

if TYPE_CHECKING:
    pass

_MOST_RUNS = 100_000  # of a sweep file
_SHOWN_RUNS = 10**18
_SWEEP_KEYS = ("notebook", "base", "grid", "random", "search", "repeat")
_OF_SEARCH = ("trials", "seed", "metric", "rungs")


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


@dataclass(frozen=True)
class Search:
    """Trials whose parameters are chosen by what earlier ones gave.

    Attributes
    ----------
    spaces
        Parameter, dotted where inside a mapping, to a list of values or to min and max.
    trials
        How many.
    metric
        What is to be best; the mean over `repeat`.
    seed
        Of the choice: the same seed and the same metrics give the same trials.
    rungs
        What each trial is given one after the other, from cheap to dear: after each, those that are
        not among the better third are given up.
    plans
        Returns the runs of a trial, one for each repetition.
    """

    source: str
    spaces: Mapping[str, Any]
    trials: int
    metric: str
    seed: int
    rungs: Sequence[Mapping[str, Any]]
    plans: Callable[[Mapping[str, Any]], list[Plan]]
    repeats: int = 1

    @property
    def most_runs(self) -> int:
        """How many runs it asks for, if nothing is given up."""
        return self.trials * self.repeats * len(self.rungs)


def plan(notebook: Path, assignments: Mapping[str, Any], *, source: str = "given") -> Plan:
    """Return the run of `notebook` with these assignments, or raise with every fault."""
    parameters = declared(read_cells(notebook), project_path(notebook))
    values, problems = _resolved(parameters, assignments, {"": source})
    refuse(problems)
    return Plan(notebook, values, source)


def read_plans(notebook: Path | None, files: Iterable[Path]) -> list[Plan]:
    """Return the runs that params and sweep files ask for, or raise with every fault of all.

    Parameters
    ----------
    notebook
        For files that name none; None: each must name its own.
    files
        Params files and sweep files, mixed; none that searches.
    """
    plans, searches = read_sweeps(notebook, files)
    if searches:
        raise ParamsError(
            "this is a search", where=searches[0].source, hint="use `workbench sweep`"
        )
    return plans


def read_sweeps(notebook: Path | None, files: Iterable[Path]) -> tuple[list[Plan], list[Search]]:
    """Return the runs that files ask for, and the searches; otherwise as `read_plans`."""
    plans: list[Plan] = []
    searches: list[Search] = []
    problems: list[Problem] = []
    for path in files:
        try:
            document = read_document(path)
            sheet = _Sheet.of(notebook, document)
            if sheet.searches:
                searches += _searches(sheet, problems)
            else:
                plans += sheet.plans(sheet.assignments(problems), problems)
        except ParamsError as error:
            problems.append(Problem(error.message, error.where or str(path), error.hint))
    refuse(problems)
    return plans, searches


@dataclass(frozen=True)
class _Sheet:
    """A file, the notebook that it is for, and that notebook's parameters."""

    document: Document
    notebook: Path
    parameters: Mapping[str, Parameter]

    @classmethod
    def of(cls, notebook: Path | None, document: Document) -> _Sheet:
        chosen = _notebook(notebook, document)
        return cls(document, chosen, declared(read_cells(chosen), project_path(chosen)))

    def _sweeps(self, key: str) -> bool:
        return isinstance(self.document.values.get(key), dict) and key not in self.parameters

    @property
    def searches(self) -> bool:
        return self._sweeps("search")

    def assignments(self, problems: list[Problem]) -> Iterable[_Assignments]:
        if any(map(self._sweeps, ("base", "grid", "random", "repeat"))):
            return _sweep(self.document, problems)
        return [_single(self.document)]

    def plans(self, assignments: Iterable[_Assignments], problems: list[Problem]) -> list[Plan]:
        plans = []
        for given, repeated, places in assignments:
            values, faults = _resolved(self.parameters, given, places)
            problems += [fault for fault in faults if fault not in problems]
            plans.append(Plan(self.notebook, values, self.document.path, repeated))
        return plans


def _resolved(
    parameters: Mapping[str, Parameter], assignments: Mapping[str, Any], places: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Resolve, but say of a secret only where it stands."""
    if not redaction.holds_secret(assignments):
        return resolve(parameters, assignments, places=places)
    return {}, [
        Problem(
            f"{redaction.mask(str(name))} holds a secret",
            places.get(str(name), places[""]),
            "endpoints and secrets come from the environment",
        )
        for name, value in assignments.items()
        if redaction.holds_secret([name, value])
    ]


_Assignments = tuple[dict[str, Any], tuple[str, ...], dict[str, str]]


def _single(document: Document) -> _Assignments:
    assignments = {key: value for key, value in document.values.items() if key != "notebook"}
    places = {"": document.path, **{str(key): document.place(str(key)) for key in assignments}}
    return assignments, (), places


def _sections(document: Document, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    for key in set(document.values) - set(_SWEEP_KEYS):
        hint = did_you_mean(str(key), _SWEEP_KEYS)
        problems.append(Problem(f"a sweep file has no key {key!r}", document.place(str(key)), hint))
    return {key: _section(document, key, problems) for key in _SWEEP_KEYS[1:]}


def _sweep(document: Document, problems: list[Problem]) -> Iterator[_Assignments]:
    sections = _sections(document, problems)
    grid, repeat = (_lists(document, key, sections[key], problems) for key in ("grid", "repeat"))
    _count(document, sections["random"], grid, repeat)
    draws = list(_draws(document, sections["random"], problems))
    for repeated, drawn, chosen in itertools.product(_product(repeat), draws, _product(grid)):
        varied = {"repeat": repeated, "random": drawn, "grid": chosen}
        yield _assigned(document, sections["base"], varied)


def _assigned(
    document: Document, base: Mapping[str, Any], varied: Mapping[str, Mapping[str, Any]]
) -> _Assignments:
    """Return what a run is given: `base`, and what each section of a sweep file gives it."""
    assignments = copy.deepcopy(dict(base))
    places = {"": document.path, **{key: document.place("base", key) for key in assignments}}
    for section, values in varied.items():
        for name, value in values.items():
            _put(assignments, name, value)
            places[name.split(".")[0]] = document.place(section, name)
    return assignments, tuple(varied["repeat"]), places


def _searches(sheet: _Sheet, problems: list[Problem]) -> list[Search]:
    """Return the search of a file, its smallest and largest trials tried on the parameters."""
    document, before = sheet.document, len(problems)
    sections = _sections(document, problems)
    beside = next((key for key in ("grid", "random") if sections[key]), None)
    section, repeat = sections["search"], _lists(document, "repeat", sections["repeat"], problems)
    rungs = section.get("rungs") or {}
    spaces = {name: space for name, space in section.items() if name not in _OF_SEARCH}
    faults = [
        (beside, f"{beside} beside search: it is one or the other" if beside else ""),
        ("trials", trials_fault(section.get("trials"))),
        ("seed", seed_fault(section.get("seed", 0))),
        ("metric", metric_fault(section.get("metric"))),
        ("rungs", rungs_fault(rungs)),
        ("search", overlap_fault([*spaces, *rungs, *repeat] if isinstance(rungs, dict) else [])),
        *(
            (name, f"{name} {fault}")
            for name, space in spaces.items()
            if (fault := space_fault(space))
        ),
    ]
    problems += [
        Problem(f"search: {fault}", document.place("search", str(name)))
        for name, fault in faults
        if fault
    ]
    if len(problems) > before:
        return []

    def plans(chosen: Mapping[str, Any]) -> list[Plan]:
        faults: list[Problem] = []
        given = [
            _assigned(document, sections["base"], {"repeat": repeated, "search": chosen})
            for repeated in _product(repeat)
        ]
        made = sheet.plans(given, faults)
        refuse(faults)
        return made

    search = Search(
        source=document.path,
        spaces=spaces,
        trials=section["trials"],
        metric=section["metric"],
        seed=section.get("seed", 0),
        rungs=[{name: value} for name, values in rungs.items() for value in values] or [{}],
        plans=plans,
        repeats=len(_product(repeat)),
    )
    for end in (0, -1):  # a file that does not fit is refused before the first kernel starts
        chosen = {name: end_of(space, end) for name, space in spaces.items()}
        search.plans({**chosen, **search.rungs[end]})
    return [search]


def _count(
    document: Document,
    space: Mapping[str, Any],
    grid: Mapping[str, list[Any]],
    repeat: Mapping[str, list[Any]],
) -> None:
    """Refuse more runs than anybody waits for, before one of them is made."""
    draws = space.get("draws", 1)
    lengths = [len(values) for values in (*grid.values(), *repeat.values())]
    runs = math.prod(lengths) * (draws if isinstance(draws, int) else 1)
    if runs > _MOST_RUNS:
        shown = runs if runs < _SHOWN_RUNS else f"more than {_SHOWN_RUNS}"
        raise ParamsError(f"this asks for {shown} runs, at most {_MOST_RUNS}", where=document.path)


def _section(document: Document, key: str, problems: list[Problem]) -> dict[str, Any]:
    section = document.values.get(key) or {}
    if isinstance(section, dict):
        return section
    problems.append(
        Problem(f"{key} is a {type(section).__name__}, expected a mapping", document.place(key))
    )
    return {}


def _lists(
    document: Document, key: str, section: dict[str, Any], problems: list[Problem]
) -> dict[str, list[Any]]:
    for name, values in section.items():
        if not isinstance(values, list) or not values:
            problems.append(
                Problem(
                    f"{key}: {name} is {values!r}, expected a list of values",
                    document.place(key, name),
                )
            )
    return {name: entry for name, entry in section.items() if isinstance(entry, list) and entry}


def _product(lists: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def _draws(
    document: Document, section: dict[str, Any], problems: list[Problem]
) -> Iterator[dict[str, Any]]:
    if not section:
        yield {}
        return
    import numpy as np

    draws, seed = section.get("draws"), section.get("seed", 0)
    if type(draws) is not int or draws < 1:
        problems.append(
            Problem(f"random: draws is {draws!r}, expected a count", document.place("random"))
        )
        return
    if type(seed) is not int or not 0 <= seed < 2**63:
        problems.append(
            Problem("random: seed is no whole number from 0 on", document.place("random", "seed"))
        )
        return
    generator = np.random.default_rng(seed)
    spaces = {name: entry for name, entry in section.items() if name not in ("draws", "seed")}
    for name, space in spaces.items():
        if (fault := space_fault(space)) is not None:
            problems.append(Problem(f"random: {name} {fault}", document.place("random", name)))
            return
    for _ in range(draws):
        yield {name: draw(space, generator) for name, space in spaces.items()}


def _put(assignments: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = str(dotted).split(".")
    for key in path:
        inner = assignments.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # the type check of the parameter names it
        assignments = inner
    assignments[last] = value


def _notebook(notebook: Path | None, document: Document) -> Path:
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
