"""One call for a machine that nobody tuned for: what it leaves out, chooses and never refuses."""

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.detectors.choosing.series import look
from workbench.errors import DetectorError

MINUTE_MS = 60_000


def machine(readings=1500, *, seed=3, sensor="m"):
    """Load drives flow and current; a counter, a constant, a copy and a switch beside them."""
    rng = np.random.default_rng(seed)
    t = np.arange(readings)
    load = np.sin(2 * np.pi * t / 200) + 0.1 * rng.normal(size=readings)
    return pd.DataFrame(
        {
            "event_time": pd.to_datetime(t * MINUTE_MS, unit="ms", utc=True),
            "machine": sensor,
            "flow": 50 + 5 * load + rng.normal(0, 0.3, readings),
            "current": 8 + load + rng.normal(0, 0.1, readings),
            "current_ma": 0.0,
            "hours": t / 60,
            "firmware": 7,
            "name": "pump",
        }
    ).assign(current_ma=lambda frame: 1000 * frame["current"])


@pytest.fixture(scope="module")
def chosen():
    return detectors.auto(machine(), sensor="machine")


def test_what_says_nothing_is_left_out_and_the_card_says_why(chosen):
    assert chosen.choice.series.kept == ("flow", "current")
    assert chosen.choice.series.left_out == {
        "current_ma": "the same as current",
        "hours": "a counter; its rate, as a derived channel, says more",
        "firmware": "constant, 7",
    }
    text = chosen.card().text()
    assert "firmware: constant, 7" in text
    assert "patterns not seen before" in text
    assert chosen.choice.series.interval_s == 60


def test_shapes_of_single_channels_are_looked_for_in_windows_of_two_lengths(chosen):
    windows = {row["looks_for"]: row["window"] for row in chosen.choice.table}
    starts = np.cumsum(np.random.default_rng(1).random(1500) < 0.5)
    counting = machine()[["event_time", "machine", "hours"]].assign(starts=starts)
    alone = machine()[["event_time", "machine", "flow"]]
    members = detectors.choose({"name": "auto"}, counting, sensor="machine").spec["members"]

    short = windows["patterns not seen before"]
    assert windows["shapes of a channel"] == short
    assert windows["short shapes of a channel"] == short // 2
    assert {spec["features"] for spec in members if spec["name"] == "subpca"} == {"differences"}
    table = detectors.choose({"name": "auto"}, alone, sensor="machine").table
    assert "subpca" not in {row["method"] for row in table}


def test_it_finds_a_fault_that_shows_in_no_single_channel(chosen):
    later = machine(seed=4)
    later.loc[900:929, "current"] = later.loc[900:929, "current"].to_numpy()[::-1].copy() + 0.9

    scores = detectors.score_readings(chosen.detector, later, sensor="machine")

    assert np.nanmax(scores[900:930]) > chosen.threshold
    usual = np.delete(scores, np.arange(900, 1000))
    assert (usual > chosen.threshold).mean() < 0.05


def test_it_is_a_package_like_any_other_and_the_same_each_time(chosen, tmp_path):
    again = detectors.auto(machine(), sensor="machine")

    ids = [
        detectors.save(one.detector, tmp_path / name, threshold=one.threshold, rule=one.rule,
                       training={"topic": "pumps"})
        for name, one in (("first", chosen), ("second", again))
    ]  # fmt: skip

    assert ids[0] == ids[1]
    assert detectors.load(tmp_path / "first").id == ids[0]


def test_the_order_of_rows_changes_nothing(chosen):
    shuffled = machine().sample(frac=1, random_state=5)

    other = detectors.auto(shuffled, sensor="machine")

    assert other.spec == chosen.spec
    assert other.threshold == chosen.threshold


def test_several_machines_of_a_kind_share_one_detector():
    fleet = pd.concat([machine(800, seed=at, sensor=f"m{at}") for at in range(3)])

    chosen = detectors.auto(fleet, sensor="machine")

    scores = detectors.score_readings(chosen.detector, fleet, sensor="machine")
    assert np.isfinite(scores).mean() > 0.9


