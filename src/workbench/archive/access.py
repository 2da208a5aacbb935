"""How an archive is read: where its objects lie, and what is done about what is wrong in them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.archive.bucket import Bucket
from workbench.archive.catalogue import Stray
from workbench.archive.format.encryption import Decryption
from workbench.archive.values.custom import MakeDecoder
from workbench.errors import ArchiveWarning


@dataclass(frozen=True)
class Access:
    """How the topics of an archive are read; one for all of them.

    Attributes
    ----------
    bucket
        Where the objects lie.
    verify
        Whether every entry's checksum is compared.
    workers
        Threads that decompress and decode.
    processes
        Whether processes do so beside them: at once, when they are worth it (None), or never.
    skip_damaged
        Whether to go on after damage; `Topic.damage` then lists what was skipped.
    misfits
        `error` or `null`, for values that do not fit their schema.
    decryption
        Of encrypted messages, where private keys are at hand.
    decoders
        The caller's own, by schema type or topic.
    problems
        Objects of which no ledger can be read: a topic that may be theirs may lack rows.
    """

    bucket: Bucket
    verify: bool = True
    workers: int = 1
    processes: bool | None = None
    skip_damaged: bool = False
    misfits: str = "error"
    decryption: Decryption | None = field(default=None, repr=False)
    decoders: Mapping[str, MakeDecoder] = field(default_factory=dict)
    problems: tuple[Stray, ...] = ()

    def check_complete(self, topic: str | None = None) -> None:
        """Raise if a topic (None: any) lacks rows, warn if it may; `skip_damaged` lists both."""
        strays = [x for x in self.problems if topic is None or x.may_be_of(topic)]
        lost = [stray for stray in strays if stray.loses]
        if self.skip_damaged or not strays:
            return
        if lost:
            raise lost[0].error
        warnings.warn(_doubt(strays), ArchiveWarning, stacklevel=3)


def _doubt(strays: list[Stray]) -> str:
    first = strays[0]
    whose = first.topic or "any topic: the object's metadata names none"
    more = f"; and {len(strays) - 1} more" if len(strays) > 1 else ""
    return f"{first.error.message} (in {first.error.where}, of {whose}{more})"
