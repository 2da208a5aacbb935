"""Instants: from ISO 8601, datetimes and columns of timestamps, and back."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workbench.arrays import Ints
from workbench.errors import TimesError

if TYPE_CHECKING:
    import pandas as pd

Time = str | int | dt.date | np.datetime64 | None
"""A bound of an interval: ISO 8601, epoch ms, a date(time); None or "" for no bound."""

ISO_8601 = (
    r"(?P<year>\d{4})-?(?P<month>\d{2})-?(?P<day>\d{2})"
    r"(?:[Tt ](?P<hour>\d{2})"
    r"(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?P<zone> ?(?:[Zz]|UTC|GMT)| ?[+-]\d{2}(?::?\d{2})?)?)?"
)
"""What counts as ISO 8601, for `re` and for Arrow's RE2: no week dates, no bare year or month."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MS = dt.timedelta(milliseconds=1)
_HINT = "expected ISO 8601, as 2026-01-05T00:00:00Z"


def instant_ms(time: Time) -> int | None:
    """Return ms since 1970 of an ISO 8601 text, a datetime or epoch ms; without a zone it is UTC.

    What is finer than a millisecond is cut off; a date is its midnight.

    Raises
    ------
    TimesError
        If the text is not ISO 8601, or NumPy's NaT.

    Examples
    --------
    >>> instant_ms("2026-01-05T00:00:00Z"), instant_ms("2026-01-05"), instant_ms(""), instant_ms(5)
    (1767571200000, 1767571200000, None, 5)
    >>> instant_ms("2026-01-05T12:00:00+01:00") == instant_ms("2026-01-05 11:00")
    True
    """
    if time is None or time == "":
        return None
    if isinstance(time, int | np.integer):
        return int(time)
    if isinstance(time, np.datetime64):
        if np.isnat(time):
            raise TimesError("NaT is not a time", hint=_HINT)
        return int(time.astype("datetime64[ms]").astype(np.int64))
    if isinstance(time, str):
        time = _datetime(time)
    if not isinstance(time, dt.datetime):
        time = dt.datetime.combine(time, dt.time())
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.UTC)
    return (time - _EPOCH) // _MS


def _datetime(text: str) -> dt.datetime:
    match = re.fullmatch(ISO_8601, text.strip(), re.ASCII)
    if not match:
        raise TimesError(f"{text!r} is not a time", hint=_HINT)
    parts = match.groupdict(default="0")
    try:
        fields = {name: int(parts[name]) for name in _FIELDS}
        local = dt.datetime(tzinfo=dt.UTC, **fields)
        away = offset_ms(parts["zone"])
    except ValueError as err:
        raise TimesError(f"{text!r} is not a time: {err}", hint=_HINT) from err
    micros = int(parts["fraction"][:6].ljust(6, "0"))
    return local + dt.timedelta(microseconds=micros) - away * _MS


_FIELDS = ("year", "month", "day", "hour", "minute", "second")


def offset_ms(zone: str) -> int:
    """Return what lies between UTC and the zone at the end of an ISO 8601 text.

    Raises
    ------
    ValueError
        If it is more than 15 hours, or has more than 59 minutes.

    Examples
    --------
    >>> offset_ms("+01:00"), offset_ms("-0530"), offset_ms("Z")
    (3600000, -19800000, 0)
    """
    digits = "".join(character for character in zone if character.isdigit())
    hours, minutes = int(digits[:2] or 0), int(digits[2:] or 0)
    if hours > 15 or minutes > 59:
        raise ValueError(f"there is no offset {zone.strip()}")
    return (-1 if "-" in zone else 1) * (hours * 60 + minutes) * 60_000


def iso(time_ms: int, unit: Literal["ms", "s", "m"] = "ms") -> str:
    """Return an instant as ISO 8601, also one that no datetime can hold, down to a unit.

    Examples
    --------
    >>> iso(1_767_571_200_000)
    '2026-01-05T00:00:00.000Z'
    >>> iso(1_767_571_200_000_000, "m")
    '57982-02-07T00:00Z'
    """
    return f"{np.datetime64(int(time_ms), 'ms').astype(f'datetime64[{unit}]')}Z"


