"""Notebook and stream score alike: every detector of the catalogue, and NAB's troubled files."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from workbench import detectors, evaluation
from workbench.detectors import EpisodeRule
from workbench.errors import StreamError
from workbench.stream import compare, parity, parse_stream, run
from workbench.stream.promotion import explained
from workbench.stream.promotion.certificates import TOLERANCE
from workbench.stream.promotion.proof import as_run
from workbench.stream.promotion_log import (
    BEGINNING,
    Promotion,
    add_package,
    log_path,
)

_TABLE = detectors.catalogue()
USABLE = [one for one in _TABLE.index[_TABLE["refused"] == ""] if one != "seasonal"]
NEEDED = {
    "limits": {"low": [-2.0, -2.0], "high": [2.0, 2.0]},
    "ensemble": {"members": [{"name": "robust_z"}, {"name": "pca"}]},
}
READINGS = 400  # of each sensor
CHANNELS = ["flow_l_min", "pressure_bar"]


@pytest.mark.flink
def test_every_detector_of_the_catalogue_scores_alike_in_batch_and_job(
    store, content, readings, tmp_path
):
    """One job: each detector is promoted for a sensor of its own."""
    stream = parse_stream("catalogue", content(rule={"k": 2, "n": 3, "m": 4}))
    frame = _one_sensor_for_each(USABLE, readings)
    packages = {name: _fitted(name, readings, tmp_path / name) for name in USABLE}
    log = log_path("catalogue")
    log.parent.mkdir(parents=True)
    with log.open("w") as file:
        for name, package in packages.items():
            one = Promotion("catalogue", "champion", package.id, BEGINNING, "", sensors=(name,))
            file.write(json.dumps(dataclasses.asdict(one)) + "\n")

    outcome = run(stream, frame)

    batch = _merged({name: (as_run(stream, package), frame) for name, package in packages.items()})
    certificate = compare(outcome, batch, frame)
    assert certificate.reasons() == []
    assert certificate.scored > 300 * len(USABLE)
    assert certificate.alerts > len(USABLE)
    assert certificate.late_stream > 100
    _check_explained({name: as_run(stream, package) for name, package in packages.items()}, frame,
                     batch.episodes, outcome.alerts)  # fmt: skip
    scored = outcome.scores.dropna(subset="score")
    assert {name: set(ids) for name, ids in scored.groupby("sensor")["package"]} == {
        name: {package.id} for name, package in packages.items()
    }


def _check_explained(packages, frame, episodes, alerts):
    """Each closed alert says of why what the batch path says."""
    explained_alerts = 0
    for name, package in packages.items():
        own = episodes[episodes["sensor"] == name]
        parts = detectors.episode_contributions(
            package, frame, own, sensor="pump", lateness_ms=30_000
        )
        apart = explained.differences(own, parts, alerts)
        assert max(apart, default=0.0) <= TOLERANCE, name
        explained_alerts += len(apart)
    assert explained_alerts > len(packages)


def _one_sensor_for_each(names, readings):
    """The readings of one pump again and again, each time of another sensor, side by side."""
    pump = readings[readings["pump"] == "pump-3"].head(READINGS)
    frame = pd.concat([pump.assign(pump=name) for name in names])
    frame = frame.sort_index(kind="stable").reset_index(drop=True)
    return frame.assign(message_id=[f"9:{pump}:-1:0" for pump in frame.index])


def _fitted(name, readings, folder):
    spec = {"name": name, "window": 8, "channels": CHANNELS, "max_span_s": 900}
    detector = detectors.fit(spec | NEEDED.get(name, {}), readings.head(900), sensor="pump")
    scores = detectors.score_readings(detector, readings, sensor="pump")
    detectors.save(
        detector,
        folder,
        threshold=float(np.nanquantile(scores, 0.9)),
        rule=EpisodeRule(),
        training={},
    )
    add_package(folder)
    return detectors.load(folder)


def _merged(parts):
    """What the batch path makes of a frame whose sensors each have a package of their own."""
    made = {
        sensor: detectors.detect(package, frame, sensor="pump", lateness_ms=30_000)
        for sensor, (package, frame) in parts.items()
    }
    some = next(iter(made.values()))
    frame = next(iter(parts.values()))[1]
    scores = np.full(len(frame), np.nan)
    for sensor, detection in made.items():
        rows = (frame["pump"] == sensor).to_numpy()
        scores[rows] = detection.scores[rows]
    episodes = pd.concat(
        [
            detection.episodes[detection.episodes["sensor"] == sensor]
            for sensor, detection in made.items()
        ]
    )
    return dataclasses.replace(some, scores=scores, episodes=episodes.reset_index(drop=True))


@pytest.mark.flink
def test_a_frame_whose_key_names_the_sensor_is_scored_alike(
    store, package_folder, readings, content
):
    topics = {"topic": "kafka://keyed", "alerts": "kafka://alerts"}
    stream = parse_stream("keyed", content(**topics, sensor="__key__"))
    package = add_package(package_folder)
    odd = ["a", "a\0", "a\0b", "../../etc/passwd", "'; DROP TABLE x --\n\u2028", "x" * 50_000]
    names = dict(zip(sorted(set(readings["pump"])), odd, strict=True))
    frame = readings.rename(columns={"pump": "key"})
    frame["key"] = frame["key"].map(names)

    proof = parity(stream, frame, package=package)

    assert proof.passed
    batch = detectors.detect(
        detectors.load(package_folder), readings, sensor="pump", lateness_ms=30_000
    )
    assert proof.alerts == len(batch.episodes)
    assert proof.alerts > 3
    assert proof.unscored["refused"] == 0
    with pytest.raises(StreamError) as error:
        parity(stream, readings, package=package)
    assert str(error.value) == "the readings have no column '__key__', nor 'key'"


@pytest.mark.flink
def test_nab_files_with_times_that_repeat_and_go_back_score_alike(store, content, tmp_path):
    if not evaluation.nab_folder().is_dir():
        pytest.skip("NAB is not here: set WORKBENCH_NAB to its folder")
    frame = _troubled_files()
    stream = parse_stream(
        "nab", content(sensor="file", channels=["value"], window=32, lateness_s=600)
    )
    spec = {"name": "knn", "window": 32, "channels": ["value"], "features": "centred"}
    detector = detectors.fit(spec, frame, sensor="file")
    scores = detectors.score_readings(detector, frame, sensor="file")
    threshold = float(np.nanquantile(scores, 0.95))
    detectors.save(
        detector, tmp_path / "p", threshold=threshold, rule=EpisodeRule(2, 3, 4), training={}
    )

    certificate = parity(stream, frame, package=add_package(tmp_path / "p"))

    assert certificate.reasons() == []
    assert certificate.scored > 5_000
    assert certificate.alerts > 10
    assert certificate.late_stream > 5


def _troubled_files():
    """The files whose times repeat or go back, about the trouble, arriving side by side."""
    parts = []
    for series in evaluation.read_nab(evaluation.nab_folder()):
        times = pd.to_datetime(pd.Series(series.times), utc=True)
        steps = times.diff().dt.total_seconds().to_numpy()[1:]
        odd = np.flatnonzero((steps <= 0) | (steps > 10 * np.median(steps)))
        if (steps <= 0).any():
            near = slice(max(0, odd[0] - 1000), odd[0] + 1000)
            moved = times[near] - times[near].iloc[0] + pd.Timestamp("2026-01-05", tz="UTC")
            parts.append(
                pd.DataFrame(
                    {"file": series.name, "event_time": moved, "value": series.readings[near]}
                ).reset_index(drop=True)
            )
    assert len(parts) >= 5
    frame = pd.concat(parts)
    arrived = frame.groupby("file")["event_time"].cummax()  # each file in its own order
    return frame.assign(arrived=arrived).sort_values("arrived", kind="stable", ignore_index=True)
