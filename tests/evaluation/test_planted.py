"""Planted faults: the smallest of each kind that a package finds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.detectors import FAULT_KINDS, EpisodeRule, plant_fault
from workbench.errors import EvaluationError
from workbench.evaluation import smallest_found


def readings(seed=3):
    rng, minutes = np.random.default_rng(seed), 1500
    return pd.concat(
        pd.DataFrame(
            {
                "pump": pump,
                "event_time": pd.date_range("2026-01-05", periods=minutes, freq="min", tz="UTC"),
                "bar": rng.normal(5, 0.1, minutes),
                "flow": rng.normal(50, 2, minutes),
            }
        )
        for pump in ("p1", "p2")
    )


FRAME = readings()
EACH = EpisodeRule()


def package(spec, threshold, rule=EACH):
    spec = {"window": 6, "channels": ["bar", "flow"], **spec}
    detector = detectors.fit(spec, FRAME, sensor="pump", seed=1)
    return detectors.Package("0" * 64, detector, threshold, rule, detector.spec, {}, {})


NAMES = {"name": "robust_z"}


@pytest.fixture(scope="module")
def robust():
    return package(NAMES, 6.0)


def smallest(packages, **more):
    table = smallest_found(packages, FRAME, sensor="pump", **more)
    return table.set_index(["kind", "channel"])


def test_the_smallest_fault_found_is_the_one_that_passes_the_threshold(robust):
    table = smallest({"new": robust})

    assert table.index.tolist() == [
        (kind, name) for kind in FAULT_KINDS for name in ("bar", "flow")
    ]
    for kind in ("spike", "shift", "drift"):
        assert table.loc[kind, "new"].between(4, 8).all(), table
    assert table.loc["stuck", "new"].isna().all()  # it looks at no run of equal readings
    assert table.loc[("shift", "bar"), "unit"] == pytest.approx(0.1, rel=0.1)


def test_a_deviation_is_a_sensors_own_where_keys_are_numbers_in_bytes(robust):
    frame = FRAME.assign(pump=FRAME["pump"].map({"p1": "\0\0\0\1", "p2": "\0\0\0\2"}))
    frame.loc[frame["pump"] == "\0\0\0\2", ["bar", "flow"]] += 1_000.0  # another level

    table = smallest_found({"new": robust}, frame, sensor="pump")

    units = table.set_index(["kind", "channel"])["unit"]
    assert units["shift", "bar"] == pytest.approx(0.1, rel=0.1)


def test_two_packages_stand_side_by_side_and_the_higher_threshold_finds_less(robust):
    table = smallest({"old": robust, "new": replace(robust, threshold=20.0)})

    spikes = table.loc["spike"]
    assert (spikes["new"] > spikes["old"]).all()


def test_a_threshold_that_nothing_passes_finds_no_fault_of_any_size(robust):
    assert smallest({"deaf": replace(robust, threshold=1e6)})["deaf"].isna().all()


def test_a_rule_of_several_readings_finds_no_spike(robust):
    table = smallest({"rule": replace(robust, rule=EpisodeRule(3, 5, 5))})

    assert table.loc["spike", "rule"].isna().all()
    assert table.loc["shift", "rule"].notna().all()


def test_a_sensor_that_is_stuck_is_found_by_what_looks_for_it():
    table = smallest({"stuck": package({"name": "stuck"}, 3.0)})

    lasted = (table["stuck"] * table["unit"]).loc["stuck"]
    assert lasted.between(4, 8).all(), table


@pytest.mark.parametrize("name", ["ecod", "hbos", "iforest"])
def test_a_detector_whose_own_score_has_a_ceiling_finds_large_faults_at_its_own_highest(name):
    spec = {"name": name, "sample": 500}
    fitted = package(spec, 0.0).detector
    highest = np.nanmax(detectors.score_readings(fitted, FRAME, sensor="pump"))

    table = smallest({"new": package(spec, float(highest))}, channels=["bar"])

    assert table.loc[["spike", "shift"], "new"].notna().all(), table


def test_the_order_of_readings_does_not_matter_and_nothing_is_drawn(robust):
    mixed = FRAME.sample(frac=1, random_state=4)

    table = smallest_found({"new": robust}, mixed, sensor="pump")

    pd.testing.assert_frame_equal(table, smallest_found({"new": robust}, FRAME, sensor="pump"))


def test_derived_channels_are_computed_from_the_faulty_readings():
    def derive(frame):
        return frame.assign(ratio=frame["flow"] / frame["bar"])

    spec = {"name": "robust_z", "window": 2, "channels": ["ratio"]}
    fitted = detectors.fit(spec, derive(FRAME), sensor="pump")
    derived = detectors.Package("0" * 64, fitted, 6.0, EpisodeRule(), fitted.spec, {}, {})

    table = smallest_found({"new": derived}, FRAME, sensor="pump", channels=["flow"], derive=derive)

    assert table.set_index("kind").loc["shift", "new"] <= 16


def test_holes_in_the_readings_are_no_obstacle(robust):
    holed = FRAME.copy()
    holed.iloc[::500, 2] = np.nan

    assert smallest_found({"new": robust}, holed, sensor="pump")["new"].notna().sum() == 6


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_a_fault_begins_at_the_first_reading_and_leaves_the_rest(kind):
    usual = np.arange(1.0, 21.0)

    faulty = plant_fault(usual, kind, size=1.0, unit=100.0, length=10)

    np.testing.assert_array_equal(faulty[10:], usual[10:])
    assert (faulty[:10] != usual[:10]).sum() == {"spike": 1, "stuck": 9}.get(kind, 10)


@pytest.mark.parametrize(
    ("packages", "more", "message"),
    [
        ([], {}, "no package is given, at least one is needed"),
        (
            ["new"],
            {"channels": ["lvl"]},
            "the readings have no channel 'lvl' to plant a fault into",
        ),
        (
            ["always"],
            {},
            "no sensor has 40 readings in a row with scores and without an alarm, to plant a fault "
            "into\n  a longer span, or a threshold that is passed less often",
        ),
    ],
)
def test_what_cannot_be_planted_is_refused(robust, packages, more, message):
    there = {"new": robust, "always": replace(robust, threshold=0.0)}

    with pytest.raises(EvaluationError) as error:
        smallest_found({name: there[name] for name in packages}, FRAME, sensor="pump", **more)

    assert str(error.value) == message
