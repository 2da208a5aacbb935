import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import TimesError
from workbench.times import instant_ms, iso, now_ms, parse_column, recognise

DAY = "2026-01-05T00:00:00.000Z"
HINT = "\n  a time is written as 2026-01-05T00:00:00Z, or say its format"


def tomorrow():
    return iso(now_ms() + 86_400_000)[:10]


def read(texts, *args, **options):
    return [iso(ms) for ms in parse_column(texts, *args, **options)]


def refusal(texts, *args, **options):
    with pytest.raises(TimesError) as caught:
        parse_column(texts, *args, **options)
    return caught.value


@pytest.mark.parametrize(
    ("texts", "rule", "second"),
    [
        (["20260105", "20260106"], "digits YYYYMMDD, UTC", "2026-01-06T00:00:00.000Z"),
        (["2026010500", "2026010501"], "digits YYYYMMDDhh, UTC", "2026-01-05T01:00:00.000Z"),
        (["202601050000", "202601050010"], "digits YYYYMMDDhhmm, UTC", "2026-01-05T00:10:00.000Z"),
        (["20260105000000", "20260105000010"], "digits YYYYMMDDhhmmss, UTC",
         "2026-01-05T00:00:10.000Z"),
        (["20260105000000000", "20260105000010500"], "digits YYYYMMDDhhmmssfff, UTC",
         "2026-01-05T00:00:10.500Z"),
        (["1767571200", "1767571210"], "seconds since 1970", "2026-01-05T00:00:10.000Z"),
        (["1767571200.0", "1767571210.5009"], "seconds since 1970", "2026-01-05T00:00:10.500Z"),
        (["1767571200000", "1767571210000"], "milliseconds since 1970",
         "2026-01-05T00:00:10.000Z"),
        (["1767571200000000", "1767571210000000"], "microseconds since 1970",
         "2026-01-05T00:00:10.000Z"),
        (["1767571200000000000", "1767571210000000000"], "nanoseconds since 1970",
         "2026-01-05T00:00:10.000Z"),
        (["46027", "46027.00694444"], "Excel's days", "2026-01-05T00:10:00.000Z"),
        (["2026-01-05", "2026-01-06"], "ISO 8601, in UTC where it has no offset",
         "2026-01-06T00:00:00.000Z"),
    ],
)  # fmt: skip
def test_a_rule_that_alone_explains_the_whole_column_is_taken_and_told(texts, rule, second):
    column = recognise(texts)

    assert column.rule == rule
    assert [iso(ms) for ms in column.epoch_ms] == [DAY, second]


