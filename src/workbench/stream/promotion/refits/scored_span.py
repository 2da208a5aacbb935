"""Days of the archive, each reading scored by the package that was in force at its instant.

What a job has done, as far as the log of promotions and the archive say it: windows and alarms go
on over a change of packages, and begin before the days do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from workbench import evaluation
from workbench.arrays import Bools, Floats, Ints
from workbench.detectors import Package, episodes, partition_order, sensor_codes
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.frames import arrived
from workbench.stream.promotion import unscored
from workbench.stream.promotion.checks import promoted, span_ms, truth_of
from workbench.stream.promotion.proof import as_run, batch_path, with_derived
from workbench.stream.promotion_log import Promotion, in_force
from workbench.stream.running import originals
from workbench.times import epoch_ms, iso

DAY_MS = 86_400_000


@dataclass(frozen=True, eq=False)
class ScoredSpan:
    """The readings of some days, scored by what was in force; worked out when asked for.

    Attributes
    ----------
    stream, archive
        Whose readings, and from where.
    log
        The promotions that say what was in force, the oldest first.
    bounds
        Where each day begins, and where the last one ends, epoch ms.
    """

    stream: Stream
    archive: originals.Origin
    log: list[Promotion]
    bounds: Ints

    @cached_property
    def packages(self) -> list[Package]:
        """The package of each line of the log, as it runs."""
        return [as_run(self.stream, promoted(promotion)) for promotion in self.log]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The readings, with those before the span that windows and alarms reach back to."""
        lead_s = max(package.max_span_s or 0.0 for package in self.packages)
        start_ms = int(self.bounds[0]) - DAY_MS - round(lead_s * 1000)
        stop_ms = int(self.bounds[-1])
        frame = originals.readings(self.stream, self.archive, iso(start_ms), iso(stop_ms))
        return with_derived(self.stream, frame)

    @cached_property
    def times(self) -> Ints:
        """Event time of each reading, epoch ms."""
        return epoch_ms(self.frame["event_time"])

    @cached_property
    def holds(self) -> Ints:
        """Which line of the log holds for each reading, -1 where none does."""
        sensors = self.frame[self.stream.sensor].to_numpy(dtype=object)
        return in_force(self.log, sensors, self.times)

    @cached_property
    def scored(self) -> tuple[Floats, Bools, Ints]:
        """Score of each reading, whether it is above the threshold, and why it has none."""
        n = len(self.frame)
        scores, above, why = np.full(n, np.nan), np.zeros(n, np.bool_), np.full(n, -1)
        made: dict[str, tuple[Floats, Ints]] = {}  # the lines of a package differ in the threshold
        for position in np.unique(self.holds[self.holds >= 0]):
            package, mine = self.packages[position], self.holds == position
            if package.id not in made:
                made[package.id] = self._made_by(package)
            scores[mine], why[mine] = (values[mine] for values in made[package.id])
            above[mine] = scores[mine] > package.threshold
        return scores, above, why

    def _made_by(self, package: Package) -> tuple[Floats, Ints]:
        """Return the score that a package gives to each reading, and why it has none."""
        detection = batch_path(self.stream, package, self.frame)
        why = unscored.codes(
            package.detector,
            self.frame,
            detection,
            sensor=self.stream.sensor,
            time="event_time",
            max_span_s=package.max_span_s,
        )
        return detection.scores, why

    @cached_property
    def alerts(self) -> pd.DataFrame:
        """The alarms, over changes of packages, as the job has them."""
        order = partition_order(self.frame)
        rows = order[~arrived(self.stream, self.frame).left_out[order]]
        sensors = self.frame[self.stream.sensor].to_numpy(dtype=object)[rows]
        above = self.scored[1][rows].astype(np.float64)
        return episodes(self.times[rows], sensors, above, 0.5, self.packages[-1].rule)

    def within(self, start_ms: int, stop_ms: int) -> Bools:
        """Return which readings with a package in force lie in [start_ms, stop_ms)."""
        inside: Bools = (self.times >= start_ms) & (self.times < stop_ms) & (self.holds >= 0)
        return inside

    def positions(self, start_ms: int, stop_ms: int) -> list[int]:
        """Return which lines of the log hold for readings of [start_ms, stop_ms)."""
        return [*map(int, np.unique(self.holds[self.within(start_ms, stop_ms)]))]

    def was_fitted_on(self, start_ms: int, stop_ms: int) -> bool:
        """Tell whether a package in force then was fitted on a part of [start_ms, stop_ms)."""
        spans = [span_ms(self.packages[i].training) for i in self.positions(start_ms, stop_ms)]
        return any(span and span[0] < stop_ms and span[1] > start_ms for span in spans)

    def judged_from(self, start_ms: int) -> int:
        """Return from when on readings are judged: none that a package in force was fitted on."""
        stop_ms = int(self.bounds[-1])
        start_ms = max(start_ms, int(self.bounds[0]))
        positions = self.positions(start_ms, stop_ms)
        spans = [span_ms(self.packages[position].training) for position in positions]
        start_ms = max([start_ms, *(span[1] for span in spans if span and span[0] < stop_ms)])
        if start_ms >= stop_ms:
            raise StreamError(
                f"what was in force was fitted on data up to {iso(start_ms)}, the days end at "
                f"{iso(stop_ms)}: nothing is left to judge it on",
                hint="offload what came since, or choose a later --stop",
            )
        if not self.within(start_ms, stop_ms).any():
            raise StreamError(
                f"there are no readings from {iso(start_ms)} to {iso(stop_ms)} that a package was "
                "in force for",
                where=self.stream.topic,
                hint="offload what came since, or choose another --stop",
            )
        return start_ms

    @cached_property
    def truth(self) -> evaluation.GroundTruth:
        """What is known, read once: of all days the same answers count."""
        return truth_of(self.stream)

    def report(self, start_ms: int, stop_ms: int) -> evaluation.EventReport:
        """Return alerts and time in alarm of the sensors that a package was in force for."""
        names = self.frame[self.stream.sensor]
        counted = self.within(start_ms, stop_ms)
        for position in self.positions(start_ms, stop_ms):  # one that cannot alarm is never quiet
            fine = unscored.leveled(self.packages[position].detector, names)
            counted &= (self.holds != position) | fine
        inside = counted if counted.any() else self.within(start_ms, stop_ms)
        sensors = sensor_codes(names[inside])[1]
        span = (pd.Timestamp(start_ms, unit="ms", tz="UTC"),
                pd.Timestamp(stop_ms, unit="ms", tz="UTC"))  # fmt: skip
        return evaluation.event_report(
            self.alerts,
            self.truth.faults,
            span=span,
            sensors=sensors,
            left_out=self.truth.left_out,
        )

    def unscored_share(self, inside: Bools) -> tuple[float, str]:
        """Return the share of readings without a score, and the counts of why; NaN: none could."""
        sums = unscored.counts(self.scored[2][inside])
        able = int(inside.sum()) - sums.pop("warming") - sums.pop("unsteady")
        said = ", ".join(f"{count:,} {name}" for name, count in sums.items() if count)
        return (sum(sums.values()) / able if able else math.nan), said


__all__ = ["DAY_MS", "ScoredSpan"]
