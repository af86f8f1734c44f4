"""Read images of a store fast: cached shard indexes, exact byte ranges, decoded by threads without the GIL.

Does what zarr-python does for ``images[index]``, and the tests hold it to that; zarr-python itself reads the shard
index again for every request, and whole chunks only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.errors import CodecError, InputError, StoreError
from wavestream.engine.imagearray import ImageArray, read_image_array
from wavestream.engine.imagechunks import CanvasChunks, LayeredChunks
from wavestream.engine.layers import REDUCTIONS
from wavestream.engine.resolution import reduced
from wavestream.engine.shardfiles import ShardError, ShardFiles
from wavestream.engine.store import Store


class Reader:
    """Reads images by index. Safe to use from several threads, after a fork, and pickled to another process.

    Args:
        store: an opened store, local or remote.
        threads: threads that decode; None: one per available core. A remote store is read by at least
            ``bytesource.REMOTE_LANES`` threads, which mostly wait.

    Attributes:
        bytes_read: compressed bytes of all images read so far, exactly those that were needed.

    Raises:
        StoreError: ``images`` or ``table`` is not laid out as this version writes it.
    """

    def __init__(self, store: Store, threads: int | None = None) -> None:
        self.store = store
        self.threads = threads or len(os.sched_getaffinity(0))
        self.bytes_read = 0
        self._array: ImageArray = read_image_array(store)
        self._sizes = np.column_stack([store.table["rows"], store.table["cols"]]).astype(np.int64)
        self._reset()

    def __reduce__(self) -> tuple[type[Reader], tuple[Store, int]]:
        return Reader, (self.store, self.threads)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._shards = ShardFiles(self.store.folder, self._array.shard_images)
        self._chunks = (
            CanvasChunks(self._array, self._shards)
            if self._array.fractions is None
            else LayeredChunks(self.store, self._array, self._shards)
        )

    def sizes(self, indices: ArrayLike, reduction: int = 0) -> NDArray[np.int64]:
        """Rows and columns of images at ``2^-reduction`` of their size, (batch, 2)."""
        return np.asarray(reduced(self._sizes[np.asarray(indices, np.int64)], reduction))

    def read(
        self,
        indices: ArrayLike,
        keep: ArrayLike | None = None,
        reduction: int = 0,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Read images onto canvases: in their top-left corners, with 0 around them.

        Args:
            indices: (batch,) integers in [0, N), in any order, repeats allowed.
            keep: fraction of the wavelet coefficients to read, in (0, 1], one for all images or (batch,); the image is
                what ``inject(whole, keep, "cdf53")`` gives, bit for bit. None: everything.
            reduction: r from 0 to 3: the image at ``2^-r`` of its size, ceil(rows / 2^r) x ceil(cols / 2^r) pixels, the
                low-pass of the transform.
            out: C-contiguous (batch, rows, cols) array of the store's dtype to read into, large enough for these
                images and not larger than the canvas at that size; what it held is overwritten.

        Returns:
            (batch, rows, cols) raw stored integers: ``out``, or a new array of ceil(H / 2^r) x ceil(W / 2^r) canvases.

        Raises:
            IndexError: an index outside the store.
            ValueError: ``keep`` or ``reduction`` out of its range, an image too small for the reduction (fewer than two
                pixels before the last halving), or ``out`` does not fit.
            InputError: a part of an image is asked for, and the store's codec is ``zstd``.
            StoreError: a shard is missing, cannot be read or is damaged; names the image index and the shard.
        """
        wanted = self._checked_indices(indices, reduction)
        if out is None:
            canvas = (reduced(side, reduction) for side in self._array.canvas)
            out = np.empty((wanted.size, *canvas), self._array.dtype)
        elif not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self._array.dtype} (batch, rows, cols), got {out.shape}")
        self.read_into(out, wanted, keep, reduction)
        return out

    def read_into(
        self,
        out: NDArray[Any] | Sequence[NDArray[Any]],
        indices: ArrayLike,
        keep: ArrayLike | None = None,
        reduction: int = 0,
    ) -> int:
        """:meth:`read` into arrays that may be of different sizes.

        Args:
            out: a C-contiguous (rows, cols) array for each image, of the store's dtype, at least as large as the image
                and at most as the canvas, at that size.
            indices, keep, reduction: as for :meth:`read`.

        Returns:
            the compressed bytes that these images needed.

        Raises:
            As :meth:`read`.
        """
        if self._pid != os.getpid():
            # After a fork the pool's threads are gone and the lock may have been held by one of them.
            self._reset()
        wanted = self._checked_indices(indices, reduction)
        keeps = self._checked_keep(keep, wanted.size, reduction)
        self._check_out(out, self.sizes(wanted, reduction), reduction)
        lanes = min(self._most_lanes, wanted.size)

        def read_lane(lane: int) -> int:
            slots = range(lane, wanted.size, lanes)
            return sum(self._read_one(int(wanted[slot]), out[slot], float(keeps[slot]), reduction) for slot in slots)

        each = self._executor().map if lanes > 1 else map
        total = sum(each(read_lane, range(lanes)))
        with self._lock:
            self.bytes_read += total
        return total

    @property
    def layered(self) -> bool:
        """Whether the store holds its images in layers, and :meth:`streams` can give them."""
        return isinstance(self._chunks, LayeredChunks)

    def streams(self, indices: ArrayLike, keep: ArrayLike | None = None, reduction: int = 0) -> tuple[list[Any], int]:
        """The compressed bytes of images in layers, for a decoder on a device.

        Args:
            indices, keep, reduction: as for :meth:`read`.

        Returns:
            a buffer for each image, in which the bytes that ``layers.decode_image`` needs lie at their places (empty
            where the image has no chunk); and the number of bytes needed.

        Raises:
            As :meth:`read`, but for damage within the streams.
        """
        if self._pid != os.getpid():
            self._reset()
        wanted = self._checked_indices(indices, reduction)
        keeps = self._checked_keep(keep, wanted.size, reduction)
        chunks = self._chunks
        if not isinstance(chunks, LayeredChunks):
            raise InputError(f"{self.store.location} holds no layers, as its codec is zstd: read its images instead")

        def one(index: int, keep: float) -> tuple[Any, int]:
            with self._naming(index):
                return chunks.stream(index, keep, reduction)

        each = self._executor().map if min(self._most_lanes, wanted.size) > 1 else map
        found = list(each(one, wanted.tolist(), keeps.tolist()))
        total = sum(needed for _, needed in found)
        with self._lock:
            self.bytes_read += total
        return [stream for stream, _ in found], total

    def close(self) -> None:
        """Stop the decoding threads. Reading again starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    @property
    def _most_lanes(self) -> int:
        return max(self.threads, self.store.folder.lanes)

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._most_lanes, thread_name_prefix="wavestream-decode")
            return self._pool

    def _checked_indices(self, indices: ArrayLike, reduction: int) -> NDArray[np.int64]:
        wanted = np.asarray(indices, np.int64).reshape(-1)
        count = self._array.count
        if wanted.size and (wanted.min() < 0 or wanted.max() >= count):
            raise IndexError(f"image indices must lie in [0, {count}), got {wanted.min()}..{wanted.max()}")
        if reduction not in range(REDUCTIONS):
            raise ValueError(f"reduction must be a whole number from 0 to {REDUCTIONS - 1}, got {reduction!r}")
        # Of levels the transform has at least one, and no more than it takes to halve both sides down to 1.
        small = wanted[self._sizes[wanted].max(axis=1) <= 1 << (reduction - 1)] if reduction > 1 else wanted[:0]
        if small.size:
            rows, cols = self._sizes[small[0]].tolist()
            raise ValueError(f"image {small[0]} of {rows}x{cols} pixels is too small for a reduction of {reduction}")
        return wanted

    def _checked_keep(self, keep: ArrayLike | None, count: int, reduction: int) -> NDArray[np.float64]:
        keeps = np.broadcast_to(np.asarray(1.0 if keep is None else keep, np.float64), (count,))
        wrong = keeps[~((keeps > 0) & (keeps <= 1))]
        if wrong.size:
            raise ValueError(f"keep must lie in (0, 1], got {wrong[0]}")
        if self._array.fractions is None and (reduction or (keeps < 1).any()):
            raise InputError(
                f"{self.store.location} can be read whole only, as its codec is zstd: ingest again with the codec "
                "layers to read images at a compression level or a lower resolution"
            )
        return keeps

    def _check_out(self, out: NDArray[Any] | Sequence[NDArray[Any]], sizes: NDArray[np.int64], reduction: int) -> None:
        dtype, most = self._array.dtype, reduced(np.array(self._array.canvas), reduction)
        # A damaged table may name larger images.
        sizes = np.minimum(sizes, most)
        if len(out) != len(sizes):
            raise ValueError(f"out must hold {len(sizes)} arrays, one for each image, got {len(out)}")
        for image, size in zip(out, sizes, strict=True):
            fits = image.ndim == 2 and (image.shape >= size).all() and (image.shape <= most).all()
            if not fits or image.dtype != dtype or not image.flags.c_contiguous:
                raise ValueError(
                    f"out must be C-contiguous {dtype} of {size.tolist()} to {most.tolist()} rows and columns, got "
                    f"{image.dtype} {image.shape}"
                )

    def _read_one(self, index: int, image: NDArray[Any], keep: float, reduction: int) -> int:
        with self._naming(index):
            return self._chunks.decode(index, image, keep, reduction)

    @contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        """What goes wrong with an image's bytes becomes an error that names it."""
        try:
            yield
        except (ShardError, CodecError, OSError) as error:
            number, file = index // self._array.shard_images, self._shards.name(index)
            raise StoreError(
                f"image {index} (shard {number}, {self.store.folder.within(file)}): {error}; "
                "run `wavestream verify` on the store, then ingest again or restore the shard from a copy"
            ) from error
