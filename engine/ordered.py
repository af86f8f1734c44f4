"""Do many things at once and take the results in order, a few ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
_AHEAD = 2


def map_ordered(function: Callable[[_T], _R], items: Iterable[_T], threads: int) -> Generator[_R, None, None]:
    """Yield ``function(item)`` for each item, in order, computed by ``threads`` threads.

    At most twice as many results as there are threads wait for the consumer. An error is raised at its item's turn;
    it, closing the generator, or dropping it, ends the threads before control returns.
    """
    waiting: deque[Future[_R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="wavestream-map")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
