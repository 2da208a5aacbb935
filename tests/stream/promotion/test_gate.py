"""What the gate asks of a candidate, up to the point where Flink proves parity."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import alerts, detectors
from workbench.errors import (
    EvaluationError,
    PackageError,
    PromotionRefused,
    RunError,
    StreamError,
    WorkbenchError,
)
from workbench.stream import parse_stream, promote, promotions, verdict
from workbench.stream.definition.requirements import parse_gate
from workbench.stream.promotion import checks, distributions
from workbench.stream.promotion_log import (
    BEGINNING,
    Promotion,
    add_package,
    append,
)
from workbench.times import iso

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
    judgement = verdict(error.value.where)
    assert error.value.message == (
        f"package {package} is refused for stream narrow:\n"
        "  - fits the stream: the stream has no channel flow_l_min; "
        "its window is 4, the stream's 2"
    )
    assert not judgement.passed
    assert [one.verdict for one in judgement.findings] == ["pass", "refuse"]
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

    by_check = dict(line.split(": ", 1) for line in reasons(error))
    stored = json.loads(Path(error.value.where).read_text())
    assert list(by_check) == [
        "judged on unseen data",
        "not worse than the champion",
        "expected alerts",
        "drift since training",
        "cost of scoring",
    ]
    assert by_check["judged on unseen data"].startswith(
        "fitted on 2026-01-05T00:00Z to 2026-01-05T00:10Z, 6"
    )
    assert by_check["not worse than the champion"].startswith("f1 0 (0 of 4 events")
    assert "(wanted: f1 1 (4 of 4 events" in by_check["not worse than the champion"]
    assert by_check["expected alerts"].endswith("(wanted: at most 0.001, in alarm at most 10%)")
    assert by_check["drift since training"].startswith("not known: ")
    assert stored["champion"] == before
    passed = {one["check"]: one["passed"] for one in stored["findings"]}
    planted = passed.pop("planted faults")
    assert passed.pop("order of time")
    assert list(passed.values()) == [True, True, *[False] * 5, None]
    assert planted is None  # it alarms so often that no stretch is quiet
    assert stored["findings"][-1]["found"] == "not tried: refused already"
    assert len(promotions("pumps")) == 1


def test_a_package_whose_threshold_nothing_passes_is_refused_beside_one_that_finds_faults(
    store, package_folder, stream, readings, tmp_path
):
    champion(package_folder)
    deaf = changed(tmp_path / "deaf", package_folder, threshold=1e9)

    with pytest.raises(PromotionRefused) as error:
        promote(deaf, stream=stream, frame=readings, even_if_worse="it is quiet")

    told = [line for line in reasons(error) if line.startswith("planted faults")]
    assert len(told) == 1
    none, beside = told[0].split(" (wanted: finds some, of some size; champion: ")
    assert none == "planted faults: spike none; shift none; stuck none; drift none"
    assert "; shift 2 to 4; " in beside
    lines = verdict(error.value.where).faults.card().text().splitlines()
    assert lines[0] == "smallest planted faults found"
    assert lines[1].split() == ["fault", "channel", "champion", "candidate"]
    assert len(lines) == 2 + 4 * 2
    shift = next(line for line in lines if line.split()[:2] == ["shift", "pressure_bar"])
    assert "(2 dev.)" in shift
    assert shift.endswith("none")
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("by", [["pump"], ["event_time"]], ids=["by sensor", "newest first"])
def test_a_history_out_of_the_order_of_time_is_refused(store, package_folder, stream, readings, by):
    order = readings.sort_values(by, kind="stable", ascending=by == ["pump"])
    frame = order.reset_index(drop=True)

    with pytest.raises(PromotionRefused) as error:
        promote(package_folder, stream=stream, frame=frame)

    (told,) = [line for line in reasons(error) if line.startswith("order of time: ")]
    assert " of 3,000 readings late at lateness_s: 30 (wanted: at most 10% of a partition;" in told
    assert verdict(error.value.where).changes is not None


def test_the_partition_with_the_most_late_readings_decides(stream, readings):
    part = np.where(readings.index < 600, 1, 0)
    frame = readings.assign(message_id=[f"7:{n}:{one}:0" for n, one in enumerate(part)])
    frame = frame.sort_values("event_time", kind="stable")
    frame.iloc[:600] = frame.iloc[:600].iloc[::-1].to_numpy()

    finding = checks.in_order(stream, frame)

    assert finding.passed is False
    assert finding.found.endswith(" of one of 2 partitions")
    assert checks.in_order(stream, readings).passed


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
    events = checks.truth_of(stream)
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


def test_the_gate_judges_by_what_people_answered_up_to_an_instant(
    store, package_folder, content, readings, tmp_path, monkeypatch
):
    """Of the bursts of pump-3 one was a fault, one was meant to be; another sensor's was false."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    champion(changed(tmp_path / "noisy", package_folder, threshold=1.5))
    stream = parse_stream("pumps", content(gate={"labels": "feedback", "us_per_reading": 1e-6}))
    before = checks.judge(stream, readings, promotions("pumps"), checks.truth_of(stream))
    told = before.episodes[before.episodes["sensor"] == "pump-3"].reset_index(drop=True)
    other = before.episodes[before.episodes["sensor"] != "pump-3"].iloc[0]
    said = (("true", told.iloc[-1]), ("known", told.iloc[1]), ("false", other))
    for number, (answer, row) in enumerate(said):
        alerts.answer(
            stream, answer, alert=f"{number:032x}", sensor=row["sensor"],
            start=iso(int(row["start"].timestamp() * 1000)),
            stop=iso(int(row["stop"].timestamp() * 1000)),
        )  # fmt: skip
    quiet = changed(tmp_path / "quiet", package_folder, threshold=30.0)

    with pytest.raises(PromotionRefused) as error:
        promote(quiet, stream=stream, frame=readings)

    judgement = verdict(error.value.where)
    assert judgement.labels["answers"] == 3
    assert judgement.card().facts["answers"] == f"3 up to {judgement.labels['until']}"
    assert "not worse than the champion: f1 0 (0 of 1 events, 0 false alerts)" in str(error.value)
    answers = {stretch.answer for stretch in judgement.changes.stretches}
    assert answers == {"true", "known", "false", ""}
    judged = checks.judge(stream, readings, promotions("pumps"), checks.truth_of(stream))
    assert (judged.figures["events"], judged.figures["found"]) == (1, 1)
    assert judged.figures["alerts"] < before.figures["alerts"]  # what is known is not judged
    nothing = checks.truth_of(stream, until="2026-01-01T00:00:00Z")
    unknown = checks.judge(stream, readings, promotions("pumps"), nothing)
    assert unknown == before
    assert (judged.judgeable, unknown.judgeable) == (True, False)


