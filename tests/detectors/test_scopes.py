import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import DetectorError

SPEC = {"name": "robust_z", "window": 3, "channels": ["flow"]}


@pytest.fixture(scope="module")
def four(readings):
    """Four sensors, the last two at another level."""
    other = readings.assign(pump=readings["pump"].map({"a": "c", "b": "d"}))
    other["flow"] = other["flow"] * 3
    both = pd.concat([readings, other])
    return both.sort_values("event_time", kind="stable", ignore_index=True)


def test_a_model_per_sensor_scores_each_by_its_own(four):
    fitted = detectors.fit_each(SPEC, four, sensor="pump", by="sensor")

    scores = detectors.score_each(fitted, four, sensor="pump")

    for name in "abcd":
        mine = four[four["pump"] == name]
        alone = detectors.fit(SPEC, mine, sensor="pump")
        expected = detectors.score_readings(alone, mine, sensor="pump")
        np.testing.assert_array_equal(scores[mine.index], expected)


def test_a_model_per_group_is_shared_by_its_sensors(four):
    groups = {"a": "small", "b": "small", "c": "large", "d": "large"}

    fitted = detectors.fit_each(SPEC, four, sensor="pump", by=groups)

    assert fitted["a"] is fitted["b"] is not fitted["c"] is fitted["d"]


def test_one_model_for_all_scores_as_one_detector(four):
    fitted = detectors.fit_each(SPEC, four, sensor="pump", by="all")

    expected = detectors.score_readings(fitted["a"], four, sensor="pump", lateness_ms=1)
    found = detectors.score_each(fitted, four, sensor="pump", lateness_ms=1)
    np.testing.assert_array_equal(found, expected)


def test_a_sensor_without_a_detector_has_no_score(four):
    fitted = detectors.fit_each(SPEC, four, sensor="pump", by="sensor")
    del fitted["d"]

    scores = detectors.score_each(fitted, four, sensor="pump")

    assert np.isnan(scores[four["pump"] == "d"]).all()


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("pump", "models are by 'pump', expected all, sensor, or groups of sensors"),
        ({"a": "x"}, "sensor 'b' is in no group"),
    ],
)
def test_a_scope_that_leaves_sensors_out_is_refused(four, by, message):
    with pytest.raises(DetectorError) as caught:
        detectors.fit_each(SPEC, four, sensor="pump", by=by)

    assert str(caught.value) == message


def test_the_group_that_cannot_be_fitted_is_named(four):
    with pytest.raises(DetectorError) as caught:
        detectors.fit_each(SPEC, four.iloc[:16], sensor="pump", by="sensor")

    assert str(caught.value) == (
        "2 training windows of 3 readings, 10 are needed\n  in group 'a'\n"
        "  from 4 readings: a longer span, a shorter window, a larger max_span_s, "
        "or missing: fill"
    )
