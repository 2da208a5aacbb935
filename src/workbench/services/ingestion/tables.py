"""Read the table that a file holds as texts: CSV, Parquet, Arrow, Excel; or a frame.

All go one way from here: what is typed already becomes the text that says exactly the same, so
that one rule decides what is a time and what is a number.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow_hotfix  # noqa: F401 - a file could name code to run (CVE-2023-47248)
from pyarrow import ipc

from workbench.errors import ServicesError, did_you_mean
from workbench.services.ingestion.csv_lines import (
    Damage,
    Layout,
    Select,
    Table,
    chosen,
    read_lines,
)
from workbench.services.ingestion.sources import DAMAGED, opened

_TITLES = 50  # rows, at most, above a table
_MOST_TIME = 1e19  # ns since 1970 are less
_NO_RESULT = "open the workbook in a spreadsheet program and save it: then results are in it"


def read_table(
    path: str | Path, select: Select, layout: Layout, *, most_rows: int | None = None
) -> Table:
    """Return columns of a file as texts.

    Parameters
    ----------
    path
        Of CSV (also compressed: gzip, bzip2, xz, zstd, zip), Parquet, Arrow or .xlsx; `-` is stdin.
    select
        Given the names in the header, those to take.
    layout
        Where the table stands in the file, and how lines are split.
    most_rows
        Of a file that is typed, to be read; None: all.

    Raises
    ------
    ServicesError
        If it cannot be read, or lacks a column, or has it twice.
    """
    try:
        with opened(str(path)) as (kind, raw):
            if kind == "text":
                return read_lines(path, raw, select, layout)
            return _READERS[kind](str(path), raw, select, layout, most_rows)
    except UnicodeError as err:
        raise ServicesError(
            f"not text in {layout.encoding}: {_first_line(err)}",
            where=path,
            hint="say its encoding, as cp1252 or utf-16",
        ) from err
    except DAMAGED as err:
        reason = getattr(err, "strerror", None) or _first_line(err)
        raise ServicesError(f"cannot be read: {reason}", where=path) from err


def _first_line(err: Exception) -> str:
    return str(err).partition("\n")[0]


def table_of_frame(frame: pd.DataFrame, select: Select, where: str = "the frame") -> Table:
    """Return columns of a frame as texts; an index that has a name, or is of times, is one.

    Raises
    ------
    ServicesError
        If a column is not there, twice, or of mixed kinds.
    """
    if frame.index.name or isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.reset_index()
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    names = chosen(select, frame.columns.tolist(), where)
    arrays = {name: _array(frame[name], f"{where}, column {name}") for name in names}
    return _typed(pa.table(arrays), names, where)


def _array(column: pd.Series[Any], where: str) -> pa.Array:
    """Return a column as Arrow has it; UUIDs, of which it makes other things, by their texts."""
    if column.dtype == object and column.dropna().map(lambda name: isinstance(name, UUID)).all():
        column = column.map(str, na_action="ignore")
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError) as err:
        raise ServicesError(f"a column is of mixed kinds: {_first_line(err)}", where=where) from err


def _typed(table: pa.Table, names: Sequence[str], where: str) -> Table:
    columns = {}
    for name in names:
        try:
            columns[name] = _texts(table.column(name))
        except pa.ArrowException as err:
            raise ServicesError(
                f"column {name!r}, of {table.column(name).type}, is no text: {_first_line(err)}",
                where=where,
            ) from err
    kinds = {name: table.column(name).type for name in names}
    typed = {name: np.full(table.num_rows, _is_number(kind)) for name, kind in kinds.items()}
    nested = tuple(name for name, kind in kinds.items() if _is_nested(kind))
    rows = np.arange(1, table.num_rows + 1)
    return Table(columns, rows, [], cut=False, typed=typed, nested=nested)


def _is_nested(kind: pa.DataType) -> bool:
    """Return whether a column holds lists or records, or what only its writer knows of."""
    return bool(pa.types.is_nested(kind)) or isinstance(kind, pa.BaseExtensionType)


def _is_number(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_decimal: bool = pa.types.is_decimal(kind)
    return is_decimal or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what a typed column says, exactly: floats by their shortest text, texts trimmed."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_duration(kind):
        raise ServicesError(
            "a column holds durations, and no reading says its unit",
            hint="make numbers of them first: column.dt.total_seconds()",
        )
    if pa.types.is_float16(kind):  # Arrow makes no other number of them
        halves = np.array(column.to_pylist(), dtype=np.float64)
        column = pa.chunked_array([pa.array(halves, from_pandas=True)])
    elif pa.types.is_floating(kind):
        column = column.cast(pa.float64())  # a float32's own shortest text is another double
    if _is_nested(kind):  # its kind says that it is no number
        said = pc.is_valid(column)
        return pc.if_else(said, pa.scalar(str(kind)), pa.scalar("")).cast(pa.string())
    if pa.types.is_floating(column.type):
        return _without_exponents(column)
    if pa.types.is_decimal(kind):
        column = pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]])
    return pc.utf8_trim(column.cast(pa.string()).fill_null(""), " \t")


def _without_exponents(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return doubles by their shortest texts; what may be a time is written out.

    (Of a text with an exponent nobody knows whether it has lost digits.)
    """
    texts = column.cast(pa.string()).fill_null("")
    rows = np.flatnonzero(pc.match_substring_regex(texts, r"e\+?1\d$"))
    if not len(rows):
        return texts
    plain = np.array(texts.to_pylist(), dtype=object)
    plain[rows] = [_number_text(number) for number in column.take(pa.array(rows)).to_pylist()]
    return pa.chunked_array([pa.array(plain, pa.string())])


