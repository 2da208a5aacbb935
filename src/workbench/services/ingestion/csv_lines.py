"""Take lines of CSV apart into fields, and name the lines that are damaged.

A line is one reading, so a field never runs over a line: a quote that is not closed damages its
own line and swallows no other. What a field means is for `csv_readings` to say.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.arrays import Bools, Ints, Objects
from workbench.errors import ServicesError, did_you_mean

_CHUNK_LINES = 100_000  # held as Python's texts at once
_SEPARATORS = (",", ";", "\t", "|")
_INVISIBLE = (  # controls, spaces that are none, marks of direction and of byte order, lost bytes
    "[\x00-\x08\x0b-\x1f\x7f\u0080-\u00a0\u00ad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\ufeff\ufff9-\ufffd]"
)


class Damage(NamedTuple):
    """A line that is no reading, and why; the column, where one is at fault, and a way out."""

    line: int
    why: str
    column: str = ""
    hint: str | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a file that were asked for, as texts.

    Attributes
    ----------
    columns
        Name to texts, shape (rows,), without spaces at both ends. Arrow holds them: texts of
        Python's own take some 60 bytes more.
    lines
        Shape (rows,): the line of each row; the header is line 1.
    damaged
        Lines that are no row of it.
    cut
        Whether the last line has no end, and so may have lost more.
    typed
        Name to which cells, shape (rows,), were numbers in the file, so that they have a decimal
        point whatever marks its texts have; empty where all are texts.
    nested
        Those of its columns that hold lists or records: their texts say only what kind.
    unnamed
        How many columns have no name, and say something.
    days_from_1904
        Whether it is of a workbook that counts its days from 1904, and not from 1900.
    """

    columns: dict[str, pa.ChunkedArray]
    lines: Ints
    damaged: list[Damage]
    cut: bool
    typed: dict[str, Bools] = field(default_factory=dict)
    nested: tuple[str, ...] = ()
    unnamed: int = 0
    days_from_1904: bool = False


@dataclass(frozen=True)
class Layout:
    """Where a table stands in its file, and how it is written.

    Attributes
    ----------
    sep, encoding
        Of lines of text.
    skip_rows
        Lines before the header.
    units_row
        Whether the line after the header is no reading: units, or a description.
    sheet
        Of a workbook that has several.
    spaces
        Characters that stand for a space, in numbers of some countries.
    """

    sep: str = ","
    encoding: str = "utf-8-sig"
    skip_rows: int = 0
    units_row: bool = False
    sheet: str = ""
    spaces: str = ""


_Split = tuple[Ints, Callable[[int], pa.Array]]  # lines of rows, and their fields at a place
Select = Callable[[Sequence[str]], Sequence[str]]  # of a header's names, those to take


def chosen(select: Select, header: Sequence[str], where: object) -> list[str]:
    """Return the columns to take.

    Raises
    ------
    ServicesError
        If the header lacks one, or has it twice.
    """
    names = list(select(header))
    for name in names:
        if (count := list(header).count(name)) > 1:
            raise ServicesError(
                f"column {name!r} stands {count} times",
                where=where,
                hint="which one is meant? Name the others otherwise, there",
            )
        if name not in header:
            hint = did_you_mean(name, header)
            raise ServicesError(f"there is no column {name!r}", where=where, hint=hint)
    return names


def read_lines(path: str | Path, raw: IO[bytes], select: Select, layout: Layout) -> Table:
    """Return columns of the lines of a CSV file.

    Raises
    ------
    ServicesError
        If its header lacks a column, has it twice, or hides a character that cannot be seen; if
        there is no such encoding.
    UnicodeError
        If it is not text of that encoding.
    """
    sep = layout.sep
    if len(sep) != 1 or sep in '"\r\n':
        raise ServicesError(f"{sep!r} cannot separate fields", hint="as , or ; or | or a tab")
    try:
        codecs.lookup(layout.encoding)
    except LookupError as err:
        hint = "as utf-8, cp1252 or utf-16"
        raise ServicesError(f"there is no encoding {layout.encoding!r}", hint=hint) from err
    with io.TextIOWrapper(raw, encoding=layout.encoding, newline="") as text:
        return _Reader(path, text, layout).table(select)


