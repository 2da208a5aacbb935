"""A small pump station, simulated: what it would send, and what went wrong in it.

Each pump has a drive whose speed follows the demand of the day and week. Simple physics couples
its five channels, so that a fault moves some of them against the others:

    head of the pump    p = H s² - a Q²                bar; s relative speed, Q flow
    head of the system  p = P + k Q²                   static head and friction
    operating point     Q = sqrt((H s² - P) / (a + k))
    motor current       I = I0 + c (H s² - a Q²) Q     friction, and hydraulic power
    bearing temperature tau T' = ambient + r I² - T    first-order lag
    vibration           v = v0 s² (1 + d (Q/Qb - 1)²)  least at the best-efficiency flow

Source: the affinity laws and the quadratic pump and system curves of any textbook on centrifugal
pumps (for example Gülich, Centrifugal Pumps); the constants are made up for a 5.5 kW pump.
Nothing here is measured on a real machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from workbench.arrays import Bools, Floats

# channel: what its sensor resolves, in the unit that its name ends with
CHANNELS = {
    "flow_l_min": 0.5,
    "discharge_pressure_bar": 0.01,
    "motor_current_a": 0.02,
    "vibration_mm_s": 0.01,
    "bearing_temperature_c": 0.1,
}
# what a sensor adds to the truth: standard deviation, in its unit
_NOISE = dict(zip(CHANNELS, (3.0, 0.02, 0.06, 0.05, 0.15), strict=True))
# fault: the channels it moves
FAULTS = {
    "bearing_wear": ("vibration_mm_s", "bearing_temperature_c"),
    "cavitation": ("flow_l_min", "discharge_pressure_bar", "vibration_mm_s"),
    "blocked_filter": ("flow_l_min", "discharge_pressure_bar", "motor_current_a"),
    "stuck_sensor": ("flow_l_min",),
    "leak": ("flow_l_min", "discharge_pressure_bar"),
}
_THERMAL_LAG_S = 45 * 60.0
_DAY_S = 86_400
_SLOTS = 4  # of the second half, at most one fault in each for a pump


class Constants(NamedTuple):
    """What tells one pump from another; see the module's formulae."""

    head_bar: float = 9.0
    droop: float = 1.1e-5  # a, bar per (l/min)²
    static_bar: float = 2.5
    friction: float = 1.5e-5  # k, bar per (l/min)²
    idle_a: float = 4.0
    per_power: float = 2.6e-3  # c, A per (bar l/min)
    heating: float = 0.25  # r, °C per A²
    vibration: float = 1.6  # v0, mm/s
    best_flow: float = 430.0  # Qb, l/min


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one pump, growing over [start_s, stop_s) from the start."""

    pump: int
    kind: str
    start_s: float
    stop_s: float
    channel: str  # the one that a stuck sensor freezes; empty for the others

    def strength(self, times_s: Floats) -> Floats:
        """Return 0 outside, and inside what grows from 0.25 to 1 over the first third."""
        inside = (times_s >= self.start_s) & (times_s < self.stop_s)
        grown = (times_s - self.start_s) / ((self.stop_s - self.start_s) / 3)
        strength: Floats = np.where(inside, np.clip(0.25 + 0.75 * grown, 0.25, 1.0), 0.0)
        return strength


def simulate(
    *,
    pumps: int = 6,
    days: float = 14,
    start: str = "2026-01-05T00:00:00Z",
    period_s: float = 60,
    seed: int = 7,
    faults: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the station sent, and what went wrong.

    Parameters
    ----------
    pumps, days, period_s
        How many pumps, for how long, one reading of all channels every so many seconds each.
    start
        ISO-8601, UTC. A Monday, for the week's load to fit.
    seed
        The same seed gives the same rows.
    faults
        Whether anything goes wrong; if so, in the second half only.

    Returns
    -------
    readings
        One row per reading, in the order of arrival: `pump`, `event_time` (ms, UTC), and the
        channels, each rounded to what its sensor resolves; NaN where one channel was silent. About
        0.5 % of the readings never arrive, and 0.3 % up to ten minutes late.
    labels
        One row per fault: `sensor`, `start`, `stop` (half open), `kind`, `channels` (a tuple).

    Examples
    --------
    >>> readings, labels = simulate(pumps=2, days=2)
    >>> readings["pump"].unique().tolist(), labels["kind"].tolist()
    (['pump-1', 'pump-2'], ['bearing_wear', 'cavitation', 'blocked_filter', 'stuck_sensor', 'leak'])
    """
    plan, arrival, *seeds = np.random.SeedSequence(seed).spawn(2 + pumps)
    times_s = np.arange(0, days * _DAY_S, period_s)
    planned = _plan(pumps, days * _DAY_S, np.random.default_rng(plan)) if faults else []
    frames = [
        _pump(number, times_s, [fault for fault in planned if fault.pump == number], sequence)
        for number, sequence in enumerate(seeds)
    ]
    epoch = pd.Timestamp(start)
    return _arrived(frames, epoch, np.random.default_rng(arrival)), _labels(planned, epoch)


