"""What the gate asks of a candidate, up to the point where Flink proves parity."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import PackageError, PromotionRefused, RunError, StreamError
from workbench.stream import checks, parse_stream, promote, promotions, verdict
from workbench.stream.demands import parse_gate
from workbench.stream.promotions import BEGINNING, Promotion, add_package, append, iso

SEEN = {"start": "2026-01-05T00:00:00Z", "stop": "2026-01-05T00:10:00Z"}


@pytest.fixture
def labels(tmp_path, readings):
    """The bursts of pump-3 as labelled events."""
    bursts = readings[(readings.index % 600 < 48) & (readings["pump"] == "pump-3")]
    groups = bursts.groupby(bursts.index // 600)["event_time"]
    table = pd.DataFrame({"sensor": "pump-3", "start": groups.min(), "stop": groups.max()})
    table["start"] -= pd.Timedelta(minutes=3)
    table["stop"] += pd.Timedelta(minutes=3)
    for name in ("start", "stop"):
        table[name] = table[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table.to_csv(tmp_path / "labels.csv", index=False)
    return str(tmp_path / "labels.csv")


def changed(folder, package_folder, *, threshold=3.0, rule=(2, 3, 4), **training):
    """Write the package again, with another threshold, rule or training span."""
    package = detectors.load(package_folder)
    detectors.save(
        package.detector,
        folder,
        threshold=threshold,
        rule=detectors.EpisodeRule(*rule),
        training={**package.training, **training},
    )
    return folder


def champion(folder):
    """Make a package the champion from the first reading, without a gate."""
    package = add_package(folder)
    append(Promotion("pumps", "champion", package, BEGINNING, "2026-01-01T00:00:00Z"))
    return package


def reasons(error):
    return [line.removeprefix("  - ") for line in str(error.value).splitlines()[1:-1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrc": "f1"}, "a gate has no 'metrc'\n  did you mean 'metric'?"),
        ({"metric": "recal"}, "gate metric is 'recal'\n  did you mean 'recall'?"),
        ({"days": 0}, "gate days is 0, expected a number above 0"),
        ({"drift": True}, "gate drift is True, expected a number above 0"),
        ({"days": float("nan")}, "gate days is nan, expected a number above 0"),
        ({"labels": 3}, "gate labels is 3, expected a text"),
    ],
)
def test_a_gate_that_means_nothing_is_refused(given, message):
    with pytest.raises(StreamError) as error:
        parse_gate(given)

    assert str(error.value) == message


def test_a_package_that_does_not_fit_is_refused_with_every_reason(store, package_folder, content):
    narrow = parse_stream("narrow", content(channels=["pressure_bar"], window=2))

    with pytest.raises(PromotionRefused) as error:
        promote(package_folder, stream=narrow)

    package = detectors.load(package_folder).id[:16]
    found = verdict(error.value.where)
    assert error.value.message == (
        f"package {package} is refused for stream narrow:\n"
        "  - fits the stream: the stream has no channel flow_l_min; "
        "its window is 4, the stream's 2"
    )
    assert not found.passed
    assert [one.verdict for one in found.findings] == ["pass", "refuse"]
    assert promotions("narrow") == []


def test_every_reason_is_told_at_once_and_kept(
    store, package_folder, content, readings, labels, tmp_path
):
    before = champion(package_folder)
    gate = {
        "labels": labels,
        "alerts_per_sensor_day": 0.001,
        "drift": 0.1,
        "us_per_reading": 0.0001,
    }
    stream = parse_stream("pumps", content(gate=gate))
    worse = changed(tmp_path / "worse", package_folder, threshold=1.0, **SEEN)

    with pytest.raises(PromotionRefused) as error:
        promote(worse, stream=stream, frame=readings)

    told = dict(line.split(": ", 1) for line in reasons(error))
    stored = json.loads(Path(error.value.where).read_text())
    assert list(told) == [
        "judged on unseen data",
        "not worse than the champion",
        "expected alerts",
        "drift since training",
        "cost of scoring",
    ]
    assert told["judged on unseen data"].startswith(
        "fitted on 2026-01-05T00:00Z to 2026-01-05T00:10Z, 6"
    )
    assert told["not worse than the champion"].startswith("f1 0 (0 of 4 events")
    assert "(wanted: f1 0.889 (4 of 4 events" in told["not worse than the champion"]
    assert told["expected alerts"].endswith("(wanted: at most 0.001)")
    assert told["drift since training"].startswith("not known: ")
    assert stored["champion"] == before
    assert [one["passed"] for one in stored["findings"]] == [True, True, *[False] * 5, None]
    assert stored["findings"][-1]["found"] == "not tried: refused already"
    assert len(promotions("pumps")) == 1


def test_a_package_that_does_not_say_what_it_was_fitted_on_is_refused(
    store, package_folder, stream, readings, tmp_path
):
    silent = changed(tmp_path / "silent", package_folder, stop=None)

    with pytest.raises(PromotionRefused) as error:
        promote(silent, stream=stream, frame=readings)

    assert reasons(error) == [
        "judged on unseen data: the package does not say what it was fitted on "
        "(wanted: fitted on none of it)"
    ]


def test_a_span_without_a_start_begins_with_the_first_reading(package_folder, readings, tmp_path):
    open_ = changed(tmp_path / "open", package_folder, start=None)

    found = checks.unseen(detectors.load(open_), readings)

    assert (found.passed, found.found) == (
        True,
        "fitted on the first reading to 2026-01-04T23:00Z",
    )


def test_a_package_that_cannot_be_loaded_is_refused_and_that_is_kept(
    store, package_folder, stream, tmp_path
):
    damaged = changed(tmp_path / "damaged", package_folder)
    arrays = bytearray((damaged / "arrays.npz").read_bytes())
    arrays[-1] ^= 1
    (damaged / "arrays.npz").write_bytes(arrays)

    with pytest.raises(PromotionRefused) as error:
        promote(damaged, stream=stream)

    assert reasons(error) == [
        "package: arrays.npz is not the file that detector.json was written with "
        "(wanted: loads, and scores as it did)"
    ]
    assert verdict(error.value.where).run == str(damaged)


def test_another_rule_than_the_champions_is_refused(store, package_folder, stream, tmp_path):
    champion(package_folder)
    other = changed(tmp_path / "other", package_folder, rule=(1, 1, 1))

    with pytest.raises(PromotionRefused) as error:
        promote(other, stream=stream)

    assert reasons(error) == [
        "fits the stream: its rule is k=1, n=1, m=1, the champion has k=2, n=3, m=4: "
        "train with that one, or give the stream a rule"
    ]


def test_who_finds_more_beats_who_finds_less_and_fewer_false_alerts_decide_a_tie(
    store, package_folder, content, readings, labels, tmp_path
):
    stream = parse_stream("pumps", content(gate={"labels": labels}))
    events = checks.labels_of(stream)
    judged = {}
    for threshold in (1.0, 3.0, 30.0):
        folder = changed(tmp_path / str(threshold), package_folder, threshold=threshold)
        mine = Promotion("pumps", "champion", add_package(folder), BEGINNING, "")
        judged[threshold] = checks.judge(stream, readings, [mine], events)

    noisy, good, silent = judged.values()
    assert good.figures["found"] == good.figures["events"] == 4
    assert silent.figures["alerts"] == 0
    assert noisy.figures["false_alerts"] > good.figures["false_alerts"]

    def ask(*both, role="champion", why=""):
        return checks.beats(stream, role, both, why)

    assert ask(good, silent).passed
    assert ask(good, good).passed
    assert ask(silent, good).passed is False
    assert ask(noisy, good).passed is False
    assert ask(silent, good, role="challenger").passed is None
    excused = ask(silent, good, why="a trial")
    assert excused.passed is None
    assert excused.found.endswith("promoted all the same: a trial")
    assert ask(silent).wanted == "there is no champion yet"


def test_without_labels_nobody_knows_who_is_better(store, stream, package_folder, readings):
    mine = Promotion("pumps", "champion", add_package(package_folder), BEGINNING, "")
    one = checks.judge(stream, readings, [mine], checks.labels_of(stream))

    found = checks.beats(stream, "champion", [one, one], "")

    assert (found.passed, found.found, found.wanted) == (
        False,
        "not known without labels",
        "f1, by labels in the stream file's gate",
    )


def test_each_sensor_is_judged_by_the_champion_that_holds_for_it(
    store, stream, package_folder, readings, tmp_path
):
    all_ = add_package(package_folder)
    never = add_package(changed(tmp_path / "never", package_folder, threshold=1e9))
    log = [
        Promotion("pumps", "champion", all_, BEGINNING, ""),
        Promotion("pumps", "champion", never, 5, "", sensors=("pump-3",)),
    ]
    events = checks.labels_of(stream)

    both = checks.judge(stream, readings, log, events)

    others = readings[readings["pump"] != "pump-3"].reset_index(drop=True)
    whole = checks.judge(stream, readings, log[:1], events)
    assert both.figures["alerts"] < whole.figures["alerts"]
    assert not checks.covered(stream, others, log[1:]).any()
    assert checks.covered(stream, readings, log[1:]).sum() == len(readings) - len(others)


def test_a_threshold_given_with_the_promotion_is_the_one_that_is_judged(
    store, stream, package_folder, readings
):
    package = add_package(package_folder)
    log = [Promotion("pumps", "champion", package, BEGINNING, "", threshold=1e9)]

    judged = checks.judge(stream, readings, log, checks.labels_of(stream))

    assert judged.figures["alerts"] == 0


def test_drift_is_measured_against_the_archives_training_span(sample_package, plant):
    fresh = checks.recent(plant, sample_package)
    shifted = fresh.assign(flow_l_min=fresh["flow_l_min"] * 2)

    usual = checks.drift(plant, sample_package, fresh)
    moved = checks.drift(plant, sample_package, shifted)

    assert usual.passed
    assert usual.wanted == "at most 0.40"
    assert moved.passed is False
    assert moved.found.endswith(" in flow_l_min")


def test_the_recent_span_is_cut_to_what_the_package_was_not_fitted_on(sample_package, plant):
    late = {"start": "2026-01-10T00:00:00Z", "stop": "2026-01-17T00:00:00Z"}
    half = detectors.Package(**{**vars(sample_package), "training": late})
    frame = checks.recent(plant, half)
    assert frame["event_time"].min() >= pd.Timestamp(late["stop"])

    whole = {**late, "stop": "2026-02-01T00:00:00Z"}
    with pytest.raises(StreamError) as error:
        checks.recent(plant, detectors.Package(**{**vars(sample_package), "training": whole}))
    assert error.value.message == (
        "the package was fitted on data up to 2026-02-01T00:00:00Z, the archive ends at "
        "2026-01-18T23:59:05.000Z: nothing is left to judge it on"
    )


@pytest.fixture
def plant():
    from workbench.stream import load_stream

    return load_stream("plant")


@pytest.fixture
def sample_package(tmp_path):
    import workbench

    channels = ["flow_l_min", "vibration_mm_s"]
    frame = workbench.replay("pumps", "2026-01-09T00:00:00Z", "2026-01-10T00:00:00Z")
    spec = {"name": "robust_z", "window": 1, "channels": channels}
    detectors.save(
        detectors.fit(spec, frame, sensor="pump"),
        tmp_path / "sample",
        threshold=4.0,
        rule=detectors.EpisodeRule(),
        training=frame.attrs["manifest"],
    )
    return detectors.load(tmp_path / "sample")


def test_an_unknown_role_is_refused(store, package_folder, stream):
    with pytest.raises(StreamError) as error:
        promote(package_folder, stream=stream, role="champoin")

    assert str(error.value) == "there is no role 'champoin'\n  did you mean 'champion'?"


def test_a_run_without_a_package_is_refused(store, stream, tmp_path):
    with pytest.raises(PackageError) as error:
        promote(tmp_path, stream=stream)

    assert str(error.value) == f"the run has no detector package\n  in {tmp_path}"


def test_a_run_that_is_not_there_is_refused(store, stream, tmp_path):
    with pytest.raises(RunError) as error:
        promote("abc", stream=stream, runs=tmp_path / "runs")

    assert str(error.value) == (
        f"no run is called 'abc'\n  in {tmp_path / 'runs'}\n"
        "  there is no run yet: `workbench train` and `workbench sweep` make them"
    )


def test_a_time_that_is_past_or_none_is_refused_before_anything_runs(
    store, package_folder, stream, tmp_path
):
    champion(package_folder)
    other = changed(tmp_path / "other", package_folder, threshold=4.0)

    with pytest.raises(StreamError) as error:
        promote(other, stream=stream, effective="soon")
    assert str(error.value) == "'soon' is not a time\n  2026-01-12T00:00:00Z"

    with pytest.raises(StreamError) as error:
        promote(other, stream=stream, effective="2026-01-12T00:00:00")
    assert error.value.message.startswith(
        f"the promotion would hold from {iso(1_768_176_000_000)}, now is 2"
    )
    assert not list(store.glob("streams/pumps/gate-*"))


def test_a_sensor_that_has_no_readings_is_answered_with_the_nearest(
    store, package_folder, stream, readings
):
    with pytest.raises(StreamError) as error:
        promote(package_folder, stream=stream, frame=readings, sensors=("pump3",))

    assert str(error.value) == (
        "no reading is of sensor 'pump3'\n  did you mean 'pump-3' or 'pump-6' or 'pump-5'?"
    )


def test_a_verdict_that_is_not_one_is_refused(store, tmp_path):
    (tmp_path / "gate.json").write_text("{}")

    with pytest.raises(StreamError) as error:
        verdict(tmp_path / "gate.json")

    assert str(error.value) == (
        f"there is no verdict of the gate: 'passed'\n  in {tmp_path / 'gate.json'}"
    )


def test_distributions_that_share_nothing_have_moved_by_one():
    same = pd.Series(np.arange(5.0))

    assert checks.moved_by(same, same) == 0
    assert checks.moved_by(same, same + 10) == 1
    assert checks.moved_by(same, pd.Series([np.nan])) == 1
