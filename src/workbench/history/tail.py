"""What the broker holds of a topic and the archive does not: the messages of some ledgers.

A query asks where each partition ends (`tail_parts`), and reads up to there: what is sent later is
of the next one. Which times the messages of a ledger have is kept in memory, as `archive` keeps it
of objects: entries that surely hold nothing of an interval are not read again. The broker's own
search by time is not used: it takes publish times to rise, which of several producers they do not.

A message in chunks comes with its last one, and needs the first to be read: where entries were
passed over (chunks, marks of transactions) nothing of that partition is left out. Chunks without a
last one are no message. What retention removes while it is read is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import Any

import pulsar

from workbench import broker
from workbench.archive import Inference, Selection, split_partition
from workbench.endpoints import endpoints
from workbench.errors import ReplayError
from workbench.history import chunks
from workbench.history.live import encoded
from workbench.history.message_columns import columns_of, event_ms

Position = tuple[int, int, int]  # ledger, entry, batch index
_BATCH_ROWS, _BATCH_BYTES = 1024, 2 << 20  # Arrow reads up to sixteen ahead
_PIECE_ROWS = 4096
_QUEUE, _QUEUE_BYTES = 10_000, 32 << 20  # fetched ahead
_STEP_MS, _ASKED_MS, _WAIT_MS = 200, 1000, 30_000
_ALL, _NOTHING = 1 << 31, -2  # behind the index of any message of a batch, and before
_BY = ("publish_time", "event_time")


@dataclass(frozen=True)
class TailPart:
    """A partition, or a topic that has none, as the broker had it when it was asked.

    Attributes
    ----------
    topic, partition
        Full name and number; -1: the topic is not partitioned.
    ledgers
        Ids, ascending, and how many entries each has.
    entry_bytes
        Of an entry, the mean.
    end
        Ledger, entry and batch index of the last message; -1 where there is none.
    """

    topic: str
    partition: int
    ledgers: dict[int, int]
    entry_bytes: int
    end: Position


def tail_parts(topic: str) -> list[TailPart]:
    """Return the partitions of a topic as the broker has them now; none where it has no such topic.

    Raises
    ------
    ServicesError
        If no broker is known, or it does not answer, or refuses.
    """
    names = broker.parts(topic)
    with ThreadPoolExecutor(min(8, len(names))) as pool:
        parts = list(pool.map(_part, names))
    return [part for part in parts if part is not None]


def _part(topic: str) -> TailPart | None:
    path = broker.rest_path(topic)
    last = broker.get_or_none(f"{path}/lastMessageId")
    stats = last and broker.get_or_none(f"{path}/internalStats")  # after it: it has that ledger
    if not stats:
        return None
    ledgers = {ledger["ledgerId"]: ledger["entries"] for ledger in stats["ledgers"]}
    if ledgers:
        newest = max(ledgers)
        ledgers[newest] = ledgers[newest] or stats["currentLedgerEntries"]
    mean = stats["totalSize"] // max(stats["numberOfEntries"], 1)
    end = (last["ledgerId"], last["entryId"], last.get("batchIndex", -1))
    return TailPart(topic, split_partition(topic)[1], dict(sorted(ledgers.items())), mean, end)


@dataclass(frozen=True)
class _Piece:
    """Entries that were read: which, the last message, and the bounds of their times in ms."""

    first: int
    last: tuple[int, int]  # entry, batch index
    rows: int
    bounds: tuple[tuple[int, int], tuple[int, int]]  # of _BY

    def may_hold(self, selection: Selection) -> bool:
        for by, start, stop in selection.bounds:
            least, most = self.bounds[_BY.index(by)]
            if (start is not None and most < start) or (stop is not None and least >= stop):
                return False
        return True

    def joined(self, other: _Piece) -> _Piece:
        pairs = zip(self.bounds, other.bounds, strict=True)
        publish, event = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)
        return _Piece(self.first, other.last, self.rows + other.rows, (publish, event))


@dataclass
class _Ledger:
    """What was met of one ledger: its pieces from its first entry on, without a hole."""

    pieces: list[_Piece] = field(default_factory=list)
    has_gaps: bool = False
    inference: Inference = field(default_factory=Inference)

    @property
    def next(self) -> int:
        """The first entry that was not read yet."""
        return self.pieces[-1].last[0] + 1 if self.pieces else 0


@dataclass(frozen=True)
class _Span:
    """From the first message of an entry to a message, both included."""

    start: tuple[int, int]
    stop: Position


@dataclass
class Tail:
    """Reads the newest messages of one topic; it remembers what they held, not them.

    Attributes
    ----------
    infers
        Whether fields are noted too, which `kinds` tells: no schema is known of the topic.
    """

    infers: bool = False
    _ledgers: dict[tuple[str, int], _Ledger] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def read(
        self,
        part: TailPart,
        archived: Container[int],
        selection: Selection,
        go_on: Callable[[], None],
    ) -> Iterator[list[Any]]:
        """Yield the messages of a partition that may be selected, some thousand at a time.

        Parameters
        ----------
        archived
            Ledgers that are not wanted.
        go_on
            Called often; what it raises ends the read.

        Raises
        ------
        ServicesError
            If no broker is known, or it does not answer.
        ReplayError
            If it refuses, or does not give what it says that it has, or had when it was asked.
        """
        spans = self._spans(part, archived, selection)
        if not spans:
            return
        queue = max(1, min(_QUEUE, _QUEUE_BYTES // max(part.entry_bytes, 1)))
        try:
            with broker.connect() as client:
                for span in spans:
                    yield from self._pieces(_messages(client, part, span, queue, go_on), part, span)
        except pulsar.PulsarException as err:
            raise ReplayError(
                f"the broker does not give {part.topic}: {err}", where=endpoints().broker
            ) from err
        _check_kept(part, spans)

    def passed_over(
        self, part: TailPart, archived: Container[int], go_on: Callable[[], None]
    ) -> Iterator[tuple[int, int]]:
        """Yield the entries (ledger, number) that no message ends with, after a look at all.

        Parameters and errors are those of `read`.
        """
        mine = {number: count for number, count in part.ledgers.items() if number not in archived}
        left = chunks.entries_of(mine, (0, 0), part.end[:2])
        for messages in self.read(part, archived, Selection(), go_on):
            for entry, _ in groupby(map(_entry, messages)):  # a batch is of one entry
                yield from takewhile(entry.__gt__, left)  # and `entry` itself is taken
        yield from left

    def kinds(
        self, part: TailPart, archived: Container[int], go_on: Callable[[], None]
    ) -> list[Inference]:
        """Return what the fields of JSON hold in each ledger, after a look at what is new."""
        nothing = Selection((("publish_time", 1, 0),))  # what was looked at before is left out
        with self._looking:  # else another one's pieces may lie across those noted here
            for _ in self.read(part, archived, nothing, go_on):
                pass
        with self._lock:
            return [
                self._ledgers[part.topic, ledger].inference
                for ledger in part.ledgers
                if ledger not in archived and (part.topic, ledger) in self._ledgers
            ]

    def _spans(self, part: TailPart, archived: Container[int], selection: Selection) -> list[_Span]:
        """Return what is to be read, in order."""
        with self._lock:
            self._forget(part, archived)
            whole = any(
                memory.has_gaps for (topic, _), memory in self._ledgers.items()
                if topic == part.topic
            )  # fmt: skip
            spans: list[_Span] = []
            goes_on = False
            for ledger, entries in part.ledgers.items():
                if ledger in archived or ledger > part.end[0] or part.end[1] < 0:
                    goes_on = False
                    continue
                last = (entries - 1, _ALL) if ledger < part.end[0] else part.end[1:]
                for first, stop, is_wanted in self._of_ledger(part, ledger, last, selection):
                    if not (is_wanted or whole):
                        goes_on = False
                        continue
                    start = spans.pop().start if goes_on else (ledger, first)
                    spans.append(_Span(start, (ledger, *stop)))
                    goes_on = True
        return spans

    def _of_ledger(
        self, part: TailPart, ledger: int, last: tuple[int, int], selection: Selection
    ) -> Iterator[tuple[int, tuple[int, int], bool]]:
        memory = self._ledgers.setdefault((part.topic, ledger), _Ledger())
        for piece in memory.pieces:
            yield piece.first, piece.last, piece.may_hold(selection)
        if memory.next <= last[0]:
            yield memory.next, last, True

    def _forget(self, part: TailPart, archived: Container[int]) -> None:
        gone = [
            (topic, ledger)
            for topic, ledger in self._ledgers
            if topic == part.topic and (ledger in archived or ledger not in part.ledgers)
        ]
        for place in gone:
            del self._ledgers[place]

    def _pieces(self, messages: Iterator[Any], part: TailPart, span: _Span) -> Iterator[list[Any]]:
        """Yield messages together, whole entries of one ledger, and take note of each piece."""
        piece: list[Any] = []
        place, size, first = (span.start[0], span.start[1] - 1), 0, span.start[1]
        for message in messages:
            now = _entry(message)
            if piece and now != place and self._is_full(part, now, place, piece, size):
                self._take_note(part, place[0], first, piece)
                yield piece
                piece, size = [], 0
            if not piece:
                first = place[1] + 1 if now[0] == place[0] else 0
            if now != place and now != _following(part, place):
                self._note_gap(part, now[0])
            piece.append(message)
            place, size = now, size + message._message.length()
        if piece:
            self._take_note(part, place[0], first, piece)
            yield piece

    def _is_full(
        self, part: TailPart, now: tuple[int, int], last: tuple[int, int], piece: list[Any],
        size: int,
    ) -> bool:  # fmt: skip
        if now[0] != last[0] or len(piece) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            return True
        memory = self._ledgers.get((part.topic, now[0]))
        return memory is not None and now[1] == memory.next  # from here on it is new

    def _note_gap(self, part: TailPart, ledger: int) -> None:
        with self._lock:
            self._ledgers.setdefault((part.topic, ledger), _Ledger()).has_gaps = True

    def _take_note(self, part: TailPart, ledger: int, first: int, piece: list[Any]) -> None:
        last = piece[-1].message_id()
        publish = [message.publish_timestamp() for message in piece]
        event = [event_ms(message) or when for message, when in zip(piece, publish, strict=True)]
        bounds = (min(publish), max(publish)), (min(event), max(event))
        new = _Piece(first, (last.entry_id(), last.batch_index()), len(piece), bounds)
        with self._lock:
            memory = self._ledgers.setdefault((part.topic, ledger), _Ledger())
            if memory.next != first:
                return  # it was read before, or something in front of it was not
            if self.infers:
                values = columns_of(piece, part.partition, ["version", "value"])
                memory.inference.look(encoded(values))
            if memory.pieces and memory.pieces[-1].rows + len(piece) <= _PIECE_ROWS:
                new = memory.pieces.pop().joined(new)
            memory.pieces.append(new)


def _following(part: TailPart, place: tuple[int, int]) -> tuple[int, int]:
    """Return the entry behind another one, in the next ledger if need be."""
    ledger, entry = place
    if entry + 1 < part.ledgers[ledger]:
        return ledger, entry + 1
    return next(((later, 0) for later in part.ledgers if later > ledger), (ledger, entry + 1))


def _check_kept(part: TailPart, spans: list[_Span]) -> None:
    """Refuse what the broker removed while it was read: it would pass over that in silence."""
    now = _part(part.topic)
    kept = now.ledgers if now else {}
    gone = [
        (ledger, count)
        for ledger, count in part.ledgers.items()
        if count and ledger not in kept
        and any(span.start[0] <= ledger <= span.stop[0] for span in spans)
    ]  # fmt: skip
    if gone:
        raise ReplayError(
            f"ledger {gone[0][0]} of {part.topic}, {gone[0][1]} entries, was removed from the "
            "broker while it was read: rows may be missing",
            where=endpoints().admin,
            hint="ask again for what is there now; a longer retention keeps what is not offloaded",
        )


def _entry(message: Any) -> tuple[int, int]:
    place = message.message_id()
    return place.ledger_id(), place.entry_id()


def _messages(
    client: pulsar.Client, part: TailPart, span: _Span, queue: int, go_on: Callable[[], None]
) -> Iterator[Any]:
    before = pulsar.MessageId(part.partition, span.start[0], span.start[1] - 1, -1)
    reader = client.create_reader(part.topic, before, receiver_queue_size=queue)
    try:
        place: Position = (*span.start, _NOTHING)
        while place < span.stop:
            message = _next(reader, part, place, span.stop, go_on)
            if message is None:
                return
            place = (*_entry(message), message.message_id().batch_index())
            if place > span.stop:
                return
            if place[:2] >= span.start:
                yield message
    finally:
        reader.close()


def _next(
    reader: pulsar.Reader,
    part: TailPart,
    place: Position,
    stop: Position,
    go_on: Callable[[], None],
) -> Any:
    """Return the next message; None: there is none up to `stop`."""
    ended = False
    for step in range(_WAIT_MS // _STEP_MS):
        go_on()
        try:
            return reader.read_next(timeout_millis=_STEP_MS)
        except pulsar.Timeout:
            broker.check_listens()
            if ended or (step == _ASKED_MS // _STEP_MS and not reader.has_message_available()):
                return None
            if step == _ASKED_MS // _STEP_MS:
                ended = _holds_no_more(part, place, stop, go_on)  # another step: it may be slow
    raise ReplayError(
        f"the broker gives nothing behind message {place[0]}:{place[1]} of {part.topic}, whose "
        f"last one is {part.end[0]}:{part.end[1]}: it is encrypted, or chunks of it are missing",
        where=endpoints().broker,
        hint="without --live what is offloaded is answered",
    )


def _holds_no_more(
    part: TailPart, place: Position, stop: Position, go_on: Callable[[], None]
) -> bool:
    """Return whether all behind a message, up to another, is chunks of messages without an end."""
    behind = place[0], place[1] + (place[2] != _NOTHING)
    return chunks.end_no_message(
        part.topic, chunks.entries_of(part.ledgers, behind, stop[:2]), go_on
    )


__all__ = ["Tail", "TailPart", "tail_parts"]
