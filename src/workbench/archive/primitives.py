"""Decode values of Pulsar's primitive schemas, and of KeyValue.

Source: apache/pulsar 4.0.8, SchemaType and client.impl.schema (IntSchema, InstantSchema,
LocalDateTimeSchema, ...): numbers are big-endian; KeyValue.java, KeyValueSchemaInfo.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.archive.columns import binary
from workbench.archive.rows import Misfit, Rows
from workbench.archive.schemas import Schema
from workbench.errors import ArchiveError

_MS = pa.timestamp("ms", tz="UTC")
# schema type: numpy type of the bytes, Arrow type
_FIXED: dict[str, tuple[str, pa.DataType]] = {
    "BOOLEAN": ("u1", pa.bool_()),
    "INT8": ("i1", pa.int8()),
    "INT16": (">i2", pa.int16()),
    "INT32": (">i4", pa.int32()),
    "INT64": (">i8", pa.int64()),
    "FLOAT": (">f4", pa.float32()),
    "DOUBLE": (">f8", pa.float64()),
    "DATE": (">i8", _MS),
    "TIME": (">i8", _MS),
    "TIMESTAMP": (">i8", _MS),
    "INSTANT": ("V12", pa.timestamp("ns", tz="UTC")),
    "LOCAL_DATE": (">i8", pa.date32()),
    "LOCAL_TIME": (">i8", pa.time64("ns")),
    "LOCAL_DATE_TIME": ("V16", pa.timestamp("ns")),
}
_DAY_NS = 86_400_000_000_000


class Primitive:
    """Decodes one primitive schema into the field `value` (or another name)."""

    def __init__(self, schema: Schema, name: str = "value") -> None:
        self.kind = schema.type
        if self.kind in ("BYTES", "NONE", "STRING"):
            self.fields = [pa.field(name, pa.string() if self.kind == "STRING" else pa.binary())]
        elif self.kind in _FIXED:
            self.fields = [pa.field(name, _FIXED[self.kind][1])]
        else:
            raise ArchiveError(
                f"values of schema type {self.kind} are not read",
                hint="messages() gives their bytes",
            )

    def decode(self, rows: Rows, misfit: Misfit) -> list[pa.Array]:
        """Return the one array; a null value is null."""
        if self.kind not in _FIXED:
            return [binary(rows.data, rows.starts, rows.sizes, text=self.kind == "STRING")]
        kind = np.dtype(_FIXED[self.kind][0])
        wrong = np.flatnonzero((rows.sizes >= 0) & (rows.sizes != kind.itemsize))
        for row in wrong:
            misfit(int(row), f"{self.kind} has {kind.itemsize} bytes, found {rows.sizes[row]}")
        valid = rows.sizes == kind.itemsize
        starts = np.where(valid, rows.starts, 0)[:, np.newaxis]
        raw = np.zeros((len(valid), kind.itemsize), np.uint8)
        raw[valid] = rows.data[(starts + np.arange(kind.itemsize))[valid]]
        return [_fixed(self.kind, raw, valid, self.fields[0].type)]


def _fixed(
    name: str, raw: np.ndarray[Any, Any], valid: np.ndarray[Any, Any], kind: pa.DataType
) -> pa.Array:
    if name == "INSTANT":  # seconds, nanoseconds
        seconds, nanos = raw[:, :8].copy().view(">i8")[:, 0], raw[:, 8:].copy().view(">i4")[:, 0]
        values = seconds.astype(np.int64) * 1_000_000_000 + nanos
    elif name == "LOCAL_DATE_TIME":  # days, nanoseconds of the day
        days, nanos = raw.view(">i8").astype(np.int64).T
        values = days * _DAY_NS + nanos
    else:
        values = raw.view(_FIXED[name][0])[:, 0]
    if name == "LOCAL_DATE":
        values = values.astype(np.int32)
    if pa.types.is_boolean(kind):
        return pa.array(values != 0, kind, mask=~valid)
    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))
    plain = pa.array(native, mask=~valid)
    return plain.view(kind) if plain.type != kind else plain


@dataclass
class KeyValue:
    """Decodes a KeyValue schema: fields `__key.x` of the key (`__key`), then the value's own.

    Attributes
    ----------
    key, value
        Decode the two parts.
    fields
        Of both, the key's first.
    separated
        The key is the message's key, as base64.
    keep
        Positions of the fields wanted, None for all.
    """

    key: Any
    value: Any
    fields: list[pa.Field]
    separated: bool
    keep: list[int] | None = None

    def decode_pair(self, keys: Rows, values: Rows, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field."""
        arrays: list[pa.Array] = self.key.decode(keys, misfit) + self.value.decode(values, misfit)
        return arrays if self.keep is None else [arrays[j] for j in self.keep]


def split_inline(rows: Rows, misfit: Misfit) -> tuple[Rows, Rows]:
    """Return keys and values of KeyValues: int32 size, key, int32 size, value; -1 is null."""
    starts, sizes = np.empty((2, len(rows.sizes)), np.int64), np.full((2, len(rows.sizes)), -1)
    for i in np.flatnonzero(rows.sizes >= 0):
        at, end = int(rows.starts[i]), int(rows.starts[i] + rows.sizes[i])
        for part in range(2):
            size = int.from_bytes(rows.data[at : min(at + 4, end)].tobytes(), "big", signed=True)
            if end - at < 4 or size > end - at - 4:
                misfit(int(i), f"part of a KeyValue claims {size} bytes, {end - at - 4} are left")
                sizes[:, i] = -1
                break
            starts[part, i], sizes[part, i] = at + 4, size
            at += 4 + max(size, 0)
    keys = replace(rows, starts=starts[0], sizes=sizes[0])
    return keys, replace(rows, starts=starts[1], sizes=sizes[1])


def decode_keys(keys: list[str | None], rows: Rows, misfit: Misfit) -> Rows:
    """Return the keys of SEPARATED KeyValues, out of base64."""
    raw: list[bytes] = []
    sizes = np.full(len(keys), -1, np.int64)
    for i, key in enumerate(keys):
        if key is None:
            continue
        try:
            raw.append(base64.b64decode(key, validate=True))
        except binascii.Error:
            misfit(i, f"key {key!r} is not base64")
            continue
        sizes[i] = len(raw[-1])
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(b"".join(raw), np.uint8).copy()
    return Rows(data, ends - np.maximum(sizes, 0), sizes, rows.versions)
