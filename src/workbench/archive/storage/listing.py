"""What a bucket lists, as columns: a fleet's has 400,000 objects, few are looked at one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Item:
    """An object: key below the root, size in bytes, etag (or what stands for it).

    `written_ms` is when it was written, epoch ms; 0: not known. `has_etag`: it is the store's own,
    another for other bytes.
    """

    key: str
    bytes: int
    etag: str
    written_ms: int = 0
    has_etag: bool = False


@dataclass(frozen=True)
class Listing:
    """Objects in the order of their keys, an `Item` of each when it is asked for.

    Attributes
    ----------
    keys, sizes, etags, written_ms, has_etag
        As an `Item` has them.
    """

    keys: list[str]
    sizes: list[int]
    etags: list[str]
    written_ms: list[int]
    has_etag: list[bool]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Listing:
        """Return the listing of some items."""
        rows = [(x.key, x.bytes, x.etag, x.written_ms, x.has_etag) for x in items]
        columns = map(list, zip(*rows, strict=True)) if rows else ([] for _ in fields(cls))
        return cls(*columns)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Item]:
        return map(self.item, range(len(self)))

    def item(self, place: int) -> Item:
        """Return the item at a place, from 0."""
        return Item(
            self.keys[place],
            self.sizes[place],
            self.etags[place],
            self.written_ms[place],
            self.has_etag[place],
        )

    def items(self, places: Iterable[int]) -> list[Item]:
        """Return the items at some places."""
        return [self.item(place) for place in places]

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each key."""
        return {key: place for place, key in enumerate(self.keys)}

    def get(self, key: str) -> Item | None:
        """Return the item of a key, None where there is none."""
        place = self.places.get(key)
        return None if place is None else self.item(place)
