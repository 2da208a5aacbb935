"""Frozen detectors: a method of the catalogue, its parameters, and what it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.cards import Card, Shown, size
from workbench.detectors import calibration
from workbench.detectors.contract import Floats, State, checked_windows
from workbench.detectors.features import features, parse_features
from workbench.detectors.methods import Method, Params, checked_state
from workbench.detectors.specs import method_of
from workbench.errors import DetectorError

GOLDEN = 16  # training windows kept with a detector
FAR = 1e15  # spreads: where readings are cut, so that squares stay finite
_AT_ONCE = 1 << 20  # readings in windows scored at once, 8 MB: more is not faster


@dataclass(frozen=True, eq=False)
class Fitted(Shown):
    """A frozen detector.

    Attributes
    ----------
    spec
        Resolved specification.
    state
        What the method learnt, what is done to windows before it sees them (`fill`, `centre`,
        `spread`, `feature_*`) and to scores after (`tail_*`); of an ensemble, its members', under
        `m0_`, `m1_`, ...
    golden
        Shape (<= 16, w, c): training windows by which a copy proves that it scores alike.
    """

    spec: Mapping[str, Any]
    state: State = field(repr=False)
    golden: Floats = field(repr=False)
    _ready: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for array in (*self.state.values(), self.golden):
            array.flags.writeable = False
        if self.spec["name"] == "ensemble":
            ready: Any = _members(self.spec, self.state, self.golden)
        else:
            self._check_state()
            make = self._method.ready
            ready = self.state if make is None else make(self.state, self.spec)
        object.__setattr__(self, "_ready", ready)
        checked_windows(self, self.golden)

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        learnt = {"learnt": size(sum(array.nbytes for array in self.state.values()))}
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
        checked_state(self.state, schema, sizes)
        for name in sorted({"spread", "feature_spread"} & self.state.keys()):
            if not (self.state[name] > 0).all():
                raise DetectorError(f"array {name} holds a value that is not > 0")
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

    def score(self, windows: Floats, /) -> Floats:
        """Return one score per window, (n, w, c) to (n,); higher is more anomalous."""
        windows = checked_windows(self, windows)
        scores: Floats = np.empty(len(windows))
        most = max(1, _AT_ONCE // (self.window * len(self.channels)))
        for start in range(0, len(windows), most):
            batch = slice(start, start + most)
            scores[batch] = self._score(windows[batch])
        return scores

    def _score(self, windows: Floats) -> Floats:
        if self.spec["name"] == "ensemble":
            return _combined(windows, self._ready, self.spec)
        score = self._method.score
        assert score is not None  # noqa: S101 - method_of refused the others
        scores = score(seen(windows, self.spec, self.state), self._ready, self.spec)
        if self.spec["calibrate"] == "tail":
            return calibration.tail_log(scores, self.state)
        return scores


def width(spec: Params) -> int:
    """Return f, the number of features that a specification declares."""
    one = np.zeros((1, int(spec["window"]), len(spec["channels"])))
    return int(features(one, parse_features(spec["features"], int(spec["window"]))).shape[1])


def seen(windows: Floats, spec: Params, state: State) -> Floats:
    """Return what the method sees of windows: filled, scaled, turned into features."""
    if "fill" in state:
        windows = filled(windows, np.asarray(state["fill"], dtype=np.float64))
    if "centre" not in state:
        return windows
    scaled = (windows - state["centre"]) / state["spread"]
    np.clip(scaled, -FAR, FAR, out=scaled)
    found = features(scaled, parse_features(spec["features"], int(spec["window"])))
    if spec["scale_features"]:
        found = (found - state["feature_centre"]) / state["feature_spread"]
    return found


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
    there = ~np.isnan(windows)
    if there.all():
        return windows
    at = np.where(there, np.arange(windows.shape[1])[:, np.newaxis], -1)
    at = np.maximum.accumulate(at, axis=1)
    before = np.take_along_axis(windows, np.maximum(at, 0), axis=1)
    return np.where(at >= 0, before, first)


def part_of(windows: Floats, member: Params, spec: Params) -> Floats:
    """Return what a member of an ensemble gets of its windows: its last readings, its channels."""
    columns = [spec["channels"].index(channel) for channel in member["channels"]]
    last = windows[:, -int(member["window"]) :, :]
    return np.ascontiguousarray(last if columns == [*range(last.shape[2])] else last[..., columns])


def _members(spec: Params, state: State, golden: Floats) -> tuple[Fitted, ...]:
    members, used = [], 0
    for at, member in enumerate(spec["members"]):
        prefix = f"m{at}_"
        own = {name[len(prefix) :]: one for name, one in state.items() if name.startswith(prefix)}
        members.append(Fitted(member, own, part_of(golden, member, spec)))
        used += len(own)
    if used != len(state):
        raise DetectorError("the state has arrays of no member")
    return tuple(members)


def _combined(windows: Floats, members: tuple[Fitted, ...], spec: Params) -> Floats:
    scores = np.stack([one.score(part_of(windows, one.spec, spec)) for one in members])
    weights = np.ones(len(members)) if spec["weights"] is None else np.array(spec["weights"])
    if spec["combine"] == "max":
        largest: Floats = scores[weights > 0].max(axis=0)
        return largest
    mean: Floats = (weights / weights.sum()) @ scores
    return mean
