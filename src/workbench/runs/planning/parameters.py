"""Read the parameters cell of a notebook and hold values against it; nothing is executed.

The cell tagged `parameters` holds typed assignments, one a line:

    topic: str = "persistent://public/default/pumps"  # what to replay
    source: str = "archive"  # where the readings come from {archive, broker, both}
    window: int = 60  # readings in a window [2..10000]
    contamination: float = 0.01  # share of windows taken as anomalous (0..0.5)
    run: str  # no value: required

Types are `str int float bool list[str] list[int] list[float] dict`; values are literals, `""` is
unset. What a value may be stands at the end of its comment: choices in braces, or a range in
brackets (ends included) or parentheses (ends excluded), either end may be left out. For a list it
holds for every item. `{detector}` after a `dict`: a detector's specification, as
`detectors.resolve` takes it. A parameter called `output`, or ending in `_output`, is a path inside
the run folder.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.errors import DetectorError, ParamsError, did_you_mean

TYPES = ("str", "int", "float", "bool", "list[str]", "list[int]", "list[float]", "dict")
_NUMBER = r"[-+]?[\d_.]+(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"([\[(])\s*({_NUMBER})?\s*\.\.\s*({_NUMBER})?\s*([\])])\s*$", re.I)
_CHOICES = re.compile(r"\{([^{}]+)\}\s*$")
_DETECTOR = ("detector",)
_MISSING = object()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a params file or a parameters cell."""

    message: str
    where: str
    hint: str | None = None


@dataclass(frozen=True)
class Parameter:
    """One typed assignment of the parameters cell.

    Attributes
    ----------
    default
        The literal assigned; absent (`required`) where nothing is.
    choices
        The values it may take, as text; empty: any.
    bounds
        Low, high, and whether each end belongs to the range; None: any number.
    """

    name: str
    type: str
    default: Any = _MISSING
    comment: str = ""
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float, bool, bool] | None = None

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is _MISSING

    @property
    def specifies(self) -> bool:
        """Whether the value is a detector's specification."""
        return self.type == "dict" and self.choices == _DETECTOR

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with `value`, or None.

        Examples
        --------
        >>> Parameter("window", "int").fault(60.5)
        'window is a float (60.5), the notebook wants int'
        >>> Parameter("window", "int", bounds=(2, 99, True, True)).fault(1)
        'window is 1, the notebook wants 2 <= window <= 99'
        >>> Parameter("source", "str", choices=("archive", "broker")).fault("disk")
        "source is 'disk', the notebook wants one of archive, broker"
        """
        if not _fits(value, self.type):
            return f"{self.name} is {_described(value)}, the notebook wants {self.type}"
        if value == self.default == "" or self.specifies:
            return None  # unset, or looked at where the catalogue may be loaded
        for item in value if isinstance(value, list) else [value]:
            if self.choices and str(item) not in self.choices:
                allowed = ", ".join(self.choices)
                return f"{self.name} is {item!r}, the notebook wants one of {allowed}"
            if self.bounds is not None and not _inside(item, self.bounds):
                return f"{self.name} is {item}, the notebook wants {_range(self.name, self.bounds)}"
        return self._path_fault(value)

    def _path_fault(self, value: object) -> str | None:
        if self.name != "output" and not self.name.endswith("_output"):
            return None
        path = PurePosixPath(str(value))
        if path.is_absolute() or ".." in path.parts or "://" in str(value):
            return f"{self.name} is {str(value)!r}, outside the run folder"
        return None


@dataclass(frozen=True)
class Cell:
    """What matters of a notebook's cell before it runs."""

    kind: str
    source: str
    tags: tuple[str, ...] = ()


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of the notebook at `path`, format 4, without nbformat, which starts slowly.

    Raises
    ------
    ParamsError
        If there is no notebook, or it is of another format.
    """
    if not path.is_file():
        near = did_you_mean(path.name, [cell.name for cell in path.parent.glob("*.ipynb")])
        raise ParamsError("there is no such notebook", where=path, hint=near)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["nbformat"] != 4:
            raise ParamsError(
                f"this is a notebook of format {document['nbformat']}, not 4", where=path
            )
        return [
            Cell(
                cell["cell_type"],
                "".join(cell["source"]),  # a text, or a list of lines
                tuple(cell.get("metadata", {}).get("tags", [])),
            )
            for cell in document["cells"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ParamsError("this is not a notebook", where=path, hint=str(error)[:200]) from error


def declared(notebook: Iterable[Cell], where: str) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, in order.

    Raises
    ------
    ParamsError
        If there is not exactly one cell tagged `parameters`, or it holds anything other than
        typed assignments of literals; every fault at once.
    """
    cells = [
        (number, cell) for number, cell in enumerate(notebook, start=1) if "parameters" in cell.tags
    ]
    if len(cells) != 1:
        raise ParamsError(
            f"{len(cells)} cells are tagged `parameters`, expected one",
            where=where,
            hint="tag the cell with the typed assignments, and no other",
        )
    number, cell = cells[0]
    place = f"{where}, cell {number}"
    try:
        body = ast.parse(cell.source).body
    except SyntaxError as error:
        raise ParamsError(
            f"the parameters cell is not Python: {error.msg}", where=f"{place}, line {error.lineno}"
        ) from error
    comments = _comments(cell.source)
    parts = [
        _parameter(statement, comments.get(statement.end_lineno or 0, ""), place)
        for statement in body
    ]
    refuse([problem for problem in parts if isinstance(problem, Problem)])
    return {part.name: part for part in parts if isinstance(part, Parameter)}


