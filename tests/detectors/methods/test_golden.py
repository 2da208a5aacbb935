"""Scores written down once, so that a change of any of them is seen."""

import json
from pathlib import Path

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors.methods.table import METHODS

STORED = Path(__file__).with_name("golden.json")
CHANNELS = ["flow", "pressure", "hour_of_day"]
OWN = {
    "ensemble": {"members": [{"name": "knn", "sample": 200}, {"name": "rolling", "window": 8}]},
    "limits": {"low": [45, 4.5, 0], "high": [55, 5.5, 24]},
    "mcd": {"features": "mean"},
}
NAMES = [name for name, method in METHODS.items() if not method.refused]


def scores_of(name, readings):
    """Return five scores: usual, usual, a spike, a broken relation, a level shift."""
    frame = detectors.with_clock(readings)
    sample = {} if name == "ensemble" else {"sample": 300}
    spec = {"name": name, "window": 16, "channels": CHANNELS, **sample, **OWN.get(name, {})}
    detector = detectors.fit(spec, frame, sensor="pump", seed=1)
    windows = detectors.sliding_windows(
        frame, sensor="pump", time="event_time", channels=CHANNELS, window=16
    ).values[[10, 500, 600, 700, 800]]
    windows[2, -1, 0] += 20
    windows[3, 4:, 1] -= 1
    windows[4, :, 0] += 15
    return detector.score(windows).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_written_down(readings, name):
    stored = json.loads(STORED.read_text())[name]

    np.testing.assert_allclose(scores_of(name, readings), stored, rtol=1e-6, atol=1e-9)


if __name__ == "__main__":  # writes them down, after a change that was meant
    import runpy

    frame = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["plant"]()
    found = {name: [float(f"{one:.9g}") for one in scores_of(name, frame)] for name in NAMES}
    STORED.write_text(json.dumps(found, indent=1) + "\n")
