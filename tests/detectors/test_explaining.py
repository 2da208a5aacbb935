"""Why a window scores as it does: shares of channels, and whether they name the guilty one."""

import numpy as np
import pandas as pd
import pytest

from workbench import detectors, plant
from workbench.detectors.fitted import method_inputs
from workbench.detectors.methods.table import METHODS
from workbench.errors import DetectorError

CHANNELS = ["flow", "pressure", "temperature"]
SPECS = {
    "limits": {"low": [20, 2, 50], "high": [80, 8, 80]}, "range": {}, "robust_z": {},
    "rolling": {}, "rate": {}, "stuck": {}, "pca": {}, "mcd": {}, "reconstruction": {},
    "regression": {}, "regression, all": {"combine": "mahalanobis"}, "knn": {}, "kmeans": {},
    "iforest": {"n_estimators": 20, "max_samples": 100}, "gmm": {},
    "ensemble": {"sample": None, "members": [{"name": "robust_z"}, {"name": "pca"}]},
}  # fmt: skip


@pytest.fixture(scope="module", params=SPECS)
def detector(request, readings):
    spec = {"name": request.param.split(",")[0], "window": 8, "channels": CHANNELS, "sample": 200}
    spec = {name: value for name, value in (spec | SPECS[request.param]).items() if value}
    return detectors.fit(spec, readings, sensor="pump", seed=5)


@pytest.fixture(scope="module")
def windows(readings):
    sliding = detectors.sliding_windows(
        readings, sensor="pump", time="event_time", channels=CHANNELS, window=8
    )
    return sliding.values[:40]  # noqa: PD011 - an attribute of Windows


def test_shares_are_of_a_whole_and_those_of_a_window_are_its_own(detector, windows):
    before = detector.score(windows)

    shares = detectors.explain(detector, windows)
    alone = np.concatenate([detectors.explain(detector, window[None]) for window in windows])

    assert shares.shape == (40, 3)
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(shares, alone, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(detector.score(windows), before)


def test_a_channel_that_is_far_off_alone_has_the_largest_share(detector, windows):
    if detector.spec["name"] == "stuck":
        pytest.skip("a spike is what it does not see")
    for channel, far in enumerate((500, 50, 600)):
        spiked = windows.copy()
        spiked[:, -1, channel] += far

        shares = detectors.explain(detector, spiked)

        assert (shares.argmax(axis=1) == channel).all(), CHANNELS[channel]


def test_the_largest_numbers_have_shares(detector, windows):
    huge = windows.copy()
    huge[:, :, 1] = 1e300

    shares = detectors.explain(detector, huge)

    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "power"), [("pca", 1), ("mcd", 1), ("reconstruction", 2)], ids=lambda value: value
)
def test_the_parts_of_a_score_sum_to_it(name, power, readings, windows):
    spec = {"name": name, "window": 8, "channels": CHANNELS, "sample": 200}
    detector = detectors.fit(spec, readings, sensor="pump", seed=5)
    inputs = method_inputs(windows, detector.spec, detector.state)

    parts = METHODS[name].parts(inputs, detector.state, detector.spec)

    usual = detector.state["usual"][0] if name == "reconstruction" else 1.0
    np.testing.assert_allclose(
        parts.sum(axis=1), (detector.score(windows) * usual) ** power, rtol=1e-9
    )


def test_a_window_without_a_score_has_no_shares(readings, windows):
    spec = {"name": "robust_z", "window": 8, "channels": CHANNELS}
    detector = detectors.fit(spec, readings, sensor="pump")
    torn = windows[:2].copy()
    torn[0, 3, 1] = np.nan

    shares = detectors.explain(detector, torn)

    assert np.isnan(shares[0]).all()
    assert np.isfinite(shares[1]).all()


def test_a_detector_that_does_not_explain_itself_is_told_how():
    class Newest:
        window, channels = 1, ("flow",)

        def score(self, windows):
            return windows[:, -1, 0]

    with pytest.raises(DetectorError) as error:
        detectors.explain(Newest(), np.zeros((1, 1, 1)))

    assert str(error.value) == (
        "a Newest does not explain its scores\n  give it explain(windows), (n, w, c) to (n, c)"
    )