def resolve(
    parameters: Mapping[str, Parameter],
    assignments: Mapping[str, Any],
    *,
    places: Mapping[str, str],
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the value of every parameter, and all that is wrong with those given.

    Parameters
    ----------
    parameters
        What the notebook declares.
    assignments
        Values by name.
    places
        File and line of each given name, and under "" of the file as a whole.
    """
    problems = []
    for name, value in assignments.items():
        where = places.get(str(name), places[""])
        problem = _unknown(name, parameters, where)
        if problem is None and (fault := parameters[name].fault(value)) is not None:
            problem = Problem(fault, where, _quote_hint(parameters[name], value))
        if problem is None and parameters[name].specifies:
            problem = _specification_problem(name, value, where)
        if problem is not None:
            problems.append(problem)
    problems += [
        Problem(
            f"{parameter.name} is missing, the notebook requires it ({parameter.type})", places[""]
        )
        for parameter in parameters.values()
        if parameter.required and parameter.name not in assignments
    ]
    resolved = {
        parameter.name: _as(parameter.type, assignments.get(parameter.name, parameter.default))
        for parameter in parameters.values()
    }
    return resolved, problems


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one error that lists every problem, if there is any."""
    faults = list(problems)
    if len(faults) == 1:
        raise ParamsError(faults[0].message, where=faults[0].where, hint=faults[0].hint)
    if faults:
        listed = "\n".join(
            str(ParamsError(problem.message, where=problem.where, hint=problem.hint))
            for problem in faults
        )
        raise ParamsError(f"{len(faults)} faults, nothing was run\n{listed}")


def _unknown(name: str, parameters: Mapping[str, Parameter], where: str) -> Problem | None:
    if not isinstance(name, str) or not name.isidentifier():
        return Problem(f"{name!r} is not a name that Python can assign to", where)
    if name in parameters:
        return None
    names = ", ".join(sorted(parameters)) or "none"
    near = did_you_mean(name, parameters)
    return Problem(
        f"the notebook has no parameter {name!r}, it has {names}",
        where,
        near if near and near.startswith("did") else None,
    )


def _specification_problem(name: str, value: Any, where: str) -> Problem | None:
    from workbench import detectors  # here: it takes a second or two, and few files need it

    try:
        detectors.resolve(value)
    except DetectorError as error:
        return Problem(f"{name}: {error.message}", where, error.hint)
    return None


def _parameter(statement: ast.stmt, comment: str, place: str) -> Parameter | Problem:
    where = f"{place}, line {statement.lineno}"
    if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
        return Problem(
            "the parameters cell holds something other than a typed assignment",
            where,
            "write it as `name: type = value  # what it means`",
        )
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in TYPES:
        return Problem(f"{name} has the type {kind}", where, f"known: {', '.join(TYPES)}")
    default: Any = _MISSING
    if statement.value is not None:
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            return Problem(f"the value of {name} is computed", where, "write a literal")
    parameter = Parameter(name, kind, default, comment, _choices(comment), _bounds(comment))
    fault = None if parameter.required else parameter.fault(default)
    return parameter if fault is None else Problem(fault, where)


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _choices(comment: str) -> tuple[str, ...]:
    match = _CHOICES.search(comment)
    return tuple(choice.strip() for choice in match[1].split(",")) if match else ()


def _bounds(comment: str) -> tuple[float, float, bool, bool] | None:
    match = _RANGE.search(comment)
    if match is None:
        return None
    left, low, high, right = match.groups()
    return float(low or -math.inf), float(high or math.inf), left == "[", right == "]"


def _inside(value: float, bounds: tuple[float, float, bool, bool]) -> bool:
    low, high, with_low, with_high = bounds
    return (low <= value if with_low else low < value) and (
        value <= high if with_high else value < high
    )


def _range(name: str, bounds: tuple[float, float, bool, bool]) -> str:
    low, high, with_low, with_high = bounds
    left = f"{low:g} {'<=' if with_low else '<'} " if low > -math.inf else ""
    right = f" {'<=' if with_high else '<'} {high:g}" if high < math.inf else ""
    return f"{left}{name}{right}"


def _fits(value: object, kind: str) -> bool:
    if kind.startswith("list["):
        return isinstance(value, list) and all(_fits(item, kind[5:-1]) for item in value)
    if kind == "dict":
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)


def _as(kind: str, value: Any) -> Any:
    if kind == "float" and _fits(value, kind):
        return float(value)
    if kind == "list[float]" and _fits(value, kind):
        return [float(item) for item in value]
    return value


def _described(value: object) -> str:
    if value is None:
        return "empty (null)"
    if isinstance(value, list):
        inner = sorted({type(item).__name__ for item in value})
        return f"a list of {' and '.join(inner) or 'nothing'}"
    return f"a {type(value).__name__} ({value!r})"


def _quote_hint(parameter: Parameter, value: object) -> str | None:
    if parameter.type == "str" and isinstance(value, (int, float)):
        return f'put it in quotes: {parameter.name}: "{value}"'
    if parameter.choices and isinstance(value, str):
        near = did_you_mean(value, parameter.choices)
        return near if near and near.startswith("did") else None
    return None
