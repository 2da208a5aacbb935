"""Read everything of a topic and say what is wrong, without stopping at the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from workbench.archive import entries as e
from workbench.archive.catalogue import Ledger
from workbench.archive.delivery import Delivery
from workbench.archive.reading import Damage, groups, read_entries, read_messages
from workbench.errors import ArchiveError

if TYPE_CHECKING:
    from workbench.archive.archive import Archive
    from workbench.archive.topic import Topic


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
        yield _check_topic(archive, archive.topic(name))
    catalogue = archive.catalogue
    if not names and (catalogue.problems or catalogue.leftovers):
        problems = tuple(str(error) for error in catalogue.problems)
        notes = tuple(str(error) for error in catalogue.leftovers)
        yield Checked(archive.store.url, 0, 0, 0, 0, problems, notes)


def _check_topic(archive: Archive, topic: Topic) -> Checked:
    damage = topic.damage = Damage(skip=True)
    delivery = topic.delivery()
    entries = messages = 0
    for found in read_entries(archive.store, topic.ledgers, verify=True, damage=damage):
        entries += len(found.rows)
        for group in groups(delivery.deliver(found)):
            messages += read_messages(group, damage).table.shape[1]
    for ledger in topic.ledgers:
        for other in ledger.attempts:
            _compare(archive, ledger, other, damage)
    size = sum(ledger.bytes for ledger in topic.ledgers)
    problems = tuple(str(error) for error in damage.found)
    counts = len(topic.ledgers), entries, messages, size
    return Checked(topic.name, *counts, problems, tuple(_notes(topic.ledgers, delivery)))


def _compare(archive: Archive, ledger: Ledger, other: Ledger, damage: Damage) -> None:
    """Report the first entry in which two complete attempts for one ledger differ."""
    pairs = zip_longest(*(_entry_bytes(archive, one) for one in (ledger, other)))
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


def _entry_bytes(archive: Archive, ledger: Ledger) -> Iterator[bytes]:
    damage = Damage(skip=True)
    for found in read_entries(archive.store, [ledger], verify=False, damage=damage):
        for row in found.rows:
            yield found.data[row[e.START] : row[e.END]].tobytes()


def _notes(ledgers: list[Ledger], delivery: Delivery) -> Iterator[str]:
    for ledger in ledgers:
        for other in ledger.attempts:
            which = f"{ledger.key} is read, not {other.key}"
            yield f"ledger {ledger.id} has two complete attempts: {which}"
    if delivery.undecided:
        yield f"{len(delivery.undecided)} entries of transactions whose end is not in the archive"
    if delivery.unfinished:
        yield f"{delivery.unfinished} chunked messages whose last chunk is not in the archive"
