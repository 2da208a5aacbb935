"""Which ledgers belong together: a topic may have lived before under its name, or elsewhere.

The bucket may hold what a deleted topic of the same name left, or what another cluster offloaded.
Within one life a ledger has one id, and ids rise with the time of creation (BookKeeper hands them
out to the whole cluster in turn); so ledgers of one id that are not the same, and ids that fall as
time goes on, are of separate lives.

A topic deleted and made anew in one cluster has ids that go on rising, but schemas whose versions
begin at 0 again. A ledger with messages that name a version of the schema, and were published
before the broker took that version, is of an earlier life, as are those before it, of all
partitions. But a producer's clock may be slow, and then they only seem to be older. What settles
it is any one of: the ledger was closed when the version was taken (its partition's next one was
made, its object was written); the broker's own time of publishing; an earlier life that had such a
version, unless the ledger was open when this one's was taken, and a clock may be as slow as that.
Where an earlier life is sure, no clock needs to be slower than a zone's offset. Where nothing
settles it the ledger stays, and is doubted, whatever is known of those before it. It takes the
times in `schemas.json` to tell; `replay(..., source="both")` asks the broker.

Source: apache/bookkeeper 4.17, ZkLedgerIdGenerator; apache/pulsar 4.0.8, PulsarLedgerIdGenerator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from workbench.archive.access import Access
from workbench.archive.format import entries as e
from workbench.archive.ledgers import Damage, read_entries
from workbench.archive.storage.ledger import Ledger
from workbench.archive.values.schemas import Schema

CLOCKS_MS = 60_000  # by which clocks of brokers may differ
_SLOWEST_MS = 15 * 3_600_000  # that a producer's clock may be: in a zone for another, and some more
_VERSION_BYTES = 8
_LOOKED_AT = 4  # ledgers of a partition that are read, the newest that can tell


@dataclass(frozen=True)
class Life:
    """One life of a topic: its ledgers, in order, and the schemas that are its own.

    Attributes
    ----------
    is_past
        Whether a later one is known, by its ledgers or its schemas.
    doubted
        Ledgers that may be of an earlier life, or of a producer whose clock is slow.
    """

    ledgers: list[Ledger]
    versions: list[Schema]
    is_past: bool = False
    doubted: tuple[Ledger, ...] = ()

    def of_partition(self, topic: str) -> Life:
        """Return what of it is in one partition, by its full name."""
        ledgers, doubted = (
            [ledger for ledger in each if ledger.topic == topic]
            for each in (self.ledgers, self.doubted)
        )
        return replace(self, ledgers=ledgers, doubted=tuple(doubted))

    def doubts(self) -> Iterator[str]:
        """Yield a text on the ledgers of which it cannot be told whether they are of this life."""
        if self.doubted:
            first = self.doubted[0]
            yield (
                f"{len(self.doubted)} of {len(self.ledgers)} ledgers have messages that name a "
                "schema which the broker took after they were published, the first is ledger "
                f"{first.id} of {first.topic}: of a topic of this name that was deleted, or of a "
                "producer whose clock is slow; they are read by this schema, which may give nulls "
                "or wrong values"
            )


def lives(ledgers: Sequence[Ledger], schemas: Sequence[Schema], access: Access) -> list[Life]:
    """Return each life that ids, times and schemas tell, oldest first.

    Parameters
    ----------
    ledgers
        Of a topic, all partitions.
    schemas
        All that are known of it. Where their times are known, the first entries of a few ledgers
        are read, if any were made before the first of them was registered.
    """
    in_order = []
    newest = max((schema.life for schema in schemas), default=0)
    for each in generations(ledgers):
        numbers, doubted = _by_schemas(each, schemas, access)
        for life in sorted(set(numbers.values())):
            own = [ledger for ledger in each if numbers[ledger.key] == life]
            versions = [schema for schema in schemas if schema.life == life]
            unsure = tuple(ledger for ledger in own if ledger in doubted)
            in_order.append(Life(own, versions, life < newest, unsure))
    return [replace(life, is_past=True) for life in in_order[:-1]] + in_order[-1:]


def _by_schemas(
    ledgers: Sequence[Ledger], schemas: Sequence[Schema], access: Access
) -> tuple[dict[str, int], list[Ledger]]:
    """Return the life of each ledger, by its key, and those that are doubted.

    The life is -1 where it is before all that are known.
    """
    if not schemas:
        return dict.fromkeys((ledger.key for ledger in ledgers), 0), []
    lives_by_key: dict[str, int] = {}
    rest, doubted = sorted(ledgers, key=lambda x: x.id), []
    for life in sorted({schema.life for schema in schemas}, reverse=True):
        first, unsure = _first(rest, life, schemas, access)
        doubted += unsure
        lives_by_key |= {ledger.key: life for ledger in rest[first:]}
        rest = rest[:first]
    return lives_by_key | {ledger.key: -1 for ledger in rest}, doubted


def _first(
    ledgers: Sequence[Ledger], life: int, schemas: Sequence[Schema], access: Access
) -> tuple[int, list[Ledger]]:
    """Return the place of the first ledger of a life, and those that may be of an earlier one."""
    times = {x.version: x.registered_ms for x in schemas if x.life == life and x.registered_ms}
    if not times:
        return 0, []
    next_ms = _next_ms(ledgers)
    looked_at: Counter[str] = Counter()
    sure: list[int] = []
    long_before: list[int] = []  # than any clock is slow
    before: list[int] = []
    for place in reversed(range(len(ledgers))):
        ledger = ledgers[place]
        is_before = 0 < _created_ms(ledger) < min(times.values()) - CLOCKS_MS
        if not is_before or looked_at[ledger.topic] == _LOOKED_AT:
            continue
        looked_at[ledger.topic] += 1
        named = _named(ledger, access)
        if named is None or not named.is_older(times):
            continue
        is_long = named.lag_ms(times) > _SLOWEST_MS
        is_sure = named.is_sure or _is_settled(
            ledger, next_ms[ledger.key], min(times.values()), fits=named.fits(schemas, life),
            is_long=is_long,
        )  # fmt: skip
        (sure if is_sure else long_before if is_long else before).append(place)
    first = max(sure + long_before) + 1 if sure else 0
    return first, [ledgers[place] for place in sorted(long_before + before) if place >= first]


def _is_settled(
    ledger: Ledger, next_ms: float, first_ms: int, *, fits: bool, is_long: bool
) -> bool:
    """Return whether a ledger with older messages was closed before the schema, or fits elsewhere.

    One that was open when the schema was taken fits this life as well, if its clock may be slow.
    """
    if min(next_ms, ledger.written_ms or math.inf) <= first_ms:
        return True
    was_open = first_ms + CLOCKS_MS < next_ms < math.inf
    return fits and (is_long or not was_open)


@dataclass(frozen=True)
class _Named:
    """The version of the schema that a ledger's first message with one names, and when it did.

    Attributes
    ----------
    published_ms
        By the broker's clock where it adds its time (`is_sure`), else by the producer's.
    """

    version: int
    published_ms: int
    is_sure: bool

    def is_older(self, times: Mapping[int, int]) -> bool:
        """Return whether it was published before its version was registered, by version, ms."""
        return self.lag_ms(times) > CLOCKS_MS

    def lag_ms(self, times: Mapping[int, int]) -> int:
        """Return by how much its version was registered later than it was published."""
        registered_ms = times.get(
            self.version, min(times.values()) if self.version > max(times) else 0
        )
        return registered_ms - self.published_ms

    def fits(self, schemas: Sequence[Schema], life: int) -> bool:
        """Return whether a life before this one had the version by then."""
        return any(
            schema.life < life
            and schema.version == self.version
            and schema.registered_ms <= self.published_ms + CLOCKS_MS
            for schema in schemas
        )


def _next_ms(ledgers: Sequence[Ledger]) -> dict[str, float]:
    """Return when the next ledger of each one's partition was made; infinity if none is known."""
    nexts: dict[str, float] = {}
    following: dict[str, float] = {}
    for ledger in reversed(ledgers):
        nexts[ledger.key] = following.get(ledger.topic, math.inf)
        following[ledger.topic] = _created_ms(ledger) or math.inf
    return nexts