def timestamps(times_ms: Ints) -> pd.DatetimeIndex:
    """Return instants as pandas has them: UTC, in milliseconds, so that any year can be held.

    Examples
    --------
    >>> timestamps(np.array([1_767_571_200_000]))
    DatetimeIndex(['2026-01-05 00:00:00+00:00'], dtype='datetime64[ms, UTC]', freq=None)
    """
    import pandas as pd

    return pd.DatetimeIndex(np.asarray(times_ms, np.int64).astype("datetime64[ms]"), tz="UTC")


def now_ms() -> int:
    """Return this moment."""
    return round(time.time() * 1000)


def epoch_ms(times: pd.Series[Any] | pd.DatetimeIndex | Ints) -> Ints:
    """Return the instants of a column; integers are taken to be that already.

    Parameters
    ----------
    times
        Shape (n,): timestamps of any unit, with a zone or UTC, datetimes, texts, or epoch ms.

    Raises
    ------
    TimesError
        If one is missing, the column holds no times, or some say their zone and others none.

    Examples
    --------
    >>> import pandas as pd
    >>> epoch_ms(pd.to_datetime(pd.Series(["1970-01-01T00:00:01Z"])))
    array([1000])
    """
    kind = getattr(times.dtype, "kind", "")
    if kind == "M":
        stamps = _stamps(times)
        _refuse_missing(np.isnat(stamps))
        return stamps.astype("datetime64[ms]").astype(np.int64)
    if kind in ("i", "u"):
        if not isinstance(times.dtype, np.dtype):
            _refuse_missing(np.asarray(times.isna()))
        return np.asarray(times, dtype=np.int64)
    if kind == "O":
        return _instants(list(times))
    raise TimesError(
        f"times are {times.dtype}, expected epoch milliseconds or timestamps",
        hint="workbench.times.parse_column makes them of text and other units",
    )


def _stamps(times: pd.Series[Any] | pd.DatetimeIndex | Ints) -> np.ndarray[Any, Any]:
    """Return timestamps of a column, UTC, whatever holds them: numpy, pandas or Arrow."""
    dtype: Any = times.dtype
    if hasattr(dtype, "pyarrow_dtype"):
        import pyarrow as pa

        return np.asarray(pa.array(times))
    unit = getattr(dtype, "unit", None) or np.datetime_data(dtype)[0]
    return np.asarray(times, dtype=f"datetime64[{unit}]")


def _instants(times: list[Any]) -> Ints:
    import pandas as pd

    missing = pd.isna(pd.Series(times, dtype=object)).to_numpy()
    _refuse_missing(missing | np.array([isinstance(x, str) and x == "" for x in times], dtype=bool))
    instants = np.array([_instant_of(row, time) for row, time in enumerate(times)], dtype=np.int64)
    zoned = [_is_zoned(time) for time in times]
    if True in zoned and False in zoned:
        row = zoned.index(zoned.count(False) > zoned.count(True))
        what = (
            "says its offset from UTC, and others say none"
            if zoned[row]
            else "says no offset from UTC, and others do"
        )
        raise TimesError(
            f"{times[row]!r} {what}", where=f"row {row}", hint="say it of all times, or of none"
        )
    return instants


def _instant_of(row: int, time: Any) -> int | None:
    if not _is_instant(time):
        raise TimesError(
            f"{time!r} is a {type(time).__name__}, expected a text, a datetime or epoch "
            "milliseconds",
            where=f"row {row}",
            rows=[row],
        )
    try:
        return instant_ms(time)
    except TimesError as err:
        raise TimesError(err.message, where=f"row {row}", hint=err.hint, rows=[row]) from err


def _is_instant(time: Any) -> bool:
    return isinstance(time, str | dt.date | np.datetime64 | int | np.integer) and not isinstance(
        time, bool
    )


def _is_zoned(time: Any) -> bool | None:
    """Return whether a text or a date says its zone; None: a number of ms needs none."""
    if isinstance(time, str):
        match = re.fullmatch(ISO_8601, time.strip(), re.ASCII)
        return bool(match and match["zone"])
    if isinstance(time, int | np.integer):
        return None
    return isinstance(time, dt.datetime) and time.tzinfo is not None


def _refuse_missing(missing: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    if missing.any():
        raise TimesError(
            f"{np.count_nonzero(missing)} of {len(missing)} readings have no time",
            where=f"row {int(missing.argmax())}",
            rows=np.flatnonzero(missing).tolist(),
        )
