"""Look at an export nobody said everything about, and propose how to read it.

A proposal decides nothing: it is the command that says it, to be looked at and given. Where the
head of the export may be meant in more than one way, there is a command for each.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from workbench import times
from workbench.errors import ServicesError, TimesError, did_you_mean
from workbench.services.ingestion.csv_readings import MISSING
from workbench.services.ingestion.heads import (
    A_TIME,
    MARKS,
    ROWS,
    Column,
    Marks,
    has_units,
    missing_texts,
    read_head,
    times_by,
    times_of,
)
from workbench.services.ingestion.names import matching, quoted, unnamed_remark
from workbench.services.ingestion.sources import STDIN, paths_of

Options = dict[str, tuple[str, ...]]  # with the words after them
_TIMES = re.compile(r"time|zeit|dat(e|um)|stamp|^ts$|^at$", re.IGNORECASE)
_TAGS = re.compile(
    r"tag|point|signal|variable|measure|channel|kanal|messstelle|^_?(name|field)$", re.IGNORECASE
)
_NO_SENSORS = re.compile(
    r"status|state|zustand|mode$|betriebsart|qualit|unit|einheit|comment|bemerk|note|label",
    re.IGNORECASE,
)
_SENSORS = re.compile(  # the whole name, or an id at its end: a machine_speed is none
    r"^(sensor|machine|device|asset|equipment|maschine|ger(ä|ae)t|anlage|aggregat)"
    r"([\W_]?(id|nr|no|number|nummer|name))?$"
    r"|(^|[\W_])(id|nr|no|number|nummer)$|(?-i:[a-z](Id|ID|Nr|No)$)",
    re.IGNORECASE,
)
_MIDNIGHT = re.compile(r"[T ]0?0:00(:00([.,]0*)?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?$")
_FLUX = {"result", "table", "_start", "_stop"}
_SHOWN = 3  # columns
_MANY = 12  # columns of readings: more are not named one by one, if they are all there are
_FIGURES = re.compile(r"[-+]?[\d.,]+")
_SENSOR_OPTIONS = {"sensor", "machine", "machine-from"}
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?")


@dataclass(frozen=True)
class Proposal:
    """How an export seems to be written.

    Attributes
    ----------
    export
        The file, folder or glob.
    options
        Of `workbench ingest`, with the words after them: those that were given, then those found.
    rows
        The first two, as they stand.
    choices
        What may be meant in more than one way: as it would be read, to the options that say so.
    remarks
        What else is worth knowing.
    """

    export: str
    options: Mapping[str, tuple[str, ...]]
    rows: tuple[str, ...]
    choices: tuple[Mapping[str, Mapping[str, tuple[str, ...]]], ...] = ()
    remarks: tuple[str, ...] = ()

    def lines(self, topic: str | None) -> list[str]:
        """Return what was found, the first rows, and the command that says so, or each of them."""
        found = [" ".join([name, *map(repr, words)]) for name, words in self.options.items()]
        lines = [f"{self.export} reads as {', '.join(found)}", *self.rows, *self.remarks]
        commands = self.commands(topic)
        if not self.choices:
            return [*lines, *(f"say so: {command}" for command in commands.values())]
        lines.append("it may be meant in more than one way: say which")
        return [*lines, *(f"{meaning}: {command}" for meaning, command in commands.items())]

    def commands(self, topic: str | None) -> dict[str, str]:
        """Return the command of each meaning; of the only one, its meaning is empty.

        Parameters
        ----------
        topic
            To send to; None: a command that only looks.
        """
        commands = {}
        for meaning in product(*(choice.items() for choice in self.choices)):
            options = dict(self.options)
            for _, chosen in meaning:
                options |= chosen
            words = ["workbench", "ingest", self.export]
            words += ["--topic", topic] if topic else ["--look"]
            for name, following in options.items():
                words += [f"--{name}", *following]
            commands[", ".join(text for text, _ in meaning)] = shlex.join(words)
        return commands


def propose(export: str, given: Mapping[str, tuple[str, ...]] | None = None) -> Proposal:
    """Return how an export seems to be written, by the head of its first file.

    Parameters
    ----------
    export
        A file, folder or glob; stdin is gone once it is looked at, and is refused.
    given
        Options of `workbench ingest` that are given already, with the words after them: they are
        kept.

    Raises
    ------
    ServicesError
        If it cannot be read, or no column looks like times, or none like readings.
    """
    if export == STDIN:
        hint = "name its columns: --time COL --values A,B"
        raise ServicesError("stdin cannot be looked at first", hint=hint)
    path, given = paths_of(export)[0], given or {}
    table, layout = read_head(path, {name: " ".join(words) for name, words in given.items()})
    if not len(table.lines):
        first = table.damaged[0] if table.damaged else None
        where = f"{path} line {first.line}" if first else path
        raise ServicesError(first.why if first else "there is no reading in it", where=where,
                            hint=first.hint if first else None)  # fmt: skip
    columns = {
        name: Column(texts[:ROWS].to_pylist(), table.typed[name][:ROWS] if table.typed else None)
        for name, texts in table.columns.items()
        if name not in table.nested
    }
    if {"_time", "_value"} <= columns.keys():  # of InfluxDB: they say how it was asked
        columns = {name: column for name, column in columns.items() if name not in _FLUX}
    findings = _Findings(path, {**given, **{name: (text,) for name, text in layout.items()}})
    if "units-row" not in given and has_units(list(columns.values())):
        findings.options["units-row"] = ()
        columns = {name: column.without_first() for name, column in columns.items()}
    if table.unnamed:
        findings.remarks.append(unnamed_remark(table.unnamed))
    findings.remarks += [f"{name!r} holds lists or records: left out" for name in table.nested]
    findings.roles(columns)
    texts = (column.texts for column in columns.values())
    rows = tuple(map(_shown, islice(zip(*texts, strict=True), 2)))
    choices = tuple(findings.choices)
    return Proposal(export, findings.options, rows, choices, tuple(findings.remarks))


@dataclass
class _Findings:
    path: str
    options: Options
    choices: list[dict[str, Options]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    no_times: list[str] = field(default_factory=list)  # why columns of that name hold none

    def roles(self, columns: Mapping[str, Column]) -> None:
        """Keep the options that say which column is what, and how it is written."""
        time = self._time(columns)
        others = {name: column for name, column in columns.items() if name != time}
        marks = self._marks(others)
        numbers = [name for name, column in others.items() if column.holds_readings(marks)]
        numbers = self._without_ids(others, self._without_name(others, numbers), marks)
        if not numbers:
            names = ", ".join(columns)
            where = f"{self.path}, columns {names}"
            raise ServicesError(
                "no column holds numbers",
                where=where,
                hint=_first_texts(others) or ("; ".join(self.remarks) or None),
            )
        self._refuse_halves(time, columns)
        if A_TIME.search(time) and Column(numbers, None).count(marks) == len(numbers):
            raise ServicesError(
                f"there is no header: {time!r} and {numbers[0]!r} are a reading",
                where=self.path,
                hint="write a line before it that names the columns",
            )
        self._names(others, numbers)
        if missing := missing_texts([others[name] for name in self._readings(numbers)], marks):
            self.options.setdefault("missing", (",".join(map(quoted, missing)),))

    def _without_name(self, columns: Mapping[str, Column], numbers: Sequence[str]) -> list[str]:
        """Return the columns of readings, without one that names sensors, where no text does.

        What is one and might be the other is remarked.
        """
        names = [
            name
            for name in numbers
            if name not in self._asked(numbers)
            and _SENSORS.search(name)
            and columns[name].names_things()
        ]
        if not names or len(numbers) == 1 or self.options.keys() & _SENSOR_OPTIONS:
            return [*numbers]
        texts = self._texts_of_sensors(columns, numbers)
        if any(not _TAGS.search(name) for name in texts):
            self.remarks += [f"if {name!r} names the sensor, say --sensor" for name in names]
            return [*numbers]
        self.options["sensor"] = (names[0],)
        self.remarks.append(f"{names[0]!r} is taken for the name of the sensor, not for readings")
        return [name for name in numbers if name != names[0]]

    def _without_ids(
        self, columns: Mapping[str, Column], numbers: Sequence[str], marks: Marks
    ) -> list[str]:
        """Return the columns of readings, without those that no double holds, unless all are."""
        ids = [
            name
            for name in numbers
            if name not in self._asked(numbers) and columns[name].is_rounded(marks)
        ]
        if len(ids) == len(numbers):
            return [*numbers]
        self.remarks += [
            f"{name!r} has more digits than a reading can hold, and is left out" for name in ids
        ]
        return [name for name in numbers if name not in ids]

    def _asked(self, numbers: Sequence[str]) -> list[str]:
        return self._readings(numbers) if self.options.keys() & {"values", "value"} else []

    def _refuse_halves(self, time: str, columns: Mapping[str, Column]) -> None:
        """Refuse days in one column whose times of day are in another: all would be midnight."""
        if any(":" in text and not _MIDNIGHT.search(text) for text in columns[time].texts):
            return
        for name, column in columns.items():
            texts = [text for text in column.texts if text]
            if name != time and texts and all(map(_TIME_OF_DAY.fullmatch, texts)):
                raise ServicesError(
                    f"the day is in column {time!r}, the time of day in {name!r}",
                    where=self.path,
                    hint="make one column of both first, as 2026-01-05 10:00:00",
                )

    def _option(self, name: str) -> str | None:
        words = self.options.get(name)
        return words[0] if words else None

    def _names(self, columns: Mapping[str, Column], numbers: Sequence[str]) -> None:
        texts = [name for name in columns if name not in numbers]
        tags = [name for name in texts if _TAGS.search(name)]
        if tags and len(numbers) == 1 and not self.options.keys() & {"values", "tag", "sensor"}:
            self.options |= {"tag": (tags[0],), "value": (numbers[0],)}
        if not self.options.keys() & _SENSOR_OPTIONS:
            for name in self._texts_of_sensors(columns, numbers)[:1]:
                self.options["sensor"] = (name,)
        if "tag" not in self.options:
            left = [name for name in numbers if name != self._option("sensor")]
            every = len(left) > _MANY and {*left, self._option("sensor")} >= columns.keys()
            self.options.setdefault("values", ("*" if every else ",".join(map(quoted, left)),))

    def _texts_of_sensors(self, columns: Mapping[str, Column], numbers: Sequence[str]) -> list[str]:
        """Return the columns of texts that may name sensors, those first whose names say so."""
        names = [
            name
            for name, column in columns.items()
            if name not in numbers
            and name != self._option("tag")
            and column.says_something()
            and column.repeats()
            and not _NO_SENSORS.search(name)
        ]
        return sorted(names, key=lambda name: not _SENSORS.search(name))

    def _readings(self, numbers: Sequence[str]) -> list[str]:
        asked = self._option("values") or quoted(self._option("value") or "")
        return matching(next(csv.reader([asked])), numbers, []) if asked else list(numbers)

    def _marks(self, named: Mapping[str, Column]) -> Marks:
        """Return the marks of most numbers; where others make other numbers of them, ask."""
        marks = self._marks_of_most(list(named.values()))
        for name, column in named.items():
            if column.holds_readings(marks):
                continue
            if any(column.holds_readings(others) for others in MARKS):
                text = next(text for text in column.texts if text and text.lower() not in MISSING)
                self.remarks.append(
                    f"{name!r} has other marks, as {text!r}, and is left out: read it by itself, "
                    "with --decimal and --thousands"
                )
        return marks

    def _marks_of_most(self, columns: Sequence[Column]) -> Marks:
        given = self._option("decimal"), self._option("thousands")
        fitting = [marks for marks in MARKS if all(map(_agrees, given, marks))]
        if not fitting:
            return given[0] or ".", given[1] or ""
        counts = [sum(column.count(marks) for column in columns) for marks in fitting]
        best = [marks for marks, count in zip(fitting, counts, strict=True) if count == max(counts)]
        numeric = [column for column in columns if column.holds_readings(best[0])]
        meanings: dict[tuple[str | None, ...], Marks] = {}
        unread = [number is None for column in numeric for number in column.plain(best[0])]
        for marks in best:
            numbers = tuple(number for column in numeric for number in column.plain(marks))
            if [number is None for number in numbers] == unread:  # else it reads other columns
                meanings.setdefault(numbers, marks)
        first, *others = meanings
        if others:
            row = next(row for row in range(len(first)) if len({m[row] for m in meanings}) > 1)
            text = [text for column in numeric for text in column.texts][row]
            self.choices.append(
                {f"{text!r} is {m[row]}": _mark_options(marks) for m, marks in meanings.items()}
            )
        elif best[0] != (".", ""):
            options = _mark_options(best[0]).items()
            self.options |= dict(each for each in options if each != ("decimal", (".",)))
        return best[0]

    def _time(self, columns: Mapping[str, Column]) -> str:
        """Return the column of times, and keep how they are written; the first that fits."""
        name = self._option("time")
        if name is not None and name not in columns:
            hint = did_you_mean(name, columns)
            raise ServicesError(f"there is no column {name!r}", where=self.path, hint=hint)
        candidates = [name] if name else sorted(columns, key=lambda name: not _TIMES.search(name))
        for candidate in candidates:
            texts = [text for text in columns[candidate].texts if text]
            if texts and self._reads_times(candidate, texts):
                return candidate
        hints = [*self.no_times[:1], "say --time COL, and --time-format as '%d.%m.%Y %H:%M'"]
        if len(columns) == 1:
            hints = ["it has one column: what separates its fields? --sep says so"]
        raise ServicesError(
            "no column holds times",
            where=f"{self.path}, columns {', '.join(columns)}",
            hint="\n  ".join(hints),
        )

    def _reads_times(self, name: str, texts: list[str]) -> bool:
        """Return whether texts are times, and keep how they are written."""
        given = [self._option(f"time-{what}") for what in ("format", "unit", "zone")]
        why = ""
        try:
            readings = {"": times_of(texts, *given)}
        except TimesError as err:
            why = "\n  ".join(filter(None, [f"{name}: {err.message}", err.hint]))
            options = [option.removeprefix("time ") for option in err.options]
            readings = {
                option: read for option in options if (read := times_by(texts, option, given[2]))
            }
        meanings = dict(_meaning(texts[0], option, read) for option, read in readings.items())
        if not meanings:
            self.no_times += [why] if name == self._option("time") or _TIMES.search(name) else []
            return False
        self.options.setdefault("time", (name,))
        if len(meanings) == 1:
            self.options |= next(iter(meanings.values()))
        else:
            self.choices.append(meanings)
        if any("UTC" in read.rule for read in readings.values()) and not given[2]:
            self.remarks.append(
                "times without an offset are UTC, unless --time-zone says otherwise"
            )
        return True


def _shown(row: Sequence[str]) -> str:
    return ", ".join(row if len(row) <= _MANY else [*row[:_MANY], f"... {len(row)} fields"])


def _first_texts(columns: Mapping[str, Column]) -> str | None:
    """Return the first text of each of a few columns that is no number."""
    firsts = {
        name: next((text for text in column.texts if text and not _FIGURES.fullmatch(text)), "")
        for name, column in columns.items()
    }
    said = [f"{text!r} in {name}" for name, text in firsts.items() if text][:_SHOWN]
    return f"no numbers: {', '.join(said)}" if said else None


def _meaning(text: str, option: str, read: times.Recognised) -> tuple[str, Options]:
    what, _, how = option.partition(" ")
    meaning = f"{text!r} by {how} is {times.iso(int(read.epoch_ms[0]))}"
    return meaning, {f"time-{what}": (how,)} if option else {}


def _agrees(given: str | None, mark: str) -> bool:
    return given is None or given == mark


def _mark_options(marks: Marks) -> Options:
    options: Options = {"decimal": (marks[0],), "thousands": (marks[1],)}
    return {name: words for name, words in options.items() if words[0]}
