"""An archive: everything Pulsar offloaded to one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.archive.catalogue import Catalogue, Ledger, read_catalogue, split_partition
from workbench.archive.reading import Damage
from workbench.archive.schemas import Schema, load_schemas, read_schemas
from workbench.archive.store import Store, open_store
from workbench.archive.topic import Topic
from workbench.cards import Card, Shown
from workbench.errors import ArchiveError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


_TOPICS = [
    "topic", "partitions", "ledgers", "entries", "bytes", "first_created", "last_created",
]  # fmt: skip


@dataclass(repr=False)
class Archive(Shown):
    """The topics of one bucket or folder; `open` makes it.

    Attributes
    ----------
    catalogue
        Ledgers by topic, as listed when the archive was opened.
    schemas
        Versions by topic, from `schemas.json`.
    verify
        Whether every entry's checksum is compared.
    workers
        Threads that decompress and decode.
    skip_damaged
        Whether to go on after damage; `Topic.damage` then lists what was skipped.
    misfits
        `error` or `null`, for values that do not fit their schema.
    """

    store: Store
    catalogue: Catalogue
    schemas: dict[str, list[Schema]] = field(default_factory=dict)
    verify: bool = True
    workers: int = 1
    skip_damaged: bool = False
    misfits: str = "error"

    def topics(self) -> pd.DataFrame:
        """Return one row per topic, partitions together, in the order of their names.

        Columns: topic, partitions (0: not partitioned), ledgers, entries, bytes (of the data
        objects), first_created and last_created (of the ledgers, UTC).
        """
        import pandas as pd

        self.check_complete()
        rows = []
        for name in self.names():
            ledgers = self._ledgers(name)
            created = [ledger.index.metadata.created_ms for ledger in ledgers]
            partitions = {split_partition(ledger.topic)[1] for ledger in ledgers} - {-1}
            rows.append(
                {
                    "topic": name,
                    "partitions": len(partitions),
                    "ledgers": len(ledgers),
                    "entries": sum(ledger.entries for ledger in ledgers),
                    "bytes": sum(ledger.index.data_bytes for ledger in ledgers),
                    "first_created": pd.Timestamp(min(created), unit="ms", tz="UTC"),
                    "last_created": pd.Timestamp(max(created), unit="ms", tz="UTC"),
                }
            )
        return pd.DataFrame(rows, columns=_TOPICS)

    def __repr__(self) -> str:
        return f"Archive({self.store.url!r})"

    def __getitem__(self, name: str) -> Topic:
        """Return a topic, as `topic` does: `archive["pumps"]`."""
        return self.topic(name)

    def _ipython_key_completions_(self) -> list[str]:
        return [name.rpartition("/")[2] for name in self.names()] + self.names()

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        from workbench.archive.showing import archive_card

        return archive_card(self)

    def names(self) -> list[str]:
        """Return the full names of the topics, partitions together, sorted."""
        return sorted({split_partition(topic)[0] for topic in self.catalogue.ledgers})

    def topic(self, name: str) -> Topic:
        """Return a topic by its full name, or by its last part where that is unambiguous.

        A name that ends in `-partition-N` is that partition alone.

        Raises
        ------
        ArchiveError
            If there is none of that name, or several.
        """
        known = set(self.names()) | set(self.catalogue.ledgers)
        found = [name] if name in known else sorted(x for x in known if _is_short(name, x))
        if len(found) > 1:
            raise ArchiveError(
                f"{name!r} is the name of {len(found)} topics", hint=", ".join(found)
            )
        if not found:
            short = [one.rpartition("/")[2] for one in self.names()]
            near = self.names() if "://" in name else short
            raise ArchiveError(
                f"no topic {name!r}", where=self.store.url, hint=did_you_mean(name, near)
            )
        # any of the objects that nobody can name may belong to it
        damage = Damage(self.skip_damaged, list(self.catalogue.problems))
        return Topic(found[0], self, self._ledgers(found[0]), damage, self.misfits)

    def _ledgers(self, name: str) -> list[Ledger]:
        if name in self.catalogue.ledgers and split_partition(name)[1] >= 0:
            return self.catalogue.ledgers[name]
        parts = [topic for topic in self.catalogue.ledgers if split_partition(topic)[0] == name]
        parts.sort(key=lambda topic: split_partition(topic)[1])
        return [ledger for topic in parts for ledger in self.catalogue.ledgers[topic]]

    def check_complete(self) -> None:
        """Raise if an object belongs to a topic that nobody can name: any may lack rows."""
        if self.catalogue.problems and not self.skip_damaged:
            raise self.catalogue.problems[0]


def _is_short(name: str, topic: str) -> bool:
    return topic.partition("://")[2].endswith(f"/{name}") or topic.partition("://")[2] == name


def open(  # noqa: A001 - as the public shape names it
    url: str,
    *,
    verify: bool = True,
    workers: int | None = None,
    skip_damaged: bool = False,
    misfits: str = "error",
    schemas: str | Mapping[str, Any] | None = None,
    **storage_options: Any,
) -> Archive:
    """Return the archive at a folder, `s3://bucket[/prefix]` or any other fsspec URL.

    Parameters
    ----------
    verify
        Compare the checksum of every entry (a few hundredths of the time of a read).
    workers
        Threads that decompress and decode; None is one per core.
    skip_damaged
        Go on after damaged bytes; `Topic.damage.found` lists them.
    misfits
        What a value that does not fit its schema is: `error`, or a row of nulls (`null`), noted
        in `Topic.damage.found` too.
    schemas
        Path of a `schemas.json`, or its content; None is the one beside the objects.
    storage_options
        For the file system. S3's endpoint and credentials come from the environment or the
        local services where they are not given.

    Raises
    ------
    ArchiveError
        If nothing offloaded is there, or it cannot be listed.
    """
    store = open_store(url, **storage_options)
    catalogue, keys = read_catalogue(store)
    count = workers or len(os.sched_getaffinity(0))
    known = load_schemas(schemas) if schemas is not None else read_schemas(store, keys)
    return Archive(store, catalogue, known, verify, count, skip_damaged, misfits)
