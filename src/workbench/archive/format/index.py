"""Read the index object of an offloaded ledger: about 200 bytes that name everything.

Bytes in, `Index` out: no I/O. Big-endian:

    offset  type     field
    0       uint32   magic, 0xDE47DE47
    4       int32    length of this object
    8       int64    length of the data object
    16      int64    length of a block header, 128
    24      int32    n, number of blocks
    28      int32    m, length of the metadata
    32      bytes    BookKeeper's LedgerMetadataFormat, protobuf, m bytes
    32 + m  n *      int64 first entry id, int32 part id from 1, int64 offset of the block

Bytes after the last block are tolerated: a fork appends a directory of entries.

Source: apache/pulsar 4.0.8, OffloadIndexBlockImpl.toStream; apache/bookkeeper
DataFormats.proto, LedgerMetadataFormat.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

from workbench.archive.format.blocks import ENTRY_BYTES, HEADER_BYTES
from workbench.errors import ArchiveError

HEAD = struct.Struct(
    ">I"  # magic
    "i"  # length of this object
    "q"  # length of the data object
    "q"  # length of a block header
    "i"  # number of blocks
    "i"  # length of the metadata
)
BLOCK = struct.Struct(">qiq")  # first entry id, part id, offset
_FIXED = {1: 8, 5: 4}  # bytes of a protobuf value of fixed size
MAGIC = 0xDE47DE47
_STREAMING_MAGIC = 0x3D1FB0BC
CLOSED = 3
NAME_KEY = b"pulsar/managed-ledger"  # of the custom metadata
STOP_MS = 9_223_372_036_854  # 2262-04-11, where a count of nanoseconds ends
_SPACE = re.compile(r"[-=:.\w]+", re.ASCII)  # a tenant, cluster or namespace
_PARTITION = re.compile(r"(.+)-partition-(0|[1-9]\d{0,9})", re.ASCII | re.DOTALL)
_LOCAL = re.compile(r"(?:[-.*\w+]|%[0-9A-F]{2})+", re.ASCII)  # of Java's URLEncoder


@dataclass(frozen=True, slots=True)
class Metadata:
    """What BookKeeper knew of a closed ledger.

    Attributes
    ----------
    topic
        `persistent://tenant/namespace/name`, partition included.
    last_entry
        Entries are 0..last_entry, without gaps.
    entry_bytes
        Sum of the entries' sizes.
    created_ms
        When the ledger was opened.
    """

    topic: str
    last_entry: int
    entry_bytes: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block starts, how long it is, and the id of its first entry."""

    offset: int
    bytes: int
    first_entry: int


@dataclass(frozen=True, slots=True)
class Index:
    """What an index object says of its ledger."""

    metadata: Metadata
    data_bytes: int
    blocks: tuple[Block, ...]


def parse_index(data: bytes, *, key: str) -> Index:
    """Return what the index object `key` says.

    Raises
    ------
    ArchiveError
        If the bytes are not a whole, consistent index.
    """
    if len(data) < HEAD.size:
        raise ArchiveError(f"an index has at least {HEAD.size} bytes, found {len(data)}", where=key)
    magic, _, data_bytes, header_bytes, blocks, metadata_bytes = HEAD.unpack_from(data)
    if is_streamed(data):
        raise streamed_error(key)
    if magic != MAGIC:
        raise ArchiveError(f"the index's magic is 0x{magic:X}, expected 0x{MAGIC:X}", where=key)
    if header_bytes != HEADER_BYTES:
        raise ArchiveError(
            f"block headers have {header_bytes} bytes, expected {HEADER_BYTES}",
            where=f"{key} at byte 16",
        )
    need = HEAD.size + metadata_bytes + blocks * BLOCK.size
    if metadata_bytes < 0 or blocks < 1 or need > len(data):
        raise ArchiveError(
            f"the index claims {blocks} blocks and {metadata_bytes} bytes of metadata, "
            f"it has {len(data)} bytes",
            where=f"{key} at byte 24",
        )
    start = HEAD.size + metadata_bytes
    metadata = parse_metadata(data[HEAD.size : start], where=f"{key} at byte {HEAD.size}")
    rows = [BLOCK.unpack_from(data, start + i * BLOCK.size) for i in range(blocks)]
    return Index(
        metadata, data_bytes, _blocks(rows, data_bytes, metadata, f"{key} at byte {start}")
    )


def is_streamed(data: bytes) -> bool:
    """Return whether an index object starts as the streaming layout's do."""
    return data[:4] == _STREAMING_MAGIC.to_bytes(4, "big")


def streamed_error(key: str) -> ArchiveError:
    """Return what is said of an object of the streaming layout."""
    return ArchiveError(
        "the streaming layout (magic 0x3D1FB0BC) is not read: no Pulsar release writes it",
        where=key,
    )


def _blocks(
    rows: list[tuple[int, int, int]], data_bytes: int, metadata: Metadata, where: str
) -> tuple[Block, ...]:
    ends = [offset for _, _, offset in rows[1:]] + [data_bytes]
    blocks: list[Block] = []
    entry = position = 0
    for (first, part, offset), end in zip(rows, ends, strict=True):
        wrong = offset != position or part != len(blocks) + 1 or first < entry
        wrong = wrong or (not blocks and first != 0) or first > metadata.last_entry
        if wrong or end - offset < HEADER_BYTES + ENTRY_BYTES:
            raise ArchiveError(
                f"block {len(blocks) + 1} is said to be part {part}, entries from {first}, "
                f"bytes {offset} to {end}: that is no block after byte {position}",
                where=where,
            )
        blocks.append(Block(offset, end - offset, first))
        entry, position = first + 1, end
    return tuple(blocks)


