"""Exports with something odd in them: read as they are meant, or refused with what mends it."""

import datetime as dt
import gzip
import io
import os
import pty
import shlex
import subprocess
import sys
import tarfile
import warnings
import zipfile

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from openpyxl.utils.datetime import MAC_EPOCH

from workbench.cli import cli
from workbench.errors import ServicesError
from workbench.services import CsvFormat, ingest_frame, look

TIMES = pd.to_datetime(["2026-02-13T10:00:00Z", "2026-02-13T10:01:00Z", "2026-02-13T10:02:00Z"])
EPOCH_S = [1770976800, 1770976860, 1770976920]
LINES = [f"{time:%Y-%m-%dT%H:%M:%SZ},{bar}" for time, bar in zip(TIMES, (7.25, 8, 9), strict=True)]


def csv(header, *lines, end="\n"):
    return end.join([header, *lines, ""])


def excel(*rows, change=lambda book: None):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"time": pa.array(TIMES), "bar": [7.25, 8.0, 9.0]} | columns), buffer)
    return buffer.getvalue()


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, csv("time,bar", *LINES))
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        content = csv("time,bar", *LINES).encode()
        member = tarfile.TarInfo("a.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


DAY = dt.datetime(2026, 2, 13, 10)
DAYS = [(dt.datetime(2026, 2, 13, 10, minute), bar) for minute, bar in enumerate((7.25, 8, 9))]
READ = {  # all are the same three readings
    "a separator behind each reading.csv": csv("time,bar", *(f"{line}," for line in LINES)),
    "a separator behind the header.csv": csv("time,bar,", *LINES),
    "a separator behind all.csv": csv("time;bar;", *(f"{x};".replace(",", ";") for x in LINES)),
    "a line for Excel.csv": csv("sep=;", "time;bar", *(x.replace(",", ";") for x in LINES)),
    "milliseconds behind a comma.csv": csv(
        "time;bar",
        *(f"{t:%d.%m.%Y %H:%M:%S},000;{b}" for t, b in zip(TIMES, ("7,25", "8", "9"), strict=True)),
    ),
    "seconds of savetxt.csv": csv(
        "time,bar", *(f"{s:.18e},{b}" for s, b in zip(EPOCH_S, (7.25, 8, 9), strict=True))
    ),
    "carriage returns.csv": csv("time,bar", *LINES, end="\r"),
    "big endian.csv": csv("time,bar", *LINES).encode("utf-16-be"),
    "utf-16 in gzip.csv.gz": gzip.compress(csv("time,bar", *LINES).encode("utf-16")),
    "gzip in gzip.csv.gz": gzip.compress(gzip.compress(csv("time,bar", *LINES).encode())),
    "empty column.csv": csv("time,bar,flow", *(f"{line}," for line in LINES)),
    "microseconds as doubles.parquet": parquet(time=[s * 1e6 for s in EPOCH_S]),
    "nanoseconds as doubles.parquet": parquet(time=[s * 1e9 for s in EPOCH_S]),
    "structs beside.parquet": parquet(place=[{"x": 1}] * 3, tags=[["a"], [], None]),
    "dictionaries.parquet": parquet(bar=pa.array([7.25, 8.0, 9.0]).dictionary_encode()),
    "merged title.xlsx": excel(
        ["Werk Nord", None], ["time", "bar"], *DAYS,
        change=lambda book: book.active.merge_cells("A1:B1"),
    ),
    "serial days.xlsx": excel(
        ["time", "bar"], [46066.4166666667, 7.25], [46066.4173611111, 8], [46066.4180555556, 9]
    ),
    "dates from 1904.xlsx": excel(
        ["time", "bar"], *DAYS, change=lambda book: setattr(book, "epoch", MAC_EPOCH)
    ),
}  # fmt: skip


@pytest.fixture
def export(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(path, *options):
    error = CliRunner().invoke(cli, ["ingest", str(path), *options]).exception
    assert isinstance(error, ServicesError), error
    return error


@pytest.mark.parametrize("name", READ)
def test_an_odd_export_is_read_by_the_command_that_a_look_proposes(export, name):
    error = refused(export(name, READ[name]))
    command = shlex.split(error.hint.split("say so: workbench ")[1])

    result = CliRunner().invoke(cli, command)

    assert "--time time" in error.hint
    assert error.hint.endswith("--values bar") or "--values bar --" in error.hint
    assert result.output.splitlines()[0] == (
        "3 readings of 1 sensor, 2026-02-13T10:00:00Z to 2026-02-13T10:02:00Z"
    ), result.exception


FORMULA = "'=1+1' is a formula without its result"
REFUSED = {  # what a look says, and what the command says that names the columns
    "an exponent.csv": (
        csv("time,bar", "1.77098E+12,1", "1.77098E+12,2"),
        "time: '1.77098E+12' has an exponent, by which digits are lost",
        "'1.77098E+12' has an exponent, by which digits are lost",
    ),
    "an exponent among others.csv": (
        csv("time,bar", "1.7e9,1", "1700000060,2", "1700000120,3"),
        "time: '1.7e9' has an exponent, by which digits are lost",
        "'1.7e9' has an exponent, by which digits are lost",
    ),
    "two formats.csv": (
        csv("time,bar", *LINES, "13.02.2026 10:03:00,1"),
        "time: '13.02.2026 10:03:00' is not a time in ISO 8601",
        "'13.02.2026 10:03:00' is not a time in ISO 8601",
    ),
    "colons.csv": (
        csv("time:bar", "20260213:1", "20260214:2"),
        "it has one column: what separates its fields? --sep says so",
        "there is no column 'time'",
    ),
    "units in cells.csv": (
        csv("time,bar", "2026-02-13,1.5 bar", "2026-02-14,2.5 bar"),
        "no numbers: '1.5 bar' in bar",
        "no column of numbers matches *",
    ),
    "nothing.csv": ("", "there is no header", "there is no header"),
    "a header alone.csv": ("time,bar\n", "there is no reading in it", "there is no reading in it"),
    "json.csv": (
        '[{"time": "2026-02-13", "bar": 1}]',
        "it is JSON, no table",
        "it is JSON, no table",
    ),
    "a page.csv": (
        "<!DOCTYPE html><html>login</html>",
        "it is HTML or XML, no table",
        "it is HTML or XML, no table",
    ),
    "two files.zip": (
        zipped("a.csv", "b.csv"),
        "the archive holds 2 files, expected one",
        "the archive holds 2 files, expected one",
    ),
    "no file.zip": (
        zipped(),
        "the archive holds 0 files, expected one",
        "the archive holds 0 files, expected one",
    ),
    "an archive.tar.gz": (tarred(), "a tar archive", "a tar archive"),
    "bytes.parquet": (
        parquet(pump=[b"a", b"b", b"\xff"]),
        "column 'pump', of binary, is no text: ",
        "column 'pump', of binary, is no text: ",
    ),
    "lists.parquet": (
        parquet(bar=[[1.0], [2.0], [3.0]]),
        "'bar' holds lists or records: left out",
        "no column of numbers matches *",
    ),
    "formulas.xlsx": (excel(["time", "bar"], [DAY, "=1+1"]), FORMULA, FORMULA),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_what_stands_in_the_way(export, name):
    content, looked, read = REFUSED[name]
    path = export(name, content)

    assert looked in str(refused(path))
    assert read in str(refused(path, "--look", "--time", "time", "--values", "*"))


def test_a_formula_without_a_result_is_no_missing_reading(export):
    path = export("a.xlsx", excel(["time", "bar"], [DAY, "=1+1"], *DAYS, [DAY, None]))

    error = refused(path, "--look", "--time", "time", "--values", "bar")
    kept = look(path, time="time", values=["bar"], skip_damaged=True)

    assert f"{FORMULA}\n  in {path} line 2, column bar\n  open the workbook in" in str(error)
    assert [damage.line for damage in kept.left_out] == [2]
    assert kept.frame["bar"].fillna(-1).tolist() == [7.25, -1, 8, 9]


def test_days_that_a_workbook_counts_from_1904_are_not_taken_for_those_from_1900(export):
    rows = [[44604.4166666667, 7.25], [44604.4173611111, 8]]  # of 2026, in such a workbook
    content = excel(["time", "bar"], *rows, change=lambda book: setattr(book, "epoch", MAC_EPOCH))

    error = refused(export("a.xlsx", content), "--look", "--time", "time", "--values", "bar")

    assert "the days of this workbook count from 1904, not from 1900" in str(error)


@pytest.mark.parametrize(
    "rows",
    [
        [["Datum", "Zeit", "bar"], [dt.date(2026, 2, 13), dt.time(10), 1.0]],
        [["Datum", "Zeit", "bar"], [dt.datetime(2026, 2, 13), dt.time(10, 1), 1.0]],
    ],
)
def test_dates_of_a_workbook_beside_times_of_day_are_not_taken_for_midnights(export, rows):
    error = refused(export("a.xlsx", excel(*rows)))

    assert error.message == "the day is in column 'Datum', the time of day in 'Zeit'"


def test_columns_without_a_name_are_not_left_out_in_silence(export):
    path = export("a.csv", csv("time,P1,,P2,", *(f"{line},2,3,4" for line in LINES)))
    book = export("a.xlsx", excel(["time", "bar"], [*DAYS[0], 5.0]))

    assert "2 columns have no name, and are left out" in refused(path).hint
    assert look(path, time="time", values=["*"]).remarks == (
        "2 columns have no name, and are left out",
    )
    assert look(book, time="time", values=["*"]).remarks == (
        "1 column has no name, and is left out",
    )


def test_a_column_with_other_marks_is_not_left_out_in_silence(export):
    lines = [f"2026-02-{day};{day},5;{day}.5" for day in range(10, 14)]
    path = export("a.csv", csv("time;bar;flow", *lines))

    error = refused(path)

    assert "'bar' has other marks, as '10,5', and is left out" in error.hint
    assert error.hint.endswith("--sep ';' --time time --values flow")


def test_two_hundred_columns_are_proposed_and_read_in_a_few_words(export):
    names = [f"T{number}" for number in range(200)]
    lines = [f"{time:%Y-%m-%dT%H:%M:%SZ}," + ",".join(["1.5"] * 200) for time in TIMES]
    path = export("a.csv", csv(",".join(["time", *names]), *lines))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        looked = look(path, time="time", values=["*"])

    assert looked.fields == tuple(names)
    assert refused(path).hint.endswith("--look --time time --values '*'")
    assert len(str(refused(path))) < 800


@pytest.mark.parametrize(("code", "count"), [(-999, 1), (9999, 1), (-998, 0)])
def test_a_value_that_may_say_missing_is_asked_about(code, count):
    bars = [code if row % 5 == 0 else 5.5 for row in range(20)]
    frame = pd.DataFrame({"time": pd.date_range(TIMES[0], periods=20, freq="s"), "bar": bars})

    remarks = look(frame, time="time", values=["bar"]).remarks

    assert list(remarks) == count * [
        f"bar is {code} in 4 of 20 readings: if that says that there is none, --missing {code}"
    ]


def test_one_reading_is_told_as_one(export):
    looked = look(export("a.csv", csv("time,bar", LINES[0])), time="time", values=["bar"])

    assert looked.lines()[0].startswith("1 reading of 1 sensor, ")


def test_doubles_in_a_frame_may_be_times():
    frame = pd.DataFrame({"time": [s * 1e3 for s in EPOCH_S], "bar": [1.0, 1e23, 2e15]})

    looked = look(frame, time="time", values=["bar"])

    assert looked.frame["time"].tolist() == TIMES.tolist()
    assert looked.frame["bar"].tolist() == [1.0, 1e23, 2e15]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([[1], [2], [3]], "'list<item: int64>' is not a number"),
        ([{"a": 1}, {"a": 2}, None], "'struct<a: int64>' is not a number"),
        (pd.interval_range(0, 3), "interval"),
    ],
)
def test_what_is_no_column_of_numbers_is_refused_by_its_kind(column, said):
    frame = pd.DataFrame({"time": TIMES, "bar": column})

    with pytest.raises(ServicesError, match="is not a number") as error:
        look(frame, time="time", values=["bar"])

    assert said in str(error.value)


def test_one_text_is_not_taken_for_a_list_of_letters():
    frame = pd.DataFrame({"time": TIMES, "bar": [1.0, 2.0, 3.0]})

    with pytest.raises(ServicesError, match=r"^values is 'bar', expected a list of columns"):
        look(frame, time="time", values="bar")
    with pytest.raises(ServicesError, match=r"^missing is 'Bad', expected a list of texts"):
        CsvFormat(missing="Bad")


@pytest.mark.parametrize("export", [None, ["a.csv", "b.csv"], pa.table({"time": [1]}), b"a.csv"])
def test_what_is_no_export_is_said_so(export):
    with pytest.raises(ServicesError, match=r"^an export is a path or a frame of pandas, not a "):
        look(export, time="time", values=["bar"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"batch_messages": 1}, "batch_messages is 1\n  a whole number of 2 or more"),
        ({"batch_messages": 2.5}, "batch_messages is 2.5\n  a whole number of 2 or more"),
        ({"rate": 0}, "rate is 0, expected more than 0"),
        ({"rate": float("nan")}, "rate is nan, expected more than 0"),
    ],
)
def test_a_pace_that_no_client_takes_is_refused_before_the_broker_is_asked(option, said):
    frame = pd.DataFrame({"pump": "P1", "time": TIMES, "bar": [1.0, 2.0, 3.0]})

    with pytest.raises(ServicesError) as error:
        ingest_frame(frame, "t", sensor="pump", time="time", values=["bar"], **option)

    assert str(error.value).startswith(said)


