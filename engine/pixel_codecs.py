"""How an image becomes its chunk of a store: the two pixel codecs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from wavestream.engine.bitstream import LARGEST_SIDE, MOST_PIXELS
from wavestream.engine.frame import Scan
from wavestream.engine.layers import encode_image, segment_ends
from wavestream.engine.rejection import Reason, Rejected

ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Canvas:
    """The arrays that images are written into: (rows, cols) in pixels, and dtype name."""

    rows: int
    cols: int
    dtype: str


@dataclass(frozen=True)
class PixelCodec:
    """The codec of a store's chunks.

    Attributes:
        name: ``"layers"``, where a chunk is the image's own stream (:mod:`wavestream.engine.layers`) and the canvas
            costs nothing; or ``"zstd"``, where it is the whole canvas, compressed.
        fractions: of the layers; without meaning for ``"zstd"``.
    """

    name: Literal["layers", "zstd"]
    fractions: tuple[float, ...]

    def check(self, found: Scan) -> None:
        """Raise :class:`Rejected` for an image that the codec cannot hold.

        Only its size can be in the way: ingest takes images of up to 16 bits, signed or not, and the values of both,
        -32768 to 65535, are within what ``layers`` takes.
        """
        if self.name == "zstd":
            return
        if max(found.rows, found.cols) > LARGEST_SIDE or found.rows * found.cols > MOST_PIXELS:
            raise Rejected(
                Reason.TOO_LARGE_FOR_LAYERS,
                f"{found.rows} x {found.cols} pixels; up to {LARGEST_SIDE} rows and columns, {MOST_PIXELS} pixels",
            )

    def encode(
        self, pixels: NDArray[Any], value_range: tuple[int, int], canvas: Canvas
    ) -> tuple[bytes, NDArray[np.uint32] | None]:
        """Encode one image.

        Args:
            pixels: (rows, cols) integers of the canvas's dtype, little-endian, C-contiguous.
            value_range: lowest and highest value that the image may take.
            canvas: of the store.

        Returns:
            The chunk; and for ``layers`` the ends of its segments in bytes from its start, (layers, 4), else None.
        """
        if self.name == "zstd":
            padded = np.zeros((canvas.rows, canvas.cols), pixels.dtype)
            padded[: pixels.shape[0], : pixels.shape[1]] = pixels
            return bytes(Zstd(level=ZSTD_LEVEL).encode(padded)), None
        native = pixels.astype(canvas.dtype, copy=False)
        chunk = encode_image(native, value_range, fractions=self.fractions)
        return chunk, segment_ends(chunk).astype(np.uint32)
