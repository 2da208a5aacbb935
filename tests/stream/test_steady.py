"""Pumps that stop and start, judged in steady windows alone, by gate, job and function alike."""

import json

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.stream import parse_stream, promote
from workbench.stream.promotion import unscored
from workbench.stream.promotion.function_proof import prove_function
from workbench.stream.promotion.proof import as_run, batch_path
from workbench.stream.promotion_log import add_package

CHANNELS = ["flow_l_min", "pressure_bar"]
STEADY = {"channel": "pressure_bar", "splits": [10.0]}
SPEC = {"name": "knn", "window": 6, "channels": CHANNELS, "max_span_s": 1200, "steady": STEADY}
RULE = detectors.EpisodeRule(2, 3, 4)


def by_turns(readings):
    """The same readings, of pumps that run for forty minutes and stand for forty."""
    minutes = detectors.epoch_ms(readings["event_time"]) // 60_000
    on = (minutes // 40) % 2
    return readings.assign(
        flow_l_min=readings["flow_l_min"] + 30 * on, pressure_bar=readings["pressure_bar"] + 20 * on
    )


@pytest.fixture(scope="module")
def plant(readings):
    return by_turns(readings)


@pytest.fixture(scope="module")
def folder(readings, tmp_path_factory):
    """A package that was fitted on the day before, without the bursts."""
    usual = ~((readings.index % 600 < 48) & readings["pump"].eq("pump-3"))
    earlier = readings[usual].assign(event_time=readings["event_time"] - pd.Timedelta(days=2))
    detector = detectors.fit(SPEC, by_turns(earlier), sensor="pump")
    training = {"start": "2026-01-02T23:00:00Z", "stop": "2026-01-04T22:00:00Z"}
    folder = tmp_path_factory.mktemp("steady") / "detector"
    detectors.save(detector, folder, threshold=1.0, rule=RULE, training=training)
    return folder


def test_a_window_across_a_change_is_counted_by_itself(store, folder, stream, plant):
    package = detectors.load(folder)
    detection = batch_path(stream, package, plant)

    why = unscored.reasons(
        package.detector, plant, detection, sensor="pump", time="event_time", max_span_s=1200
    )

    assert why["unsteady"] > 200
    assert why["undefined"] == 0
    assert sum(why.values()) == np.isnan(detection.scores).sum()
    alike = detectors.fit({**SPEC, "steady": None}, plant, sensor="pump")
    every = detectors.score_readings(
        alike, plant, sensor="pump", lateness_ms=stream.lateness_ms, ahead_ms=stream.ahead_ms
    )
    assert np.isfinite(every).sum() - np.isfinite(detection.scores).sum() == why["unsteady"]


@pytest.mark.slow
def test_the_function_scores_steady_windows_alone(store, folder, stream, plant, messages_of):
    add_package(folder)
    frame = plant.assign(message_id=[f"7:{n}:0:-1" for n in range(len(plant))])
    package = as_run(stream, detectors.load(folder))

    proof = prove_function(stream, package, frame, messages_of(frame), floor=0.8)

    assert proof.reasons() == []
    assert proof.scored > 1_500
    assert proof.alerts > 3
    assert proof.unscored["unsteady"] > 200


@pytest.mark.flink
def test_the_job_scores_steady_windows_alone_and_the_package_is_promoted(
    store, folder, content, plant
):
    stream = parse_stream("pumps", content(gate={"scored_share": 0.8}))

    promoted = promote(folder, stream=stream, frame=plant)

    certificate = json.loads((store / promoted.certificate).read_text())
    assert certificate["passed"]
    assert certificate["scored"] > 1_500
    assert certificate["alerts"] > 3
    assert certificate["unscored"]["unsteady"] > 200
    without = sum(certificate["unscored"].values())
    assert certificate["scored"] + without == certificate["readings"]
    assert certificate["largest_difference"] <= 1e-9
    assert certificate["differing_alerts"] == []
