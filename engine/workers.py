"""Worker processes for hostile files: bounded in memory and time, and nothing they do takes the ingest down."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic, TypeVar

from wavestream.engine.errors import WavestreamError
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejection
from wavestream.engine.worker_process import READY, start_worker

_T = TypeVar("_T")
_WAITING_PER_WORKER = 4
_FAILED_STARTS = 3

Task = tuple[Any, ...]


class _Slot(Generic[_T]):
    """A task and, once there is one, its result."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.result: _T | Rejection | None = None


class _Worker(Generic[_T]):
    """A process, the pipe to it, and the slot it works on."""

    def __init__(self, memory: int) -> None:
        self.process, self.pipe = start_worker(memory)
        self.ready = False
        self.slot: _Slot[_T] | None = None
        self.deadline = float("inf")

    def stop(self) -> int | None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


class WorkerPool:
    """Runs a function over tasks in worker processes and returns the results in the order of the tasks.

    A task whose process dies or hangs yields a :class:`Rejection`; the others go on. Each worker has a pipe of its own
    and one task at a time, so there is never a doubt which task a dead process was at.

    Args:
        workers: number of processes.
        limits: memory and time for each task.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self._count = workers
        self._limits = limits
        self._workers: list[_Worker[Any]] = []
        self._failed_starts = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._workers:
            self._workers.pop().stop()

    def map(self, function: Callable[..., _T | Rejection], tasks: Iterable[Task]) -> Iterator[_T | Rejection]:
        """Yield ``function(*task)``, which must not be None, for each task, in order.

        Tasks are drawn a few per worker ahead of the results, so results that wait for their turn stay few.

        Raises:
            WavestreamError: worker processes die before they have a task.
        """
        remaining = iter(tasks)
        window: deque[_Slot[_T]] = deque()
        unassigned: deque[_Slot[_T]] = deque()
        while True:
            while len(window) < self._count * _WAITING_PER_WORKER:
                task = next(remaining, None)
                if task is None:
                    break
                window.append(_Slot(task))
                unassigned.append(window[-1])
            if not window:
                return
            self._assign(function, unassigned)
            self._collect(block=window[0].result is None)
            # Free workers get their next task before the consumer works on a result.
            self._assign(function, unassigned)
            if window[0].result is not None:
                yield window.popleft().result  # type: ignore[misc]  # checked on the line above

    def _assign(self, function: Callable[..., Any], unassigned: deque[_Slot[Any]]) -> None:
        for worker in list(self._workers):
            if worker.ready and worker.slot is None and unassigned:
                try:
                    worker.pipe.send((function, unassigned[0].task))
                except OSError:  # killed while it was idle
                    self._drop(worker)
                    continue
                worker.slot = unassigned.popleft()
                worker.deadline = time.monotonic() + self._limits.seconds
        busy = sum(worker.slot is not None for worker in self._workers)
        while len(self._workers) < min(self._count, busy + len(unassigned)):
            self._workers.append(_Worker(self._limits.memory))

    def _collect(self, block: bool) -> None:
        """Take note of the workers that said something, ended, or are out of time; wait for one if told to."""
        pipes = [worker.pipe for worker in self._workers if worker.slot is not None or not worker.ready]
        patience = min((worker.deadline for worker in self._workers), default=0.0) - time.monotonic() if block else 0.0
        said = wait(pipes, timeout=None if patience == float("inf") else max(0.0, patience))
        for worker in list(self._workers):
            if worker.pipe in said:
                self._receive(worker)
            elif worker.deadline <= time.monotonic():
                assert worker.slot is not None
                worker.slot.result = Rejection(Reason.TIMEOUT, f"{self._limits.seconds:g} s")
                self._drop(worker)

    def _receive(self, worker: _Worker[Any]) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            exit_code = self._drop(worker)
            if worker.slot is not None:
                worker.slot.result = Rejection(Reason.CRASHED, f"exit code {exit_code}")
                return
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise WavestreamError(
                    f"worker processes end before they have a task (exit code {exit_code}): is there enough memory?"
                ) from None
            return
        if worker.ready:
            assert worker.slot is not None
            worker.slot.result, worker.slot, worker.deadline = message, None, float("inf")
        else:
            assert message == READY
            worker.ready, self._failed_starts = True, 0

    def _drop(self, worker: _Worker[Any]) -> int | None:
        self._workers.remove(worker)
        worker.process.join(timeout=0.5)  # a process that ended by itself keeps its exit code
        return worker.stop()


def usable_cpus() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
