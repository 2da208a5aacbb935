"""The view in which a threshold is dragged, without a browser: what it computes and shows."""

import base64
import dataclasses

import numpy as np
import pytest

from workbench import desk, detectors
from workbench.errors import FigureError
from workbench.evaluation import event_report

pytestmark = pytest.mark.slow

PNG = b"\x89PNG\r\n"


@pytest.fixture
def view(scored):
    return desk.tune(
        scored.readings, scored.detection, scored.package, labels=scored.labels, sensor="pump"
    )


def drag(view, threshold):
    view._threshold.value = threshold


def test_it_begins_where_the_package_stands_with_the_packages_alerts(scored, view):
    assert view.threshold == scored.package.threshold
    assert view.report.alerts == len(scored.detection.episodes)
    whole = ("2026-01-07T00:00:00Z", "2026-01-09T00:00:00Z")
    expected = event_report(
        scored.detection.episodes, scored.labels, span=whole, sensors=["pump-1", "pump-2"]
    )
    assert view.report.metrics() == pytest.approx(expected.metrics(), rel=1e-3)


def test_the_package_s_threshold_is_one_of_the_slider_s_steps(scored, view):
    slider = view._threshold
    steps = (scored.package.threshold - slider.min) / slider.step

    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert slider.min <= scored.package.threshold <= slider.max


def test_a_dragged_threshold_changes_table_and_picture_at_once(view):
    table, picture = view._table.value, view._image.value

    drag(view, view._threshold.max)

    assert view.report.alerts == 0
    assert "0 of 5" in view._table.value
    assert view._table.value != table
    assert view._image.value != picture
    assert bytes(view._image.value).startswith(PNG)


def test_a_dragged_threshold_gives_the_alerts_of_a_package_with_that_threshold(scored, view):
    drag(view, 9.0)

    other = dataclasses.replace(scored.package, threshold=9.0)
    expected = detectors.detect(other, scored.readings, sensor="pump", lateness_ms=60_000)
    assert view.report.alerts == len(expected.episodes)


def test_a_shorter_span_counts_only_what_begins_in_it(view):
    whole = view.report

    first, second, _ = view._span.options
    view._span.value = (first[1], second[1])

    assert view.report.events < whole.events
    assert view.report.sensor_days == pytest.approx(2, rel=1e-3)
    view._span.value = (first[1], first[1])
    assert view._table.value == "choose two different days"


def test_an_event_after_the_last_reading_is_not_one_that_was_missed(scored):
    noon = (scored.readings["event_time"] < "2026-01-08T12:00:00Z").to_numpy()
    half = dataclasses.replace(
        scored.detection, scores=scored.detection.scores[noon], late=scored.detection.late[noon]
    )
    after = scored.labels.iloc[:1].assign(start="2026-01-08T18:00:00Z", stop="2026-01-08T19:00:00Z")
    after = after.astype({"start": "datetime64[ms, UTC]", "stop": "datetime64[ms, UTC]"})

    view = desk.tune(scored.readings[noon], half, scored.package, labels=after, sensor="pump")

    assert view.report.events == 0
    assert view.report.sensor_days == pytest.approx(2 * 1.5, rel=1e-3)


def test_the_other_sensor_has_its_own_picture_and_row(view):
    picture = view._image.value

    view._sensor.value = "pump-2"

    assert "pump-2" in view._table.value
    assert view._image.value != picture


def test_where_nothing_runs_it_is_a_sentence_and_a_still_picture(view):
    bundle = view._repr_mimebundle_()

    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert base64.b64decode(bundle["image/png"]).startswith(PNG)
    assert bundle["text/plain"].startswith("threshold 4: ")
    assert " of 5 events found, " in bundle["text/plain"]


def test_without_labels_alerts_are_counted_and_none_is_called_found(scored):
    view = desk.tune(scored.readings, scored.detection, scored.package, sensor="pump")

    assert view.report.alerts == len(scored.detection.episodes)
    assert "0 of 0" in view._table.value


def test_a_sensors_name_is_text_not_html(scored):
    odd = scored.readings.assign(pump=scored.readings["pump"].replace("pump-1", "<b>pump</b>"))

    view = desk.tune(odd, scored.detection, scored.package, sensor="pump")

    assert "&lt;b&gt;pump&lt;/b&gt;" in view._table.value


def test_readings_without_a_score_are_refused(scored):
    nothing = dataclasses.replace(scored.detection, scores=np.full(len(scored.readings), np.nan))

    with pytest.raises(FigureError) as refused:
        desk.tune(scored.readings, nothing, scored.package, sensor="pump")

    assert str(refused.value) == f"none of {len(scored.readings)} readings has a score"
