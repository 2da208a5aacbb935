"""Columns of an archive as Spark 4.0 holds them; a loss is an error, never a rounded value.

    unsigned integers    the next wider signed one; uint64 is decimal(20, 0)
    instants             timestamp, in microseconds; without a zone timestamp_ntz
    durations            interval day to second, in microseconds
    times of day         text, `12:30:00.123456789`: Spark 4.0 has no such type
    fixed bytes          binary
    lists, maps, structs array, map, struct of these

Nanoseconds that are no whole microseconds, and instants that 64 bits of microseconds do not reach
(years from 294247 on), are refused.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

from workbench.errors import ArchiveError

_SAME = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_int8, pa.types.is_int16, pa.types.is_int32,
    pa.types.is_int64, pa.types.is_float32, pa.types.is_float64, pa.types.is_string,
    pa.types.is_binary, pa.types.is_date32, pa.types.is_decimal128,
)  # fmt: skip
_WIDER: list[tuple[Callable[[pa.DataType], bool], pa.DataType]] = [
    (pa.types.is_uint8, pa.int16()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_uint32, pa.int64()),
    (pa.types.is_uint64, pa.decimal128(20, 0)),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_time, pa.string()),
    (pa.types.is_duration, pa.duration("us")),
]


def spark_schema(schema: pa.Schema) -> StructType:
    """Return the schema that Spark has of columns; every column may hold nulls.

    Raises
    ------
    ArchiveError
        If Spark has no type for a column.
    """
    fields = []
    for field in schema:
        kind = from_arrow_type(held(field.type, field.name), prefer_timestamp_ntz=True)
        fields.append(StructField(field.name, kind, nullable=True))
    return StructType(fields)


def held(kind: pa.DataType, name: str) -> pa.DataType:
    """Return the Arrow type in which a column of an archive goes to Spark.

    Examples
    --------
    >>> held(pa.list_(pa.uint64()), "counts")
    ListType(list<item: decimal128(20, 0)>)
    """
    if any(test(kind) for test in _SAME):
        return kind
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz and "UTC")
    for test, wider in _WIDER:
        if test(kind):
            return wider
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, held(part.type, name)) for part in kind])
    if pa.types.is_map(kind):
        return pa.map_(held(kind.key_type, name), held(kind.item_type, name))
    if pa.types.is_list(kind):
        return pa.list_(held(kind.value_type, name))
    raise ArchiveError(
        f"column {name!r} is {kind}, for which Spark 4.0 has no type",
        hint='leave it out: .option("columns", "...") names those wanted',
    )


def converted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return an array in the type that `held` gives of its own.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a value would be another one.
    """
    if array.type.equals(kind):
        return array
    if not pa.types.is_nested(kind):
        return array.cast(kind)
    if array.offset:
        array = pa.concat_arrays([array])  # a copy, whose parts begin at its own beginning
    if pa.types.is_struct(kind):
        parts = [converted(array.field(i), part.type) for i, part in enumerate(kind)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=array.is_null())
    if pa.types.is_map(kind):
        pair = [converted(array.keys, kind.key_type), converted(array.items, kind.item_type)]
        fields = [pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)]
        inner = pa.StructArray.from_arrays(pair, fields=fields)
    else:
        inner = converted(array.values, kind.value_type)
    return pa.Array.from_buffers(kind, len(array), array.buffers()[:2], children=[inner])


def misfit_row(array: pa.Array, kind: pa.DataType) -> int:
    """Return the first row that does not convert."""
    for row in range(len(array)):
        try:
            converted(pa.concat_arrays([array.slice(row, 1)]), kind)
        except pa.ArrowInvalid:
            return row
    return 0
