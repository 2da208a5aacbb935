"""Values that compiled code fills in, field by field, and the Arrow columns they become."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from workbench.archive.format.columns import binary, bitmap
from workbench.archive.values import flat_json as flat
from workbench.archive.values.escapes import copy_strings
from workbench.arrays import Bytes, Ints

# how the values of an Arrow type are kept, where JSON has them as they are
KINDS = {
    pa.int32(): flat.LONG,
    pa.int64(): flat.LONG,
    pa.float32(): flat.DOUBLE,
    pa.float64(): flat.DOUBLE,
    pa.bool_(): flat.BOOLEAN,
    pa.string(): flat.STRING,
}


def kind_of(kind: pa.DataType) -> int:
    """Return how the values of any Arrow type are kept: NOTHING where they can be null alone."""
    if kind in KINDS:
        return KINDS[kind]
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return flat.STRING
    return flat.LONG if pa.types.is_temporal(kind) else flat.NOTHING


class Grid:
    """k fields of n rows, and the bytes that strings lie in.

    Attributes
    ----------
    ints
        int64, shape (2, k, n): a whole number or boolean, or start and end of a string.
    doubles
        float64, shape (k, n).
    state
        uint8, shape (k, n): flat_json.NULL, PLAIN or ESCAPED.
    later
        uint8, shape (n,): 1 where compiled code left the row.
    """

    def __init__(self, data: Bytes, kinds: Ints, n: int) -> None:
        k = len(kinds)
        self.kinds = kinds
        # zeros: what lies under a null must be neither left-over memory nor make a cast overflow
        self.ints = np.zeros((2, k, n), np.int64)
        self.doubles = np.zeros((k if (kinds == flat.DOUBLE).any() else 0, n), np.float64)
        self.state = np.zeros((k, n), np.uint8)
        self.later = np.zeros(n, np.uint8)
        self._data = data
        self._added: list[bytes] = []
        self._at = len(data)

    def add(self, text: bytes) -> tuple[int, int]:
        """Return start and end of bytes put behind the data."""
        self._added.append(text)
        self._at += len(text)
        return self._at - len(text), self._at

    def set(self, j: int, row: int, value: object) -> None:
        """Set one value, of the Python type of field `j`."""
        self.state[j, row] = flat.NULL if value is None else flat.PLAIN
        if isinstance(value, str | bytes):
            raw = value.encode("utf-8", "replace") if isinstance(value, str) else value
            self.ints[0, j, row], self.ints[1, j, row] = self.add(raw)
        elif isinstance(value, float):
            self.doubles[j, row] = value
        elif isinstance(value, int):
            self.ints[0, j, row] = value

    def leave_out_of_range(self, fields: list[pa.Field]) -> None:
        """Mark the rows for later that hold a number which the field's type cannot hold."""
        for j, field in enumerate(fields):
            if self.kinds[j] != flat.LONG:
                continue
            least, most = bounds(field.type)
            ints = self.ints[0, j]
            wrong = (self.state[j] == flat.PLAIN) & ((ints < least) | (ints > most))
            self.later[wrong] = 1

    def leave_between_floats(self, fields: list[pa.Field]) -> None:
        """Mark the rows for later whose double does not tell which float was written.

        It lies in the middle between two floats, or (below 2 ** -126) may do so.
        """
        for j, field in enumerate(fields):
            if field.type == pa.float32():
                doubles = self.doubles[j]
                middle = doubles.view(np.int64) & (1 << 29) - 1 == 1 << 28
                self.later[middle | ((np.abs(doubles) < 2.0**-126) & (doubles != 0))] = 1

    def array(self, j: int, kind: pa.DataType) -> pa.Array:
        """Return field `j` as an Arrow column."""
        if self._added:
            self._data = np.concatenate(
                [self._data, np.frombuffer(b"".join(self._added), np.uint8)]
            )
            self._added = []
        valid, ints = self.state[j] != flat.NULL, self.ints[0, j]
        if self.kinds[j] == flat.NOTHING:
            return pa.nulls(len(valid), kind)
        if pa.types.is_string(kind):
            return _strings(self._data, ints, self.ints[1, j], self.state[j])
        if pa.types.is_binary(kind):
            return self._binary(j)
        if pa.types.is_fixed_size_binary(kind):
            return self._fixed(j, kind)
        if pa.types.is_boolean(kind):
            bits = pa.py_buffer(np.packbits(ints == 1, bitorder="little"))
            return pa.Array.from_buffers(kind, len(valid), [bitmap(valid), bits])
        values = self.doubles[j] if self.kinds[j] == flat.DOUBLE else ints
        if kind == pa.float32():
            with np.errstate(over="ignore"):  # infinity, as Java narrows
                values = values.astype(np.float32)
        elif kind.bit_width == 32:
            values = values.astype(np.int32)
        return pa.Array.from_buffers(kind, len(valid), [bitmap(valid), pa.py_buffer(values)])

    def _binary(self, j: int) -> pa.Array:
        starts, ends = self.ints[:, j]
        return binary(self._data, starts, np.where(self.state[j] == flat.NULL, -1, ends - starts))

    def _fixed(self, j: int, kind: pa.DataType) -> pa.Array:
        valid = self.state[j] != flat.NULL
        places = np.where(valid, self.ints[0, j], 0)[:, np.newaxis] + np.arange(kind.byte_width)
        out = np.zeros(places.shape, np.uint8)
        out[valid] = self._data[places[valid]]
        return pa.Array.from_buffers(kind, len(valid), [bitmap(valid), pa.py_buffer(out)])


def bounds(kind: pa.DataType) -> tuple[int, int]:
    """Return the least and the greatest number that may stand for a value of an Arrow type.

    Times of day end with the day: Arrow takes greater numbers, and fails on them later.
    """
    if pa.types.is_time(kind):
        return 0, 86_400 * _PER_SECOND[kind.unit] - 1
    bits = kind.bit_width - 1
    return -(1 << bits), (1 << bits) - 1


_PER_SECOND = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}


def _strings(data: Bytes, starts: Ints, ends: Ints, state: Bytes) -> pa.Array:
    if not (state == flat.ESCAPED).any():
        sizes = np.where(state == flat.NULL, -1, ends - starts)
        return binary(data, starts, sizes, text=True)
    lengths = np.where(state == flat.NULL, 0, ends - starts)
    offsets = np.zeros(len(starts) + 1, np.int64)
    out = np.empty(int(lengths.sum()), np.uint8)
    row = copy_strings(data, starts, ends, state, offsets, out)
    if row >= 0:  # a lone half of a surrogate pair: only Python objects can hold it
        return pa.array([_decoded(data, starts[i], ends[i], state[i]) for i in range(len(starts))])
    return binary(out, offsets[:-1], np.where(state == flat.NULL, -1, np.diff(offsets)), text=True)


def _decoded(data: Bytes, start: int, end: int, state: int) -> str | None:
    if state == flat.NULL:
        return None
    raw = data[start:end].tobytes().decode(errors="replace")
    if state == flat.PLAIN:
        return raw
    try:
        text: str = json.loads(f'"{raw}"')
    except ValueError:
        return raw
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
