import bz2
import gzip
import io
import lzma
import os
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ServicesError
from workbench.services.ingestion.csv_lines import Layout, read_lines
from workbench.services.ingestion.csv_readings import CsvFormat, read_csv, read_readings

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


def refusal(path, **options):
    with pytest.raises(ServicesError) as error:
        read_readings(path, **(COLUMNS | options))
    return str(error.value)


SKIP = "\n  --skip-damaged leaves such lines out, and counts them"


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

    assert refusal(path) == f"'x' is not a number\n  in {path} line 4, column pressure_bar{SKIP}"


@pytest.mark.parametrize(
    "reading",
    ["x", "1,5", "1_000", "inf", "0x10", "True", "12 bar", "7.", "1e", "-", ".", "1e400", "1 2"],
)
def test_what_is_not_a_number_is_refused_with_its_line(csv, reading):
    path = csv(f'{HEADER}p,2026-01-05,1,1\np,2026-01-05,"{reading}",1\n')

    assert refusal(path) == (
        f"{reading!r} is not a number\n  in {path} line 3, column pressure_bar{SKIP}"
    )


def test_further_bad_lines_are_counted(csv):
    path = csv(HEADER + "p,2026-01-05,x,1\n" * 2 + "p,2026-01-05\n")

    assert refusal(path) == (
        f"'x' is not a number\n  in {path} line 2, column pressure_bar\n"
        f"  so or otherwise damaged: lines 3, 4, of 3{SKIP}"
    )


def test_a_word_that_comes_again_and_again_may_be_a_mark_and_the_option_is_told(csv):
    path = csv(HEADER + "p,2026-01-05,Bad,1\n" * 3 + "p,2026-01-05,1,1\n" * 40)

    assert refusal(path) == (
        f"'Bad' is not a number\n  in {path} line 2, column pressure_bar\n"
        "  --missing Bad, if that says that there is no reading\n"
        f"  so or otherwise damaged: lines 3, 4, of 43{SKIP}"
    )


@pytest.mark.parametrize("time", ["yesterday", "05.13.2026x", "", "2026-02-30"])
def test_what_is_not_a_time_is_refused_with_its_line(csv, time):
    path = csv(f"{HEADER}p,{time},1,1\n")

    assert refusal(path) == (
        f"{time!r} is not a time in ISO 8601\n  in {path} line 2, column at\n"
        "  a time is written as 2026-01-05T00:00:00Z, or say its format"
    )


def test_a_time_that_is_none_among_others_is_refused_with_its_line(csv):
    path = csv(HEADER + "p,2026-01-05T00:00:00Z,1,1\n" * 3 + "p,noon,1,1\n")

    assert refusal(path) == (
        f"'noon' is not a time in ISO 8601\n  in {path} line 5, column at\n"
        f"  a time is written as 2026-01-05T00:00:00Z, or say its format{SKIP}"
    )


def test_a_reading_without_a_sensor_is_refused(csv):
    path = csv(HEADER + ",2026-01-05,1,1\n")

    assert refusal(path) == (
        f"'' is not the name of a sensor\n  in {path} line 2, column pump{SKIP}"
    )


@pytest.mark.parametrize(
    ("times", "first", "second"),
    [
        (["2026010500", "2026010501"], "2026-01-05T00:00:00Z", "2026-01-05T01:00:00Z"),
        (["202601050000", "202601050010"], "2026-01-05T00:00:00Z", "2026-01-05T00:10:00Z"),
        (["20260105000000", "20260105000010"], "2026-01-05T00:00:00Z", "2026-01-05T00:00:10Z"),
        (["1767571200.0", "1767571210.5"], "2026-01-05T00:00:00Z", "2026-01-05T00:00:10.5Z"),
        (["1767571200000000", "1767571210000000"], "2026-01-05T00:00Z", "2026-01-05T00:00:10Z"),
        (["1767571200000000000", "1767571210000000000"], "2026-01-05", "2026-01-05T00:00:10"),
    ],
)
def test_times_in_digits_are_what_the_whole_column_can_only_mean(csv, times, first, second):
    frame = read_csv(csv(HEADER + "".join(f"p,{time},1,1\n" for time in times)), **COLUMNS)

    assert frame["at"].tolist() == [
        pd.Timestamp(time).tz_localize(None).tz_localize("UTC") for time in (first, second)
    ]


def test_one_time_in_seconds_and_one_in_milliseconds_are_refused_as_they_would_be_read(csv):
    path = csv(HEADER + "p,1767571200,1,1\np,1767571210000,1,1\n")

    text = refusal(path)

    assert text.startswith("by no rule do all times lie between 1980-01-01 and ")
    assert f"  in {path}, column at\n" in text
    assert "time unit s: 2026-01-05T00:00:00.000Z, 57982-02-07T02:46:40.000Z" in text
    assert "time unit ms: 1970-01-21T10:59:31.200Z, 2026-01-05T00:00:10.000Z" in text


MIXED = ["2026-01-05T12:00:00-05:00", "2026-01-05T17:01:00", "2026-01-05T17:02:00Z"]