def parse_metadata(data: bytes, *, where: str) -> Metadata:
    """Return what BookKeeper's `LedgerMetadataFormat` says.

    Raises
    ------
    ArchiveError
        If it is cut short, not of a closed ledger, or not of a Pulsar topic.
    """
    numbers: dict[int, int] = {}
    custom: dict[str, bytes] = {}
    try:
        for number, value in protobuf_fields(data, where):
            if isinstance(value, int):
                numbers[number] = value
            elif number == 11:
                key, text = _pair(value)
                custom[key] = text
    except ArchiveError as err:
        raise ArchiveError(err.message, where=where) from err
    if numbers.get(5) != CLOSED:
        raise ArchiveError(
            f"the ledger's state is {numbers.get(5)}, expected {CLOSED} (closed)", where=where
        )
    name = custom.get(NAME_KEY.decode())
    if name is None:
        raise ArchiveError("the ledger's metadata names no pulsar/managed-ledger", where=where)
    last_entry, entry_bytes = numbers.get(4, -1), numbers.get(3, -1)
    if last_entry < 0 or last_entry >= 1 << 62 or entry_bytes < 0:
        raise ArchiveError(
            f"the ledger's last entry is {last_entry} and its length {entry_bytes}", where=where
        )
    created_ms = numbers.get(10, 0)
    if not 0 <= created_ms < STOP_MS:
        raise ArchiveError(f"the ledger was created at {created_ms} ms, no time", where=where)
    return Metadata(topic_name(name, where=where), last_entry, entry_bytes, created_ms)


@lru_cache(maxsize=16384)  # the same few in all ledgers of a topic
def _pair(data: bytes) -> tuple[str, bytes]:
    """Return name and value of a custom field."""
    pair = {part: text for part, text in protobuf_fields(data, "") if isinstance(text, bytes)}
    return pair.get(1, b"").decode(errors="replace"), pair.get(2, b"")


def topic_name(managed_ledger: bytes, *, where: str = "") -> str:
    """Return the topic of a managed ledger's name.

    Raises
    ------
    ArchiveError
        If no broker writes such a name: neither four parts nor, as before Pulsar 2, five;
        another domain; characters that are not encoded, or are no UTF-8.

    Notes
    -----
    Source: apache/pulsar 4.0.8, TopicName.getPersistenceNamingEncoding, Codec, NamedEntity.

    Examples
    --------
    >>> topic_name(b"public/default/persistent/caf%C3%A9+1")
    'persistent://public/default/café 1'
    >>> topic_name(b"plant/eu/lines/persistent/pumps")
    'persistent://plant/eu/lines/pumps'
    """
    name = topic_or_none(managed_ledger)
    if name is None:
        raise ArchiveError(
            f"{managed_ledger.decode(errors='replace')!r} is not "
            "tenant/namespace/persistent/topic, as a broker writes it",
            where=where,
        )
    return name


@lru_cache(maxsize=16384)
def topic_or_none(managed_ledger: bytes) -> str | None:
    """Return the topic of a managed ledger's name, None where it is none."""
    parts = managed_ledger.decode(errors="replace").split("/")
    *spaces, domain, local = parts if len(parts) > 1 else ["", ""]
    if (
        len(spaces) not in (2, 3)
        or domain != "persistent"
        or not all(_SPACE.fullmatch(space) for space in spaces)
        or not _LOCAL.fullmatch(local)
        or "\ufffd" in unquote_plus(local)
    ):
        return None
    return f"{domain}://{'/'.join(spaces)}/{unquote_plus(local)}"


def split_partition(topic: str) -> tuple[str, int]:
    """Return the partitioned topic's name and the partition, -1 if it is none.

    Notes
    -----
    Source: apache/pulsar 4.0.8, TopicName.getPartitionIndex: 32 bits, and no zeros in front.

    Examples
    --------
    >>> split_partition("persistent://plant/line/pumps-partition-3")
    ('persistent://plant/line/pumps', 3)
    >>> split_partition("persistent://plant/line/pumps")
    ('persistent://plant/line/pumps', -1)
    >>> split_partition("persistent://plant/line/pumps-partition-03")
    ('persistent://plant/line/pumps-partition-03', -1)
    """
    match = _PARTITION.fullmatch(topic)
    is_partition = match is not None and int(match[2]) < 1 << 31
    return (match[1], int(match[2])) if match and is_partition else (topic, -1)


def protobuf_fields(data: bytes, where: str) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of every varint and bytes field of a protobuf message.

    Raises
    ------
    ArchiveError
        If it is cut short.
    """
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position, where)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(data, position, where)
            yield number, value - (1 << 64) if value >> 63 else value
        elif kind == 2:
            size, position = _varint(data, position, where)
            position += size
            if position > end:
                break
            yield number, data[position - size : position]
        else:
            position += _FIXED.get(kind, end + 1)
    if position > end:
        raise ArchiveError("the metadata is not protobuf, or is cut short", where=where)


def _varint(data: bytes, position: int, where: str) -> tuple[int, int]:
    if position < len(data) and data[position] < 0x80:
        return data[position], position + 1
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        value |= (data[position] & 0x7F) << shift
        position += 1
        if data[position - 1] < 0x80:
            return value & (1 << 64) - 1, position
    raise ArchiveError("the metadata is not protobuf, or is cut short", where=where)
