"""Which ledgers an archive holds, from the keys and the small index objects alone.

One ledger is two objects, `{uuid}-ledger-{id}` and the same with `-index`; the uuid is new for
every attempt to offload. Which attempt counts stands in the broker's metadata, not here: a
complete one (the object is as long as its index says) is taken. Objects of one id whose ledgers
are not the same are no attempts, but of another life of the topic (`generations`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from workbench.archive.bucket import Item
from workbench.archive.format import mapfile
from workbench.archive.format.index import (
    Index,
    is_streamed,
    parse_index,
    split_partition,
    streamed_error,
    topic_name,
)
from workbench.archive.format.indexes import parse_indexes
from workbench.archive.storage.collector import paused
from workbench.archive.storage.small_reads import SmallReads
from workbench.errors import ArchiveError

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_KEY = re.compile(rf"(?:.*/)?{_UUID}-ledger-(?P<id>\d+)(?P<index>-index)?")
_STREAMED = re.compile(rf"(?:.*/)?{_UUID}-index")
_IDS = 1 << 63
_RUN = 20_000  # index objects that are parsed together


@dataclass(frozen=True, slots=True)
class Ledger:
    """One offloaded ledger.

    Attributes
    ----------
    id
        Of the ledger; ids ascend in the order of the topic's messages.
    key, etag, bytes
        Of the data object; `bytes` is what it has, not what it should have.
    index_key
        Key of the index object.
    attempts
        Other complete attempts to offload the same ledger.
    written_ms
        When the data object was written, epoch ms; 0: not known.
    """

    id: int
    key: str
    index_key: str
    etag: str
    bytes: int
    index: Index
    attempts: tuple[Ledger, ...] = ()
    written_ms: int = 0

    @property
    def topic(self) -> str:
        """`persistent://tenant/namespace/name`, partition included."""
        return self.index.metadata.topic

    @property
    def is_mapfile(self) -> bool:
        """Whether it is a Hadoop MapFile: no blocks, and no bytes that can be read by position."""
        return not self.index.blocks

    @property
    def entries(self) -> int:
        """How many entries the ledger has."""
        return self.index.metadata.last_entry + 1

    def check_size(self) -> None:
        """Raise unless the data object is there and as long as the index says."""
        if self.bytes < 0:
            raise ArchiveError(
                f"the data object of ledger {self.id} is missing, "
                f"expected {self.index.data_bytes} bytes",
                where=self.key,
            )
        if self.bytes != self.index.data_bytes:
            raise ArchiveError(
                f"the object has {self.bytes} bytes, expected {self.index.data_bytes}",
                where=f"{self.key} at byte {min(self.bytes, self.index.data_bytes)}",
                hint=f"ledger {self.id} of {self.topic}: truncated, or offloaded only in part",
            )


@dataclass(frozen=True)
class Stray:
    """An object of which no ledger can be read.

    Attributes
    ----------
    error
        What is wrong with it.
    ledger_id
        As its key says; -1 where it says none.
    topic
        Whose it is, as its user metadata says (or its folder); None: any topic's.
    loses
        Whether rows are surely lost. They are not by a data object without an index: the broker
        has its ledger still, or has offloaded it again.
    """

    error: ArchiveError
    ledger_id: int = -1
    topic: str | None = None
    loses: bool = True

    def may_be_of(self, topic: str) -> bool:
        """Return whether it may be the topic's, or one of its partitions'."""
        return self.topic is None or topic in (self.topic, split_partition(self.topic)[0])


@dataclass
class Catalogue:
    """The ledgers of every topic in the broker's order, and what is wrong.

    Attributes
    ----------
    ledgers
        Full topic name, partition included, to its ledgers, ascending.
    problems
        Objects of which no ledger can be read: a topic that may be theirs may lack rows.
    leftovers
        Objects of failed attempts beside a complete one: nothing is lost.
    """

    ledgers: dict[str, list[Ledger]] = field(default_factory=dict)
    problems: list[Stray] = field(default_factory=list)
    leftovers: list[ArchiveError] = field(default_factory=list)


def read_catalogue(reads: SmallReads) -> Catalogue:
    """Return what the bucket of `reads` holds.

    Costs a read of every index object (about 200 bytes each) that is not kept yet.

    Raises
    ------
    ArchiveError
        If the bucket holds no offloaded ledger.
    """
    with paused():
        data, indexes, others = _by_kind(reads.items)
    maps = [item for item in others if mapfile.KEY.fullmatch(item.key)]
    streamed = _read_streamed(reads, [item for item in others if _STREAMED.fullmatch(item.key)])
    if not data and not indexes and not maps and not streamed:
        raise ArchiveError(
            f"no offloaded ledger at {reads.bucket.url}",
            hint=f"found {len(reads.items)} objects, none named UUID-ledger-ID",
        )
    ledgers, broken = _read_indexes(reads, indexes, data)
    of_maps, broken_maps = _read_maps(reads, maps)
    indexed = {item.key.removesuffix("-index") for item, _ in indexes}
    alone = [item for item in data.values() if item.key not in indexed]
    no_index = [Stray(_no_index(item), _ledger_id(item.key), loses=False) for item in alone]
    with paused():
        catalogue = _choose(ledgers + of_maps, [*broken, *broken_maps, *no_index, *streamed])
    catalogue.problems = _with_topics(reads, catalogue.problems)
    for ledger, neighbour in misnamed(catalogue.ledgers):
        _judge(reads, catalogue, ledger, neighbour)
    return catalogue


def _by_kind(items: list[Item]) -> tuple[dict[str, Item], list[tuple[Item, int]], list[Item]]:
    """Return data objects by key, index objects with their ledgers' ids, and the others."""
    data, indexes, others = {}, [], []
    for item in items:
        match = _KEY.fullmatch(item.key)
        if match is None:
            others.append(item)
        elif match["index"]:
            indexes.append((item, int(match["id"])))
        else:
            data[item.key] = item
    return data, indexes, others


