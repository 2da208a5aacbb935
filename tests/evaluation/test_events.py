import math

import pandas as pd
import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import event_report, ground_truth, joined, labelled, read_labels

DAY = pd.Timestamp("2026-01-12T00:00:00Z")
SPAN = (DAY, DAY + pd.Timedelta(days=2))


def at(hours):
    return DAY + pd.Timedelta(hours=hours)


def events(*rows):
    columns = ["sensor", "start", "stop", "kind"]
    frame = pd.DataFrame(
        [(name, at(start), at(stop), kind) for name, start, stop, kind in rows], columns=columns
    )
    return frame.astype({"start": "datetime64[ms, UTC]", "stop": "datetime64[ms, UTC]"})


def alerts(*rows):
    frame = pd.DataFrame([(name, at(start)) for name, start in rows], columns=["sensor", "start"])
    return frame.astype({"start": "datetime64[ms, UTC]"})


LABELS = events(("a", 4, 8, "leak"), ("a", 20, 21, "stuck"), ("b", 6, 7, "leak"))


def test_found_missed_and_false_are_counted_by_the_start_of_the_alert():
    raised = alerts(("a", 5), ("a", 7.5), ("a", 21), ("b", 5.5), ("b", 6))

    report = event_report(raised, LABELS, span=SPAN, sensors=["a", "b"])

    assert (report.events, report.found, report.alerts, report.false_alerts) == (3, 2, 5, 2)
    assert report.recall == pytest.approx(2 / 3)
    assert report.precision == pytest.approx(3 / 5)
    assert report.delay_median_s == 1800.0  # one hour on a, none on b
    assert report.delay_p90_s == pytest.approx(3240.0)
    assert report.false_alerts_per_sensor_day == pytest.approx(2 / 4)
    assert report.table["found"].tolist() == [True, False, True]


def test_each_kind_has_its_own_figures():
    report = event_report(alerts(("a", 5)), LABELS, span=SPAN, sensors=["a", "b"])
    assert report.kinds.to_dict("records")[0] == {
        "kind": "leak",
        "events": 2,
        "found": 1,
        "recall": 0.5,
        "delay_median_s": 3600.0,
    }


def test_an_alarm_that_is_always_on_finds_nothing():
    report = event_report(alerts(("a", 0), ("b", 0)), LABELS, span=SPAN, sensors=["a", "b"])
    assert (report.found, report.false_alerts, report.precision) == (0, 2, 0.0)


def test_an_alert_on_another_sensor_is_false():
    report = event_report(alerts(("b", 5)), LABELS, span=SPAN, sensors=["a", "b"])
    assert (report.found, report.false_alerts) == (0, 1)


def test_what_starts_outside_the_span_or_on_other_sensors_is_not_counted():
    raised = alerts(("a", 5), ("b", 6), ("a", 47.9), ("a", 48))
    report = event_report(raised, LABELS, span=(at(10), SPAN[1]), sensors=["a"])
    assert (report.events, report.alerts, report.false_alerts) == (1, 1, 1)


def test_quiet_sensors_add_to_the_sensor_days():
    report = event_report(alerts(("a", 0)), LABELS, span=SPAN, sensors=["a", "b", "c", "d"])
    assert report.false_alerts_per_sensor_day == 1 / 8


def test_times_may_be_epoch_milliseconds():
    raised = pd.DataFrame({"sensor": ["a"], "start": [int(at(5).timestamp() * 1000)]})
    assert event_report(raised, LABELS, span=SPAN, sensors=["a"]).delay_median_s == 3600.0


def test_without_alerts_there_is_no_precision_and_no_delay():
    report = event_report(alerts(), LABELS, span=SPAN, sensors=["a", "b"])
    assert math.isnan(report.precision)
    assert report.metrics() == {
        "recall": 0.0,
        "precision": None,
        "f1": 0.0,
        "delay_median_s": None,
        "delay_p90_s": None,
        "alarm_share": 0.0,
        "events": 3,
        "found": 0,
        "alerts": 0,
        "false_alerts": 0,
        "false_alerts_per_sensor_day": 0.0,
    }


