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
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.archive.format import mapfile
from workbench.archive.format.index import (
    Index,
    is_streamed,
    parse_index,
    split_partition,
    streamed_error,
    topic_name,
)
from workbench.archive.format.indexes import read_indexes
from workbench.archive.storage.by_topic import Columns, LedgersByTopic
from workbench.archive.storage.collector import paused
from workbench.archive.storage.ledger import Ledger
from workbench.archive.storage.listing import Item, Listing
from workbench.archive.storage.small_reads import SmallReads
from workbench.errors import ArchiveError

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_KEY = re.compile(rf"(?:.*/)?{_UUID}-ledger-(?P<id>[0-9]+)(?P<index>-index)?")
_STREAMED = re.compile(rf"(?:.*/)?{_UUID}-index")
_IDS = 1 << 63


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

    ledgers: LedgersByTopic
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
        kinds = _by_kind(reads.items)
    maps = [item for item in kinds.others if mapfile.KEY.fullmatch(item.key)]
    streamed = [item for item in kinds.others if _STREAMED.fullmatch(item.key)]
    streams = _read_streamed(reads, streamed)
    if not kinds.has_ledgers and not maps and not streams:
        raise ArchiveError(
            f"no offloaded ledger at {reads.bucket.url}",
            hint=f"found {len(reads.items)} objects, none named UUID-ledger-ID",
        )
    columns, ledgers, broken = _read_indexes(reads, kinds)
    of_maps, broken_maps = _read_maps(reads, maps)
    no_index = [Stray(_no_index(item), _ledger_id(item.key), loses=False) for item in kinds.alone]
    with paused():
        catalogue = _choose(columns, ledgers + of_maps)
    _divide(catalogue, _with_topics(reads, [*broken, *broken_maps, *no_index, *streams]))
    for ledger, neighbour in misnamed(catalogue.ledgers):
        _judge(reads, catalogue, ledger, neighbour)
    return catalogue


@dataclass(frozen=True)
class _Kinds:
    """What the objects of a listing are by their keys.

    Attributes
    ----------
    ids
        Ledgers of the index objects, as their keys say; in the order of keys, as all here.
    indexes, data
        Places of the index objects in the listing, and of their data objects; -1 for none.
    alone
        Data objects without an index.
    others
        Objects of another name.
    """

    ids: list[int]
    indexes: list[int]
    data: list[int]
    alone: list[Item]
    others: list[Item]

    @property
    def has_ledgers(self) -> bool:
        return bool(self.indexes or self.alone)


def _by_kind(listing: Listing) -> _Kinds:
    parts = pc.extract_regex(_texts(listing.keys), f"^{_KEY.pattern}$")
    is_ledger = parts.is_valid().to_numpy(zero_copy_only=False)
    is_index = pc.binary_length(parts.field("index")).fill_null(0).to_numpy() > 0
    indexes = np.flatnonzero(is_ledger & is_index).tolist()
    ids = [int(text) for text in parts.field("id").take(pa.array(indexes, pa.int64())).to_pylist()]
    data = [listing.places.get(listing.keys[place].removesuffix("-index"), -1) for place in indexes]
    is_alone = is_ledger & ~is_index
    is_alone[[place for place in data if place >= 0]] = False
    alone, others = (np.flatnonzero(each).tolist() for each in (is_alone, ~is_ledger))
    return _Kinds(ids, indexes, data, listing.items(alone), listing.items(others))


def _texts(keys: list[str]) -> pa.StringArray:
    try:
        return pa.array(keys, pa.string())
    except UnicodeEncodeError:  # a folder's name that is no UTF-8
        return pa.array([key.encode(errors="replace").decode() for key in keys], pa.string())


def _with_topics(reads: SmallReads, strays: list[Stray]) -> list[Stray]:
    """Return the strays with the topics that the objects' user metadata name, if any."""
    nameless = [stray for stray in strays if stray.topic is None]
    topics = iter(_topics_of(reads, [stray.error.where or "" for stray in nameless]))
    return [
        stray if stray.topic is not None else replace(stray, topic=next(topics)) for stray in strays
    ]


def _topics_of(reads: SmallReads, places: list[str]) -> list[str | None]:
    """Return the topic that the user metadata of each object names, None where it names none."""
    items = [reads.items.get(place.partition(" at byte ")[0]) for place in places]
    names = reads.contents([item for item in items if item], "topic", reads.named_topic)
    return [_named_topic(next(names)) if item else None for item in items]


def _named_topic(name: bytes | ArchiveError) -> str | None:
    try:
        return topic_name(name) if isinstance(name, bytes) and name else None
    except ArchiveError:
        return None


