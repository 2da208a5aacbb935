"""Exports as plants write them: read right, or refused with the command that mends it."""

import gzip
import io
import re
import shlex
import zipfile
from decimal import Decimal
from uuid import UUID

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

import workbench
from workbench.cli import cli
from workbench.errors import ServicesError
from workbench.services import CsvFormat, Narrow, look, propose
from workbench.services.ingestion.numerals import inexact
from workbench.services.ingestion.pivot import pivot
from workbench.times import epoch_ms

TIMES = pd.to_datetime(["2026-02-13T10:00:00Z", "2026-02-13T10:01:00Z", "2026-02-13T10:02:00Z"])
BARS = [7.25, 1234.5, -0.5]
PLAIN = "time,pump,bar\n" + "".join(
    f"{time:%Y-%m-%dT%H:%M:%SZ},P1,{bar}\n" for time, bar in zip(TIMES, BARS, strict=True)
)


def german(head="", units="", thousands="", sep=";"):
    """Return a table with decimal commas, and times as Germans write them."""
    bars = [f"{bar:,.2f}".replace(",", "x").replace(".", ",") for bar in BARS]
    rows = [
        f"{time:%d.%m.%Y %H:%M:%S}{sep}P1{sep}{bar.replace('x', thousands)}\n"
        for time, bar in zip(TIMES, bars, strict=True)
    ]
    return f"{head}Zeit{sep}Pumpe{sep}Füllstand [m³]\n{units}{''.join(rows)}"


def zipped(name, text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def frame(**columns):
    return pd.DataFrame({"time": TIMES, "pump": "P1", "bar": BARS} | columns)


def arrays(table):
    return pa.table({name: pa.array(table[name]) for name in table})


def parquet(table):
    buffer = io.BytesIO()
    pq.write_table(arrays(table), buffer)
    return buffer.getvalue()


def arrow(table):
    buffer = io.BytesIO()
    feather.write_feather(arrays(table), buffer)
    return buffer.getvalue()


def excel(head=()):
    book = openpyxl.Workbook()
    for row in head:
        book.active.append(row)
    book.active.append(["time", "pump", "bar"])
    for time, bar in zip(TIMES, BARS, strict=True):
        book.active.append([time.tz_localize(None).to_pydatetime(), "P1", bar])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


CORPUS = {
    "comma.csv": PLAIN,
    "semicolon.csv": PLAIN.replace(",", ";"),
    "tab.tsv": PLAIN.replace(",", "\t"),
    "pipe.txt": PLAIN.replace(",", "|"),
    "quotes.csv": re.sub(r"[^,\n]+", r'"\g<0>"', PLAIN),
    "crlf.csv": PLAIN.replace("\n", "\r\n"),
    "byte-order-mark.csv": PLAIN.encode("utf-8-sig"),
    "utf-16.csv": PLAIN.encode("utf-16"),
    "utf-16-without-mark.csv": PLAIN.encode("utf-16-le"),
    "blank-lines.csv": PLAIN.replace("\n", "\n\n"),
    "no-sensor.csv": PLAIN.replace("P1,", "").replace("pump,", ""),
    "seconds.csv": PLAIN.replace("T", " "),
    "epoch.csv": "time,pump,bar\n"
    + "".join(f"{t.value // 10**9},P1,{b}\n" for t, b in zip(TIMES, BARS, strict=True)),
    "epoch-with-fraction.csv": "time,pump,bar\n"
    + "".join(f"{t.value // 10**9}.0,P1,{b}\n" for t, b in zip(TIMES, BARS, strict=True)),
    "compact.csv": "time,pump,bar\n"
    + "".join(f"{t:%Y%m%d%H%M%S},P1,{b}\n" for t, b in zip(TIMES, BARS, strict=True)),
    "us.csv": "time,pump,bar\n"
    + "".join(f"{t:%m/%d/%Y %I:%M:%S %p},P1,{b}\n" for t, b in zip(TIMES, BARS, strict=True)),
    "months.csv": "time,pump,bar\n"
    + "".join(f"{t:%d-%b-%Y %H:%M:%S},P1,{b}\n" for t, b in zip(TIMES, BARS, strict=True)),
    "time-last.csv": "pump,bar,Stamp\n"
    + "".join(f"P1,{b},{t:%Y-%m-%dT%H:%M:%SZ}\n" for t, b in zip(TIMES, BARS, strict=True)),
    "german.csv": german(),
    "german-latin-1.csv": german().encode("cp1252"),
    "german-thousands.csv": german(thousands="."),
    "german-head.csv": german(head="Werk Nord\nExport vom 14.02.2026\n"),
    "german-units.csv": german(units=";;m³\n"),
    "german-tabs.csv": german(sep="\t"),
    "gzip.csv.gz": gzip.compress(PLAIN.encode()),
    "gzip-without-ending.csv": gzip.compress(PLAIN.encode()),
    "zstd.csv.zst": zstandard.compress(PLAIN.encode()),
    "zstd-two-frames.csv.zst": zstandard.compress(PLAIN[:20].encode())
    + zstandard.compress(PLAIN[20:].encode()),
    "zip.zip": zipped("pumps.csv", PLAIN),
    "parquet.parquet": parquet(frame()),
    "parquet-naive.parquet": parquet(frame(time=TIMES.tz_localize(None))),
    "parquet-category.parquet": parquet(frame().astype({"pump": "category"})),
    "parquet-called.csv": parquet(frame()),
    "arrow.feather": arrow(frame()),
    "arrow-nanoseconds.arrow": arrow(frame(time=TIMES.as_unit("ns"))),
    "excel.xlsx": excel(),
    "excel-called.csv": excel(),
    "excel-titles.xlsx": excel(head=[["Messwerte Halle 2"], []]),
    "influx.csv": "#datatype,string,long,dateTime:RFC3339,double,string,string\n"
    "#group,false,false,false,false,true,true\n#default,_result,,,,,\n"
    ",result,table,_time,_value,_field,machine\n"
    + "".join(
        f",,0,{t:%Y-%m-%dT%H:%M:%S}.123456789Z,{b},bar,P1\n"
        for t, b in zip(TIMES, BARS, strict=True)
    ),
    "missing.csv": PLAIN + "2026-02-13T10:03:00Z,P1,Bad\n",
    "space.csv": PLAIN.replace("bar", "Discharge pressure (bar)"),
    "unicode.csv": PLAIN.replace("bar", "圧力"),
    "comma-in-a-name.csv": PLAIN.replace("bar", '"pressure, bar"'),
    "narrow.csv": PLAIN.replace("pump", "tag").replace("bar", "value"),
}


@pytest.fixture
def export(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("name", CORPUS)
def test_an_export_is_refused_with_the_command_that_reads_it(export, name):
    path = export(name, CORPUS[name])

    refused = CliRunner().invoke(cli, ["ingest", str(path)])
    assert isinstance(refused.exception, ServicesError), refused.exception
    command = refused.exception.hint.split("say so: workbench ")[1]
    read = CliRunner().invoke(cli, shlex.split(command))
    found = CliRunner().invoke(cli, [*shlex.split(command)[:2], *shlex.split(command)[2:]])

    assert read.exit_code == found.exit_code == 0, read.exception
    count = 4 if name == "missing.csv" else 3
    last = "10:03:00Z" if name == "missing.csv" else "10:02:00Z"
    assert read.output.splitlines()[0] == (
        f"{count} readings of 1 sensor, 2026-02-13T10:00:00Z to 2026-02-13T{last}"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-02-13T10:00:00Z;10.5\n2026-02-13T10:01:00Z;10.6\n",
         "there is no header: '2026-02-13T10:00:00Z' and '10.5' are a reading"),
        ("Datum;Zeit;bar\n13.02.2026;10:00:00;1,5\n13.02.2026;10:01:00;1,6\n",
         "the day is in column 'Datum', the time of day in 'Zeit'"),
    ],
    ids=["no header", "two columns"],
)  # fmt: skip
def test_a_look_proposes_nothing_that_would_lose_a_reading_or_its_time(export, text, said):
    refused = CliRunner().invoke(cli, ["ingest", str(export("a.csv", text))])

    assert isinstance(refused.exception, ServicesError)
    assert refused.exception.message == said


