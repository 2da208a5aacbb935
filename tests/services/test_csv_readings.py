import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ServicesError
from workbench.services.csv_readings import read_csv

NAB = Path(os.environ.get("WORKBENCH_NAB", "../shared/data/nab")).absolute()
HEADER = "pump,at,pressure_bar,flow_l_min\n"
COLUMNS = {"sensor": "pump", "time": "at", "values": ["pressure_bar", "flow_l_min"]}


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "pumps.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path, **columns):
    with pytest.raises(ServicesError) as error:
        read_csv(path, **(COLUMNS | columns))
    return str(error.value)


def test_sensors_times_and_readings_come_out_as_they_stand_in_the_file(csv):
    path = csv(
        HEADER + "p-1,2026-01-05T00:00:00Z,7.25, 120 \np-2,2026-01-05 01:00:00+01:00,-1e-3,\n"
    )

    frame = read_csv(path, **COLUMNS)

    assert frame["pump"].tolist() == ["p-1", "p-2"]
    assert (frame["at"] == pd.Timestamp("2026-01-05T00:00:00Z")).all()
    np.testing.assert_array_equal(frame["pressure_bar"], [7.25, -0.001])
    np.testing.assert_array_equal(frame["flow_l_min"], [120.0, np.nan])


def test_no_reading_is_rounded(csv):
    readings = np.random.default_rng(7).normal(size=2000) * 1e-7
    lines = [f"p,2026-01-05,{reading!r},0\n" for reading in readings.tolist()]

    frame = read_csv(csv(HEADER + "".join(lines)), **COLUMNS)

    np.testing.assert_array_equal(frame["pressure_bar"], readings)


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "null", "NA", " "])
def test_a_reading_may_be_missing(csv, missing):
    frame = read_csv(csv(f"{HEADER}p,2026-01-05,{missing},1\n"), **COLUMNS)

    assert frame["pressure_bar"].isna().all()


@pytest.mark.parametrize(
    "text", ["1767571200", "1767571200000", "2026-01-05", "2026-01-05T00:00:00.000Z"]
)
def test_times_are_iso_8601_or_seconds_or_milliseconds(csv, text):
    frame = read_csv(csv(f"{HEADER}p,{text},1,1\n"), **COLUMNS)

    assert frame["at"].tolist() == [pd.Timestamp("2026-01-05T00:00:00Z")]


def test_without_a_sensor_column_the_file_names_the_sensor(csv):
    path = csv("timestamp,value\n2014-04-01 00:00:00,20.0\n")

    stem = read_csv(path, sensor=None, time="timestamp", values=["value"])
    named = read_csv(path, sensor=None, sensor_name="m-1", time="timestamp", values=["value"])

    assert (stem["sensor"].tolist(), named["sensor"].tolist()) == (["pumps"], ["m-1"])


def test_blank_lines_are_no_readings_but_count_as_lines(csv):
    path = csv(HEADER + "p,2026-01-05,1,1\n\np,2026-01-05,x,1\n")

    assert refusal(path) == f"'x' is not a number\n  in {path} line 4, column pressure_bar"


@pytest.mark.parametrize("reading", ["x", "1,5", "1_000", "inf", "0x10", "True", "12 bar"])
def test_what_is_not_a_number_is_refused_with_its_line(csv, reading):
    path = csv(f'{HEADER}p,2026-01-05,1,1\np,2026-01-05,"{reading}",1\n')

    assert refusal(path) == f"{reading!r} is not a number\n  in {path} line 3, column pressure_bar"


def test_further_bad_readings_are_counted(csv):
    path = csv(HEADER + "p,2026-01-05,x,1\n" * 3)

    assert refusal(path) == (
        f"'x' is not a number\n  in {path} line 2, column pressure_bar\n  2 more such lines"
    )


@pytest.mark.parametrize("time", ["yesterday", "05/01/2026", "", "12"])
def test_what_is_not_a_time_is_refused_with_its_line(csv, time):
    path = csv(f"{HEADER}p,{time},1,1\n")

    assert refusal(path) == (
        f"{time!r} is not a time, such as 2026-01-05T00:00:00Z\n  in {path} line 2, column at"
    )


def test_a_reading_without_a_sensor_is_refused(csv):
    path = csv(HEADER + ",2026-01-05,1,1\n")

    assert refusal(path) == f"'' is not the name of a sensor\n  in {path} line 2, column pump"


def test_a_missing_column_is_answered_with_the_nearest(csv):
    path = csv(HEADER)

    assert refusal(path, values=["presure_bar"]) == (
        f"there is no column 'presure_bar'\n  in {path} line 1\n  did you mean 'pressure_bar'?"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "No columns to parse from file"),
        (HEADER + "p,2026-01-05,1,1,1\n", "its lines are longer than its header"),
        (
            HEADER + "p,2026-01-05,1,1\np,2026-01-05,1,1,1\n",
            "Error tokenizing data. C error: Expected 4 fields in line 3, saw 5",
        ),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_what_is_not_csv_is_refused(csv, content, reason):
    path = csv(content)

    assert refusal(path) == f"not a CSV file: {reason}\n  in {path}"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert refusal(tmp_path / "none.csv") == (
        f"cannot be read: No such file or directory\n  in {tmp_path}/none.csv"
    )


@pytest.mark.skipif(not NAB.is_dir(), reason=f"NAB is not at {NAB}: set WORKBENCH_NAB")
@pytest.mark.parametrize("path", sorted(NAB.glob("data/*/*.csv")), ids=lambda path: path.stem)
def test_nab_files_go_in_as_they_are(path):
    frame = read_csv(path, sensor=None, time="timestamp", values=["value"])

    assert len(frame) == len(path.read_text().splitlines()) - 1
    assert frame["value"].notna().all()
    assert frame["timestamp"].dt.tz is not None
