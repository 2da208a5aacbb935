"""Record TSB-AD's own figures on real series, for test_curves.py.

TSB-AD pulls torch, so it lives in an environment of its own, without its dependencies:

    python -m venv /tmp/tsb-ad
    /tmp/tsb-ad/bin/pip install --no-deps TSB-AD==1.5
    /tmp/tsb-ad/bin/pip install numpy==1.26.4 pandas==2.2.3 scikit-learn==1.5.2 \
        statsmodels==0.14.4 scipy==1.13.1 matplotlib tqdm
    /tmp/tsb-ad/bin/python tests/evaluation/record_tsb_ad.py NAB_FOLDER

The scores judged are made here, simply and reproducibly, from the values themselves: what matters
is that both implementations see the same ones; the test imports them from here. Prints how long
TSB-AD took.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

SERIES = (
    "realKnownCause/machine_temperature_system_failure.csv",
    "realKnownCause/nyc_taxi.csv",
    "realTraffic/speed_7578.csv",
    "realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv",
    "artificialWithAnomaly/art_daily_flatmiddle.csv",
    "realTweets/Twitter_volume_AAPL.csv",
)
METHODS = ("jump", "level", "rounded")
TWINS = 40  # made-up label patterns: touching events, at the edges, one reading long


def scores_of(values, method):
    """Return the scores of one method; `rounded` has many ties."""
    if method == "jump":
        return np.abs(np.diff(values, prepend=values[0]))
    level = np.abs(values - np.median(values))
    return level if method == "level" else np.round(level / level.max(), 1)


def twin(seed):
    """Return labels, scores and buffer of one made-up case."""
    rng = np.random.default_rng(seed)
    n, buffer = int(rng.integers(60, 400)), int(rng.integers(0, 60))
    labels = np.zeros(n, dtype=int)
    for start in rng.integers(0, n, size=rng.integers(1, 9)):
        labels[start : start + rng.integers(1, 20)] = 1
    if seed % 4 == 0:
        labels[0] = labels[-1] = 1
    scores = rng.random(n) + 0.3 * labels
    return labels, np.round(scores, 1) if seed % 3 == 0 else scores, buffer


def nab_series(folder, name):
    """Return one of NAB's files, its values as their text says whichever pandas reads it."""
    path = folder / "data" / name
    return pd.read_csv(path, parse_dates=["timestamp"], float_precision="round_trip")


def nab_labels(folder, name, stamps):
    """Return 1 for each reading in one of NAB's windows."""
    windows = json.loads((folder / "labels/combined_windows.json").read_text())[name]
    labels = np.zeros(len(stamps), dtype=int)
    for start, stop in windows:
        labels |= ((stamps >= pd.Timestamp(start)) & (stamps <= pd.Timestamp(stop))).to_numpy()
    return labels


def figures(labels, scores, buffer):
    """Return TSB-AD's VUS-PR and AUC-PR."""
    from TSB_AD.evaluation.basic_metrics import basic_metricor, generate_curve

    *_, volume = generate_curve(labels, scores, buffer, "opt", 250)
    return {"vus_pr": float(volume), "auc_pr": float(basic_metricor().metric_PR(labels, scores))}


def main(folder):
    """Write tsb_ad.json beside this script."""
    from TSB_AD.utils.slidingWindows import find_length_rank

    recorded = {"version": "TSB-AD 1.5", "series": {}, "twins": {}}
    for name in SERIES:
        frame = nab_series(folder, name)
        values = frame["value"].to_numpy(dtype=float)
        labels, buffer = nab_labels(folder, name, frame["timestamp"]), int(find_length_rank(values))
        recorded["series"][name] = {"period": buffer}
        for method in METHODS:
            began = time.perf_counter()
            found = figures(labels, scores_of(values, method), buffer)
            print(name, method, len(values), buffer, found, f"{time.perf_counter() - began:.2f} s")  # noqa: T201 - a script
            recorded["series"][name][method] = found
    for seed in range(TWINS):
        recorded["twins"][str(seed)] = figures(*twin(seed))
    target = Path(__file__).with_name("tsb_ad.json")
    target.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