def test_a_line_of_totals_and_an_empty_column_keep_no_export_from_being_looked_at(export):
    lines = [f"13.02.2026 10:{minute:02};{minute},5;\r\n" for minute in range(30)]
    path = export("werk.csv", "Zeit;Druck [bar];\r\n" + "".join(lines) + "Mittelwert;14,5;\r\n")

    proposal = propose(str(path))
    command = proposal.commands(None)[""]
    refused = CliRunner().invoke(cli, shlex.split(command)[1:])
    read = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--skip-damaged"])
    every = look(path, time="Zeit", values=["*"], skip_damaged=True, form=CsvFormat(
        sep=";", decimal=",", time_format="%d.%m.%Y %H:%M"))  # fmt: skip

    assert "'Mittelwert' is not a time" in str(refused.exception)
    assert "--skip-damaged leaves such lines out" in str(refused.exception)
    assert "30 readings of 1 sensor" in read.output
    assert "line 32: 'Mittelwert' is not a time" in read.output
    assert not [line for line in every.lines() if "without numbers" in line]


def test_a_column_that_stands_twice_is_asked_for(export):
    path = export("twice.csv", "time,T,T\n2026-02-13T10:00:00Z,1.5,2.5\n")

    refused = CliRunner().invoke(cli, ["ingest", str(path)])

    assert "column 'T' stands 2 times" in str(refused.exception)
    assert "which one is meant?" in str(refused.exception)


def test_numbers_may_name_columns(export):
    path = export("a.csv", "time,101,102\n2026-02-13T10:00:00Z,1.5,3\n2026-02-13T10:01:00Z,1,2\n")

    assert propose(str(path)).options["values"] == ("101,102",)


def test_a_duration_is_no_reading_before_its_unit_is_said():
    waits = frame(wait=pd.to_timedelta([1, 2, 3], unit="s"))

    with pytest.raises(ServicesError, match="a column holds durations"):
        look(waits, sensor="pump", time="time", values=["wait"])


def read(path, **options):
    return look(path, **({"sensor": "pump", "time": "time", "values": ["bar"]} | options)).frame


@pytest.mark.parametrize(
    "name",
    ["comma.csv", "quotes.csv", "crlf.csv", "byte-order-mark.csv", "gzip-without-ending.csv",
     "zstd-two-frames.csv.zst", "zip.zip", "parquet.parquet", "parquet-naive.parquet",
     "parquet-category.parquet", "parquet-called.csv", "arrow.feather", "arrow-nanoseconds.arrow",
     "excel.xlsx", "excel-called.csv"],
)  # fmt: skip
def test_what_says_the_same_is_read_the_same(export, name):
    rows = read(export(name, CORPUS[name]))

    assert rows["time"].tolist() == TIMES.tolist()
    assert (rows["pump"].tolist(), rows["bar"].tolist()) == (["P1"] * 3, BARS)


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u202f", "\u2009"])
def test_a_space_between_thousands_may_be_a_narrow_one(export, space):
    path = export("german.csv", german(thousands=space))
    form = CsvFormat(sep=";", decimal=",", thousands=" ", time_format="%d.%m.%Y %H:%M:%S")

    found = read(path, sensor="Pumpe", time="Zeit", values=["*"], form=form)

    assert found["Fuellstand_m3"].tolist() == BARS


