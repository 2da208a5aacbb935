"""How far back the newest records of a partition reach where only so many bytes are wanted."""

from __future__ import annotations

from collections.abc import Callable


def begin_of_newest(least: int, end: int, most_bytes: int, size: Callable[[int, int], int]) -> int:
    """Return from which offset on the newest records have at most so many bytes; one has any.

    It looks at twice as many each time, from the end, and stops before they are too many: of large
    records no more is read than is wanted.

    Parameters
    ----------
    least, end
        The first offset that may be returned, and the one behind the last record.
    size
        Returns the bytes of [begin, end), which of an offset without a record are none.

    Examples
    --------
    >>> begin_of_newest(0, 1_000, 50, lambda begin, end: 10 * (end - begin))
    997
    """
    begin, total, count = end, 0, 1
    while begin > least:
        start = max(least, begin - count)
        more = size(start, begin)
        if total and total + more > most_bytes:
            break
        if more > most_bytes and begin - start > 1:  # behind a gap: the newest alone
            count = 1
            continue
        begin, total, count = start, total + more, 2 * count
    return begin
