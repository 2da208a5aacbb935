"""The simulated pump station."""

import numpy as np
import pandas as pd
import pytest

from workbench import plant


@pytest.fixture(scope="module")
def station():
    return plant.simulate(pumps=6, days=14)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    first, again, other = (plant.simulate(pumps=2, days=1, seed=seed)[0] for seed in (1, 1, 2))

    pd.testing.assert_frame_equal(first, again)
    assert not first["flow_l_min"].equals(other["flow_l_min"])


def test_faults_lie_in_the_second_half_and_every_kind_comes_early_and_late(station):
    _, labels = station

    half = pd.Timestamp("2026-01-12T00:00:00Z")
    early = labels[labels["start"] < "2026-01-15T12:00:00Z"]
    late = labels.drop(early.index)
    assert (labels["start"] >= half).all()
    assert set(early["kind"]) == set(late["kind"]) == set(plant.FAULTS)


def test_faults_of_one_pump_do_not_overlap(station):
    _, labels = station

    for _, own in labels.sort_values("start").groupby("sensor"):
        assert (own["stop"].shift() < own["start"]).iloc[1:].all()


def test_without_faults_the_first_half_is_the_same():
    with_faults, _ = plant.simulate(pumps=2, days=4)
    without, labels = plant.simulate(pumps=2, days=4, faults=False)

    half = pd.Timestamp("2026-01-07T00:00:00Z")
    assert labels.empty
    first, second = (one.sort_values(["pump", "event_time"]) for one in (with_faults, without))
    pd.testing.assert_frame_equal(
        first[first["event_time"] < half].reset_index(drop=True),
        second[second["event_time"] < half].reset_index(drop=True),
    )


@pytest.mark.parametrize(("channel", "step"), plant.CHANNELS.items())
def test_values_are_rounded_to_what_the_sensor_resolves(station, channel, step):
    readings, _ = station

    steps = readings[channel].dropna() / step
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)


def test_a_stuck_sensor_says_one_value_inside_its_normal_range(station):
    readings, labels = station

    for fault in labels[labels["kind"] == "stuck_sensor"].itertuples():
        mine = readings[readings["pump"] == fault.sensor]
        inside = mine["event_time"].between(fault.start, fault.stop, inclusive="left")
        frozen = mine.loc[inside, fault.channels[0]].dropna().unique()
        before = mine.loc[mine["event_time"] < "2026-01-12T00:00:00Z", fault.channels[0]]
        assert len(frozen) == 1
        assert before.min() < frozen[0] < before.max()


def test_a_leak_hardly_shows_in_one_channel_but_in_flow_against_pressure(station):
    """Within the range of the first week, but off the line that pressure follows flow² on."""
    readings, labels = station
    normal = readings[readings["event_time"] < "2026-01-12T00:00:00Z"].dropna()
    line = np.polyfit(normal["flow_l_min"] ** 2, normal["discharge_pressure_bar"], 1)
    spread = (normal["discharge_pressure_bar"] - np.polyval(line, normal["flow_l_min"] ** 2)).std()

    for fault in labels[labels["kind"] == "leak"].itertuples():
        mine = readings[readings["pump"] == fault.sensor].dropna()
        mine = mine[mine["event_time"].between(fault.start, fault.stop, inclusive="left")]
        off = mine["discharge_pressure_bar"] - np.polyval(line, mine["flow_l_min"] ** 2)
        inside = mine["discharge_pressure_bar"].between(
            normal["discharge_pressure_bar"].min(), normal["discharge_pressure_bar"].max()
        )
        assert inside.mean() > 0.9
        assert off.median() < -4 * spread


def test_readings_arrive_a_little_out_of_order_and_some_never(station):
    readings, _ = station

    behind = readings["event_time"].cummax() - readings["event_time"]
    assert 0 < (behind > pd.Timedelta(seconds=60)).mean() < 0.005
    assert 0.003 < 1 - len(readings) / (6 * 14 * 1440) < 0.02
