"""Messages in chunks that have no end: Pulsar's client waits for one, the broker tells what it has.

A producer that died amid such a message leaves chunks that are none; so they are to the archive's
reader. Which chunk an entry is the REST API says, an entry at a time.

Source: apache/pulsar 4.0.8, PersistentTopicsBase.generateResponseWithEntry; the names of the
headers are those of TopicsImpl.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from workbench import broker

_UUID, _NUMBER, _COUNT = (
    f"X-Pulsar-{name}" for name in ("uuid", "chunk-id", "num-chunks-from-msg")
)


@dataclass(frozen=True)
class Chunk:
    """A part of a message: of which, by the name that its producer gave it, and which of how many.

    `number` counts from 0.
    """

    uuid: str
    number: int
    count: int

    @property
    def is_last(self) -> bool:
        """Whether the message ends with it."""
        return self.number >= self.count - 1


def chunk_at(topic: str, ledger: int, entry: int) -> Chunk | None:
    """Return which chunk of a message an entry of the broker's is; None: it is none.

    Raises
    ------
    ServicesError
        If the broker does not answer, or does not have the entry.
    """
    path = f"{broker.rest_path(topic)}/ledger/{ledger}/entry/{entry}"
    with broker.admin("GET", path, stream=True) as answer:  # a chunk may be of 5 MiB
        broker.check(answer)
        facts = answer.headers
    if _NUMBER not in facts or int(facts.get(_COUNT, 1)) < 2:
        return None
    return Chunk(facts.get(_UUID, ""), int(facts[_NUMBER]), int(facts[_COUNT]))


def entries_of(
    ledgers: Mapping[int, int], first: tuple[int, int], last: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield the entries of ledgers from one to another, both included."""
    for ledger, count in ledgers.items():
        begin = first[1] if ledger == first[0] else 0
        end = min(count, last[1] + 1) if ledger == last[0] else count
        if first[0] <= ledger <= last[0]:
            yield from ((ledger, number) for number in range(begin, end))


def end_no_message(
    topic: str, places: Iterable[tuple[int, int]], go_on: Callable[[], None]
) -> bool:
    """Return whether there are entries, and all are chunks with which no message ends.

    Raises
    ------
    ServicesError
        As `chunk_at`.
    """
    chunk = None
    for place in places:
        go_on()
        chunk = chunk_at(topic, *place)
        if chunk is None or chunk.is_last:
            return False
    return chunk is not None


def end_one_of(
    topic: str,
    places: Iterable[tuple[int, int]],
    uuids: Collection[bytes],
    go_on: Callable[[], None],
) -> bool:
    """Return whether one of some messages in chunks may end with an entry.

    Parameters
    ----------
    uuids
        Of the messages, as their producers named them; a header holds no other letters than
        ASCII's, so of others it is not known.

    Raises
    ------
    ServicesError
        As `chunk_at`.
    """
    if not all(uuid.isascii() for uuid in uuids):
        return True
    names = {uuid.decode("ascii") for uuid in uuids}
    for place in places:
        go_on()
        chunk = chunk_at(topic, *place)
        if chunk is not None and chunk.is_last and chunk.uuid in names:
            return True
    return False


__all__ = ["Chunk", "chunk_at", "end_no_message", "end_one_of", "entries_of"]
