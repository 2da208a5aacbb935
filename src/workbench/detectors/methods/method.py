"""What a line of the catalogue says: a method, its parameters and what it remembers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Floats
from workbench.detectors.contract import State
from workbench.errors import DetectorError

Params: TypeAlias = Mapping[str, Any]
"""Resolved parameters: every name present, every value within its range."""

Check: TypeAlias = Callable[[State, Params, Mapping[str, int]], None]
"""Refuses a state whose arrays do not fit together; gets state, parameters, lengths by letter."""


_EXACT = 2**53  # whole numbers up to here are floats too


@dataclass(frozen=True, eq=False)
class Training:
    """What a method learns from.

    Attributes
    ----------
    inputs
        Windows in their own units (n, w, c), or features (n, f), as the method's `sees` says.
    params
        Resolved parameters.
    channels
        Names of the c channels.
    seed
        For whatever is random.
    """

    inputs: Floats
    params: Params
    channels: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Param:
    """A parameter: name, default, range and meaning.

    Attributes
    ----------
    default
        Its type is the parameter's type. None: required, unless `optional`.
    low, high
        Inclusive range of a number, or of each number in a list.
    choices
        The values allowed, of a text.
    kind
        The type, where the default does not tell.
    word
        A text that may stand in place of the value.
    """

    name: str
    default: object
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    kind: str = ""
    optional: bool = False
    word: str = ""

    @property
    def type(self) -> str:
        """`int`, `float`, `bool`, `str`, `floats` or `any`."""
        return self.kind or type(self.default).__name__

    @property
    def range(self) -> str:
        """What is allowed, for people."""
        if self.choices:
            return " | ".join(self.choices)
        if math.isinf(self.low):
            return self.type
        if math.isinf(self.high):
            return f"{self.type} from {self.low:g}"
        word = f", or {self.word}" if self.word else ""
        return f"{self.type} {self.low:g} to {self.high:g}{word}"

    @property
    def about(self) -> str:
        """Meaning, range and default, for people."""
        default = "" if self.default is None else f", default {self.default}"
        return f"{self.meaning} ({self.range}{default})"

    def checked(self, value: object) -> object:
        """Return the value, refused if it has another type or lies outside the range."""
        if isinstance(value, np.generic):
            value = value.item()
        if (value is None and self.optional) or (self.word and value == self.word):
            return value
        if self.type == "any":
            return value
        if self.type == "floats":
            return self._floats(value)
        if self.type == "float" and type(value) is int and abs(value) <= _EXACT:
            value = float(value)
        fine = type(value).__name__ == self.type and (not self.choices or value in self.choices)
        if not fine or (isinstance(value, int | float) and not self._holds(value)):
            raise DetectorError(f"parameter {self.name} is {value!r}, expected {self.range}")
        return value

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high and abs(value) < math.inf

    def _floats(self, value: object) -> list[float]:
        fine = isinstance(value, list | tuple) and all(
            type(number) in (int, float) and self._holds(number) for number in value
        )
        if not fine or not isinstance(value, list | tuple):
            raise DetectorError(f"parameter {self.name} is {value!r}, expected a list of numbers")
        return [float(number) for number in value]


@dataclass(frozen=True)
class Method:
    """A line of the catalogue.

    Attributes
    ----------
    name, good_at, source
        For people; `source` is a paper or a formula.
    fit, score
        `fit` turns training values into a state; `score` turns values of the same kind, the state
        and the parameters into one score per row.
    parts
        What each channel, or each feature, adds to a score, or how far it is off where the worst
        is the score: (n, c) or (n, f), from what `score` gets. Where it is not given, channels are
        replaced one by one.
    expected
        What each channel's newest reading, or each feature, should have been: (n, c) or (n, f),
        from what `score` gets. Where it is not given, the method expects nothing.
    ready
        What `score` gets in place of the state, made from it once; a pure function.
    state
        What the state holds: name to "dtype[shape]", for example "f8[n,f]". Letters stand for
        lengths and agree across arrays; w, c and f are those of the windows and features.
    sees
        `features` (scaled, as declared) or `windows` (in their own units).
    defaults
        Its own defaults of shared parameters.
    params
        Beside those that every detector has.
    rises
        Whether its score never falls while a spike on the newest reading grows.
    bounded
        Whether its own score calls all that lies far from training alike; a fitted detector's
        then goes on to rise beyond the training range (`reach`).
    ceiling
        The largest score that it can give, from state and parameters; if left out there is none.
    flat
        Whether it makes sense of a channel that is constant in training.
    check
        Refuses a state whose arrays do not fit together; shapes and types are checked before.
    refused
        Why it cannot score new windows; empty for all that can.
    """

    name: str
    good_at: str
    source: str
    fit: Callable[[Training], State] | None = None
    score: Callable[[Floats, Any, Params], Floats] | None = None
    ready: Callable[[State, Params], Any] | None = None
    state: Mapping[str, str] = field(default_factory=dict)
    sees: Literal["features", "windows"] = "features"
    defaults: Mapping[str, object] = field(default_factory=dict)
    params: tuple[Param, ...] = ()
    rises: bool = False
    bounded: bool = False
    ceiling: Callable[[State, Params], float] | None = None
    flat: bool = False
    check: Check | None = None
    refused: str = ""
    parts: Callable[[Floats, Any, Params], Floats] | None = None
    expected: Callable[[Floats, Any, Params], Floats] | None = None


def checked_state(state: State, schema: Mapping[str, str], sizes: Mapping[str, int]) -> State:
    """Return `state` if it holds exactly the arrays of `schema`, all finite.

    Parameters
    ----------
    schema
        Name to "dtype[shape]", as in `Method.state`; a trailing "?" lets floats be infinite.
    sizes
        Lengths known beforehand, by letter.

    Raises
    ------
    DetectorError
        On an array too few or too many, another dtype or shape, NaN or infinity.

    Examples
    --------
    >>> checked_state({"a": np.zeros(2)}, {"a": "f8[c]"}, {"c": 3})
    Traceback (most recent call last):
    workbench.errors.DetectorError: array a has shape (2,), expected (3,)
    """
    if state.keys() != schema.keys():
        raise DetectorError(
            f"the state has arrays {', '.join(sorted(state)) or 'none'}, "
            f"expected {', '.join(sorted(schema)) or 'none'}"
        )
    known = dict(sizes)
    for name, wanted in schema.items():
        _check_array(name, state[name], wanted, known)
    return state


def _check_array(name: str, array: NDArray[Any], wanted: str, lengths: dict[str, int]) -> None:
    dtype, _, rest = wanted.partition("[")
    letters = [letter for letter in rest.rstrip("?").rstrip("]").split(",") if letter]
    if array.dtype != np.dtype(dtype):
        raise DetectorError(f"array {name} has dtype {array.dtype}, expected {np.dtype(dtype)}")
    if array.ndim == len(letters):
        for letter, length in zip(letters, array.shape, strict=True):
            lengths.setdefault(letter, int(letter) if letter.isdigit() else length)
    shape = tuple(lengths.get(letter, -1) for letter in letters)
    if array.shape != shape:
        raise DetectorError(f"array {name} has shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f":
        bad = np.isnan(array) if wanted.endswith("?") else ~np.isfinite(array)
        if bad.any():
            raise DetectorError(f"array {name} holds {array[bad][0]}")
