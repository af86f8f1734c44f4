"""Other ways to read the same random batches: what :mod:`wavestream.benchmarks.bench_reader` measures against.

- zarr-python: ``images[index]`` for each image, in as many threads as it is given (``images.oindex[indices]`` takes
  three to ten times as long); of the layers store through our codec, of a zstd store with what zarr-python brings
- PNG files: one per image, imagecodecs (libpng)
- NPY files: one per image, ``numpy.load``

All give a (batch, rows, cols) array of the stored integers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import cleanup_resources
from zarr.storage import LocalStore, WrapperStore

from wavestream.benchmarks.rounds import shared

Indices = NDArray[np.int64]


class CountingStore(WrapperStore[LocalStore]):
    """A local Zarr store that counts the bytes that are read from it."""

    bytes_read = 0

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """As the store does it."""
        found = await super().get(key, prototype, byte_range)
        self.bytes_read += 0 if found is None else len(found)
        return found


class ZarrReader:
    """zarr-python.

    Args:
        store: path of a store.
        threads: to use.
    """

    def __init__(self, store: Path, threads: int) -> None:
        self._files = CountingStore(LocalStore(store / "images", read_only=True))
        self._images = zarr.open_array(self._files, mode="r")
        self._files.bytes_read = 0
        self._threads = threads

    @property
    def bytes_read(self) -> int:
        """Bytes read for images so far, indexes of shards included."""
        return self._files.bytes_read

    def read(self, indices: Indices) -> NDArray[Any]:
        """The images of a batch."""
        images = np.empty((len(indices), *self._images.shape[1:]), self._images.dtype)

        def load(image: NDArray[Any], index: int) -> None:
            image[...] = self._images[index]

        shared(load, self._threads, images, indices.tolist())
        return images


class FileReader:
    """One file per image.

    Args:
        folder: of an export: ``table.csv`` and its files.
        canvas: (rows, cols) to put the images on, in their top-left corners.
        dtype: of the canvases.
        threads: to use.
    """

    def __init__(self, folder: Path, canvas: tuple[int, int], dtype: str, threads: int) -> None:
        with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
            self._files = [(folder / row["file"], int(row["offset"])) for row in csv.DictReader(file)]
        self._canvas = canvas
        self._dtype = dtype
        self._threads = threads
        self.bytes_read = 0

    def read(self, indices: Indices) -> NDArray[Any]:
        """The images of a batch."""
        files = [self._files[index] for index in indices]
        self.bytes_read += sum(path.stat().st_size for path, _ in files)
        images = np.zeros((len(files), *self._canvas), self._dtype)
        shared(_load, self._threads, images, files)
        return images


def _load(canvas: NDArray[Any], file: tuple[Path, int]) -> None:
    path, offset = file
    pixels = np.load(path) if path.suffix == ".npy" else imagecodecs.png_decode(path.read_bytes())
    image = canvas[: pixels.shape[0], : pixels.shape[1]]
    if offset:
        np.add(pixels, offset, out=image, dtype=np.int32, casting="unsafe")
    else:
        image[...] = pixels


@contextmanager
def zarr_threads(threads: int) -> Iterator[None]:
    """Let zarr-python use this many threads inside the block."""
    cleanup_resources()
    with zarr.config.set({"threading.max_workers": threads, "async.concurrency": max(10, threads)}):
        yield
    cleanup_resources()
