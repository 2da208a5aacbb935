"""A column of texts as Arrow has it: a text of Python's own takes some 60 bytes more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from workbench.arrays import Ints

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_ROWS = 200_000  # taken apart at once, so that the parts of a long column need little room


class Texts(Sequence[str]):
    """Texts without space at both ends; `arrow` holds them."""

    def __init__(self, texts: Iterable[str] | pa.Array | pa.ChunkedArray) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(texts, pa.Array | pa.ChunkedArray):
            trimmed = pc.utf8_trim_whitespace(texts)
        else:
            trimmed = pa.array([str(text).strip() for text in texts], pa.string())
        chunks = trimmed.chunks if isinstance(trimmed, pa.ChunkedArray) else [trimmed]
        self.arrow = pa.chunked_array(chunks, pa.string())

    def __len__(self) -> int:
        return len(self.arrow)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        if isinstance(row, slice):
            return Texts(self.arrow[row])
        return str(self.arrow[int(row)].as_py())

    def __iter__(self) -> Iterator[str]:
        for chunk in self.arrow.chunks:
            yield from chunk.to_pylist()

    def blocks(self) -> Iterator[pa.Array]:
        """Yield some rows at a time, in their order; of no rows, a block of none."""
        import pyarrow as pa

        for start in range(0, max(len(self), 1), _BLOCK_ROWS):
            block = self.arrow.slice(start, _BLOCK_ROWS)
            yield pa.concat_arrays(block.chunks) if block.num_chunks else pa.array([], pa.string())

    def ints(self, read: Callable[[Any], Ints]) -> Ints:
        """Return what a function of one block gives for each."""
        return np.concatenate([read(block) for block in self.blocks()])
