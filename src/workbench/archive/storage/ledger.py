"""One offloaded ledger, as its two objects' keys and its index describe it."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.archive.format.index import Index
from workbench.errors import ArchiveError


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
