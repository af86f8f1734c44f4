"""One image from its chunk: a prefix of layers, or a whole canvas compressed by zstd."""

from __future__ import annotations

import threading
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import StoreError
from wavestream.engine.imagearray import ImageArray
from wavestream.engine.layers import decode_image, header_of, needed_ranges
from wavestream.engine.resolution import reduced
from wavestream.engine.shardfiles import ShardError, ShardFiles
from wavestream.engine.store import Store


class LayeredChunks:
    """Images in layers. Safe to use from several threads.

    Args:
        store: gives sizes and ends of layers of its images.
        array: layout of its images.
        shards: where the chunks are.

    Raises:
        StoreError: ends of layers that do not ascend; names the image.
    """

    def __init__(self, store: Store, array: ImageArray, shards: ShardFiles) -> None:
        self._array = array
        self._shards = shards
        self._fractions = store.header.layers
        self._rows, self._cols = store.table["rows"], store.table["cols"]
        self._ends = store.table["layer_ends"]
        flat = self._ends.reshape(len(self._ends), -1)
        wrong = np.flatnonzero((flat[:, 1:] < flat[:, :-1]).any(axis=1))
        if wrong.size:
            raise StoreError(f"image {wrong[0]}: its layers in table/layer_ends do not ascend; ingest again")

    def stream(self, index: int, keep: float, reduction: int) -> tuple[memoryview, int]:
        """The compressed bytes of an image, for ``layers.decode_image``.

        Returns:
            a buffer in which the needed bytes lie at their places, and their number: 0 where the image has no chunk.

        Raises:
            ShardError, OSError: the shard is missing, cannot be read, or is damaged.
        """
        chunk, ends = self._shards.chunk(index), self._ends[index]
        size = 0 if chunk is None else chunk.size
        if size != ends[-1, -1]:
            raise ShardError(f"expected a chunk of {ends[-1, -1]} bytes, as the table says, found one of {size}")
        if chunk is None:
            return memoryview(b""), 0
        ranges = needed_ranges(ends, self._fractions, keep, reduction)
        return chunk.source.read(chunk.start, ranges), sum(stop - start for start, stop in ranges)

    def decode(self, index: int, image: NDArray[Any], keep: float, reduction: int) -> int:
        """Decode an image into the top-left corner of ``image``, 0 around it; the number of bytes that it needed.

        Raises:
            ShardError, OSError: as :meth:`stream`.
            CodecError: the stream is damaged.
        """
        data, needed = self.stream(index, keep, reduction)
        if not needed:
            image.fill(self._array.fill_value)
            return 0
        size, header = (int(self._rows[index]), int(self._cols[index])), header_of(data)
        if (header.rows, header.cols) != size or header.dtype != self._array.dtype:
            raise ShardError(
                f"expected {size[0]}x{size[1]} pixels of {self._array.dtype}, as the table says, found a stream of "
                f"{header.rows}x{header.cols} of {header.dtype}"
            )
        rows, cols = (reduced(side, reduction) for side in size)
        if rows > image.shape[0] or cols > image.shape[1]:
            raise ShardError(f"its {size[0]}x{size[1]} pixels do not fit onto the store's canvas")
        decode_image(data, keep, reduction, out=image)
        image[rows:] = 0
        image[:rows, cols:] = 0
        return needed


class CanvasChunks:
    """Canvases compressed by zstd. Safe to use from several threads.

    Args:
        array: layout of the store's images.
        shards: where the chunks are.
    """

    def __init__(self, array: ImageArray, shards: ShardFiles) -> None:
        self._array = array
        self._shards = shards
        self._local = threading.local()

    def decode(self, index: int, image: NDArray[Any], keep: float = 1.0, reduction: int = 0) -> int:
        """Decode the top-left corner of a canvas, as large as ``image``, whole; the number of bytes that it needed.

        Raises:
            ShardError, OSError: the shard is missing, cannot be read, or is damaged.
        """
        chunk = self._shards.chunk(index)
        if chunk is None:
            image.fill(self._array.fill_value)
            return 0
        canvas = image if image.shape == self._array.canvas else self._scratch()
        pixels = canvas.view(np.uint8).reshape(-1)
        data: Any = chunk.source.read(chunk.start, [(0, chunk.size)])
        try:
            decoded = imagecodecs.zstd_decode(data, out=pixels.data)
        except imagecodecs.ZstdError as error:
            raise ShardError(f"its pixels cannot be decoded ({error})") from error
        if np.asarray(decoded).nbytes != pixels.nbytes:
            raise ShardError(f"its pixels decode to fewer than {pixels.nbytes} bytes")
        if canvas is not image:
            image[...] = canvas[: image.shape[0], : image.shape[1]]
        if self._array.swap_bytes:
            image.byteswap(inplace=True)
        return chunk.size

    def _scratch(self) -> NDArray[Any]:
        """A canvas of this thread's own: fresh pages for every image cost more than decoding into them."""
        if not hasattr(self._local, "canvas"):
            self._local.canvas = np.empty(self._array.canvas, self._array.dtype)
        scratch: NDArray[Any] = self._local.canvas
        return scratch