@pytest.mark.parametrize("text", ["1.23", "1.2345", "12.34.567", "1,5.000", ".500"])
def test_what_has_marks_of_thousands_elsewhere_is_no_number(export, text):
    path = export("a.csv", f"time;bar\n2026-02-13;{text}\n")
    form = CsvFormat(sep=";", decimal=",", thousands=".")

    with pytest.raises(ServicesError, match="is not a number"):
        read(path, sensor=None, form=form)


def test_a_frame_is_read_as_a_file_is():
    looked = look(frame().set_index("time"), sensor="pump", time="time", values=["bar"])

    pd.testing.assert_frame_equal(looked.frame, frame()[["pump", "time", "bar"]], check_dtype=False)
    assert workbench.ingest is workbench.services.ingest


@settings(max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_no_reading_of_a_frame_is_rounded(values):
    table = pd.DataFrame({"time": TIMES[0], "bar": values})

    looked = look(table, time="time", values=["bar"])

    np.testing.assert_array_equal(looked.frame["bar"].to_numpy(), values)


def test_halves_are_the_doubles_that_they_are():
    halves = np.array([0.1, np.nan, 65504.0], dtype=np.float16)
    times = pd.date_range("2026-01-05", periods=3, tz="UTC")
    frame = pd.DataFrame({"pump": "a", "at": times, "bar": halves})

    readings = look(frame, sensor="pump", time="at", values=["bar"]).frame["bar"]

    np.testing.assert_array_equal(readings, halves.astype(np.float64))


@pytest.mark.parametrize("typed", [True, False])
def test_a_whole_number_that_no_double_holds_is_no_reading(tmp_path, typed):
    numbers = [2**53 - 1, -(2**53), 2**54 + 4, 2**53 + 1]
    frame = pd.DataFrame({"at": pd.date_range("2026-01-05", periods=4, tz="UTC"), "wh": numbers})
    path = tmp_path / "meter.csv"
    frame.to_csv(path, index=False)
    export = frame if typed else path

    kept = look(export if typed else path, time="at", values=["wh"], skip_damaged=True)

    assert kept.frame["wh"].tolist() == numbers[:3]
    with pytest.raises(ServicesError, match=r"^'9007199254740993' has more digits than a reading"):
        look(export, time="at", values=["wh"])
    assert look(
        export, time="at", values=["wh"], form=CsvFormat(missing=["9007199254740993"])
    ).frame["wh"].isna().tolist() == [False, False, False, True]


def test_sensors_of_a_frame_are_named_as_those_of_a_file():
    names = [" a", "a ", "a", "b\u200b"]
    frame = pd.DataFrame({"at": pd.date_range("2026-01-05", periods=4, tz="UTC"), "pump": names})
    frame = frame.assign(bar=1.0)

    kept = look(frame, sensor="pump", time="at", values=["bar"], skip_damaged=True)

    assert kept.frame["pump"].tolist() == ["a"] * 3
    assert [damage.why for damage in kept.left_out] == ["'b\\u200b' hides the character U+200B"]


def test_sensors_that_are_uuids_are_named_by_their_texts():
    names = [UUID(int=1), UUID(int=2), UUID(int=1)]

    looked = look(frame(pump=names), sensor="pump", time="time", values=["bar"])

    assert looked.frame["pump"].tolist() == [str(name) for name in names]
    with pytest.raises(ServicesError, match=r"(?s)of mixed kinds: .* in the frame, column pump"):
        look(frame(pump=[UUID(int=1), 2, "x"]), sensor="pump", time="time", values=["bar"])


@pytest.mark.parametrize("name", ["sensor_id", "Maschine", "id", "PumpenNr"])
def test_numbers_that_name_machines_are_proposed_as_sensors_not_as_readings(export, name):
    rows = [f"2026-01-05T00:00:{s:02d}Z,{one},{20 + s}" for s in range(9) for one in (7, 8, 9)]
    path = export("pumps.csv", "\n".join([f"time,{name},speed", *rows]).encode())

    assert propose(str(path)).options == {
        "time": ("time",),
        "sensor": (name,),
        "values": ("speed",),
    }


@pytest.mark.parametrize(
    ("header", "row", "sensor", "values"),
    [
        ("time,pump,machine_speed,flow", "P{i},150{i},{s}.5", "pump", "machine_speed,flow"),
        ("time,Pumpe,Anlagendruck,bar", "P{i},{i},{s}.5", "Pumpe", "Anlagendruck,bar"),
        ("time,sensor_00,sensor_01,machine_status", "{s}.5,{i},OK", None, "sensor_00,sensor_01"),
        ("time,pump,machine_id,flow", "P{i},{i},{s}.5", "pump", "machine_id,flow"),
        ("time,machine_mode,pump,flow", "AUTO,P{i},{s}.5", "pump", "flow"),
        ("time,Anlagenzustand,Pumpe,flow", "an,P{i},{s}.5", "Pumpe", "flow"),
        ("time,machine_id,site_id,flow", "{i},1,{s}.5", "machine_id", "site_id,flow"),
    ],
)  # fmt: skip
def test_no_reading_is_proposed_as_a_sensor_and_none_is_dropped(
    export, header, row, sensor, values
):
    rows = (f"2026-01-05T00:00:{s:02d}Z," + row.format(i=s % 2, s=s) for s in range(40))

    options = propose(str(export("a.csv", "\n".join([header, *rows])))).options

    assert options.get("sensor", (None,)) == (sensor,)
    assert options["values"] == (values,)


def test_what_may_name_the_sensor_and_is_read_as_something_else_is_said(export):
    rows = "".join(f"2026-01-05T00:00:{s:02d}Z,P1,{s % 3},{s}.5\n" for s in range(40))
    texts = export("texts.csv", f"time,pump,machine_id,flow\n{rows}")
    numbers = export("numbers.csv", f"time,machine_id,flow\n{rows.replace('P1,', '')}")

    assert propose(str(texts)).remarks == ("if 'machine_id' names the sensor, say --sensor",)
    assert propose(str(numbers)).remarks == (
        "'machine_id' is taken for the name of the sensor, not for readings",
    )


def test_a_number_too_long_for_a_reading_is_not_proposed_as_one(export):
    rows = "".join(
        f"2026-01-05T00:00:{s:02d}Z,{1234567890123456789 + 7 * s},{s}.5\n" for s in range(40)
    )
    path = export("records.csv", f"time,record_id,flow\n{rows}")

    proposal = propose(str(path))
    assert proposal.options["values"] == ("flow",)
    assert proposal.remarks == (
        "'record_id' has more digits than a reading can hold, and is left out",
    )
    with pytest.raises(ServicesError) as refused:
        look(path, time="time", values=["*"])
    assert str(refused.value).splitlines()[2:] == [
        "  if it is the name of something, leave it out of --values",
        "  so or otherwise damaged: lines 3, 4, 5, 6, 7 and 34 more, of 40",
        "  more than a tenth of the lines: is the file written in another way?",
    ]


@pytest.mark.parametrize("text", ["9007199254740993.0", "9007199254740992.5", "9007199254740993e0"])
@pytest.mark.parametrize("written", ["csv", "parquet", "frame"])
def test_a_number_with_a_point_that_no_double_holds_is_no_reading(export, text, written):
    table = pd.DataFrame({"time": TIMES[:1], "wh": [Decimal(text)]})
    given = {
        "csv": lambda: export("a.csv", f"time,wh\n2026-02-13T10:00:00Z,{text}\n"),
        "parquet": lambda: export("a.parquet", parquet(table)),
        "frame": lambda: table,
    }[written]()

    with pytest.raises(ServicesError, match="has more digits than a reading"):
        look(given, time="time", values=["wh"])


@settings(max_examples=200)
@given(st.floats(2.0**53, 1e300), st.integers(0, 25))
def test_a_double_in_any_number_of_digits_from_its_own_on_is_that_double(number, digits):
    texts = [repr(number), f"{number:.{17 + digits}e}", f"{number:.1f}", str(int(number))]

    assert not inexact(pa.array(texts), np.full(len(texts), number)).any()
    assert inexact(pa.array([str(int(number) + 1)]), np.array([float(int(number) + 1)])).all()


def test_a_folder_and_a_glob_are_read_whole_and_a_file_names_its_sensor(export, tmp_path):
    for pump in ("P1", "P2"):
        export(f"{pump}.csv", CORPUS["no-sensor.csv"])

    for whole in (tmp_path, tmp_path / "P*.csv"):
        found = read(whole, sensor=None)
        assert sorted(found["sensor"]) == ["P1"] * 3 + ["P2"] * 3
        assert found["time"].is_monotonic_increasing


def test_stdin_is_a_file():
    command = "ingest - --time time --sensor pump --values bar --look"

    result = CliRunner().invoke(cli, command, input=PLAIN)

    assert result.output.startswith("3 readings of 1 sensor")


def test_a_pattern_takes_columns_of_numbers_and_says_what_it_left(export):
    path = export("a.csv", "time,T1,T2,flow,note\n2026-02-13,1,2,3,ok\n")

    assert look(path, time="time", values=["T*"]).fields == ("T1", "T2")
    looked = look(path, time="time", values=["*"])
    assert looked.fields == ("T1", "T2", "flow")
    assert looked.remarks == ("without numbers, and left out: note",)


def test_names_of_columns_become_fields_and_are_told(export):
    path = export("a.csv", "time,Druck [bar],druck (bar)\n2026-02-13,1,2\n")

    looked = look(path, time="time", values=["*"])
    renamed = look(path, time="time", values=["*"], rename={"Druck [bar]": "p"})

    assert looked.fields == ("Druck_bar", "druck_bar_2")
    assert looked.lines()[2:] == [
        "field Druck_bar is 'Druck [bar]', in bar",
        "field druck_bar_2 is 'druck (bar)', in bar",
    ]
    assert renamed.fields == ("p", "druck_bar")


def test_a_sensor_that_nobody_named_is_asked_for(export):
    path = export("a.csv", "time,pump,bar\n2026-02-13,P1,7\n2026-02-13,P2,8\n")

    assert look(path, time="time", values=["bar"]).lines()[-1] == (
        "times repeat: if a column names the sensor, say --sensor COLUMN"
    )


def test_tags_of_other_units_are_no_sensors(export):
    path = export("a.csv", "time,tag,value\n2026-02-13,P1.bar,7\n2026-02-13,P1.rpm,1450\n")

    assert look(path, sensor="tag", time="time", values=["value"]).lines()[-1] == (
        "value is 7 at P1.bar and 1.45e+03 at P1.rpm: if tag is a tag, --tag tag --value value "
        "makes a field of each"
    )


NARROW = """time,tag,value
2026-02-13T10:00:00.000Z,P1.bar,7
2026-02-13T10:00:00.400Z,P1.flow [l/min],120
2026-02-13T10:00:00.000Z,P2.bar,8
2026-02-13T10:01:00.000Z,P1.bar,Bad
2026-02-13T10:01:00.300Z,P2.bar,9
"""
NAN = np.nan


@pytest.mark.parametrize(
    ("tolerance_s", "hold_s", "rows"),
    [
        (0.0, 0.0, [("P1", 0, 7, NAN), ("P2", 0, 8, NAN), ("P1", 400, NAN, 120),
                    ("P1", 60_000, NAN, NAN), ("P2", 60_300, 9, NAN)]),
        (0.5, 0.0, [("P2", 0, 8, NAN), ("P1", 400, 7, 120), ("P1", 60_000, NAN, NAN),
                    ("P2", 60_300, 9, NAN)]),
        (0.5, 90.0, [("P2", 0, 8, NAN), ("P1", 400, 7, 120), ("P1", 60_000, NAN, 120),
                     ("P2", 60_300, 9, NAN)]),
        (0.0, 1.0, [("P1", 0, 7, NAN), ("P2", 0, 8, NAN), ("P1", 400, 7, 120),
                    ("P1", 60_000, NAN, NAN), ("P2", 60_300, 9, NAN)]),
    ],
)  # fmt: skip
def test_a_narrow_export_becomes_a_reading_per_machine_and_instant(
    export, tolerance_s, hold_s, rows
):
    looked = look(
        export("pi.csv", NARROW),
        time="time",
        narrow=Narrow("tag", "value", r"^(P\d)\.", tolerance_s, hold_s),
        form=CsvFormat(missing=["Bad"]),
    )

    assert looked.fields == ("bar", "flow_l_min")
    ms = (looked.frame["time"] - TIMES[0]) // pd.Timedelta(milliseconds=1)
    found = looked.frame.assign(time=ms).to_numpy().tolist()
    np.testing.assert_equal([tuple(row) for row in found], rows)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["P1", "P2"]), st.sampled_from("abc"), st.integers(0, 20)),
        min_size=1,
    ),
    st.integers(0, 5),
)
@pytest.mark.slow
def test_no_reading_is_lost_in_a_pivot_and_none_invented(readings, tolerance_s):
    long = pd.DataFrame(readings, columns=["machine", "tag", "s"])
    long["at"] = pd.to_datetime(long["s"], unit="s", utc=True)
    long["value"] = np.arange(len(long), dtype=float)

    wide = pivot(long, Narrow("tag", "value", None, tolerance_s), sensor="machine", time="at")

    found = wide.melt(["machine", "at"], var_name="tag").dropna()
    assert sorted(found["value"]) == long["value"].tolist()
    rows = found.set_index("value").sort_index()
    assert (rows[["machine", "tag"]].to_numpy() == long[["machine", "tag"]].to_numpy()).all()
    apart_s = (epoch_ms(rows["at"]) - epoch_ms(long["at"])) / 1000
    assert ((apart_s >= 0) & (apart_s <= tolerance_s)).all()


