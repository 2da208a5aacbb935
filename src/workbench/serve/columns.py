"""Turn Arrow columns into the cells of PostgreSQL's DataRow messages, as text or binary.

A column becomes bytes and, for each row, where its cell starts and how long it is (-1: null);
compiled code copies the cells of a batch into messages.

    offset  type    field
    0       byte    'D'
    1       int32   length of what follows, this field included
    5       int16   number of cells
    7       cell*   int32 size, -1 for null; `size` bytes

Source: PostgreSQL 15, Message Formats (DataRow); src/backend/utils/adt: timestamp_send, date_send,
numeric_send, interval_send, array_send. Times count from 2000-01-01.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.arrays import Bytes, Ints
from workbench.compiled import compiled

_TO_2000_US = 946_684_800_000_000
_TO_2000_DAYS = 10_957
_FIRST_US, _STOP_US = -62_135_596_800_000_000, 253_402_300_800_000_000  # years 1 and 10000


@dataclass(frozen=True)
class Type:
    """A type of PostgreSQL: name, oid, bytes of a value (-1: it varies), oid of its array."""

    name: str
    oid: int
    size: int
    array: int


TYPES = {
    kind.name: kind
    for kind in (
        Type("bool", 16, 1, 1000),
        Type("bytea", 17, -1, 1001),
        Type("int8", 20, 8, 1016),
        Type("int2", 21, 2, 1005),
        Type("int4", 23, 4, 1007),
        Type("text", 25, -1, 1009),
        Type("json", 114, -1, 199),
        Type("float4", 700, 4, 1021),
        Type("float8", 701, 8, 1022),
        Type("date", 1082, 4, 1182),
        Type("time", 1083, 8, 1183),
        Type("timestamp", 1114, 8, 1115),
        Type("timestamptz", 1184, 8, 1185),
        Type("interval", 1186, 16, 1187),
        Type("numeric", 1700, -1, 1231),
    )
}
Cells = tuple[Bytes, Ints, Ints]  # bytes, where each cell starts, how long it is (-1: null)


def type_of(kind: pa.DataType) -> tuple[Type, bool]:
    """Return the type that values of an Arrow type have in PostgreSQL, and whether it is an array.

    Examples
    --------
    >>> type_of(pa.list_(pa.float64()))[0].name, type_of(pa.list_(pa.float64()))[1]
    ('float8', True)
    """
    if pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type):
        return TYPES[_name(kind.value_type)], True
    return TYPES[_name(kind)], False


def _name(kind: pa.DataType) -> str:
    for test, name in _TESTS:
        if test(kind):
            return name
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    return "json" if pa.types.is_nested(kind) else "text"


_TESTS: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (pa.types.is_boolean, "bool"),
    (pa.types.is_int8, "int2"),
    (pa.types.is_int16, "int2"),
    (pa.types.is_uint8, "int2"),
    (pa.types.is_int32, "int4"),
    (pa.types.is_uint16, "int4"),
    (pa.types.is_int64, "int8"),
    (pa.types.is_uint32, "int8"),
    (pa.types.is_uint64, "numeric"),
    (pa.types.is_float32, "float4"),
    (pa.types.is_float64, "float8"),
    (pa.types.is_decimal, "numeric"),
    (pa.types.is_binary, "bytea"),
    (pa.types.is_large_binary, "bytea"),
    (pa.types.is_date32, "date"),
    (pa.types.is_time64, "time"),
    (lambda kind: bool(kind.equals(pa.month_day_nano_interval())), "interval"),
]


def messages(batch: pa.RecordBatch, binary: Sequence[bool]) -> bytes:
    """Return a DataRow message for each row; `binary` says which columns are not text."""
    if not batch.num_columns:
        empty: bytes = struct.pack("!cih", b"D", 6, 0) * batch.num_rows
        return empty
    cells = [cells_of(column, form) for column, form in zip(batch.columns, binary, strict=True)]
    sizes = np.stack([sizes for _, _, sizes in cells], axis=1)
    shifts = np.cumsum([0] + [len(data) for data, _, _ in cells[:-1]])
    starts = np.stack([at + shift for (_, at, _), shift in zip(cells, shifts, strict=True)], axis=1)
    lengths = 7 + np.maximum(sizes, 0).sum(axis=1) + 4 * sizes.shape[1]
    out = np.empty(int(lengths.sum()), np.uint8)
    _fill(np.concatenate([data for data, _, _ in cells]), starts, sizes, lengths, out)
    content: bytes = out.tobytes()
    return content


@compiled
def _fill(data: Bytes, starts: Ints, sizes: Ints, lengths: Ints, out: Bytes) -> None:
    """Copy the cells of all rows into their messages."""
    place = 0
    rows, columns = sizes.shape
    for row in range(rows):
        out[place] = 68  # D
        length = lengths[row] - 1
        for byte in range(4):
            out[place + 1 + byte] = (length >> (24 - 8 * byte)) & 255
        out[place + 5] = columns >> 8
        out[place + 6] = columns & 255
        place += 7
        for column in range(columns):
            size = sizes[row, column]
            for byte in range(4):
                out[place + byte] = (size >> (24 - 8 * byte)) & 255
            place += 4
            start = starts[row, column]
            for byte in range(size):
                out[place + byte] = data[start + byte]
            place += max(size, 0)


def cells_of(column: pa.Array, binary: bool) -> Cells:
    """Return the cells of a column, as text or as PostgreSQL sends them in binary."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    kind, is_array = type_of(column.type)
    if is_array:
        return _array_cells(column, kind, binary)
    if not binary:
        return _cells(_TEXT.get(kind.name, _as_string)(column))
    if kind.name in _FIXED:
        return _fixed(column, _FIXED[kind.name](column))
    return _cells(_VARIED.get(kind.name, _as_string)(column))


