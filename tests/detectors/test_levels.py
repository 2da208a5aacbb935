"""Each sensor against its own level: sensors of unlike size, and of unlike units."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench import detectors
from workbench.cli import cli
from workbench.detectors import EpisodeRule
from workbench.errors import DetectorError
from workbench.evaluation import evaluate, smallest_found

SIZES = {"small": (1.0, 0.1), "middle": (80.0, 9.0), "large": (2e4, 3e3)}
SPEC = {"name": "knn", "window": 8, "channels": ["flow"], "level": "sensor"}
RULE = EpisodeRule()
BUDGET = {"alerts_per_sensor_day": 1.0, "rule": RULE}


def unlike(readings=400, *, sizes=None, seed=3):
    """Readings of pumps of unlike size, one a minute each, in order of time."""
    rng = np.random.default_rng(seed)
    frames = [
        pd.DataFrame(
            {
                "pump": name,
                "event_time": pd.date_range("2026-01-05", periods=readings, freq="min", tz="UTC"),
                "flow": centre + spread * rng.normal(size=readings),
            }
        )
        for name, (centre, spread) in (sizes or SIZES).items()
    ]
    return pd.concat(frames).sort_values("event_time", kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def plant():
    return unlike()


@pytest.fixture(scope="module")
def fitted(plant):
    return detectors.fit(SPEC, plant, sensor="pump")


def package_of(detector, folder, threshold=5.0):
    detectors.save(detector, folder, threshold=threshold, rule=RULE, training={})
    return detectors.load(folder)


def scores_of(detector, frame, sensor="pump"):
    return detectors.score_readings(detector, frame, sensor=sensor)


def test_a_fault_of_a_small_sensor_is_seen_beside_a_large_one(plant, fitted):
    pooled = detectors.fit({**SPEC, "level": None}, plant, sensor="pump")
    faulty = unlike(seed=4)
    wrong = (faulty["pump"] == "small") & (faulty.index >= 1100)
    faulty.loc[wrong, "flow"] += 1.0  # ten of its deviations

    own, together = scores_of(fitted, faulty), scores_of(pooled, faulty)

    usual = ~wrong.to_numpy() & np.isfinite(own)
    assert own[wrong].min() > np.quantile(own[usual], 0.99)
    assert together[wrong].max() < np.quantile(together[usual], 0.9)


def test_a_level_is_the_median_and_the_scaled_deviation_of_the_sensors_own_readings(plant, fitted):
    assert fitted.levels.names == ("large", "middle", "small")
    for row, name in enumerate(fitted.levels.names):
        own = plant.loc[plant["pump"] == name, "flow"].to_numpy()
        centre = np.median(own)
        assert fitted.levels.centre[row, 0] == centre
        spread = 1.4826 * np.median(np.abs(own - centre))
        assert fitted.levels.spread[row, 0] == pytest.approx(spread, rel=1e-12)


def test_units_and_offsets_of_a_sensor_change_no_score(plant, fitted):
    other = plant.copy()
    other.loc[other["pump"] == "middle", "flow"] *= 1024.0
    other.loc[other["pump"] == "small", "flow"] -= 512.0

    again = scores_of(detectors.fit(SPEC, other, sensor="pump"), other)

    np.testing.assert_allclose(again, scores_of(fitted, plant), rtol=1e-6)


def test_readings_left_out_teach_no_level(plant):
    spoilt = plant.copy()
    out = (spoilt.index % 7 == 0) & (spoilt.index < 600)
    spoilt.loc[out, "flow"] = 1e9

    detector = detectors.fit(SPEC, spoilt, sensor="pump", keep=~out)

    expected = spoilt[~out].groupby("pump")["flow"].median()
    np.testing.assert_array_equal(detector.levels.centre[:, 0], expected.to_numpy())


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        (np.r_[np.zeros(70), np.arange(1.0, 31.0)], None),
        (np.r_[np.zeros(97), 1.0, 1.0, 1.0], np.std(np.r_[np.zeros(97), np.ones(3)])),
        (np.full(100, 5.0), "of the others"),
    ],
    ids=["mostly the same", "rarely moving", "constant"],
)
def test_a_channel_that_hardly_moves_has_a_spread_all_the_same(values, spread):
    frame = unlike(100)
    frame.loc[frame["pump"] == "small", "flow"] = values

    levels = detectors.fit(SPEC, frame, sensor="pump").levels

    own = levels.spread[levels.names.index("small"), 0]
    if spread is None:
        quartiles = np.quantile(values, [0.25, 0.75])
        spread = (quartiles[1] - quartiles[0]) / 1.349
    if spread == "of the others":
        spread = np.median(levels.spread[:2, 0])
    assert own == pytest.approx(spread, rel=1e-12)


def test_a_sensor_without_a_level_has_no_score_and_the_others_do(plant, fitted):
    fresh = plant.assign(pump=plant["pump"].replace("middle", "new"))
    fresh.loc[fresh.index % 50 == 0, "pump"] = None

    scores = scores_of(fitted, fresh)

    is_new = (fresh["pump"] == "new").to_numpy()
    assert np.isnan(scores[is_new | fresh["pump"].isna().to_numpy()]).all()
    assert np.isfinite(scores[~is_new]).sum() > 700


def test_ten_readings_of_each_channel_make_a_level(plant):
    seen = plant.groupby("pump").cumcount()
    few = plant[(plant["pump"] != "small") | (seen < 9)]
    enough = plant[(plant["pump"] != "small") | (seen < 10)]

    names = [detectors.fit(SPEC, one, sensor="pump").levels.names for one in (few, enough)]

    assert names == [("large", "middle"), ("large", "middle", "small")]


def test_where_no_sensor_has_enough_it_is_refused():
    frame = unlike(9)

    with pytest.raises(DetectorError) as caught:
        detectors.fit({**SPEC, "window": 1}, frame, sensor="pump")

    assert caught.value.message == (
        "none of 3 sensors has 10 readings of each channel, which level: sensor learns from"
    )


def test_windows_without_sensors_are_refused_never_scored_as_they_are(fitted):
    windows = np.zeros((2, 8, 1))
    said = "detector knn has level: sensor, and no sensors are given"

    for ask in (
        fitted.score,
        fitted.explain,
        fitted.expected,
        lambda given: detectors.score_windows(fitted, given),
        lambda given: detectors.explain(fitted, given),
        lambda given: detectors.contributions(fitted, given),
    ):
        with pytest.raises(DetectorError) as caught:
            ask(windows)
        assert caught.value.message == said


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {**SPEC, "level": "pump"},
            "level is 'pump', expected 'sensor', or none given",
        ),
        (
            {"name": "limits", "window": 1, "channels": ["flow"], "low": [0.0], "level": "sensor"},
            "detector limits judges readings in their own unit, which level: sensor takes from "
            "them",
        ),
        (
            {"name": "ensemble", "window": 8, "channels": ["flow"], "level": "sensor",
             "members": [{"name": "knn"}, {"name": "limits", "low": [0.0]}]},
            "detector limits judges readings in their own unit, which level: sensor takes from "
            "them",
        ),
        (
            {"name": "ensemble", "window": 8, "channels": ["flow"],
             "members": [{"name": "knn", "level": "sensor"}]},
            "member 'knn' has a level of its own",
        ),
        (
            {"name": "auto", "level": "sensor"},
            "auto chooses for machines of a kind: it takes no level, and level is 'sensor'",
        ),
        (
            {"name": "knn", "window": 8, "channels": ["hour_of_day"], "level": "sensor"},
            "level: sensor has no channel but the clock's",
        ),
    ],
    ids=["another level", "limits", "limits in an ensemble", "a member", "auto", "a clock alone"],
)  # fmt: skip
def test_what_cannot_be_leveled_is_refused_by_name(plant, spec, message):
    with pytest.raises(DetectorError) as caught:
        detectors.fit(spec, plant, sensor="pump")

    assert caught.value.message == message


def test_auto_with_a_level_is_refused_where_it_chooses_too(plant):
    spec = {"name": "auto", "level": "sensor"}

    with pytest.raises(DetectorError, match="it takes no level"):
        detectors.choose(spec, plant, sensor="pump")


def test_without_level_a_specification_and_its_package_are_as_they_were(plant, tmp_path):
    plain = {name: value for name, value in SPEC.items() if name != "level"}
    ids = [
        detectors.save(
            detectors.fit(spec, plant, sensor="pump"),
            tmp_path / str(number),
            threshold=1.0,
            rule=RULE,
            training={},
        )
        for number, spec in enumerate((plain, {**plain, "level": None}))
    ]

    assert "level" not in detectors.resolve(plain)
    assert ids[0] == ids[1]
    assert detectors.load(tmp_path / "0").detector.levels is None


def test_clocks_have_no_level(plant):
    frame = detectors.with_clock(plant).assign(weekday=1.0, hour=2.5)
    spec = {
        "name": "seasonal", "window": 1, "hour": "hour_of_day", "day": "weekday",
        "channels": ["flow", "hour_of_day", "weekday"], "level": "sensor",
    }  # fmt: skip

    detector = detectors.fit(spec, frame, sensor="pump")

    assert (detector.levels.centre[:, 1:] == 0).all()
    assert (detector.levels.spread[:, 1:] == 1).all()
    assert (detector.levels.centre[:, 0] > 0.5).all()
    assert np.isfinite(scores_of(detector, frame)).all()


def test_clocks_of_an_ensembles_members_and_derived_ones_have_no_level(plant):
    frame = detectors.with_clock(plant).assign(weekday=1.0)
    seasonal = {"name": "seasonal", "window": 1, "hour": "hour_of_day", "day": "weekday"}
    spec = {
        "name": "ensemble", "window": 4, "level": "sensor",
        "channels": ["flow", "hour_of_day", "weekday", "hour_sin"],
        "members": [{**seasonal, "channels": ["flow", "hour_of_day", "weekday"]},
                    {"name": "knn", "channels": ["flow"]}],
    }  # fmt: skip

    detector = detectors.fit(spec, frame, sensor="pump")

    assert (detector.levels.spread[:, 1:] == 1).all()
    assert np.isfinite(scores_of(detector, frame)).sum() == len(frame) - 3 * 3


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([7, 8, 9]),
        pd.Series([7.0, 8.0, 9.0]),
        pd.Series(["7", "8", "9"]),
        pd.Series(["7", "8", "9"], dtype="string"),
        pd.Series(["7", "8", "9"], dtype="category"),
        pd.Series([7, 8.0, "9"], dtype=object),
    ],
    ids=["integers", "floats", "texts", "strings", "categories", "mixed"],
)
def test_a_level_is_found_by_the_name_that_the_job_gives_a_sensor(values):
    frame = unlike(100, sizes={"7": (1, 1), "8": (50, 5), "9": (9e3, 200)})
    detector = detectors.fit(SPEC, frame, sensor="pump")
    expected = scores_of(detector, frame)
    row = frame["pump"].map({"7": 0, "8": 1, "9": 2}).to_numpy()

    given = frame.assign(pump=values.iloc[row].array)

    np.testing.assert_array_equal(scores_of(detector, given), expected)
    assert detectors.fit(SPEC, given, sensor="pump").levels.names == ("7", "8", "9")


def test_numbers_beside_a_missing_sensor_keep_their_names():
    frame = unlike(100, sizes={"7": (1, 1), "8": (50, 5)})
    detector = detectors.fit(SPEC, frame, sensor="pump")

    numbers = frame.assign(pump=frame["pump"].astype(float).mask(frame.index == 150))

    scores = scores_of(detector, numbers)
    assert np.isnan(scores).sum() == 2 * 7 + 1
    assert np.isnan(scores[150])


@pytest.mark.parametrize("ask", [detectors.fit, None], ids=["fitted", "scored"])
def test_two_sensors_of_one_name_are_refused(fitted, ask):
    frame = unlike(100, sizes={"7": (1, 1), "8": (50, 5)})
    frame["pump"] = np.where(frame.index < 100, frame["pump"].astype(int), frame["pump"])
    frame["pump"] = [int(x) if row < 100 else x for row, x in enumerate(frame["pump"])]

    with pytest.raises(DetectorError) as caught:
        ask(SPEC, frame, sensor="pump") if ask else scores_of(fitted, frame)

    assert caught.value.message in {
        "sensors 7 and '7' are both called '7'",
        "sensors 8 and '8' are both called '8'",
    }


def test_there_is_no_end_to_the_number_and_the_length_of_sensors_names(tmp_path):
    sensors, each = 10_500, 12
    rng = np.random.default_rng(5)
    names = np.array([f"{'ü' * 300}{number}" for number in range(sensors)], dtype=object)
    frame = pd.DataFrame(
        {
            "pump": np.tile(names, each),
            "event_time": pd.to_datetime(np.repeat(np.arange(each) * 60_000, sensors), unit="ms",
                                         utc=True),
            "flow": rng.normal(size=sensors * each) + np.tile(np.arange(sensors), each),
        }
    )  # fmt: skip

    package = package_of(detectors.fit(SPEC, frame, sensor="pump"), tmp_path / "many")

    assert package.detector.levels.names == tuple(sorted(names))
    assert np.isfinite(scores_of(package.detector, frame)).sum() == sensors * (each - 7)


def test_a_window_scores_alone_as_in_any_batch(plant, fitted):
    windows = detectors.sliding_windows(
        plant, sensor="pump", time="event_time", channels=["flow"], window=8
    )
    names = plant["pump"].to_numpy()[windows.rows]

    whole = detectors.score_windows(fitted, windows.values, names)

    np.testing.assert_array_equal(whole, scores_of(fitted, plant)[windows.rows])
    each = windows.values  # noqa: PD011 - of Windows
    for row in range(0, len(whole), 97):
        alone = detectors.score_windows(fitted, each[row : row + 1], names[row : row + 1])
        assert alone[0] == pytest.approx(whole[row], rel=1e-9)


def test_missing_readings_are_filled_on_the_sensors_level(plant):
    holed = plant.copy()
    holed.loc[holed.index % 11 == 0, "flow"] = np.nan
    spec = {**SPEC, "missing": "fill"}

    detector = detectors.fit(spec, holed, sensor="pump")
    scores = scores_of(detector, holed)

    assert np.isfinite(scores).sum() == len(plant) - 3 * 7
    small = (holed["pump"] == "small").to_numpy()
    assert np.nanmedian(scores[small]) < 3 * np.nanmedian(scores[~small])
    unknown = holed.assign(pump="unknown")
    assert np.isnan(scores_of(detector, unknown)).all()


def test_tails_are_calibrated_on_the_sensors_level(plant):
    detector = detectors.fit({**SPEC, "calibrate": "tail"}, plant, sensor="pump")

    by_sensor = pd.Series(scores_of(detector, plant)).groupby(plant["pump"]).median()

    assert by_sensor.between(0.1, 0.7).all()


def test_huge_readings_have_finite_scores(plant, fitted):
    for value in (1e300, -1e300, np.finfo(np.float64).max):
        windows = np.full((1, 8, 1), value)
        assert np.isfinite(detectors.score_windows(fitted, windows, ["small"])).all()


def test_a_package_proves_its_levels_and_has_a_format_that_older_readers_refuse(
    plant, fitted, tmp_path
):
    package = package_of(fitted, tmp_path / "p")

    assert '"format": 2' in (tmp_path / "p" / "detector.json").read_text()
    np.testing.assert_array_equal(scores_of(package.detector, plant), scores_of(fitted, plant))
    other = fitted.levels
    wrong = other.state(fitted.state["level_golden"]) | {"level_spread": other.spread * 2}
    moved = detectors.Fitted(fitted.spec, {**fitted.state, **wrong}, fitted.golden)
    assert not np.allclose(moved.golden_scores(), fitted.golden_scores(), rtol=1e-9)


def test_what_a_sensor_is_due_to_is_told_in_its_own_unit():
    frame = unlike(300)
    frame["heat"] = unlike(300, seed=8)["flow"]
    spec = {"name": "robust_z", "window": 1, "channels": ["flow", "heat"], "level": "sensor"}
    detector = detectors.fit(spec, frame, sensor="pump")
    windows = np.array([[[2e4, 3e4]], [[1.0, 1.9]], [[0.0, 0.0]]])

    large, small, new = detectors.contributions(detector, windows, ["large", "small", "new"])

    heat = frame.groupby("pump")["heat"].median()
    assert (large[0].channel, large[0].direction) == ("heat", "above")
    assert large[0].expected == pytest.approx(heat["large"], rel=0.05)
    assert (small[0].channel, small[0].direction) == ("heat", "above")
    assert small[0].expected == pytest.approx(heat["small"], rel=0.05)
    assert new == ()
    shares = detectors.explain(detector, windows, ["large", "small", "new"])
    assert np.isnan(shares[2]).all()
    assert (shares[:2, 1] > 0.9).all()


def test_episodes_are_explained_on_the_sensors_level(plant, fitted, tmp_path):
    package = package_of(fitted, tmp_path / "p", threshold=4.0)
    frame = plant.copy()
    frame.loc[frame.index[-60:], "flow"] *= 3

    detection = detectors.detect(package, frame, sensor="pump")
    shares = detectors.explain_episodes(package, frame, detection.episodes, sensor="pump")
    parts = detectors.episode_contributions(package, frame, detection.episodes, sensor="pump")

    assert len(detection.episodes) >= 3
    assert (shares["flow"] == 1.0).all()
    assert all(part[0].channel == "flow" for part in parts)


def test_a_sensor_without_a_level_is_in_no_budget():
    """Forty sensors that came too late for the trial would make forty times as many alerts fine."""
    frame = unlike(600)
    late = [
        unlike(200, sizes={f"late-{n}": (5, 1)}, seed=n).assign(
            event_time=lambda made: made["event_time"] + pd.Timedelta(minutes=399)
        )
        for n in range(40)
    ]
    short = [part.iloc[:14] for part in late]  # nine in a trial's two thirds: no level there
    whole = pd.concat([frame, *short], ignore_index=True)

    _, alone = detectors.fit_with_threshold(SPEC, frame, sensor="pump", **BUDGET)
    detector, threshold = detectors.fit_with_threshold(SPEC, whole, sensor="pump", **BUDGET)

    assert len(detector.levels.names) == 43
    assert threshold == pytest.approx(alone, rel=0.2)


def test_a_threshold_is_bought_by_the_sensors_that_can_alarm(plant, fitted):
    strangers = [plant.assign(pump=f"stranger-{number}") for number in range(30)]
    whole = pd.concat([plant, *strangers], ignore_index=True)
    asked = {"alerts_per_sensor_day": 1.0, "rule": RULE}

    alone, beside, diluted = (
        detectors.threshold_for_budget(
            detectors.epoch_ms(frame["event_time"]), frame["pump"], scores_of(fitted, frame),
            detector=detector, **asked,
        )
        for frame, detector in ((plant, fitted), (whole, fitted), (whole, None))
    )  # fmt: skip

    assert alone == beside > diluted


def test_an_evaluation_buys_its_threshold_by_the_sensors_that_can_alarm():
    """Strangers between trial and cut would dilute the budget; they are judged all the same."""
    quiet = unlike(600, sizes={"small": (1.0, 0.1), "large": (2e4, 3e3)})
    start = quiet["event_time"].min() + pd.Timedelta(minutes=201)
    strangers = unlike(2, sizes={f"stranger-{number}": (5, 1) for number in range(20)})
    strangers["event_time"] = start + pd.to_timedelta(
        strangers.groupby("pump").cumcount() * 40, unit="min"
    )
    labels = pd.DataFrame(
        {
            "sensor": ["small"],
            "start": [quiet["event_time"].max() - pd.Timedelta(minutes=50)],
            "stop": [quiet["event_time"].max()],
            "kind": ["shift"],
        }
    )
    asked = {"sensor": "pump", "alerts_per_sensor_day": 10.0, "learn": 0.5}
    beside = pd.concat([quiet, strangers], ignore_index=True)

    alone, together = (evaluate(SPEC, frame, labels, **asked) for frame in (quiet, beside))

    assert together.threshold == pytest.approx(alone.threshold, rel=0.1)
    assert np.isnan(together.scores[len(quiet) :]).all()
    assert together.report.events == 1


def test_a_refit_keeps_the_level_of_a_sensor_that_was_silent(plant, fitted):
    span = plant[plant["pump"] != "middle"].reset_index(drop=True)
    nothing = np.zeros(len(span), dtype=bool)
    asked = {"sensor": "pump", "terms": detectors.Terms(1.0, RULE), "left_out": nothing,
             "alarm": nothing}  # fmt: skip

    forgetful = detectors.fit_again(fitted.spec, span, **asked)
    again = detectors.fit_again(fitted.spec, span, before=fitted, **asked)

    assert forgetful.detector.levels.names == ("large", "small")
    assert again.detector.levels.names == ("large", "middle", "small")
    np.testing.assert_array_equal(again.detector.levels.centre[1], fitted.levels.centre[1])
    new = forgetful.detector.levels.centre
    np.testing.assert_array_equal(again.detector.levels.centre[[0, 2]], new)
    np.testing.assert_array_equal(
        again.detector.golden_scores(), forgetful.detector.golden_scores()
    )
    assert np.isfinite(scores_of(again.detector, plant)).sum() == len(plant) - 3 * 7


def test_a_refit_keeps_the_spread_of_a_channel_that_stood_still():
    sizes = {"large": (5e3, 1e3), "other": (5e3, 1e3), "small": (5.0, 1.0)}
    before = detectors.fit(SPEC, unlike(sizes=sizes), sensor="pump")
    span = unlike(sizes=sizes, seed=4)
    span.loc[span["pump"] == "small", "flow"] = 5.0
    nothing = np.zeros(len(span), dtype=bool)
    asked = {"sensor": "pump", "terms": detectors.Terms(1.0, RULE), "left_out": nothing,
             "alarm": nothing}  # fmt: skip

    first = detectors.fit(SPEC, span, sensor="pump")
    again = detectors.fit_again(before.spec, span, before=before, **asked)

    assert first.levels.spread[2] == pytest.approx(1e3, rel=0.2)
    assert first.levels.taught[:, 0].tolist() == [1, 1, 0]
    assert first.card().facts["spread of the others"] == "flow of 1"
    assert again.detector.levels.spread[2] == before.levels.spread[2]
    assert again.detector.levels.taught.all()
    faulty = unlike(sizes=sizes, seed=5)
    faulty.loc[faulty["pump"] == "small", "flow"] += 30.0
    scores = scores_of(again.detector, faulty)
    assert np.nanmedian(scores[(faulty["pump"] == "small").to_numpy()]) > again.threshold


def test_a_replayed_schedule_keeps_levels_as_a_refit_does(plant):
    policy = {"every_readings": 300, "trailing_readings": 450}
    silent = plant[(plant["pump"] != "middle") | (plant.index < 450) | (plant.index > 1000)]

    replayed = detectors.replay_refits(
        {**SPEC, "refit": policy}, silent.reset_index(drop=True), sensor="pump",
        alerts_per_sensor_day=None,
    )  # fmt: skip

    assert len(replayed.refits) > 1
    assert all(len(refit.detector.levels.names) == 3 for refit in replayed.refits)


def test_faults_are_planted_on_the_level_of_the_sensor_that_they_are_planted_into(
    plant, fitted, tmp_path
):
    package = package_of(fitted, tmp_path / "p", threshold=6.0)
    strangers = plant.assign(pump=plant["pump"].replace("large", "a-stranger"))

    smallest = smallest_found({"candidate": package}, plant, sensor="pump")
    beside = smallest_found({"candidate": package}, strangers, sensor="pump")

    assert smallest["candidate"].notna().any()
    assert beside["candidate"].notna().any()
    spike = smallest[smallest["kind"] == "spike"].iloc[0]
    assert spike["candidate"] <= 8.0  # deviations of whichever sensor, small or large


def test_the_command_that_lists_detectors_tells_of_levels_where_there_are_any():
    by_name = {
        name: CliRunner().invoke(cli, ["detectors", name], catch_exceptions=False).output
        for name in ("knn", "limits")
    }

    assert "    level: each sensor against its own usual" in by_name["knn"]
    assert "level:" not in by_name["limits"]


def test_a_package_with_another_threshold_has_the_same_levels(fitted, tmp_path):
    package = package_of(fitted, tmp_path / "p")

    assert replace(package, threshold=9.0).detector.levels is package.detector.levels
