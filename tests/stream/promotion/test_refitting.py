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
from workbench.stream import (
    load_stream,
    parity,
    parse_stream,
    promotions,
    refit,
    run,
    verdict,
)
from workbench.stream.promotion.checks import truth_of
from workbench.stream.promotion.refits.refitting import bought_again, fitted_again
from workbench.stream.promotion_log import Promotion, add_package, find_package, log_path
from workbench.times import epoch_ms, iso

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


@pytest.mark.parametrize("method", [{"name": "robust_z"}, {"name": "knn", "n_neighbors": 1}])
def test_a_threshold_bought_alone_is_what_the_replayed_schedule_buys_at_that_instant(
    store, content, readings, labels, tmp_path, method
):
    in_order = readings.sort_values("event_time", kind="stable", ignore_index=True)
    policy = {"every_h": 1.5, "trailing_h": 3, "threshold_only": True}
    spec = {**method, "window": 4, "channels": ["flow_l_min", "pressure_bar"], "refit": policy}
    stream = parse_stream("pumps", content(gate={"labels": labels}))
    times = epoch_ms(in_order["event_time"])
    in_event = labelled(times, in_order["pump"], read_labels(stream.gate.labels))
    replayed = detectors.replay_refits(
        spec, in_order, sensor="pump", alerts_per_sensor_day=BUDGET, rule=RULE, in_event=in_event
    )
    fitted_ms = int(times[0] + 3 * HOUR_MS)
    training = {"stop": iso(fitted_ms)}
    champion = find_package(promoted(replayed.refits[0], 0, tmp_path, training).package)

    bought = []
    for number in range(1, len(replayed.refits)):
        stop = fitted_ms + 1.5 * HOUR_MS * number
        trailing = in_order[(times >= stop - 3 * HOUR_MS) & (times < stop)]
        terms = detectors.Terms(BUDGET, RULE)
        bought.append(bought_again(stream, champion, trailing, terms, truth_of(stream)))

    assert in_event.any()
    assert bought == [refit.threshold for refit in replayed.refits[1:]]
    assert len(set(bought)) > 1


def test_a_threshold_is_not_bought_alone_where_the_stream_file_has_its_own_or_no_fit_is_known(
    store, content, readings, tmp_path
):
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min"]}
    detector = detectors.fit(spec, readings, sensor="pump")
    line = promoted(detectors.Refit(0, np.arange(10), detector, 3.0), 0, tmp_path)
    champion, terms = find_package(line.package), detectors.Terms(BUDGET, RULE)
    stream = parse_stream("pumps", content())

    with pytest.raises(StreamError) as error:
        bought_again(stream, champion, readings, terms, truth_of(stream))

    assert str(error.value) == (
        f"package {champion.id[:16]} does not say until when it was fitted: its threshold cannot "
        "be bought on what came after\n  save packages with training=readings.attrs['manifest']"
    )
    plant = champion_of_the_sample(store, tmp_path)
    with pytest.raises(StreamError) as error:
        refit(replace(plant, threshold=3.0), trailing_days=2, threshold_only=True)
    assert str(error.value) == (
        "stream plant declares the threshold 3 itself, which no promotion changes\n"
        "  leave `threshold` out of the stream file"
    )


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


@pytest.mark.flink
def test_a_threshold_alone_goes_through_gate_log_and_job_as_any_promotion(store, tmp_path):
    content = {**load_stream("plant").content(), "detector": "champion"}
    gate = {**content["gate"], "days": 3, "metric": "false_alerts_per_sensor_day"}
    stream = parse_stream("plant", {**content, "gate": gate})
    history = workbench.replay(stream.topic, "2026-01-05T00:00:00Z", "2026-01-08T00:00:00Z")
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min", "vibration_mm_s"]}
    detector = detectors.fit(spec, history, sensor="pump")
    low = detectors.Refit(0, np.arange(10), detector, 2.0)
    line = replace(promoted(low, 0, tmp_path, history.attrs["manifest"]), stream="plant")
    log_path("plant").parent.mkdir(parents=True)
    log_path("plant").write_text(json.dumps(asdict(line)) + "\n")

    asked = {"trailing_days": 6, "readings": 8_000, "threshold_only": True}
    bought = refit(stream, **asked)

    assert (bought.package, bought.sensors, bought.role) == (line.package, (), "champion")
    assert bought.threshold > 2.0
    assert re.fullmatch(r"threshold bought on 2026-01-\S+Z to 2026-01-\S+Z", bought.why)
    assert promotions("plant") == [line, bought]
    assert refit(stream, **asked) == bought  # the same archive buys the same threshold
    package = replace(find_package(line.package), threshold=bought.threshold)
    newest = workbench.replay(stream.topic).tail(8_000).reset_index(drop=True)
    batch = detectors.detect(package, newest, sensor="pump", lateness_ms=60_000)
    certificate = json.loads((store / bought.certificate).read_text())
    assert certificate["alerts"] == len(batch.episodes) > 0
    assert parity(stream, readings=8_000).alerts == len(batch.episodes)

    again = replace(bought, effective_ms=int(epoch_ms(newest["event_time"])[4_000]))
    log_path("plant").write_text("".join(json.dumps(asdict(one)) + "\n" for one in (line, again)))
    streamed = run(stream, newest)

    times, names = epoch_ms(newest["event_time"]), newest["pump"].to_numpy()
    holds = np.where(times >= again.effective_ms, bought.threshold, 2.0)
    taken = ~batch.late
    expected = detectors.episodes(
        times[taken], names[taken], (batch.scores - holds)[taken], 0.0, package.rule
    )
    assert set(zip(streamed.alerts["sensor"], streamed.alerts["start"], strict=True)) == set(
        zip(expected["sensor"], expected["start"], strict=True)
    )
    assert len(expected) > len(batch.episodes)


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


def promoted(again, instant, tmp_path, training=None):
    """Keep the package of a refit; return the promotion that it would have been."""
    folder = tmp_path / f"package-{int(instant)}"
    training = {"topic": "pumps", **(training or {})}
    detectors.save(again.detector, folder, threshold=again.threshold, rule=RULE, training=training)
    package = add_package(folder)
    return Promotion("pumps", "champion", package, int(instant), "2026-01-01T00:00:00Z")
