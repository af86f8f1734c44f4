"""Shards: image chunks one after another, and their index at the end (Zarr v3 ``sharding_indexed``)."""

from __future__ import annotations

import os
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from wavestream.engine.durable import sync_folder
from wavestream.engine.errors import StoreError

NO_CHUNK = np.uint64(2**64 - 1)
"""Offset and length of an image that has no chunk in the shard: all its pixels are the fill value."""


class ShardWriter:
    """Writes one shard under a temporary name; the shard appears, complete, when :meth:`finish` renames it.

    The file holds the chunks, then the index: for each of ``capacity`` images its offset and length in bytes as
    little-endian ``uint64``, 2**64 - 1 twice where there is none, then the index's CRC-32C as little-endian ``uint32``
    (Zarr specification v3, ``sharding_indexed`` with ``index_location: end``).

    Args:
        path: final name of the shard.
        capacity: images per shard.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._file = self._partial.open("wb")
        self._index = np.full((capacity, 2), NO_CHUNK, dtype="<u8")
        self._end = 0
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return self.count == len(self._index)

    def append(self, chunk: bytes) -> None:
        """Add the next image's encoded chunk."""
        self._index[self.count] = self._end, len(chunk)
        self._file.write(chunk)
        self._end += len(chunk)
        self.count += 1

    def finish(self) -> None:
        """Write the index, flush to disk, and give the shard its name."""
        index = self._index.tobytes()
        self._file.write(index)
        self._file.write(google_crc32c.value(index).to_bytes(4, "little"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._partial, self._path)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Give up an unfinished shard; a finished one is left alone."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def shard_path(store: Path, number: int) -> Path:
    """Where shard ``number`` of a store's images lies."""
    return store / "images" / "c" / str(number) / "0" / "0"


def parse_index(tail: bytes | bytearray | memoryview) -> NDArray[np.uint64]:
    """The index at the end of a shard, checksum included, as (capacity, 2) offsets and lengths.

    Raises:
        ValueError: the checksum is wrong.
    """
    data = bytes(tail)
    if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ValueError("the checksum of the shard's index is wrong")
    return np.frombuffer(data[:-4], "<u8").astype(np.uint64).reshape(-1, 2)


def read_shard_index(path: Path, capacity: int) -> NDArray[np.uint64]:
    """The index of a shard: (capacity, 2) offset and length in bytes of each image's chunk, ``NO_CHUNK`` without one.

    Raises:
        StoreError: the file cannot be read or is too short, the index's checksum is wrong, or a chunk lies outside.
    """
    index_bytes = 16 * capacity + 4
    try:
        with path.open("rb") as file:
            room = os.fstat(file.fileno()).st_size - index_bytes
            file.seek(max(0, room))
            tail = file.read()
    except OSError as error:
        raise StoreError(f"{path}: the shard cannot be read ({error})") from error
    if room < 0:
        raise StoreError(f"{path}: expected an index of {index_bytes} bytes, got a shard of {len(tail)} bytes")
    try:
        index = parse_index(tail)
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from error
    offsets, lengths = index[(index != NO_CHUNK).any(axis=1)].T
    # Written so that no sum can wrap around 2^64.
    if np.any((offsets > room) | (lengths > room - np.minimum(offsets, room))):
        raise StoreError(f"{path}: the shard's index points outside the shard")
    return index
