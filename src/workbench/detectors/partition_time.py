"""Time in a partition: which readings come too late, and which are ahead of all others.

One rule, here over a frame and in the job as `stream/flink_sql/java/PartitionClock`; the tests hold
the two together. It is a function of the order in which readings stand in their partition, which is
the same on the topic, in the archive and in a replay, and of nothing else: not of the order in
which partitions are read, not of when, and not of a wall clock.

Each partition has a clock: the largest event time that it has reached. *Late* is a reading at or
below the clock less the lateness. One that leads the clock by more than `ahead_ms` is *doubted*:
it does not move the clock until

- more than half of the sensors among the last `MEMORY` readings say so too, in readings of which
  none but late ones came between (a gap of all: nothing was read that night), or `MEMORY` readings
  say so, whoever sent them: then the doubted ones are taken as they came; or
- a reading comes that is neither late nor doubted: what leads that one by more than `ahead_ms` was
  *ahead*, which is refused, and the others are taken.

At the end of the readings the doubted ones are taken: nobody contradicts them. The first reading of
a partition makes its clock; where the second is more than `ahead_ms` older, the first was ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workbench.arrays import Bools, Ints
from workbench.compiled import compiled
from workbench.detectors.leveling.naming import sensor_codes
from workbench.errors import DetectorError, did_you_mean
from workbench.times import epoch_ms as epoch_ms  # part of the face

MEMORY = 100  # readings; as in PartitionClock.java
_TAKEN, _LATE, _AHEAD = 0, 1, 2
_ID_PARTS = 4  # ledger:entry:partition:batch
_KAFKA_ID = r"^[A-Za-z0-9._-]+-(?P<partition>[0-9]+):[0-9]+$"  # topic-partition:offset


@dataclass(frozen=True, eq=False)
class Arrivals:
    """What readings are, by their order of arrival.

    Attributes
    ----------
    late, ahead
        Shape (n,): too late to be scored; too far ahead to be believed.
    clock_ms
        Shape (n,): the least that the partition's clock shows from the reading on. Whoever reads
        partitions in its order reads them in step.
    """

    late: Bools
    ahead: Bools
    clock_ms: Ints

    @property
    def left_out(self) -> Bools:
        """Readings that are in no window."""
        return self.late | self.ahead


def late(
    times_ms: Ints, lateness_ms: int, partition: Sequence[object] | Ints | None = None
) -> Bools:
    """Return which readings, in arrival order, come too late to be scored.

    Parameters
    ----------
    times_ms
        Shape (n,), event times in arrival order.
    lateness_ms
        How far behind the largest event time seen a reading may come; at least 1, as in Flink.
    partition
        Shape (n,): source partition of each reading; one partition if left out.

    Notes
    -----
    Late means at or below the largest event time seen before it in its source partition, less
    the lateness. Source: Flink 1.20, BoundedOutOfOrdernessWatermarks with a watermark per reading.

    Examples
    --------
    >>> late(np.array([10, 20, 15, 21]), 5)
    array([False, False,  True, False])
    """
    if lateness_ms < 1:
        raise DetectorError(f"lateness is {lateness_ms} ms, at least 1 is needed")
    times = pd.Series(np.asarray(times_ms, dtype=np.int64))
    if partition is None:
        before = times.cummax().shift()
    else:
        by = np.asarray(partition)
        before = times.groupby(by).cummax().groupby(by).shift()
    # the first of a partition compares with NaN, and is not late; float64 is exact below 2**53 ms
    return np.asarray(times <= before - lateness_ms, dtype=np.bool_)


def arrivals(
    times_ms: Ints,
    sensors: Sequence[object] | Ints,
    *,
    lateness_ms: int,
    ahead_ms: int | None = None,
    partition: Sequence[object] | Ints | None = None,
) -> Arrivals:
    """Return which readings, in arrival order, are late or ahead.

    Parameters
    ----------
    times_ms
        Shape (n,), event times in arrival order.
    sensors
        Shape (n,): whose reading it is; one without a sensor is no reading, and moves no clock.
    lateness_ms
        How far behind its partition's clock a reading may come; at least 1, as in Flink.
    ahead_ms
        How far it may lead that clock unless others follow; None: any way.
    partition
        Shape (n,): source partition of each reading; one partition if left out.

    Raises
    ------
    DetectorError
        If `lateness_ms` or `ahead_ms` is less than 1.

    Examples
    --------
    >>> times, sensors = np.array([10, 12, 999, 14, 11]), list("abcab")
    >>> found = arrivals(times, sensors, lateness_ms=2, ahead_ms=100)
    >>> found.late, found.ahead
    (array([False, False, False, False,  True]), array([False, False,  True, False, False]))
    """
    limits = _bounds_ms(lateness_ms, ahead_ms)
    times = np.asarray(times_ms, dtype=np.int64)
    codes = sensor_codes(sensors)[0].astype(np.int64)
    parts = np.zeros(len(times), np.int64) if partition is None else _codes(partition)
    order = np.argsort(parts, kind="stable")
    bounds = np.flatnonzero(np.diff(parts[order], prepend=-1, append=-1))
    late, ahead = np.zeros((2, len(times)), np.bool_)
    clocks = np.zeros(len(times), np.int64)
    for begin, stop in pairwise(bounds):
        rows = order[begin:stop]
        rows = rows[codes[rows] >= 0]
        verdicts, clocks[rows] = _judged(times[rows], codes[rows], *limits, 0, True, *_beginning())
        late[rows], ahead[rows] = verdicts == _LATE, verdicts == _AHEAD
    return Arrivals(late, ahead, clocks)


class PartitionJudge:
    """Says which readings of one partition are late or ahead, as `arrivals` does, piece by piece.

    Of a reading in doubt it says so when that is settled; no others are held.

    Examples
    --------
    >>> judge = PartitionJudge(2, 100)
    >>> judge.take(np.array([10, 12, 999]), np.array([0, 1, 2]))[0]
    array([0, 1])
    >>> judge.take(np.array([14, 11]), np.array([0, 1]), ended=True)
    (array([2, 3, 4]), array([False, False,  True]), array([ True, False, False]))
    """

    def __init__(self, lateness_ms: int, ahead_ms: int | None = None) -> None:
        self._bounds = _bounds_ms(lateness_ms, ahead_ms)
        self._state, self._recent, self._doubted = _beginning()
        self._held = np.zeros((3, 0), np.int64)  # time, sensor and number of those in doubt
        self._taken = 0

    def take(
        self, times_ms: Ints, sensors: Ints, *, ended: bool = False
    ) -> tuple[Ints, Bools, Bools]:
        """Take the partition's next readings; return which are settled now, and what they are.

        `sensors` are numbers from 0; `ended`: no others come. What is returned first are positions
        among all readings that were ever taken, ascending; then which of them are late, and ahead.
        """
        numbers = self._taken + np.arange(len(times_ms))
        every = np.concatenate([self._held, [times_ms, sensors, numbers]], axis=1)
        memory = self._state, self._recent, self._doubted
        verdicts, _ = _judged(
            every[0], every[1], *self._bounds, self._held.shape[1], ended, *memory
        )
        undecided = self._undecided()
        self._held, self._taken = every[:, undecided], self._taken + len(times_ms)
        verdicts = np.delete(verdicts, undecided)
        return np.delete(every[2], undecided), verdicts == _LATE, verdicts == _AHEAD

    def _undecided(self) -> Ints:
        """Return the readings that others may still call ahead, ascending; number them anew."""
        first, doubted = self._state[1:2], self._doubted[: self._state[3]]
        rows = np.sort(np.concatenate([first[first >= 0], doubted]))
        doubted[:] = np.searchsorted(rows, doubted)
        first[first >= 0] = np.searchsorted(rows, first[first >= 0])
        return rows


def _beginning() -> tuple[Ints, Ints, Ints]:
    """Return the memory of a partition without readings, as `_judged` unpacks it."""
    state = np.array([0, -1, 0, 0, 0, 0, -1], np.int64)
    return state, np.full(MEMORY, -1, np.int64), np.zeros(MEMORY, np.int64)


def _bounds_ms(lateness_ms: int, ahead_ms: int | None) -> tuple[int, int]:
    for name, value in (("lateness", lateness_ms), ("the lead", ahead_ms)):
        if value is not None and value < 1:
            raise DetectorError(f"{name} is {value} ms, at least 1 is needed")
    return lateness_ms, int(np.iinfo(np.int64).max) if ahead_ms is None else ahead_ms


def arrivals_of(
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str,
    lateness_ms: int | None,
    ahead_ms: int | None = None,
    partition: str | None = None,
) -> Arrivals:
    """Return which readings of a frame are late or ahead; none is if `lateness_ms` is None."""
    check_columns(frame, [sensor, time, *([] if partition is None else [partition])])
    if lateness_ms is None:
        none = np.zeros(len(frame), dtype=np.bool_)
        return Arrivals(none, none, np.zeros(len(frame), dtype=np.int64))
    return arrivals(
        epoch_ms(frame[time]),
        frame[sensor].to_numpy(dtype=object),
        lateness_ms=lateness_ms,
        ahead_ms=ahead_ms,
        partition=source_partitions(frame, partition),
    )


def _codes(partition: Sequence[object] | Ints) -> Ints:
    return pd.factorize(np.asarray(partition))[0].astype(np.int64)


def partition_order(frame: pd.DataFrame, partition: str | None = None) -> Ints:
    """Return the rows so that partitions come one after another, each in its own order.

    So readings of one sensor and one event time are in the same order wherever they are read: by
    the number of their partition, then as they stand in it. Parameters: `source_partitions`.

    Examples
    --------
    >>> partition_order(pd.DataFrame({"message_id": ["8:0:1:-1", "7:0:0:-1", "8:1:1:-1"]}))
    array([1, 0, 2])
    >>> partition_order(pd.DataFrame({"message_id": ["pumps-10:0", "pumps-2:7", "pumps-10:1"]}))
    array([1, 0, 2])
    """
    parts = source_partitions(frame, partition)
    rows = np.arange(len(frame))
    if parts is None or (np.diff(parts) >= 0).all():
        return rows
    return np.asarray(np.argsort(parts, kind="stable"), dtype=np.int64)


def source_partitions(frame: pd.DataFrame, partition: str | None = None) -> Ints | None:
    """Return the number of each reading's source partition; None: the frame does not say.

    Parameters
    ----------
    partition
        Column that says so, numbered in the order of its values; if left out, the message ids,
        `ledger:entry:partition:batch` or `topic-partition:offset`, do.
    """
    if partition is not None:
        return pd.factorize(frame[partition].to_numpy(), sort=True)[0].astype(np.int64)
    if "message_id" not in frame.columns or not len(frame):
        return None
    ids = pa.array(frame["message_id"].astype(str))
    kafka = pc.extract_regex(ids, _KAFKA_ID)
    if kafka.null_count == 0:
        return np.asarray(pc.cast(pc.struct_field(kafka, [0]), pa.int64()), dtype=np.int64)
    parts = pc.split_pattern(ids, ":")
    if not pc.all(pc.equal(pc.list_value_length(parts), _ID_PARTS)).as_py():
        return None  # ids of another queue, or positions
    partitions = pc.list_element(parts, _ID_PARTS - 2)
    try:
        return np.asarray(pc.cast(partitions, pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowInvalid:  # ids of another queue
        return _codes(partitions.to_numpy(zero_copy_only=False))


def check_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse readings that lack a column, with the nearest that they have."""
    for name in names:
        if name not in frame.columns:
            raise DetectorError(
                f"the readings have no column {name!r}", hint=did_you_mean(name, map(str, frame))
            )


