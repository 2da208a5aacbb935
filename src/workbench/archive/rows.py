"""What values are decoded from: where each lies, and by which schema version it was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workbench.archive import batches as b
from workbench.archive import entries as e
from workbench.archive.columns import Bytes, Ints
from workbench.archive.compiled import compiled
from workbench.archive.reading import Messages
from workbench.archive.wire import int64

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
    versions = np.empty(len(heads), np.int64)
    _versions(data, heads, versions)
    table = messages.table
    return Rows(data, table[b.VALUE], table[b.VALUE_SIZE], versions[table[b.ROW]])


@compiled
def _versions(data, heads, out):  # type: ignore[no-untyped-def]
    for i in range(len(heads)):
        out[i] = int64(data, heads[i, e.SCHEMA]) if heads[i, e.SCHEMA_SIZE] == 8 else -1
