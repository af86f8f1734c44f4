"""Feed the pipeline: read the images of a batch and, where that is the place for it, compress them in one call."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import MissingExtraError
from wavestream.engine.injection import Injector
from wavestream.engine.reader import Reader


@dataclass(frozen=True)
class FedBatch:
    """Raw images, ready for the pipeline.

    Attributes:
        images: (batch, H, W) of the store's dtype: NumPy, or CuPy for a GPU pipeline, complete.
        buffer: the host memory behind them, to be handed back.
    """

    images: Any
    buffer: NDArray[Any]


class Feeder:
    """Makes the pipeline's input. Safe to call from several threads.

    Args:
        reader: of the store.
        injector: compresses the images, in the source domain; None: leave them as stored.
        device_id: CUDA device to bring the images to, and to compress them on; None: stay on the CPU.

    Raises:
        MissingExtraError: a device is asked for and CuPy is not installed.
    """

    def __init__(self, reader: Reader, injector: Injector | None, *, device_id: int | None) -> None:
        self.reader = reader
        self._injector = injector
        self._device_id = device_id
        self._cupy = require_cupy() if device_id is not None else None
        if self._cupy is not None:
            with self._cupy.cuda.Device(device_id):
                self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._free: list[NDArray[Any]] = []
        self._lock = threading.Lock()

    def prepare(self, epoch: int, indices: NDArray[np.int64]) -> FedBatch:
        """Read a batch and compress what (seed, epoch, index) draws.

        Args:
            epoch: the epoch that the batch belongs to.
            indices: (batch,) images of the store.

        Returns:
            the batch; give it back with :meth:`release` once the pipeline has run.

        Raises:
            StoreError: an image cannot be read; names it.
            InputError: an image cannot be compressed; names the batch's images.
        """
        buffer = self._borrow(indices.size)
        canvas = self.reader.read(indices, out=buffer[: indices.size])
        if self._cupy is None:
            self._compress(canvas, epoch, indices)
            return FedBatch(canvas, buffer)
        with self._cupy.cuda.Device(self._device_id), self._stream:
            images = self._cupy.empty(canvas.shape, canvas.dtype)
            images.set(canvas, stream=self._stream)
            self._compress(images, epoch, indices)
            # Waiting here costs a background thread, and lets the pipeline read the array from any stream.
            self._stream.synchronize()
        return FedBatch(images, buffer)

    def release(self, batch: FedBatch) -> None:
        """Let the memory of a batch be used again: fresh pages for every batch cost more than decoding into them."""
        with self._lock:
            self._free.append(batch.buffer)

    def _compress(self, images: Any, epoch: int, indices: NDArray[np.int64]) -> None:
        if self._injector is not None:
            self._injector.apply(images, indices, self._injector.draw(epoch, indices))

    def _borrow(self, count: int) -> NDArray[Any]:
        with self._lock:
            while self._free:
                buffer = self._free.pop()
                if len(buffer) >= count:
                    return buffer
        header = self.reader.store.header
        shape = (count, *header.canvas)
        if self._cupy is None:
            return np.empty(shape, header.dtype)
        from cupyx import empty_pinned

        with self._cupy.cuda.Device(self._device_id):
            return empty_pinned(shape, header.dtype)


def require_cupy() -> Any:
    """The module ``cupy``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cupy
    except ImportError as error:
        raise MissingExtraError("cupy", "gpu", 'device="cuda"') from error
    return cupy
