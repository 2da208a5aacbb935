"""What a person is told while a command works, and while a job starts.

How long, what an earlier job left, and a line for Ctrl-C.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workbench.stream import Stream


def tell_wait(line: str) -> None:
    """Say what is waited for: on stderr, if that is a terminal; a file or a pipe goes without."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


@contextmanager
def interruptible(line: str) -> Iterator[None]:
    """Tell how long a start takes, and let Ctrl-C end the command with a line."""
    log = logging.getLogger()
    log.addFilter(_is_no_interrupt)
    try:
        click.echo("starting Flink and the job, some 20 s", err=True)
        yield
    except KeyboardInterrupt:
        from workbench.stream import end_java

        end_java()
        click.echo(f"\n{line}", err=True)
        sys.exit(1)
    finally:
        log.removeFilter(_is_no_interrupt)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    """Return whether a record is no traceback of py4j's for Ctrl-C while it speaks to Java."""
    return "KeyboardInterrupt" not in str(record.msg)


def beginning(definition: Stream, position: str) -> Callable[[], None]:
    """Look at what an earlier job left; return what tells it, and closes it, once one runs."""
    from workbench import alerts
    from workbench import stream as room

    missed = room.left_behind(definition) if position == "latest" else None
    left = alerts.left_open(definition, position=position)

    def tell() -> None:
        lines = [begins(position, missed), alerts.close_left_open(definition, left)]
        for line in filter(None, [*lines, definition.uncounted]):
            click.echo(line, err=True)

    return tell


def begins(position: str, missed: str | None) -> str:
    """Return from where a job reads, and what it leaves out."""
    if position != "latest":
        return f"it reads from {position} on"
    line = "it reads what comes from now on"
    if not missed:
        return line
    return f"{line}; what came since its last checkpoint is left out: --position {missed} reads it"


__all__ = ["beginning", "begins", "interruptible", "tell_wait"]