@dataclass(eq=False)
class _Reader:
    path: str | Path
    text: TextIO
    layout: Layout
    header: list[str] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    cut: bool = False
    unnamed: set[int] = field(default_factory=set)  # places that say something

    def table(self, select: Select) -> Table:
        names = self._read_header(select)
        places = {name: self.header.index(name) for name in names}
        columns: dict[str, list[pa.Array]] = {name: [] for name in names}
        numbers: list[Ints] = []
        for first, chunk in self._chunks():
            lines, fields = self._split_whole(first, chunk) or self._split_each(first, chunk)
            texts = {name: pc.utf8_trim(fields(place), " \t") for name, place in places.items()}
            self.unnamed |= {
                place
                for place, name in enumerate(self.header)
                if not (name or _is_blank(fields(place)))
            }
            kept = self._visible(texts, lines)
            numbers.append(lines[kept])
            for name, column in texts.items():
                columns[name].append(column.filter(pa.array(kept)))
        return Table(
            {name: pa.chunked_array(parts, pa.string()) for name, parts in columns.items()},
            np.concatenate([np.empty(0, np.int64), *numbers]),
            self.damaged,
            self.cut,
            unnamed=len(self.unnamed),
        )

    def _read_header(self, select: Select) -> list[str]:
        """Read up to the end of the header, keep it, and return the columns to take."""
        number, sep = self.layout.skip_rows + 1, self.layout.sep
        for _ in range(self.layout.skip_rows):
            self.text.readline()
        line = self.text.readline().rstrip("\r\n").translate(self._spaces())
        where = f"{self.path} line {number}"
        if not line.strip(f" \t{sep}"):
            raise ServicesError("there is no header", where=where)
        try:
            self.header = [name.strip(" \t") for name in _split(line, sep)]
        except csv.Error as err:
            raise ServicesError(f"not a header of CSV: {err}", where=where) from err
        for name in self.header:
            if hidden := re.search(_INVISIBLE, name):
                raise ServicesError(
                    f"column {name!r} hides the character U+{ord(hidden[0]):04X}", where=where
                )
        for name in select(self.header):
            if name not in self.header and (hint := _other_separator(line, sep, name)):
                raise ServicesError(f"there is no column {name!r}", where=where, hint=hint)
        return chosen(select, self.header, where)

    def _spaces(self) -> dict[int, str]:
        return dict.fromkeys(map(ord, self.layout.spaces), " ")

    def _chunks(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of a first line, and lines with their ends."""
        first = self.layout.skip_rows + 2 + self.layout.units_row
        if self.layout.units_row:
            self.text.readline()
        while chunk := list(islice(self.text, _CHUNK_LINES)):
            yield first, chunk
            first += len(chunk)
            self.cut = not chunk[-1].endswith(("\r", "\n"))

    def _split_whole(self, first: int, chunk: list[str]) -> _Split | None:
        """Split all lines at once; None where one has quotes, or seems to be damaged or blank."""
        content = pc.utf8_rtrim(pa.array(chunk, pa.string()), "\r\n")
        for space in self.layout.spaces:
            content = pc.replace_substring(content, space, " ")
        odd = pc.or_(pc.match_substring(content, '"'), pc.match_substring(content, "\0"))
        blank = pc.equal(pc.utf8_trim(content, f"{self.layout.sep} \t"), "")
        split = pc.split_pattern(content, self.layout.sep)
        widths = pc.list_value_length(split)
        width = widths[0].as_py()
        if pc.any(pc.or_(pc.or_(odd, blank), pc.not_equal(widths, width))).as_py():
            return None
        fields = split.flatten()

        def column(place: int) -> pa.Array:
            if place == width:  # the header's last, without a name
                return pa.array([""] * len(chunk), pa.string())
            return fields.take(pa.array(np.arange(place, len(fields), width)))

        more = width - len(self.header)
        ends_alike = more == 0 or (more == 1 and _is_blank(column(width - 1)))
        ends_alike |= more == -1 and not self.header[-1]
        begins = pc.equal(pc.utf8_trim_whitespace(column(0)), self.header[0])
        if not ends_alike or pc.any(begins).as_py():  # perhaps the header again
            return None
        return np.arange(first, first + len(chunk), dtype=np.int64), column

    def _split_each(self, first: int, chunk: list[str]) -> _Split:
        """Split line by line, and keep the damage of those that are no row."""
        rows = list(self._rows(first, chunk))
        lines = np.array([line for line, _ in rows], dtype=np.int64)
        return lines, lambda place: pa.array([row[place] for _, row in rows], pa.string())

    def _rows(self, first: int, chunk: list[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield lines that have the header's fields, and keep the damage of the others."""
        spaces = self._spaces()
        for number, line in enumerate(chunk, start=first):
            content = line.rstrip("\r\n").translate(spaces)
            if not content.strip(f"{self.layout.sep} \t"):
                continue  # blank, or an empty row of a spreadsheet
            try:
                row = _split(content, self.layout.sep)
            except csv.Error as err:
                self.damaged.append(Damage(number, f"not a line of CSV: {err}"))
                continue
            row = self._ended(row)
            if why := self._fault(content, row):
                self.damaged.append(Damage(number, why))
            else:
                yield number, row

    def _ended(self, row: list[str]) -> list[str]:
        """Return a row that ends as the header does: with a separator behind the last field or not.

        (Controllers write one behind each reading and none behind the header, or the other way.)
        """
        if len(row) == len(self.header) + 1 and not row[-1].strip(" \t"):
            return row[:-1]
        if len(row) == len(self.header) - 1 and not self.header[-1]:
            return [*row, ""]
        return row

    def _fault(self, content: str, row: list[str]) -> str:
        if "\0" in content:
            return "holds NUL, as where a disk or a copy broke off"
        if len(row) != len(self.header):
            return f"has {_fields(len(row))}, the header has {len(self.header)}"
        if row[0].strip() == self.header[0] and [name.strip() for name in row] == self.header:
            return "is the header again"
        return ""

    def _visible(self, texts: dict[str, pa.Array], lines: Ints) -> Bools:
        """Return which rows hide no character, and keep the damage of the others."""
        kept = np.ones(len(lines), dtype=np.bool_)
        for name, column in texts.items():
            hidden = invisible(column)
            self.damaged += [
                Damage(int(lines[row]), what, name) for row, what in hidden.items() if kept[row]
            ]
            kept[list(hidden)] = False
        return kept


def _is_blank(texts: pa.Array) -> bool:
    return not pc.any(pc.not_equal(pc.utf8_trim(texts, " \t"), "")).as_py()


def invisible(column: pa.Array | pa.ChunkedArray) -> dict[int, str]:
    """Return what texts hide that nobody sees, as a space without width, by their rows."""
    hidden = np.flatnonzero(pc.fill_null(pc.match_substring_regex(column, _INVISIBLE), False))
    return {int(row): _hides(column[int(row)].as_py()) for row in hidden}


def names_of(texts: pa.ChunkedArray) -> Objects:
    """Return texts, of which many are the same, as Python's own, each held once."""
    encoded = texts.dictionary_encode().unify_dictionaries()
    rows = [np.asarray(chunk.indices) for chunk in encoded.chunks]
    words = encoded.chunk(0).dictionary.to_pylist() if rows else []
    names: Objects = np.array(words, dtype=object)[np.concatenate([np.empty(0, np.int32), *rows])]
    return names


def _hides(text: str) -> str:
    character = re.search(_INVISIBLE, text)
    code = f"U+{ord(character[0]):04X}" if character else "a character"
    return f"{text!r} hides the character {code}"


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _split(line: str, sep: str) -> list[str]:
    if '"' not in line:
        return line.split(sep)
    if line.count('"') % 2:
        raise csv.Error("a quote is not closed")
    return next(csv.reader([line], delimiter=sep, strict=True), [])


def _other_separator(line: str, sep: str, name: str) -> str | None:
    for other in _SEPARATORS:
        if other != sep and name in [part.strip(' \t"') for part in line.split(other)]:
            return f"its fields seem to be separated by {other!r}: say so with sep"
    return None
