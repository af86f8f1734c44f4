"""Where each coefficient of a transformed image lies: the packed layout that every backend reads and writes.

The coefficients of one image are one flat buffer. Subbands lie one after the other, coarse to fine, each in C order::

    [LL_L, HL_L, LH_L, HH_L, ..., HL_2, LH_2, HH_2, HL_1, LH_1, HH_1]         L levels, level 1 the finest

A name says first the horizontal filter (along a row, axis 1), then the vertical one (down a column, axis 0), as in
JPEG 2000. PyWavelets calls them by the direction of the edges they show:

======  ==========================  ==========================  =================
name    along a row (axis 1)        down a column (axis 0)      in ``pywt.dwt2``
======  ==========================  ==========================  =================
``LL``  low-pass                    low-pass                    ``cA``
``HL``  high-pass                   low-pass                    ``cV``
``LH``  low-pass                    high-pass                   ``cH``
``HH``  high-pass                   high-pass                   ``cD``
======  ==========================  ==========================  =================

Of ``n`` samples the low-pass keeps ``ceil(n / 2)``, in both families. The high-pass keeps ``ceil(n / 2)`` with the
float wavelets (an odd signal repeats its last sample, so an odd image has a few more coefficients than pixels) and
``floor(n / 2)`` with ``cdf53`` (as many coefficients as pixels; a side of one sample has no high-pass, and the
subband has zero rows or columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.wavelets import INTEGER_WAVELET, cdf53_norms, check_wavelet

ORIENTATIONS = ("LL", "HL", "LH", "HH")

# Columns of Layout.table.
LEVEL, ORIENTATION, OFFSET, ROWS, COLS = range(5)


@dataclass(frozen=True)
class Subband:
    """One subband of a packed image.

    Attributes:
        orientation: ``LL``, ``HL``, ``LH`` or ``HH``.
        level: 1 for the finest.
        offset: of its first coefficient, in coefficients from the start of the image's buffer.
        rows, cols: its size in coefficients; either may be 0 with ``cdf53``.
    """

    orientation: str
    level: int
    offset: int
    rows: int
    cols: int

    @property
    def name(self) -> str:
        """Orientation and level, as in ``HL3``."""
        return f"{self.orientation}{self.level}"

    @property
    def size(self) -> int:
        """Coefficients in the subband."""
        return self.rows * self.cols


@dataclass(frozen=True)
class Layout:
    """The packed layout of one image size, wavelet and depth; get one from :func:`layout_of`.

    Attributes:
        rows, cols: of the image, in pixels.
        wavelet: its name.
        levels: number of levels, at least 1.
        subbands: the ``1 + 3 * levels`` subbands in the order of the buffer.
    """

    rows: int
    cols: int
    wavelet: str
    levels: int
    subbands: tuple[Subband, ...]

    @property
    def size(self) -> int:
        """Coefficients of the image: ``rows * cols``, or somewhat more for float wavelets and odd sizes."""
        return self.subbands[-1].offset + self.subbands[-1].size

    @property
    def table(self) -> NDArray[np.int64]:
        """The subbands for compiled code: (1 + 3 * levels, 5) int64.

        Columns are level, orientation (index into :data:`ORIENTATIONS`), offset, rows, cols. ``HL``, ``LH``, ``HH`` of
        level ``l`` are rows ``1 + 3 * (levels - l)`` and the two after it.
        """
        return np.array(
            [(s.level, ORIENTATIONS.index(s.orientation), s.offset, s.rows, s.cols) for s in self.subbands],
            dtype=np.int64,
        )

    @property
    def low_shapes(self) -> NDArray[np.int64]:
        """(rows, cols) of the image (row 0) and of ``LL`` after each level (row ``l``): (levels + 1, 2) int64."""
        return low_shapes(self.rows, self.cols, self.levels)

    @property
    def weights(self) -> NDArray[np.float32]:
        """The factor of each subband's magnitudes in the selection, (1 + 3 * levels,) float32, in subband order."""
        if self.wavelet == INTEGER_WAVELET:
            return cdf53_norms(self.levels)
        return np.ones(len(self.subbands), dtype=np.float32)


def low_shapes(rows: int, cols: int, levels: int) -> NDArray[np.int64]:
    """(rows, cols) of an image and of its ``LL`` subband after each level: (levels + 1, 2) int64."""
    shapes = np.empty((levels + 1, 2), dtype=np.int64)
    shapes[0] = rows, cols
    for level in range(1, levels + 1):
        shapes[level] = (shapes[level - 1] + 1) // 2
    return shapes


@lru_cache(maxsize=4096)
def layout_of(rows: int, cols: int, wavelet: str, levels: int) -> Layout:
    """The packed layout of an image of ``rows`` x ``cols`` pixels after ``levels`` levels.

    Only geometry: whether the wavelet allows so many levels is :func:`wavestream.kernels.wavelets.max_levels`' to say.

    Raises:
        ValueError: unknown wavelet, a side or the number of levels below 1.
    """
    check_wavelet(wavelet)
    if min(rows, cols, levels) < 1:
        raise ValueError(f"expected at least 1x1 pixels and 1 level, got {rows}x{cols} pixels and {levels} levels")
    shapes = [(int(r), int(c)) for r, c in low_shapes(rows, cols, levels)]
    low_rows, low_cols = shapes[-1]
    subbands = [Subband("LL", levels, 0, low_rows, low_cols)]
    offset = low_rows * low_cols
    for level in range(levels, 0, -1):
        low_rows, low_cols = shapes[level]
        high_rows, high_cols = low_rows, low_cols
        if wavelet == INTEGER_WAVELET:
            high_rows, high_cols = shapes[level - 1][0] // 2, shapes[level - 1][1] // 2
        sizes = {"HL": (low_rows, high_cols), "LH": (high_rows, low_cols), "HH": (high_rows, high_cols)}
        for orientation, (band_rows, band_cols) in sizes.items():
            subbands.append(Subband(orientation, level, offset, band_rows, band_cols))
            offset += band_rows * band_cols
    return Layout(rows, cols, wavelet, levels, tuple(subbands))
