"""Sensors judged against their own level: gate, job, function and refit say the same."""

import json
import time

import numpy as np
import pandas as pd
import pulsar
import pytest

from workbench import detectors
from workbench.broker import connect
from workbench.errors import PromotionRefused
from workbench.evaluation import GroundTruth
from workbench.services import ingest_frame
from workbench.stream import COUNTERS, parse_stream, promote, run, start, verdict
from workbench.stream.promotion import unscored
from workbench.stream.promotion.function_proof import prove_function
from workbench.stream.promotion.proof import as_run, batch_path, compare
from workbench.stream.promotion.refits.refitting import fitted_again
from workbench.stream.promotion_log import add_package
from workbench.stream.promotion_log import store as place_of_store
from workbench.stream.span.proving import parity

CHANNELS = ["flow_l_min", "pressure_bar"]
SPEC = {"name": "knn", "window": 4, "channels": CHANNELS, "max_span_s": 600, "level": "sensor"}
RULE = detectors.EpisodeRule(2, 3, 4)
STRANGER = "pump-6"  # has no level
WORN = "pump-3"  # has the bursts


def unlike(readings):
    """The same readings, of pumps of unlike size."""
    number = readings["pump"].str[-1].astype(float)
    scaled = {name: (readings[name] + 30) * 10**number for name in CHANNELS}
    return readings.assign(**scaled)


@pytest.fixture(scope="module")
def plant(readings):
    return unlike(readings)


@pytest.fixture(scope="module")
def folder(readings, tmp_path_factory):
    """A package that was fitted on the day before, when there was no stranger."""
    earlier = unlike(readings)
    usual = earlier["pump"].ne(STRANGER) & ~((readings.index % 600 < 48) & earlier["pump"].eq(WORN))
    earlier = earlier[usual].assign(event_time=earlier["event_time"] - pd.Timedelta(days=2))
    detector = detectors.fit(SPEC, earlier, sensor="pump")
    training = {"start": "2026-01-02T23:00:00Z", "stop": "2026-01-04T22:00:00Z"}
    folder = tmp_path_factory.mktemp("leveled") / "detector"
    detectors.save(detector, folder, threshold=3.0, rule=RULE, training=training)
    return folder


@pytest.fixture
def package(store, folder):
    add_package(folder)
    return detectors.load(folder)


def findings(error):
    return {one.check: one for one in verdict(error.value.where).findings}


def test_the_gate_plants_faults_on_the_sensors_levels_and_tells_who_has_none(
    store, folder, content, plant
):
    gate = {"us_per_reading": 1e-9, "alerts_per_sensor_day": 1000}

    with pytest.raises(PromotionRefused) as caught:
        promote(folder, stream=parse_stream("pumps", content(gate=gate)), frame=plant)

    by_check = findings(caught)
    assert [name for name, one in by_check.items() if one.passed is False] == ["cost of scoring"]
    assert by_check["planted faults"].passed
    assert "shift none" not in by_check["planted faults"].found
    assert by_check["expected alerts"].found.endswith(", 1 sensors without a level left out")


def test_a_sensor_without_a_level_is_in_no_alert_budget(store, folder, content, plant):
    asked = {"stream": parse_stream("pumps", content(gate={"us_per_reading": 1e-9}))}
    texts = []
    for frame in (plant, plant[plant["pump"] != STRANGER].reset_index(drop=True)):
        with pytest.raises(PromotionRefused) as caught:
            promote(folder, frame=frame, **asked)
        texts.append(findings(caught)["expected alerts"].found)

    assert texts[0].removesuffix(", 1 sensors without a level left out") == texts[1]


def test_where_no_sensor_has_a_level_the_gate_says_so(store, folder, content, plant):
    stream = parse_stream("pumps", content(gate={"us_per_reading": 1e-9}))
    strangers = plant.assign(pump=plant["pump"] + "-new")

    with pytest.raises(PromotionRefused) as caught:
        promote(folder, stream=stream, frame=strangers)

    found = findings(caught)["expected alerts"]
    assert not found.passed
    assert found.found == "not judged: what is not known is of sensors without a level"


def test_why_a_sensor_without_a_level_has_no_score_is_counted_by_itself(package, stream, plant):
    detection = batch_path(stream, package, plant)

    why = unscored.reasons(
        package.detector, plant, detection, sensor="pump", time="event_time", max_span_s=600
    )

    left_out = detection.late | detection.ahead
    stranger = (plant["pump"] == STRANGER).to_numpy()
    assert why["unleveled"] == (stranger & ~left_out).sum() > 400
    assert why["undefined"] == 0
    assert sum(why.values()) == np.isnan(detection.scores).sum()


