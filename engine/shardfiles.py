"""The shards of a store's images, opened for reading: their indexes are read once, checked and kept."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.bytesource import ByteSource, Folder
from wavestream.engine.shards import NO_CHUNK, parse_index


class ShardError(Exception):
    """What is wrong with a shard; who asked for an image adds which one."""


class Chunk(NamedTuple):
    """Where an image's bytes lie: the file, their first byte and their number."""

    source: ByteSource
    start: int
    size: int


class _Shard(NamedTuple):
    """A shard and its index: offset and length in bytes of each chunk, ``NO_CHUNK`` where there is none."""

    source: ByteSource
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]


class ShardFiles:
    """The shards of a folder. Safe to use from several threads.

    Args:
        folder: of the store.
        shard_images: images per shard.
    """

    def __init__(self, folder: Folder, shard_images: int) -> None:
        self._folder = folder
        self._shard_images = shard_images
        self._lock = threading.Lock()
        self._opening: dict[int, threading.Lock] = {}
        self._shards: dict[int, _Shard] = {}

    def chunk(self, index: int) -> Chunk | None:
        """Where image ``index`` lies; None: the shard has no chunk of it.

        Raises:
            ShardError: the shard is missing, cannot be read, or its index is damaged.
        """
        number, place = divmod(index, self._shard_images)
        shard = self._shard(number)
        offset, length = shard.offsets[place], shard.lengths[place]
        if offset == NO_CHUNK and length == NO_CHUNK:
            return None
        return Chunk(shard.source, int(offset), int(length))

    def name(self, index: int) -> str:
        """Name of the file, within the store, that holds image ``index``."""
        return _name(index // self._shard_images)

    def _shard(self, number: int) -> _Shard:
        """The shard, opened by the thread that asks for it first; threads that want others do not wait for it."""
        shard = self._shards.get(number)
        if shard is None:
            with self._lock:
                opening = self._opening.setdefault(number, threading.Lock())
            with opening:
                shard = self._shards.get(number)
                if shard is None:
                    shard = self._shards[number] = self._open(number)
        return shard

    def _open(self, number: int) -> _Shard:
        """Read a shard's index and check it: in one request, where it is remote."""
        length = 16 * self._shard_images + 4
        try:
            source = self._folder.open(_name(number))
            index = source.tail(length)
        except FileNotFoundError as error:
            raise ShardError("the shard file is missing") from error
        except OSError as error:
            raise ShardError(f"the shard file cannot be read ({error})") from error
        if len(index) < length:
            raise ShardError(f"the shard file has {len(index)} bytes, too few for its index")
        try:
            pairs = parse_index(index)
        except ValueError as error:
            raise ShardError(str(error)) from error
        return _Shard(source, pairs[:, 0], pairs[:, 1])


def _name(number: int) -> str:
    return f"images/c/{number}/0/0"
