"""Build Arrow columns from positions in a byte array: no Python object per message."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workbench.archive.format.bits import load, store
from workbench.arrays import Bools, Bytes, Ints
from workbench.compiled import compiled

TIME = pa.timestamp("ms", tz="UTC")


@compiled
def _gather(data, starts, sizes, offsets, out):  # type: ignore[no-untyped-def]
    for i in range(len(starts)):
        position, start, stop = offsets[i], starts[i], offsets[i + 1]
        # eight bytes at a time; those too many are overwritten by the next row
        safe = stop + 8 <= len(out) and start + stop - position + 8 <= len(data)
        while position < stop:
            if safe:
                store(out, position, load(data, start))
                position += 8
                start += 8
            else:
                out[position] = data[start]
                position += 1
                start += 1


def binary(data: Bytes, starts: Ints, sizes: Ints, *, text: bool = False) -> pa.Array:
    """Return data[start : start + size] of every row; a size of -1 is null.

    Text that is not UTF-8 gets replacement characters, as Pulsar's Java client shows it.
    """
    lengths = np.maximum(sizes, 0)
    total = int(lengths.sum())
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    out = np.empty(total, np.uint8)
    _gather(data, starts, sizes, offsets, out)
    return _array(offsets, out, bitmap(sizes >= 0), text=text)


def _array(
    offsets: NDArray[np.int32], out: Bytes, valid: pa.Buffer | None, *, text: bool
) -> pa.Array:
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(out)]
    array = pa.Array.from_buffers(pa.string() if text else pa.binary(), len(offsets) - 1, buffers)
    if text and out.size and out.max() >= 0x80:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            raw = array.cast(pa.binary()).to_pylist()
            return pa.array(
                [None if text is None else text.decode(errors="replace") for text in raw],
                pa.string(),
            )
    return array


def bitmap(valid: Bools) -> pa.Buffer | None:
    """Return Arrow's validity bitmap, or None if all rows are valid."""
    if valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def numbers(values: NDArray[np.generic], kind: pa.DataType, valid: Bools | None = None) -> pa.Array:
    """Return `values` as an Arrow column of `kind` (of the same width), null where not valid."""
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    mask = None if valid is None else bitmap(valid)
    return pa.Array.from_buffers(kind, len(values), [mask, buffer])


def mapping(counts: Ints, keys: pa.Array, values: pa.Array) -> pa.Array:
    """Return a map column: row i holds the next `counts[i]` of keys and values."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    kind = pa.map_(pa.string(), pa.string())
    pairs = pa.StructArray.from_arrays([keys, values], fields=list(kind_fields()))
    return pa.Array.from_buffers(kind, len(counts), [None, pa.py_buffer(offsets)], children=[pairs])


def kind_fields() -> tuple[pa.Field, pa.Field]:
    """Return the two fields inside a map column of strings."""
    return pa.field("key", pa.string(), nullable=False), pa.field("value", pa.string())
