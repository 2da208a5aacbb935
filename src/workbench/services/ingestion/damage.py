"""Say what lines that are no reading have in common, and what to do about them."""

from __future__ import annotations

import shlex
from collections import Counter

from workbench.services.ingestion.csv_lines import Damage

_SHOWN = 5
_CHANCE = 2  # times that a typing error may be there


def mark_hint(texts: list[str]) -> str | None:
    """Return the option for words that come again and again, as `Bad`: a mark, not damage.

    Examples
    --------
    >>> mark_hint(["Bad", "1,,5", "Bad", "Bad"])
    '--missing Bad, if that says that there is no reading'
    """
    words = [word for word, times in Counter(texts).most_common(_SHOWN) if times > _CHANCE]
    marks = [word for word in words if not any(map(str.isdigit, word)) and "," not in word]
    if not marks:
        return None
    return f"--missing {shlex.quote(','.join(marks))}, if that says that there is no reading"


def hint_of(damaged: list[Damage], total: int, *, too_many: bool) -> str:
    """Return what to do about damaged lines of so many, and which they are."""
    first, *others = damaged
    lines = [first.hint] if first.hint else []
    if others:
        numbers = ", ".join(str(damage.line) for damage in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
        lines.append(f"so or otherwise damaged: lines {numbers}{more}, of {total:,}")
    if too_many:
        lines.append("more than a tenth of the lines: is the file written in another way?")
    else:
        lines.append("--skip-damaged leaves such lines out, and counts them")
    return "\n  ".join(lines)
