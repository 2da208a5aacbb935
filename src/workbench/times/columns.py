"""Columns of texts into instants, by one rule for the whole column, or not at all.

The unit of a number and the order of day and month are never guessed from a value: every reading
that may be meant is tried on all of them, and one alone must give times that can be. What is taken
is told (`Recognised.rule`); what is not, is shown as each reading would have it.

A text with an offset is read by its own; one without is UTC, or of `time_zone`. A column with both
is refused unless `time_zone` says what the others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.arrays import Bools, Ints
from workbench.errors import TimesError
from workbench.times import readings
from workbench.times.exponents import written_out
from workbench.times.instants import instant_ms, iso, now_ms
from workbench.times.readings import NOT_A_TIME, Reading
from workbench.times.texts import Texts

if TYPE_CHECKING:
    import pyarrow as pa

_DAY_MS = 86_400_000
_MOST = 0.9  # of a column that one reading must explain, before the rest are called faults
_SHOWN = 3
_HINT = "a time is written as 2026-01-05T00:00:00Z, or say its format"


@dataclass(frozen=True, eq=False)
class Recognised:
    """The instants of a column of texts.

    Attributes
    ----------
    epoch_ms
        Shape (n,).
    rule
        How the texts were read, as `seconds since 1970`.
    """

    epoch_ms: Ints
    rule: str


def plausible_ms() -> tuple[int, int]:
    """Return [start, stop) of what a clock can have shown: from 1980 to a day from now."""
    return instant_ms("1980-01-01") or 0, now_ms() + _DAY_MS


def parse_column(
    texts: Iterable[str],
    time_format: str | None = None,
    time_unit: str | None = None,
    time_zone: str | None = None,
    *,
    between: tuple[int, int] | None = None,
) -> Ints:
    """Return the instants of a column of texts; `recognise` also says how they were read.

    Examples
    --------
    >>> parse_column(["2026010500", "2026010501"]).tolist()
    [1767571200000, 1767574800000]
    >>> parse_column(["1767571200.0", "1767571210.5"]).tolist()
    [1767571200000, 1767571210500]
    """
    return recognise(texts, time_format, time_unit, time_zone, between=between).epoch_ms


def recognise(
    texts: Iterable[str] | pa.Array | pa.ChunkedArray,
    time_format: str | None = None,
    time_unit: str | None = None,
    time_zone: str | None = None,
    *,
    between: tuple[int, int] | None = None,
) -> Recognised:
    """Return the instants of a column of texts, and how they were read.

    Parameters
    ----------
    texts
        ISO 8601; compact digits, from YYYYMMDD to YYYYMMDDhhmmssfff; s, ms, us or ns since 1970,
        with or without a fraction, or an exponent if all digits are written (`1.770976800e9`);
        Excel's serial days, if they have four decimals.
    time_format
        As `strptime` takes it (`%d.%m.%Y %H:%M`), or a name of compact digits: all are read so.
    time_unit
        Of numbers: `s`, `ms`, `us`, `ns`, or `excel` for its days since 1899-12-30.
    time_zone
        Of texts without an offset, as `Europe/Berlin` or `+01:00`; None: UTC.
    between
        [start, stop) in epoch ms, in which all must lie; None: `plausible_ms`.

    Raises
    ------
    TimesError
        If a text is no time (`rows` says which), or if the column may be read in more than one
        way, or in none: then with its first texts as they would be read.
    """
    column = _Column(Texts(texts), time_zone, between or plausible_ms())
    if time_format and time_unit:
        raise TimesError("a format and a unit of the times are given, expected one of the two")
    if not column.texts:
        return Recognised(np.empty(0, np.int64), "no times")
    if time_format:
        return column.take(readings.formatted(column.texts, time_format, time_zone))
    if time_unit or readings.are_numbers(column.texts).mean() > 0.5:
        column = replace(column, texts=written_out(column.texts))
        if time_unit:
            return column.take(readings.of_unit(column.texts, time_unit))
        return column.choose(readings.numbers(column.texts, time_zone))
    return column.take(readings.iso_8601(column.texts, time_zone))


@dataclass(frozen=True, eq=False)
class _Column:
    texts: Texts
    time_zone: str | None
    between: tuple[int, int]

    def fits(self, reading: Reading) -> Bools:
        return (reading.epoch_ms >= self.between[0]) & (reading.epoch_ms < self.between[1])

    def take(self, reading: Reading) -> Recognised:
        """Take the one reading there is, or name the texts that it does not explain."""
        fits = self.fits(reading)
        if fits.all():
            return Recognised(reading.epoch_ms, reading.rule)
        if (reading.epoch_ms == NOT_A_TIME).mean() > 0.5:
            raise self._unread(reading)
        raise self._fault(reading, fits)

    def choose(self, candidates: Sequence[Reading]) -> Recognised:
        """Take the one reading that explains all, or say why there is none, or more."""
        whole = [reading for reading in candidates if self.fits(reading).all()]
        if len(whole) == 1 and whole[0].sure:
            return Recognised(whole[0].epoch_ms, whole[0].rule)
        if whole:
            raise self._undecided("the times may be read in more than one way, or are none", whole)
        best = max(candidates, key=lambda reading: int(self.fits(reading).sum()))
        fits = self.fits(best)
        if fits.mean() >= _MOST:
            raise self._fault(best, fits)
        near = [reading for reading in candidates if self.fits(reading).any()]
        raise self._undecided(f"by no rule do all times lie {self._span()}", near or candidates[:4])

    def _span(self) -> str:
        return f"between {iso(self.between[0])[:10]} and {iso(self.between[1])[:10]}"

    def _fault(self, reading: Reading, fits: Bools) -> TimesError:
        rows = np.flatnonzero(~fits).tolist()
        text, ms = self.texts[rows[0]], int(reading.epoch_ms[rows[0]])
        what = f"is not a time in {_name(reading)}"
        if ms != NOT_A_TIME:
            what = f"is {iso(ms)} in {_name(reading)}, not {self._span()}"
        return TimesError(f"{text!r} {what}", where=f"row {rows[0]}", rows=rows, hint=_HINT)

    def _unread(self, reading: Reading) -> TimesError:
        row = int((reading.epoch_ms == NOT_A_TIME).argmax())
        what = f"{self.texts[row]!r} is not a time in {_name(reading)}"
        options = readings.proposals(Texts(self.texts[row:]), self.time_zone)
        fitting = [option for option in options if self.fits(option).all()] or options
        if fitting:
            return self._undecided(what, fitting, row)
        rows = np.flatnonzero(reading.epoch_ms == NOT_A_TIME).tolist()
        return TimesError(what, where=f"row {row}", hint=_HINT, rows=rows)

    def _undecided(self, why: str, options: Sequence[Reading], row: int = 0) -> TimesError:
        first = ", ".join(self.texts[row : row + _SHOWN])
        lines = [f"{option.option}: {_shown(option.epoch_ms)}" for option in options]
        return TimesError(
            why,
            hint="\n  ".join([f"say how {first} is meant:", *lines]),
            options=[option.option for option in options],
        )


def _name(reading: Reading) -> str:
    return reading.rule.partition(",")[0]


def _shown(epoch_ms: Ints) -> str:
    return ", ".join("no time" if ms == NOT_A_TIME else iso(ms) for ms in epoch_ms[:_SHOWN])