def test_an_offset_is_not_carried_over_to_the_next_line(csv):
    path = csv(HEADER + "".join(f"p,{time},1,1\n" for time in MIXED))

    assert refusal(path) == (
        f"'2026-01-05T17:01:00' has no offset from UTC, unlike 2 of 3 times\n"
        f"  in {path} line 3, column at\n  say of which time zone those without an offset are{SKIP}"
    )
    frame = read_readings(path, **COLUMNS, form=CsvFormat(time_zone="UTC")).frame
    assert frame["at"].dt.strftime("%H:%M").tolist() == ["17:00", "17:01", "17:02"]


GOOD = "p,2026-01-05T00:00:00Z,1.25,2\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("p,2026-01-05T00:00:00Z,1.25", "has 3 fields, the header has 4"),
        ("p,2026-01-05T00:00:00Z,1.25,2,3", "has 5 fields, the header has 4"),
        ("p", "has 1 field, the header has 4"),
        ("pump,at,pressure_bar,flow_l_min", "is the header again"),
        ("p,2026-01-05T00:00:00Z,1.2\0,2", "holds NUL, as where a disk or a copy broke off"),
        ("\0" * 40, "holds NUL, as where a disk or a copy broke off"),
        ('"p,2026-01-05T00:00:00Z,1.25,2', "not a line of CSV: a quote is not closed"),
        ('"p"x,2026-01-05T00:00:00Z,1.25,2', "not a line of CSV: ',' expected after '\"'"),
        ("p\u200b,2026-01-05T00:00:00Z,1.25,2", "'p\\u200b' hides the character U+200B"),
        ("\ufeffp,2026-01-05T00:00:00Z,1.25,2", "'\\ufeffp' hides the character U+FEFF"),
        ("p,2026-01-05T00:00:00Z,1\u00a0250,2", "'1\\xa0250' hides the character U+00A0"),
        ("p,2026-01-05,1.25,2", "'2026-01-05' has no time of day, unlike 30 of 31 times"),
        ("p,2026-01-05T00,1.25,2", "'2026-01-05T00' has no minutes, unlike 30 of 31 times"),
        ("p,2026-01-05T00:0,1.25,2", "'2026-01-05T00:0' is not a time in ISO 8601"),
        ("p,2026-01-05T00:00:00Z,12 bar,2", "'12 bar' is not a number"),
        (",2026-01-05T00:00:00Z,1.25,2", "'' is not the name of a sensor"),
        ("p,2062-01-05T00:00:00Z,1.25,2", "'2062-01-05T00:00:00Z' is 2062-01-05T00:00:00.000Z *"),
    ],
)
def test_a_damaged_line_is_refused_or_left_out_and_counted_never_read(csv, line, why):
    path = csv(HEADER + GOOD * 10 + line + "\n" + GOOD * 20)

    text = refusal(path)
    readings = read_readings(path, **COLUMNS, skip_damaged=True)

    assert fnmatchcase(text.splitlines()[0], why.replace("[", "[[]"))
    assert text.splitlines()[1].startswith(f"  in {path} line 12")
    assert text.endswith(SKIP)
    assert len(readings.frame) == 30
    assert readings.frame.drop_duplicates().to_dict("split")["data"] == [
        ["p", pd.Timestamp("2026-01-05T00:00:00Z"), 1.25, 2.0]
    ]
    assert [damage.line for damage in readings.left_out] == [12]


def test_a_quote_that_is_not_closed_swallows_no_other_line(csv):
    lines = [GOOD] * 30
    lines[4], lines[9] = 'p,2026-01-05T00:00:00Z,1.25,"2\n', '"p,2026-01-05T00:00:00Z,1.25,2\n'

    readings = read_readings(csv(HEADER + "".join(lines)), **COLUMNS, skip_damaged=True)

    assert len(readings.frame) == 28
    assert [damage.line for damage in readings.left_out] == [6, 11]


def test_where_more_than_a_tenth_is_damaged_nothing_is_left_out(csv):
    path = csv(HEADER + GOOD * 8 + "p\n" * 2)

    assert refusal(path, skip_damaged=True) == (
        f"has 1 field, the header has 4\n  in {path} line 10\n"
        "  so or otherwise damaged: lines 11, of 10\n"
        "  more than a tenth of the lines: is the file written in another way?"
    )


@settings(max_examples=150)
@given(st.binary(min_size=1, max_size=3), st.integers(0, 40 * len(GOOD)), st.booleans())
def test_no_damage_makes_a_reading_that_was_not_there(tmp_path_factory, noise, place, insert):
    lines = [f"p-{i},2026-01-05T00:{i:02}:00Z,{i}.25,{i}\n" for i in range(40)]
    content = (HEADER + "".join(lines)).encode()
    spot = len(HEADER) + place % (len(content) - len(HEADER))
    damaged = content[:spot] + noise + content[spot if insert else spot + len(noise) :]
    path = tmp_path_factory.mktemp("damage") / "pumps.csv"
    path.write_bytes(damaged)

    try:
        frame = read_csv(path, **COLUMNS)
    except ServicesError as err:
        assert "line" in str(err) or "not text" in str(err)  # noqa: PT017 - either is right
    else:
        touched = len(set(damaged.splitlines()) ^ set(content.splitlines()))
        assert touched <= 4, "a line that still has the form of one, digits for digits"
        assert abs(len(frame) - 40) <= 2


