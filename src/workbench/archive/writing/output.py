"""Write record batches as CSV, JSON lines, text or Parquet, one batch in memory at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from workbench import files

if TYPE_CHECKING:
    import pandas as pd

_BATCH_BYTES = 32 << 20  # of one batch; larger values come in batches of fewer rows


def write_parquet(batches: Iterable[pa.RecordBatch], path: str | Path) -> int:
    """Write a Parquet file, whole or not at all; return its number of rows."""
    rows, writer = 0, None
    with files.new_file(path) as part:
        for batch in batches:
            if writer is None:
                writer = pq.ParquetWriter(part, batch.schema, compression="zstd")
            if batch.num_rows:
                writer.write_batch(batch)
                rows += batch.num_rows
        if writer is not None:
            writer.close()
    return rows


def resize(batches: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `batch_rows`, or fewer where these pass 32 MiB."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        pending.append(batch)
        while pending and _is_enough(pending, batch_rows):
            whole, pending = _first(pending, batch_rows)
            yield from whole
    yield from _first(pending, batch_rows)[0] if pending else []


def _is_enough(held: list[pa.RecordBatch], batch_rows: int) -> bool:
    rows = sum(batch.num_rows for batch in held)
    held_bytes: int = sum(batch.nbytes for batch in held)
    return rows >= batch_rows or held_bytes > _BATCH_BYTES


def _first(
    pending: list[pa.RecordBatch], batch_rows: int
) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Return the first rows as one batch, and the rest (its own function: to let go of all)."""
    table = pa.Table.from_batches(pending)
    rest = table.slice(batch_rows).to_batches() if table.num_rows > batch_rows else []
    return table.slice(0, batch_rows).combine_chunks().to_batches(), rest


# what pyarrow before 13 did of itself: a frame is the same whatever is installed
_NANOSECONDS: dict[str, Any] = (
    {"coerce_temporal_nanoseconds": True} if int(pa.__version__.split(".")[0]) >= 13 else {}
)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a frame; times that nanoseconds cannot hold keep their own unit.

    Units do not depend on the versions of pandas and pyarrow, whose own they do:
    A column is `datetime64[ns, UTC]` where all of its times lie in the years 1677 to 2262, else
    `datetime64[ms, UTC]` (or `us`, as it was); dates beyond the year 9999 are `datetime64[s]`.
    """
    import pandas as pd

    shown, wide = table, {}
    for place, name in enumerate(table.schema.names):
        column = table.column(place)
        if not _is_plain(column):
            wide[place] = _wide(column)
            shown = shown.set_column(place, name, pa.nulls(len(table)))
    frame: pd.DataFrame = shown.to_pandas(**_NANOSECONDS)
    for place, values in wide.items():
        kind, name = table.schema.field(place).type, frame.columns[place]
        times = pd.Series(values, frame.index)
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        frame[name] = times.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else times
    return frame


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Return whether pandas shows a column as it is."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return _lies_within(column, _FIRST_NS_S, _STOP_NS_S)
    if pa.types.is_nested(kind):
        try:
            pa.array([], kind).to_pandas()
        except pa.ArrowNotImplementedError:  # lists of maps and of fixed
            return False
    return not any(_is_beyond(chunk) for chunk in column.chunks)


def _wide(column: pa.ChunkedArray) -> Any:
    """Return a column's times as numpy has them, or a nested column's values as objects."""
    kind = column.type
    if pa.types.is_nested(kind):
        values = np.empty(len(column), object)
        values[:] = [value for chunk in column.chunks for value in _objects(chunk)]
        return values
    numbers = column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    numbers = numbers.cast(pa.int64()).fill_null(np.iinfo(np.int64).min)  # NaT
    times = numbers.to_numpy().view(f"datetime64[{_unit(kind)}]")
    return times.astype("datetime64[s]") if pa.types.is_date(kind) else times


# in Python's and in nanoseconds' reach, seconds since 1970
_FIRST_YEAR_S, _STOP_YEAR_S = -62_135_596_800, 253_402_300_800
_FIRST_NS_S, _STOP_NS_S = -9_223_372_036, 9_223_372_036


def _unit(kind: pa.DataType) -> str:
    return "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit


def _lies_within(column: pa.Array, first_s: int, stop_s: int) -> bool:
    """Return whether all times or dates of a column lie in [first_s, stop_s)."""
    if not len(column):
        return True
    unit = _unit(column.type)
    numbers = column.cast(pa.int32() if unit == "D" else pa.int64())
    ends = pc.min_max(numbers).as_py()
    if ends["min"] is None:
        return True
    per_unit = {"D": (86_400, 1), "s": (1, 1), "ms": (1, 10**3), "us": (1, 10**6), "ns": (1, 10**9)}
    seconds, parts = per_unit[unit]
    first, stop = first_s * parts, stop_s * parts
    return bool(first <= ends["min"] * seconds and ends["max"] * seconds < stop)


def _is_beyond(array: pa.Array) -> bool:
    """Return whether an array holds, at any depth, a time beyond the years 1 to 9999."""
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return not _lies_within(array, _FIRST_YEAR_S, _STOP_YEAR_S)
    return any(_is_beyond(part) for part in _parts(array))


def _parts(array: pa.Array) -> list[pa.Array]:
    kind = array.type
    if pa.types.is_struct(kind):
        return list(array.flatten())
    if pa.types.is_map(kind):
        return [array.keys, array.items]
    return [array.flatten()] if pa.types.is_list(kind) else []


def _objects(array: pa.Array) -> list[Any]:
    """Return an array's values, times and dates as numpy has them: these know any year."""
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        numbers = array.cast(pa.int32() if _unit(kind) == "D" else pa.int64()).to_pylist()
        return [None if x is None else np.datetime64(x, _unit(kind)) for x in numbers]
    if not pa.types.is_nested(kind):
        values: list[Any] = array.to_pylist()
        return values
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        rows = zip(*map(_objects, _parts(array)), strict=True)
        shown: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    else:
        shown = [_objects(scalar.values) if scalar.is_valid else None for scalar in array]
    if pa.types.is_map(kind):
        shown = [pairs and [tuple(pair.values()) for pair in pairs] for pairs in shown]
    valid = array.is_valid().to_pylist()
    return [value if is_valid else None for value, is_valid in zip(shown, valid, strict=True)]


