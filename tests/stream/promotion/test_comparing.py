"""What the job says is held against the batch path, sensor by sensor."""

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.stream.promotion.proof import compare
from workbench.stream.running.outcome import Outcome
from workbench.times import epoch_ms


def test_alarms_of_two_sensors_are_compared_apart_where_keys_are_numbers_in_bytes():
    number = np.arange(40)
    start = pd.Timestamp("2026-01-05", tz="UTC")
    usual = pd.DataFrame(
        {
            "pump": ["\0\0\0\1", "\0\0\0\2"] * 20,  # as texts of C they are the same, and empty
            "event_time": start + pd.to_timedelta(number // 2, unit="min"),
            "bar": np.random.default_rng(0).normal(size=40),
            "message_id": [f"1:{place}:0:0" for place in number],
        }
    )
    spec = {"name": "robust_z", "channels": ["bar"], "window": 1}
    detector = detectors.fit(spec, usual, sensor="pump")
    frame = usual.assign(bar=np.where((number > 20) & (number < 30), 9.0, 0.0))
    package = detectors.Package("0" * 64, detector, 3.0, EpisodeRule(), detector.spec, {}, {})
    batch = detectors.detect(package, frame, sensor="pump", time="event_time")
    times_ms = epoch_ms(frame["event_time"])
    scores = frame[["message_id"]].assign(
        sensor=frame["pump"], event_ms=times_ms, score=batch.scores
    )
    late = scores[:0]

    def differing(alerts):
        outcome = Outcome("plant", "", alerts, scores, late, 40, 1.0, 1.0)
        return compare(outcome, batch, frame).differing_alerts

    alerts = batch.episodes.assign(status="closed")
    assert len(alerts) == 2
    assert differing(alerts) == ()
    assert [why.rpartition(": ")[2] for why in differing(alerts[1:])] == ["batch only"]
