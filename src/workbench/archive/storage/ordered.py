"""Call a function for many items at once, and have the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NoReturn, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(
    function: Callable[[_T], _R], items: Iterable[_T], *, workers: int, ahead: int | None = None
) -> Iterator[_R]:
    """Yield function(item) of every item, in order, `workers` at a time.

    So many results may wait to be taken: `ahead`, None is as many as workers. Where there are no
    more items for an error, the results of those before it come first.
    """
    most = ahead or workers
    pool = ThreadPoolExecutor(workers, thread_name_prefix="archive")
    waiting: deque[Future[_R]] = deque()
    try:
        for task in _tasks(function, items):
            waiting.append(pool.submit(task))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # never wait here: the garbage collector may close this generator inside a thread's start,
        # where joining another thread is a deadlock
        pool.shutdown(wait=False, cancel_futures=True)


def _tasks(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[Callable[[], _R]]:
    """Yield a call for every item, and for an error instead of an item one that raises it."""
    try:
        for item in items:
            yield partial(function, item)
    except Exception as err:
        yield partial(_raise, err)


def _raise(err: Exception) -> NoReturn:
    raise err
