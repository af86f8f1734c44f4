"""The weighted magnitude of a coefficient and the extent of a subband, as device functions.

|c| for the float wavelets. For ``cdf53``, ``float32(|c|) * float32(norm)``: a conversion and a multiply that each round
once, with nothing added, so that no compiler can contract them and every backend gets the same bits.
Here ``lifted`` stands for ``cdf53``, and its absence for any float wavelet: they need the same code. ``axes`` is 2 for
images, 3 for volumes, which have twice as many subbands per level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, float32, int64

from wavestream.kernels.cuda.geometry import COLS, HL, LAST, LOW, ROWS
from wavestream.kernels.layout import ORIENTATIONS
from wavestream.kernels.volume_layout import VOLUME_ORIENTATIONS, volume_weight
from wavestream.kernels.wavelets import INTEGER_WAVELET, cdf53_norm

# Deep enough for any side that a 32-bit number can tell.
_DEEPEST = 32


def weights_of(lifted: bool, axes: int = 2) -> np.ndarray:
    """(levels, 2**axes) float32 weights of the subbands, level 1 in row 0.

    Columns as in ``layout.ORIENTATIONS``, for volumes as in ``volume_layout.VOLUME_ORIENTATIONS``.
    """
    if not lifted:
        return np.ones((_DEEPEST, 1 << axes), dtype=np.float32)
    levels = range(1, _DEEPEST + 1)
    if axes == 3:
        rows = [[volume_weight(INTEGER_WAVELET, name, level) for name in VOLUME_ORIENTATIONS] for level in levels]
    else:
        rows = [[cdf53_norm(name, level) for name in ORIENTATIONS] for level in levels]
    return np.array(rows, dtype=np.float32)


def magnitude_of(lifted: bool) -> Callable[..., Any]:
    """Device function (coefficient, weight) -> its weighted magnitude, float32."""
    if lifted:

        @cuda.jit(device=True)
        def magnitude(coefficient, weight):
            return float32(abs(int64(coefficient))) * float32(weight)
    else:

        @cuda.jit(device=True)
        def magnitude(coefficient, weight):
            return float32(abs(coefficient))

    return magnitude


def extent_of(lifted: bool, axes: int = 2) -> Callable[..., Any]:
    """Device function (levels table, level, image, orientation) -> offset and number of coefficients of a subband.

    The number is 0 for a subband the image does not have, and for the low-pass of every level but the coarsest. The
    table of volumes (:mod:`wavestream.kernels.cuda.volume_geometry`) holds both as they are.
    """
    if axes == 3:

        @cuda.jit(device=True)
        def volume_extent(levels, level, image, orientation):
            return levels[level, image, 2 * orientation], levels[level, image, 2 * orientation + 1]

        return volume_extent
    # Rows and columns of the high-pass: floor(n / 2) for cdf53, ceil(n / 2) for the others.
    rounding = 0 if lifted else 1

    @cuda.jit(device=True)
    def extent(levels, level, image, orientation):
        rows = levels[level, image, ROWS]
        cols = levels[level, image, COLS]
        if orientation == 0:
            size = ((rows + 1) >> 1) * ((cols + 1) >> 1) * levels[level, image, LAST]
            return levels[level, image, LOW], size
        band_rows = (rows + 1) >> 1 if orientation == 1 else (rows + rounding) >> 1
        band_cols = (cols + 1) >> 1 if orientation == 2 else (cols + rounding) >> 1
        return levels[level, image, HL + orientation - 1], band_rows * band_cols

    return extent
