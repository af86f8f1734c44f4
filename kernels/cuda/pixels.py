"""The kernel that turns reconstructed values into the pixels of the result, and copies what is not to be touched."""

from __future__ import annotations

from functools import cache
from math import nan
from typing import Any

from numba import cuda, float32, int64, uint64
from numba.types import float16  # type: ignore[attr-defined]

from wavestream.kernels.cuda.geometry import COUNT, HIGHEST, IMAGE_COLS, IMAGE_ROWS, LOWEST
from wavestream.kernels.cuda.intrinsics import round_half_even
from wavestream.kernels.cuda.selection import NOT_FINITE


@cache
def pixel_kernel(kind: str) -> Any:
    """The kernel (source, values, result, rows, cols, images, state) for a kind of pixel.

    Args:
        kind: ``"float16"`` or ``"float32"`` pixels, ``"integer"`` ones from float32 values, or ``"lifted"``: integer
            ones from int32 values.

    Integers are rounded half to even and clipped to the image's range; floats are converted, and an image with a
    coefficient that is not finite becomes NaN throughout. Pixels outside the image, and all pixels of an image to be
    copied, are those of ``source``, bit for bit.

    The kernel's arguments: ``source``, ``values``, ``result`` flat canvases of (batch, rows, cols), any of which may
    be the same array; ``images`` as in ``geometry``; ``state`` as in ``selection``.
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

    @cuda.jit
    def pixels(source, values, result, rows, cols, images, state):
        col = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        image = cuda.blockIdx.z
        while image < images.shape[0] and col < cols:
            row_end = images[image, IMAGE_ROWS]
            inside = images[image, COUNT] != 0 and col < images[image, IMAGE_COLS]
            row = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
            while row < rows:
                place = uint64((image * rows + row) * cols + col)
                if inside and row < row_end:
                    result[place] = convert(values[place], images, state, image)
                else:
                    result[place] = source[place]
                row += cuda.gridDim.y * cuda.blockDim.y
            image += cuda.gridDim.z

    return pixels