@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.zeros(700), np.ones(100)],
        np.r_[np.zeros(797), 1.0, 0.0, 0.0],
        np.arange(800.0),
        np.random.default_rng(1).integers(0, 2, 800).astype(float),
        np.random.default_rng(1).normal(size=800) * 1e-30,
        np.random.default_rng(1).normal(size=800) * 1e30,
        np.where(np.random.default_rng(1).random(800) < 0.5, np.nan, 3 + np.arange(800) % 7),
        np.r_[np.full(400, np.nan), np.random.default_rng(1).normal(size=400)],
        np.random.default_rng(1).normal(size=60),
        np.arange(40) % 5.0,
        np.r_[np.zeros(400), np.ones(400)],
        np.r_[np.random.default_rng(1).normal(size=200), np.full(600, np.nan)],
    ],
    ids=["late step", "one spike", "counter", "switch", "tiny", "huge", "holes", "begins late",
         "short", "forty", "step in the middle", "ends early"],
)  # fmt: skip
def test_a_machine_of_which_one_channel_moves_is_never_refused(values):
    times = pd.to_datetime(np.arange(len(values)) * MINUTE_MS, unit="ms", utc=True)
    frame = pd.DataFrame({"event_time": times, "m": "m", "still": 4.0, "x": values})

    chosen = detectors.auto(frame, sensor="m")

    scores = detectors.score_readings(chosen.detector, frame, sensor="m")
    assert np.isfinite(scores).any()
    assert np.isfinite(chosen.threshold)


@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.random.default_rng(1).normal(size=200), np.ones(2800)],
        np.arange(3000) % 2.0,
        np.r_[np.random.default_rng(1).normal(size=500), np.full(2500, np.nan)],
    ],
    ids=["stands still", "alternates", "ends early"],
)
def test_no_threshold_is_an_endless_alarm_on_what_was_learnt(values):
    """A trial scored alike all that buys, and its threshold let through what is usual."""
    times = pd.to_datetime(np.arange(len(values)) * MINUTE_MS, unit="ms", utc=True)
    frame = pd.DataFrame({"event_time": times, "m": "m", "x": values})

    chosen = detectors.auto(frame, sensor="m")

    scores = detectors.score_readings(chosen.detector, frame, sensor="m")
    assert (scores > chosen.threshold).mean() < 0.1


def test_what_is_chosen_and_cannot_be_fitted_gives_way_to_what_can_and_the_card_says_so():
    """A clock with gaps without end: hardly a window of 64 readings is without one."""
    rng = np.random.default_rng(0)
    gaps_s = (60 * (1 + rng.pareto(0.7, 3000))).clip(max=1e5)
    start = pd.Timestamp("2026-01-05", tz="UTC")
    frame = pd.DataFrame({"event_time": start + pd.to_timedelta(np.cumsum(gaps_s), unit="s")})
    frame = frame.assign(m="m", x=np.sin(np.arange(3000) / 30), y=rng.normal(size=3000))

    chosen = detectors.auto(frame, sensor="m")
    fitted = detectors.fit({"name": "auto"}, frame, sensor="m")

    assert chosen.spec["name"] == "range"
    assert chosen.choice.table[-1]["verdict"].startswith("kept, alone: the choice was refused: ")
    assert sum(row["verdict"].startswith("kept") for row in chosen.choice.table) == 1
    assert np.isfinite(detectors.score_readings(fitted, frame, sensor="m")).any()


def test_of_more_channels_than_a_detector_may_have_the_first_are_taken():
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(400, 300)), columns=[f"c{n}" for n in range(300)])
    times = pd.to_datetime(np.arange(400) * MINUTE_MS, unit="ms", utc=True)

    series = look(wide.assign(event_time=times, m="m"), sensor="m", time="event_time")

    assert series.kept == tuple(f"c{n}" for n in range(256))
    assert series.left_out["c299"] == "beyond the first 256 that move"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda frame: pd.concat([frame, frame[["x"]]], axis=1), "two columns are called 'x'"),
        (lambda frame: frame.rename(columns={"x": 7}), "a column is called 7, which is no text"),
        (
            lambda frame: frame.assign(event_time=frame["event_time"].iloc[0]),
            "all 50 readings are of one instant, and none comes later",
        ),
        (
            lambda frame: frame.assign(x=1e300 * frame["x"]),
            "no channel moves in 50 readings: x: as large as 4.9e+301, whose square is no number",
        ),
    ],
    ids=["one name twice", "a number as name", "one instant", "beyond squares"],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(changed, message):
    times = pd.to_datetime(np.arange(50) * MINUTE_MS, unit="ms", utc=True)
    frame = pd.DataFrame({"event_time": times, "m": "m", "x": np.arange(50.0)})

    with pytest.raises(DetectorError) as refused:
        detectors.auto(changed(frame), sensor="m")

    assert refused.value.message == message


