"""Read everything of a topic and say what is wrong, without stopping at the first."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from workbench.archive import messages as msg
from workbench.archive.archive import Archive
from workbench.archive.bucket import Bucket
from workbench.archive.delivery import Delivery
from workbench.archive.format import entries as e
from workbench.archive.ledgers import (
    Damage,
    groups,
    read_entries,
    read_messages,
)
from workbench.archive.storage.ledger import Ledger
from workbench.archive.topic import Topic
from workbench.errors import ArchiveError, ArchiveWarning


@dataclass(frozen=True)
class Checked:
    """What the check of one topic found.

    Attributes
    ----------
    topic
        Its name, or the archive's URL for objects that belong to no topic one can name.
    ledgers, entries, messages, bytes
        What could be read.
    problems
        One text for each thing that is wrong.
    notes
        What is odd, but loses nothing.
    """

    topic: str
    ledgers: int
    entries: int
    messages: int
    bytes: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check(archive: Archive, names: list[str] | None = None) -> Iterator[Checked]:
    """Yield what is found in each topic of `names`, or in the archive as a whole."""
    for name in names or archive.names():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ArchiveWarning)  # said below, for each generation
            count = archive.topic(name).generations
        for generation in range(1, count + 1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ArchiveWarning)
                topic = archive.topic(name, generation)
            doubts = tuple(archive.lives(topic.name)[generation - 1].doubts())
            yield _check_topic(topic, doubts)
    catalogue = archive.catalogue
    if not names and (catalogue.problems or catalogue.leftovers):
        problems = tuple(str(stray.error) for stray in catalogue.problems)
        notes = tuple(str(error) for error in catalogue.leftovers)
        yield Checked(archive.url, 0, 0, 0, 0, problems, notes)


def _check_topic(topic: Topic, doubts: tuple[str, ...]) -> Checked:
    damage = topic.damage = Damage(skip=True)
    delivery = topic.delivery()
    bucket = topic.access.bucket
    count = messages = impossible = 0
    for entries in read_entries(bucket, topic.ledgers, verify=True, damage=damage):
        count += len(entries.heads)
        for group in groups(delivery.deliver(entries)):
            held = read_messages(group, damage)
            messages += held.table.shape[1]
            impossible += len(msg.impossible(held))
    for ledger in topic.ledgers:
        for other in ledger.attempts:
            _compare(bucket, ledger, other, damage)
    size = sum(ledger.bytes for ledger in topic.ledgers)
    problems = tuple(str(error) for error in damage.errors)
    counts = len(topic.ledgers), count, messages, size
    lives = [
        f"generation {topic.generation} of {topic.generations}: another life of the topic, or "
        "another cluster, left ledgers of this name"
    ]
    notes = [
        *(lives if topic.generations > 1 or topic.is_past else ()),
        *doubts,
        *_notes(topic.ledgers, delivery),
        *_time_notes(impossible),
    ]
    return Checked(topic.name, *counts, problems, tuple(notes))


def _time_notes(impossible: int) -> Iterator[str]:
    if impossible:
        yield (
            f"{impossible} messages have an event time that cannot be: negative, or from 2262 on "
            "(microseconds or nanoseconds sent as milliseconds?)"
        )


def _compare(bucket: Bucket, ledger: Ledger, other: Ledger, damage: Damage) -> None:
    """Report the first entry in which two complete attempts for one ledger differ."""
    pairs = zip_longest(_entry_bytes(bucket, ledger), _entry_bytes(bucket, other))
    for number, (mine, theirs) in enumerate(pairs):
        if mine != theirs:
            damage.report(
                ArchiveError(
                    f"entry {number} of ledger {ledger.id} differs between two attempts",
                    where=f"{ledger.key} and {other.key}",
                    hint="only the broker's metadata says which one counts",
                )
            )
            return


def _entry_bytes(bucket: Bucket, ledger: Ledger) -> Iterator[bytes]:
    damage = Damage(skip=True)
    for entries in read_entries(bucket, [ledger], verify=False, damage=damage):
        for head in entries.heads:
            yield entries.data[head[e.START] : head[e.END]].tobytes()


def _notes(ledgers: list[Ledger], delivery: Delivery) -> Iterator[str]:
    for ledger in ledgers:
        for other in ledger.attempts:
            which = f"{ledger.key} is read, not {other.key}"
            yield f"ledger {ledger.id} has two complete attempts: {which}"
    if delivery.undecided:
        yield f"{len(delivery.undecided)} entries of transactions whose end is not in the archive"
    if delivery.unfinished:
        yield f"{delivery.unfinished} chunked messages whose last chunk is not in the archive"
