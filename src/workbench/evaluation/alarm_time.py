"""Time in alarm: what a count of alerts does not see, an alarm that never ends.

Time that is labelled as faulty is left out: an alarm belongs there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Floats, Ints
from workbench.detectors import sensor_rows
from workbench.times import epoch_ms


@dataclass(frozen=True)
class AlarmTime:
    """Sensor-seconds outside of labelled events, and those of them under an alarm.

    `alarm_s` is NaN where the alarms do not say when they ended.
    """

    usual_s: float
    alarm_s: float

    @property
    def share(self) -> float:
        """Share of the usual time under an alarm, 0 to 1; NaN where there is none, or unknown."""
        return self.alarm_s / self.usual_s if self.usual_s else np.nan

    def __add__(self, other: AlarmTime) -> AlarmTime:
        """Return both together."""
        return AlarmTime(self.usual_s + other.usual_s, self.alarm_s + other.alarm_s)


def alarm_time(
    episodes: pd.DataFrame, events: pd.DataFrame, names: list[str], start_ms: int, stop_ms: int
) -> AlarmTime:
    """Return the time in alarm of some sensors within [start_ms, stop_ms).

    Parameters
    ----------
    episodes
        `sensor`, `start`, `stop`: of one sensor they do not overlap. Those that began before the
        span count from its start. Without the column `stop` the time is not known.
    events
        `sensor`, `start`, `stop`; they may overlap.
    """
    bounds = np.array([start_ms, stop_ms], dtype=np.int64)
    marks = {name: _merged(events[events["sensor"] == name], bounds) for name in names}
    usual_s = judged_s(events, names, start_ms, stop_ms)
    if "stop" not in episodes:
        return AlarmTime(usual_s, np.nan if len(episodes) else 0.0)
    alarm_ms = 0.0
    for name, rows in sensor_rows(episodes["sensor"]).items():
        if str(name) in marks:
            own = episodes.iloc[rows]
            on = np.stack([np.clip(epoch_ms(own[at]), *bounds) for at in ("start", "stop")])
            faulty = _labelled_before(on, *marks[str(name)])
            alarm_ms += float((on[1] - on[0]).sum()) - float((faulty[1] - faulty[0]).sum())
    return AlarmTime(usual_s, alarm_ms / 1000)


def judged_s(left_out: pd.DataFrame, names: list[str], start_ms: int, stop_ms: int) -> float:
    """Return the sensor-seconds of some sensors in [start_ms, stop_ms), without spans of theirs."""
    bounds = np.array([start_ms, stop_ms], dtype=np.int64)
    marks = [_merged(left_out[left_out["sensor"] == name], bounds) for name in names]
    left_out_ms = sum(float((stops - starts).sum()) for starts, stops in marks)
    return (len(names) * (stop_ms - start_ms) - left_out_ms) / 1000


def _merged(events: pd.DataFrame, bounds: Ints) -> tuple[Ints, Ints]:
    """Return starts and stops, within bounds, of the time that any of the events covers."""
    order = np.argsort(epoch_ms(events["start"]), kind="stable")
    starts = np.clip(epoch_ms(events["start"])[order], *bounds)
    stops = np.maximum.accumulate(np.clip(epoch_ms(events["stop"])[order], *bounds))
    new = np.ones(len(starts), dtype=np.bool_)
    new[1:] = starts[1:] > stops[:-1]
    last = np.append(new[1:], np.ones(min(1, len(new)), dtype=np.bool_))
    return starts[new], stops[last]


def _labelled_before(times_ms: Ints, starts: Ints, stops: Ints) -> Floats:
    """Return how much labelled time lies before each time, ms."""
    if not len(starts):
        return np.zeros(times_ms.shape)
    lengths = np.cumsum(stops - starts)
    edges = np.stack([starts, stops], axis=1).ravel()
    before = np.stack([lengths - (stops - starts), lengths], axis=1).ravel()
    found: Floats = np.interp(times_ms, edges, before)
    return found
