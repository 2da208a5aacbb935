"""Read sensor readings from exports as they are found, and refuse what is no reading.

Line and column of the first fault are named; nothing is guessed or rounded, and nothing dropped
that was not asked to be, and then it is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench import times
from workbench.arrays import Bools, Floats, Ints
from workbench.errors import ServicesError, TimesError
from workbench.services.ingestion.csv_lines import Damage, Layout, Table, invisible, names_of
from workbench.services.ingestion.damage import hint_of, mark_hint
from workbench.services.ingestion.names import matching
from workbench.services.ingestion.numerals import (
    INEXACT,
    inexact,
    of_two_meanings,
    plain_numbers,
)
from workbench.services.ingestion.tables import read_table, table_of_frame

MISSING = ("", "nan", "null", "none", "na", "n/a")
MOST_LEFT_OUT = 0.1  # of the lines: more of them are no damage, but another format
_NO_READING = "if it is the name of something, leave it out of --values"
SPACES = "\u00a0\u2009\u202f"  # between thousands: no-break, thin, narrow no-break
_GROUPS = frozenset(".,'_ \u2019")  # what may stand between thousands
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")


@dataclass(frozen=True)
class CsvFormat:
    """How an export is written; numbers that are typed already (Parquet, a frame) have no marks.

    Attributes
    ----------
    sep
        What separates fields.
    decimal
        The decimal mark of numbers.
    thousands
        The mark between thousands, as `.` or `'` or a space (narrow ones are one, too); none else.
    encoding
        Of the text, as Python names it; a byte order mark at its beginning is passed over.
    missing
        Further texts, in any case, of a reading that is missing, beside an empty one, `nan`,
        `null`, `none`, `na` and `n/a`. A number, as `-999`, is every text of that value.
    time_format, time_unit, time_zone
        As for `times.recognise`.
    skip_rows, units_row, sheet
        As for `csv_lines.Layout`: lines before the header, whether one of units follows it, and
        which sheet of a workbook.
    between
        [start, stop) in epoch ms, in which all times must lie; None: 1980 to a day from now.
    """

    sep: str = ","
    decimal: str = "."
    encoding: str = "utf-8-sig"
    missing: Sequence[str] = ()
    thousands: str = ""
    skip_rows: int = 0
    units_row: bool = False
    sheet: str = ""
    time_format: str | None = None
    time_unit: str | None = None
    time_zone: str | None = None
    between: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.missing, str):
            hint = f"missing=[{self.missing!r}]"
            raise ServicesError(f"missing is {self.missing!r}, expected a list of texts", hint=hint)
        if self.skip_rows < 0:
            raise ServicesError(f"{self.skip_rows} lines cannot be skipped")
        if self.thousands and self.thousands == self.decimal:
            raise ServicesError(f"{self.decimal!r} is both the decimal mark and that of thousands")
        if self.decimal not in (".", ","):
            raise ServicesError(f"{self.decimal!r} is no decimal mark", hint="it is . or ,")
        if self.thousands and self.thousands not in _GROUPS:
            hint = "as . or , or ' or a space"
            raise ServicesError(f"{self.thousands!r} is no mark between thousands", hint=hint)

    def layout(self) -> Layout:
        """Return where the table stands, and how lines are split."""
        spaces = SPACES if self.thousands == " " else ""
        return Layout(self.sep, self.encoding, self.skip_rows, self.units_row, self.sheet, spaces)


@dataclass(frozen=True, eq=False)
class CsvReadings:
    """The readings of a file, in the order of its lines.

    Attributes
    ----------
    frame
        Sensor, time (UTC) and readings (float64).
    rule
        How the times were read.
    left_out
        Lines that are no reading, and were left out.
    cut
        Whether the last line has no end, and so may have lost more.
    fields
        Its columns of readings.
    not_numbers
        Columns that a pattern took, and left, as no number stands in them.
    two_ways
        The first number of which all like it may be meant otherwise, as `1.234`; empty if none.
    unnamed
        How many columns have no name, and say something: they are left out.
    """

    frame: pd.DataFrame
    rule: str
    left_out: list[Damage]
    cut: bool
    fields: tuple[str, ...] = ()
    not_numbers: tuple[str, ...] = ()
    two_ways: str = ""
    unnamed: int = 0


def read_csv(
    path: str | Path,
    *,
    sensor: str | None,
    sensor_name: str | None = None,
    time: str,
    values: Sequence[str],
) -> pd.DataFrame:
    """Return the frame of `read_readings`, of a file written as `CsvFormat` has it by default."""
    return read_readings(
        path, sensor=sensor, sensor_name=sensor_name, time=time, values=values
    ).frame


def read_readings(
    export: str | Path | pd.DataFrame,
    *,
    sensor: str | None,
    sensor_name: str | None = None,
    time: str,
    values: Sequence[str],
    tag: str | None = None,
    form: CsvFormat | None = None,
    skip_damaged: bool = False,
    aliases: Mapping[str, str] | None = None,
) -> CsvReadings:
    """Return the readings of a file or frame; see `look` for the parameters.

    Names in `values` that are no column are looked up in `aliases`.

    Raises
    ------
    ServicesError
        If the file cannot be read, lacks a column, or its times may be read in more than one way;
        if a line is no reading, with the first such line; if more than a tenth of them are none,
        also where damaged lines are to be skipped.
    """
    form = form or CsvFormat()
    named = [name for name in (sensor, time, tag) if name]
    path = "the frame" if isinstance(export, pd.DataFrame) else export
    asked: list[str] = []

    def select(header: Sequence[str]) -> list[str]:
        asked[:] = [name if name in header else (aliases or {}).get(name, name) for name in values]
        return list(dict.fromkeys([*named, *matching(asked, header, named)]))

    if isinstance(export, pd.DataFrame):
        table = table_of_frame(export, select)
    else:
        table = read_table(export, select, form.layout())
    rows = _Rows(path, table, form, skip_damaged)
    for name in (sensor, tag):
        if name:
            rows.unnamed(name, "is not the name of a sensor" if name == sensor else "is not a tag")
    taken = matching(asked, list(table.columns), named)
    numbers = [name for name in taken if name in asked or rows.has_numbers(name)]
    _refuse_twice([*named, *([] if sensor else ["sensor"])], numbers, path)
    if not numbers:
        rows.settle()
        why = f"no column of numbers matches {', '.join(values)}"
        raise ServicesError(why if len(table.lines) else "there is no reading in it", where=path)
    readings = {name: rows.numbers(name) for name in numbers}
    epoch_ms, rule = rows.times(time)
    damaged = rows.settle()
    sensors = names_of(table.columns[sensor]) if sensor else sensor_name or _stem(path)
    columns = {sensor or "sensor": sensors, time: times.timestamps(epoch_ms)}
    columns |= {tag: names_of(table.columns[tag])} if tag else {}
    frame = pd.DataFrame({**columns, **readings}, copy=False)
    not_numbers = tuple(name for name in taken if name not in numbers)
    kept = frame if rows.kept.all() else frame[rows.kept].reset_index(drop=True)
    return CsvReadings(
        kept, rule, damaged, table.cut, tuple(numbers), not_numbers, rows.two_ways(), table.unnamed
    )


def _refuse_twice(named: Sequence[str], numbers: Sequence[str], path: str | Path) -> None:
    """Refuse a column that is to be two things: one of them would be lost."""
    for name, count in Counter([*named, *numbers]).items():
        if count > 1:
            raise ServicesError(
                f"column {name!r} would be {count} columns: a sensor, a time, a tag or a reading",
                where=path,
                hint="say --sensor sensor if it names the sensor" if name == "sensor" else None,
            )


def _stem(path: str | Path) -> str:
    stem = Path(path).stem
    stem = Path(stem).stem if Path(path).suffix in _COMPRESSED else stem
    return {"-": "stdin", "the frame": "sensor"}.get(stem, stem)


@dataclass(eq=False)
class _Rows:
    """The rows of a table, and which of them turn out to be no readings."""

    path: str | Path
    table: Table
    form: CsvFormat
    skip_damaged: bool
    faults: list[Damage] = field(default_factory=list)
    meant: list[str | None] = field(default_factory=list)  # of each text, as `of_two_meanings`
    kept: Bools = field(init=False)

    def __post_init__(self) -> None:
        self.kept = np.ones(len(self.table.lines), dtype=np.bool_)

    def text(self, column: str, row: int) -> str:
        """Return what stands in a row."""
        return str(self.table.columns[column][int(row)].as_py())

    def fault(self, bad: Bools, column: str, what: str, hint: str | None = None) -> None:
        """Keep the damage of rows by what stands in a column of theirs."""
        for row in np.flatnonzero(bad):
            why = f"{self.text(column, row)!r} {what}"
            self.faults.append(Damage(int(self.table.lines[row]), why, column, hint))
        self.kept &= ~bad

    def unnamed(self, column: str, what: str) -> None:
        """Keep the damage of rows whose name is empty, or hides a character.

        Lines of text hide none, as `csv_lines` has looked.
        """
        self.fault(np.asarray(pc.equal(self.table.columns[column], "")), column, what)
        hidden = invisible(self.table.columns[column])
        for row, what in hidden.items():
            self.faults.append(Damage(int(self.table.lines[row]), what, column))
        self.kept[list(hidden)] = False

    def has_numbers(self, column: str) -> bool:
        """Return whether any text of a column is a number."""
        return any(plain.null_count < len(plain) for _, _, plain in self._plain(column))

    def _plain(self, column: str) -> Iterator[tuple[slice, pa.Array, pa.Array]]:
        """Yield some rows at a time, their texts, and which numbers they are, null if none."""
        typed, first = self.table.typed.get(column), 0
        marks = self.form.decimal, self.form.thousands
        for texts in self.table.columns[column].chunks:
            rows = slice(first, first := first + len(texts))
            numbers = None if typed is None else typed[rows]
            yield (
                rows,
                texts,
                plain_numbers(texts, numbers, marks),
            )

    def numbers(self, column: str) -> Floats:
        """Return a column's readings, NaN where one is missing; its texts are kept no longer."""
        numbers, missing, rounded = self._doubles(column)
        bad = ~missing & ~np.isfinite(numbers)
        texts = [self.text(column, row) for row in np.flatnonzero(bad)]
        self.fault(bad, column, "is not a number", mark_hint(texts))
        is_name = rounded.sum() > MOST_LEFT_OUT * len(rounded)
        self.fault(rounded, column, INEXACT, _NO_READING if is_name else None)
        numbers[missing] = np.nan
        del self.table.columns[column]
        return numbers

    def _doubles(self, column: str) -> tuple[Floats, Bools, Bools]:
        """Return the nearest doubles, which readings are missing, and which are rounded."""
        numbers, typed = np.empty(len(self.table.lines)), self.table.typed.get(column)
        missing, rounded = (np.zeros(len(numbers), dtype=np.bool_) for _ in range(2))
        for rows, texts, plain in self._plain(column):
            signless = pc.utf8_ltrim(plain.fill_null("nan"), "+")
            numbers[rows] = np.asarray(signless.cast("float64"))
            missing[rows] = self._missing(texts, numbers[rows])
            rounded[rows] = ~missing[rows] & inexact(signless, numbers[rows])
            written = texts if typed is None else texts.filter(pa.array(~typed[rows]))
            self.meant.append(of_two_meanings(written, self.form.decimal))
        return numbers, missing, rounded

    def _missing(self, texts: pa.Array, numbers: Floats) -> Bools:
        """Return which readings are missing: by what their texts say, or by their value."""
        said = [name.strip() for name in self.form.missing]
        names = pa.array([*MISSING, *(name.lower() for name in said)])
        missing = np.asarray(pc.is_in(pc.utf8_lower(texts), value_set=names))
        marks = self.form.decimal, self.form.thousands
        codes = pc.coalesce(plain_numbers(said, None, marks), plain_numbers(said, None, (".", "")))
        return missing | np.isin(numbers, codes.drop_null().cast("float64"))

    def two_ways(self) -> str:
        """Return a number that may be meant in two ways, if all that have a mark may."""
        if self.form.thousands or None in self.meant:
            return ""
        return next(filter(None, self.meant), "")

    def times(self, column: str) -> tuple[Ints, str]:
        """Return the instants of a column, and how they were read; those of no rows are 0."""
        texts, form = self.table.columns[column], self.form
        epoch_ms = np.zeros(len(texts), dtype=np.int64)
        pending = self.kept.copy()
        while True:
            rows = np.flatnonzero(pending)
            try:
                column_read = times.recognise(
                    texts if pending.all() else texts.take(pa.array(rows)),
                    form.time_format,
                    form.time_unit,
                    form.time_zone,
                    between=form.between,
                )
            except TimesError as err:
                if not err.rows or len(err.rows) == len(rows):
                    where = f"{self.path}, column {column}"
                    if err.rows:
                        where = f"{self.path} line {self.table.lines[rows[0]]}, column {column}"
                    raise ServicesError(err.message, where=where, hint=err.hint) from err
                bad = rows[err.rows]
                pending[bad] = False
                self._times_at_fault(bad, column, err)
            else:
                if self.table.days_from_1904 and column_read.rule == times.EXCEL_DAYS:
                    raise ServicesError(
                        "the days of this workbook count from 1904, not from 1900",
                        where=f"{self.path}, column {column}",
                        hint="let the cells show dates: then they are read as such",
                    )
                epoch_ms[rows] = column_read.epoch_ms
                return epoch_ms, column_read.rule

    def _times_at_fault(self, rows: Ints, column: str, err: TimesError) -> None:
        """Keep the damage of rows: the first as it was told, the others as it says of them."""
        first, told = repr(self.text(column, rows[0])), err.message
        for row in rows:
            why = told.replace(first, repr(self.text(column, row)), 1) if row != rows[0] else told
            self.faults.append(Damage(int(self.table.lines[row]), why, column, err.hint))
        self.kept[rows] = False

    def settle(self) -> list[Damage]:
        """Return the lines to leave out, one damage each.

        Raises
        ------
        ServicesError
            If there are any, and they are not to be skipped or too many.
        """
        by_line = {damage.line: damage for damage in reversed(self.faults + self.table.damaged)}
        damaged = [by_line[line] for line in sorted(by_line)]
        total = len(self.table.lines) + len(self.table.damaged)
        too_many = len(damaged) > max(1, MOST_LEFT_OUT * total)
        if damaged and (too_many or not self.skip_damaged):
            first = damaged[0]
            column = f", column {first.column}" if first.column else ""
            raise ServicesError(
                first.why,
                where=f"{self.path} line {first.line}{column}",
                hint=hint_of(
                    damaged,
                    total,
                    too_many=too_many and (self.skip_damaged or first.hint == _NO_READING),
                ),
            )
        return damaged
