import numpy as np
import pandas as pd

from workbench import detectors
from workbench.detectors.methods.features import features, parse_features


def test_compressed_leaves_near_readings_and_brings_far_ones_nearer():
    windows = np.array([[[0.1], [-1000.0]]])

    found = features(windows, parse_features("compressed", 2))

    np.testing.assert_allclose(found, [[np.arcsinh(0.1), -np.log(2000)]], rtol=1e-6)


def test_midnight_is_no_jump_for_the_hour_as_a_point_on_a_circle():
    times = pd.to_datetime(["2026-01-05T23:59:59Z", "2026-01-06T00:00:01Z", "2026-01-06T12:00:00Z"])

    clock = detectors.with_clock(pd.DataFrame({"event_time": times}))

    last, first, noon = clock[["hour_cos", "hour_sin"]].to_numpy()
    assert np.linalg.norm(last - first) < 0.001
    np.testing.assert_allclose(noon, [-1, 0], atol=1e-9)
