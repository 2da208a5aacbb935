import datetime as dt
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import TimesError
from workbench.times import epoch_ms, instant_ms, iso, parse_column, timestamps

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
moments = st.datetimes(
    dt.datetime(1, 1, 3), dt.datetime(9999, 12, 28), timezones=offsets | st.just(dt.UTC)
)


@given(moments)
def test_an_instant_is_what_the_standard_library_makes_of_it(moment):
    expected = (moment - EPOCH) // dt.timedelta(milliseconds=1)

    assert instant_ms(moment.isoformat()) == instant_ms(moment) == expected


@given(st.lists(moments, min_size=1, max_size=20))
@pytest.mark.slow
def test_a_column_is_read_as_its_texts_alone(moments):
    texts = [moment.isoformat() for moment in moments]

    column = parse_column(texts, between=(-(2**60), 2**60))

    assert column.tolist() == [instant_ms(text) for text in texts]


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_iso_and_back_is_the_same_instant(time_ms):
    assert instant_ms(iso(time_ms)) == time_ms


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-05", "2026-01-05T00:00:00Z"),
        ("20260105", "2026-01-05T00:00:00Z"),
        ("20260105T0607", "2026-01-05T06:07:00Z"),
        ("2026-01-05 06:07:08,9", "2026-01-05T06:07:08.900Z"),
        ("2026-01-05 06:07:08.9999999 UTC", "2026-01-05T06:07:08.999Z"),
        ("2026-01-05T06:07:08-0530", "2026-01-05T11:37:08Z"),
        (" 2026-01-05t06+01 ", "2026-01-05T05:00:00Z"),
    ],
)
def test_iso_8601_is_taken_in_its_forms(text, same):
    assert instant_ms(text) == instant_ms(same)
    assert parse_column([text]).tolist() == [instant_ms(same)]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday", "2026", "2026-01", "2026-W01-1", "2026-02-30", "2026-01-05T24:00:00",
        "2026-01-05T23:59:60", "2026-01-05T00:00:00+99:00", "2026-01-05T00:00:00+01:75",
        "\u0662026-01-05", "2026-01-05T00:00:00Z Z", "2026-01-05T", "0000-01-01", "12",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_alone_and_in_a_column(text):
    with pytest.raises(TimesError):
        instant_ms(text)
    with pytest.raises(TimesError):
        parse_column([text], between=(-(2**60), 2**60) if "-" in text else None)


def test_no_bound_is_no_instant():
    assert instant_ms("") is None
    assert instant_ms(None) is None


def test_a_refusal_says_what_is_expected():
    with pytest.raises(TimesError) as caught:
        instant_ms("noon")
    assert str(caught.value) == (
        "'noon' is not a time\n  expected ISO 8601, as 2026-01-05T00:00:00Z"
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_columns_of_any_unit_and_zone_are_the_same_instants(unit, zone):
    times = timestamps(np.array([1_767_571_200_000, -1000, 0])).as_unit(unit)
    column = times.tz_convert(zone) if zone else times.tz_localize(None)

    for form in (column, pd.Series(column), pd.Series(column, dtype=object)):
        assert epoch_ms(form).tolist() == [1_767_571_200_000, -1000, 0]


def test_a_time_that_no_nanosecond_can_hold_is_an_instant_too():
    assert epoch_ms(timestamps(np.array([10**16]))).tolist() == [10**16]
    assert iso(10**16, "m") == "318857-05-20T17:46Z"


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.to_datetime(["2026-01-05T00:00:00Z", None])),
        pd.Series([dt.datetime(2026, 1, 5), None], dtype=object),
    ],
)
def test_a_row_without_a_time_is_named(times):
    with pytest.raises(TimesError) as caught:
        epoch_ms(times)

    assert str(caught.value) == "1 of 2 readings have no time\n  in row 1"
    assert caught.value.rows == [1]


def test_the_rows_at_fault_survive_a_process_border():
    error = TimesError("no", where="row 1", hint="mend", rows=[1, 2])

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (str(copy), copy.rows) == (str(error), [1, 2])


def test_a_column_in_which_some_times_say_their_zone_and_others_none_is_refused():
    zoned, naive = dt.datetime(2026, 1, 5, tzinfo=dt.UTC), "2026-01-05T00:00:00"
    for times, row in (([zoned, naive, zoned], 1), ([naive, zoned, naive], 1)):
        with pytest.raises(TimesError, match=f"(?s)from UTC, and others .* in row {row}"):
            epoch_ms(pd.Series(times, dtype=object))
    assert epoch_ms(pd.Series([naive, 5], dtype=object)).tolist() == [1_767_571_200_000, 5]


@pytest.mark.parametrize("others", [["2026-01-05T00:00Z"], ["2026-01-05"], ["2026-01-05T00Z", 5]])
def test_a_text_that_is_no_time_is_told_as_that_whatever_zones_there_are(others):
    with pytest.raises(TimesError) as caught:
        epoch_ms(pd.Series([*others, "nope"], dtype=object))

    assert (caught.value.message, caught.value.rows) == ("'nope' is not a time", [len(others)])
    assert caught.value.where == f"row {len(others)}"


def test_dates_and_numpys_times_are_instants_as_their_texts_are():
    numpys = [np.datetime64("2026-01-05"), np.datetime64("2026-01-05T00:00", "ns")]
    same = ["2026-01-05", dt.date(2026, 1, 5), pd.Timestamp(2026, 1, 5), *numpys]

    assert [instant_ms(time) for time in same] == [1_767_571_200_000] * len(same)
    assert epoch_ms(pd.Series(same, dtype=object)).tolist() == [1_767_571_200_000] * len(same)
    for naive in same:
        with pytest.raises(TimesError, match="and others do"):
            epoch_ms(pd.Series([naive, "2026-01-05T00:00Z", "2026-01-05T00:00Z"], dtype=object))
    with pytest.raises(TimesError, match="NaT is not a time"):
        instant_ms(np.datetime64("NaT"))


@pytest.mark.parametrize("value", [1.5, True, dt.time(12), pd.Period("2026-01", "M")])
def test_what_is_no_instant_is_named(value):
    with pytest.raises(TimesError, match=f"is a {type(value).__name__}, expected a text, a datet"):
        epoch_ms(pd.Series([value], dtype=object))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["", ", tz=Europe/Berlin"])
def test_timestamps_that_arrow_holds_are_instants(unit, zone):
    times = pd.Series(pd.to_datetime([1_767_571_200_000], unit="ms", utc=True))
    held = (times if zone else times.dt.tz_localize(None)).astype(
        f"timestamp[{unit}{zone}][pyarrow]"
    )

    assert epoch_ms(held).tolist() == [1_767_571_200_000]
    with pytest.raises(TimesError, match="1 of 2 readings have no time"):
        epoch_ms(pd.concat([held, pd.Series([pd.NA], dtype=held.dtype)]))


@pytest.mark.parametrize("kind", ["Int64", "object"])
def test_a_number_that_is_missing_is_no_time(kind):
    with pytest.raises(TimesError, match="1 of 2 readings have no time"):
        epoch_ms(pd.Series([5, pd.NA], dtype=kind))