def test_a_refit_of_the_champion_keeps_the_level_of_a_silent_sensor(package, stream, plant):
    nothing = GroundTruth(faults=_none(), left_out=_none(), usual=_none())
    silent = plant[~plant["pump"].isin(["pump-5", STRANGER])].reset_index(drop=True)

    again = fitted_again(stream, package, silent, detectors.Terms(1000.0, RULE), nothing)

    assert again.detector.levels.names == package.detector.levels.names
    row = again.detector.levels.names.index("pump-5")
    np.testing.assert_array_equal(
        again.detector.levels.centre[row], package.detector.levels.centre[row]
    )


def _none():
    table = pd.DataFrame({"sensor": [], "start": [], "stop": [], "kind": []})
    return table.astype({"start": "datetime64[ms, UTC]", "stop": "datetime64[ms, UTC]"})


@pytest.mark.slow
def test_the_function_scores_on_the_sensors_levels(package, stream, plant, messages_of):
    frame = plant.assign(message_id=[f"7:{n}:0:-1" for n in range(len(plant))])

    proof = prove_function(stream, as_run(stream, package), frame, messages_of(frame), floor=0.5)

    assert proof.reasons() == []
    assert proof.scored > 2_000
    assert proof.alerts > 3
    assert proof.explained > 3
    assert proof.unscored["unleveled"] > 400


@pytest.mark.flink
def test_the_job_scores_on_the_sensors_levels_and_the_package_is_promoted(
    store, folder, content, plant
):
    stream = parse_stream("pumps", content(gate={"scored_share": 0.5}))

    promoted = promote(folder, stream=stream, frame=plant)

    certificate = json.loads((place_of_store() / promoted.certificate).read_text())
    assert certificate["scored"] > 2_000
    assert certificate["alerts"] > 3
    assert certificate["explained"] > 3
    assert certificate["unscored"]["unleveled"] > 400
    assert certificate["largest_difference"] <= 1e-9
    assert certificate["differing_alerts"] == []


@pytest.mark.flink
def test_sensors_that_are_numbers_have_their_levels_in_the_job(store, content, plant, tmp_path):
    numbers = plant.assign(pump=plant["pump"].str[-1].astype(int))
    detector = detectors.fit(SPEC, numbers.head(2_000), sensor="pump")
    detectors.save(detector, tmp_path / "p", threshold=3.0, rule=RULE, training={})
    package = add_package(tmp_path / "p")
    stream = parse_stream("numbers", content())

    certificate = parity(stream, numbers, package=package, scored_share=0.5)

    assert detector.levels.names == ("1", "2", "3", "4", "5", "6")
    assert certificate.reasons() == []
    assert certificate.scored > 2_000


@pytest.mark.flink
def test_a_bounded_job_in_batch_says_what_the_batch_path_says(package, stream, plant):
    frame = plant.sort_values("event_time", kind="stable", ignore_index=True)
    frame = frame.drop_duplicates(["pump", "event_time"]).reset_index(drop=True)

    outcome = run(stream, frame, batch=True, package=package.id)

    batch = batch_path(stream, as_run(stream, package), frame)
    certificate = compare(outcome, batch, frame)
    assert certificate.reasons() == []
    assert certificate.scored > 2_000


@pytest.mark.flink
@pytest.mark.pulsar
def test_a_running_job_counts_the_readings_of_sensors_without_a_level(
    services, package, content, plant, short_beats
):
    topics = {
        name: f"persistent://public/default/levels-{name}"
        for name in ("topic", "alerts", "scores", "heartbeat")
    }
    stream = parse_stream("levels", content(**topics))
    values = list(stream.channels)
    ingest_frame(plant, stream.topic, sensor="pump", time="event_time", values=values)
    batch = batch_path(stream, package, plant)
    able = np.isfinite(batch.scores)
    stranger = (plant["pump"] == STRANGER).to_numpy() & ~batch.late
    least = {"scored": able.sum() - 20, "unleveled": stranger.sum() - 5}

    job = start(stream, package=package.id, position="earliest", restarts=0)
    try:
        total = _beats(stream.heartbeat, job, least)
    finally:
        job.stop()

    assert stranger.sum() - 5 <= total["unleveled"] <= stranger.sum()
    assert able.sum() - 20 <= total["scored"] <= able.sum()  # the newest still wait
    assert total["warming"] <= (~able & ~stranger & ~batch.late).sum()


def _beats(topic, job, least):
    """Return the sums of a heartbeat's counters, once these are so high and it counts no more."""
    total, until = dict.fromkeys(COUNTERS, 0), time.monotonic() + 200
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while time.monotonic() < until and job.state() in {"CREATED", "RUNNING"}:
            try:
                beat = json.loads(reader.read_next(20_000).data())
            except pulsar.Timeout:
                continue
            total = {name: total[name] + beat[name] for name in COUNTERS}
            is_there = all(total[name] >= count for name, count in least.items())
            if is_there and not any(beat[name] for name in COUNTERS):
                break
    return total
