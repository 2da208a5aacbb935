"""VUS-PR and AUC-PR on 20,000 readings, against TSB-AD's own way of computing them.

    python benchmarks/vus.py [--json] [--tsb-ad /tmp/tsb-ad/bin/python]

TSB-AD pulls torch, so it runs in an environment of its own (tests/evaluation/record_tsb_ad.py says
how to make one); without it, the time recorded here is taken: 3.4 s for 20,000 readings,
buffer 100, 250 thresholds, one core. `vus_ratio`: how many times faster; the goal is 20.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time

import numpy as np

from workbench.evaluation import auc_pr, vus_pr

READINGS, BUFFER, REPEATS = 20_000, 100, 7
RECORDED_S = 3.4

THEIRS = f"""
import time
import numpy as np
from TSB_AD.evaluation.basic_metrics import basic_metricor, generate_curve
rng = np.random.default_rng(7)
labels = np.zeros({READINGS}, dtype=int)
for start in range(1000, {READINGS}, 2000):
    labels[start : start + 200] = 1
scores = rng.random({READINGS}) + 0.3 * labels
times = []
for _ in range(3):
    began = time.process_time()
    generate_curve(labels, scores, {BUFFER}, "opt", 250)
    basic_metricor().metric_PR(labels, scores)
    times.append(time.process_time() - began)
print(min(times))
"""


def ours_s() -> float:
    """Return the shortest of some runs, processor seconds; compiled beforehand."""
    rng = np.random.default_rng(7)
    labels = np.zeros(READINGS, dtype=int)
    for start in range(1000, READINGS, 2000):
        labels[start : start + 200] = 1
    scores = rng.random(READINGS) + 0.3 * labels
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        vus_pr(labels, scores, buffer=BUFFER)
        auc_pr(labels, scores)
        times.append(time.process_time() - began)
    return min(times)


def theirs_s(python: str) -> float:
    """Return TSB-AD's time in its own environment, or the recorded one."""
    if not python:
        return RECORDED_S
    done = subprocess.run([python, "-c", THEIRS], capture_output=True, text=True, check=True)
    return float(done.stdout)


def figures(python: str = "") -> dict[str, float]:
    """Return `vus_ratio` and the two times, seconds."""
    ours, theirs = ours_s(), theirs_s(python)
    return {"vus_ratio": round(theirs / ours, 1), "vus_s": ours, "vus_tsb_ad_s": theirs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tsb-ad", default="", help="its environment's python")
    asked = parser.parse_args()
    found = figures(asked.tsb_ad)
    if asked.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<14} {value:.4g}")