def test_hours_that_a_clock_shows_twice_or_never_are_refused_by_their_lines(export):
    spring = csv("time,bar", *(f"2026-03-29 0{h}:30:00,{h}" for h in range(1, 5)))
    autumn = csv("time,bar", *(f"2026-10-25 0{h}:30:00,{h}" for h in (1, 2, 2, 3)))
    options = ["--look", "--time", "time", "--values", "bar", "--time-zone", "Europe/Berlin"]

    for content, lines in ((spring, "line 3"), (autumn, "line 3")):
        error = refused(export("a.csv", content), *options)
        assert "comes twice or never in Europe/Berlin" in error.message
        assert lines in str(error)


def test_a_wait_is_told_at_a_terminal_and_to_no_file(export):
    path = export("a.csv", csv("time,bar", *LINES))
    code = "from workbench.cli import main; main()"
    command = [sys.executable, "-c", code, "ingest", str(path), "--look", "--time", "time"]
    ours, theirs = pty.openpty()

    quiet = subprocess.run([*command, "--values", "bar"], stderr=subprocess.PIPE, check=True)
    subprocess.run([*command, "--values", "bar"], stderr=theirs, check=True)

    assert quiet.stderr == b""
    assert os.read(ours, 1000).decode() == (
        f"reading {path} whole: some 2 s for a million readings\r\n"
    )
    os.close(ours)
    os.close(theirs)
