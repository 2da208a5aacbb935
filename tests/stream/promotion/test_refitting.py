"""The adaptation that is judged is the one that runs: a replayed schedule equals refits."""

import itertools
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

import workbench
from workbench import alerts, detectors
from workbench.errors import PromotionRefused, StreamError
from workbench.evaluation import labelled, read_answers, read_labels
from workbench.stream import load_stream, parse_stream, refit, verdict
from workbench.stream.promotion.checks import truth_of
from workbench.stream.promotion.refitting import fitted_again
from workbench.stream.promotion_log import Promotion, add_package, find_package, log_path
from workbench.times import epoch_ms

RULE = detectors.EpisodeRule(2, 3, 4)
BUDGET = 4.0
HOUR_MS = 3_600_000


@pytest.fixture
def labels(tmp_path, readings):
    """An event on pump-1, which no detector may learn from."""
    path = tmp_path / "labels.csv"
    start = readings["event_time"].min()
    hours = [(start + pd.Timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M:%SZ") for h in (6, 7)]
    path.write_text(f"sensor,start,stop\npump-1,{hours[0]},{hours[1]}\n")
    return str(path)


@pytest.mark.parametrize(
    "method",
    [{"name": "robust_z"}, {"name": "knn", "n_neighbors": 1}],
    ids=lambda item: item["name"],
)
@pytest.mark.parametrize(
    "leaves_out", [{}, {"leave_out_alarmed": True}, {"change_h": 1.0}], ids=str
)
def test_a_refit_is_what_the_replayed_schedule_makes_at_that_instant(
    store, content, readings, labels, tmp_path, method, leaves_out
):
    in_order = readings.sort_values("event_time", kind="stable", ignore_index=True)
    if "change_h" in leaves_out:
        step = in_order["event_time"] >= in_order["event_time"].max() - pd.Timedelta(hours=2.6)
        in_order.loc[step & (in_order["pump"] == "pump-2"), "flow_l_min"] += 500
    policy = {"every_h": 1.5, "trailing_h": 3, **leaves_out}
    spec = {**method, "window": 4, "channels": ["flow_l_min", "pressure_bar"], "refit": policy}
    stream = parse_stream("pumps", content(gate={"labels": labels}))
    in_event = labelled(
        epoch_ms(in_order["event_time"]), in_order["pump"], read_labels(stream.gate.labels)
    )
    replayed = detectors.replay_refits(
        spec, in_order, sensor="pump", alerts_per_sensor_day=BUDGET, rule=RULE, in_event=in_event
    )
    times = epoch_ms(in_order["event_time"])
    instants = times[0] + (3 + 1.5 * np.arange(len(replayed.refits))) * HOUR_MS
    fits = zip(replayed.refits, instants, strict=True)
    log = [promoted(item, instant, tmp_path) for item, instant in fits]
    log_path("pumps").parent.mkdir(parents=True)
    log_path("pumps").write_text("".join(json.dumps(asdict(line)) + "\n" for line in log[:-1]))
    stop = instants[-1]
    trailing = in_order[(times >= stop - 3 * HOUR_MS) & (times < stop)]

    again = fitted_again(
        stream, find_package(log[-2].package), trailing, detectors.Terms(BUDGET, RULE),
        truth_of(stream),
    )  # fmt: skip

    last = replayed.refits[-1]
    assert again.threshold == last.threshold
    assert again.detector.spec == last.detector.spec
    for name, array in last.detector.state.items():
        np.testing.assert_array_equal(again.detector.state[name], array)
    assert len(again.trained) == len(last.trained)
    assert not in_event[last.trained].any()
    assert (len(last.trained) < (~in_event[times < stop][-len(trailing) :]).sum()) == bool(
        leaves_out
    )
    if "change_h" in leaves_out:
        learnt = in_order.iloc[last.trained]
        assert learnt.loc[learnt["pump"] == "pump-2", "flow_l_min"].min() > 400


def test_a_champion_of_some_sensors_is_fitted_again_on_those(store, content, readings, tmp_path):
    late = readings.iloc[[*range(2000), 5, *range(2000, len(readings))]].reset_index(drop=True)
    policy = {"every_h": 1.5, "trailing_h": 3}
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min"], "refit": policy}
    detector = detectors.fit({**spec, "refit": None}, readings, sensor="pump")
    detector = replace(detector, spec={**detector.spec, "refit": policy})
    first = detectors.Refit(0, np.arange(10), detector, 3.0)
    line = promoted(first, 1_767_571_200_000, tmp_path)
    stream = parse_stream("pumps", content())

    again = fitted_again(
        stream, find_package(line.package), late, detectors.Terms(BUDGET, RULE), truth_of(stream),
        sensors=("pump-2",),
    )  # fmt: skip

    arrived = detectors.arrivals_of(
        late, sensor="pump", time="event_time", lateness_ms=stream.lateness_ms,
        ahead_ms=stream.ahead_ms,
    )  # fmt: skip
    own = late[(late["pump"] == "pump-2") & ~arrived.left_out]
    by_hand = detectors.fit({**spec, "refit": None}, own, sensor="pump")
    assert arrived.left_out.any()
    assert len(again.trained) == len(own)
    np.testing.assert_array_equal(again.detector.state["median"], by_hand.state["median"])


def test_a_refit_of_more_readings_than_there_are_is_refused(store, readings, tmp_path):
    policy = {"every_readings": 100, "trailing_readings": 10_000_000}
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min"]}
    detector = detectors.fit(spec, readings, sensor="pump")
    detector = replace(detector, spec={**detector.spec, "refit": policy})
    first = detectors.Refit(0, np.arange(10), detector, 3.0)
    line = replace(promoted(first, 1_767_571_200_000, tmp_path), stream="plant")
    log_path("plant").parent.mkdir(parents=True)
    log_path("plant").write_text(json.dumps(asdict(line)) + "\n")

    with pytest.raises(StreamError) as error:
        refit("plant")

    assert re.fullmatch(
        r"the archive has [\d,]+ readings of its sensors before \S+, where the gate's days begin; "
        r"the policy's trailing_readings is 10,000,000",
        error.value.message,
    )
    assert not list(log_path("plant").parent.glob(".refit-*"))


@pytest.mark.slow
def test_a_refit_takes_up_answers_and_names_the_instant_of_the_last(store, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    stream = champion_of_the_sample(store, tmp_path)

    def again():
        """The package that a refit makes, and that the gate refuses for what it costs."""
        before = {path.name for path in (store / "packages").iterdir()}
        with pytest.raises(PromotionRefused):
            refit(stream, trailing_days=4)
        (made,) = {path.name for path in (store / "packages").iterdir()} - before or {None}
        return made and find_package(made)

    deaf = again()
    assert "answers" not in deaf.training
    fitted_on = workbench.replay(stream.topic, deaf.training["start"], deaf.training["stop"])
    told = detectors.detect(deaf, fitted_on, sensor="pump").episodes
    row = told.loc[told["peak_score"].idxmax()]
    given = alerts.answer(
        stream, "false", alert="a" * 32, sensor=row["sensor"], start=row["start"].isoformat(),
        stop=row["stop"].isoformat(),
    )  # fmt: skip
    heard = again()

    assert heard.training["answers"]["until"] == given.at
    assert heard.training["answers"]["answers"] == 1
    assert heard.threshold > deaf.threshold
    assert again() is None  # the same archive and the same answers are the same package


@pytest.mark.slow
def test_an_answer_that_is_given_while_a_refit_fits_is_in_neither_package_nor_gate(
    store, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    stream = champion_of_the_sample(store, tmp_path)
    stopped = threading.Event()

    def answer(number=0):
        alerts.answer(
            stream, "false", alert=f"{number:032x}", sensor="pump-1",
            start="2026-01-12T00:00Z", stop="2026-01-12T00:05Z",
        )  # fmt: skip

    def go_on():
        for number in itertools.count(1):
            answer(number)
            if stopped.wait(0.01):
                return

    answer()
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(go_on)
        with pytest.raises(PromotionRefused) as error:
            refit(stream, trailing_days=4)
        stopped.set()
        answering.result()

    judged = verdict(error.value.where)
    assert judged.labels == find_package(judged.package).training["answers"]
    assert judged.labels["answers"] < len(read_answers("plant"))


def champion_of_the_sample(store, tmp_path):
    """A stream that has a champion and takes up answers; its gate refuses any for what it costs."""
    content = {**load_stream("plant").content(), "detector": "champion"}
    gate = {"labels": "feedback", "days": 3.5, "alerts_per_sensor_day": 3, "us_per_reading": 1e-6}
    stream = parse_stream("plant", {**content, "gate": gate})
    readings = workbench.replay(stream.topic, "2026-01-05T00:00:00Z", "2026-01-08T00:00:00Z")
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min", "vibration_mm_s"]}
    detector = detectors.fit(spec, readings, sensor="pump")
    line = replace(
        promoted(detectors.Refit(0, np.arange(10), detector, 3.0), 0, tmp_path), stream="plant"
    )
    log_path("plant").parent.mkdir(parents=True)
    log_path("plant").write_text(json.dumps(asdict(line)) + "\n")
    return stream


def promoted(again, instant, tmp_path):
    """Keep the package of a refit; return the promotion that it would have been."""
    folder = tmp_path / f"package-{int(instant)}"
    detectors.save(
        again.detector, folder, threshold=again.threshold, rule=RULE, training={"topic": "pumps"}
    )
    package = add_package(folder)
    return Promotion("pumps", "champion", package, int(instant), "2026-01-01T00:00:00Z")
