"""The job of a queue's topic: its package and its file, and when it has recovered."""

import os
import sys
import time

import pandas as pd
import yaml

from workbench import detectors
from workbench.stream.promotion_log import add_package
from workbench.stream.running import session

from .readings import CHANNELS, LATENESS_MS, SEED, block


def told(text):
    sys.stderr.write(f"{text}\n")


def stream_file(queue, folder, **more):
    content = {
        "topic": queue.topic, "scores": queue.scores, "alerts": queue.alerts, "sensor": "sensor",
        "channels": CHANNELS, "window": 4, "lateness_s": LATENESS_MS / 1000,
        **more,
    }  # fmt: skip
    path = folder / f"faults-{queue.service}-{os.urandom(2).hex()}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def make_package(folder):
    history = pd.concat([block(SEED, number)[0] for number in range(4)])
    history = history.assign(time=pd.to_datetime(history["event_ms"], unit="ms", utc=True))
    calm = history[(history[CHANNELS] < 5).all(axis=1)]
    spec = {"name": "robust_z", "window": 4, "channels": CHANNELS}
    detector = detectors.fit(spec, calm, sensor="sensor", time="time")
    rule = detectors.EpisodeRule(2, 3, 4)
    detectors.save(detector, folder, threshold=3.5, rule=rule, training={})
    return add_package(folder)


def until(true, seconds=240):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def await_checkpoint(job):
    """Wait until the job completes another checkpoint: then it has recovered."""
    deadline, before = time.monotonic() + 300, None
    while time.monotonic() < deadline:
        now = session.status(job)
        before = now if before is None or before.job != now.job else before
        if now.state == "RUNNING" and now.checkpoints > before.checkpoints:
            return
        time.sleep(0.5)
    raise AssertionError(f"the job does not recover: {now}")
