import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import DetectorError

CHANNELS = ["flow", "pressure"]


def refusal(spec, frame):
    with pytest.raises(DetectorError) as caught:
        detectors.fit(
            {"name": "knn", "window": 4, "channels": CHANNELS} | spec, frame, sensor="pump"
        )
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "knnn"}, "no detector 'knnn'\n  did you mean 'knn'?"),
        ({"name": None}, "no detector None"),
        (
            {"n_neighbours": 3},
            "detector knn has no parameter 'n_neighbours'\n  did you mean 'n_neighbors'?",
        ),
        ({"n_neighbors": 2.5}, "parameter n_neighbors is 2.5, expected int 1 to 1000"),
        ({"n_neighbors": True}, "parameter n_neighbors is True, expected int 1 to 1000"),
        ({"n_neighbors": 0}, "parameter n_neighbors is 0, expected int 1 to 1000"),
        ({"method": "mode"}, "parameter method is 'mode', expected largest | mean | median"),
        ({"scale_features": 1}, "parameter scale_features is 1, expected bool"),
        ({"window": None}, "parameter window is None, expected int 1 to 10000"),
        ({"trim": 0.6}, "parameter trim is 0.6, expected float 0 to 0.5"),
        ({"max_span_s": -1}, "parameter max_span_s is -1.0, expected float 0 to 1e+09, or usual"),
        (
            {"channels": ["flow", "flow"]},
            "channels are ['flow', 'flow'], expected a list of 1 to 256 different names",
        ),
        (
            {"channels": "flow"},
            "channels are 'flow', expected a list of 1 to 256 different names",
        ),
        ({"features": "row"}, "no features 'row'\n  did you mean 'raw'?"),
        ({"features": []}, "features are [], expected a name or a list of names"),
        ({"features": 3}, "features are 3, expected a name or a list of names"),
        ({"features": "raw:5"}, "features 'raw:5' are asked for, of 1 to 4 readings"),
        ({"features": "raw:"}, "features 'raw:' are asked for, of 1 to 4 readings"),
        ({"features": "raw:x"}, "features 'raw:x' are asked for, of 1 to 4 readings"),
        (
            {"features": "differences:1"},
            "features 'differences:1' are asked for, of 2 to 4 readings",
        ),
        (
            {"name": "limits", "low": ["1"]},
            "parameter low is ['1'], expected a list of numbers",
        ),
        ({"name": "limits", "low": [1]}, "parameter low has 1 numbers for 2 channels"),
        (
            {"name": "limits"},
            "detector limits needs parameter low or high, one number per channel",
        ),
        ({"name": "rate", "lag": 4}, "a window of 4 is too short, more than 4 needed"),
        ({"name": "rolling", "window": 1}, "a window of 1 is too short, more than 1 needed"),
        (
            {"name": "seasonal"},
            "channel 'hour_of_day' is not among flow, pressure",
        ),
        (
            {"name": "seasonal", "hour": "flow", "day": "pressure"},
            "detector seasonal has no channel but the clock's",
        ),
        ({"name": "kde", "sample": 20_000}, "array train has 20000 rows, expected 1 to 10000"),
        (
            {"name": "cblof", "alpha": 0.999, "beta": 1000, "n_clusters": 2},
            "detector cblof: Could not form valid cluster separation. Please change n_clusters "
            "or change clustering method",
        ),
        (
            {"name": "mcd", "features": "centred"},
            "the features have no covariance of full rank: The covariance matrix associated to "
            "your dataset is not full rank\n"
            "  centred features depend on each other: use raw, summary or newest",
        ),
        (
            {"name": "mcd", "features": ["summary"] * 3, "sample": 60},
            "60 training windows are too few for a covariance of 36 features\n"
            "  a longer span, or fewer features: summary, newest, or of fewer readings",
        ),
        (
            {"name": "reconstruction", "channels": ["flow"], "features": "newest"},
            "reconstruction needs two features at least",
        ),
        (
            {"name": "regression", "window": 64, "features": "raw", "degree": 2},
            "regression has 628 terms of 128 features, at most 500 of at least 2\n"
            "  features: newest or mean, or degree: 1",
        ),
        ({"sample": 10, "n_neighbors": 10}, "10 training windows are too few for 10 neighbours"),
    ],
)  # fmt: skip
def test_a_specification_that_makes_no_sense_is_refused(readings, spec, message):
    if spec.get("sample") == 20_000:
        readings = pd.concat([readings.assign(pump=str(i)) for i in range(18)])
    assert refusal(spec, readings) == message