def _cells(column: pa.Array) -> Cells:
    """Return the cells of a column of text or bytes."""
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    sizes = np.diff(places).astype(np.int64)
    sizes[_nulls(column)] = -1
    held = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return held[: int(places[-1])], places[:-1].astype(np.int64), sizes


def _fixed(column: pa.Array, values: np.ndarray[Any, Any]) -> Cells:
    """Return the cells of a column whose values, big-endian, all have the same size."""
    size = values.dtype.itemsize
    sizes = np.full(len(column), size, np.int64)
    sizes[_nulls(column)] = -1
    data = np.ascontiguousarray(values).view(np.uint8)
    return data.reshape(-1), np.arange(len(column), dtype=np.int64) * size, sizes


def _nulls(column: pa.Array) -> np.ndarray[Any, Any]:
    nulls: np.ndarray[Any, Any] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _numbers(column: pa.Array, dtype: str) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = column.fill_null(0).to_numpy(zero_copy_only=False)
    return values.astype(dtype)


def _instants(column: pa.Array) -> np.ndarray[Any, Any]:
    return (_micros(column) - _TO_2000_US).astype(">i8")


def _micros(column: pa.Array) -> Ints:
    """Return times as microseconds since 1970, whatever their unit; 0 for null."""
    ticks: Ints = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    unit = column.type.unit
    return ticks // 1000 if unit == "ns" else ticks * {"s": 10**6, "ms": 1000, "us": 1}[unit]


def _days(column: pa.Array) -> np.ndarray[Any, Any]:
    days: Ints = column.cast(pa.int32()).fill_null(0).to_numpy(zero_copy_only=False)
    return (days - _TO_2000_DAYS).astype(">i4")


_FIXED: dict[str, Callable[[pa.Array], np.ndarray[Any, Any]]] = {
    "bool": lambda column: _numbers(column.cast(pa.uint8()), ">u1"),
    "int2": lambda column: _numbers(column, ">i2"),
    "int4": lambda column: _numbers(column, ">i4"),
    "int8": lambda column: _numbers(column, ">i8"),
    "float4": lambda column: _numbers(column, ">f4"),
    "float8": lambda column: _numbers(column, ">f8"),
    "date": _days,
    "time": lambda column: _numbers(column.cast(pa.int64()), ">i8"),
    "timestamp": _instants,
    "timestamptz": _instants,
}