def _plan(pumps: int, span_s: float, rng: np.random.Generator) -> list[Fault]:
    """Return at most 2.5 faults per pump; kinds in turn, so that early and late days have all."""
    slots = [(slot, pump) for slot in range(_SLOTS) for pump in rng.permutation(pumps)]
    used = sorted(rng.choice(len(slots), size=min(15, 5 * len(slots) // 8), replace=False))
    width_s = span_s / 2 / _SLOTS
    planned = []
    for number, place in enumerate(used):
        slot, pump = slots[place]
        kind = list(FAULTS)[number % len(FAULTS)]
        begin_s = span_s / 2 + width_s * (slot + rng.uniform(0.1, 0.45))
        stop_s = begin_s + width_s * rng.uniform(0.15, 0.4)
        channel = str(rng.choice(list(CHANNELS)[:3])) if kind == "stuck_sensor" else ""
        planned.append(Fault(int(pump), kind, round(begin_s, -1), round(stop_s, -1), channel))
    return planned


def _demand(times_s: Floats, rng: np.random.Generator) -> Floats:
    """Return the relative speed that the day, the week and people's habits ask for."""
    hour = times_s / 3600 % 24
    day = 0.055 * np.sin(2 * np.pi * (hour - 8) / 24) + 0.025 * np.sin(4 * np.pi * (hour - 5) / 24)
    weekend = np.where(times_s // _DAY_S % 7 >= 5, -0.02, 0.0)
    wander = lfilter([1], [1, -0.995], rng.normal(0, 0.0012, len(times_s)))
    demand: Floats = 0.93 + day + weekend + wander
    return demand


def _pump(
    number: int, times_s: Floats, faults: list[Fault], sequence: np.random.SeedSequence
) -> pd.DataFrame:
    rng = np.random.default_rng(sequence)
    constants = Constants(*(value * rng.normal(1, 0.004) for value in Constants()))
    strength = {kind: np.zeros(len(times_s)) for kind in FAULTS}
    for fault in faults:
        strength[fault.kind] += fault.strength(times_s)
    truth = _physics(constants, times_s, strength, rng)
    frame = pd.DataFrame({name: _sensed(name, truth[name], rng) for name in CHANNELS})
    for fault in faults:
        _freeze(frame, fault, times_s)
    frame.insert(0, "pump", f"pump-{number + 1}")
    frame.insert(1, "time_s", times_s + number)  # the pumps do not report in step
    return frame


def _physics(
    pump: Constants, times_s: Floats, strength: dict[str, Floats], rng: np.random.Generator
) -> dict[str, Floats]:
    """Return the five channels without noise, shape (len(times_s),) each."""
    speed = _demand(times_s, rng)
    burst = strength["cavitation"] * rng.gamma(2.0, 0.5, len(times_s))
    head = pump.head_bar * speed**2
    droop = pump.droop * (1 + 0.9 * strength["blocked_filter"] + 0.25 * burst)
    friction = pump.friction * (1 - 0.22 * strength["leak"])
    flow = np.sqrt((head - pump.static_bar) / (droop + friction))
    pressure = pump.static_bar + friction * flow**2
    current = pump.idle_a + pump.per_power * (head - pump.droop * flow**2) * flow
    current = current * (1 + 0.02 * strength["bearing_wear"])
    off_best = (flow / pump.best_flow - 1) ** 2
    rough = np.exp(rng.normal(0, 0.03, len(flow)))
    vibration = pump.vibration * speed**2 * (1 + 4 * off_best) * rough
    vibration = vibration + 0.55 * strength["bearing_wear"] + 0.35 * burst
    heat = _heat(pump, times_s, current, strength)
    return dict(zip(CHANNELS, (flow, pressure, current, vibration, heat), strict=True))


def _heat(pump: Constants, times_s: Floats, current: Floats, strength: dict[str, Floats]) -> Floats:
    hour = times_s / 3600
    ambient = 18 + 3 * np.sin(2 * np.pi * (hour - 9) / 24) + 0.08 * hour / 24
    towards = ambient + pump.heating * current**2 + 5 * strength["bearing_wear"]
    keep = float(np.exp(-(times_s[1] - times_s[0]) / _THERMAL_LAG_S))
    smoothed, _ = lfilter([1 - keep], [1, -keep], towards, zi=[keep * towards[0]])
    heat: Floats = smoothed
    return heat


def _sensed(name: str, truth: Floats, rng: np.random.Generator) -> Floats:
    """Return what the sensor says: noise, drifting gain, its resolution, now and then nothing."""
    drift = 1 + 0.002 * np.linspace(0, rng.normal(), len(truth))
    reading = truth * drift + rng.normal(0, _NOISE[name], len(truth))
    step = CHANNELS[name]
    rounded: Floats = np.round(np.round(reading / step) * step, 3)
    rounded[rng.random(len(truth)) < 0.0004] = np.nan
    return rounded


def _freeze(frame: pd.DataFrame, fault: Fault, times_s: Floats) -> None:
    if fault.kind != "stuck_sensor":
        return
    first = int(np.searchsorted(times_s, fault.start_s))
    last = int(np.searchsorted(times_s, fault.stop_s))
    values = frame[fault.channel].iloc[: first + 1].dropna()
    frame.loc[first : last - 1, fault.channel] = values.iloc[-1]


def _arrived(
    frames: list[pd.DataFrame], epoch: pd.Timestamp, rng: np.random.Generator
) -> pd.DataFrame:
    """Return what arrived, in that order: outages and single losses taken out, some delayed."""
    sent = pd.concat(frames, ignore_index=True)
    sent = sent[~_lost(sent, rng)]
    delay_s = rng.exponential(0.4, len(sent))
    delay_s += np.where(rng.random(len(sent)) < 0.003, rng.uniform(30, 600, len(sent)), 0)
    sent = sent.iloc[np.argsort(sent["time_s"].to_numpy() + delay_s, kind="stable")]
    sent.insert(1, "event_time", _utc(epoch, sent.pop("time_s")))
    return sent.reset_index(drop=True)


def _lost(sent: pd.DataFrame, rng: np.random.Generator) -> Bools:
    lost = rng.random(len(sent)) < 0.002
    times_s = sent["time_s"].to_numpy()
    for pump in sent["pump"].unique():  # a radio that is out for a while, once in three days
        for _ in range(int(times_s.max() // (3 * _DAY_S)) + 1):
            begin_s = rng.uniform(0, times_s.max())
            out = (times_s >= begin_s) & (times_s < begin_s + rng.uniform(300, 2400))
            lost |= out & (sent["pump"] == pump).to_numpy()
    return lost


def _labels(faults: list[Fault], epoch: pd.Timestamp) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sensor": [f"pump-{fault.pump + 1}" for fault in faults],
            "start": _utc(epoch, pd.Series([fault.start_s for fault in faults], dtype=float)),
            "stop": _utc(epoch, pd.Series([fault.stop_s for fault in faults], dtype=float)),
            "kind": [fault.kind for fault in faults],
            "channels": [
                (fault.channel,) if fault.channel else FAULTS[fault.kind] for fault in faults
            ],
        }
    )


def _utc(epoch: pd.Timestamp, offset_s: pd.Series) -> pd.DatetimeIndex:
    since_ms = (offset_s.to_numpy() * 1000).astype(np.int64)
    times = (int(epoch.timestamp() * 1000) + since_ms).astype("datetime64[ms]")
    return pd.DatetimeIndex(times).tz_localize("UTC")