def lasting(*rows):
    ends = [(name, at(start), at(stop)) for name, start, stop in rows]
    frame = pd.DataFrame(ends, columns=["sensor", "start", "stop"])
    return frame.astype({"start": "datetime64[ms, UTC]", "stop": "datetime64[ms, UTC]"})


def test_an_endless_alarm_is_one_alert_and_not_quiet():
    report = event_report(lasting(("b", -5, 60)), LABELS, span=SPAN, sensors=["b"])
    assert (report.alerts, report.false_alerts) == (0, 0)
    assert report.alarm_share == 1.0


def test_time_in_alarm_is_counted_outside_of_events_and_within_the_span():
    raised = lasting(("a", -3, 1), ("a", 6, 10), ("a", 20.5, 20.75), ("b", 47, 50), ("c", 0, 48))
    overlapping = events(("a", 4, 8, "leak"), ("a", 6, 7, "leak"), ("a", 20, 21, "stuck"))

    report = event_report(raised, overlapping, span=SPAN, sensors=["a", "b"])

    assert report.alarm_share == pytest.approx((1 + 2 + 0 + 1) / (2 * 48 - 5))
    both = joined([report, event_report(lasting(), overlapping, span=SPAN, sensors=["c"])])
    assert both.alarm_share == pytest.approx(4 / (3 * 48 - 5))


def test_time_in_alarm_is_each_sensors_where_keys_are_numbers_in_bytes():
    pumps = ["\0\0\0\1", "\0\0\0\2"]  # as texts of C they are the same, and empty
    raised = lasting((pumps[0], 0, 12), (pumps[1], 0, 36))

    for names, share in ((pumps, 0.5), (pumps[:1], 0.25), (pumps[1:], 0.75)):
        report = event_report(raised, events(), span=SPAN, sensors=names)
        assert report.alarm_share == pytest.approx(share)


def test_without_the_ends_of_alarms_the_time_in_alarm_is_not_known():
    assert math.isnan(event_report(alerts(("a", 5)), LABELS, span=SPAN, sensors=["a"]).alarm_share)


def test_an_empty_span_is_refused():
    with pytest.raises(EvaluationError) as caught:
        event_report(alerts(), LABELS, span=(DAY, DAY), sensors=["a"])
    assert str(caught.value) == (
        "the span stops at 2026-01-12 00:00:00+00:00, not after its start 2026-01-12 00:00:00+00:00"
    )


def test_no_sensors_are_refused():
    with pytest.raises(EvaluationError) as caught:
        event_report(alerts(), LABELS, span=SPAN, sensors=[])
    assert str(caught.value) == "no sensor is named, at least one is needed"


def test_where_nobody_labelled_no_alert_is_false_and_nothing_was_missed():
    labels = ground_truth("").faults
    alerts = pd.DataFrame({"sensor": ["p"], "start": [1000], "stop": [2000]})
    span = (pd.Timestamp(0, tz="UTC"), pd.Timestamp(10, unit="s", tz="UTC"))

    report = event_report(alerts, labels, span=span, sensors=["p"])

    figures = report.metrics(is_labelled=False)
    assert figures.keys() == report.metrics().keys()
    known = {name: value for name, value in figures.items() if value is not None}
    assert known == {"alerts": 1, "alarm_share": pytest.approx(0.1)}


@pytest.mark.parametrize("kind", [int, float, str])
def test_sensors_that_are_numbers_are_those_that_labels_call_by_their_text(tmp_path, kind):
    path = tmp_path / "labels.csv"
    path.write_text("sensor,start,stop\n7,2026-01-05T01:00:00Z,2026-01-05T02:00:00Z\n")
    labels = read_labels(path)
    start = pd.Timestamp("2026-01-05T01:30:00Z")
    alerts = pd.DataFrame({"sensor": [kind(7)], "start": [start], "stop": [start]})
    span = (pd.Timestamp("2026-01-05", tz="UTC"), pd.Timestamp("2026-01-06", tz="UTC"))

    report = event_report(alerts, labels, span=span, sensors=[kind(7), kind(8)])

    assert (report.events, report.found, report.false_alerts) == (1, 1, 0)
    assert labelled([start.value // 10**6], [kind(7)], labels).tolist() == [True]