def _number_text(number: float) -> str:
    """Return a double's shortest text; of a whole one below 1e19, all its digits."""
    return f"{number:.0f}" if abs(number) < _MOST_TIME and number.is_integer() else repr(number)


def _parquet(
    path: str, raw: IO[bytes], select: Select, _layout: Layout, most_rows: int | None
) -> Table:
    file = pq.ParquetFile(pa.PythonFile(raw, mode="r"))
    names = chosen(select, file.schema_arrow.names, path)
    if most_rows is None:
        return _typed(file.read(columns=names), names, path)
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    head = islice(file.iter_batches(most_rows, columns=names), 1)
    return _typed(pa.Table.from_batches(head, schema), names, path)


def _arrow(
    path: str, raw: IO[bytes], select: Select, _layout: Layout, most_rows: int | None
) -> Table:
    file = ipc.open_file(pa.PythonFile(raw, mode="r"))
    names = chosen(select, file.schema.names, path)
    count = file.num_record_batches if most_rows is None else min(1, file.num_record_batches)
    table = pa.Table.from_batches(map(file.get_batch, range(count)), file.schema)
    return _typed(table.select(names).slice(0, most_rows), names, path)


def _xlsx(
    path: str, raw: IO[bytes], select: Select, layout: Layout, most_rows: int | None
) -> Table:
    book = _workbook(raw)
    skipped, cells = layout.skip_rows, _sheet(book, path, layout).iter_rows(values_only=True)
    rows = list(islice(cells, most_rows and most_rows + skipped + 2))
    if len(rows) <= skipped:
        raise ServicesError("there is no header", where=f"{path} row {skipped + 1}")
    header = [_cell(cell) for cell in rows[skipped]]
    names = chosen(select, header, f"{path} row {skipped + 1}")
    first = skipped + 1 + layout.units_row
    kept = [row for row in range(first, len(rows)) if any(map(_cell, rows[row]))]
    places = {header.index(name): name for name in names}
    empty = {(row, at) for row in kept for at in places if _value(rows[row], at) is None}
    damaged = _unworked(raw, path, layout, {each: places[each[1]] for each in empty})
    kept = [row for row in kept if row + 1 not in {damage.line for damage in damaged}]
    columns, typed = {}, {}
    for name in names:
        cells = _column(rows, kept, header.index(name))
        columns[name] = pa.chunked_array([[_cell(cell) for cell in cells]], pa.string())
        typed[name] = np.array([_is_numeric(cell) for cell in cells], dtype=np.bool_)
    return Table(
        columns,
        np.array(kept, dtype=np.int64) + 1,
        damaged,
        cut=False,
        typed=typed,
        unnamed=_unnamed(header, [rows[row] for row in kept]),
        days_from_1904=book.epoch.year == 1904,
    )


