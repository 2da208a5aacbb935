"""What `steady` is worth: a pump that is off, idle and at load by turns, with faults at load.

    python benchmarks/stops.py [--seeds 5] [--json]

Ten days of one simulated pump (the physics of `workbench.plant`), a reading a minute; each state
lasts one to ten hours. The first half is learnt from; in the second four faults of two hours, one
each of wear, cavitation, a blocked filter and a stuck flow meter, begin 75 minutes or more after a
start. The threshold is bought at 0.3 alerts a day, rule 3, 5, 10. For each seed:

    found    faults, of 4, in which an alarm begins
    false    alarms that begin elsewhere, the hour after a fault left out, in five days
    scored   share of the readings of the second half that have a score

of `auto`, of what it chose without `steady` (`pooled`), and of kNN of ten readings, windows of 60,
with and without the states that `auto` found.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from workbench import detectors, plant
from workbench.times import epoch_ms

MINUTES = 14_400
FAULTS = ("bearing_wear", "cavitation", "blocked_filter", "stuck_sensor")
RULE, BUDGET = detectors.EpisodeRule(3, 5, 10), 0.3
OFF, IDLE, LOAD = range(3)


def pump(seed: int) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Return the readings of a pump, and the rows [start, stop) of its faults."""
    rng = np.random.default_rng(seed)
    state = _turns(rng)
    times_s, pump_is = 60.0 * np.arange(MINUTES), plant.Constants()
    faults = _faults(state, rng)
    strength = {kind: np.zeros(MINUTES) for kind in plant.FAULTS}
    for kind, (start, stop) in zip(FAULTS, faults, strict=True):
        strength[kind] += plant.Fault(0, kind, 60.0 * start, 60.0 * stop, "").strength(times_s)
    load = plant._physics(pump_is, times_s, strength, rng)
    nothing, stands = np.zeros(MINUTES), np.full(MINUTES, pump_is.static_bar)
    shaking = 0.32 * np.exp(rng.normal(0, 0.03, MINUTES))  # at 45 % of the speed
    idling = np.full(MINUTES, pump_is.idle_a)
    truth = {
        "flow_l_min": _lagged(np.choose(state, [nothing, nothing, load["flow_l_min"]])),
        "discharge_pressure_bar": _lagged(
            np.choose(state, [stands, stands, load["discharge_pressure_bar"]])
        ),
        "motor_current_a": np.choose(state, [nothing, idling, load["motor_current_a"]]),
        "vibration_mm_s": np.choose(state, [nothing, shaking, load["vibration_mm_s"]]),
    }
    current = truth["motor_current_a"]
    truth["bearing_temperature_c"] = plant._heat(pump_is, times_s, current, strength)
    sensed = {name: plant._sensed(name, values, rng).clip(0) for name, values in truth.items()}
    frame = pd.DataFrame({"pump": "pump-1", **sensed})
    start, stop = faults[FAULTS.index("stuck_sensor")]
    frame.loc[start : stop - 1, "flow_l_min"] = frame["flow_l_min"].iloc[start]
    frame["event_time"] = pd.date_range("2026-01-05", periods=MINUTES, freq="min", tz="UTC")
    return frame, faults


def _turns(rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the state of each minute."""
    state, row, now = np.zeros(MINUTES, dtype=np.int64), 0, LOAD
    while row < MINUTES:
        length = int(rng.uniform(60, 600))
        state[row : row + length] = now
        row += length
        now = int(rng.choice([other for other in (OFF, IDLE, LOAD) if other != now]))
    return state


def _faults(state: NDArray[np.int64], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return where the faults are: each in another run at load of the second half."""
    edges = np.flatnonzero(np.diff(np.r_[-1, state, -1]))
    runs = [
        (start, stop)
        for start, stop in pairwise(edges)
        if state[start] == LOAD and start > MINUTES / 2 and stop - start > 200
    ]
    picked = [runs[place] for place in np.linspace(0, len(runs) - 1, len(FAULTS)).astype(int)]
    starts = [int(rng.integers(start + 75, stop - 121)) for start, stop in picked]
    return [(start, start + 120) for start in starts]


def _lagged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what follows in a minute and a half."""
    keep = float(np.exp(-60 / 90))
    lagged, _ = lfilter([1 - keep], [1, -keep], values, zi=[keep * values[0]])
    return np.asarray(lagged)


def judged(
    frame: pd.DataFrame, faults: list[tuple[int, int]], detector: detectors.Fitted, threshold: float
) -> dict[str, float]:
    """Return what a detector makes of the second half."""
    scores = detectors.score_readings(detector, frame, sensor="pump")[MINUTES // 2 :]
    later = frame[MINUTES // 2 :]
    alarms = detectors.episodes(
        epoch_ms(later["event_time"]), later["pump"].to_numpy(), scores, threshold, RULE
    )
    begun = (epoch_ms(alarms["start"]) - epoch_ms(frame["event_time"])[0]) // 60_000
    inside = [(begun >= start) & (begun < stop) for start, stop in faults]
    near = [(begun >= start) & (begun < stop + 60) for start, stop in faults]
    return {
        "found": sum(bool(of_fault.any()) for of_fault in inside),
        "false": int((~np.any(near, axis=0)).sum()),
        "scored": round(float(np.isfinite(scores).mean()), 3),
    }


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of one seed."""
    frame, faults = pump(seed)
    learnt = frame[: MINUTES // 2]
    asked = {"sensor": "pump", "alerts_per_sensor_day": BUDGET, "rule": RULE}
    chosen = detectors.auto(learnt, **asked)
    steady = chosen.spec.get("steady")
    shared = {"name": "ensemble", "channels": list(plant.CHANNELS), "missing": "fill"}
    knn = {**shared, "window": 60, "members": [{"name": "knn", "window": 10}]}
    specs = {
        "pooled": {**chosen.spec, "steady": None},
        "knn": knn,
        "knn, steady": {**knn, "steady": steady},
    }
    figures = {"auto": judged(frame, faults, chosen.detector, chosen.threshold)}
    for name, spec in specs.items():
        fitted, threshold = detectors.fit_with_threshold(spec, learnt, **asked)
        figures[name] = judged(frame, faults, fitted, threshold)
    return {"seed": {"of": seed, "steady": steady is not None}, **figures}


def main() -> None:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one object a line")
    asked = parser.parse_args()
    for seed in range(1, asked.seeds + 1):
        figures = measured(seed)
        print(json.dumps(figures) if asked.json else _line(figures), flush=True)


def _line(figures: dict[str, dict[str, float]]) -> str:
    said = [
        f"{name} {one['found']} found, {one['false']} false"
        for name, one in figures.items()
        if name != "seed"
    ]
    return f"seed {figures['seed']['of']}: {'; '.join(said)}; scored {figures['auto']['scored']}"


if __name__ == "__main__":
    main()
