"""A topic of an archive piece by piece: its readings, and the messages that they were made of.

What `replay` gives in one frame, for spans that no frame holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from workbench.archive import to_frame
from workbench.history import Shown
from workbench.times import Time

if TYPE_CHECKING:
    import pandas as pd

    from workbench.archive import Topic

PIECE_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Piece:
    """Some readings that follow one another.

    Attributes
    ----------
    table
        The columns of `replay`'s frame, of the same types in each piece.
    messages
        Row by row: `message_id` as text, `partition`, `event_ms` (0: not set), `publish_ms` and
        `value`, the bytes on the topic.
    """

    table: pa.Table
    messages: pa.Table

    @property
    def frame(self) -> pd.DataFrame:
        """The readings as `replay` has them."""
        return to_frame(self.table)


def replay_pieces(
    topic: Topic,
    start: Time = None,
    stop: Time = None,
    *,
    columns: list[str] | None = None,
    by: str = "event_time",
    rows: int = PIECE_ROWS,
) -> Iterator[Piece]:
    """Yield the readings of an archive's topic with `by` in [start, stop), in the broker's order.

    Parameters
    ----------
    columns, by
        As `replay` takes them.
    rows
        Of a piece at most; fewer where these pass 32 MiB.

    Raises
    ------
    ArchiveError
        As `Topic.batches`, when the piece with the fault is reached.
    """
    shown = Shown.of(topic, columns)
    value = "__value__" if "value" in topic.fields() else "value"
    asked = list(dict.fromkeys([*shown.asked, value]))
    for batch in topic.batches(start, stop, asked, by, rows):
        read = pa.Table.from_batches([batch])
        table = shown.table(read)
        yield Piece(table, _messages(read, table["message_id"], shown, value))


def _messages(read: pa.Table, ids: pa.ChunkedArray, shown: Shown, value: str) -> pa.Table:
    event, publish = (read[shown.names[name]].cast(pa.int64()) for name in _TIMES)
    return pa.table(
        {
            "message_id": ids,
            "partition": read[shown.parts[2]],
            "event_ms": pc.fill_null(event, 0),
            "publish_ms": publish,
            "value": read[value],
        }
    )


_TIMES = ("event_time", "publish_time")

__all__ = ["PIECE_ROWS", "Piece", "replay_pieces"]
