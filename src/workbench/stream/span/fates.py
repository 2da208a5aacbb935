"""What a stream makes of readings by their time, piece by piece: late, ahead, or taken.

The rule is that of `detectors.arrivals`; what it found is kept on disk, a byte for each reading.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workbench.arrays import Ints
from workbench.detectors import PartitionJudge
from workbench.stream.definition.stream_file import Stream

TAKEN, LATE, AHEAD = 0, 1, 2
_ROOM = 1 << 20  # readings by which the file grows


@dataclass(frozen=True, eq=False)
class Fates:
    """What readings are, in their order of arrival.

    Attributes
    ----------
    each
        (n,): TAKEN, LATE or AHEAD; a view of a file. One without a sensor is taken, and refused.
    late, ahead
        How many are.
    """

    each: NDArray[np.int8]
    late: int
    ahead: int

    @property
    def has_late(self) -> bool:
        """Whether any is late."""
        return self.late > 0


def of(stream: Stream, batches: Iterator[pa.RecordBatch], path: Path) -> Fates:
    """Return what a stream makes of readings, and keep it in a file.

    Parameters
    ----------
    batches
        `partition`, `sensor` (null: it is no reading) and `time_ms`, in order of arrival.
    """
    file = _File(path)
    partitions: dict[int, _Partition] = {}
    sensors: dict[str, int] = {}
    for batch in batches:
        first = file.grow(batch.num_rows)
        codes, times = _codes(batch["sensor"], sensors), batch["time_ms"].to_numpy()
        parts = batch["partition"].to_numpy()
        for part in np.unique(parts[codes >= 0]).tolist():
            if part not in partitions:
                judge = PartitionJudge(stream.lateness_ms, stream.ahead_ms)
                partitions[part] = _Partition(judge, file)
            rows = np.flatnonzero((parts == part) & (codes >= 0))
            partitions[part].take(times[rows], codes[rows], first + rows)
    nothing = np.zeros(0, np.int64)
    for partition in partitions.values():
        partition.take(nothing, nothing, nothing, ended=True)
    return Fates(file.values(), file.late, file.ahead)


def _codes(names: pa.Array, numbers_of: dict[str, int]) -> Ints:
    """Return a number for each name, the same whenever it comes; -1: none."""
    coded = names.dictionary_encode()
    numbers = [
        numbers_of.setdefault(name, len(numbers_of)) for name in coded.dictionary.to_pylist()
    ]
    places = coded.indices.fill_null(len(numbers)).to_numpy()
    codes: Ints = np.array([*numbers, -1], np.int64)[places]
    return codes


class _File:
    """A byte for each reading, at its position."""

    def __init__(self, path: Path) -> None:
        self._path, self._length, self.late, self.ahead = path, 0, 0, 0
        self._values = self._mapped(_ROOM)

    def grow(self, count: int) -> int:
        """Make room for readings that follow; return the position of the first."""
        first, self._length = self._length, self._length + count
        if self._length > len(self._values):
            self._values = self._mapped(self._length + _ROOM)
        return first

    def _mapped(self, room: int) -> NDArray[np.int8]:
        """Return so many bytes of the file; a page that a full disk lacks would end the process."""
        with self._path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, room)
        return np.memmap(self._path, np.int8, "r+", shape=room)

    def put(self, positions: Ints, values: NDArray[np.int8]) -> None:
        self._values[positions] = values
        self.late += int((values == LATE).sum())
        self.ahead += int((values == AHEAD).sum())

    def values(self) -> NDArray[np.int8]:
        return self._values[: self._length]


class _Partition:
    """Puts what a judge says of a partition's readings where these stand among all."""

    def __init__(self, judge: PartitionJudge, file: _File) -> None:
        self._judge, self._file, self._taken = judge, file, 0
        self._numbers, self._positions = np.zeros((2, 0), np.int64)  # of those not settled

    def take(self, times: Ints, codes: Ints, positions: Ints, *, ended: bool = False) -> None:
        numbers = np.concatenate([self._numbers, self._taken + np.arange(len(times))])
        positions = np.concatenate([self._positions, positions])
        self._taken += len(times)
        settled, late, ahead = self._judge.take(times, codes, ended=ended)
        places = np.searchsorted(numbers, settled)
        self._file.put(positions[places], (late * LATE + ahead * AHEAD).astype(np.int8))
        self._numbers, self._positions = np.delete(numbers, places), np.delete(positions, places)


__all__ = ["AHEAD", "LATE", "TAKEN", "Fates", "of"]