@pytest.fixture(scope="module")
def station():
    readings, labels = plant.simulate(pumps=6, days=14, seed=3, period_s=120)
    half = readings["event_time"].min() + pd.Timedelta(days=6)
    return readings, labels, readings[readings["event_time"] < half]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reconstruction", "mcd", "regression", "pca"])
def test_the_guilty_channel_of_a_fault_of_the_plant_is_among_the_first_two(station, name):
    readings, labels, training = station
    if name == "pca":  # it does not see a sensor that is stuck, so it has nothing to explain
        labels = labels[labels["kind"] != "stuck_sensor"]
    channels = list(plant.CHANNELS)
    spec = {"name": name, "window": 10, "channels": channels, "sample": 1000}
    detector = detectors.fit(spec, training, sensor="pump", seed=5)
    worst = []
    for label in labels.itertuples():
        inside = (readings["event_time"] >= label.start) & (readings["event_time"] < label.stop)
        cut = detectors.sliding_windows(
            readings[inside & (readings["pump"] == label.sensor)],
            sensor="pump", time="event_time", channels=channels, window=10,
        )  # fmt: skip
        windows = cut.values  # noqa: PD011 - an attribute of Windows
        worst.append(windows[detector.score(windows).argmax()])

    shares = pd.DataFrame(detectors.explain(detector, np.array(worst)), columns=channels)

    named = [
        bool({*first} & {*moved})
        for first, moved in zip(detectors.guilty(shares), labels["channels"], strict=True)
    ]
    assert len(named) >= 12
    assert np.mean(named) >= 0.9, f"{sum(named)} of {len(named)}"


def test_of_equal_times_the_reading_with_the_peak_is_explained(readings, tmp_path):
    spec = {"name": "robust_z", "window": 1, "channels": CHANNELS}
    detector = detectors.fit(spec, readings, sensor="pump")
    detectors.save(
        detector, tmp_path / "package", threshold=6.0, rule=detectors.EpisodeRule(), training={}
    )
    package = detectors.load(tmp_path / "package")
    row = int(np.flatnonzero(readings["pump"] == "b")[100])
    twice = readings.iloc[[*range(row + 1), row, *range(row + 1, len(readings))]]
    twice = twice.reset_index(drop=True)
    twice.loc[row, "pressure"] += 50
    twice.loc[row + 1, "flow"] += 90
    detection = detectors.detect(package, twice, sensor="pump")

    shares = detectors.explain_episodes(package, twice, detection.episodes, sensor="pump")

    peak = row + int(np.argmax(detection.scores[row : row + 2]))
    own = detectors.explain(detector, twice.loc[[peak], CHANNELS].to_numpy()[:, np.newaxis])
    assert len(shares) == 1
    np.testing.assert_array_equal(shares.to_numpy(), own)


def test_episodes_are_explained_at_their_peak(readings, tmp_path):
    spec = {"name": "robust_z", "window": 4, "channels": CHANNELS}
    detector = detectors.fit(spec, readings, sensor="pump")
    detectors.save(
        detector, tmp_path / "package", threshold=6.0, rule=detectors.EpisodeRule(), training={}
    )
    package = detectors.load(tmp_path / "package")
    faulty = readings.copy()
    rows = np.flatnonzero(faulty["pump"] == "b")
    faulty.loc[rows[100:110], "pressure"] += np.r_[np.full(4, 5.0), 9.0, np.full(5, 5.0)]
    detection = detectors.detect(package, faulty, sensor="pump")

    shares = detectors.explain_episodes(package, faulty, detection.episodes, sensor="pump")

    assert (detection.episodes["sensor"].tolist(), len(shares)) == (["b"], 1)
    assert detectors.guilty(shares, 1) == [("pressure",)]
    values = faulty.loc[[rows[104]], CHANNELS].to_numpy()
    expected = np.abs(values - detector.state["median"]) / detector.state["scale"]
    np.testing.assert_allclose(shares.to_numpy(), expected / expected.sum(), rtol=1e-9)
