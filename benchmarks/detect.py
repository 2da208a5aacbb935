"""How fast detectors fit and score, on one core, beside PyOD's own on the same windows.

    python benchmarks/detect.py [--quick] [--json] [--channels N] [NAME ...]

Readings per second: one window of 64 readings is scored per reading. The overhead is our time over
that of PyOD's `decision_function` on the same windows, less one; below zero we are faster. Times
are CPU times of this process on one thread, the least of several repeats.

    NAME_rate_c5           the rate with five channels
    auto_fit_s             one call of `auto`, its choice and its threshold included: 100,000
                           readings of ten channels
    auto_rate              what it chooses for five channels, windows of at most 64 readings
    NAME_explained_us      one explanation, as the job asks for it
    NAME_explained_share   of a core at 60,000 readings/s, where of 10,000 readings one opens an
                           alarm: explained when it opens, at its peak and when it closes
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import vus
import yaml
from threadpoolctl import threadpool_limits

from workbench import detectors, evaluation
from workbench.detectors.fitted import method_inputs
from workbench.detectors.methods.pyod_estimators import foreign
from workbench.detectors.methods.table import METHODS

WINDOW = 64
WIDE = 5  # channels with which every rate is told, too
FLEET = 100_000, 10  # readings and channels of a call of `auto`
PRESET = Path(__file__).parents[1] / "params" / "60_leaderboard-vus_pr.yaml"
OWN = {
    "ensemble": {"members": [{"name": "kmeans"}, {"name": "iforest"}]},
    "seasonal": {"hour": "channel_0"},
}
PYOD = {
    "knn": "knn:KNN", "lof": "lof:LOF", "cblof": "cblof:CBLOF", "iforest": "iforest:IForest",
    "hbos": "hbos:HBOS", "pca": "pca:PCA", "mcd": "mcd:MCD", "gmm": "gmm:GMM",
    "ocsvm": "ocsvm:OCSVM", "kde": "kde:KDE", "inne": "inne:INNE", "ecod": "ecod:ECOD",
}  # fmt: skip
SETTINGS = {
    "pca": {"n_components": 0.99, "svd_solver": "full"},
    "gmm": {"n_components": 4},
    "inne": {"random_state": 0},
    "iforest": {"random_state": 0},
    "ocsvm": {"nu": 0.1},
}


def readings(n: int, channels: int) -> pd.DataFrame:
    """Return n readings of two sensors: a daily wave, a slow drift, noise."""
    rng = np.random.default_rng(7)
    minute = np.arange(n) // 2
    frame = pd.DataFrame({"event_time": pd.to_datetime(minute * 60_000, unit="ms", utc=True)})
    frame["pump"] = np.arange(n) % 2
    for channel in range(channels):
        wave = 5 * np.sin(2 * np.pi * minute / 1440 + channel)
        frame[f"channel_{channel}"] = wave + rng.normal(size=n) + 12
    return frame


def least(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Return the least CPU time of each call, in seconds; they take turns."""
    took = [[] for _ in functions]
    for _ in range(repeats + 1):  # the first warms up
        for times, call in zip(took, functions, strict=True):
            began = time.process_time()
            call()
            times.append(time.process_time() - began)
    return [min(times[1:]) for times in took]


def measure(name: str, frame: pd.DataFrame, channels: int, repeats: int) -> dict[str, float]:
    """Return fit time, rate and overhead of a detector."""
    least_channels = 2 if name in {"seasonal", "regression"} else 1
    began = time.process_time()
    detector = fitted(name, frame, max(channels, least_channels))
    fit_s = time.process_time() - began
    windows = windows_of(detector, frame)
    (took,) = least(repeats, lambda: detector.score(windows.values))
    figures = {"fit_s": fit_s, "rate": len(windows.rows) / took}
    figures |= {"rate_c5": rate(fitted(name, frame, WIDE), frame, repeats)}
    figures |= explained(detector, windows, repeats)
    if name in PYOD:
        raw = detectors.fit({**detector.spec, "features": "raw"}, frame, sensor="pump")
        figures["overhead"] = overhead(name, raw, windows, repeats)
    return figures


def fitted(name: str, frame: pd.DataFrame, channels: int) -> detectors.Fitted:
    """Return a detector of the catalogue with its defaults, on some of the channels."""
    columns = [f"channel_{number}" for number in range(channels)]
    spec = {"name": name, "window": WINDOW, "channels": columns, **OWN.get(name, {})}
    if name == "limits":
        spec["high"] = [20.0] * len(columns)
    return detectors.fit(spec, frame, sensor="pump")


