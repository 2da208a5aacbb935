"""What `level: sensor` is worth: sensors of unlike size, of unlike units, and of a kind.

    python benchmarks/levels.py [--quick] [--json]

Eight days of six simulated pumps (`workbench.plant`), the first half without a fault and learnt
from, a threshold of one alert in two sensor-days, the second half judged by the labels:

    alike     pumps of a kind, as they are: what a level costs where none is needed
    unlike    the same pumps of unlike size: all channels of a pump times 1/10 to 10
    tags      one sensor for each tag, as a historian's narrow export has them: a channel `value`
              of five units

each with the readings pooled, and with each sensor brought to its own level. `auc_pr` is the mean
over sensors with a labelled fault and over seeds, `found` are the events that an alert began in.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd

from workbench import detectors, evaluation, plant

_RULE = detectors.EpisodeRule(3, 5, 10)
_BUDGET = 0.5  # alerts a sensor and day
_LARGEST = 10.0
_DETECTORS: dict[str, dict[str, Any]] = {
    "knn": {"window": 10, "max_span_s": "usual"},
    "reconstruction": {"window": 10, "max_span_s": "usual"},
    "robust_z": {"window": 1},
}
_QUICK = ("knn",)


def alike(readings: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return readings and labels as they are."""
    return readings, labels


def unlike(readings: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the readings of pumps of unlike size."""
    pumps = sorted(readings["pump"].unique())
    sizes = dict(zip(pumps, np.geomspace(1 / _LARGEST, _LARGEST, len(pumps)), strict=True))
    channels = list(plant.CHANNELS)
    scaled = readings[channels].mul(readings["pump"].map(sizes), axis=0)
    return readings.assign(**scaled), labels


def tags(readings: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one reading for each tag, and labels of the tags that a fault moves."""
    narrow = readings.melt(["pump", "event_time"], list(plant.CHANNELS), "tag", "value").dropna(
        subset="value"
    )
    narrow["pump"] = narrow["pump"] + "." + narrow.pop("tag")
    moved = labels.explode("channels")
    return narrow, moved.assign(sensor=moved["sensor"] + "." + moved.pop("channels"))


def judged(spec: dict[str, Any], frame: pd.DataFrame, labels: pd.DataFrame) -> dict[str, float]:
    """Return the mean AUC-PR over sensors with a fault, events, and those found."""
    found = evaluation.evaluate(
        spec, frame, labels, sensor="pump", alerts_per_sensor_day=_BUDGET, rule=_RULE
    )
    own = [float(str(row["auc_pr"])) for row in found.rows if row["detector"] == spec["name"]]
    return {
        "auc_pr": float(np.mean(own)), "events": found.report.events, "found": found.report.found,
        "alerts": found.report.alerts,
    }  # fmt: skip


def figures(*, quick: bool) -> list[dict[str, Any]]:
    """Return a row for each case and detector: pooled, and on the sensors' own level."""
    seeds = (7,) if quick else (7, 8, 9)
    plants = [plant.simulate(pumps=6, days=8, seed=seed) for seed in seeds]
    rows = []
    for case in (alike, unlike, tags):
        ready = [case(*simulated) for simulated in plants]
        for name in _QUICK if quick else _DETECTORS:
            spec = {"name": name, **_DETECTORS[name], "channels": list(plant.CHANNELS)}
            if case is tags:
                spec["channels"] = ["value"]
            row: dict[str, Any] = {"case": case.__name__, "detector": name}
            for how, level in (("pooled", None), ("own_level", "sensor")):
                each = [judged({**spec, "level": level}, *one) for one in ready]
                row[f"auc_pr_{how}"] = round(float(np.mean([one["auc_pr"] for one in each])), 3)
                for count in ("found", "alerts"):
                    row[f"{count}_{how}"] = int(sum(one[count] for one in each))
                row["events"] = int(sum(one["events"] for one in each))
            rows.append(row)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one detector, one seed")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    table = figures(quick=asked.quick)
    print(json.dumps({"levels": table}) if asked.json else pd.DataFrame(table).to_string())
