"""How many messages of a topic have a time that is missing, or can hardly be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench.archive import STOP_MS
from workbench.history.frames import open_archive

if TYPE_CHECKING:
    from workbench.archive import Archive

_YEAR_1980_MS, _DAY_MS = 315_532_800_000, 86_400_000


def odd_times(topic: str, *, archive: str | Archive | None = None) -> pd.Series:
    """Return counts of the messages whose event time is missing, or can hardly be.

    Where a time is missing or negative the publish time counts; the others are taken as they are,
    and a stream calls them late, or ahead.

    Parameters
    ----------
    topic, archive
        As for `replay`; the whole topic is read, but only its times.
    """
    history = open_archive(archive).topic(topic)
    fields = history.fields()
    names = [f"__{name}__" if name in fields else name for name in ("event_time", "publish_time")]
    table = history.read(columns=names)
    impossible = sum(count for count, _, _ in history.impossible)
    carried = table[names[0]].is_valid().to_numpy()
    events_ms, published_ms = (
        pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy()[carried] for name in names
    )
    beyond = events_ms >= STOP_MS
    negative = impossible - int(beyond.sum())
    counts = {
        "messages": table.num_rows,
        "without an event time, or with 0": int((~carried).sum()) - negative,
        "negative": negative,
        "before 1980": int((events_ms < _YEAR_1980_MS).sum()),
        "from 2262 on": int(beyond.sum()),
        "more than a day after they were published": int(
            (~beyond & (events_ms > published_ms + _DAY_MS)).sum()
        ),
    }
    return pd.Series(counts, name="messages")


__all__ = ["odd_times"]