def windows_of(detector: detectors.Fitted, frame: pd.DataFrame) -> detectors.Windows:
    """Return the windows that a detector looks at."""
    return detectors.sliding_windows(
        frame, sensor="pump", time="event_time", channels=detector.channels, window=detector.window
    )


def rate(detector: detectors.Fitted, frame: pd.DataFrame, repeats: int) -> float:
    """Return how many readings a detector scores in a second."""
    windows = windows_of(detector, frame)
    (took,) = least(repeats, lambda: detector.score(windows.values))
    return len(windows.rows) / took


def automatic(*, quick: bool) -> dict[str, float]:
    """Return how long `auto` takes to choose, fit and buy a threshold, and its choice's rate."""
    count, channels = FLEET
    frame = readings(count // 5 if quick else count, channels)
    began = time.process_time()
    detectors.auto(frame, sensor="pump", window=WINDOW)
    fit_s = time.process_time() - began
    five = [f"channel_{number}" for number in range(WIDE)]
    some = frame[: 8_000 if quick else 40_000]
    chosen = detectors.auto(some, sensor="pump", channels=five, window=WINDOW)
    return {"fit_s": fit_s, "rate": rate(chosen.detector, some, 2 if quick else 5)}


def explained(
    detector: detectors.Fitted, windows: detectors.Windows, repeats: int
) -> dict[str, float]:
    """Return what one explanation takes, and its share where alarms are many."""
    window = windows.values[:1]  # noqa: PD011 - not of pandas
    (took,) = least(
        repeats, lambda: [detectors.contributions(detector, window, ["0"]) for _ in range(100)]
    )
    each_s = took / 100
    alarms_a_s = 60_000 / 10_000
    return {"explained_us": each_s * 1e6, "explained_share": 3 * alarms_a_s * each_s}


def overhead(
    name: str, detector: detectors.Fitted, windows: detectors.Windows, repeats: int
) -> float:
    """Return our time over PyOD's for the same windows, less one."""
    module, _, kind = PYOD[name].partition(":")
    estimator = getattr(importlib.import_module(f"pyod.models.{module}"), kind)
    rows = method_inputs(windows.values, detector.spec, detector.state)
    count = min(int(detector.spec["sample"]), len(rows))
    train = rows[np.random.default_rng(0).choice(len(rows), count, replace=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = estimator(**SETTINGS.get(name, {})).fit(train)
        ours, theirs = least(
            repeats,
            lambda: detector.score(windows.values),
            lambda: fitted.decision_function(rows),
        )
    return ours / theirs - 1


def judging() -> dict[str, float]:
    """Return how fast the judge is, and how long a pass over NAB takes where NAB is here."""
    figures = {"vus_ratio": vus.figures()["vus_ratio"]}
    if evaluation.nab_folder().is_dir():
        preset = yaml.safe_load(PRESET.read_text())["detector"]
        series = evaluation.read_nab(evaluation.nab_folder())
        figures["nab_pass_s"] = round(evaluation.run_nab(preset, series).seconds, 1)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="fewer readings, fewer repeats")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--channels", type=int, default=1)
    asked = parser.parse_args()
    names = asked.names or [name for name, method in METHODS.items() if not method.refused]
    frame = readings(8_000 if asked.quick else 40_000, max(asked.channels, WIDE))
    result: dict[str, float] = {}
    if not asked.names or "auto" in names:
        with threadpool_limits(1):
            figures = automatic(quick=asked.quick)
        result |= {f"auto_{key}": round(value, 4) for key, value in figures.items()}
        if not asked.json:
            print(f"{'auto':15} fit {figures['fit_s']:6.2f} s {figures['rate']:12,.0f} readings/s")
    for name in [name for name in names if name != "auto"]:
        some = frame[:8_000] if METHODS[name].score is foreign else frame  # those are slow
        with threadpool_limits(1):
            figures = measure(name, some, asked.channels, 2 if asked.quick else 5)
        result |= {f"{name}_{key}": round(value, 4) for key, value in figures.items()}
        if not asked.json:
            over = f"{figures['overhead']:+8.0%}" if "overhead" in figures else ""
            print(
                f"{name:15} fit {figures['fit_s']:6.2f} s "
                f"{figures['rate']:12,.0f} readings/s {over:8} "
                f"{figures['rate_c5']:12,.0f} at c = 5 "
                f"{figures['explained_us']:8,.0f} us to explain"
            )
    if not asked.names:
        result |= judging()
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
