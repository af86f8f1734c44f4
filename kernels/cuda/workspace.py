"""Device memory between the kernels of one call: allocated at the first call of its size, kept for the next ones.

A workspace belongs to one device, one stream and one :class:`~wavestream.kernels.cuda.geometry.Room`. Calls that
share one are queued one after the other in its stream, so they may share its memory; a lock keeps threads from
interleaving their launches, and an event makes each call wait, on the device, for the one before it, because a
destroyed stream's handle may come back as another stream's. The few most recently used workspaces stay
(:data:`KEPT_WORKSPACES`); the oldest goes when a new one is needed, and only then does the driver wait for the device.
For images of n pixels an injection holds about 4n bytes of coefficients, 1.3n of low-passes and, unless the pixels are
float32 (int32 for ``cdf53``), 4n of values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import DTypeLike, NDArray

from wavestream.kernels.cuda.device import Queue
from wavestream.kernels.cuda.geometry import Planned, Room
from wavestream.kernels.cuda.launch import is_simulated
from wavestream.kernels.cuda.selection import BINS, DIGITS, STATE_ROWS

KEPT_WORKSPACES = 4

_kept: OrderedDict[tuple[int, int, Room], Workspace] = OrderedDict()
_kept_lock = Lock()


class Workspace:
    """The buffers of one size, made when first asked for.

    Attributes:
        lock: held by the thread that is queueing a call's kernels.
        tables: the tables of the room on the device; ``images`` and ``levels`` are the first two.
    """

    def __init__(self, capacity: Room) -> None:
        self.lock = Lock()
        self._capacity = capacity
        self._buffers: dict[tuple[str, str], Any] = {}
        self._staging: list[tuple[NDArray[np.int64], Any]] = []
        self._finished: Any = None
        ends = list(accumulate(prod(shape) for shape in capacity.tables))
        self._plan = cuda.device_array(ends[-1], np.int64)
        self.tables = tuple(
            self._plan[end - prod(shape) : end].reshape(*shape)
            for end, shape in zip(ends, capacity.tables, strict=True)
        )
        self.images, self.levels = self.tables[:2]

    def begin(self, queue: Queue) -> None:
        """Make the stream wait for the last call that used these buffers."""
        if self._finished is not None:
            self._finished.wait(queue.stream)

    def end(self, queue: Queue) -> None:
        """Mark the end of a call in the stream."""
        if is_simulated():
            return
        if self._finished is None:
            self._finished = _event()
        self._finished.record(queue.stream)

    def upload(self, geometry: Planned, queue: Queue) -> None:
        """Queue the copy of the tables to the device; the host does not wait for it.

        Only page-locked memory is copied without waiting. It may be written again when the copy before it is done, so
        there are as many such buffers as calls in flight.
        """
        if is_simulated():
            self._plan.copy_to_device(geometry.plan)
            return
        free = next(((buffer, copied) for buffer, copied in self._staging if copied.query()), None)
        if free is None:
            free = cuda.pinned_array(geometry.plan.size, np.int64), _event()
            self._staging.append(free)
        buffer, copied = free
        buffer[:] = geometry.plan
        self._plan.copy_to_device(buffer, stream=queue.stream)
        copied.record(queue.stream)

    def coefficients(self, dtype: DTypeLike) -> Any:
        """Flat packed coefficients of all images."""
        return self.buffer("coefficients", self._capacity.coefficients_size, dtype)

    def lows(self, dtype: DTypeLike) -> Any:
        """Flat intermediate low-passes of all images."""
        return self.buffer("lows", self._capacity.lows_size, dtype)

    def values(self, dtype: DTypeLike) -> Any:
        """Flat reconstructed canvases."""
        return self.buffer("values", self._capacity.values_size, dtype)

    @property
    def state(self) -> Any:
        """State of the selection, (3, batch) int32."""
        return self.buffer("state", (STATE_ROWS, self._capacity.batch), np.int32)

    @property
    def histograms(self) -> Any:
        """Flat histograms of the selection, (digits, batch, bins) int32."""
        return self.buffer("histograms", len(DIGITS) * self._capacity.batch * BINS, np.int32)

    @property
    def thresholds(self) -> Any:
        """Thresholds of the selection, (batch,) float32."""
        return self.buffer("thresholds", self._capacity.batch, np.float32)

    def buffer(self, name: str, shape: int | tuple[int, ...], dtype: DTypeLike) -> Any:
        """The buffer of a name and dtype, made when first asked for; always asked for with the same shape."""
        key = (name, np.dtype(dtype).name)
        if key not in self._buffers:
            # Numba cannot allocate nothing; a buffer of no elements is never read.
            self._buffers[key] = cuda.device_array(shape if shape != 0 else 1, np.dtype(dtype))
        return self._buffers[key]


def _event() -> Any:
    # The simulator's event, which a type checker sees, takes no arguments.
    return cuda.event(timing=False)  # type: ignore[call-arg]


@contextmanager
def workspace_of(capacity: Room, queue: Queue) -> Iterator[Workspace]:
    """The workspace for a capacity in a stream, for this thread alone until the end of the block."""
    key = (queue.device, queue.pointer, capacity)
    with _kept_lock:
        workspace = _kept.pop(key, None) or Workspace(capacity)
        _kept[key] = workspace
        while len(_kept) > KEPT_WORKSPACES:
            _kept.popitem(last=False)
    with workspace.lock:
        workspace.begin(queue)
        try:
            yield workspace
        finally:
            workspace.end(queue)


def release_workspaces() -> None:
    """Give the kept device memory back; the next call allocates anew."""
    with _kept_lock:
        _kept.clear()
