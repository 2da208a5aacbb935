"""A budget that is carried over in production is the one that the replayed schedule carries."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest

import workbench
from workbench import detectors
from workbench.stream import load_stream, parse_stream, promotions, refit, verdict
from workbench.stream.promotion.budget import Carried, same_detector, within_carried
from workbench.stream.promotion.checks import Judged, truth_of
from workbench.stream.promotion.refits.refitting import bought_again
from workbench.stream.promotion.refits.spending import carried_over
from workbench.stream.promotion.refits.trailing import Span, readings_of
from workbench.stream.promotion_log import Promotion, add_package, find_package, log_path
from workbench.stream.running import originals
from workbench.times import epoch_ms, instant_ms, iso

DAY_MS = 86_400_000
BUDGET = 2.0
POLICY = {"every_h": 24, "trailing_h": 48, "threshold_only": True, "carry_over": 2}
SPEC = {"name": "robust_z", "window": 4, "channels": ["flow_l_min", "vibration_mm_s"]}
RULE = detectors.EpisodeRule(2, 3, 4)


@pytest.fixture
def plant():
    """The sample's stream, of which the labels are known and no reading may come late."""
    content = {**load_stream("plant").content(), "detector": "champion", "lateness_s": 86_400}
    gate = {**content["gate"], "alerts_per_sensor_day": BUDGET}
    return parse_stream("plant", {**content, "gate": gate})


def test_a_carried_threshold_is_what_the_replayed_schedule_buys_at_that_instant(
    store, plant, tmp_path
):
    first = instant_ms("2026-01-05T00:00:00Z")
    opened = originals.readable(plant, None)
    readings = originals.readings(plant, opened, iso(first))
    readings = readings.sort_values("event_time", kind="stable", ignore_index=True)
    times, names = epoch_ms(readings["event_time"]), readings[plant.sensor].to_numpy()
    truth = truth_of(plant)
    known = truth.unfit(times, names)
    replayed = detectors.replay_refits(
        {**SPEC, "refit": POLICY}, readings, sensor=plant.sensor, rule=RULE, in_event=known,
        alerts_per_sensor_day=BUDGET,
    )  # fmt: skip
    fitted_ms = int(times[0]) + 2 * DAY_MS
    initial = replayed.refits[0]
    training = {"topic": plant.topic, "start": iso(first), "stop": iso(fitted_ms)}
    log = [promoted(initial, fitted_ms, tmp_path, training)]
    champion = find_package(log[0].package)
    terms = detectors.Terms(BUDGET, RULE)

    bought = []
    for number in range(1, len(replayed.refits)):
        stop = fitted_ms + number * DAY_MS
        span = Span(stop - 2 * DAY_MS, stop)
        carried = carried_over(plant, champion, log, span, 2.0, terms, truth, opened)
        frame = readings_of(plant, span.start, span.stop, opened)
        bought.append(bought_again(plant, champion, frame, terms, truth, carried=carried.alerts))
        log.append(replace(log[0], threshold=bought[-1], effective_ms=stop))

    assert bought == [refit.threshold for refit in replayed.refits[1:]]
    assert len(set(bought)) > 5
    assert carried.since_ms == stop - 8 * DAY_MS > fitted_ms
    assert carried.spent.alerts > 0
    assert carried.next_days == pytest.approx(6, rel=0.01)


def test_a_champion_that_was_promoted_after_the_span_has_spent_nothing(store, plant, tmp_path):
    history = workbench.replay(plant.topic, "2026-01-05T00:00:00Z", "2026-01-08T00:00:00Z")
    detector = detectors.fit(SPEC, history, sensor=plant.sensor)
    late = instant_ms("2026-01-18T00:00:00Z")
    line = promoted(detectors.Refit(0, np.arange(1), detector, 3.0), late, tmp_path,
                    history.attrs["manifest"])  # fmt: skip
    opened, terms = originals.readable(plant, None), detectors.Terms(BUDGET, RULE)
    span = Span(late - 3 * DAY_MS, late)

    carried = carried_over(
        plant, find_package(line.package), [line], span, 2.0, terms, truth_of(plant), opened
    )

    assert carried == Carried(late, detectors.Spent(0, 0.0), 0.0, 0.0)
    assert carried.rate(0.7) == 0.7


def judged(usual, share, *, events=0):
    """What a detector made of a span: alerts a day and sensor, and share of the time in alarm."""
    figures = {"false_alerts_per_sensor_day": usual, "alarm_share": share, "events": events,
               "found": 0, "false_alerts": 3, "f1": 0.0}  # fmt: skip
    return Judged(figures, usual, None)


