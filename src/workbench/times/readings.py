"""Ways to read a column of texts as times; `columns` chooses between them.

Each gives epoch ms, `NOT_A_TIME` where a text cannot be read so. What is finer than a millisecond
is cut off, without a detour over floating point; only Excel's days, which are floating point, are
rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.arrays import Bools, Ints
from workbench.errors import TimesError, did_you_mean
from workbench.times.instants import ISO_8601, offset_ms
from workbench.times.texts import Texts

if TYPE_CHECKING:
    import pyarrow as pa

NOT_A_TIME = np.iinfo(np.int64).min
UNITS = ("s", "ms", "us", "ns", "excel")
EXCEL_DAYS = "Excel's days"  # the rule of them
_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DECIMALS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # of a second
_EXCEL_EPOCH_MS = -2_209_161_600_000  # 1899-12-30
_EXCEL_DECIMALS = 4  # a minute is 0.0007 days
_DAY_MS = 86_400_000
_COMPACT = ("YYYYMMDD", "YYYYMMDDhh", "YYYYMMDDhhmm", "YYYYMMDDhhmmss", "YYYYMMDDhhmmssfff")
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d-%b-%Y", "%d-%b-%y",
          "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%Y.%m.%d")  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S,%f", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read a column.

    Attributes
    ----------
    rule
        In words, as `seconds since 1970`.
    epoch_ms
        Shape (n,), `NOT_A_TIME` where a text cannot be read so.
    option
        How to ask for it.
    sure
        Whether it may be taken unasked: `46027` is a day of Excel's, or any number.
    """

    rule: str
    epoch_ms: Ints
    option: str = ""
    sure: bool = True


def iso_8601(texts: Texts, time_zone: str | None) -> Reading:
    """Read ISO 8601; a text without an offset is UTC or of `time_zone`.

    Raises
    ------
    TimesError
        If some texts have an offset and others none, and no zone is given; if some have a time
        of day and others none.
    """
    usual = _usual_iso(texts)
    if usual is not None:
        utc_ms, zoned = usual
        if not zoned:
            utc_ms = _in_utc(utc_ms, time_zone, texts)
        return Reading(f"ISO 8601{_says(time_zone, zoned)}", utc_ms)
    parts = [_iso_parts(block) for block in texts.blocks()]
    valid, local_ms, shift_ms, zoned_rows, no_hour, no_minute = map(
        np.concatenate, zip(*parts, strict=True)
    )
    for missing, what in ((no_hour, "time of day"), (no_minute, "minutes")):
        _refuse_cut(texts, valid, missing, what)
    if not time_zone:
        _refuse_mixed(texts, valid, zoned_rows)
    utc_ms = _shifted(local_ms, shift_ms)
    if time_zone:
        here = valid & ~zoned_rows & (local_ms != NOT_A_TIME)
        utc_ms[here] = _from_zone(local_ms, time_zone, texts, here)[here]
    utc_ms[~valid] = NOT_A_TIME
    return Reading(f"ISO 8601{_says(time_zone, zoned_rows.all())}", utc_ms)


