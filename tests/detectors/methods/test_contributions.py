"""What an alert says of why: shares of channels, which way they are off, what was expected."""

import numpy as np
import pytest

from workbench import detectors, plant

CHANNELS = list(plant.CHANNELS)
SPECS = {
    "robust_z": {"name": "robust_z", "window": 4},
    "regression": {"name": "regression", "window": 4},
    "regression, scaled": {
        "name": "regression", "window": 4, "features": "raw", "scale_features": True,
    },
    "reconstruction": {"name": "reconstruction", "window": 4, "features": "raw"},
    "pca": {"name": "pca", "window": 4},
    "subpca": {"name": "subpca", "window": 4},
    "knn": {"name": "knn", "window": 4, "sample": 300},
    "range": {"name": "range", "window": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def readings():
    return plant.simulate(pumps=1, days=3, seed=7, faults=False)[0].dropna().reset_index(drop=True)


@pytest.fixture(scope="module", params=SPECS.values(), ids=SPECS)
def detector(request, readings):
    spec = {**request.param, "channels": CHANNELS}
    return detectors.fit(spec, readings[:2000], sensor="pump")


def windows(readings):
    values = readings[CHANNELS].to_numpy()[3000:3040]
    return np.lib.stride_tricks.sliding_window_view(values, 4, axis=0).transpose(0, 2, 1).copy()


def test_shares_sum_to_one_the_largest_first_and_each_window_says_the_same_alone(
    detector, readings
):
    asked = windows(readings)

    together = detectors.contributions(detector, asked)

    for window, parts in zip(asked, together, strict=True):
        shares = [part.share for part in parts]
        assert {part.channel for part in parts} == set(CHANNELS)
        assert sum(shares) == pytest.approx(1, abs=1e-9)
        assert shares == sorted(shares, reverse=True)
        (alone,) = detectors.contributions(detector, window[np.newaxis])
        mine, theirs = ({part.channel: part for part in both} for both in (parts, alone))
        for name in CHANNELS:
            assert mine[name].direction == theirs[name].direction
            assert mine[name].share == pytest.approx(theirs[name].share, abs=1e-9)
            given, again = (parts[name].expected for parts in (mine, theirs))
            assert given == (None if again is None else pytest.approx(again, rel=1e-9))


@pytest.mark.parametrize(("factor", "direction"), [(1.5, "above"), (0.5, "below")])
def test_the_channel_that_is_off_comes_first_and_says_which_way(
    detector, readings, factor, direction
):
    asked = windows(readings)[:1]
    asked[:, -1, 2] *= factor  # motor current

    (parts,) = detectors.contributions(detector, asked)

    assert "motor_current_a" in [part.channel for part in parts[:2]]
    by_name = {part.channel: part for part in parts}
    assert by_name["motor_current_a"].direction == direction


@pytest.mark.parametrize("name", ["robust_z", "regression", "regression, scaled", "reconstruction"])
def test_what_was_expected_is_in_the_channels_own_unit(name, readings):
    detector = detectors.fit({**SPECS[name], "channels": CHANNELS}, readings[:2000], sensor="pump")
    asked = windows(readings)

    expected = detector.expected(asked)

    usual = readings[CHANNELS].to_numpy()[:2000]
    near = np.abs(expected - asked[:, -1]) / usual.std(axis=0)
    assert np.median(near) < (2 if name == "robust_z" else 1)
    if name == "robust_z":
        np.testing.assert_array_equal(expected[0], np.median(usual[3:], axis=0))


def test_a_method_that_expects_nothing_says_so(readings):
    detector = detectors.fit({**SPECS["knn"], "channels": CHANNELS}, readings[:2000], sensor="pump")
    asked = windows(readings)

    assert np.isnan(detector.expected(asked)).all()
    assert {part.expected for parts in detectors.contributions(detector, asked) for part in parts} \
        == {None}  # fmt: skip


def test_a_window_without_a_score_and_a_detector_without_reasons_say_nothing(readings):
    detector = detectors.fit(
        {**SPECS["robust_z"], "channels": CHANNELS}, readings[:2000], sensor="pump"
    )
    asked = windows(readings)[:2]
    asked[0, 1, 1] = np.nan

    class Newest:
        window, channels = 4, tuple(CHANNELS)

        def score(self, rows):
            return rows[:, -1, 0]

    first, second = detectors.contributions(detector, asked)
    assert (first, len(second)) == ((), len(CHANNELS))
    assert detectors.contributions(Newest(), asked) == [(), ()]


def test_episodes_carry_what_their_peak_is_due_to(readings):
    frame = readings[3000:].reset_index(drop=True)
    frame.loc[500:503, "bearing_temperature_c"] += 200
    fitted = detectors.fit(
        {**SPECS["robust_z"], "channels": CHANNELS}, readings[:2000], sensor="pump"
    )
    package = detectors.Package("x", fitted, 5.0, detectors.EpisodeRule(), {}, {}, {})

    episodes = detectors.detect(package, frame, sensor="pump").episodes
    (parts,) = detectors.episode_contributions(package, frame, episodes, sensor="pump")

    assert parts[0].channel == "bearing_temperature_c"
    assert (parts[0].direction, parts[0].share > 0.5) == ("above", True)
