"""Frozen detectors: a method of the catalogue, its parameters, and what it learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.arrays import Bools, Floats, Ints
from workbench.cards import Card, HasCard, size
from workbench.detectors import calibration
from workbench.detectors.contract import State, checked_windows
from workbench.detectors.leveling.levels import HUGE, PREFIX, Levels, read_levels
from workbench.detectors.leveling.states import States, states_of
from workbench.detectors.methods import parts, passes, reach
from workbench.detectors.methods.features import SHAPES, features, parse_features
from workbench.detectors.methods.method import Method, Params, checked_state
from workbench.detectors.methods.pyod_estimators import foreign
from workbench.detectors.specs import clocks_of, method_of, unleveled
from workbench.errors import DetectorError

GOLDEN = 16  # training windows kept with a detector
FAR = 1e15  # spreads: where readings are cut, so that squares stay finite
_JUMPING = 4  # windows that jump
_ROWS = {"train", "sorted", "vectors"}  # arrays of training windows
_AT_ONCE = 1 << 16  # readings in windows scored at once: what is made of them stays in the cache
_FEW = 64  # windows at least, where they have at most
_AT_MOST = 1 << 20  # readings together


@dataclass(frozen=True, eq=False)
class Fitted(HasCard):
    """A frozen detector.

    Attributes
    ----------
    spec
        Resolved specification.
    state
        What the method learnt, what is done to windows before it sees them (`fill`, `centre`,
        `spread`, `feature_*`) and to scores after (`reach_*`, `tail_*`); of an ensemble, its
        members', under `m0_`, `m1_`, ...; with `level: sensor`, the levels (`level_*`).
    golden
        Shape (<= 16, w, c): training windows by which a copy proves that it scores alike.
    levels
        What is usual of each sensor, with `level: sensor`; else None.
    bare
        The detector of windows on their sensors' level; itself where there are no levels.
    """

    spec: Mapping[str, Any]
    state: State = field(repr=False)
    golden: Floats = field(repr=False)
    levels: Levels | None = field(init=False, repr=False, default=None)
    bare: Fitted = field(init=False, repr=False)
    _ready: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for array in (*self.state.values(), self.golden):
            array.flags.writeable = False
        object.__setattr__(self, "bare", self)
        if "level" in self.spec:
            self._level()
            return
        if self.spec["name"] == "ensemble":
            ready: Any = _members(self.spec, self.state, self.golden)
        else:
            self._check_state()
            make = self._method.ready
            ready = self.state if make is None else make(self.state, self.spec)
        object.__setattr__(self, "_ready", ready)
        checked_windows(self, self.golden)

    def _level(self) -> None:
        """Read the levels, and make the detector of levelled windows."""
        golden = checked_windows(self, self.golden)
        if not np.isfinite(golden[~np.isnan(golden)]).all():
            raise DetectorError("the golden windows hold infinity")
        levels, places = read_levels(self.state, len(self.channels), len(golden))
        rest = {name: array for name, array in self.state.items() if not name.startswith(PREFIX)}
        bare = Fitted(unleveled(self.spec), rest, levels.leveled(self.golden, places))
        for name, value in (("levels", levels), ("bare", bare), ("_ready", places)):
            object.__setattr__(self, name, value)

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        learnt = {"learnt": size(sum(array.nbytes for array in self.state.values()))}
        if self.levels is not None:
            learnt |= self.levels.facts(self.channels)
        return Card("detector", str(self.spec["name"]), {**self.spec, "name": "", **learnt})

    def _check_state(self) -> None:
        method, sizes = self._method, {"w": self.window, "c": len(self.channels)}
        schema = dict(method.state)
        if self.takes_missing:
            schema["fill"] = "f8[c]"
        if method.sees == "features":
            sizes["f"] = width(self.spec)
            schema |= {"centre": "f8[c]", "spread": "f8[c]"}
            schema |= {"feature_centre": "f8[f]", "feature_spread": "f8[f]"}
        if self.spec["calibrate"] == "tail":
            schema |= calibration.SCHEMA
        if method.bounded:
            schema |= reach.SCHEMA
            if not reach.SCHEMA.keys() & self.state.keys():
                raise DetectorError(
                    f"detector {method.name} was fitted when its scores still had a ceiling",
                    hint="fit it again: no reading may be able to pass its threshold",
                )
        checked_state(self.state, schema, sizes)
        for name in sorted(_ROWS & self.state.keys()):
            if len(self.state[name]) > self.spec["sample"]:
                raise DetectorError(
                    f"array {name} has {len(self.state[name])} rows, the sample had at most "
                    f"{self.spec['sample']}"
                )
        for name in sorted({"spread", "feature_spread"} & self.state.keys()):
            if not (self.state[name] > 0).all():
                raise DetectorError(f"array {name} holds a value that is not > 0")
        if method.bounded:
            reach.check_reach(self.state)
        if method.check is not None:
            method.check(self.state, self.spec, sizes)
        if self.spec["calibrate"] == "tail":
            calibration.check_tail(self.state)

    @property
    def _method(self) -> Method:
        return method_of(self.spec["name"])

    @property
    def window(self) -> int:
        """Readings per window."""
        return int(self.spec["window"])

    @property
    def channels(self) -> tuple[str, ...]:
        """The measured quantities, in order."""
        return tuple(self.spec["channels"])

    @property
    def takes_missing(self) -> bool:
        """Whether windows may hold NaN."""
        return bool(self.spec["missing"] == "fill")

    @property
    def max_span_s(self) -> float | None:
        """The gap rule that it was fitted with."""
        span: float | None = self.spec["max_span_s"]
        return span

    @property
    def states(self) -> States | None:
        """What the machine does, with `steady`: windows across a change have no score; or None."""
        return states_of(self.spec)

    @property
    def ceiling(self) -> float:
        """The largest score that a fault of any size can have; infinite where it has no end.

        A detector that sees nothing but the shape of a window, without level and size, scores the
        largest jump as it scores a small one: its ceiling is what a jump surely reaches, whichever
        channel jumps, up or down.
        """
        if self.levels is not None:
            return self.bare.ceiling
        if _sees_shape_only(self.spec):
            scores = [self.score(jumping) for jumping in reach.jumps(self.golden[:_JUMPING])]
            return float(np.max(scores, axis=0).min())
        if self.spec["name"] == "ensemble":
            weights = weights_of(self.spec, len(self._ready))
            ceilings = np.array([member.ceiling for member in self._ready])[weights > 0]
            shares = weights[weights > 0]
            largest = self.spec["combine"] == "max"
            return float(ceilings.max() if largest else shares @ ceilings)
        if self._method.ceiling is None:
            return np.inf
        highest = self._method.ceiling(self.state, self.spec)
        if self.spec["calibrate"] == "tail":
            return float(calibration.tail_log(np.array([highest]), self.state)[0])
        return highest

    def score(self, windows: Floats, /) -> Floats:
        """Return one score per window, (n, w, c) to (n,); higher is more anomalous.

        With `level: sensor` it is refused: ask `score_windows`, which takes the sensors too.
        """
        self._refuse_nameless()
        windows = checked_windows(self, windows)
        if self.spec["name"] == "ensemble":
            return _combined(windows, self._ready, self.spec)
        return self._scores(windows)

    def golden_scores(self) -> Floats:
        """Return the scores of the golden windows, each on the level of its sensor."""
        return self.bare.score(self.bare.golden)

    def leveled(
        self, windows: Floats, sensors: Iterable[object] | None
    ) -> tuple[Bools, Ints, Floats]:
        """Return which windows have a level, of these the places, and the windows on their level.

        Parameters
        ----------
        windows
            Shape (n, w, c), NaN where missing.
        sensors
            Whose windows they are, (n,), by name.

        Raises
        ------
        DetectorError
            If no sensors are given.
        """
        assert self.levels is not None  # noqa: S101 - asked of no other
        if sensors is None:
            raise self._nameless()
        places = self.levels.places(sensors)
        has = places >= 0
        return has, places[has], self.levels.leveled(windows[has], places[has])

    def following(self, before: Fitted) -> Fitted:
        """Return this detector with the levels that only the one before it has learnt."""
        mine, theirs = (clocks_of(detector.spec) for detector in (self, before))
        alike = before.channels == self.channels and mine == theirs
        if self.levels is None or before.levels is None or not alike:
            return self
        levels = self.levels.with_those_of(before.levels)
        golden = levels.places(self.levels.names[place] for place in self._ready)
        return Fitted(self.spec, self.bare.state | levels.state(golden), self.golden)

    def _refuse_nameless(self) -> None:
        if self.levels is not None:
            raise self._nameless()

    def _nameless(self) -> DetectorError:
        return DetectorError(
            f"detector {self.spec['name']} has level: sensor, and no sensors are given",
            hint="score_windows(detector, windows, sensors)",
        )

    def explain(self, windows: Floats, /) -> Floats:
        """Return the share of each channel in each score, (n, w, c) to (n, c); each sums to 1."""
        self._refuse_nameless()
        windows = _cut(checked_windows(self, windows))
        return parts.shares(self._parts(windows), len(self.channels))

    def expected(self, windows: Floats, /) -> Floats:
        """Return what each channel's newest reading should have been, (n, w, c) to (n, c).

        In the channel's own unit; NaN where the method does not say.
        """
        self._refuse_nameless()
        windows = checked_windows(self, windows)
        n, w, c = windows.shape
        nothing: Floats = np.full((n, c), np.nan)
        if self.spec["name"] == "ensemble" or self._method.expected is None:
            return nothing
        inputs = method_inputs(np.clip(windows, -HUGE, HUGE), self.spec, self.state)
        values = self._method.expected(inputs, self._ready, self.spec)
        if self._method.sees == "windows":
            return values
        asked = parse_features(self.spec["features"], w)
        if [name for name, _ in asked] not in (["raw"], ["newest"]):
            return nothing  # the last features are not the newest readings
        if self.spec["scale_features"]:
            values = values * self.state["feature_spread"] + self.state["feature_centre"]
        newest: Floats = values[:, -c:] * self.state["spread"] + self.state["centre"]
        return newest

    def _parts(self, windows: Floats) -> Floats:
        """Return what the channels add to each score: of a method's own making, or by replacing."""
        if self.spec["name"] == "ensemble" or self._method.parts is None:
            return parts.replaced(self.score, windows, self.golden)
        return self._method.parts(
            method_inputs(windows, self.spec, self.state), self._ready, self.spec
        )

    def _scores(self, windows: Floats, whole: Params | None = None) -> Floats:
        """Return the scores of checked windows; of those of an ensemble, its specification."""
        scores: Floats = np.empty(len(windows))
        each = self.window * len(self.channels)
        few = _AT_MOST if self._method.score is foreign else _FEW  # PyOD's take long for a call
        most = max(1, _AT_ONCE // each, min(few, _AT_MOST // each))
        for start in range(0, len(windows), most):
            batch = slice(start, start + most)
            some = windows[batch] if whole is None else part_of(windows[batch], self.spec, whole)
            scores[batch] = self._score(_cut(some))
        return scores

    def _score(self, windows: Floats) -> Floats:
        score = self._method.score
        assert score is not None  # noqa: S101 - method_of refused the others
        inputs = method_inputs(windows, self.spec, self.state)
        scores = score(inputs, self._ready, self.spec)
        if self._method.bounded:
            scores = scores + reach.beyond(inputs, self.state)
        if self.spec["calibrate"] == "tail":
            return calibration.tail_log(scores, self.state)
        return scores


def _sees_shape_only(spec: Params) -> bool:
    """Return whether all that a method sees of a window is the same for one twice as large."""
    if spec["name"] == "ensemble":
        return all(map(_sees_shape_only, spec["members"]))
    if method_of(spec["name"]).sees != "features":
        return False
    asked = parse_features(spec["features"], int(spec["window"]))
    return all(name in SHAPES for name, _ in asked)


def width(spec: Params) -> int:
    """Return f, the number of features that a specification declares."""
    window = np.zeros((1, int(spec["window"]), len(spec["channels"])))
    return int(features(window, parse_features(spec["features"], int(spec["window"]))).shape[1])


def _cut(windows: Floats) -> Floats:
    """Return windows whose readings are at most HUGE, NaN where missing."""
    return windows if passes.finite(windows, HUGE) else np.clip(windows, -HUGE, HUGE)


def method_inputs(windows: Floats, spec: Params, state: State) -> Floats:
    """Return what the method sees of windows: filled, scaled, turned into features."""
    if "fill" in state:
        windows = filled(windows, np.asarray(state["fill"], dtype=np.float64))
    if "centre" not in state:
        return windows
    asked = parse_features(spec["features"], int(spec["window"]))
    longest = max(readings for _, readings in asked)
    scaled = passes.scaled(windows[:, -longest:, :], state["centre"], state["spread"], FAR)
    inputs = features(scaled, asked)
    if spec["scale_features"]:
        inputs = (inputs - state["feature_centre"]) / state["feature_spread"]
    return inputs


def filled(windows: Floats, first: Floats) -> Floats:
    """Return windows with each missing reading replaced by the one before it in its window.

    Parameters
    ----------
    first
        Shape (c,): what stands in where a window begins with missing readings.

    Examples
    --------
    >>> filled(np.array([[[np.nan], [2.0], [np.nan]]]), np.array([9.0]))[0, :, 0]
    array([9., 2., 2.])
    """
    if passes.finite(windows):
        return windows
    there = ~np.isnan(windows)
    source = np.where(there, np.arange(windows.shape[1])[:, np.newaxis], -1)
    source = np.maximum.accumulate(source, axis=1)
    before = np.take_along_axis(windows, np.maximum(source, 0), axis=1)
    return np.where(source >= 0, before, first)


def part_of(windows: Floats, member: Params, spec: Params) -> Floats:
    """Return what a member of an ensemble gets of its windows: its last readings, its channels."""
    columns = [spec["channels"].index(channel) for channel in member["channels"]]
    last = windows[:, -int(member["window"]) :, :]
    return np.ascontiguousarray(last if columns == [*range(last.shape[2])] else last[..., columns])


def _members(spec: Params, state: State, golden: Floats) -> tuple[Fitted, ...]:
    members, used = [], 0
    for at, member in enumerate(spec["members"]):
        prefix = f"m{at}_"
        arrays = {
            name[len(prefix) :]: array for name, array in state.items() if name.startswith(prefix)
        }
        members.append(Fitted(member, arrays, part_of(golden, member, spec)))
        used += len(arrays)
    if used != len(state):
        raise DetectorError("the state has arrays of no member")
    return tuple(members)


def _combined(windows: Floats, members: tuple[Fitted, ...], spec: Params) -> Floats:
    scores = np.stack([member._scores(windows, spec) for member in members])
    weights = weights_of(spec, len(members))
    if spec["combine"] == "max":
        largest: Floats = scores[weights > 0].max(axis=0)
        return largest
    mean: Floats = weights @ scores
    return mean


def weights_of(spec: Params, members: int) -> Floats:
    """Return the weight of each member; they sum to 1."""
    weights = np.ones(members) if spec["weights"] is None else np.array(spec["weights"])
    shares: Floats = weights / weights.sum()
    return shares