def _as_string(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _float_text(column: pa.Array) -> pa.Array:
    text = column.cast(pa.string())
    for arrows, theirs in (("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")):
        text = pc.if_else(pc.equal(text, arrows), theirs, text)
    return text


def _time_text(column: pa.Array) -> pa.Array:
    micros = _micros(column)
    if len(micros) and (micros.min() < _FIRST_US or micros.max() >= _STOP_US):
        pairs = zip(micros.tolist(), _nulls(column).tolist(), strict=True)
        zone = "+00" if column.type.tz else ""
        return pa.array([None if null else _wide(us, zone) for us, null in pairs], pa.string())
    plain = pa.array(micros, pa.timestamp("us"), mask=_nulls(column)).cast(pa.string())
    return pc.binary_join_element_wise(plain, "+00", "") if column.type.tz else plain


def _wide(us: int, zone: str) -> str:
    """Return a time of any year, as PostgreSQL writes it: before the year 1, with BC."""
    text = str(np.datetime64(us, "us")).replace("T", " ").removeprefix("+") + zone
    year = int(text[: text.index("-", 1)])
    return text if year > 0 else f"{1 - year:04}{text[text.index('-', 1) :]} BC"


def _mapped(function: Callable[[Any], Any], kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    def mapped(column: pa.Array) -> pa.Array:
        values = column.to_pylist()
        return pa.array([None if value is None else function(value) for value in values], kind)

    return mapped


def _interval_text(value: Any) -> str:
    months, days, nanos = value
    sign, seconds = "-" * (nanos < 0), abs(nanos) / 10**9
    clock = f"{sign}{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{seconds % 60:09.6f}"
    return f"{months} mons {days} days {clock}"


def _json_text(value: Any) -> str:
    return json.dumps(_plain(value), allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: bytes in hexadecimal, as bytea; NaN and infinities as text."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _numeric(value: Any) -> bytes:
    """Return a number as numeric_send does: groups of four decimal digits."""
    number = Decimal(value)
    sign, digits, exponent = number.as_tuple()
    places = max(0, -int(exponent))
    text = "".join(map(str, digits)) + "0" * max(0, int(exponent))
    whole, part = text[: len(text) - places] or "0", text[len(text) - places :] if places else ""
    part = part.rjust(places, "0")
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    joined = whole + part.ljust(-(-len(part) // 4) * 4, "0")
    groups = [int(joined[i : i + 4]) for i in range(0, len(joined), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups, weight = groups[1:], weight - 1
    while groups and groups[-1] == 0:
        groups = groups[:-1]
    head = struct.pack("!hhHh", len(groups), weight if groups else 0, 0x4000 * sign, places)
    return head + struct.pack(f"!{len(groups)}h", *groups)


def _interval(value: Any) -> bytes:
    months, days, nanos = value
    return struct.pack("!qii", nanos // 1000, days, months)


_TEXT: dict[str, Callable[[pa.Array], pa.Array]] = {
    "bool": lambda column: pc.if_else(column, "t", "f"),
    "bytea": _mapped(lambda value: "\\x" + value.hex(), pa.string()),
    "float4": _float_text,
    "float8": _float_text,
    "interval": _mapped(_interval_text, pa.string()),
    "json": _mapped(_json_text, pa.string()),
    "timestamp": _time_text,
    "timestamptz": _time_text,
}
_VARIED: dict[str, Callable[[pa.Array], pa.Array]] = {
    "bytea": lambda column: column.cast(pa.binary()),
    "interval": _mapped(_interval, pa.binary()),
    "json": _mapped(_json_text, pa.string()),
    "numeric": _mapped(_numeric, pa.binary()),
}


def _array_cells(column: pa.Array, kind: Type, binary: bool) -> Cells:
    inner = column.flatten()
    data, starts, sizes = cells_of(inner, binary)
    held = data.tobytes()
    values = [
        held[start : start + size] if size >= 0 else None
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
    ]
    counts = pc.list_value_length(column).fill_null(0).to_pylist()
    rows, first = [], 0
    for count, valid in zip(counts, column.is_valid().to_pylist(), strict=True):
        row = values[first : first + count]
        first += count
        rows.append((_packed(row, kind) if binary else _braced(row)) if valid else None)
    return _cells(pa.array(rows, pa.binary()))


def _braced(values: list[bytes | None]) -> bytes:
    return b"{" + b",".join(map(_quoted, values)) + b"}"


def _quoted(value: bytes | None) -> bytes:
    if value is None:
        return b"NULL"
    return b'"' + value.replace(b"\\", rb"\\").replace(b'"', rb"\"") + b'"'


def _packed(values: list[bytes | None], kind: Type) -> bytes:
    head = struct.pack("!iii", 1 if values else 0, None in values, kind.oid)
    if not values:
        return head
    cells = (
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
        for value in values
    )
    return head + struct.pack("!ii", len(values), 1) + b"".join(cells)


def epoch_2000() -> dt.datetime:
    """Return the instant from which PostgreSQL counts."""
    return dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