def _named(ledger: Ledger, access: Access) -> _Named | None:
    for entries in read_entries(access.bucket, [ledger], verify=False, damage=Damage(skip=True)):
        rows = np.flatnonzero(entries.heads[:, e.SCHEMA_SIZE] == _VERSION_BYTES)
        if not len(rows):
            return None
        head = entries.heads[rows[0]]
        version = entries.data[head[e.SCHEMA] : head[e.SCHEMA] + _VERSION_BYTES].tobytes()
        by_broker = int(head[e.BROKER_MS])
        published_ms = by_broker if by_broker > 0 else int(head[e.PUBLISH_MS])
        return _Named(int.from_bytes(version, "big"), published_ms, by_broker > 0)
    return None


def generations(ledgers: Sequence[Ledger]) -> list[list[Ledger]]:
    """Return the ledgers of each life, oldest life first, each life in the order given.

    As few lives as explain all ledgers; one, for any topic that was never anything else.
    """
    lives: list[_Life] = []
    by_age = sorted(ledgers, key=lambda x: (_created_ms(x), x.id, x.key))
    if all(before.id < ledger.id for before, ledger in pairwise(by_age)):
        return [list(ledgers)] if ledgers else []
    for ledger in by_age:
        fitting = [life for life in lives if life.fits(ledger)]
        if not fitting:
            lives.append(_Life())
        life = max(fitting, key=lambda life: life.ledgers[-1].id) if fitting else lives[-1]
        life.add(ledger)
    if len(lives) > 1:
        _settle([life.ledgers for life in lives])
    place = {ledger.key: i for i, ledger in enumerate(ledgers)}
    kept = [life.ledgers for life in lives if life.ledgers]
    kept.sort(key=lambda life: max(map(_created_ms, life)))
    return [sorted(life, key=lambda ledger: place[ledger.key]) for life in kept]


