"""Read a plant's export, whatever it is written in, look at it, and send it to a topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.detectors import LATENESS_S, Order
from workbench.errors import ServicesError, did_you_mean
from workbench.services.ingestion.csv_lines import Damage
from workbench.services.ingestion.csv_readings import CsvFormat, CsvReadings, read_readings
from workbench.services.ingestion.frames import Ingested, ingest_frame
from workbench.services.ingestion.names import FIELD, field_names, unit, unnamed_remark
from workbench.services.ingestion.pivot import Narrow, pivot
from workbench.services.ingestion.sources import paths_of
from workbench.times import epoch_ms, iso

_CODES = (-999.0, -9999.0, -99999.0, -999.25, 9999.0, 99999.0, 999999.0)  # of loggers: no reading
_OFTEN = 2  # times that a reading may be just that
_LEVELS = 10.0  # so many times apart, sensors hardly measure the same


@dataclass(frozen=True, eq=False)
class Look:
    """What an export holds, before anything is sent.

    Attributes
    ----------
    frame
        Sensor, time (UTC) and readings, in the order in which they would be sent.
    sensor, time
        Its columns.
    rule
        How the times were read.
    order
        Of the lines.
    by_time
        Whether the frame has been put in the order of time.
    left_out
        Lines that are no reading.
    cut
        Whether the last line has no end, and so may have lost more.
    fields
        Its columns of readings.
    labels
        What the export calls a field, where that is no name for one.
    remarks
        What else is worth knowing.
    """

    frame: pd.DataFrame
    sensor: str
    time: str
    rule: str
    order: Order
    by_time: bool
    left_out: tuple[Damage, ...]
    cut: bool
    fields: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return what is worth knowing, a thing a line."""
        lines = [self._readings(), f"times are read as {self.rule}"]
        if self.order.back:
            done = "sent in the order of time" if self.by_time else "sent as they stand"
            lines.append(f"{self.order}; {done}")
        if repeated := self._repeated():
            have = "reading has" if repeated == 1 else "readings have"
            lines.append(f"{repeated:,} {have} the sensor and time of another")
        if self.left_out:
            first = self.left_out[0]
            lines.append(f"{_lines(len(self.left_out))} left out: line {first.line}: {first.why}")
        if self.cut:
            lines.append("the last line has no end: it may have lost more")
        lines += [_field_line(name, label) for name, label in self.labels.items()]
        return [*lines, *self.remarks]

    def _repeated(self) -> int:
        """Return how many readings have the sensor and time of another before them."""
        sensor_of, names = pd.factorize(self.frame[self.sensor])
        times_ms = epoch_ms(self.frame[self.time])
        order = np.lexsort((times_ms, sensor_of)) if len(names) > 1 else np.argsort(times_ms)
        again = (np.diff(sensor_of[order]) == 0) & (np.diff(times_ms[order]) == 0)
        return int(again.sum())

    def _readings(self) -> str:
        count = len(self.frame)
        if not count:
            return "no readings"
        times_ms = epoch_ms(self.frame[self.time])
        sensors = self.frame[self.sensor].nunique()
        return (
            f"{count:,} {'reading' if count == 1 else 'readings'} of "
            f"{sensors:,} {'sensor' if sensors == 1 else 'sensors'}, "
            f"{iso(int(times_ms.min()), 's')} to {iso(int(times_ms.max()), 's')}"
        )


def _lines(count: int) -> str:
    return "1 line is" if count == 1 else f"{count:,} lines are"


def _field_line(name: str, label: str) -> str:
    measured = f", in {unit(label)}" if unit(label) else ""
    return f"field {name} is {label!r}{measured}"


