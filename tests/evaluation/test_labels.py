import pandas as pd
import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import labelled, read_labels

HEADER = "sensor,start,stop,kind,channels\n"


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return path

    return _write


def test_labels_come_ordered_in_utc_with_their_channels(write):
    path = write(
        HEADER
        + "pump-2,2026-01-12T06:00:00Z,2026-01-12T09:00:00Z,leak,flow_l_min motor_current_a\n"
        + "pump-1,2026-01-13T07:00:00+01:00,2026-01-13T07:30:00Z,,\n"
    )

    labels = read_labels(path)

    assert labels["sensor"].tolist() == ["pump-1", "pump-2"]
    assert labels["start"].tolist() == [
        pd.Timestamp("2026-01-13T06:00:00Z"),
        pd.Timestamp("2026-01-12T06:00:00Z"),
    ]
    assert labels["kind"].tolist() == ["", "leak"]
    assert labels["channels"].tolist() == [(), ("flow_l_min", "motor_current_a")]


def test_kind_and_channels_may_be_absent(write):
    labels = read_labels(write("sensor,start,stop\na,2026-01-12T06:00Z,2026-01-12T07:00Z\n"))
    assert labels["kind"].tolist() == [""]
    assert labels["channels"].tolist() == [()]


def test_a_file_without_events_has_the_columns_all_the_same(write):
    labels = read_labels(write(HEADER))
    assert len(labels) == 0
    assert labelled([1, 2], ["a", "a"], labels).tolist() == [False, False]


def test_the_start_is_inside_and_the_stop_is_not(write):
    labels = read_labels(write("sensor,start,stop\na,1970-01-01T00:00:01Z,1970-01-01T00:00:02Z\n"))
    assert labelled([999, 1000, 1999, 2000], ["a"] * 4, labels).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_times_without_an_offset_are_utc_as_everywhere(write):
    bare = read_labels(write("sensor,start,stop\na,2026-01-12 06:00,2026-01-12 07:00\n"))
    zoned = read_labels(write("sensor,start,stop\na,2026-01-12T06:00Z,2026-01-12T08:00+01:00\n"))
    assert bare.equals(zoned)


LATER = "a,2026-01-12T06:00:00Z,2026-01-12T07:00:00Z,,\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sensor,strat,stop\n",
            "the labels have no column 'start', they have sensor, strat, stop\n"
            "  in {path}, line 1\n  did you mean 'strat'?",
        ),
        ("", "the labels have no column 'sensor', they have none\n  in {path}, line 1"),
        (
            HEADER + LATER + " ,2026-01-12T06:00:00Z,2026-01-12T07:00:00Z,,\n",
            "the sensor is empty\n  in {path}, line 3",
        ),
        (
            HEADER + "a,yesterday,2026-01-12T07:00:00Z,,\n",
            "'yesterday' is not a time in ISO 8601\n  in {path}, line 2, column start\n"
            "  a time is written as 2026-01-05T00:00:00Z, or say its format",
        ),
        (
            HEADER + LATER + "a,2026-01-12T06:00:00Z,,,\n",
            "'' is not a time in ISO 8601\n  in {path}, line 3, column stop\n"
            "  a time is written as 2026-01-05T00:00:00Z, or say its format",
        ),
        (
            HEADER + "a,2026-01-12T06:00:00,2026-01-12T07:00:00Z,,\n",
            "'2026-01-12T06:00:00' has no offset from UTC, unlike 1 of 2 times\n"
            "  in {path}, line 2, column start\n"
            "  say of which time zone those without an offset are",
        ),
        (
            HEADER + "a,2026-01-12T07:00:00Z,2026-01-12T07:00:00Z,,\n",
            "the event stops at 2026-01-12T07:00:00Z, not after its start 2026-01-12T07:00:00Z\n"
            "  in {path}, line 2\n  intervals are half open: [start, stop)",
        ),
    ],
)
def test_a_bad_line_is_named(write, text, message):
    path = write(text)
    with pytest.raises(EvaluationError) as caught:
        read_labels(path)
    assert str(caught.value) == message.format(path=path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EvaluationError) as caught:
        read_labels(tmp_path / "no.csv")
    assert str(caught.value) == f"there is no labels file\n  in {tmp_path / 'no.csv'}"
