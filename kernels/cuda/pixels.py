"""The kernel that turns reconstructed values into the pixels of the result, and copies what is not to be touched."""

from __future__ import annotations

from functools import cache
from math import nan
from typing import Any

import numpy as np
from numba import cuda, float32, int64, uint64
from numba.types import float16  # type: ignore[attr-defined]

from wavestream.kernels.cuda.geometry import (
    CANVAS_COLS,
    CANVAS_ROWS,
    COUNT,
    HIGHEST,
    IMAGE_COLS,
    IMAGE_ROWS,
    LOWEST,
    RESULT,
    SOURCE,
    VALUES,
)
from wavestream.kernels.cuda.intrinsics import round_half_even
from wavestream.kernels.cuda.selection import NOT_FINITE
from wavestream.kernels.wavelets import INTEGER_WAVELET


def pixel_kernel_of(source: np.dtype[Any], result: np.dtype[Any], wavelet: str) -> Any:
    """:func:`pixel_kernel` for pixels of dtype ``source`` whose artifact is stored as ``result``."""
    if source.kind == "f":
        return pixel_kernel(result.name)
    kind = "lifted" if wavelet == INTEGER_WAVELET else "integer"
    return pixel_kernel(kind, result.name if result.kind == "f" else None)


@cache
def pixel_kernel(kind: str, stored: str | None = None) -> Any:
    """The kernel (source, values, result, images, state) for a kind of pixel.

    Args:
        kind: ``"float16"`` or ``"float32"`` pixels, ``"integer"`` ones from float32 values, or ``"lifted"``: integer
            ones from int32 values.
        stored: ``"float16"`` or ``"float32"`` for integer pixels that are stored as such; else None.

    Integers are rounded half to even and clipped to the image's range; floats are converted, and an image with a
    coefficient that is not finite becomes NaN throughout. Pixels outside the image, and all pixels of an image to be
    copied, are those of ``source``, bit for bit where the dtype is the same.

    The kernel's arguments: ``source``, ``values``, ``result`` flat, any of which may be the same array; ``images`` as
    in ``geometry``; ``state`` as in ``selection``.
    """
    if kind == "lifted":

        @cuda.jit(device=True)
        def convert(value, images, state, image):
            return min(max(int64(value), images[image, LOWEST]), images[image, HIGHEST])
    elif kind == "integer":

        @cuda.jit(device=True)
        def convert(value, images, state, image):
            return min(max(int64(round_half_even(value)), images[image, LOWEST]), images[image, HIGHEST])
    else:
        dtype = float16 if kind == "float16" else float32

        @cuda.jit(device=True)
        def convert(value, images, state, image):
            return dtype(float32(nan) if state[NOT_FINITE, image] == 1 else value)

    if stored == "float16":

        @cuda.jit(device=True)
        def store(value):
            return float16(float32(value))
    elif stored == "float32":

        @cuda.jit(device=True)
        def store(value):
            return float32(value)
    else:

        @cuda.jit(device=True)
        def store(value):
            return value

    @cuda.jit
    def pixels(source, values, result, images, state):
        first_row = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        col = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        image = cuda.blockIdx.z
        while image < images.shape[0]:
            rows, cols = images[image, CANVAS_ROWS], images[image, CANVAS_COLS]
            if col < cols:
                row_end = images[image, IMAGE_ROWS]
                inside = images[image, COUNT] != 0 and col < images[image, IMAGE_COLS]
                from_start, values_start = images[image, SOURCE], images[image, VALUES]
                to_start = images[image, RESULT]
                row = first_row
                while row < rows:
                    place = row * cols + col
                    if inside and row < row_end:
                        value = convert(values[uint64(values_start + place)], images, state, image)
                        result[uint64(to_start + place)] = store(value)
                    else:
                        result[uint64(to_start + place)] = store(source[uint64(from_start + place)])
                    row += cuda.gridDim.y * cuda.blockDim.y
            image += cuda.gridDim.z

    return pixels