def look(
    export: str | Path | pd.DataFrame,
    *,
    sensor: str | None = None,
    sensor_name: str | None = None,
    time: str,
    values: Sequence[str] = (),
    narrow: Narrow | None = None,
    rename: Mapping[str, str] | None = None,
    form: CsvFormat | None = None,
    skip_damaged: bool = False,
    as_is: bool = False,
    lateness_s: float = LATENESS_S,
) -> Look:
    """Return what `ingest` would send of an export; nothing is sent, no broker is needed.

    Parameters
    ----------
    export
        A file of CSV (also gzip, bzip2, xz, zstd, zip), Parquet, Arrow or .xlsx, a folder or glob
        of them, `-` for stdin, or a frame. A reading may be empty (also `NaN`, `null`): it is sent
        as null.
    sensor
        The column that names the sensor; None if there is none.
    sensor_name
        The sensor's name if there is no such column; the file's stem by default.
    time
        The column of event times: ISO 8601 (UTC unless it says otherwise), compact digits,
        s, ms, us or ns since 1970, or as `form` says.
    values
        The columns of readings, or patterns of them: `*` is every other column that has numbers.
    narrow
        How an export with a tag and a value in each line becomes a reading per machine and
        instant; instead of `values`.
    rename
        Column, or tag, to the name of its field. Others are named after their columns: `Druck
        [bar]` becomes `Druck_bar`.
    form
        How the file is written, where it is not as `CsvFormat` has it by default.
    skip_damaged
        Whether to leave out lines that are no reading, up to a tenth of all.
    as_is
        Whether to keep the order of lines. Else readings are put in the order of time, those of
        one instant as they stand. Narrow exports are always put in the order of time.
    lateness_s
        Of the stream that will read the topic, to tell how many it would call late.

    Raises
    ------
    ServicesError
        For a file that is not there or cannot be read, a missing column, a line that is no
        reading, or times that may be read in more than one way; the first line is named.

    Examples
    --------
    >>> frame = pd.DataFrame({"Zeit": ["2026-01-05T00:00:00Z"], "Druck [bar]": [7.5]})
    >>> print(look(frame, sensor_name="P1", time="Zeit", values=["*"]))
    1 reading of 1 sensor, 2026-01-05T00:00:00Z to 2026-01-05T00:00:00Z
    times are read as ISO 8601
    field Druck_bar is 'Druck [bar]', in bar
    """
    if isinstance(values, str):
        hint = f"values=[{values!r}]"
        raise ServicesError(f"values is {values!r}, expected a list of columns", hint=hint)
    if not (narrow or values):
        raise ServicesError("no columns of readings are named", hint="values=['*'] takes them all")
    if narrow and narrow.machine_from and (sensor or sensor_name):
        raise ServicesError(
            f"the machine is {sensor or sensor_name!r}, and is to be found in the tag, too",
            hint="leave out machine_from, or sensor and sensor_name",
        )
    parts = [
        read_readings(
            part,
            sensor=sensor,
            sensor_name=sensor_name,
            time=time,
            values=[narrow.value] if narrow else values,
            tag=narrow.tag if narrow else None,
            form=form,
            skip_damaged=skip_damaged,
            aliases={new: label for label, new in (rename or {}).items()},
        )
        for part in ([export] if isinstance(export, pd.DataFrame) else paths_of(export))
    ]
    pa.default_memory_pool().release_unused()  # what the texts took
    frames = [part.frame for part in parts]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    key = sensor or "sensor"
    order = Order.of(epoch_ms(frame[time]), lateness_s=lateness_s)
    remarks = _remarks(frame, parts, sensor=sensor, time=time, narrow=narrow)
    if narrow:
        frame = pivot(frame, narrow, sensor=key, time=time)
    elif order.back and not as_is:
        by_time = np.argsort(epoch_ms(frame[time]), kind="stable")
        frame = frame.iloc[by_time].reset_index(drop=True)
    names = _fields([str(name) for name in frame if name != time], rename or {}, time)
    frame = frame.rename(columns=names)
    return Look(
        frame=frame,
        sensor=names[key],
        time=time,
        rule="; ".join(dict.fromkeys(part.rule for part in parts)),
        order=order,
        by_time=bool(narrow) or not as_is,
        left_out=tuple(damage for part in parts for damage in part.left_out),
        cut=any(part.cut for part in parts),
        fields=tuple(str(name) for name in frame if name not in (names[key], time)),
        labels={name: label for label, name in names.items() if name != label},
        remarks=tuple(remarks),
    )


