"""How objects show themselves in a notebook: what it is, its name, a few facts, at most one table.

HTML of tables only, so that it reads the same in Jupyter, dark or light, and in a report, which
strips styles and pictures; and plain text for a terminal.
"""

from __future__ import annotations

import html
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from textwrap import wrap
from typing import Any

_BLOCKS = "·▁▂▃▄▅▆▇█"
_ROWS = 20  # of a table, shown
_CELL = 60  # letters in a line of a cell: a sentence in a table goes on below
_LEFT = 'style="text-align:left"'


class Picture(str):
    """Text that is a picture: its letters must be equally wide."""

    __slots__ = ()


@dataclass(frozen=True)
class Card:
    """What to show of an object.

    Attributes
    ----------
    kind, name
        What it is ("topic"), and which.
    facts
        By name; one that is None or empty is left out.
    rows
        A table under the facts: of each row the same names.
    """

    kind: str
    name: str
    facts: Mapping[str, object] = field(default_factory=dict)
    rows: Sequence[Mapping[str, object]] = ()

    def text(self) -> str:
        """Return the card as lines.

        Examples
        --------
        >>> print(Card("topic", "pumps", {"ledgers": 7, "entries": 12_345, "note": ""}).text())
        topic pumps
          ledgers  7
          entries  12,345
        """
        facts = self._facts()
        wide = max((len(name) for name in facts), default=0)
        lines = [f"  {name:<{wide}}  {value}" for name, value in facts.items()]
        return "\n".join([f"{self.kind} {self.name}".rstrip(), *lines, *self._lines()])

    def html(self) -> str:
        """Return the card as HTML tables, every text in it escaped."""
        facts = "".join(
            f"<tr><th {_LEFT}>{html.escape(name)}</th><td {_LEFT}>{_escaped(value)}</td></tr>"
            for name, value in self._facts().items()
        )
        title = f"{html.escape(self.kind)} <strong>{html.escape(self.name)}</strong>"
        return f"<p>{title}</p>\n<table>{facts}</table>{self._table()}"

    def _facts(self) -> dict[str, str]:
        return {
            name: value if isinstance(value, Picture) else readable(value)
            for name, value in self.facts.items()
            if value is not None and value not in ("", (), [], {})
        }

    def _cells(self) -> tuple[list[str], list[list[str]], str]:
        """Return the table's head, its first rows, and how many more there are, as text."""
        head = list(self.rows[0]) if self.rows else []
        shown = [[readable(row.get(name)) for name in head] for row in self.rows[:_ROWS]]
        more = len(self.rows) - len(shown)
        return head, shown, f"and {more} more" if more else ""

    def _lines(self) -> Iterable[str]:
        head, shown, more = self._cells()
        rows = [[wrap(cell, _CELL) or [""] for cell in row] for row in [head, *shown] if head]
        widths = [
            max(len(line) for cell in cells for line in cell) for cells in zip(*rows, strict=True)
        ]
        for row in rows:
            for parts in zip_longest(*row, fillvalue=""):
                padded = (f"{part:<{wide}}" for part, wide in zip(parts, widths, strict=True))
                yield "  " + "  ".join(padded).rstrip()
        if more:
            yield f"  {more}"

    def _table(self) -> str:
        head, shown, more = self._cells()
        if not head:
            return ""
        names = "".join(f"<th {_LEFT}>{html.escape(name)}</th>" for name in head)
        body = "".join(
            "<tr>" + "".join(f"<td {_LEFT}>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in shown
        )
        table = f"\n<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}\n<p>{more}</p>" if more else table


class HasCard(ABC):
    """A base for objects that show themselves by their `card`."""

    @abstractmethod
    def card(self) -> Card:
        """Return what to show."""

    def getdoc(self) -> str:
        """Return what IPython's `?` shows: this very object, then what can be done with it."""
        cls = type(self)
        named = [name for name in dir(cls) if name[0] != "_" and name not in ("card", "getdoc")]
        docs = {name: inspect.getdoc(getattr(cls, name)) or "" for name in named}
        lines = [f"  .{name}: {doc.splitlines()[0]}" for name, doc in docs.items() if doc]
        return "\n".join([self.card().text(), "", inspect.cleandoc(cls.__doc__ or ""), "", *lines])

    def _repr_html_(self) -> str:
        return self.card().html()

    def _repr_mimebundle_(self, **wanted: Any) -> dict[str, str]:
        card = self.card()  # IPython prefers a dataclass' own repr to an inherited `_repr_pretty_`
        return {"text/html": card.html(), "text/plain": card.text()}


def readable(value: object) -> str:
    """Return a value as people read it.

    Examples
    --------
    >>> [readable(value) for value in (120_045, 86_400.0, 0.123456, ["a", 2], {"k": 3}, None)]
    ['120,045', '86,400', '0.1235', 'a, 2', 'k=3', '-']
    """
    if value is None or value != value:  # NaN
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={readable(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(readable, value))
    return str(value)


def _escaped(value: str) -> str:
    text = html.escape(value)
    return f"<code>{text}</code>" if isinstance(value, Picture) else text


def sparkline(counts: Sequence[int]) -> Picture:
    """Return counts as a line of blocks, as high as they are large, a dot for none.

    Examples
    --------
    >>> sparkline([8, 4, 0, 1, 8])
    '|█▄·▁█|'
    """
    most = max(counts, default=0)
    blocks = (_BLOCKS[-(-8 * count // most)] if count else _BLOCKS[0] for count in counts)
    return Picture(f"|{''.join(blocks)}|")


def size(count_bytes: int) -> str:
    """Return bytes as people read them.

    Examples
    --------
    >>> size(2_300_000), size(12)
    ('2.2 MiB', '12 B')
    """
    if count_bytes < 1024:
        return f"{count_bytes} B"
    amount = float(count_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"
