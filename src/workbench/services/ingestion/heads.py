"""Read the head of an export whose layout nobody told, and say what its columns look like.

DuckDB's sniffer finds what separates fields and where the table begins. What is told is kept.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench import times
from workbench.arrays import Bools
from workbench.errors import ServicesError, TimesError
from workbench.services.ingestion.csv_lines import Layout, Table, read_lines
from workbench.services.ingestion.csv_readings import MISSING, MOST_LEFT_OUT, SPACES, CsvFormat
from workbench.services.ingestion.numerals import inexact, plain_numbers
from workbench.services.ingestion.sources import DAMAGED, opened
from workbench.services.ingestion.tables import read_table, rows_of_titles

ROWS = 1000  # of a head, at most
_HEAD_BYTES = 1 << 18
Marks = tuple[str, str]  # decimal, thousands
MARKS: tuple[Marks, ...] = (
    (".", ""), (",", ""), (",", "."), (".", ","), (",", " "), (".", " "), (".", "'"), (",", "'")
)  # fmt: skip
A_TIME = re.compile(r"(\d\D*){4}")
_MOST = 0.5  # of a column's texts that are numbers, if it holds readings
_LOOKED_AT = 20  # lines
_NOTES = r"(#(datatype|group|default)\b.*\n)*"  # of InfluxDB
_EXCELS = r"(?i)sep=([^\r\n])\r?\n"  # a line for Excel, before the header
_ZEROS = 4  # one byte of so many that is 0 tells text of two bytes from damage
_TABS = {"tab": "\t", "\\t": "\t"}


def read_head(path: str, given: Mapping[str, str]) -> tuple[Table, dict[str, str]]:
    """Return the columns at the head of a file, and the options that say where they stand.

    Parameters
    ----------
    given
        Options of `workbench ingest` that are told: `sep`, `encoding`, `skip-rows`, `units-row`,
        `sheet`.

    Raises
    ------
    ServicesError
        If it cannot be read, or no table is recognised in it.
    """
    try:
        with opened(path) as (kind, raw):
            head = raw.read(_HEAD_BYTES) if kind == "text" else b""
    except DAMAGED as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise ServicesError(f"cannot be read: {reason}", where=path) from err
    skipped, units_row = int(given.get("skip-rows", "0")), "units-row" in given
    if kind != "text":
        layout = Layout(skip_rows=skipped, units_row=units_row, sheet=given.get("sheet", ""))
        titles = 0 if "skip-rows" in given else rows_of_titles(path, layout)
        table = read_table(
            path, _named, replace(layout, skip_rows=skipped + titles), most_rows=ROWS
        )
        return table, {"skip-rows": str(titles)} if titles else {}
    encoding = given.get("encoding") or _encoding(head)
    text = _text(head, encoding, path)
    sep, skipped = _sniffed(text, given, path)
    table = read_lines(
        path,
        io.BytesIO(text.encode()),
        _named,
        Layout(sep, "utf-8-sig", skipped, units_row, spaces=SPACES),
    )
    options = {
        "encoding": encoding,
        "sep": "tab" if sep == "\t" else sep,
        "skip-rows": str(skipped),
    }
    default = {"encoding": CsvFormat().encoding, "sep": CsvFormat().sep, "skip-rows": "0"}
    return table, {name: value for name, value in options.items() if value != default[name]}


def _named(header: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, header)))


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # of most letters a byte is 0
        part = head[first:200:2]
        if part.count(0) * _ZEROS > len(part):
            return name
    try:
        codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # its end may cut a character
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _text(head: bytes, encoding: str, path: str) -> str:
    """Return the whole lines of a head; of a small file, all of it."""
    try:
        text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    except LookupError as err:
        raise ServicesError(f"there is no encoding {encoding!r}", where=path) from err
    return text if len(head) < _HEAD_BYTES else text[: text.rfind("\n") + 1]


def _sniffed(text: str, given: Mapping[str, str], path: str) -> tuple[str, int]:
    """Return what separates fields, and how many lines stand before the header."""
    import fsspec

    from workbench.local_sql import duckdb

    files, name = fsspec.filesystem("memory"), f"/workbench-head-{id(text)}.csv"
    files.pipe_file(name, text.encode())
    notes, excels = re.match(_NOTES, text), re.match(_EXCELS, text)
    skip = given.get("skip-rows") or str(notes[0].count("\n") if notes else 0)
    sep = _TABS.get(given.get("sep", ""), given.get("sep", ""))
    if excels and "skip-rows" not in given:
        sep, skip = sep or excels[1], "1"
    sep = sep or _even(text.splitlines()[int(skip) :])
    settings = {"delim": sep} if sep else {}
    settings |= {"skip": skip} if skip != "0" or "skip-rows" in given else {}
    parameters = "".join(f", {setting} = ?" for setting in settings)
    try:
        with duckdb.connect() as session:
            session.register_filesystem(files)
            dialect = session.execute(
                f"SELECT Delimiter, SkipRows FROM sniff_csv(?{parameters})",  # noqa: S608 - of two names
                [f"memory:/{name}", *settings.values()],
            ).fetchone()
    except duckdb.Error as err:
        raise ServicesError(
            "no table is recognised in it", where=path, hint="say --sep, --skip-rows, --encoding"
        ) from err
    finally:
        files.rm(name)
    if dialect is None:
        raise ServicesError("no table is recognised in it", where=path)
    skipped = int(settings.get("skip", dialect[1]))
    two = text.splitlines()[skipped : skipped + 2]
    if not sep and all(str(dialect[0]) not in line and "," in line for line in two):
        return ",", skipped  # the header has one more, at its end
    return sep or str(dialect[0]), skipped


def _even(lines: Sequence[str]) -> str:
    """Return what separates fields if it is as often in each line; empty if nothing is.

    A comma is not asked for: it may as well be a decimal mark. What the first lines end with, and
    the header does not, or the other way, is not counted.
    """
    said = [line.rstrip() for line in lines[:_LOOKED_AT] if line.strip()]
    for sep in (";", "\t", "|"):
        counts = {line.rstrip(sep).count(sep) for line in said}
        if len(counts) == 1 and counts != {0} and not any('"' in line for line in said):
            return sep
    return ""


@dataclass(frozen=True)
class Column:
    """The head of a column: its texts, and which of them were numbers in the file."""

    texts: list[str]
    typed: Bools | None

    def plain(self, marks: Marks) -> list[str | None]:
        """Return the numbers, None where a text is none."""
        plain: list[str | None] = plain_numbers(self.texts, self.typed, marks).to_pylist()
        return plain

    def count(self, marks: Marks) -> int:
        """Return how many texts are numbers."""
        return sum(number is not None for number in self.plain(marks))

    def holds_readings(self, marks: Marks) -> bool:
        """Return whether most texts that say something are numbers."""
        said = sum(text.lower() not in MISSING for text in self.texts)
        return self.count(marks) > _MOST * said

    def names_things(self) -> bool:
        """Return whether its texts are whole numbers that come again, as those of machines do."""
        said = [text for text in self.texts if text.lower() not in MISSING]
        return self.repeats() and all(re.fullmatch(r"\d+(\.0)?", text) for text in said)

    def is_rounded(self, marks: Marks) -> bool:
        """Return whether so many numbers are in no double that the column would be refused."""
        plain = plain_numbers(self.texts, self.typed, marks).drop_null()
        rounded = inexact(plain, np.asarray(plain.cast("float64")))
        return bool(rounded.sum() > MOST_LEFT_OUT * len(rounded))

    def says_something(self) -> bool:
        """Return whether any of its texts is more than the word for a missing one."""
        return any(text.lower() not in MISSING for text in self.texts)

    def repeats(self) -> bool:
        """Return whether most of its texts come more than once."""
        return len(set(self.texts)) <= len(self.texts) / 2

    def without_first(self) -> Column:
        """Return it without its first text."""
        return Column(self.texts[1:], None if self.typed is None else self.typed[1:])


def has_units(columns: Sequence[Column]) -> bool:
    """Return whether the first row has no number where the next ones have, and no time."""
    numeric = [
        column for column in columns if any(column.without_first().count(marks) for marks in MARKS)
    ]
    first = [Column(column.texts[:1], _first(column.typed)) for column in numeric]
    return (
        bool(numeric)
        and not any(column.count(marks) for column in first for marks in MARKS)
        and not any(A_TIME.search(text) for column in columns for text in column.texts[:1])
    )


def _first(typed: Bools | None) -> Bools | None:
    return None if typed is None else typed[:1]


def missing_texts(columns: Sequence[Column], marks: Marks) -> list[str]:
    """Return what stands for a missing reading: no number, and no digit in it."""
    said: dict[str, None] = {}
    for column in columns:
        pairs = zip(column.texts, column.plain(marks), strict=True)
        said |= dict.fromkeys(text for text, number in pairs if number is None)
    return [text for text in said if text.lower() not in MISSING and not re.search(r"\d", text)]


def times_by(texts: Sequence[str], option: str, zone: str | None) -> times.Recognised | None:
    """Return what the texts say by one option that is told, as `format %d.%m.%Y`; None: nothing."""
    what, _, how = option.partition(" ")
    form, unit = (how, None) if what == "format" else (None, how)
    try:
        return times_of(texts, form, unit, zone)
    except TimesError:
        return None


def times_of(
    texts: Sequence[str], form: str | None, unit: str | None, zone: str | None
) -> times.Recognised:
    """Return what the texts say; a line of totals at the end, or damage, keeps none from it."""
    try:
        return times.recognise(texts, form, unit, zone)
    except TimesError as err:
        if not err.rows or len(err.rows) > MOST_LEFT_OUT * len(texts):
            raise
        kept = [text for row, text in enumerate(texts) if row not in err.rows]
        return times.recognise(kept, form, unit, zone)