@pytest.mark.parametrize(
    ("alerts", "candidate", "champion", "passed"),
    [
        (2, (1.5, 0.02), None, True),  # a loud day more, of a budget that is not spent
        (12, (0.4, 0.02), None, True),  # too many came, and it pays back
        (12, (0.6, 0.02), None, False),
        (12, (0.6, 0.02), (0.6, 0.02), True),  # no louder than what is in force
        (2, (1.5, 0.20), None, False),  # in alarm for long
        (2, (1.5, 0.20), (1.5, 0.30), True),
        (2, (None, None), None, False),  # all of it is known: nobody can tell
    ],
)
def test_a_carried_budget_is_judged_since_the_fit_and_until_the_next(
    plant, alerts, candidate, champion, passed
):
    plant = replace(plant, gate=replace(plant.gate, alerts_per_sensor_day=0.5))
    carried = Carried(1_767_571_200_000, detectors.Spent(alerts, 20.0), 9.0, next_days=2.0)

    finding = within_carried(
        plant, judged(*candidate), carried, None if champion is None else judged(*champion)
    )

    assert finding.passed is passed
    assert finding.wanted == "at most 0.5, in alarm at most 10%; or no more than the champion"


def test_the_gate_says_that_a_carried_threshold_is_judged_by_what_it_was_bought_on(plant):
    carried = Carried(1_767_571_200_000, detectors.Spent(2, 20.0), 16.0, next_days=2.0)

    alerts = within_carried(plant, judged(1.5, 0.02), carried)
    unlabelled = same_detector(plant, [judged(1.5, 0.02), judged(0.5, 0.02)])
    labelled = same_detector(plant, [judged(1.5, 0.02, events=2), judged(0.5, 0.02, events=2)])

    assert alerts.found == (
        "0.227 a day and sensor since 2026-01-05T00:00Z: 2 in 20 sensor-days, by the thresholds in "
        "force, and 1.5 a day until the next refit, as on the readings that this one was bought "
        "by, in alarm 2.0% of that time"
    )
    assert (
        str(carried)
        == "2 alerts in 20 sensor-days since 2026-01-05T00:00:00.000Z, +16 carried over"
    )
    assert (unlabelled.passed, labelled.passed) == (None, None)
    assert unlabelled.found == "not known: nothing is labelled or answered in what is judged"
    assert unlabelled.wanted == "the same detector: its alert budget decides"
    assert labelled.found == "f1 0 (0 of 2 events, 3 false alerts)"
    assert labelled.wanted == f"{unlabelled.wanted}; champion: {labelled.found}"


@pytest.mark.flink
def test_a_carried_threshold_goes_through_gate_and_log_without_a_label(store, plant, tmp_path):
    gate = replace(plant.gate, labels="", alarm_share=0.05)
    plant = replace(plant, gate=gate)
    history = workbench.replay(plant.topic, "2026-01-05T00:00:00Z", "2026-01-08T00:00:00Z")
    detector = detectors.fit({**SPEC, "refit": POLICY}, history, sensor="pump")
    low = detectors.Refit(0, np.arange(1), detector, 2.0)
    line = promoted(low, 0, tmp_path, history.attrs["manifest"])
    log_path("plant").parent.mkdir(parents=True)
    log_path("plant").write_text(json.dumps(asdict(line)) + "\n")

    bought = refit(plant, readings=4_000)

    assert (bought.package, bought.role) == (line.package, "champion")
    assert bought.threshold > 2.0  # at which far too many alerted
    assert re.fullmatch(
        r"threshold bought on 2026-01-\S+Z to 2026-01-\S+Z; \d+ alerts in \S+ sensor-days since "
        r"2026-01-\S+Z, -\S+ carried over",
        bought.why,
    )
    findings = {finding.check: finding for finding in verdict(bought).findings}
    assert findings["expected alerts"].passed
    assert findings["parity"].passed
    assert findings["not worse than the champion"].passed is None
    assert findings["judged on unseen data"].found.endswith(
        "its threshold was bought on these readings"
    )
    assert refit(plant, readings=4_000) == bought  # the same archive and log buy the same
    assert promotions("plant") == [line, bought]


def promoted(again, instant, tmp_path, training):
    """Keep the package of a refit; return the promotion that it would have been."""
    folder = tmp_path / "package"
    detectors.save(again.detector, folder, threshold=again.threshold, rule=RULE, training=training)
    return Promotion("plant", "champion", add_package(folder), instant, "2026-01-01T00:00:00Z")
