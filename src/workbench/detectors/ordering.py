"""Say whether readings stand in the order of their times, and what a stream makes of it if not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Ints
from workbench.detectors.partition_time import late, source_partitions
from workbench.times import epoch_ms

LATENESS_S = 1.0  # as a stream file has it, unless it says otherwise


@dataclass(frozen=True)
class Order:
    """How readings stand in time, in the order in which they came.

    Attributes
    ----------
    readings
        How many there are.
    back
        How many are older than the one before in their partition.
    behind_ms
        How far the one most behind is behind the newest before it in its partition.
    late
        How many a stream would call late, and not score, at that lateness.
    """

    readings: int
    back: int
    behind_ms: int
    late: int
    lateness_s: float

    @classmethod
    def of(
        cls, times_ms: Ints, *, lateness_s: float = LATENESS_S, partition: Ints | None = None
    ) -> Order:
        """Return the order of readings.

        Parameters
        ----------
        times_ms
            Shape (n,), event times in the order of arrival.
        partition
            Shape (n,): of each reading; one partition if left out.

        Raises
        ------
        DetectorError
            If the lateness is less than a millisecond.

        Examples
        --------
        >>> Order.of(np.array([0, 9_000, 5_000, 8_500]), lateness_s=1.0)
        Order(readings=4, back=1, behind_ms=4000, late=1, lateness_s=1.0)
        """
        lateness_ms = round(lateness_s * 1000)
        if partition is None and lateness_ms >= 1 and (np.diff(times_ms) >= 0).all():
            return cls(len(times_ms), 0, 0, 0, lateness_s)  # most are so, and then it is cheap
        parts = np.zeros(len(times_ms), np.int64) if partition is None else partition
        times = pd.Series(times_ms, dtype=np.int64)
        newest = times.groupby(parts).cummax().to_numpy()
        return cls(
            readings=len(times_ms),
            back=int((times.groupby(parts).diff() < 0).sum()),
            behind_ms=int((newest - times_ms).max(initial=0)),
            late=int(late(times_ms, lateness_ms, parts).sum()),
            lateness_s=lateness_s,
        )

    def __str__(self) -> str:
        if not self.back:
            return "in the order of time"
        times = "once" if self.back == 1 else f"{self.back:,} times"
        return (
            f"time goes back {times}, by up to {span(self.behind_ms)}; a stream with lateness_s: "
            f"{self.lateness_s:g} would call {self.late:,} of {self.readings:,} readings late"
        )


def orders(
    frame: pd.DataFrame, *, lateness_s: float = LATENESS_S, time: str = "event_time"
) -> pd.DataFrame:
    """Return how the readings of each partition stand in time, a row each.

    Parameters
    ----------
    frame
        Readings in the order of arrival, as `replay` gives them; their message ids say which
        partition they are of.

    Returns
    -------
    table
        By the number of the partition in the order of the frame: `readings`, `back` (how many are
        older than the one before), `behind_s` (the most that one is behind the newest before it),
        `late` and `late_share`, those that a stream of that lateness would call late.

    Examples
    --------
    >>> frame = pd.DataFrame({"event_time": [0, 9_000, 5_000, 8_500]})
    >>> orders(frame)[["readings", "back", "behind_s", "late", "late_share"]].values.tolist()
    [[4.0, 1.0, 4.0, 1.0, 0.25]]
    """
    times_ms, parts = epoch_ms(frame[time]), source_partitions(frame)
    codes = np.zeros(len(frame), np.int64) if parts is None else parts
    each = [Order.of(times_ms[codes == part], lateness_s=lateness_s) for part in np.unique(codes)]
    rows = [
        {
            "readings": order.readings,
            "back": order.back,
            "behind_s": order.behind_ms / 1000,
            "late": order.late,
            "late_share": order.late / order.readings,
        }
        for order in each
    ]
    columns = ["readings", "back", "behind_s", "late", "late_share"]
    return pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(len(rows), name="partition"))


def span(ms: int) -> str:
    """Return a duration by its two largest units.

    Examples
    --------
    >>> span(23_940_000), span(1_500), span(90_061_000)
    ('6 h 39 min', '1.5 s', '1 d 1 h')
    """
    if ms < 60_000:
        return f"{ms / 1000:g} s"
    days, hours, minutes, seconds = (
        ms // 86_400_000, ms // 3_600_000 % 24, ms // 60_000 % 60, ms // 1000 % 60
    )  # fmt: skip
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
