"""Feed the pipeline: read the images of a batch and, where that is the place for it, compress them in one call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.errors import CodecError, MissingExtraError, StoreError
from wavestream.engine.injection import Injector, are_read
from wavestream.engine.ragged import shaped
from wavestream.engine.reader import Reader


@dataclass(frozen=True)
class FedBatch:
    """Raw images, ready for the pipeline.

    Attributes:
        images: of the store's dtype, NumPy, or CuPy for a GPU pipeline, complete: (batch, rows, cols), or, where they
            are of different sizes, a list of (rows, cols) arrays.
        buffer: the host memory behind them, to be handed back.
        bytes_read: compressed bytes of the store that they needed.
    """

    images: Any
    buffer: NDArray[Any]
    bytes_read: int


class Feeder:
    """Makes the pipeline's input. Safe to call from several threads.

    Args:
        reader: of the store.
        injector: compresses the images, in the source domain; None: leave them as stored. Where the store holds the
            compressed images, they are read and nothing is compressed.
        device_id: CUDA device to bring the images to, and to compress them on; None: stay on the CPU.
        reduction: r, 0 to 3: read at ``2^-r`` of the size; above 0 nothing may be left to compress.

    Raises:
        MissingExtraError: a device is asked for and CuPy is not installed.
    """

    def __init__(self, reader: Reader, injector: Injector | None, *, device_id: int | None, reduction: int = 0) -> None:
        self._injector = injector
        self._in_part = injector is not None and are_read(injector.artifacts, reader.store, "feed")
        self._images = (
            HostImages(reader, reduction) if device_id is None else DeviceImages(reader, reduction, device_id)
        )

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
        injector = self._injector
        if injector is None:
            return self._images.load(indices, None, None)
        keep = injector.draw(epoch, indices)
        if self._in_part:
            return self._images.load(indices, keep, None)
        return self._images.load(indices, None, lambda images: injector.apply(images, indices, keep))

    def release(self, batch: FedBatch) -> None:
        """Let the memory of a batch be used again: fresh pages for every batch cost more than decoding into them."""
        self._images.release(batch.buffer)


class HostImages:
    """Images decoded in host memory. Safe to use from several threads.

    Args:
        reader: of the store.
        reduction: r, 0 to 3: read at ``2^-r`` of the size.
    """

    def __init__(self, reader: Reader, reduction: int) -> None:
        self._reader = reader
        self._reduction = reduction
        self._free: list[NDArray[Any]] = []
        self._lock = threading.Lock()

    def load(
        self, indices: NDArray[np.int64], keep: ArrayLike | None, change: Callable[[Any], None] | None
    ) -> FedBatch:
        """Read a batch.

        Args:
            indices: (batch,) images of the store.
            keep: (batch,) fractions of the coefficients to read; None: everything.
            change: called with the images, to change them in place; None: leave them.
        """
        sizes = self._reader.sizes(indices, self._reduction)
        buffer = self._borrow(int(sizes.prod(axis=1).sum()))
        images = shaped(buffer, sizes)
        needed = self._reader.read_into(images, indices, keep, self._reduction)
        if change is not None:
            change(images)
        return FedBatch(images, buffer, needed)

    def release(self, buffer: NDArray[Any]) -> None:
        """Let the memory of a batch be used again."""
        with self._lock:
            self._free.append(buffer)

    def _borrow(self, pixels: int) -> NDArray[Any]:
        with self._lock:
            while self._free:
                buffer = self._free.pop()
                if buffer.size >= pixels:
                    return buffer
        return self._allocate(pixels, np.dtype(self._reader.store.header.dtype))

    def _allocate(self, pixels: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.empty(pixels, dtype)


class DeviceImages(HostImages):
    """Images on a CUDA device. Safe to use from several threads.

    Where nothing is to be changed, images in layers of one size are brought there as they are compressed, and decoded
    there; all others are decoded in pinned host memory.

    Raises:
        MissingExtraError: CuPy is not installed.
    """

    def __init__(self, reader: Reader, reduction: int, device_id: int) -> None:
        super().__init__(reader, reduction)
        self._cupy = require_cupy()
        self._device_id = device_id
        with self._cupy.cuda.Device(device_id):
            self._stream = self._cupy.cuda.Stream(non_blocking=True)

    def load(
        self, indices: NDArray[np.int64], keep: ArrayLike | None, change: Callable[[Any], None] | None
    ) -> FedBatch:
        """Read a batch; see :class:`HostImages`. ``change`` is called on the device."""
        if change is None and self._reader.layered:
            batch = self._decoded_there(indices, keep)
            if batch is not None:
                return batch
        host = super().load(indices, keep, None)
        sizes = self._reader.sizes(indices, self._reduction)
        with self._cupy.cuda.Device(self._device_id), self._stream:
            pixels = self._cupy.empty(int(sizes.prod(axis=1).sum()), host.buffer.dtype)
            pixels.set(host.buffer[: pixels.size], stream=self._stream)
            images = shaped(pixels, sizes)
            if change is not None:
                change(images)
            # Waiting here costs a background thread, and lets the pipeline read the array from any stream.
            self._stream.synchronize()
        return FedBatch(images, host.buffer, host.bytes_read)

    def _decoded_there(self, indices: NDArray[np.int64], keep: ArrayLike | None) -> FedBatch | None:
        """A batch whose compressed bytes are decoded on the device; None where its images are not all of one size."""
        sizes = self._reader.sizes(indices, self._reduction)
        if not indices.size or (sizes != sizes[0]).any():
            return None
        streams, needed = self._reader.streams(indices, keep, self._reduction)
        if not all(len(stream) for stream in streams):
            return None
        keeps = np.broadcast_to(np.asarray(1.0 if keep is None else keep, np.float64), indices.shape)
        dtype = np.dtype(self._reader.store.header.dtype)
        # Imported here: without a GPU nothing of Numba's CUDA half is needed.
        from wavestream.engine.layers_cuda import decode_batch

        with self._cupy.cuda.Device(self._device_id), self._stream:
            images = self._cupy.empty((len(indices), *sizes[0].tolist()), dtype)
            try:
                # Waits for the device, so that the pipeline may read the array from any stream.
                decode_batch(streams, keeps.tolist(), self._reduction, images)
            except (CodecError, ValueError) as error:
                raise StoreError(
                    f"{self._reader.store.location}: {error} (samples count within the batch of images "
                    f"{indices.tolist()}); run `wavestream verify` on the store, then ingest again or restore it"
                ) from error
        return FedBatch(images, np.empty(0, dtype), needed)

    def _allocate(self, pixels: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        from cupyx import empty_pinned

        with self._cupy.cuda.Device(self._device_id):
            return empty_pinned(pixels, dtype)


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
