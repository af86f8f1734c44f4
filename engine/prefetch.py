"""Prepare what is asked for next while the consumer is still busy: a chain of stages, each in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def prefetch(requests: Iterable[Any], stages: Sequence[Callable[[Any], Any]], depth: int) -> Generator[Any, None, None]:
    """Pass each request through the stages, in order, up to ``depth`` requests ahead of the consumer.

    Each stage runs in one background thread, so stage 2 of a request overlaps stage 1 of the next. Requests are drawn
    in the consumer's thread, so they may come from a source that is not thread-safe. An error in a stage is raised at
    its request's turn. Closing the generator, dropping it, or an error ends the threads before control returns.

    Args:
        requests: drawn at most ``depth`` ahead of what was yielded.
        stages: each takes what the one before it returned.
        depth: at least 0.

    Yields:
        what the last stage returned, in the order of the requests.
    """
    pools = [ThreadPoolExecutor(1, thread_name_prefix=f"wavestream-{stage.__name__}") for stage in stages]
    waiting: deque[Future[Any]] = deque()
    try:
        for request in requests:
            waiting.append(_submit(request, stages, pools))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _submit(request: Any, stages: Sequence[Callable[[Any], Any]], pools: Sequence[ThreadPoolExecutor]) -> Future[Any]:
    future = pools[0].submit(stages[0], request)
    for stage, pool in zip(stages[1:], pools[1:], strict=True):
        future = pool.submit(_after, future, stage)
    return future


def _after(earlier: Future[Any], stage: Callable[[Any], Any]) -> Any:
    """Wait for the stage before: it was submitted earlier to a thread that serves nothing later, so it always ends."""
    return stage(earlier.result())
