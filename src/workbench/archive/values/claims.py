"""How many values a message may become, by the bytes that it has.

A few bytes can claim many: two of Protobuf or of JSON are a message without content, which as one
of a list is a row of nulls and defaults, as wide as its type. What was sent by somebody who fills
in a few of hundreds of fields has to pass; what fills the memory must not, and is a misfit before
anything is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.archive.values.avro.arrow_types import is_text, narrowed
from workbench.archive.values.avro.schema import Type
from workbench.arrays import Ints

FREE = (
    1000  # values of a message that its bytes do not pay for, beside one of each type of its schema
)
PER_BYTE = 4
SPARSE_PER_BYTE = 28  # more, of objects that leave most of their fields out
SPARSE = 1 << 22  # so many of these at most: some 250 MB of Python's objects
_AT_ONCE = 1 << 22  # cells that are Python's objects at a time, before they go into Arrow's arrays
TOO_MANY = "it claims more values than its bytes can hold"

Count = Callable[[Any], int]


def cells(kind: Type) -> int:
    """Return how many cells one value takes in its column, and in the columns inside of it."""
    if is_text(kind):
        return 1
    kind = narrowed(kind)
    return 1 + sum(cells(field.type) for field in kind.fields)


def counter(kind: Type) -> Count | None:
    """Return what counts the cells of all lists and maps in a value that `json` has read.

    None where the type has none. What is of another type than it should be counts as nothing: it
    is a misfit anyway.
    """
    if is_text(kind):
        return None
    kind = narrowed(kind)
    if kind.items is not None:
        return _items_counter(kind.items, counter(kind.items))
    inner = {field.name: counter(field.type) for field in kind.fields}
    counts = {name: count for name, count in inner.items() if count is not None}
    if not counts:
        return None
    return lambda value: (
        sum(count(value.get(name)) for name, count in counts.items())
        if isinstance(value, dict)
        else 0
    )


def _items_counter(kind: Type, inner: Count | None) -> Count:
    each = cells(kind)

    def count(value: Any) -> int:
        items = value.values() if isinstance(value, dict) else value
        if not isinstance(value, dict | list):
            return 0
        return len(items) * each + (sum(map(inner, items)) if inner else 0)

    return count


def most_cells(size: int, types: int) -> int:
    """Return how many cells a message of `size` bytes may have, of a schema of so many types."""
    return FREE + types + PER_BYTE * size + min(SPARSE_PER_BYTE * size, SPARSE)


def arrays_by_runs(
    cells: Ints, build: Callable[[range], Sequence[Sequence[Any]]], fields: Sequence[pa.Field]
) -> list[pa.Array]:
    """Return one array per field of all rows, made of so many at a time that they fit the memory.

    Parameters
    ----------
    cells
        That each row may have, at most.
    build
        Gives the values of some rows, a list for each row.
    """
    ends = np.flatnonzero(np.diff(np.cumsum(cells) // _AT_ONCE)) + 1
    parts = []
    for first, last in pairwise([0, *ends.tolist(), len(cells)]):
        rows = build(range(first, last))
        columns = zip(*rows, strict=True) if rows else [() for _ in fields]
        parts.append(
            [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
        )
    return [pa.concat_arrays(each) for each in zip(*parts, strict=True)]


def possible_cells(sizes: Ints, fields: int) -> Ints:
    """Return how many cells values of some sizes may have, without a look at them."""
    return fields + (PER_BYTE + SPARSE_PER_BYTE) * np.maximum(sizes, 0)