REFUSED = {
    "a machine in no tag": (
        {"narrow": Narrow("tag", "value", r"^X")},
        "'^X' finds no machine in 3 of 3 tags: 'P1.bar', 'P1.flow [l/min]', 'P2.bar'\n"
        "  a group of it is the machine: as '^([^.]+)\\.' of P1.pressure",
    ),
    "two tags of one name": (
        {"narrow": Narrow("tag", "value", r"^(?P<machine>P)\d")},
        "tags 'P1.bar' and 'P2.bar' are both 'bar' of machine 'P'\n"
        "  let machine_from find less, or a group 'field' more",
    ),
    "a broken expression": (
        {"narrow": Narrow("tag", "value", r"(")},
        "'(' is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    "a renamed column that is not there": (
        {"values": ["value"], "rename": {"vale": "v"}},
        "there is no column 'vale' to rename\n  did you mean 'value'?",
    ),
    "a new name that is none": (
        {"values": ["value"], "rename": {"value": "1 v"}},
        "'1 v' cannot be a field of a schema\n  a letter or _, then letters, digits and _",
    ),
    "no values": ({}, "no columns of readings are named\n  values=['*'] takes them all"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused(export, case):
    asked, message = REFUSED[case]

    with pytest.raises(ServicesError) as error:
        look(export("pi.csv", NARROW), time="time", form=CsvFormat(missing=["Bad"]), **asked)

    assert str(error.value) == message


def two_sheets():
    book = openpyxl.Workbook()
    book.create_sheet("Werk")
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


UNREAD = {
    "two-files.zip": (
        zipped("a.csv", PLAIN),
        "the archive holds 2 files, expected one\n  in {}\n  unpack it, and name the folder",
    ),
    "old.xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a workbook of Excel 97 to 2003\n  in {}\n  save it as .xlsx or .csv",
    ),
    "sheets.xlsx": (
        two_sheets(),
        "the workbook has 2 sheets: Sheet, Werk\n  in {}\n  say which one: --sheet 'Sheet'",
    ),
    "cut.zst": (zstandard.compress(PLAIN.encode())[:-5], "cannot be read: "),
    "broken.gz": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03garbage", "cannot be read: "),
    "broken.xz": (b"\xfd7zXZ\x00garbage-and-more", "cannot be read: "),
    "broken.xlsx": (zipped("[Content_Types].xml", "<Types/>"), "cannot be read: "),
    "cut.parquet": (parquet(frame())[:-9], "cannot be read: "),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_cannot_be_read_is_refused_in_one_line(export, name):
    content, message = UNREAD[name]
    path = export(name, content)
    if name == "two-files.zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("b.csv", PLAIN)

    for call in (lambda: read(path), lambda: propose(str(path))):
        with pytest.raises(ServicesError) as error:
            call()
        assert str(error.value).startswith(message.format(path))


def test_a_wrong_separator_is_answered_with_the_command(export):
    path = export("werk.csv", german(head="Werk Nord\n"))

    result = CliRunner().invoke(cli, f"ingest {path} --look --time Zeit --values *")

    assert result.exception.hint.splitlines()[-1].strip() == (
        f"it reads as: workbench ingest {path} --look --time Zeit --values '*' --sep ';' "
        "--skip-rows 1 --time-format '%d.%m.%Y %H:%M:%S' --decimal , --sensor Pumpe"
    )


TWO_MARKS = CsvFormat(sep=";", decimal=",", thousands=".", time_format="%d.%m.%Y")
TYPED = pd.DataFrame(
    {
        "time": ["13.02.2026", "14.02.2026"],
        "number": [1.25, 1234.5],
        "text": ["1.234,5", "7"],
        "whole": ["1.234", "-2.000"],
    }
)


def workbook(table, **cells):
    buffer = io.BytesIO()
    table.assign(**cells).to_excel(buffer, index=False)
    return buffer.getvalue()


@pytest.mark.parametrize("written", ["frame", "parquet", "arrow", "xlsx"])
def test_texts_beside_typed_numbers_have_the_marks_that_are_told(export, written):
    files = {"parquet": parquet, "arrow": arrow, "xlsx": workbook}
    table = TYPED if written == "frame" else export(f"a.{written}", files[written](TYPED))

    rows = read(table, sensor=None, values=["*"], form=TWO_MARKS)

    assert rows["number"].tolist() == [1.25, 1234.5]
    assert rows["text"].tolist() == [1234.5, 7.0]
    assert rows["whole"].tolist() == [1234.0, -2000.0]


def test_a_cell_of_text_in_a_column_of_numbers_has_the_marks_that_are_told(export):
    path = export("a.xlsx", workbook(TYPED, mixed=pd.Series([1.234, "1.234"], dtype=object)))

    assert read(path, sensor=None, values=["mixed"], form=TWO_MARKS)["mixed"].tolist() == [
        1.234,
        1234.0,
    ]


@pytest.mark.parametrize("written", ["frame", "parquet", "xlsx"])
def test_a_truth_is_no_number(export, written):
    table = frame(valve=[True, False, True]).assign(time=TIMES.tz_localize(None))
    files = {"parquet": parquet, "xlsx": workbook}
    whole = table if written == "frame" else export(f"a.{written}", files[written](table))

    with pytest.raises(ServicesError, match=r"'(true|True)' is not a number"):
        read(whole, values=["valve"])
    assert look(whole, sensor="pump", time="time", values=["*"]).fields == ("bar",)


@pytest.mark.parametrize("code", ["-999", "-999.0", "-9.99e2"])
@pytest.mark.parametrize("written", ["csv", "parquet"])
def test_a_number_that_says_missing_is_no_reading(export, code, written):
    table = frame(bar=[7.25, -999, -99.0])
    content = table.to_csv(index=False) if written == "csv" else parquet(table)

    found = read(export(f"a.{written}", content), form=CsvFormat(missing=[code]))

    np.testing.assert_array_equal(found["bar"], [7.25, np.nan, -99.0])


TWICE = {
    "the sensor as a reading": (
        {"sensor": "pump", "values": ["pump"]},
        "column 'pump' would be 2 columns: a sensor, a time, a tag or a reading\n  in the frame",
    ),
    "the time as the sensor": (
        {"sensor": "time", "values": ["bar"]},
        "column 'time' would be 2 columns: a sensor, a time, a tag or a reading\n  in the frame",
    ),
    "a reading in the place of the sensor's name": (
        {"values": ["sensor"]},
        "column 'sensor' would be 2 columns: a sensor, a time, a tag or a reading\n  in the frame\n"
        "  say --sensor sensor if it names the sensor",
    ),
    "a new name that another has": (
        {"sensor": "pump", "values": ["*"], "rename": {"bar": "flow"}},
        "columns 'bar' and 'flow' are to be 'flow' and 'flow'\n  in rename\n"
        "  fields differ in more than case",
    ),
    "a new name that another has in other case": (
        {"values": ["bar", "flow"], "rename": {"bar": "FLOW"}},
        "columns 'bar' and 'flow' are to be 'FLOW' and 'flow'\n  in rename\n"
        "  fields differ in more than case",
    ),
    "a new name that another has, both asked for": (
        {"values": ["bar", "flow"], "rename": {"bar": "flow"}},
        "columns 'bar' and 'flow' are to be 'flow' and 'flow'\n  in rename\n"
        "  fields differ in more than case",
    ),
    "a new name that is the time's": (
        {"values": ["bar"], "rename": {"bar": "Time"}},
        "columns 'bar' and 'time' are to be 'Time' and 'time'\n  in rename\n"
        "  fields differ in more than case",
    ),
    "a machine, and where to find it": (
        {"sensor": "pump", "narrow": Narrow("pump", "bar", "(P)")},
        "the machine is 'pump', and is to be found in the tag, too\n"
        "  leave out machine_from, or sensor and sensor_name",
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_no_column_takes_the_place_of_another(case):
    asked, message = TWICE[case]

    with pytest.raises(ServicesError) as error:
        look(frame(sensor=[1.0, 2, 3], flow=5.0), time="time", **asked)

    assert str(error.value) == message


def test_a_renamed_column_may_be_asked_for_by_either_name():
    for name in ("bar", "p"):
        looked = look(frame(), sensor="pump", time="time", values=[name], rename={"bar": "p"})
        assert looked.fields == ("p",)


def test_what_is_a_name_already_keeps_it():
    table = frame(**{"Druck [bar]": 1.0, "Druck_bar": 2.0, "time!": 3.0})

    looked = look(table, time="time", values=["Druck*", "time!"])

    assert looked.labels == {"Druck_bar_2": "Druck [bar]", "time_2": "time!"}
    assert looked.frame["Druck_bar"].tolist() == [2.0] * 3
    assert looked.frame["time_2"].tolist() == [3.0] * 3


def test_files_that_lack_a_column_are_told(export, tmp_path):
    export("a.csv", "time,T1,T2\n2026-02-13,1,2\n")
    export("b.csv", "time,T1\n2026-02-14,1\n")

    looked = look(tmp_path, time="time", values=["T*"])

    assert looked.remarks == ("T2 is missing in 1 of 2 files",)


def test_numbers_that_may_be_meant_otherwise_are_told(export):
    rows = ["2026-02-13;1.234;7", "2026-02-14;12.000;8"]
    plain = CsvFormat(sep=";")
    path = export("a.csv", "\n".join(["time;bar;rpm", *rows, ""]))
    sure = export("b.csv", "\n".join(["time;bar;rpm", *rows, "2026-02-15;0.512;9", ""]))

    assert look(path, time="time", values=["*"], form=plain).remarks == (
        "'1.234' is read as 1.234: if its mark is that of thousands, say --thousands",
    )
    assert look(sure, time="time", values=["*"], form=plain).remarks == ()
    assert look(frame(bar=1.234), time="time", values=["bar"]).remarks == ()


@pytest.mark.parametrize("name", ["ms", "row", "field", "again", "machine", "tag", "at", "value"])
def test_a_sensor_column_may_have_any_name_in_a_pivot(name):
    times = pd.to_datetime(["2026-02-13T10:00:00Z"] * 2 + ["2026-02-13T10:01:00Z"])
    names = {"tag": "Messstelle", "value": "Wert", "at": "Zeit"}
    long = pd.DataFrame(
        {name: ["P1", "P2", "P1"], "Zeit": times, "Messstelle": "bar", "Wert": [7.0, 8.0, 9.0]}
    )
    narrow = Narrow(names["tag"], names["value"], None, 0.5, 30.0)

    wide = pivot(long, narrow, sensor=name, time=names["at"])

    assert wide[[name, "bar"]].to_numpy().tolist() == [["P1", 7.0], ["P2", 8.0], ["P1", 9.0]]


def test_a_tag_that_comes_twice_is_counted_in_the_order_of_time():
    at = pd.to_datetime([5, 5, 0], unit="ms", utc=True)
    long = pd.DataFrame({"m": "P1", "at": at, "tag": list("baa"), "value": [3.0, 2.0, 1.0]})

    wide = pivot(long, Narrow("tag", "value", None, 0.005), sensor="m", time="at")

    assert wide["a"].tolist() == [1.0, 2.0]


def test_a_machine_that_a_group_does_not_find_is_refused(export):
    path = export("pi.csv", "time,tag,value\n2026-02-13,P1.bar,7\n2026-02-13,bar,8\n")

    with pytest.raises(ServicesError, match="finds no machine in 1 of 2 tags: 'bar'"):
        look(path, time="time", narrow=Narrow("tag", "value", r"^(?:(P\d)\.)?"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--machine-from (P.)", "--machine-from is of a narrow export: say --tag and --value"),
        ("--tolerance 1 --values *", "--tolerance is of a narrow export: say --tag and --value"),
        ("--hold 1 --tag tag", "--hold is of a narrow export: say --value"),
        ("--value value", "--value is of a narrow export: say --tag"),
        ("--tag t --value v --values *", "a narrow export has --tag and --value, and no --values"),
        (
            "--tag t --value v --machine-from x --sensor s",
            "--machine-from finds the machine: leave out --sensor and --machine",
        ),
    ],
)
def test_options_of_a_narrow_export_go_together(export, options, message):
    path = export("pi.csv", NARROW)

    result = CliRunner().invoke(cli, f"ingest {path} --time time --look {options}")

    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == f"Error: {message}"


def proposed(path, *options):
    refused = CliRunner().invoke(cli, ["ingest", str(path), *options])
    assert isinstance(refused.exception, ServicesError), refused.exception
    return [line.strip() for line in refused.exception.hint.splitlines()]


def test_a_look_keeps_what_is_told_already(export):
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Werk")
    for row in (["Zeit", "Pumpe", "p"], ["2026-02-13", "P1", 1], ["2026-02-14", "P1", 2]):
        sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    path = export("werk.xlsx", buffer.getvalue())

    lines = proposed(
        path, "--sheet", "Werk", "--rename", "p=bar", "--rename", "Pumpe=pump", "--as-is",
        "--between", "2020-01-01", "2030-01-01", "--time-zone", "Europe/Berlin", "--topic", "t",
    )  # fmt: skip

    assert lines[-1] == (
        f"say so: workbench ingest {path} --topic t --rename p=bar,Pumpe=pump "
        "--time-zone Europe/Berlin --between 2020-01-01 2030-01-01 --sheet Werk --as-is "
        "--time Zeit --sensor Pumpe --values p"
    )
    command = shlex.split(lines[-1].split("workbench ")[1].replace("--topic t", "--look"))
    read = CliRunner().invoke(cli, command)
    assert read.output.startswith("2 readings of 1 sensor, 2026-02-12T23:00:00Z to "), read


def test_a_look_asks_what_may_be_meant_in_two_ways(export):
    rows = "".join(f"0{day}/04/2026;P1;{day}.250\n" for day in range(1, 5))
    path = export("werk.csv", f"Datum;Pumpe;rpm\n{rows}")
    command = f"workbench ingest {path} --look --sep ';' --time Datum --sensor Pumpe --values rpm"

    assert proposed(path)[-5:] == [
        "it may be meant in more than one way: say which",
        "'01/04/2026' by %d/%m/%Y is 2026-04-01T00:00:00.000Z, '1.250' is 1.250: "
        f"{command} --time-format %d/%m/%Y --decimal .",
        "'01/04/2026' by %d/%m/%Y is 2026-04-01T00:00:00.000Z, '1.250' is 1250: "
        f"{command} --time-format %d/%m/%Y --decimal , --thousands .",
        "'01/04/2026' by %m/%d/%Y is 2026-01-04T00:00:00.000Z, '1.250' is 1.250: "
        f"{command} --time-format %m/%d/%Y --decimal .",
        "'01/04/2026' by %m/%d/%Y is 2026-01-04T00:00:00.000Z, '1.250' is 1250: "
        f"{command} --time-format %m/%d/%Y --decimal , --thousands .",
    ]
    told = proposed(path, "--decimal", ",", "--time-format", "%m/%d/%Y")
    assert told[-1].startswith(f"say so: workbench ingest {path} --look --time-format")
    assert "--decimal , --sep ';' --time Datum --thousands . " in told[-1]


def test_a_day_that_is_a_month_as_well_is_asked_for(export):
    path = export("werk.csv", "Datum;rpm\n05/05/2026;1.5\n05/05/2026;2.5\n")

    assert proposed(path)[-3:] == [
        "it may be meant in more than one way: say which",
        "'05/05/2026' by %d/%m/%Y is 2026-05-05T00:00:00.000Z: workbench ingest "
        f"{path} --look --sep ';' --time Datum --values rpm --time-format %d/%m/%Y",
        "'05/05/2026' by %m/%d/%Y is 2026-05-05T00:00:00.000Z: workbench ingest "
        f"{path} --look --sep ';' --time Datum --values rpm --time-format %m/%d/%Y",
    ]


def test_what_says_how_good_a_reading_is_names_no_sensor(export):
    path = export("pi.csv", "time,tag,value,Status\n" + "2026-02-13T10:00:00Z,P1.bar,7,Good\n" * 4)

    assert proposed(path)[-1].endswith("--look --time time --tag tag --value value")


def test_a_look_says_that_times_without_an_offset_are_utc(export):
    remark = "times without an offset are UTC, unless --time-zone says otherwise"

    assert remark in proposed(export("a.csv", german()))
    assert remark not in proposed(export("b.csv", german()), "--time-zone", "Europe/Berlin")
    assert remark not in proposed(export("c.csv", PLAIN))


def test_a_look_reads_no_more_than_the_head(export):
    line = b"2026-02-13T10:03:00Z,P1,7\n"
    path = export("a.csv", PLAIN.encode() + line * 20_000 + b"\xff\n")

    assert proposed(path)[-1].startswith("say so: ")
    assert "not text in utf-8-sig" in str(
        CliRunner().invoke(cli, f"ingest {path} --look --time time --values bar").exception
    )


def test_the_last_line_of_a_small_file_is_looked_at(export):
    path = export("a.csv", "Werk Nord\nZeit;bar\n14.02.2026;8,5")

    assert proposed(path)[1] == "14.02.2026, 8,5"
    assert "--decimal ," in proposed(path)[-1]


def test_a_first_reading_that_is_missing_is_no_row_of_units(export):
    path = export("a.csv", "time,bar\n2026-02-13,\n2026-02-14,8.5\n2026-02-15,9.25\n")

    assert "--units-row" not in proposed(path)[-1]


def test_a_text_with_digits_is_not_proposed_as_a_missing_reading(export):
    path = export("a.csv", "time,bar\n2026-02-13,Bad\n2026-02-14,8.5\n2026-02-15,9.25\n"
                           "2026-02-16,12 bar\n2026-02-17,9\n")  # fmt: skip

    assert proposed(path)[-1].endswith("--missing Bad")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"decimal": "x"}, "'x' is no decimal mark\n  it is . or ,"),
        ({"thousands": "0"}, "'0' is no mark between thousands\n  as . or , or ' or a space"),
        ({"thousands": "."}, "'.' is both the decimal mark and that of thousands"),
    ],
)
def test_marks_that_are_none_are_refused(form, message):
    with pytest.raises(ServicesError) as error:
        CsvFormat(**form)

    assert str(error.value) == message
