"""An archive: everything Pulsar offloaded to one place."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.archive.access import Access
from workbench.archive.bucket import Bucket, open_bucket
from workbench.archive.catalogue import Catalogue, read_catalogue
from workbench.archive.facts import stored_facts
from workbench.archive.format.encryption import Decryption, FindKey
from workbench.archive.format.index import split_partition
from workbench.archive.generations import Life, lives
from workbench.archive.ledgers import Damage
from workbench.archive.storage.by_topic import summary
from workbench.archive.storage.ledger import Ledger
from workbench.archive.storage.small_reads import SmallReads
from workbench.archive.topic import Topic
from workbench.archive.values.custom import MakeDecoder, check_decoders
from workbench.archive.values.schemas import Schema, load_schemas, read_schemas
from workbench.cards import Card, HasCard
from workbench.errors import ArchiveError, ArchiveWarning, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


_TOPICS = [
    "topic", "partitions", "ledgers", "entries", "bytes", "first_created", "last_created",
]  # fmt: skip


@dataclass(repr=False)
class Archive(HasCard):
    """The topics of one bucket or folder; `open` makes it.

    Attributes
    ----------
    access
        Where the objects lie, and how they are read.
    catalogue
        Ledgers by topic, as listed when the archive was opened.
    schemas
        Versions by topic, from `schemas.json`.
    """

    access: Access
    catalogue: Catalogue
    schemas: dict[str, list[Schema]] = field(default_factory=dict)
    _lives: dict[str, list[Life]] = field(default_factory=dict, init=False, repr=False)

    @property
    def bucket(self) -> Bucket:
        """Where the objects lie."""
        return self.access.bucket

    @property
    def url(self) -> str:
        """What the archive was opened by."""
        return self.access.bucket.url

    def topics(self) -> pd.DataFrame:
        """Return one row per topic, partitions together, in the order of their names.

        Columns: topic, partitions (0: not partitioned), ledgers, entries, bytes (of the data
        objects), first_created and last_created (of the ledgers, UTC).
        """
        import pandas as pd

        self.access.check_complete()
        rows = []
        for name, partitions in sorted(self._partitions.items()):
            about = None if name in self.schemas else self.catalogue.ledgers.summary(partitions)
            if about is None:  # lives have to be told apart, ledger by ledger
                ledgers = self.lives(name)[-1].ledgers
                about, partitions = summary(ledgers), list({ledger.topic for ledger in ledgers})
            rows.append(
                {
                    "topic": name,
                    "partitions": len({split_partition(part)[1] for part in partitions} - {-1}),
                    "ledgers": about.ledgers,
                    "entries": about.entries,
                    "bytes": about.bytes,
                    "first_created": pd.Timestamp(about.first_ms, unit="ms", tz="UTC"),
                    "last_created": pd.Timestamp(about.last_ms, unit="ms", tz="UTC"),
                }
            )
        return pd.DataFrame(rows, columns=_TOPICS)

    def __repr__(self) -> str:
        return f"Archive({self.url!r})"

    def __getitem__(self, name: str) -> Topic:
        """Return a topic, as `topic` does: `archive["pumps"]`."""
        return self.topic(name)

    def _ipython_key_completions_(self) -> list[str]:
        return [name.rpartition("/")[2] for name in self.names()] + self.names()

    def card(self) -> Card:
        """Return what a notebook shows of it: where it is, and a row for each topic."""
        facts = {
            "topics": len(self.names()),
            "ledgers": sum(map(self.catalogue.ledgers.count, self.catalogue.ledgers)),
            "wrong": [stray.error.message for stray in self.catalogue.problems],
            "left over": len(self.catalogue.leftovers) or None,
        }
        lives = {name: self.lives(name) for name in self.names()}
        several = any(len(each) > 1 for each in lives.values())
        rows = [
            {
                "topic": name,
                **({"generations": len(each)} if several else {}),
                **stored_facts(each[-1].ledgers),
            }
            for name, each in lives.items()
        ]
        return Card("archive", self.url, facts, rows)

    def names(self) -> list[str]:
        """Return the full names of the topics, partitions together, sorted."""
        return sorted(self._partitions)

    @cached_property
    def _partitions(self) -> dict[str, list[str]]:
        """Name of each topic to those of its partitions, in their order."""
        parts: dict[str, list[tuple[int, str]]] = {}
        for topic in self.catalogue.ledgers:
            name, number = split_partition(topic)
            parts.setdefault(name, []).append((number, topic))
        return {name: [topic for _, topic in sorted(held)] for name, held in parts.items()}

    def topic(self, name: str, generation: int | None = None) -> Topic:
        """Return a topic by its full name, or by its last part where that is unambiguous.

        A name that ends in `-partition-N` is that partition alone.

        Parameters
        ----------
        generation
            From 1, the oldest, where ids and creation times of the ledgers, or the times of its
            schemas, say that a topic of this name lived more than once, or in several clusters;
            None: the newest of which there are ledgers, with an `ArchiveWarning` if there are
            others, or none of the newest. Where that cannot be told of a ledger, it warns too.

        Raises
        ------
        ArchiveError
            If there is none of that name, or several, or no such generation.
        """
        full = self.full_name(name)
        lives = self.lives(full)
        number = len(lives) if generation is None else generation
        if not 1 <= number <= len(lives):
            raise ArchiveError(
                f"{full} has no generation {number}", hint=f"it has 1 to {len(lives)}"
            )
        life = lives[number - 1]
        said = [_lives_text(full, lives)] if generation is None and len(lives) > 1 else []
        said += [_past_text(full)] if generation is None and life.is_past else []
        for text in said + list(life.doubts()):
            warnings.warn(text, ArchiveWarning, stacklevel=2)
        strays = [stray.error for stray in self.catalogue.problems if stray.may_be_of(full)]
        damage = Damage(self.access.skip_damaged, strays)
        topic = Topic(full, self.access, life.ledgers, life.versions, damage, self.access.misfits)
        topic.generation, topic.generations, topic.is_past = number, len(lives), life.is_past
        return topic

    def lives(self, name: str) -> list[Life]:
        """Return the lives of a topic, or of one partition, by its full name; oldest first.

        Those of a partition are the topic's, of which it has ledgers.
        """
        if name not in self._lives:
            whole = split_partition(name)[0]
            if name != whole and name in self.catalogue.ledgers:
                parts = [life.of_partition(name) for life in self.lives(whole)]
                self._lives[name] = [life for life in parts if life.ledgers]
            else:
                schemas = self.schemas.get(whole, [])
                self._lives[name] = lives(self._ledgers(name), schemas, self.access)
        return self._lives[name]

    def full_name(self, name: str) -> str:
        """Return the full name of a topic, or partition, as `topic` finds it.

        Raises
        ------
        ArchiveError
            If there is none of that name, or several.
        """
        full = set(self.names()) | set(self.catalogue.ledgers)
        if name in full:
            return name
        matches = sorted(topic for topic in full if _is_short(name, topic))
        if len(matches) > 1:
            raise ArchiveError(
                f"{name!r} is the name of {len(matches)} topics", hint=", ".join(matches)
            )
        if not matches:
            short = [topic.rpartition("/")[2] for topic in self.names()]
            near = self.names() if "://" in name else short
            raise ArchiveError(f"no topic {name!r}", where=self.url, hint=did_you_mean(name, near))
        return matches[0]

    def _ledgers(self, name: str) -> list[Ledger]:
        parts = self._partitions.get(name, [])
        return [ledger for topic in parts for ledger in self.catalogue.ledgers[topic]]


def _lives_text(topic: str, lives: list[Life]) -> str:
    spans = [stored_facts(life.ledgers) for life in lives]
    parts = "; ".join(
        f"{number}: {span['entries']} entries, {span['stored']}"
        for number, span in enumerate(spans, 1)
    )
    return (
        f"the ledgers of {topic} are of {len(lives)} generations (another life of the topic, or "
        f"another cluster), the newest is read: {parts}; topic(..., generation=1) reads the oldest"
    )


def _past_text(topic: str) -> str:
    return (
        f"nothing of the newest life of {topic} has been offloaded: it was made anew, and the "
        "ledgers of an earlier life are read, by the schemas of that one, or by their values"
    )


def _is_short(name: str, topic: str) -> bool:
    return topic.partition("://")[2].endswith(f"/{name}") or topic.partition("://")[2] == name


def open(  # noqa: A001 - as the public shape names it
    url: str,
    *,
    verify: bool = True,
    workers: int | None = None,
    processes: bool | None = None,
    skip_damaged: bool = False,
    misfits: str = "error",
    schemas: str | Mapping[str, Any] | None = None,
    decoders: Mapping[str, MakeDecoder] | None = None,
    keys: str | Path | FindKey | None = None,
    **storage_options: Any,
) -> Archive:
    """Return the archive at a folder, `s3://bucket[/prefix]` or any other fsspec URL.

    Parameters
    ----------
    verify
        Compare the checksum of every entry (a few hundredths of the time of a read).
    workers
        Threads that decompress and decode; None is one per core.
    processes
        Let as many processes do so, where `workers` are more than one: None from 256 MiB of objects
        on, read in this process, but not in a run's notebook, to whose memory they count; True at
        once (they start in two seconds and take 100 MiB each); False never. They are kept for later
        reads and end with this process. The rows are the same. Reads by `decoders` and compacted
        ones have none.
    skip_damaged
        Go on after damaged bytes; `Topic.damage.errors` lists them.
    misfits
        What a value that does not fit its schema is: `error`, or a row of nulls (`null`), noted
        in `Topic.damage.errors` too.
    schemas
        Path of a `schemas.json`, or its content; None is the one beside the objects.
    decoders
        Your own for values of other types: the name of a schema type (`PROTOBUF_NATIVE`) or a
        full topic name to what makes a decoder, as docs/archive-format.md shows.
    keys
        Private keys of encrypted messages: a folder with `NAME.pem` for the key NAME, or a call
        with a key's name and metadata that gives its PEM, None where there is none.
    storage_options
        For the file system. S3's endpoint and credentials come from the environment or the
        local services where they are not given.

    Raises
    ------
    ArchiveError
        If nothing offloaded is there, it cannot be listed, or a decoder is for nothing here.
    """
    bucket = open_bucket(url, **storage_options)
    reads = SmallReads(bucket)
    catalogue = read_catalogue(reads)
    versions = load_schemas(schemas) if schemas is not None else read_schemas(reads)
    reads.close()
    access = Access(
        bucket,
        verify=verify,
        workers=workers or len(os.sched_getaffinity(0)),
        processes=processes,
        skip_damaged=skip_damaged,
        misfits=misfits,
        decryption=None if keys is None else Decryption(keys),
        decoders=dict(decoders or {}),
        problems=tuple(catalogue.problems),
    )
    archive = Archive(access, catalogue, versions)
    check_decoders(access.decoders, archive.names())
    return archive
