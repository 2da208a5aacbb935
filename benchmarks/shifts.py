"""What a detector makes of a machine after its level has shifted, under several refit policies.

    python benchmarks/shifts.py [--seeds N] [--only NAME ...] [--json]

A simulated pump (`workbench.plant`, 12 days, a reading a minute): on the eighth day vibration rises
by six standard deviations for good; a day and a half later the first of four faults of three hours
and four standard deviations in single channels. Alarms of rule 3, 5, 10 at 0.3 alerts a day.

    in_alarm   share of the readings outside of faults under an alarm, from a day after the shift on
    found      faults (of 4) in which an alarm begins
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd

from workbench import detectors, plant
from workbench.times import epoch_ms

RULE = detectors.EpisodeRule(3, 5, 10)
BUDGET = 0.3  # alerts a day
SHIFT_H, SETTLED_H, FAULT_H = 175, 24, 3
FAULTS = {
    211: "bearing_temperature_c", 229: "flow_l_min", 247: "motor_current_a",
    268: "discharge_pressure_bar",
}  # fmt: skip
DETECTORS: dict[str, dict[str, Any]] = {
    "auto": {"name": "auto", "window": 32},
    "knn": {"name": "knn", "window": 32},
    "regression": {"name": "regression", "window": 32},
}
_WEEK = {"trailing_h": 168}
_CHANGE = {**_WEEK, "leave_out_alarmed": True, "change_h": 12}
POLICIES: dict[str, dict[str, Any]] = {
    "once": {**_WEEK, "every_h": 10_000},
    "daily": {**_WEEK, "every_h": 24},
    "daily, change_h": {**_CHANGE, "every_h": 24},
    "every 6 h, change_h": {**_CHANGE, "every_h": 6},
}


def shifted(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the readings of a pump, and how many hours after the first each is."""
    pump, _ = plant.simulate(pumps=1, days=12, seed=seed, faults=False)
    times = epoch_ms(pump["event_time"])
    hours = (times - times.min()) / 3_600_000
    usual = pump[hours < _WEEK["trailing_h"]].std(numeric_only=True)
    pump.loc[hours >= SHIFT_H, "vibration_mm_s"] += 6 * usual["vibration_mm_s"]
    for begin, channel in FAULTS.items():
        pump.loc[_within(hours, begin), channel] -= 4 * usual[channel]
    return pump, hours


def _within(hours: np.ndarray, begin: float, more_h: float = 0.0) -> np.ndarray:
    return (hours >= begin) & (hours < begin + FAULT_H + more_h)


def judged(spec: dict[str, Any], policy: dict[str, Any], seed: int) -> dict[str, float]:
    """Return the time in alarm after the shift, and the faults found."""
    pump, hours = shifted(seed)
    adapted = detectors.replay_refits(
        {**spec, "channels": list(plant.CHANNELS), "refit": policy},
        pump, sensor="pump", alerts_per_sensor_day=BUDGET, rule=RULE,
    )  # fmt: skip
    above = adapted.scores > adapted.thresholds
    alarm = detectors.alarmed(epoch_ms(pump["event_time"]), pump["pump"].to_numpy(), above, RULE)
    begun = alarm & ~np.r_[False, alarm[:-1]]
    in_fault = np.any([_within(hours, begin, 1.0) for begin in FAULTS], axis=0)
    quiet = (hours >= SHIFT_H + SETTLED_H) & ~in_fault
    return {
        "in_alarm": round(float(alarm[quiet].mean()), 3),
        "found": sum(bool(begun[_within(hours, begin)].any()) for begin in FAULTS),
    }


def main() -> None:
    """Print a line for each detector and policy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(DETECTORS), choices=list(DETECTORS))
    parser.add_argument("--json", action="store_true", help="one object a line")
    asked = parser.parse_args()
    for name in asked.only:
        for how, policy in POLICIES.items():
            figures = [judged(DETECTORS[name], policy, seed) for seed in range(1, asked.seeds + 1)]
            row = {"detector": name, "policy": how} | {
                what: [figure[what] for figure in figures] for what in ("in_alarm", "found")
            }
            print(json.dumps(row) if asked.json else "  ".join(map(str, row.values())), flush=True)


if __name__ == "__main__":
    main()