@given(
    st.lists(st.integers(315_532_800_000, 1_767_571_200_000), min_size=1),
    st.sampled_from([("s", 0), ("ms", 3), ("us", 6), ("ns", 9)]),
)
@pytest.mark.slow
def test_every_unit_since_1980_is_recognised_and_none_taken_for_another(times_ms, unit):
    name, decimals = unit
    digits = [f"{ms // 1000}{ms % 1000:03}000000"[: len(str(ms // 1000)) + decimals]
              for ms in times_ms]  # fmt: skip
    expected = [ms - ms % 1000 if name == "s" else ms for ms in times_ms]

    assert parse_column(digits).tolist() == expected
    assert parse_column(digits, time_unit=name).tolist() == expected


@given(
    st.lists(st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2026, 1, 1)), min_size=1),
    st.sampled_from(["%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"]),
)
def test_compact_digits_since_1980_are_never_taken_for_a_unit(moments, time_format):
    texts = [moment.strftime(time_format) for moment in moments]
    expected = [
        instant_ms(dt.datetime.strptime(text, time_format).replace(tzinfo=dt.UTC)) for text in texts
    ]

    assert parse_column(texts).tolist() == expected


def test_seconds_beside_milliseconds_are_refused_as_each_unit_would_have_them():
    error = refusal(["1767571200", "1767571210000"])

    assert error.rows == []
    assert str(error) == (
        f"by no rule do all times lie between 1980-01-01 and {tomorrow()}\n"
        "  say how 1767571200, 1767571210000 is meant:\n"
        "  time unit s: 2026-01-05T00:00:00.000Z, 57982-02-07T02:46:40.000Z\n"
        "  time unit ms: 1970-01-21T10:59:31.200Z, 2026-01-05T00:00:10.000Z"
    )


@pytest.mark.parametrize("texts", [["46027", "46028"], ["46027.5", "46028.5"]])
def test_numbers_that_excel_or_anything_may_have_written_are_asked_about(texts):
    assert "time unit excel: 2026-01-05T" in str(refusal(texts))
    assert read(texts, time_unit="excel")[0][:10] == "2026-01-05"


def test_numbers_that_have_lost_their_digits_are_no_times():
    assert refusal(["1.76757E+12", "1.76757E+12"]).rows == [0, 1]


def test_offsets_stay_with_their_own_texts():
    texts = ["2026-01-05T12:00:00-05:00", "2026-01-05T17:01:00Z", "2026-01-05T18:02:00+01:00"]

    assert read(texts) == [f"2026-01-05T17:0{minute}:00.000Z" for minute in range(3)]


def test_a_text_without_an_offset_among_others_is_refused_or_of_the_zone_asked_for():
    texts = ["2026-01-05T12:00:00-05:00", "2026-01-05T17:01:00", "2026-01-05T17:02:00Z"]

    error = refusal(texts)

    assert (str(error), error.rows) == (
        "'2026-01-05T17:01:00' has no offset from UTC, unlike 2 of 3 times\n  in row 1\n"
        "  say of which time zone those without an offset are",
        [1],
    )
    assert read(texts, time_zone="UTC")[1] == "2026-01-05T17:01:00.000Z"
    assert read(texts, time_zone="Europe/Berlin")[1] == "2026-01-05T16:01:00.000Z"
    assert read(texts, time_zone="+05:30")[1] == "2026-01-05T11:31:00.000Z"


def test_a_date_among_times_has_lost_its_end():
    error = refusal(["2026-01-05T00:00:00", "2026-01-05T00:01:00", "2026-01-05"])

    assert (str(error), error.rows) == (
        "'2026-01-05' has no time of day, unlike 2 of 3 times\n  in row 2\n"
        "  lines may have lost their end",
        [2],
    )


@pytest.mark.parametrize("local", ["2025-10-26T02:30:00", "2026-03-29T02:30:00"])
def test_an_hour_that_a_zone_has_twice_or_never_is_refused(local):
    error = refusal(["2025-10-01T00:00:00", local], time_zone="Europe/Berlin")

    assert error.rows == [1]
    assert str(error).startswith(f"{local!r} comes twice or never in Europe/Berlin")


def test_day_and_month_are_never_guessed():
    assert str(refusal(["05/01/2026", "06/01/2026"])) == (
        "'05/01/2026' is not a time in ISO 8601\n  say how 05/01/2026, 06/01/2026 is meant:\n"
        "  time format %d/%m/%Y: 2026-01-05T00:00:00.000Z, 2026-01-06T00:00:00.000Z\n"
        "  time format %m/%d/%Y: 2026-05-01T00:00:00.000Z, 2026-06-01T00:00:00.000Z"
    )


def test_a_format_asked_for_is_the_only_one():
    assert read(["05.01.2026 01:00"], "%d.%m.%Y %H:%M", time_zone="+01:00") == [DAY]
    assert read(["05.01.2026 01:00 +0100"], "%d.%m.%Y %H:%M %z") == [DAY]
    assert read(["202601050000"], "YYYYMMDDhhmm") == [DAY]
    error = refusal(["05.01.2026", "2026-01-05"], "%d.%m.%Y")
    assert (str(error), error.rows) == (
        "'2026-01-05' is not a time in %d.%m.%Y\n  in row 1" + HINT,
        [1],
    )


@pytest.mark.parametrize("text", ["1979-12-31T23:59:59Z", "2099-01-01T00:00:00Z"])
def test_what_no_clock_can_have_shown_is_refused(text):
    error = refusal([DAY, text])

    assert error.rows == [1]
    assert str(error) == (
        f"{text!r} is {text[:-1]}.000Z in ISO 8601, not between 1980-01-01 and {tomorrow()}\n"
        "  in row 1" + HINT
    )
    assert read([text], between=(0, 2**60)) == [f"{text[:-1]}.000Z"]


def test_a_unit_asked_for_must_give_times_that_can_be():
    assert refusal(["1767571200"], time_unit="ms").rows == [0]


@pytest.mark.parametrize("stray", ["12", "n/a", "", "-1", "2026-01-05", "99999999999999999999"])
def test_a_stray_text_among_numbers_is_named_by_its_row(stray):
    assert refusal(["1767571200"] * 20 + [stray]).rows == [20]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_unit": "h"}, "no unit 'h' of times\n  known: excel, ms, ns, s, us"),
        ({"time_zone": "Berlin"},
         "there is no time zone 'Berlin'\n  as UTC, Europe/Berlin or +01:00"),
        ({"time_format": "%Q"},
         "'%Q' is not a format of times: 'Q' is a bad directive in format '%Q'\n"
         "  as '%d.%m.%Y %H:%M:%S', or YYYYMMDDhhmm"),
        ({"time_format": "%Y", "time_unit": "s"},
         "a format and a unit of the times are given, expected one of the two"),
    ],
)  # fmt: skip
def test_options_that_are_none_are_refused(options, message):
    assert str(refusal(["2026-01-05T00:00:00"], **options)) == message


def test_no_texts_are_no_times():
    assert parse_column([]).dtype == np.int64
    assert len(parse_column([])) == 0


@pytest.mark.parametrize("time_format", ["mixed", "ISO8601", "%d.%m.%Y %I:%M"])
def test_a_format_that_leaves_something_to_guess_is_refused(time_format):
    with pytest.raises(TimesError, match=r"is not a format of times|does not say of which"):
        recognise(["05.01.2026 12:00", "05.01.2026 01:00"], time_format)
