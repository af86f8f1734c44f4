"""Read images of a store fast: cached shard indexes over memory maps, chunks decoded by threads without the GIL.

Does what zarr-python does for ``images[index]``, and the tests hold it to that; zarr-python itself reads the shard
index again for every request.
"""

from __future__ import annotations

import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import imagecodecs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.errors import StoreError
from wavestream.engine.imagearray import ImageArray, read_image_array
from wavestream.engine.store import Store

_MISSING = np.uint64(2**64 - 1)


class _Shard(NamedTuple):
    """A mapped shard file and its index: offset and length in bytes of each chunk, ``_MISSING`` where there is none."""

    data: Any
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]


class Reader:
    """Reads images by index. Safe to use from several threads, after a fork, and pickled to another process.

    Args:
        store: an opened store.
        threads: threads that decode; None: one per available core.

    Attributes:
        bytes_read: compressed bytes of all images read so far.

    Raises:
        StoreError: ``images`` is not laid out as this version writes it.
    """

    def __init__(self, store: Store, threads: int | None = None) -> None:
        self.store = store
        self.threads = threads or len(os.sched_getaffinity(0))
        self.bytes_read = 0
        self._array: ImageArray = read_image_array(store)
        self._reset()

    def __reduce__(self) -> tuple[type[Reader], tuple[Store, int]]:
        return Reader, (self.store, self.threads)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._shards: dict[int, _Shard] = {}
        self._pool: ThreadPoolExecutor | None = None

    def read(self, indices: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read whole canvases.

        Args:
            indices: (batch,) integers in [0, N), in any order, repeats allowed.
            out: C-contiguous (batch, H, W) array of the store's dtype to read into.

        Returns:
            (batch, H, W) raw stored integers; ``out`` where it was given.

        Raises:
            IndexError: an index outside the store.
            ValueError: ``out`` does not fit.
            StoreError: a shard is missing or damaged; names the image index and the shard.
        """
        if self._pid != os.getpid():
            # After a fork the pool's threads are gone and the lock may have been held by one of them.
            self._reset()
        wanted = np.asarray(indices, np.int64).reshape(-1)
        count = self._array.count
        if wanted.size and (wanted.min() < 0 or wanted.max() >= count):
            raise IndexError(f"image indices must lie in [0, {count}), got {wanted.min()}..{wanted.max()}")
        shape = (wanted.size, *self._array.canvas)
        if out is None:
            out = np.empty(shape, self._array.dtype)
        elif out.shape != shape or out.dtype != self._array.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self._array.dtype} {shape}, got {out.dtype} {out.shape}")
        lanes = min(self.threads, wanted.size)
        if lanes <= 1:
            total = self._read_lane(wanted, out, 0, 1)
        else:
            pool = self._executor()
            jobs = [pool.submit(self._read_lane, wanted, out, lane, lanes) for lane in range(lanes)]
            total = sum(job.result() for job in jobs)
        with self._lock:
            self.bytes_read += total
        return out

    def close(self) -> None:
        """Stop the decoding threads. Reading again starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="wavestream-decode")
            return self._pool

    def _read_lane(self, wanted: NDArray[np.int64], out: NDArray[Any], lane: int, lanes: int) -> int:
        return sum(self._read_one(int(wanted[slot]), out[slot]) for slot in range(lane, wanted.size, lanes))

    def _read_one(self, index: int, image: NDArray[Any]) -> int:
        number, chunk = divmod(index, self._array.shard_images)
        shard = self._shard(number, index)
        offset, length = shard.offsets[chunk], shard.lengths[chunk]
        if offset == _MISSING and length == _MISSING:
            image.fill(self._array.fill_value)
            return 0
        start, size = int(offset), int(length)
        flat = image.view(np.uint8).reshape(-1)
        try:
            decoded = imagecodecs.zstd_decode(shard.data[start : start + size], out=flat.data)
        except imagecodecs.ZstdError as error:
            raise self._damaged(index, number, f"its pixels cannot be decoded ({error})") from error
        if np.asarray(decoded).nbytes != flat.nbytes:
            raise self._damaged(index, number, f"its pixels decode to fewer than {flat.nbytes} bytes")
        if self._array.swap_bytes:
            image.byteswap(inplace=True)
        return size

    def _shard(self, number: int, index: int) -> _Shard:
        with self._lock:
            shard = self._shards.get(number)
            if shard is None:
                shard = self._shards[number] = self._open_shard(number, index)
            return shard

    def _open_shard(self, number: int, index: int) -> _Shard:
        """Map a shard file and check its index once: checksum, and that every chunk lies within the file."""
        entries = self._array.shard_images
        index_bytes = 16 * entries + 4
        try:
            with self._shard_path(number).open("rb") as file:
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise self._damaged(index, number, "the shard file is missing") from error
        except (OSError, ValueError) as error:
            raise self._damaged(index, number, f"the shard file cannot be read ({error})") from error
        if len(data) < index_bytes:
            raise self._damaged(index, number, f"the shard file has {len(data)} bytes, too few for its index")
        table = data[len(data) - index_bytes : len(data) - 4]
        stored = int.from_bytes(data[len(data) - 4 :], "little")
        if google_crc32c.value(bytes(table)) != stored:
            raise self._damaged(index, number, "the checksum of the shard's index is wrong")
        pairs = np.frombuffer(table, "<u8").reshape(entries, 2).astype(np.uint64)
        offsets, lengths = pairs[:, 0], pairs[:, 1]
        present = ~((offsets == _MISSING) & (lengths == _MISSING))
        room = np.uint64(len(data) - index_bytes)
        # Written so that no sum can wrap around 2^64.
        if np.any(present & ((offsets > room) | (lengths > room - np.minimum(offsets, room)))):
            raise self._damaged(index, number, "the shard's index points outside the shard")
        return _Shard(data, offsets, lengths)

    def _shard_path(self, number: int) -> Path:
        return self.store.path / "images" / "c" / str(number) / "0" / "0"

    def _damaged(self, index: int, number: int, what: str) -> StoreError:
        return StoreError(
            f"image {index} (shard {number}, {self._shard_path(number)}): {what}; "
            "run `wavestream verify` on the store, then ingest again or restore the shard from a copy"
        )