def _unworked(
    raw: IO[bytes], path: str, layout: Layout, empty: Mapping[tuple[int, int], str]
) -> list[Damage]:
    """Return the empty cells that are formulas: who wrote them left out what they come to.

    Parameters
    ----------
    empty
        Row and place of cells without a value, to the name of their column.
    """
    if not empty:
        return []
    raw.seek(0)
    last = max(row for row, _ in empty) + 1
    cells = _sheet(_workbook(raw, results=False), path, layout).iter_rows(values_only=True)
    return [
        Damage(row + 1, f"{formula!r} is a formula without its result", empty[row, at], _NO_RESULT)
        for row, written in enumerate(islice(cells, last))
        for at, formula in enumerate(written)
        if formula is not None and (row, at) in empty
    ]


def _unnamed(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Return how many columns have no name, and say something."""
    width = max(map(len, rows), default=0)
    places = [at for at in range(width) if at >= len(header) or not header[at]]
    return sum(any(_cell(_value(row, at)) for row in rows) for at in places)


def _value(row: Sequence[Any], place: int) -> Any:
    return row[place] if place < len(row) else None


def _workbook(raw: IO[bytes], *, results: bool = True) -> Any:
    """Open a workbook, to read what its formulas come to, or what they are."""
    import openpyxl

    return openpyxl.load_workbook(raw, read_only=True, data_only=results)


def rows_of_titles(path: str | Path, layout: Layout) -> int:
    """Return how many rows stand above the first of a sheet in which two cells say something.

    Raises
    ------
    ServicesError
        If the workbook has no such sheet, or several and none is named.
    """
    try:
        with opened(str(path)) as (kind, raw):
            if kind != "xlsx":
                return 0
            sheet = _sheet(_workbook(raw), str(path), layout)
            head = islice(sheet.iter_rows(values_only=True), _TITLES)
            wide = (row for row, cells in enumerate(head) if sum(map(bool, map(_cell, cells))) > 1)
            return next(wide, 0)
    except DAMAGED:  # who reads it says so
        return 0


def _column(rows: Sequence[Sequence[Any]], kept: Iterable[int], place: int) -> list[Any]:
    return [_value(rows[row], place) for row in kept]


def _is_numeric(cell: object) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _sheet(book: Any, path: str, layout: Layout) -> Any:
    names = book.sheetnames
    if layout.sheet:
        if layout.sheet not in names:
            hint = did_you_mean(layout.sheet, names)
            raise ServicesError(f"there is no sheet {layout.sheet!r}", where=path, hint=hint)
        return book[layout.sheet]
    if len(names) > 1:
        raise ServicesError(
            f"the workbook has {len(names)} sheets: {', '.join(names)}",
            where=path,
            hint=f"say which one: --sheet {names[0]!r}",
        )
    return book[names[0]]


def _cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, dt.datetime | dt.date):
        return cell.isoformat()
    return _number_text(cell) if isinstance(cell, float) else str(cell).strip()


def _xls(
    path: str, _raw: IO[bytes], _select: Select, _layout: Layout, _most_rows: int | None
) -> Table:
    raise ServicesError(
        "a workbook of Excel 97 to 2003", where=path, hint="save it as .xlsx or .csv"
    )


_READERS: dict[str, Callable[[str, IO[bytes], Select, Layout, int | None], Table]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "xlsx": _xlsx,
    "xls": _xls,
}