def _settle(lives: list[list[Ledger]]) -> None:
    """Move what fits in two lives to the one that has the nearer ids."""
    for life in lives:
        for ledger in list(life):
            others = [x for x in lives if x is not life and all(_agree(ledger, y) for y in x)]
            if others and len(life) > 1:
                nearest = min(others, key=lambda other: _distance(ledger, other))
                if _distance(ledger, nearest) < _distance(ledger, life):
                    life.remove(ledger)
                    nearest.append(ledger)


def _distance(ledger: Ledger, life: list[Ledger]) -> int:
    return min(abs(ledger.id - other.id) for other in life if other is not ledger)


def _agree(ledger: Ledger, other: Ledger) -> bool:
    """Return whether one cluster can have made both: the id of the later is the larger."""
    if ledger.id == other.id:
        return False
    later_ms = _created_ms(ledger) - _created_ms(other)
    if abs(later_ms) <= CLOCKS_MS or not (_created_ms(ledger) and _created_ms(other)):
        return True
    return (ledger.id > other.id) == (later_ms > 0)


@dataclass
class _Life:
    """Ledgers in the order of creation, and the largest id of those surely before the next."""

    ledgers: list[Ledger] = field(default_factory=list)
    _ids: set[int] = field(default_factory=set)
    _passed: int = 0
    _largest: int = -1

    def fits(self, ledger: Ledger) -> bool:
        while (
            self._passed < len(self.ledgers)
            and _created_ms(self.ledgers[self._passed]) < _created_ms(ledger) - CLOCKS_MS
        ):
            if _created_ms(self.ledgers[self._passed]):  # 0: not known
                self._largest = max(self._largest, self.ledgers[self._passed].id)
            self._passed += 1
        return ledger.id not in self._ids and ledger.id > self._largest

    def add(self, ledger: Ledger) -> None:
        self.ledgers.append(ledger)
        self._ids.add(ledger.id)


def _created_ms(ledger: Ledger) -> int:
    return ledger.index.metadata.created_ms