def _with_topics(reads: SmallReads, strays: list[Stray]) -> list[Stray]:
    """Return the strays with the topics that the objects' user metadata name, if any."""
    nameless = [stray for stray in strays if stray.topic is None]
    topics = iter(_topics_of(reads, [stray.error.where or "" for stray in nameless]))
    return [
        stray if stray.topic is not None else replace(stray, topic=next(topics)) for stray in strays
    ]


def _topics_of(reads: SmallReads, places: list[str]) -> list[str | None]:
    """Return the topic that the user metadata of each object names, None where it names none."""
    items = [reads.by_key.get(place.partition(" at byte ")[0]) for place in places]
    names = reads.contents([item for item in items if item], "topic", reads.named_topic)
    return [_named_topic(next(names)) if item else None for item in items]


def _named_topic(name: bytes | ArchiveError) -> str | None:
    try:
        return topic_name(name) if isinstance(name, bytes) and name else None
    except ArchiveError:
        return None


def misnamed(ledgers: dict[str, list[Ledger]]) -> Iterator[tuple[Ledger, str]]:
    """Yield ledgers whose index may name the wrong topic (it has no checksum), and the right one.

    The only ledger of its topic, between two of another one, whose name has another letter or two
    in the same places: a damaged byte does that, and topics that differ in a number do not.
    """
    if all(len(kept) > 1 for kept in ledgers.values()):
        return
    ordered = sorted((x for kept in ledgers.values() for x in kept), key=lambda x: x.id)
    for before, ledger, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
        is_between = len(ledgers[ledger.topic]) == 1 and before.topic == after.topic
        if is_between and _differ_in_a_letter(ledger.topic, before.topic):
            yield ledger, before.topic


def _differ_in_a_letter(name: str, other: str) -> bool:
    """Return whether names of one length differ in one or two places, and not in digits alone."""
    places = [pair for pair in zip(name, other, strict=False) if pair[0] != pair[1]]
    is_number = all("".join(pair).isdigit() for pair in places)
    return len(name) == len(other) and 1 <= len(places) <= 2 and not is_number


def _judge(reads: SmallReads, catalogue: Catalogue, ledger: Ledger, neighbour: str) -> None:
    """Compare the topic in an index with that in the object's metadata, where there is any."""
    (in_metadata,) = _topics_of(reads, [ledger.index_key])
    if in_metadata == ledger.topic:
        return
    text = f"the index of ledger {ledger.id} names {ledger.topic}, "
    if in_metadata is None:
        text += f"the ledgers before and behind are of {neighbour}: a damaged name?"
    else:
        text += f"the object's metadata {in_metadata}"
        del catalogue.ledgers[ledger.topic]
    error = ArchiveError(text, where=ledger.index_key)
    catalogue.problems.append(
        Stray(error, ledger.id, in_metadata or neighbour, in_metadata is not None)
    )


def _read_streamed(reads: SmallReads, items: list[Item]) -> list[Stray]:
    """Return what is wrong with the objects of the streaming layout: that they are not read."""
    heads = reads.contents(items, "head", lambda item: reads.bucket.read(item.key, 0, 4))
    strays = []
    for item, head in zip(items, heads, strict=True):
        if isinstance(head, ArchiveError):
            raise head
        if is_streamed(head):
            strays.append(Stray(streamed_error(item.key)))
    return strays


def _ledger_id(key: str) -> int:
    match = _KEY.fullmatch(key) or mapfile.KEY.fullmatch(key)
    return int(match["id"]) if match else -1


def _no_index(item: Item) -> ArchiveError:
    return ArchiveError(
        f"the data object of ledger {_ledger_id(item.key)} has no index: "
        "its upload is running, or failed",
        where=item.key,
    )


