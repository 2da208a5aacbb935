"""What a person at a terminal is told while a command works; a file or a pipe goes without."""

from __future__ import annotations

import sys

import click


def tell_wait(line: str) -> None:
    """Say what is waited for, and how long it takes: on stderr, if that is a terminal."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


__all__ = ["tell_wait"]
