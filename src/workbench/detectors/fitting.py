"""From a specification and a span of history to a frozen detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.arrays import Bools, Floats, Ints, Objects
from workbench.detectors import calibration
from workbench.detectors.contract import State
from workbench.detectors.fitted import GOLDEN, Fitted, filled, method_inputs, part_of, weights_of
from workbench.detectors.leveling.levels import Levels, learn
from workbench.detectors.leveling.states import states_of
from workbench.detectors.methods.method import Method, Params, Training
from workbench.detectors.methods.reach import fit_reach
from workbench.detectors.methods.rules import FLAT, robust_centre
from workbench.detectors.methods.table import USUAL
from workbench.detectors.specs import clocks_of, method_of, resolve, unleveled
from workbench.detectors.windows import (
    WindowIndex,
    index_windows,
    numbers,
    time_order,
    usual_span_s,
)
from workbench.errors import DetectorError

LEAST = 10  # training windows; fewer say nothing about what is usual
_CALIBRATING = 5000  # windows at most


def fit_spec(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    seed: int = 0,
    keep: Bools | None = None,
) -> Fitted:
    """Return a detector of the catalogue fitted and frozen; the parameters are those of `fit`."""
    resolved = _with_span(resolve(spec), frame, sensor=sensor, time=time)
    order = time_order(frame, sensor=sensor, time=time)
    frame, keep = frame.iloc[order], None if keep is None else keep[order]
    index = index_windows(
        frame,
        sensor=sensor,
        time=time,
        channels=resolved["channels"],
        window=resolved["window"],
        max_span_s=resolved["max_span_s"],
        missing=resolved["missing"] == "fill",
    )
    usable = np.arange(len(index.rows)) if keep is None else index.within(keep)
    levels = _levels(resolved, frame, keep, index.names) if "level" in resolved else None
    if levels is not None:
        usable = usable[levels.has(index.names[index.rows[usable]])]
    usable = usable[index.steady(usable, states_of(resolved))]
    first, last = _split(index, usable, _share_kept(resolved))
    rng = np.random.default_rng(seed)
    kept = len(frame) if keep is None else int(keep.sum())
    picked = _sample(index, first, _most(resolved), rng, kept)
    held = _drawn(last, _CALIBRATING, rng)
    if levels is None:
        return _fit(resolved, index.values(picked), index.values(held), seed)
    return _fit_on_level(resolved, levels, index, (picked, held), seed)


def _levels(spec: Params, frame: pd.DataFrame, keep: Bools | None, names: Objects) -> Levels:
    """Return the level of each sensor, by all readings that are learnt from."""
    values, channels = numbers(frame, spec["channels"]), tuple(spec["channels"])
    if keep is not None:
        values, names = values[keep], names[keep]
    return learn(values, names, channels=channels, clocks=clocks_of(spec))


def _fit_on_level(
    spec: Params, levels: Levels, index: WindowIndex, picked: tuple[Ints, Ints], seed: int
) -> Fitted:
    """Return the detector fitted and calibrated on windows, each on the level of its sensor."""
    windows, places = [], []
    for rows in picked:
        places.append(levels.places(index.names[index.rows[rows]]))
        windows.append(levels.leveled(index.values(rows), places[-1]))
    bare = _fit(unleveled(spec), windows[0], windows[1], seed)
    golden = _golden(picked[0])
    state = bare.state | levels.state(places[0][golden])
    return Fitted(spec, state, index.values(picked[0][golden]))


def _with_span(spec: Params, frame: pd.DataFrame, *, sensor: str, time: str) -> dict[str, Any]:
    """Return a specification whose gap rule, if it is to be learnt, is a number."""
    if spec["max_span_s"] != USUAL:
        return dict(spec)
    span_s = usual_span_s(frame, spec["window"], sensor=sensor, time=time)
    members = [{**member, "max_span_s": span_s} for member in spec.get("members", [])]
    return {**spec, "max_span_s": span_s} | ({"members": members} if members else {})


def _most(spec: Params) -> int:
    return max(int(member["sample"]) for member in spec.get("members", [spec]))


def _share_kept(spec: Params) -> float:
    """Return the share of windows kept for calibration, 0 where nothing is calibrated."""
    shares = [
        member["calibrate_share"]
        for member in spec.get("members", [spec])
        if member["calibrate"] == "tail"
    ]
    return max(shares, default=0.0)


def _split(index: WindowIndex, usable: Ints, share: float) -> tuple[Ints, Ints]:
    """Return the windows to fit on and those to calibrate on, which share no reading."""
    if share == 0 or not len(usable):
        return usable, usable[:0]
    cut = index.rows[usable[int(len(usable) * (1 - share))]]
    return usable[index.rows[usable] < cut], usable[index.oldest[usable] >= cut]


def _sample(
    index: WindowIndex, usable: Ints, most: int, rng: np.random.Generator, kept: int
) -> Ints:
    if len(usable) < LEAST:
        count = len(index.readings)
        left_out = f", {count - kept} of them left out" if kept < count else ""
        raise DetectorError(
            f"{len(usable)} training windows of {index.window} readings, {LEAST} are needed",
            hint=f"from {count} readings{left_out}: a longer span, a shorter window, "
            "a larger max_span_s, or missing: fill",
        )
    return _drawn(usable, most, rng)


def _drawn(usable: Ints, most: int, rng: np.random.Generator) -> Ints:
    if len(usable) <= most:
        return usable
    return usable[np.sort(rng.choice(len(usable), most, replace=False))]


def _fit(spec: Params, windows: Floats, calibration_windows: Floats, seed: int) -> Fitted:
    """Return the detector fitted on `windows` and calibrated on `calibration_windows`."""
    golden = windows[_golden(windows)]
    if spec["name"] == "ensemble":
        return Fitted(spec, _fit_members(spec, windows, calibration_windows, seed), golden)
    windows = windows[_drawn(np.arange(len(windows)), spec["sample"], np.random.default_rng(seed))]
    method = method_of(spec["name"])
    state = _prepare(windows, spec, method)
    state |= _fit_method(windows, state, spec, method, seed)
    if spec["calibrate"] == "tail":
        bare = Fitted({**spec, "calibrate": "none"}, dict(state), golden)
        state |= calibration.fit_tail(bare.score(calibration_windows))
    return Fitted(spec, state, golden)


def _golden(windows: NDArray[Any]) -> Ints:
    """Return which of the windows are kept with the detector."""
    return np.linspace(0, len(windows) - 1, min(GOLDEN, len(windows))).astype(np.int64)


def _fit_members(spec: Params, windows: Floats, calibration_windows: Floats, seed: int) -> State:
    state: State = {}
    fitted = []
    for number, member in enumerate(spec["members"]):
        own, own_held = (part_of(some, member, spec) for some in (windows, calibration_windows))
        fitted.append(_fit(member, own, own_held, seed + number))
        state |= {f"m{number}_{name}": array for name, array in fitted[-1].state.items()}
    if any(member["calibrate"] == "none" for member in spec["members"]):
        enough = len(calibration_windows) >= calibration.LEAST
        _refuse_unheard(spec, fitted, calibration_windows if enough else windows)
    return state


def _refuse_unheard(spec: Params, members: Sequence[Fitted], windows: Floats) -> None:
    """Refuse members whose scores are as they are, and of unlike size."""
    windows = windows[_drawn(np.arange(len(windows)), _CALIBRATING, np.random.default_rng(0))]
    parts = (part_of(windows, member.spec, spec) for member in members)
    calibration.refuse_unheard(
        np.stack([member.score(part) for member, part in zip(members, parts, strict=True)]),
        names=[f"{member.spec['name']}, member {at}" for at, member in enumerate(members, 1)],
        weights=weights_of(spec, len(members)),
        calibrated=np.array([member.spec["calibrate"] == "tail" for member in members]),
        combine=spec["combine"],
    )


def _prepare(windows: Floats, spec: Params, method: Method) -> State:
    """Learn what is done to windows before the method sees them."""
    channels = tuple(spec["channels"])
    state: State = {}
    if spec["missing"] == "fill":
        for channel, there in zip(channels, ~np.isnan(windows).all(axis=(0, 1)), strict=True):
            if not there:
                raise DetectorError(f"channel {channel} has no reading at all in training")
        state["fill"] = np.nanmedian(windows, axis=(0, 1))
        windows = filled(windows, state["fill"])
    if not method.flat:
        _refuse_constant(windows, channels)
    if method.sees == "windows":
        return state
    state["centre"], state["spread"] = _centre(windows, spec["scale"], channels)
    found = method_inputs(windows, {**spec, "scale_features": False}, state)
    deviation = found.std(axis=0)
    state["feature_centre"] = found.mean(axis=0)
    state["feature_spread"] = np.where(deviation > 1e-9, deviation, 1.0)
    return state


def _refuse_constant(windows: Floats, channels: tuple[str, ...]) -> None:
    least, most = windows.min(axis=(0, 1)), windows.max(axis=(0, 1))
    for channel, low, high in zip(channels, least, most, strict=True):
        if high - low <= FLAT * max(abs(low), abs(high)):
            raise DetectorError(
                f"channel {channel} is constant in training, {low:g}",
                hint="leave it out, or train on a longer span",
            )


def _centre(windows: Floats, scale: str, channels: tuple[str, ...]) -> tuple[Floats, Floats]:
    c = windows.shape[2]
    if scale == "none":
        return np.zeros(c), np.ones(c)
    values = windows.reshape(-1, c)
    if scale == "robust":
        return robust_centre(values, channels)
    return values.mean(axis=0), values.std(axis=0)


def _fit_method(windows: Floats, state: State, spec: Params, method: Method, seed: int) -> State:
    """Fit the method, and again without its most anomalous training windows where asked."""
    assert method.fit is not None  # noqa: S101 - method_of refused the others
    inputs = method_inputs(windows, spec, state)
    training = Training(inputs, spec, tuple(spec["channels"]), seed)
    learnt = _learnt(training, method)
    if not spec.get("trim"):
        return learnt
    first = Fitted({**spec, "calibrate": "none"}, {**state, **learnt}, windows[:1])
    kept = max(LEAST, round(len(inputs) * (1 - spec["trim"])))
    keep = np.sort(np.argsort(first.score(windows), kind="stable")[:kept])
    return _learnt(replace(training, inputs=inputs[keep]), method)


def _learnt(training: Training, method: Method) -> State:
    assert method.fit is not None and method.score is not None  # noqa: S101, PT018 - as above
    state = method.fit(training)
    if not method.bounded:
        return state
    ready = state if method.ready is None else method.ready(state, training.params)
    return state | fit_reach(training.inputs, method.score(training.inputs, ready, training.params))
