"""What values are decoded from: where each lies, and by which schema version it was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workbench.archive import batches as b
from workbench.archive import entries as e
from workbench.archive.columns import Bytes, Ints
from workbench.archive.reading import Messages

Misfit = Callable[[int, str], None]  # row and what is wrong; raises, or the row is kept as null


@dataclass(frozen=True)
class Rows:
    """Values of n messages.

    Attributes
    ----------
    data
        uint8, the bytes they lie in.
    starts, sizes
        int64, shape (n,); a size of -1 is a null value.
    versions
        int64, shape (n,), of the schema; -1 where the message names none.
    """

    data: Bytes
    starts: Ints
    sizes: Ints
    versions: Ints

    def value(self, i: int) -> bytes | None:
        """Return the bytes of row `i`, or None if it is null."""
        if self.sizes[i] < 0:
            return None
        raw: bytes = self.data[self.starts[i] : self.starts[i] + self.sizes[i]].tobytes()
        return raw


def rows_of(messages: Messages) -> Rows:
    """Return the values of messages."""
    heads, data = messages.entries.rows, messages.entries.data
    found = np.full(len(heads), -1, np.int64)
    for row in np.flatnonzero(heads[:, e.SCHEMA_SIZE] == 8):
        start = heads[row, e.SCHEMA]
        found[row] = int.from_bytes(data[start : start + 8].tobytes(), "big", signed=True)
    table = messages.table
    return Rows(data, table[b.VALUE], table[b.VALUE_SIZE], found[table[b.ROW]])
