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

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_plus

from workbench.archive.blocks import ENTRY_BYTES, HEADER_BYTES
from workbench.errors import ArchiveError

_HEAD = struct.Struct(
    ">I"  # magic
    "i"  # length of this object
    "q"  # length of the data object
    "q"  # length of a block header
    "i"  # number of blocks
    "i"  # length of the metadata
)
_BLOCK = struct.Struct(">qiq")  # first entry id, part id, offset
_MAGIC = 0xDE47DE47
_STREAMING_MAGIC = 0x3D1FB0BC
_CLOSED = 3


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Block:
    """Where a block starts, how long it is, and the id of its first entry."""

    offset: int
    bytes: int
    first_entry: int


@dataclass(frozen=True)
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
    if len(data) < _HEAD.size:
        raise ArchiveError(
            f"an index has at least {_HEAD.size} bytes, found {len(data)}", where=key
        )
    magic, _, data_bytes, header_bytes, blocks, metadata_bytes = _HEAD.unpack_from(data)
    if is_streamed(data):
        raise streamed_error(key)
    if magic != _MAGIC:
        raise ArchiveError(f"the index's magic is 0x{magic:X}, expected 0x{_MAGIC:X}", where=key)
    if header_bytes != HEADER_BYTES:
        raise ArchiveError(
            f"block headers have {header_bytes} bytes, expected {HEADER_BYTES}",
            where=f"{key} at byte 16",
        )
    need = _HEAD.size + metadata_bytes + blocks * _BLOCK.size
    if metadata_bytes < 0 or blocks < 1 or need > len(data):
        raise ArchiveError(
            f"the index claims {blocks} blocks and {metadata_bytes} bytes of metadata, "
            f"it has {len(data)} bytes",
            where=f"{key} at byte 24",
        )
    start = _HEAD.size + metadata_bytes
    metadata = parse_metadata(data[_HEAD.size : start], where=f"{key} at byte {_HEAD.size}")
    rows = [_BLOCK.unpack_from(data, start + i * _BLOCK.size) for i in range(blocks)]
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
    for number, value in protobuf_fields(data, where):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 11:
            pair = {
                one: text for one, text in protobuf_fields(value, where) if isinstance(text, bytes)
            }
            custom[pair.get(1, b"").decode(errors="replace")] = pair.get(2, b"")
    if numbers.get(5) != _CLOSED:
        raise ArchiveError(
            f"the ledger's state is {numbers.get(5)}, expected {_CLOSED} (closed)", where=where
        )
    name = custom.get("pulsar/managed-ledger")
    if name is None:
        raise ArchiveError("the ledger's metadata names no pulsar/managed-ledger", where=where)
    last_entry, entry_bytes = numbers.get(4, -1), numbers.get(3, -1)
    if last_entry < 0 or last_entry >= 1 << 62 or entry_bytes < 0:
        raise ArchiveError(
            f"the ledger's last entry is {last_entry} and its length {entry_bytes}", where=where
        )
    return Metadata(topic_name(name, where=where), last_entry, entry_bytes, numbers.get(10, 0))


def topic_name(managed_ledger: bytes, *, where: str = "") -> str:
    """Return the topic of a managed ledger's name.

    Raises
    ------
    ArchiveError
        If it has neither four parts nor, as before Pulsar 2, five.

    Examples
    --------
    >>> topic_name(b"public/default/persistent/caf%C3%A9+1")
    'persistent://public/default/café 1'
    >>> topic_name(b"plant/eu/lines/persistent/pumps")
    'persistent://plant/eu/lines/pumps'
    """
    parts = managed_ledger.decode(errors="replace").split("/")
    if len(parts) not in (4, 5):
        raise ArchiveError(
            f"{managed_ledger.decode(errors='replace')!r} is not tenant/namespace/persistent/topic",
            where=where,
        )
    *spaces, domain, local = parts
    return f"{domain}://{'/'.join(spaces)}/{unquote_plus(local)}"


def protobuf_fields(data: bytes, where: str) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of every varint and bytes field of a protobuf message.

    Raises
    ------
    ArchiveError
        If it is cut short.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at, where)
        number, kind = tag >> 3, tag & 7
        value, at = (
            _varint(data, at, where) if kind in (0, 2) else (0, at + {1: 8, 5: 4}.get(kind, 0))
        )
        if kind == 2:
            at += value
            if at > len(data):
                break
            yield number, data[at - value : at]
        elif kind == 0:
            yield number, value - (1 << 64) if value >> 63 else value
        elif kind not in (1, 5):
            at = len(data) + 1
    if at > len(data):
        raise ArchiveError("the metadata is not protobuf, or is cut short", where=where)


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & (1 << 64) - 1, at
    raise ArchiveError("the metadata is not protobuf, or is cut short", where=where)