def misnamed(ledgers: LedgersByTopic) -> Iterator[tuple[Ledger, str]]:
    """Yield ledgers whose index may name the wrong topic (it has no checksum), and the right one.

    The only ledger of its topic, between two of another one, whose name has another letter or two
    in the same places: a damaged byte does that, and topics that differ in a number do not.
    """
    if all(ledgers.count(topic) > 1 for topic in ledgers):
        return
    ordered = ledgers.in_order()
    for (_, before), (_, topic), (_, after) in zip(ordered, ordered[1:], ordered[2:], strict=False):
        is_between = before == after and ledgers.count(topic) == 1
        if is_between and _differ_in_a_letter(topic, before):
            yield ledgers[topic][0], before


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


def _read_indexes(reads: SmallReads, kinds: _Kinds) -> tuple[Columns, list[Ledger], list[Stray]]:
    """Return the ledgers whose indexes are as brokers write them, the others, and what is none."""
    possible = [row for row, number in enumerate(kinds.ids) if number < _IDS]
    contents, errors = reads.joined([kinds.indexes[row] for row in possible])
    with paused():
        indexes = read_indexes(contents)
        plain = np.flatnonzero(indexes.topic >= 0)
        rows = [possible[i] for i in plain.tolist()]
        ints = [kinds.ids, kinds.indexes, kinds.data]
        columns = [np.array([each[row] for row in rows], np.int64) for each in ints]
        said: dict[int, bytes | ArchiveError] = {
            row: _wrong_id(number, reads.items.keys[kinds.indexes[row]])
            for row, number in enumerate(kinds.ids)
            if number >= _IDS
        }
        for i in np.flatnonzero(indexes.topic < 0).tolist():
            said[possible[i]] = errors[i] if i in errors else contents[i].as_py()
        return Columns(reads.items, indexes, plain, *columns), *_parse(reads.items, kinds, said)


def _parse(
    listing: Listing, kinds: _Kinds, contents: dict[int, bytes | ArchiveError]
) -> tuple[list[Ledger], list[Stray]]:
    """Return the ledgers of indexes that are read one by one, by their rows, and what is none."""
    ledgers: list[Ledger] = []
    broken: list[Stray] = []
    for row, content in sorted(contents.items(), key=itemgetter(0)):
        number, key, place = kinds.ids[row], listing.keys[kinds.indexes[row]], kinds.data[row]
        try:
            index = parse_index(_content(content), key=key)
        except ArchiveError as err:
            broken.append(Stray(err, number))
            continue
        item = listing.item(place) if place >= 0 else Item(key.removesuffix("-index"), -1, "")
        ledgers.append(_ledger(number, item, key, index))
    return ledgers, broken


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


def _choose(columns: Columns, ledgers: list[Ledger]) -> Catalogue:
    rows = columns.by_topic()
    by_topic: dict[str, list[Ledger]] = defaultdict(list)
    for ledger in ledgers:
        by_topic[ledger.topic].append(ledger)
    for topic in [x for x in rows if x in by_topic or not columns.is_plain(rows[x])]:
        by_topic[topic] += map(columns.ledger, rows.pop(topic).tolist())
        by_topic[topic].sort(key=lambda ledger: (ledger.is_mapfile, ledger.index_key))
    made: dict[str, list[Ledger]] = {}
    leftovers: list[ArchiveError] = []
    for topic, written in sorted(by_topic.items()):
        made[topic], cut = _settled(written)
        leftovers += map(_incomplete, cut)
    return Catalogue(LedgersByTopic(columns, rows, made), leftovers=leftovers)


def _divide(catalogue: Catalogue, strays: list[Stray]) -> None:
    """Tell what failed attempts left beside a complete one from what a topic may lack.

    A cluster gives an id once. Where two topics have one, the bucket is of several clusters, and
    what names no topic may be of the other.
    """
    topics = catalogue.ledgers.owners({stray.ledger_id for stray in strays})
    is_shared = bool(strays) and catalogue.ledgers.shares_ids()
    for stray in strays:
        owners = topics.get(stray.ledger_id, set())
        if stray.topic in owners or (stray.topic is None and owners and not is_shared):
            catalogue.leftovers.append(stray.error)
        else:
            catalogue.problems.append(stray)


def _settled(written: list[Ledger]) -> tuple[list[Ledger], list[Ledger]]:
    """Return the ledgers of a topic, ascending, and attempts that are cut beside a complete one."""
    kept, left = [], []
    for attempts in _by_ledger(written):
        complete = [ledger for ledger in attempts if ledger.bytes == ledger.index.data_bytes]
        if complete:
            left += [x for x in attempts if x.bytes != x.index.data_bytes]
        chosen, *others = complete or attempts
        kept.append(replace(chosen, attempts=tuple(others)) if complete and others else chosen)
    whole = {ledger.id for ledger in kept if ledger.bytes == ledger.index.data_bytes}
    cut = [x for x in kept if x.id in whole and x.bytes != x.index.data_bytes]
    return [ledger for ledger in kept if ledger not in cut] if cut else kept, left + cut


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