def test_a_parameter_without_a_default_is_asked_for():
    with pytest.raises(DetectorError) as caught:
        detectors.resolve({"name": "knn", "channels": ["flow"]})

    assert str(caught.value) == "detector knn needs parameter window: w, readings per window"


def test_too_few_windows_are_refused_with_what_would_help(readings):
    assert refusal({"max_span_s": 100}, readings) == (
        "0 training windows of 4 readings, 10 are needed\n"
        "  from 1200 readings: a longer span, a shorter window, a larger max_span_s, "
        "or missing: fill"
    )


def test_a_channel_constant_but_for_rounding_is_refused_too(readings):
    jitter = 5.0 + 1e-15 * (readings.index % 3)

    assert refusal({}, readings.assign(pressure=jitter)).startswith(
        "channel pressure is constant in training, 5\n"
    )


def test_a_steady_drift_is_the_usual_rate(readings):
    frame = readings.assign(pressure=readings.index / 60.0)
    spec = {"name": "rate", "window": 2, "channels": ["pressure"]}

    scores = detectors.score_readings(
        detectors.fit(spec, frame, sensor="pump"), frame, sensor="pump"
    )

    np.testing.assert_allclose(scores[2:], 1)


def test_a_constant_channel_is_refused_by_name(readings):
    assert refusal({}, readings.assign(pressure=5.0)) == (
        "channel pressure is constant in training, 5\n  leave it out, or train on a longer span"
    )


@pytest.mark.parametrize("name", ["range", "rolling", "rate", "stuck"])
def test_a_constant_channel_is_handled_where_it_says_something(readings, name):
    frame = readings.assign(pressure=5.0)
    spec = {"name": name, "window": 8, "channels": CHANNELS}

    scores = detectors.score_readings(
        detectors.fit(spec, frame, sensor="pump"), frame, sensor="pump"
    )

    assert np.isfinite(scores).sum() == len(frame) - 14


@pytest.mark.parametrize("spec", [{"name": "robust_z"}, {"scale": "robust"}])
def test_a_channel_that_is_mostly_constant_has_no_robust_spread(readings, spec):
    frame = readings.assign(pressure=readings["pressure"].where(readings.index % 10 == 0, 5.0))

    assert refusal(spec, frame) == (
        "channel pressure: more than half of its training readings are the same\n"
        "  leave it out, train on a longer span, or use a detector with scale: standard"
    )


def test_a_channel_without_any_reading_is_refused(readings):
    frame = readings.assign(pressure=np.nan)

    assert refusal({"missing": "fill"}, frame) == (
        "channel pressure has no reading at all in training"
    )


def test_a_channel_that_follows_its_profile_exactly_is_refused(readings):
    frame = detectors.with_clock(readings)
    frame["flow"] = 7.0
    spec = {"name": "seasonal", "channels": ["flow", "hour_of_day"]}

    assert refusal(spec, frame) == "measured channel 0 never leaves its profile in training"


def test_more_channels_than_windows_are_handled(readings):
    rng = np.random.default_rng(2)
    wide = readings[:60].assign(**{f"c{i}": rng.normal(size=60) for i in range(80)})
    channels = [f"c{i}" for i in range(80)]

    for name in ("knn", "pca", "iforest", "ecod", "hbos", "kmeans", "reconstruction", "ocsvm"):
        spec = {"name": name, "window": 2, "channels": channels}
        detector = detectors.fit(spec, wide, sensor="pump")
        assert np.isfinite(detectors.score_readings(detector, wide, sensor="pump")).sum() == 58


