"""Spans that are dragged and named, and buttons beside alerts: each is an answer at once."""

import io
import os
import subprocess
import sys

import matplotlib.dates
import pandas as pd
import pytest
from matplotlib.backend_bases import MouseEvent

from workbench import alerts, desk, evaluation, plant
from workbench.errors import DeskError
from workbench.stream import parse_stream

pytestmark = pytest.mark.slow


@pytest.fixture
def stream(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    content = {
        "topic": "persistent://public/default/pumps", "sensor": "pump",
        "channels": list(plant.CHANNELS), "window": 10,
        "alerts": "persistent://public/default/alerts",
    }  # fmt: skip
    return parse_stream("plant", content)


@pytest.fixture
def view(stream, scored):
    return desk.label(stream, scored.readings, episodes=scored.detection.episodes, who="ada")


def said(view):
    return view._said.value


def slide(view, first, last):
    view._span.index = (first, last)


def drag(view, begin, end, channel=0):
    """Drag with the mouse over a channel, from and to parts of its width."""
    ax = view._figure.axes[channel]
    turns = (("button_press", begin), ("motion_notify", end), ("button_release", end))
    for name, part in turns:
        x, y = ax.transAxes.transform((part, 0.5))
        held = {"buttons": [1]} if name == "motion_notify" else {"button": 1}
        MouseEvent(f"{name}_event", view._canvas, x, y, **held)._process()


def picture(view):
    buffer = io.BytesIO()
    view._figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_the_users_own_figures_stay_with_the_backend_that_they_have():
    code = (
        "import matplotlib; before = matplotlib.get_backend(auto_select=False);"
        "from workbench.desk import labelling;"
        "print(before, matplotlib.get_backend(auto_select=False));"
        "import matplotlib.pyplot as plt; plt.subplots(); matplotlib.use('svg')"
    )
    shown = {}
    for backend in ("", "agg", "module://matplotlib_inline.backend_inline"):
        environment = {**os.environ, "MPLBACKEND": backend}
        shown[backend] = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], env=environment, check=True,
            capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    assert shown == {name: f"{name or None} {name or None}" for name in shown}


def test_a_span_that_is_kept_is_an_answer_at_once(stream, view):
    slide(view, 100, 140)
    view._why.value = "bearing"
    before = picture(view)

    view._buttons["keep"].click()

    (answer,) = alerts.answers(stream)
    assert (answer.verdict, answer.sensor, answer.who, answer.why) == (
        "missed", "pump-1", "ada", "bearing",
    )  # fmt: skip
    truth = evaluation.answered("plant")
    assert (truth.faults["start"][0], truth.faults["stop"][0]) == view.span
    assert said(view).endswith(": missed, kept")
    assert picture(view) != before  # the label is drawn


@pytest.mark.parametrize("channel", [0, 4])
def test_a_drag_over_any_channel_chooses_the_span(view, channel):
    low, high = view._figure.axes[channel].get_xlim()

    drag(view, 0.25, 0.5, channel)

    start, stop = (matplotlib.dates.num2date(low + part * (high - low)) for part in (0.25, 0.5))
    step = view._span.options[1][1] - view._span.options[0][1]
    assert abs(view.span[0] - start) <= step
    assert abs(view.span[1] - stop) <= step
    before = view.span
    drag(view, 0.7, 0.7, channel)  # a click
    assert view.span == before
    drag(view, 0.9, 0.6, channel)  # backwards, and after it was drawn anew
    view.keep()
    drag(view, 0.1, 0.2, channel)
    assert view.span[1] < before[0]


def test_the_kind_decides_what_becomes_of_a_span_and_the_sensor_whose_it_is(stream, view):
    view._sensor.value = "pump-2"
    for kind in ("known", "false"):
        view._kind.value = kind
        view.keep()

    truth = evaluation.answered("plant")
    assert truth.left_out["sensor"].tolist() == truth.usual["sensor"].tolist() == ["pump-2"]
    assert truth.faults.empty


def test_undo_takes_back_what_was_kept_last_and_no_more(stream, view):
    slide(view, 100, 140)
    view.keep()
    slide(view, 300, 340)
    view.keep()

    view._buttons["undo"].click()
    assert len(evaluation.answered("plant").faults) == 1
    view.undo()
    assert evaluation.answered("plant").faults.empty
    view.undo()

    assert said(view) == "nothing was kept here"
    assert len(evaluation.answers_path("plant").read_text().splitlines()) == 4  # none is lost


def test_a_span_without_a_length_is_not_kept(stream, view):
    slide(view, 100, 100)

    view.keep()

    assert said(view) == "choose a span: drag over the picture"
    assert alerts.answers(stream) == []


def test_readings_that_are_not_the_streams_are_refused(stream, scored):
    with pytest.raises(DeskError) as error:
        desk.label(stream, scored.readings.rename(columns={"flow_l_min": "flow_lmin"}))

    assert str(error.value) == "no column 'flow_l_min'\n  did you mean 'flow_lmin'?"


def test_sensors_that_are_numbers_are_answered_by_their_names(stream, scored):
    numbers = scored.readings["pump"].astype("category").cat.codes.astype("int64")
    view = desk.label(stream, scored.readings.assign(pump=numbers), who="ada")
    view._span.index = (100, 200)
    view.keep()

    assert [said.sensor for said in alerts.answers(stream)] == ["0"]
    assert len([patch for patch in view._figure.axes[0].patches if patch.get_gid() == "label"]) == 1


def test_alerts_of_a_watch_are_drawn_an_open_one_to_the_end(stream, scored):
    sensor = scored.readings["pump"].min()
    start = scored.readings["event_time"].min() + pd.Timedelta(hours=2)
    rows = pd.DataFrame({"sensor": [sensor] * 2, "start": [start, start + pd.Timedelta(hours=2)]})
    rows["stop"] = pd.to_datetime([start + pd.Timedelta(hours=1), None], utc=True)

    ax = desk.label(stream, scored.readings, episodes=rows, who="ada")._figure.axes[0]

    (bars,) = ax.collections
    (first, _), (_, last) = (bar[:, 0] for bar in bars.get_segments())
    assert first < last == ax.get_xlim()[1]


def test_a_button_beside_an_alert_answers_it(stream):
    starts = pd.to_datetime(["2026-01-07T06:00Z", "2026-01-07T08:00Z"])
    shown = pd.DataFrame(
        {"id": ["a" * 32, "b" * 32], "start": starts, "sensor": ["pump-1", "<pump>"],
         "kind": "episode", "stop": [starts[1], pd.NaT]}
    )  # fmt: skip
    panel = desk.Answering(stream, shown, who="ada")
    newest, oldest = panel.children
    text, _, false, _, why, _ = newest.children
    why.value = "cleaning"

    false.click()
    oldest.children[1].click()

    assert "&lt;pump&gt;" in text.value
    answers = {answer.alert: answer for answer in alerts.answers(stream)}
    assert (answers["b" * 32].verdict, answers["b" * 32].why) == ("false", "cleaning")
    assert answers["b" * 32].stop == ""
    assert (answers["a" * 32].verdict, answers["a" * 32].stop) == (
        "true",
        "2026-01-07T08:00:00.000Z",
    )
    assert newest.children[-1].value.endswith(": false, kept")
