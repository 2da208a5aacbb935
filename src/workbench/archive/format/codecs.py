"""Decompress payloads into one buffer, bounded by what a codec can expand to.

Source: apache/pulsar 4.0.8, PulsarApi.proto CompressionType and common/compression: LZ4 and
Snappy are raw blocks without a frame; the Java client never finishes its ZLIB stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import cramjam
import lz4.block
import numpy as np
import zstandard

from workbench.arrays import Ints
from workbench.errors import ArchiveError

NAMES = {0: "NONE", 1: "LZ4", 2: "ZLIB", 3: "ZSTD", 4: "SNAPPY"}
# most bytes that one compressed byte can become: a longer claim is a lie, not an allocation
_LIMITS = {0: 1, 1: 255, 2: 1032, 3: 1 << 15, 4: 64}


def check_size(codec: int, packed: int, size: int) -> str | None:
    """Return what is wrong with a claim that `packed` bytes become `size`, or None.

    Examples
    --------
    >>> check_size(1, 100, 1_000_000)
    '100 bytes of LZ4 cannot become 1000000'
    >>> check_size(9, 100, 100)
    'compression 9 is not known, only NONE, LZ4, ZLIB, ZSTD, SNAPPY'
    """
    if codec not in NAMES:
        return f"compression {codec} is not known, only {', '.join(NAMES.values())}"
    if size < 0 or size > (packed + 64) * _LIMITS[codec]:
        return f"{packed} bytes of {NAMES[codec]} cannot become {size}"
    return None


def wrong_sizes(codec: Ints, packed: Ints, size: Ints) -> Iterator[tuple[int, str]]:
    """Yield (position, what `check_size` says) of every claim that is wrong."""
    named = (codec >= 0) & (codec < len(NAMES))
    limits = np.array([_LIMITS[i] for i in range(len(NAMES))])[np.where(named, codec, 0)]
    for i in np.flatnonzero(~named | (size < 0) | (size > (packed + 64) * limits)):
        text = check_size(int(codec[i]), int(packed[i]), int(size[i]))
        if text:
            yield int(i), text


def decompress(codec: int, packed: memoryview, out: memoryview) -> None:
    """Fill `out` with the decompressed bytes.

    Raises
    ------
    ArchiveError
        If the bytes are damaged, or become fewer or more than `out` holds.
    """
    try:
        raw = _DECODERS[codec](packed, len(out))
    except Exception as err:  # each library has its own
        raise ArchiveError(f"{NAMES[codec]} payload of {len(packed)} bytes is damaged") from err
    if len(raw) != len(out):
        raise ArchiveError(
            f"{NAMES[codec]} payload has {len(raw)} bytes decompressed, expected {len(out)}"
        )
    out[:] = raw


def _lz4(packed: memoryview, size: int) -> bytes:
    raw: bytes = lz4.block.decompress(packed, uncompressed_size=size)
    return raw


def _zlib(packed: memoryview, size: int) -> bytes:
    return zlib.decompressobj().decompress(packed, size + 1)


def _zstd(packed: memoryview, size: int) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        return stream.read(size + 1)


def _snappy(packed: memoryview, size: int) -> memoryview:
    if cramjam.snappy.decompress_raw_len(packed) != size:
        raise ValueError("another length")
    raw = bytearray(size)
    cramjam.snappy.decompress_raw_into(packed, raw)
    return memoryview(raw)


_DECODERS: dict[int, Callable[[memoryview, int], bytes | memoryview]] = {
    1: _lz4,
    2: _zlib,
    3: _zstd,
    4: _snappy,
}