def _read_indexes(
    reads: SmallReads, numbered: list[tuple[Item, int]], data: dict[str, Item]
) -> tuple[list[Ledger], list[Stray]]:
    ledgers: list[Ledger] = []
    broken: list[Stray] = []
    for start in range(0, len(numbered), _RUN):
        run = numbered[start : start + _RUN]
        contents = _contents(run, reads.whole)
        with paused():
            _parse(run, contents, data, ledgers, broken)
    return ledgers, broken


def _parse(
    run: list[tuple[Item, int]],
    contents: list[bytes | ArchiveError],
    data: dict[str, Item],
    ledgers: list[Ledger],
    broken: list[Stray],
) -> None:
    indexes = parse_indexes([x if isinstance(x, bytes) else b"" for x in contents])
    for (item, number), content, parsed in zip(run, contents, indexes, strict=True):
        try:
            index = parsed or parse_index(_content(content), key=item.key)
        except ArchiveError as err:
            broken.append(Stray(err, number))
            continue
        key = item.key.removesuffix("-index")
        ledgers.append(_ledger(number, data.get(key) or Item(key, -1, ""), item.key, index))


def _read_maps(reads: SmallReads, items: list[Item]) -> tuple[list[Ledger], list[Stray]]:
    ledgers, broken = [], []

    def record(item: Item) -> bytes:
        return mapfile.read_metadata(reads.bucket, item.key, item.bytes)

    numbered = [(item, _ledger_id(item.key)) for item in items]
    contents = _contents(numbered, lambda some: reads.contents(some, "record", record))
    for (item, number), content in zip(numbered, contents, strict=True):
        try:
            index = mapfile.parse_record(_content(content), key=item.key, size=item.bytes)
            ledgers.append(_ledger(number, item, item.key, index))
        except ArchiveError as err:
            broken.append(Stray(err, number, mapfile.topic_of(item.key)))
    return ledgers, broken


def _contents(
    numbered: list[tuple[Item, int]],
    read: Callable[[list[Item]], Iterator[bytes | ArchiveError]],
) -> list[bytes | ArchiveError]:
    """Return what `read` gives of each item; those with impossible ids are not read."""
    contents = read([item for item, number in numbered if number < _IDS])
    return [
        next(contents) if number < _IDS else _wrong_id(number, item.key)
        for item, number in numbered
    ]


def _content(content: bytes | ArchiveError) -> bytes:
    if isinstance(content, ArchiveError):
        raise content
    return content


def _ledger(number: int, data: Item, index_key: str, index: Index) -> Ledger:
    return Ledger(
        number, data.key, index_key, data.etag, data.bytes, index, written_ms=data.written_ms
    )


def _wrong_id(number: int, key: str) -> ArchiveError:
    return ArchiveError(f"the key names ledger {number}, ids have 63 bits", where=key)


def _choose(ledgers: list[Ledger], broken: list[Stray]) -> Catalogue:
    catalogue = Catalogue()
    complete_ids: set[int] = set()
    by_topic: dict[str, list[Ledger]] = defaultdict(list)
    for ledger in ledgers:
        by_topic[ledger.topic].append(ledger)
    for topic, written in sorted(by_topic.items()):
        kept = []
        for attempts in _by_ledger(written):
            complete = [ledger for ledger in attempts if ledger.bytes == ledger.index.data_bytes]
            if complete:
                cut = [x for x in attempts if x.bytes != x.index.data_bytes]
                catalogue.leftovers += map(_incomplete, cut)
            chosen, *others = complete or attempts
            kept.append(replace(chosen, attempts=tuple(others)) if complete and others else chosen)
        whole = {ledger.id for ledger in kept if ledger.bytes == ledger.index.data_bytes}
        complete_ids |= whole
        cut = [x for x in kept if x.id in whole and x.bytes != x.index.data_bytes]
        catalogue.leftovers += map(_incomplete, cut)
        catalogue.ledgers[topic] = [ledger for ledger in kept if ledger not in cut] if cut else kept
    for stray in broken:
        if stray.ledger_id in complete_ids:
            catalogue.leftovers.append(stray.error)
        else:
            catalogue.problems.append(stray)
    return catalogue


def _by_ledger(ledgers: list[Ledger]) -> list[list[Ledger]]:
    """Return the attempts at each ledger, by its id; attempts at one have equal metadata."""
    attempts: dict[tuple[int, ...], list[Ledger]] = defaultdict(list)
    for ledger in ledgers:
        about = ledger.index.metadata
        attempts[ledger.id, about.created_ms, about.last_entry, about.entry_bytes].append(ledger)
    return [attempts[same] for same in sorted(attempts)]


def _incomplete(ledger: Ledger) -> ArchiveError:
    try:
        ledger.check_size()
    except ArchiveError as err:
        return err
    raise AssertionError(ledger.key)
