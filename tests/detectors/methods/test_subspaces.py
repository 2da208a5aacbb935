"""Windows of each channel against that channel's own components."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import mahalanobis

from workbench import detectors
from workbench.errors import DetectorError

CHANNELS = ["slow", "noisy"]


@pytest.fixture(scope="module")
def readings():
    """One channel that moves slowly over its range, one that jumps over all of it."""
    rng = np.random.default_rng(4)
    t = np.arange(3000)
    slow = np.sin(2 * np.pi * t / 300) + 0.01 * rng.normal(size=len(t))
    times = pd.to_datetime(t * 60_000, unit="ms", utc=True)
    return pd.DataFrame(
        {"event_time": times, "sensor": "a", "slow": slow, "noisy": rng.normal(size=len(t))}
    )


def fitted(readings, **more):
    spec = {"name": "subpca", "channels": CHANNELS, "window": 8, "sample": 10_000, **more}
    return detectors.fit(spec, readings, sensor="sensor")


def windows(readings, window=8):
    sliding = detectors.sliding_windows(
        readings, sensor="sensor", time="event_time", channels=CHANNELS, window=window
    )
    return sliding.values  # noqa: PD011 - not of pandas


def test_the_score_is_the_mahalanobis_distance_of_each_channel_summed(readings):
    detector, seen = fitted(readings), windows(readings)
    scaled = (seen - seen.mean(axis=(0, 1))) / seen.std(axis=(0, 1))

    squares = np.zeros(20)
    for channel in range(2):
        rows = scaled[:, :, channel]
        covariance = np.cov(rows, rowvar=False, bias=True)
        held = 0.001 * np.trace(covariance) / len(covariance)
        inverse = np.linalg.inv(covariance + held * np.eye(len(covariance)))
        squares += [mahalanobis(row, rows.mean(axis=0), inverse) ** 2 for row in rows[:20]]

    np.testing.assert_allclose(detector.score(seen[:20]), np.sqrt(squares), rtol=1e-8)


@pytest.mark.parametrize("features", ["raw", "differences", ["compressed", "summary:4"]])
def test_a_jump_within_the_range_is_heard_in_the_slow_channel_alone(readings, features):
    detector, seen = fitted(readings, features=features), windows(readings)
    odd = np.repeat(seen[1000:1001], 2, axis=0)
    odd[0, 4:, 0] -= np.sign(odd[0, 4:, 0]) * 0.5  # no reading of it is unusual
    odd[1, 4:, 1] = -0.5 * np.sign(odd[1, 4:, 1])

    in_slow, in_noisy = detector.score(odd)

    usual = detector.score(seen)
    assert in_slow > usual.max()
    assert in_noisy < usual.max()
    ((first, *_),) = detectors.contributions(detector, odd[:1])
    assert first.channel == "slow"


def test_components_of_very_long_windows_are_refused_with_a_way_out(readings):
    with pytest.raises(DetectorError, match="600 features of a channel, at most 512"):
        fitted(readings, window=600)

    assert fitted(readings, window=600, features="raw:16").score(windows(readings, 600)[:3]).all()


def test_components_that_do_not_fit_the_channels_are_refused(readings):
    detector = fitted(readings)
    state = {**detector.state, "whitening": np.ones((2, 3, 3))}

    with pytest.raises(DetectorError, match="whitening has 3 features of a channel, expected 8"):
        detectors.Fitted(detector.spec, state, detector.golden)