def test_faults_in_the_training_span_are_trimmed(readings):
    faulty = readings.copy()
    faulty.loc[500:520, "flow"] += 40
    spec = {"name": "gmm", "window": 4, "channels": CHANNELS, "n_components": 1}

    def score(**more):
        detector = detectors.fit(spec | more, faulty, sensor="pump")
        scores = detectors.score_readings(detector, faulty, sensor="pump")
        middle, high = np.nanquantile(scores, [0.5, 0.9])
        return (np.nanmedian(scores[505:520]) - middle) / (high - middle)

    assert score(trim=0.05, scale="robust") > 3 * score(scale="robust")


def test_readings_left_out_by_the_caller_are_in_no_training_window(readings):
    keep = np.ones(len(readings), dtype=bool)
    keep[300:400] = False
    spec = {"name": "knn", "window": 4, "channels": CHANNELS, "sample": 5000}

    detector = detectors.fit(spec, readings, sensor="pump", keep=keep)

    assert len(detector.state["train"]) == 2 * (150 - 3) + 2 * (400 - 3)


def test_numbers_of_numpy_are_numbers():
    spec = detectors.resolve({"name": "knn", "window": np.int64(4), "channels": CHANNELS})

    assert type(spec["window"]) is int


def test_a_fault_between_channels_is_seen_by_relations_alone(readings):
    broken = readings.copy()
    broken.loc[800:, "pressure"] = readings["pressure"].to_numpy()[:400]
    good = slice(0, 800)

    def jump(name, **more):
        spec = {"name": name, "window": 8, "channels": CHANNELS} | more
        detector = detectors.fit(spec, broken.iloc[good], sensor="pump")
        scores = detectors.score_readings(detector, broken, sensor="pump")
        return np.mean(scores[820:] > np.nanquantile(scores[good], 0.99))

    for combine in ("worst", "mahalanobis"):
        assert jump("regression", features="newest", combine=combine) > 0.5
        assert jump("regression", features="mean", combine=combine, degree=2) > 0.5
    assert jump("reconstruction", features="mean") > 0.5
    assert jump("range") < 0.1
    assert jump("robust_z") < 0.1


def test_a_seasonal_detector_knows_the_hour_and_the_day():
    times = pd.date_range("2026-01-05", periods=14 * 96, freq="15min", tz="UTC")
    frame = detectors.with_clock(pd.DataFrame({"event_time": times, "pump": "a"}))
    rng = np.random.default_rng(4)
    working = (frame["hour_of_day"].between(8, 17)) & (frame["day_of_week"] < 5)
    frame["flow"] = np.where(working, 50.0, 10.0) + rng.normal(size=len(frame))
    spec = {"name": "seasonal", "window": 1, "channels": ["flow", "hour_of_day", "day_of_week"]}

    detector = detectors.fit(spec | {"day": "day_of_week", "bins": 96}, frame, sensor="pump")

    def score(flow, hour, day):
        return detector.score(np.array([[[flow, hour, day]]]))[0]

    assert score(50, 12, 0) < 4 < 20 < score(50, 12, 6)
    assert score(10, 12, 6) < 4 < 20 < score(10, 12, 0)


def test_a_usual_gap_rule_is_learnt_from_the_readings(readings):
    spec = {"name": "knn", "window": 11, "channels": ["flow"], "max_span_s": "usual"}

    fitted = detectors.fit(spec, readings, sensor="pump")
    both = detectors.fit(
        {"name": "ensemble", "window": 11, "channels": ["flow"], "max_span_s": "usual",
         "members": [{"name": "knn"}, {"name": "rolling"}]}, readings, sensor="pump",
    )  # fmt: skip

    assert fitted.max_span_s == 3 * 10 * 60
    assert [member["max_span_s"] for member in both.spec["members"]] == [1800, 1800]
    with pytest.raises(DetectorError) as refused:
        detectors.resolve({**spec, "max_span_s": "often"})
    assert str(refused.value) == (
        "parameter max_span_s is 'often', expected float 0 to 1e+09, or usual"
    )