def _usual_iso(texts: Texts) -> tuple[Ints, bool] | None:
    """Return what all texts say, and whether they say UTC, if all are like 2026-01-05T00:00:00Z.

    None if one is not; then they are taken apart, which takes five times as long.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    zoned = len(texts) > 0 and texts[0].endswith("Z")
    pattern = _USUAL_ISO + ("Z$" if zoned else "$")
    kind = pa.timestamp("ms", "UTC" if zoned else None)
    stamps = []
    for block in texts.blocks():
        if not pc.all(pc.match_substring_regex(block, pattern)).as_py():
            return None
        try:
            stamps.append(np.asarray(block.cast(kind).cast(pa.int64())))
        except pa.ArrowInvalid:  # as 30 February
            return None
    return np.concatenate(stamps), zoned


_USUAL_ISO = r"^[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3})?"


class _IsoParts(NamedTuple):
    """What a block of texts says, shape (n,) each."""

    valid: Bools
    local_ms: Ints
    shift_ms: Ints
    zoned: Bools
    no_hour: Bools
    no_minute: Bools


def _iso_parts(block: pa.Array) -> _IsoParts:
    import pyarrow.compute as pc

    parts = pc.extract_regex(block, f"^{ISO_8601}$")
    text = {name: pc.struct_field(parts, [i]) for i, name in enumerate(_ISO_PARTS)}
    local_ms = _civil_ms(*(_digits(text[name]) for name in _ISO_PARTS[:6]))
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(text["fraction"], 0, 3), 3, "0")
    local_ms = np.where(local_ms == NOT_A_TIME, local_ms, local_ms + _digits(fraction))
    zones = np.asarray(pc.fill_null(pc.utf8_trim_whitespace(text["zone"]), ""), dtype=object)
    shifts = {zone: _shift(zone) for zone in set(zones.tolist())}
    return _IsoParts(
        valid=np.asarray(pc.is_valid(parts)),
        local_ms=local_ms,
        shift_ms=np.array([shifts[zone] for zone in zones], dtype=np.int64),
        zoned=np.asarray(zones != "", dtype=np.bool_),
        no_hour=_is_empty(text["hour"]),
        no_minute=_is_empty(text["minute"]),
    )


def _is_empty(texts: pa.Array) -> Bools:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.equal(texts, ""), False))


_ISO_PARTS = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone")


def _says(time_zone: str | None, zoned: Any) -> str:
    return "" if zoned else f", in {time_zone or 'UTC'} where it has no offset"


def _shift(zone: str) -> int:
    try:
        return offset_ms(zone)
    except ValueError:
        return NOT_A_TIME


def _shifted(local_ms: Ints, shift_ms: Ints) -> Ints:
    none = (local_ms == NOT_A_TIME) | (shift_ms == NOT_A_TIME)
    return np.where(none, NOT_A_TIME, np.where(none, 0, local_ms) - np.where(none, 0, shift_ms))


def _refuse_cut(texts: Texts, valid: Bools, missing: Bools, what: str) -> None:
    """Texts without a part that others have lost their end, or are of another format."""
    whole = valid & ~missing
    if missing.any() and whole.any():
        rows = np.flatnonzero(missing if missing.sum() <= whole.sum() else whole)
        what = f"{'a ' if what == 'time of day' else ''}{what}" if whole[rows[0]] else f"no {what}"
        raise _unlike(texts, rows, what, "lines may have lost their end")


def _refuse_mixed(texts: Texts, valid: Bools, zoned: Bools) -> None:
    bare = valid & ~zoned
    if bare.any() and zoned.any():
        rows = np.flatnonzero(bare if bare.sum() <= zoned.sum() else zoned)
        what = "an offset from UTC" if zoned[rows[0]] else "no offset from UTC"
        raise _unlike(texts, rows, what, "say of which time zone those without an offset are")


def _unlike(texts: Texts, rows: Ints, what: str, hint: str) -> TimesError:
    return TimesError(
        f"{texts[rows[0]]!r} has {what}, unlike {len(texts) - len(rows)} of {len(texts)} times",
        where=f"row {rows[0]}",
        hint=hint,
        rows=rows.tolist(),
    )


def compact(texts: Texts, pattern: str, time_zone: str | None) -> Reading:
    """Read digits without separators, as YYYYMMDDhh."""
    local_ms = texts.ints(lambda block: _compact_ms(block, len(pattern)))
    rule = f"digits {pattern}, {time_zone or 'UTC'}"
    return Reading(rule, _in_utc(local_ms, time_zone, texts), f"time format {pattern}")


def _compact_ms(block: pa.Array, length: int) -> Ints:
    import pyarrow.compute as pc

    whole = pc.match_substring_regex(block, f"^\\d{{{length}}}$")
    digits = pc.if_else(whole, block, "")
    fields = [pc.utf8_slice_codeunits(digits, start, stop) for start, stop in _SLICES]
    local_ms = _civil_ms(*(_digits(field) for field in fields[:6]))
    local_ms = np.where(local_ms == NOT_A_TIME, local_ms, local_ms + _digits(fields[6]))
    local_ms[~np.asarray(whole)] = NOT_A_TIME
    return local_ms


_SLICES = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 17))


def of_unit(texts: Texts, unit: str) -> Reading:
    """Read numbers of a unit since 1970, or Excel's days since 1899-12-30.

    Raises
    ------
    TimesError
        If there is no such unit.
    """
    if unit not in UNITS:
        raise TimesError(f"no unit {unit!r} of times", hint=did_you_mean(unit, UNITS))
    if unit == "excel":
        ms = texts.ints(_excel_ms)
        return Reading(EXCEL_DAYS, ms, "time unit excel", _have_decimals(texts))
    ms = texts.ints(lambda block: _since_1970(block, unit))
    return Reading(f"{_NAMES[unit]} since 1970", ms, f"time unit {unit}")


def _have_decimals(texts: Texts) -> bool:
    """Return whether one is precise enough to be a time of day, as Excel's days have it."""
    import pyarrow.compute as pc

    pattern = rf"^[^.]*\..{{{_EXCEL_DECIMALS},}}"
    return bool(pc.any(pc.match_substring_regex(texts.arrow, pattern), min_count=0).as_py())


