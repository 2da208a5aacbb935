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
from numpy.typing import NDArray

from workbench.archive.format.columns import binary
from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.archive.values.schemas import Schema
from workbench.arrays import Ints
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
_DAY_S = 86_400
UNITS = ("ns", "us", "ms", "s")  # of times, the finest first
_PER_SECOND = dict(zip(UNITS, (10**9, 10**6, 10**3, 1), strict=True))
# least and greatest second or day that Java's types have
_RANGE = {
    "INSTANT": (-31_557_014_167_219_200, 31_556_889_864_403_199),
    "LOCAL_DATE": (-365_243_219_162, 365_241_780_471),
    "LOCAL_DATE_TIME": (-365_243_219_162, 365_241_780_471),
}
TIMES = tuple(_RANGE)  # schema types whose values may lie beyond the years of their column


class Primitive:
    """Decodes one primitive schema into the field `value`."""

    def __init__(self, schema: Schema, unit: str = UNITS[0]) -> None:
        self.kind, self.unit = schema.type, unit
        if self.kind in ("BYTES", "NONE", "STRING"):
            self.fields = [pa.field("value", pa.string() if self.kind == "STRING" else pa.binary())]
        elif self.kind in _FIXED:
            self.fields = [pa.field("value", _in_unit(_FIXED[self.kind][1], unit))]
        else:
            raise ArchiveError(
                f"values of schema type {self.kind} are not read",
                hint="messages() gives their bytes",
            )

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return the one array; a null value is null."""
        if self.kind not in _FIXED:
            return [binary(encoded.data, encoded.starts, encoded.sizes, text=self.kind == "STRING")]
        raw, valid = self._raw(encoded)
        for row in np.flatnonzero((encoded.sizes >= 0) & ~valid):
            size = raw.shape[1]
            misfit(int(row), f"{self.kind} has {size} bytes, found {encoded.sizes[row]}")
        values, fits = _numbers(self.kind, raw, self.unit)
        for row in np.flatnonzero(valid & ~fits):
            misfit(int(row), f"{self.kind} is {_shown(self.kind, raw[row])}")
        return [_column(values, valid & fits, self.fields[0].type)]

    def unit_needed(self, encoded: EncodedValues) -> int:
        """Return which of UNITS is the finest in which 64 bits count all times of these rows."""
        if self.kind not in TIMES:
            return 0
        raw, valid = self._raw(encoded)
        whole, _, fits = _moments(self.kind, raw)
        furthest = int(np.abs(whole[valid & fits]).max(initial=0))
        if self.kind == "LOCAL_DATE":
            return 0 if furthest < 1 << 31 else len(UNITS) - 1
        seconds = furthest if self.kind == "INSTANT" else furthest * _DAY_S
        most = (1 << 63) // (seconds + _DAY_S)
        return next(i for i, unit in enumerate(UNITS) if _PER_SECOND[unit] < most)

    def _raw(self, encoded: EncodedValues) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the bytes of each row, and whether they are as many as the type has."""
        size = np.dtype(_FIXED[self.kind][0]).itemsize
        valid = encoded.sizes == size
        raw = np.zeros((len(valid), size), np.uint8)
        raw[valid] = encoded.data[encoded.starts[valid][:, np.newaxis] + np.arange(size)]
        return raw, valid


def _in_unit(kind: pa.DataType, unit: str) -> pa.DataType:
    """Return the type of a column of times in a unit: dates are days, or seconds."""
    if pa.types.is_timestamp(kind) and kind.unit == UNITS[0]:
        return pa.timestamp(unit, tz=kind.tz)
    return pa.timestamp(unit) if pa.types.is_date(kind) and unit != UNITS[0] else kind