def _fields(labels: Sequence[str], rename: Mapping[str, str], time: str) -> dict[str, str]:
    """Return the field of each column; who renames one that is not there is told."""
    for label, name in rename.items():
        if label not in labels:
            hint = did_you_mean(label, labels)
            raise ServicesError(f"there is no column {label!r} to rename", hint=hint)
        if not FIELD.fullmatch(name):
            hint = "a letter or _, then letters, digits and _"
            raise ServicesError(f"{name!r} cannot be a field of a schema", hint=hint)
    names = {label: rename.get(label, label) for label in labels}
    for label, name in rename.items():
        for other, others_name in [*names.items(), (time, time)]:
            if other != label and others_name.casefold() == name.casefold():
                raise ServicesError(
                    f"columns {label!r} and {other!r} are to be {name!r} and {others_name!r}",
                    where="rename",
                    hint="fields differ in more than case",
                )
    fields = field_names(names.values(), taken=[time])
    return {label: fields[name] for label, name in names.items()}


def _remarks(
    frame: pd.DataFrame,
    parts: Sequence[CsvReadings],
    *,
    sensor: str | None,
    time: str,
    narrow: Narrow | None,
) -> list[str]:
    """Return what a look at the columns gives reason to ask."""
    remarks = []
    not_numbers = dict.fromkeys(name for part in parts for name in part.not_numbers)
    if not_numbers:
        remarks.append(f"without numbers, and left out: {', '.join(not_numbers)}")
    if unnamed := max(part.unnamed for part in parts):
        remarks.append(unnamed_remark(unnamed))
    if two_ways := next((part.two_ways for part in parts if part.two_ways), ""):
        remarks.append(
            f"{two_ways!r} is read as {two_ways.replace(',', '.')}: if its mark is that of "
            "thousands, say --thousands"
        )
    columns = dict.fromkeys(name for part in parts for name in part.fields)
    remarks += [remark for name in columns for remark in _codes(frame[name])]
    for name in columns:
        without = [part for part in parts if name not in part.fields]
        if without:
            remarks.append(f"{name} is missing in {len(without)} of {len(parts)} files")
    if narrow:
        return remarks
    if not sensor and frame.duplicated(["sensor", time]).any():
        remarks.append("times repeat: if a column names the sensor, say --sensor COLUMN")
    values = parts[0].fields
    if sensor and len(values) == 1:
        levels = frame[values[0]].abs().groupby(frame[sensor]).median()
        levels = levels[levels > 0]
        if len(levels) > 1 and levels.max() > _LEVELS * levels.min():
            remarks.append(
                f"{values[0]} is {levels.min():.3g} at {levels.idxmin()} and {levels.max():.3g} at "
                f"{levels.idxmax()}: if {sensor} is a tag, --tag {sensor} --value {values[0]} "
                "makes a field of each"
            )
    return remarks


def _codes(readings: pd.Series[float]) -> Iterator[str]:
    """Yield what is said of a value at the end of a column that may say: no reading."""
    for code in sorted({readings.min(), readings.max()} & set(_CODES)):
        count = int((readings == code).sum())
        if _OFTEN < count < len(readings):
            yield (
                f"{readings.name} is {code:g} in {count:,} of {len(readings):,} readings: if that "
                f"says that there is none, --missing {code:g}"
            )


def ingest(
    export: str | Path | pd.DataFrame,
    topic: str,
    *,
    sensor: str | None = None,
    sensor_name: str | None = None,
    time: str,
    values: Sequence[str] = (),
    narrow: Narrow | None = None,
    rename: Mapping[str, str] | None = None,
    form: CsvFormat | None = None,
    skip_damaged: bool = False,
    as_is: bool = False,
    schema: str = "json",
    compression: str = "zstd",
    rate: float | None = None,
    again: bool = False,
) -> Ingested:
    """Send an export to a topic, a message per reading, in the order of time.

    Parameters
    ----------
    export, sensor, sensor_name, time, values, narrow, rename, form, skip_damaged, as_is
        As for `look`, which says what would be sent.
    schema, compression, rate, again
        As for `ingest_frame`.

    Raises
    ------
    ServicesError
        As `look` and `ingest_frame` do; before anything is sent.
    """
    readings = look(
        export,
        sensor=sensor,
        sensor_name=sensor_name,
        time=time,
        values=values,
        narrow=narrow,
        rename=rename,
        form=form,
        skip_damaged=skip_damaged,
        as_is=as_is,
    )
    return ingest_frame(
        readings.frame,
        topic,
        sensor=readings.sensor,
        time=time,
        values=readings.fields,
        labels=readings.labels,
        schema=schema,
        compression=compression,
        rate=rate,
        again=again,
    )
