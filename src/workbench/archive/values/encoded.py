"""What values are decoded from: where each lies, and by which schema version it was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workbench.archive.format import entries as e
from workbench.archive.format import payloads as p
from workbench.archive.format.wire import int64
from workbench.archive.ledgers import Messages
from workbench.arrays import Bytes, Ints
from workbench.compiled import compiled

Misfit = Callable[[int, str], None]  # row and what is wrong; raises, or the row is kept as null


@dataclass(frozen=True)
class EncodedValues:
    """Values of n messages.

    Attributes
    ----------
    data
        uint8, the bytes they lie in.
    starts, sizes
        int64, shape (n,); a size of -1 is a null value.
    versions
        int64, shape (n,), of the schema; -1 where the message names none.
    where
        The ledger and topic they are of, for a warning; empty where it is not known.
    """

    data: Bytes
    starts: Ints
    sizes: Ints
    versions: Ints
    where: str = ""

    def value(self, i: int) -> bytes | None:
        """Return the bytes of row `i`, or None if it is null."""
        if self.sizes[i] < 0:
            return None
        raw: bytes = self.data[self.starts[i] : self.starts[i] + self.sizes[i]].tobytes()
        return raw


def encoded_values(messages: Messages) -> EncodedValues:
    """Return the values of messages."""
    heads, data = messages.entries.heads, messages.entries.data
    versions = np.empty(len(heads), np.int64)
    _versions(data, heads, versions)
    table = messages.table
    ledger = messages.entries.ledger
    return EncodedValues(
        data,
        table[p.VALUE],
        table[p.VALUE_SIZE],
        versions[table[p.ROW]],
        f"ledger {ledger.id} of {ledger.topic}",
    )


@compiled
def _versions(data, heads, out):  # type: ignore[no-untyped-def]
    for i in range(len(heads)):
        out[i] = int64(data, heads[i, e.SCHEMA]) if heads[i, e.SCHEMA_SIZE] == 8 else -1
