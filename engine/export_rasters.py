"""Images as PNG and NPY files."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import StoreError
from wavestream.engine.export_files import FileFormat
from wavestream.engine.export_source import ExportSource

PNG_LEVEL = 6  # zlib level of a PNG, the default of most programs
_HIGHEST = 65535


def png_format(source: ExportSource) -> FileFormat:
    """PNG: greyscale, 8 bits where an image's value range fits, else 16.

    PNG has no negative values, so an offset is subtracted: the lowest value that any image of the store may take, where
    that is negative; so equal values stay equal across the export. Where 16 bits do not hold that, each image has its
    own offset, the lowest value that it may take.

    Raises:
        StoreError: an image's value range needs more than 16 bits.
    """
    low = np.minimum(source.table["value_low"].astype(np.int64), 0)
    high = source.table["value_high"].astype(np.int64)
    offsets = np.full_like(low, low.min(initial=0))
    if (high - offsets > _HIGHEST).any():
        offsets = low
    tops = high - offsets
    if (tops > _HIGHEST).any():
        index = int(tops.argmax())
        raise StoreError(
            f"image {index}: its values may range from {low[index]} to {high[index]}, a PNG holds 16 bits: export it "
            "as npy"
        )

    def encode(index: int) -> bytes:
        return encode_png(source.read(index), int(offsets[index]), int(tops[index]))

    return FileFormat("png", encode, offsets.tolist())


def encode_png(pixels: NDArray[Any], offset: int, top: int) -> bytes:
    """A greyscale PNG file of ``pixels - offset``.

    Args:
        pixels: (rows, cols) integers from ``offset`` to ``offset + top``.
        offset: stored value that becomes 0.
        top: highest value that the file must hold, at most 65535; 8 bits are used up to 255.
    """
    dtype = np.uint8 if top <= np.iinfo(np.uint8).max else np.uint16
    shifted = (pixels.astype(np.int32) - offset).astype(dtype)
    return bytes(imagecodecs.png_encode(shifted, level=PNG_LEVEL))


def npy_format(source: ExportSource) -> FileFormat:
    """NPY: the stored integers in the store's dtype, little-endian."""

    def encode(index: int) -> bytes:
        pixels = source.read(index)
        content = io.BytesIO()
        np.save(content, pixels.astype(pixels.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
        return content.getvalue()

    return FileFormat("npy", encode, [0] * len(source))
