"""The chunks of a store, looked at closely: where they lie in their shards, and whether they are what the table says.

Reads and decodes by itself, image by image, and trusts nothing; :mod:`wavestream.engine.reader` is the fast way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import CodecError, StoreError
from wavestream.engine.imagearray import read_image_array
from wavestream.engine.layers import decode_image, header_of, segment_ends
from wavestream.engine.shards import NO_CHUNK, read_shard_index, shard_path
from wavestream.engine.store import Store

_KEPT_INDEXES = 64


class StoredChunks:
    """The chunks of an opened store; safe to use from several threads.

    Raises:
        StoreError: ``images`` is not laid out as this version writes it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._array = read_image_array(store)
        self._index = lru_cache(_KEPT_INDEXES)(self._read_index)

    def problems(self) -> Iterator[str]:
        """What is wrong with the places of the chunks; nothing about shards whose index cannot be read."""
        for number in range(-(-len(self._store) // self._store.header.shard_images)):
            try:
                index = self._index(number)
            except StoreError:
                continue  # reading any of its images says so, and names the image
            if (index[len(self._store) - number * len(index) :] != NO_CHUNK).any():
                yield f"shard {number}: its index lists images beyond the last of the store"
            yield from self._gaps(number, index)

    def image_problem(self, index: int) -> str | None:
        """What is wrong with an image: its shard's index, its chunk, its pixels, or what the table says of them."""
        try:
            chunk = self._read(index)
            if self._store.header.codec == "layers":
                return self._layers_problem(index, chunk)
            return self._pixels_problem(index, self._canvas(chunk))
        except (StoreError, CodecError, imagecodecs.ZstdError, OSError) as error:
            return f"it cannot be read: {error}"

    def _layers_problem(self, index: int, chunk: bytes | None) -> str | None:
        header, table = self._store.header, self._store.table
        ends = table["layer_ends"][index]
        if chunk is None:
            if ends.any():
                return "table/layer_ends is not 0, but it has no chunk"
            return self._pixels_problem(index, self._canvas(None))
        found = header_of(chunk)
        names = ("rows", "cols", "dtype", "value range", "layers")
        stated = (
            *(int(table["rows"][index]), int(table["cols"][index]), header.dtype),
            *((int(table["value_low"][index]), int(table["value_high"][index])), header.layers),
        )
        streamed = (found.rows, found.cols, found.dtype.name, tuple(found.value_range), tuple(found.fractions))
        for name, expected, got in zip(names, stated, streamed, strict=True):
            if expected != got:
                return f"expected {name} {expected} as the table says, got {got} in its stream"
        wrong = self._pixels_problem(index, decode_image(chunk))
        if wrong is not None:
            return wrong
        if not np.array_equal(segment_ends(chunk), ends):
            return "table/layer_ends does not say where the segments of its stream end"
        if ends[-1, -1] != len(chunk):
            return f"expected a stream of {ends[-1, -1]} bytes, got a chunk of {len(chunk)} bytes"
        return None

    def _pixels_problem(self, index: int, canvas: NDArray[Any]) -> str | None:
        """Whether an image, with or without the canvas around it, is the one that was stored."""
        rows, cols = int(self._store.table["rows"][index]), int(self._store.table["cols"][index])
        pixels = np.ascontiguousarray(canvas[:rows, :cols], dtype=canvas.dtype.newbyteorder("<"))
        if hashlib.sha256(pixels.data).digest() != self._store.table["pixel_sha256"][index].tobytes():
            return "its pixels are not those that were stored (SHA-256)"
        if canvas[rows:].any() or canvas[:rows, cols:].any():
            return "the canvas around it is not 0"
        return None

    def _canvas(self, chunk: bytes | None) -> NDArray[Any]:
        """The canvas in a zstd chunk, or that of an image without a chunk."""
        canvas = np.full(self._array.canvas, self._array.fill_value, self._array.dtype)
        if chunk is not None:
            decoded = imagecodecs.zstd_decode(chunk, out=canvas.view(np.uint8).reshape(-1).data)
            if np.asarray(decoded).nbytes != canvas.nbytes:
                raise StoreError(f"expected a canvas of {canvas.nbytes} bytes, got {np.asarray(decoded).nbytes}")
        return canvas.byteswap() if self._array.swap_bytes else canvas

    def _read_index(self, number: int) -> NDArray[np.uint64]:
        return read_shard_index(shard_path(self._store.path, number), self._store.header.shard_images)

    def _read(self, index: int) -> bytes | None:
        number, place = divmod(index, self._store.header.shard_images)
        offset, length = self._index(number)[place]
        if offset == NO_CHUNK and length == NO_CHUNK:
            return None
        with shard_path(self._store.path, number).open("rb") as file:
            return os.pread(file.fileno(), int(length), int(offset))

    def _gaps(self, number: int, index: NDArray[np.uint64]) -> Iterator[str]:
        """Bytes that no chunk or more than one holds: no checksum would tell of a change in them."""
        spans = index[(index != NO_CHUNK).any(axis=1)]
        starts, lengths = spans[np.lexsort((spans[:, 1], spans[:, 0]))].astype(np.int64).T
        size = shard_path(self._store.path, number).stat().st_size - 16 * len(index) - 4
        borders = np.append(0, starts + lengths), np.append(starts, size)
        for end, start in zip(*(border.tolist() for border in borders), strict=True):
            if end != start:
                what = "belong to no image" if end < start else "belong to more than one image"
                yield f"shard {number}: bytes {min(start, end)} to {max(start, end)} {what}"