clean = st.text(st.sampled_from("ab1 .\t-é"), max_size=4)


@settings(max_examples=150)
@given(
    st.lists(st.one_of(st.lists(clean, min_size=2, max_size=4).map(",".join), clean), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["x, a b,y", "x, a b,y,"]),
)
@pytest.mark.slow
def test_lines_that_are_split_at_once_are_split_as_one_by_one(lines, end, ends, header):
    text = end.join([header, *lines]) + (end if ends else "")

    def table(quoted):
        # a quoted line makes all be split one by one; it comes last, and is left out again
        whole = text + (end if quoted and not ends else "") + ('"q",q,q' + end if quoted else "")
        return read_lines("t.csv", io.BytesIO(whole.encode()), lambda names: names[:3], Layout())

    at_once, one_by_one = table(quoted=False), table(quoted=True)

    for name, column in at_once.columns.items():
        assert column.to_pylist() == one_by_one.columns[name].to_pylist()[:-1]
    assert at_once.lines.tolist() == one_by_one.lines.tolist()[:-1]
    assert at_once.damaged == one_by_one.damaged


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_compressed_file_goes_in_as_it_is(tmp_path, suffix):
    path = tmp_path / f"pumps.csv{suffix}"
    content = b"at,v\n2026-01-05,1\n"
    path.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(content))

    frame = read_csv(path, sensor=None, time="at", values=["v"])

    assert frame["sensor"].tolist() == ["pumps"]

    path.write_bytes(path.read_bytes()[:-9])
    assert refusal(path, sensor=None, values=["v"]).startswith("cannot be read: ")


def test_an_export_of_a_german_spreadsheet_goes_in_when_it_is_said_how(csv):
    form = CsvFormat(
        sep=";", decimal=",", encoding="cp1252", missing=["Störung"],
        time_format="%d.%m.%Y %H:%M", time_zone="Europe/Berlin",
    )  # fmt: skip
    path = csv(
        "Zeit;Druck\n05.01.2026 01:00;7,25\n05.01.2026 01:10;St\u00f6rung\n".encode("cp1252")
    )
    asked = {"sensor": None, "sensor_name": "P1", "time": "Zeit", "values": ["Druck"]}

    frame = read_readings(path, **asked, form=form).frame

    assert frame["Zeit"].tolist()[0] == pd.Timestamp("2026-01-05T00:00:00Z")
    np.testing.assert_array_equal(frame["Druck"], [7.25, np.nan])
    assert refusal(path, **asked).startswith("not text in utf-8-sig: 'utf-8' codec can't decode")
    text = refusal(path, **asked, form=replace(form, time_format=None))
    assert "time format %d.%m.%Y %H:%M: 2026-01-05T00:00:00.000Z" in text
    text = refusal(path, **asked, form=replace(form, sep=","))
    assert text.endswith("its fields seem to be separated by ';': say so with sep")


def test_a_file_whose_last_line_has_no_end_is_told(csv):
    assert read_readings(csv(HEADER + GOOD.rstrip()), **COLUMNS).cut
    assert not read_readings(csv(HEADER + GOOD), **COLUMNS).cut


def test_a_missing_column_is_answered_with_the_nearest(csv):
    path = csv(HEADER)

    assert refusal(path, values=["presure_bar"]) == (
        f"there is no column 'presure_bar'\n  in {path} line 1\n  did you mean 'pressure_bar'?"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no header\n  in {path} line 1"),
        ('"pump,at', "not a header of CSV: a quote is not closed\n  in {path} line 1"),
        (
            "pump,at,at,x",
            "column 'at' stands 2 times\n  in {path} line 1\n"
            "  which one is meant? Name the others otherwise, there",
        ),
        ("pump\u200b,at", "column 'pump\\u200b' hides the character U+200B\n  in {path} line 1"),
        (
            b"\xff\xfe\x00",
            "not text in utf-8-sig: 'utf-8' codec can't decode byte 0xff in position 0: invalid "
            "start byte\n  in {path}\n  say its encoding, as cp1252 or utf-16",
        ),
    ],
)
def test_what_has_no_header_of_csv_is_refused(csv, content, message):
    path = csv(content)

    assert refusal(path) == message.format(path=path)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"sep": ";;"}, "';;' cannot separate fields\n  as , or ; or | or a tab"),
        ({"encoding": "utf-9"}, "there is no encoding 'utf-9'\n  as utf-8, cp1252 or utf-16"),
    ],
)
def test_a_format_that_is_none_is_refused(csv, form, message):
    assert refusal(csv(HEADER), form=CsvFormat(**form)) == message


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
