import numpy as np
import pandas as pd

from workbench import detectors
from workbench.detectors import EpisodeRule


def test_late_readings_are_in_no_window_and_no_episode(readings, tmp_path):
    spec = {"name": "robust_z", "window": 3, "channels": ["flow"], "max_span_s": 600}
    detector = detectors.fit(spec, readings, sensor="pump")
    rule = EpisodeRule(1, 2, 2)
    detectors.save(detector, tmp_path / "d", threshold=1.0, rule=rule, training={})
    package = detectors.load(tmp_path / "d")
    stale = readings.iloc[100:103].assign(flow=1000.0)
    frame = pd.concat([readings.iloc[:900], stale, readings.iloc[900:]], ignore_index=True)

    detection = detectors.detect(package, frame, sensor="pump", lateness_ms=60_000)

    clean = detectors.detect(package, readings, sensor="pump")
    assert np.flatnonzero(detection.late).tolist() == [900, 901, 902]
    np.testing.assert_array_equal(detection.scores[~detection.late], clean.scores)
    assert np.isnan(detection.scores[detection.late]).all()
    pd.testing.assert_frame_equal(detection.episodes, clean.episodes)
    assert len(clean.episodes) > 0
