"""Which ledgers an archive holds, from the keys and the small index objects alone.

One ledger is two objects, `{uuid}-ledger-{id}` and the same with `-index`; the uuid is new for
every attempt to offload. Which attempt counts stands in the broker's metadata, not here: a
complete one (the object is as long as its index says) is taken.
"""

from __future__ import annotations

import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from workbench.archive import mapfile
from workbench.archive.index import Index, is_streamed, parse_index, streamed_error
from workbench.archive.store import Item, Store
from workbench.errors import ArchiveError

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DATA = re.compile(rf"(?:.*/)?({_UUID})-ledger-(\d+)")
_STREAMED = re.compile(rf"(?:.*/)?{_UUID}-index")
_PARTITION = re.compile(r"(.+)-partition-(\d+)")


@dataclass(frozen=True)
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
    """

    id: int
    key: str
    index_key: str
    etag: str
    bytes: int
    index: Index
    attempts: tuple[Ledger, ...] = ()

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


@dataclass
class Catalogue:
    """The ledgers of every topic in the broker's order, and what is wrong.

    Attributes
    ----------
    ledgers
        Full topic name, partition included, to its ledgers, ascending.
    problems
        Objects that belong to a topic that nobody can name: no read is surely complete.
    leftovers
        Objects of failed attempts beside a complete one: nothing is lost.
    """

    ledgers: dict[str, list[Ledger]] = field(default_factory=dict)
    problems: list[ArchiveError] = field(default_factory=list)
    leftovers: list[ArchiveError] = field(default_factory=list)


def read_catalogue(store: Store) -> tuple[Catalogue, set[str]]:
    """Return what `store` holds, and the keys of all its objects.

    Costs one listing and a read of every index object (about 200 bytes each).

    Raises
    ------
    ArchiveError
        If the root is not there, cannot be listed, or holds no offloaded ledger.
    """
    items = store.list()
    data = {item.key: item for item in items if _DATA.fullmatch(item.key)}
    indexes = [item for item in items if _DATA.fullmatch(item.key.removesuffix("-index"))]
    indexes = [item for item in indexes if item.key.endswith("-index")]
    maps = [item for item in items if mapfile.KEY.fullmatch(item.key)]
    streamed = _read_streamed(store, [item for item in items if _STREAMED.fullmatch(item.key)])
    if not data and not indexes and not maps and not streamed:
        raise ArchiveError(
            f"no offloaded ledger at {store.url}",
            hint=f"found {len(items)} objects, none named UUID-ledger-ID",
        )
    ledgers, broken = _read_indexes(store, indexes, data)
    for item in maps:
        number = int(mapfile.KEY.fullmatch(item.key)[1])  # type: ignore[index] # matched above
        try:
            index = mapfile.read_index(store, item.key, item.bytes)
        except ArchiveError as err:
            broken.append((number, err))
        else:
            ledgers.append(Ledger(number, item.key, item.key, item.etag, item.bytes, index))
    indexed = {item.key.removesuffix("-index") for item in indexes}
    for item in data.values():
        if item.key not in indexed:
            broken.append((_ledger_id(item.key), _no_index(item)))
    return _choose(ledgers, broken + streamed), {item.key for item in items}


def _read_streamed(store: Store, items: list[Item]) -> list[tuple[int, ArchiveError]]:
    """Return what is wrong with the objects of the streaming layout: that they are not read."""
    return [
        (-1, streamed_error(item.key)) for item in items if is_streamed(store.read(item.key, 0, 4))
    ]


def _ledger_id(key: str) -> int:
    match = _DATA.fullmatch(key.removesuffix("-index"))
    return int(match[2]) if match else -1


def _no_index(item: Item) -> ArchiveError:
    return ArchiveError(
        f"the data object of ledger {_ledger_id(item.key)} has no index: "
        "its upload is running, or failed",
        where=item.key,
    )


def _read_indexes(
    store: Store, items: list[Item], data: dict[str, Item]
) -> tuple[list[Ledger], list[tuple[int, ArchiveError]]]:
    ledgers, broken = [], []
    with ThreadPoolExecutor(16) as pool:
        for item, found in zip(
            items, pool.map(lambda one: _read_index(store, one), items), strict=True
        ):
            if isinstance(found, ArchiveError):
                broken.append((_ledger_id(item.key), found))
                continue
            key = item.key.removesuffix("-index")
            held = data.get(key) or Item(key, -1, "")
            ledgers.append(Ledger(_ledger_id(key), key, item.key, held.etag, held.bytes, found))
    return ledgers, broken


def _read_index(store: Store, item: Item) -> Index | ArchiveError:
    try:
        return parse_index(store.read(item.key), key=item.key)
    except ArchiveError as err:
        return err


def _choose(ledgers: list[Ledger], broken: list[tuple[int, ArchiveError]]) -> Catalogue:
    attempts: dict[tuple[str, int], list[Ledger]] = defaultdict(list)
    for ledger in ledgers:
        attempts[ledger.topic, ledger.id].append(ledger)
    catalogue = Catalogue()
    complete_ids = set()
    for (topic, number), found in sorted(attempts.items()):
        complete = [one for one in found if one.bytes == one.index.data_bytes]
        best, *others = complete or found
        if complete:
            complete_ids.add(number)
            others = complete[1:]
            catalogue.leftovers += [_incomplete(one) for one in found if one not in complete]
        chosen = replace(best, attempts=tuple(others) if complete else ())
        catalogue.ledgers.setdefault(topic, []).append(chosen)
    for number, error in broken:
        (catalogue.leftovers if number in complete_ids else catalogue.problems).append(error)
    return catalogue


def _incomplete(ledger: Ledger) -> ArchiveError:
    try:
        ledger.check_size()
    except ArchiveError as err:
        return err
    raise AssertionError(ledger.key)


def split_partition(topic: str) -> tuple[str, int]:
    """Return the partitioned topic's name and the partition, -1 if it is none.

    Examples
    --------
    >>> split_partition("persistent://plant/line/pumps-partition-3")
    ('persistent://plant/line/pumps', 3)
    >>> split_partition("persistent://plant/line/pumps")
    ('persistent://plant/line/pumps', -1)
    """
    match = _PARTITION.fullmatch(topic)
    return (match[1], int(match[2])) if match else (topic, -1)
