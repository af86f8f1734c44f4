"""Sharing a batch among threads: one compiled function that releases the GIL, called on ranges of images.

The pool is made on first use, serves any number of Python threads at once (no task waits for another), and starts anew
after a fork. See docs/design/0002-threads-not-numba-parallel.md.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

# Smaller batches are done by the caller: waking a thread costs about as much as this many coefficients.
_ALONE_BELOW = 1 << 17
_RANGES_PER_THREAD = 4
_MOST_THREADS = 256


def available_threads() -> int:
    """The CPUs that this process may run on."""
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _executor() -> ThreadPoolExecutor:
    """The pool; its threads start as they are needed and then stay."""
    return ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="wavestream-kernels")


if hasattr(os, "register_at_fork"):
    # The threads of a pool do not exist in the child of a fork.
    os.register_at_fork(after_in_child=_executor.cache_clear)


def run_on_threads(task: Callable[[], None], count: int, cost: int, threads: int | None) -> None:
    """Call ``task()`` in this thread and in up to ``threads - 1`` others; the calls share the work among themselves.

    Args:
        task: must release the GIL to gain from threads.
        count: images in the batch, or other pieces of work.
        cost: coefficients per image; a batch of little work is done by the calling thread alone.
        threads: most threads to use; None for every CPU of this process.
    """
    others = [_executor().submit(task) for _ in range(_useful_threads(count, cost, threads) - 1)]
    try:
        task()
    finally:
        for other in others:
            other.result()


def _useful_threads(count: int, cost: int, threads: int | None) -> int:
    threads = min(available_threads() if threads is None else threads, count, _MOST_THREADS)
    return 1 if count * cost < _ALONE_BELOW else threads


def run_ranges(task: Callable[[int, int], None], count: int, cost: int, threads: int | None) -> None:
    """Call ``task(begin, end)`` on ranges that cover 0 to ``count``; arguments as for :func:`run_on_threads`."""
    threads = _useful_threads(count, cost, threads)
    if threads <= 1:
        task(0, count)
        return
    parts = min(count, threads * _RANGES_PER_THREAD)
    waiting = deque((count * part // parts, count * (part + 1) // parts) for part in range(parts))

    def work() -> None:
        while True:
            try:
                begin, end = waiting.popleft()
            except IndexError:
                return
            try:
                task(begin, end)
            except BaseException:
                waiting.clear()
                raise

    run_on_threads(work, count, cost, threads)