def _since_1970(block: pa.Array, unit: str) -> Ints:
    import pyarrow.compute as pc

    parts = pc.extract_regex(block, r"^(?P<whole>\d{1,18}|[0-8]\d{18})(?:\.(?P<rest>\d+))?$")
    whole, rest = (pc.struct_field(parts, [i]) for i in (0, 1))
    decimals = _DECIMALS[unit]
    if decimals >= 3:
        ms = _digits(whole) // 10 ** (decimals - 3)
    else:
        fraction = _digits(pc.utf8_rpad(pc.utf8_slice_codeunits(rest, 0, 3), 3, "0"))
        seconds = _digits(whole)
        ms = np.where(seconds < 10**15, seconds * 1000 + fraction, NOT_A_TIME)
    ms[~np.asarray(pc.is_valid(parts))] = NOT_A_TIME
    return np.asarray(ms, dtype=np.int64)


def _excel_ms(block: pa.Array) -> Ints:
    import pyarrow.compute as pc

    number = pc.match_substring_regex(block, r"^\d{1,7}(\.\d+)?$")
    days = np.asarray(pc.if_else(number, block, "0").cast("float64"))
    ms = np.rint(days * _DAY_MS).astype(np.int64) + _EXCEL_EPOCH_MS
    return np.where(np.asarray(number), ms, NOT_A_TIME)


def are_numbers(texts: Texts) -> Bools:
    """Return which texts are decimal numbers, with an exponent or without."""
    import pyarrow.compute as pc

    pattern = r"^\d+(\.\d+)?([eE]\+?\d{1,2})?$"
    return np.asarray(pc.match_substring_regex(texts.arrow, pattern), dtype=bool)


def numbers(texts: Texts, time_zone: str | None) -> list[Reading]:
    """Return every way in which a column of numbers may be meant as times."""
    import pyarrow.compute as pc

    lengths = set(pc.unique(pc.utf8_length(texts.arrow)).to_pylist())
    patterns = [pattern for pattern in _COMPACT if len(pattern) in lengths]
    return [
        *(of_unit(texts, unit) for unit in UNITS),
        *(compact(texts, pattern, time_zone) for pattern in patterns),
    ]