def quiet_beside(candidate, stream, readings, tmp_path):
    """What the gate says of a detector that never alerts, beside one that does."""
    champion(changed(tmp_path / "noisy", candidate, threshold=1.5))
    with pytest.raises(PromotionRefused) as error:
        promote(
            changed(tmp_path / "deaf", candidate, threshold=1e3),
            stream=stream, frame=readings,
        )  # fmt: skip
    return next(one for one in verdict(error.value.where).findings if one.check.startswith("not"))


UNKNOWN = "not known: in what is judged no fault begins, and no alert was answered `false`"


@pytest.mark.parametrize("said", ["known", "withdrawn", "false", "true", "false of another week"])
def test_an_answer_that_says_nothing_of_right_and_wrong_opens_no_gate(
    store, package_folder, content, readings, tmp_path, monkeypatch, said
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    stream = parse_stream("pumps", content(gate={"labels": "feedback", "us_per_reading": 1e-6}))
    word, _, elsewhere = said.partition(" ")
    start = readings["event_time"].iloc[1500] - pd.Timedelta(days=7 if elsewhere else 0)
    alerts.answer(
        stream, word, alert="a" * 32, sensor="pump-3", start=start.isoformat(),
        stop=(start + pd.Timedelta(minutes=5)).isoformat(),
    )  # fmt: skip

    finding = quiet_beside(package_folder, stream, readings, tmp_path)

    judged = {"false": "f1 0 (0 of 0 events, 0 false alerts)",
              "true": "f1 0 (0 of 1 events, 0 false alerts)"}  # fmt: skip
    assert finding.found == judged.get(said, UNKNOWN)
    assert finding.passed is False or said in judged


def test_labels_without_an_event_in_what_is_judged_do_not_choose_the_quieter_one(
    store, package_folder, content, readings, tmp_path
):
    path = tmp_path / "labels.csv"
    path.write_text("sensor,start,stop\npump-3,2025-01-12T06:00:00Z,2025-01-12T07:00:00Z\n")
    gate = {"labels": str(path), "us_per_reading": 1e-6}

    finding = quiet_beside(
        package_folder, parse_stream("pumps", content(gate=gate)), readings, tmp_path
    )

    assert (finding.passed, finding.found) == (False, UNKNOWN)


@pytest.mark.parametrize(
    "labels", ["", "labels.csv", "feedback:pumps@2026-01-05T00:00:00Z"], ids=["none", "file", "at"]
)
def test_an_instant_for_answers_is_refused_where_no_answers_are_asked_for(
    store, package_folder, content, labels
):
    stream = parse_stream("pumps", content(gate={"labels": labels}))

    with pytest.raises(EvaluationError) as error:
        promote(package_folder, stream=stream, answers_until="2026-01-06T00:00:00Z")

    assert str(error.value) == (
        f"answers up to 2026-01-06T00:00:00.000Z cannot count, the labels are {labels!r}\n"
        "  of answers they are `feedback`, or `feedback:STREAM` without an instant"
    )


@pytest.mark.parametrize(
    ("champions", "candidates", "check"),
    [
        (1.0, 2.0, "cost of scoring"),  # over the budget, the champion by more
        (2.0, 1.0, "expected alerts"),
        (9.0, 2.0, "expected alerts"),  # that one keeps it
        (None, 2.0, "expected alerts"),
    ],
)
def test_one_over_the_budget_passes_where_the_champion_is_louder(
    store, package_folder, content, readings, labels, tmp_path, champions, candidates, check
):
    gate = {"labels": labels, "metric": "recall", "alerts_per_sensor_day": 0.001}
    stream = parse_stream("pumps", content(gate=gate | {"us_per_reading": 1e-6}))
    if champions is not None:
        champion(changed(tmp_path / "now", package_folder, threshold=champions))
    candidate = changed(tmp_path / "next", package_folder, threshold=candidates)

    with pytest.raises(PromotionRefused) as error:
        promote(candidate, stream=stream, frame=readings)

    assert check in {reason.partition(":")[0] for reason in reasons(error)}
    budget = next(f for f in verdict(error.value.where).findings if f.check == "expected alerts")
    assert budget.passed == (check == "cost of scoring")
    assert (", or less than the champion's " in budget.wanted) == (champions in {1.0, 2.0})


@pytest.mark.parametrize("metric", ["f1", "vus_pr"])
def test_a_gate_whose_days_are_all_known_refuses_and_says_so(
    store, package_folder, content, readings, tmp_path, monkeypatch, metric
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    gate = {"labels": "feedback", "metric": metric, "alerts_per_sensor_day": 5}
    stream = parse_stream("pumps", content(gate=gate))
    first, last = readings["event_time"].min(), readings["event_time"].max()
    for number in range(1, 7):
        alerts.answer(
            stream, "known", sensor=f"pump-{number}", start=first.isoformat(),
            stop=(last + pd.Timedelta(minutes=1)).isoformat(), why="overhaul",
        )  # fmt: skip

    with pytest.raises(PromotionRefused) as error:
        promote(package_folder, stream=stream, frame=readings)

    assert reasons(error) == [
        "expected alerts: not judged: all of it is known (wanted: at most 5, in alarm at most 10%)"
    ]
    beside = next(one for one in verdict(error.value.where).findings if "worse" in one.check)
    assert (beside.passed, beside.found) == (None, UNKNOWN)


def test_what_is_known_is_given_once(store, package_folder, stream):
    truth = checks.truth_of(stream)

    with pytest.raises(StreamError) as error:
        promote(package_folder, stream=stream, truth=truth, answers_until="2026-01-06T00:00:00Z")

    assert str(error.value) == (
        "answers_until and truth are both given: what is known is known already"
    )


def test_without_labels_nobody_knows_who_is_better(store, stream, package_folder, readings):
    mine = Promotion("pumps", "champion", add_package(package_folder), BEGINNING, "")
    one = checks.judge(stream, readings, [mine], checks.truth_of(stream))

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
    events = checks.truth_of(stream)

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

    judged = checks.judge(stream, readings, log, checks.truth_of(stream))

    assert judged.figures["alerts"] == 0


def test_drift_is_measured_against_the_archives_training_span(sample_package, plant):
    fresh = checks.recent(plant, sample_package)
    shifted = fresh.assign(flow_l_min=fresh["flow_l_min"] * 2)

    usual = distributions.drift(plant, sample_package, fresh)
    moved = distributions.drift(plant, sample_package, shifted)

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
        promote("abcd", stream=stream, runs=tmp_path / "runs")

    assert str(error.value) == (
        f"no run is called 'abcd'\n  in {tmp_path / 'runs'}\n"
        "  there is no run yet: `workbench train` and `workbench sweep` make them"
    )


def test_a_time_that_is_past_or_none_is_refused_before_anything_runs(
    store, package_folder, stream, tmp_path
):
    champion(package_folder)
    other = changed(tmp_path / "other", package_folder, threshold=4.0)

    with pytest.raises(WorkbenchError) as error:
        promote(other, stream=stream, effective="soon")
    assert str(error.value) == (
        "'soon' is not a time\n  expected ISO 8601, as 2026-01-05T00:00:00Z"
    )

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


def test_readings_that_name_no_sensor_are_refused(store, package_folder, stream, readings):
    with pytest.raises(StreamError) as error:
        promote(package_folder, stream=stream, frame=readings.assign(pump=None))

    assert str(error.value) == (
        f"none of {len(readings):,} readings to judge it on names a pump\n  in {stream.topic}\n"
        "  choose a longer span, or see `sensor` in the stream file"
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

    assert distributions.moved_by(same, same) == 0
    assert distributions.moved_by(same, same + 10) == 1
    assert distributions.moved_by(same, pd.Series([np.nan])) == 1
