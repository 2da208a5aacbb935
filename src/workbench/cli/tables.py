"""Rows as a table of text: columns that fit a terminal, numbers to four digits.

A table may have 10,000 rows: each cell is made a text once, column by column, and pandas would take
longer to import than they do.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

Columns = dict[str, list[str]]  # the cells of each column, by its name


def print_rows(rows: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows, all their columns; nothing where there are none."""
    listed = list(rows)
    if as_json:
        for row in listed:
            click.echo(json.dumps(row))
    elif listed:
        _print(_columns(listed))


def print_fitting(rows: Sequence[dict[str, Any]], first: str | None) -> None:
    """Print the columns for which a terminal has room, `first` first, and say which are left out.

    Where there is room for all, or the output is no terminal, all are printed.
    """
    if rows:
        columns = _columns(rows)
        _print({name: columns[name] for name in _fitting(columns, first)})


def _columns(rows: Sequence[dict[str, Any]]) -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_cell(row.get(name)) for row in rows] for name in names}


def _fitting(columns: Columns, first: str | None) -> Iterable[str]:
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    widths = {name: _width(name, cells) for name, cells in columns.items()} if room else {}
    if sum(widths.values()) + len(widths) - 1 <= room:
        return columns
    same = [name for name, cells in columns.items() if len(set(cells)) == 1 < len(cells)]
    wanted = dict.fromkeys(name for name in ("run", first, *columns) if name in widths)
    fitting: list[str] = []
    for name in [name for name in wanted if name not in same]:
        if not fitting or sum(widths[name] + 1 for name in [*fitting, name]) - 1 <= room:
            fitting.append(name)
    alike = [f"{name} {columns[name][0]}" for name in same]
    cut = [name for name in wanted if name not in fitting and name not in same]
    for title, left in (("the same in all", alike), ("left out, --wide shows them", cut)):
        if left:
            click.echo(f"{title}: {', '.join(left)}", err=True)
    return fitting


def _print(columns: Columns) -> None:
    padded = []
    for name, cells in columns.items():
        width = _width(name, cells)
        padded.append([cell.rjust(width) for cell in (name, *cells)])
    click.echo("\n".join(map(" ".join, zip(*padded, strict=True))))


def _width(name: str, cells: Sequence[str]) -> int:
    return max(len(name), *map(len, cells))


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