def formatted(texts: Texts, time_format: str, time_zone: str | None) -> Reading:
    """Read texts by a format of `strptime`, or a name of compact digits.

    Raises
    ------
    TimesError
        If it is no format.
    """
    if time_format in _COMPACT:
        return compact(texts, time_format, time_zone)
    if "%" not in time_format:  # pandas has words for formats that it guesses
        raise TimesError(
            f"{time_format!r} is not a format of times",
            hint=f"as '%d.%m.%Y %H:%M:%S', or one of {', '.join(_COMPACT)}",
        )
    if "%I" in time_format and "%p" not in time_format:
        raise TimesError(
            f"{time_format!r} has hours of half a day, %I, and does not say of which",
            hint="%H is the hour of a whole day; %p reads AM and PM",
        )
    try:
        ms = texts.ints(lambda block: _formatted_ms(block, time_format))
    except ValueError as err:
        raise TimesError(
            f"{time_format!r} is not a format of times: {str(err).splitlines()[0]}",
            hint="as '%d.%m.%Y %H:%M:%S', or YYYYMMDDhhmm",
        ) from err
    zoned = "%z" in time_format or "%Z" in time_format
    rule = f"{time_format}{_says(time_zone, zoned)}"
    return Reading(
        rule, ms if zoned else _in_utc(ms, time_zone, texts), f"time format {time_format}"
    )


def _formatted_ms(block: pa.Array, time_format: str) -> Ints:
    import pandas as pd

    texts = pd.Series(block.to_pylist(), dtype=str)
    stamps = pd.to_datetime(texts, format=time_format, utc=True, errors="coerce")
    naive = stamps.dt.tz_localize(None).to_numpy()
    return np.asarray(naive.astype("datetime64[ms]").astype(np.int64), dtype=np.int64)


def proposals(texts: Texts, time_zone: str | None) -> list[Reading]:
    """Return common formats that the first text fits, day first and month first alike."""
    formats = [f"{date}{clock}" for date in _DATES for clock in _CLOCKS]
    fitting = [
        form
        for form in formats
        if formatted(Texts(texts[:1]), form, None).epoch_ms[0] != NOT_A_TIME
    ]
    return [formatted(texts, form, time_zone) for form in fitting]


def _in_utc(local_ms: Ints, time_zone: str | None, texts: Texts) -> Ints:
    if not time_zone:
        return local_ms
    return _from_zone(local_ms, time_zone, texts, local_ms != NOT_A_TIME)


def _from_zone(local_ms: Ints, time_zone: str, texts: Texts, which: Bools) -> Ints:
    """Return the instants of local times; those that a zone has twice, or never, are refused."""
    import pandas as pd

    local = pd.DatetimeIndex(np.where(which, local_ms, 0).astype("datetime64[ms]"))
    try:
        zoned = local.tz_localize(_zone(time_zone), ambiguous="NaT", nonexistent="NaT")
    except (KeyError, ValueError, OverflowError) as err:
        raise TimesError(
            f"there is no time zone {time_zone!r}", hint="as UTC, Europe/Berlin or +01:00"
        ) from err
    rows = np.flatnonzero(np.asarray(zoned.isna()) & which)
    if len(rows):
        raise TimesError(
            f"{texts[rows[0]]!r} comes twice or never in {time_zone}, where clocks are put on "
            "and back",
            where=f"row {rows[0]}",
            hint="write times with their offset, or in UTC",
            rows=rows.tolist(),
        )
    utc_ms = zoned.tz_convert(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    return np.where(which, utc_ms, NOT_A_TIME)


def _zone(time_zone: str) -> Any:
    """Return what pandas takes for a zone: a fixed offset is not in its table of names."""
    import datetime as dt

    if time_zone[:1] in ("+", "-"):
        return dt.timezone(dt.timedelta(milliseconds=offset_ms(time_zone)))
    return time_zone


def _digits(texts: pa.Array) -> Ints:
    """Return texts of digits as numbers; an empty one, and none, is 0."""
    import pyarrow.compute as pc

    filled = pc.if_else(pc.fill_null(pc.equal(texts, ""), True), "0", texts)
    return np.array(filled.cast("int64"), dtype=np.int64)


def _civil_ms(year: Ints, month: Ints, day: Ints, hour: Ints, minute: Ints, second: Ints) -> Ints:
    """Return epoch ms of dates and times of day as written, `NOT_A_TIME` where there is none."""
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    exists = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= after - first)
    exists &= (hour <= 23) & (minute <= 59) & (second <= 59)
    ms = (((first + day - 1) * 24 + hour) * 60 + minute) * 60_000 + second * 1000
    return np.where(exists, ms, NOT_A_TIME)