def test_of_too_few_readings_one_detector_is_kept_and_the_card_says_why():
    few = machine(60)

    chosen = detectors.auto(few, sensor="machine")

    verdicts = [row["verdict"] for row in chosen.choice.table]
    assert chosen.choice.spec["name"] != "ensemble"
    assert verdicts.count("left out: too few readings to calibrate several together") >= 1
    assert sum(verdict.startswith("kept") for verdict in verdicts) == 1


def test_what_does_not_move_at_all_is_refused_in_one_line():
    times = pd.to_datetime(np.arange(50) * MINUTE_MS, unit="ms", utc=True)
    frame = pd.DataFrame({"event_time": times, "m": "m", "x": 4.0, "y": np.nan})

    with pytest.raises(DetectorError) as refused:
        detectors.auto(frame, sensor="m")

    assert str(refused.value) == (
        "no channel moves in 50 readings: x: constant, 4; y: missing in 100% of the readings"
    )
    with pytest.raises(DetectorError) as refused:
        detectors.auto(frame[["event_time", "m"]], sensor="m")
    assert str(refused.value) == "the readings have no column of numbers to detect on"


def test_the_gap_rule_and_the_windows_come_from_the_readings():
    slow = machine(2000).assign(
        event_time=pd.to_datetime(np.arange(2000) * 3_600_000, unit="ms", utc=True)
    )

    series = look(slow, sensor="machine", time="event_time")
    spec = detectors.choose({"name": "auto"}, slow, sensor="machine").spec

    assert series.interval_s == 3600
    assert 20 <= series.memory <= 60  # a sixth of the wave
    assert spec["window"] == 64
    assert spec["max_span_s"] == 3 * 63 * 3600
    short = detectors.choose({"name": "auto", "window": 20}, slow, sensor="machine").spec
    assert short["window"] <= 20


def test_labels_choose_where_there_are_some():
    frame = machine(2000)
    wrong = np.zeros(2000, dtype=bool)
    for start in (1300, 1500, 1700):
        frame.loc[start : start + 19, "flow"] += 3 * (-1) ** np.arange(20)
        wrong[start : start + 20] = True

    chosen = detectors.auto(frame, sensor="machine", wrong=wrong)

    assert {row["verdict"] for row in chosen.choice.table} <= {
        "kept, by the labels", "left out: with the others it tells labels no better",
    }  # fmt: skip
    best = max(row["precision"] for row in chosen.choice.table)
    assert best > 0.5
    scores = detectors.score_readings(chosen.detector, frame, sensor="machine")
    assert np.median(scores[wrong]) > np.nanquantile(scores[~wrong], 0.95)


def test_a_specification_may_say_auto(chosen):
    fitted = detectors.fit({"name": "auto"}, machine(), sensor="machine")

    assert fitted.spec == chosen.spec
    with pytest.raises(DetectorError) as refused:
        detectors.resolve({"name": "auto", "windw": 3})
    assert str(refused.value) == (
        "detector auto has no parameter 'windw'\n  did you mean 'window'?"
    )


def test_a_clock_brings_the_time_of_day_in():
    hourly = machine(3000).assign(
        event_time=pd.to_datetime(np.arange(3000) * 600_000, unit="ms", utc=True)
    )
    hourly["flow"] += 20 * np.sin(2 * np.pi * np.arange(3000) / 144)

    choice = detectors.choose({"name": "auto"}, detectors.with_clock(hourly), sensor="machine")

    assert choice.series.left_out["hour_of_day"] == "a clock"
    assert "seasonal" in [row["method"] for row in choice.table]
