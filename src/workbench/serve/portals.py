"""What a connection holds between messages: statements, portals, and answers under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from workbench.serve.decoded import Work
from workbench.serve.errors import QueryError


class Gone(Exception):  # noqa: N818 - an end, not an error
    """The client has ended the connection, or never began one."""


@dataclass
class Statement:
    """A statement that was parsed: its text and the oids declared for its parameters."""

    text: str
    oids: list[int]
    binary: list[bool] = field(default_factory=list)


@dataclass
class Portal:
    """A statement with parameters, and its result once it runs."""

    text: str
    literals: list[str]
    formats: list[int]
    answer: Answer | None = None


@dataclass
class Answer:
    """What a statement gives: rows of some columns, or a tag alone."""

    tag: str
    schema: pa.Schema | None = None
    batches: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))
    work: Work = field(default_factory=Work)
    held: pa.RecordBatch | None = None


def first(payload: bytes) -> tuple[str, bytes]:
    """Return the text up to the first zero byte, and what follows."""
    text, zero, rest = payload.partition(b"\0")
    if not zero:
        raise QueryError("a text in a message has no end", code="08P01")
    try:
        return text.decode(), rest
    except UnicodeDecodeError as err:
        raise QueryError(f"text is not UTF-8: {err}", code="22021") from err


def nth(formats: list[int], i: int) -> int:
    """Return the format of the i-th value: none said is text, one said is for all."""
    if not formats:
        return 0
    return formats[0] if len(formats) == 1 else formats[i]