@compiled
def _judged(
    times: Ints,
    sensors: Ints,
    lateness_ms: int,
    ahead_ms: int,
    begin: int,  # those before it were taken already, and are in doubt
    ended: bool,
    state: Ints,
    recent: Ints,
    doubted: Ints,
) -> tuple[NDArray[np.int8], Ints]:
    n, memory = len(times), len(doubted)
    verdicts, clocks = np.zeros(n, np.int8), np.zeros(n, np.int64)
    marks = np.zeros(max(sensors.max(), recent.max()) + 1 if n else 0, np.bool_)
    queue, queue_n = np.zeros(memory + 1, np.int64), 0
    clock, first, recent_n, doubted_n = state[0], state[1], state[2], state[3]
    begun, sensors_n, counted = state[4] == 1, state[5], state[6]
    for row in range(begin, n + 1 if ended else n):
        if row < n:
            queue[0], queue_n = row, 1
        while queue_n > 0 or (row == n and doubted_n > 0):
            believed = queue_n == 0  # the end: nobody contradicts the doubted
            if queue_n > 0:
                reading = queue[0]
                queue_n -= 1
                queue[:queue_n] = queue[1 : queue_n + 1]
                time = times[reading]
                taken = True
                if not begun:
                    begun, clock, first = True, time, reading
                elif first >= 0 and clock - time > ahead_ms:
                    verdicts[first] = 2
                    clock, first, recent_n = time, reading, 0
                elif time - clock > ahead_ms:
                    taken = False
                    doubted[doubted_n] = reading
                    doubted_n += 1
                    if counted != recent_n:
                        sensors_n = _different(recent[: min(recent_n, memory)], marks)
                        counted = recent_n
                    believed = doubted_n == memory or (
                        2 * doubted_n > max(sensors_n, 2)
                        and 2 * _different(sensors[doubted[:doubted_n]], marks) > sensors_n
                    )
                else:
                    first = -1
                    if clock - time < lateness_ms:
                        for k in range(doubted_n):
                            other = doubted[k]
                            if times[other] - time > ahead_ms:
                                verdicts[other] = 2
                            else:
                                verdicts[other] = clock - times[other] >= lateness_ms
                                clock = max(clock, times[other])
                                recent[recent_n % memory] = sensors[other]
                                recent_n += 1
                        doubted_n = 0
                    verdicts[reading] = clock - time >= lateness_ms
                    clock = max(clock, time)
                if taken:
                    recent[recent_n % memory] = sensors[reading]
                    recent_n += 1
            if believed:
                queue[doubted_n : doubted_n + queue_n] = queue[:queue_n].copy()
                queue[:doubted_n] = doubted[:doubted_n]
                clock, first = times[doubted[:doubted_n]].min(), -1
                queue_n += doubted_n
                doubted_n = 0
        if row < n:
            clocks[row] = clock
    state[:4] = clock, -1 if ended else first, recent_n, doubted_n
    state[4], state[5], state[6] = begun, sensors_n, counted
    for row in range(n - 2, -1, -1):
        clocks[row] = min(clocks[row], clocks[row + 1])
    return verdicts, clocks


@compiled
def _different(sensors: Ints, marks: Bools) -> int:
    """Count different sensors; `marks`, all false, is as it was afterwards."""
    count = 0
    for sensor in sensors:
        count += not marks[sensor]
        marks[sensor] = True
    for sensor in sensors:
        marks[sensor] = False
    return count


__all__ = [
    "Arrivals",
    "PartitionJudge",
    "arrivals",
    "arrivals_of",
    "check_columns",
    "epoch_ms",
    "late",
    "partition_order",
    "source_partitions",
]