def _plain_objects(array: pa.Array) -> list[Any]:
    return _objects(array) if _is_beyond(array) else array.to_pylist()


def _as_text(column: pa.Array) -> pa.Array:
    """Return a column with a time beyond the years 1 to 9999 as text, else as it is."""
    if not _is_beyond(column):
        return column
    if pa.types.is_nested(column.type):
        return _json_column(column)
    zone = "Z" if pa.types.is_timestamp(column.type) and column.type.tz else ""
    texts = [None if time is None else f"{time}{zone}" for time in _objects(column)]
    return pa.array(texts, pa.string())


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [_as_text(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows as objects that `json` writes."""
    columns = [
        _plain_objects(column) if pa.types.is_nested(column.type) else _as_text(column).to_pylist()
        for column in batch.columns
    ]
    for row in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, row, strict=True))


def text_lines(batches: Iterable[pa.RecordBatch], form: str) -> Iterator[str]:
    """Yield the rows as text, `csv` (with a header) or `json` (an object a line)."""
    header = True
    for batch in batches:
        if form == "json":
            yield from (json.dumps(row, default=plain) + "\n" for row in _rows(batch))
        else:
            yield _csv(batch, header=header)
            header = False


def _csv(batch: pa.RecordBatch, *, header: bool) -> str:
    readable = _readable(batch).columns
    columns = [_json_column(column) if _is_wide(column.type) else column for column in readable]
    out = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=header)
    pyarrow.csv.write_csv(pa.table(columns, names=batch.schema.names), out, options)
    return out.getvalue().decode()


def _is_wide(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind))


def _json_column(column: pa.Array) -> pa.Array:
    values = [
        None if value is None else json.dumps(value, default=plain)
        for value in _plain_objects(column)
    ]
    return pa.array(values, pa.string())


def text_table(batches: Iterable[pa.RecordBatch], *, most: int = 1000) -> str:
    """Return the rows as a table to look at, the first `most` of them."""
    head: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        head.append(batch)
        rows += batch.num_rows
        if rows > most:
            break
    table = pa.Table.from_batches(head).slice(0, most).combine_chunks()
    frame = to_frame(pa.table([_as_text(column) for column in _whole(table)], table.schema.names))
    if not len(frame):
        return " ".join(frame.columns) + "\n(no rows)"
    shown: str = frame.to_string(index=False, na_rep="")
    return shown + (f"\n(the first {most} rows)" if rows > most else "")


def _whole(table: pa.Table) -> list[pa.Array]:
    chunks = [column.chunks for column in table.columns]
    return [
        parts[0] if parts else pa.array([], field.type)
        for parts, field in zip(chunks, table.schema, strict=True)
    ]


def plain(value: Any) -> Any:
    """Return a value that JSON has no form for as text: times in ISO 8601, bytes as base64."""
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, np.datetime64):  # of a nested column, whose zone is UTC or none
        return f"{value}"
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