def _numbers(
    name: str, raw: NDArray[np.uint8], unit: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the numbers that an Arrow column keeps, and whether it can keep them."""
    if name in TIMES:
        whole, nanos, fits = _moments(name, raw)
        if name == "LOCAL_DATE" and unit == UNITS[0]:
            return whole.astype(np.int32), fits & (whole == whole.astype(np.int32))
        per_second = _PER_SECOND[unit]
        per_whole = per_second * (1 if name == "INSTANT" else _DAY_S)
        # the last whole second or day at each end is left out: with the rest it may pass 64 bits
        fits &= np.abs(whole) <= (1 << 63) // per_whole - 1
        rest = nanos // (_PER_SECOND[UNITS[0]] // per_second)
        return np.where(fits, whole, 0) * per_whole + np.where(fits, rest, 0), fits
    values = raw.view(_FIXED[name][0])[:, 0]
    values = values.astype(values.dtype.newbyteorder("="))
    if name == "LOCAL_TIME":
        return values, (values >= 0) & (values < _DAY_NS)
    return values, np.ones(len(values), bool)


def _moments(name: str, raw: NDArray[np.uint8]) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return whole seconds or days, the nanoseconds of each, and whether Java has such a time."""
    whole, nanos = _parts(name, raw)
    least, most = _RANGE[name]
    per_whole = _PER_SECOND["ns"] if name == "INSTANT" else _DAY_NS
    return whole, nanos, (whole >= least) & (whole <= most) & (nanos >= 0) & (nanos < per_whole)


def _parts(name: str, raw: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Return whole seconds or days, and the nanoseconds of each."""
    whole = raw[:, :8].copy().view(">i8")[:, 0].astype(np.int64)
    if name == "LOCAL_DATE":
        return whole, np.zeros_like(whole)
    nanos = raw[:, 8:].copy().view(">i4" if name == "INSTANT" else ">i8")[:, 0]
    return whole, nanos.astype(np.int64)


def _shown(name: str, raw: NDArray[np.uint8]) -> str:
    """Return what is said of a value that its column cannot hold."""
    if name not in TIMES:
        return f"{int.from_bytes(raw.tobytes(), 'big', signed=True)} ns, which is no time of a day"
    whole, nanos = _parts(name, raw[np.newaxis])
    unit = "s" if name == "INSTANT" else "days"
    rest = "" if name == "LOCAL_DATE" else f" and {nanos[0]} ns"
    return f"{whole[0]} {unit}{rest} after 1970, which is no time that Java has"


def _column(values: NDArray[Any], valid: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(values != 0, kind, mask=~valid)
    plain = pa.array(np.ascontiguousarray(values), mask=~valid)
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

    def decode_pair(
        self, keys: EncodedValues, values: EncodedValues, misfit: Misfit
    ) -> list[pa.Array]:
        """Return one array per field."""
        arrays: list[pa.Array] = self.key.decode(keys, misfit) + self.value.decode(values, misfit)
        return arrays if self.keep is None else [arrays[j] for j in self.keep]


def split_inline(encoded: EncodedValues, misfit: Misfit) -> tuple[EncodedValues, EncodedValues]:
    """Return keys and values of KeyValues: int32 size, key, int32 size, value; -1 is null."""
    starts, sizes = (
        np.empty((2, len(encoded.sizes)), np.int64),
        np.full((2, len(encoded.sizes)), -1),
    )
    for i in np.flatnonzero(encoded.sizes >= 0):
        position, end = int(encoded.starts[i]), int(encoded.starts[i] + encoded.sizes[i])
        for part in range(2):
            size = int.from_bytes(
                encoded.data[position : min(position + 4, end)].tobytes(), "big", signed=True
            )
            if end - position < 4 or size > end - position - 4:
                misfit(
                    int(i), f"part of a KeyValue claims {size} bytes, {end - position - 4} are left"
                )
                sizes[:, i] = -1
                break
            starts[part, i], sizes[part, i] = position + 4, size
            position += 4 + max(size, 0)
    keys = replace(encoded, starts=starts[0], sizes=sizes[0])
    return keys, replace(encoded, starts=starts[1], sizes=sizes[1])


def decode_keys(keys: list[str | None], encoded: EncodedValues, misfit: Misfit) -> EncodedValues:
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
    return replace(encoded, data=data, starts=ends - np.maximum(sizes, 0), sizes=sizes)
