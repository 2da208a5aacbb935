"""Compiled passes over windows against what NumPy, or long doubles, make of the same."""

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors.fitted import FAR, part_of
from workbench.detectors.methods import passes

RNG = np.random.default_rng(3)
CHANNELS = ["flow", "pressure"]


def test_the_area_sine_is_that_of_long_doubles_within_two_units_of_the_last_place():
    sizes = 10.0 ** RNG.uniform(-320, 149, 20_000)
    powers = 2.0 ** np.arange(-60, 60)
    beside = np.concatenate([np.nextafter(powers, 0), powers, np.nextafter(powers, 9e99)])
    values = np.concatenate([sizes, RNG.uniform(0, 4, 20_000), beside, np.sinh(powers[:63])])
    values *= RNG.choice([-1.0, 1.0], len(values))

    sines = passes.arcsinh(values)

    exact = np.arcsinh(values.astype(np.longdouble))
    assert (np.abs(sines - exact) <= 2 * np.spacing(np.abs(sines))).all()


def test_the_area_sine_of_nothing_is_nothing_with_its_sign():
    sines = passes.arcsinh(np.array([[0.0, -0.0]]))

    assert sines.tolist() == [[0.0, 0.0]]
    assert np.signbit(sines).tolist() == [[False, True]]


@pytest.mark.parametrize("shape", [(0, 4, 2), (1, 1, 1), (3, 7, 5), (700, 16, 3)])
def test_windows_are_scaled_and_cut_as_numpy_does(shape):
    windows = RNG.normal(size=shape) * 10.0 ** RNG.integers(-3, 30, shape)
    centre, spread = RNG.normal(size=shape[2]), RNG.uniform(1e-9, 3, shape[2])

    scaled = passes.scaled(windows, centre, spread, FAR)

    np.testing.assert_array_equal(scaled, np.clip((windows - centre) / spread, -FAR, FAR))


@pytest.mark.parametrize(("readings", "channels"), [(1, 1), (2, 3), (8, 1), (33, 5)])
def test_a_summary_is_what_numpy_says_of_each_channel(readings, channels):
    windows = RNG.normal(size=(50, 40, channels))[:, -readings:, :] + 30
    x = np.arange(readings) - (readings - 1) / 2
    slope = np.einsum("nwc,w->nc", windows, x / max((x * x).sum(), 1.0))
    parts = [windows.mean(1), windows.std(1), windows.min(1), windows.max(1), windows[:, -1], slope]

    np.testing.assert_allclose(passes.summary(windows), np.concatenate(parts, axis=1), atol=1e-12)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 2e200, -2e200])
@pytest.mark.parametrize("place", [0, 511, 512, 1299])
def test_one_reading_that_is_no_number_or_too_large_is_seen_wherever_it_is(wrong, place):
    values = RNG.normal(size=(13, 50, 2))
    assert passes.finite(values, 1e200)
    values.ravel()[place] = wrong

    assert not passes.finite(values, 1e200)
    assert passes.finite(values) == np.isfinite(wrong)


def test_an_ensemble_says_the_mean_of_what_its_members_say_of_gaps_and_of_huge_readings(readings):
    members = [
        {"name": "knn", "window": 8, "features": "compressed", "calibrate": "tail"},
        {"name": "reconstruction", "features": ["summary:4", "summary:8"], "calibrate": "tail"},
        {"name": "regression", "features": "compressed:1", "calibrate": "tail"},
        {"name": "robust_z", "window": 1, "calibrate": "tail"},
    ]
    spec = {"name": "ensemble", "window": 16, "channels": CHANNELS, "missing": "fill"}
    detector = detectors.fit({**spec, "members": members}, readings, sensor="pump")
    windows = detector.golden.copy()
    windows[0, 3:9, 0], windows[1, :, 1] = np.nan, np.nan
    windows[2, -1, 0], windows[3, 5, 1] = 1e300, -1e300

    scores = detector.score(windows)

    each = [
        member.score(part_of(windows, member.spec, detector.spec)) for member in detector._ready
    ]
    np.testing.assert_allclose(scores, np.mean(each, axis=0), rtol=1e-12)
    assert np.isfinite(scores).all()
    many = detector.score(np.tile(windows, (300, 1, 1)))  # more than are scored at once
    np.testing.assert_allclose(many, np.tile(scores, 300), rtol=1e-9)
