"""Where each coefficient of a transformed volume lies, how deep a volume can be transformed, and its subbands' weights.

The 3-D counterpart of :mod:`wavestream.kernels.layout`. Axes are (slices, rows, cols). The coefficients of one volume
are one flat buffer; subbands lie one after the other, coarse to fine, each in C order::

    [LLL_L, HLL_L, LHL_L, HHL_L, LLH_L, HLH_L, LHH_L, HHH_L, ..., HHH_1]      L levels, level 1 the finest

A name says the filter along a row (axis 2), down a column (axis 1) and through the slices (axis 0), as the 2-D names
do. PyWavelets' ``wavedecn`` names them the other way round, axis 0 first, with ``a`` for low-pass and ``d`` for
high-pass: ``HLL`` is ``aad``. Of ``n`` samples the low-pass keeps ``ceil(n / 2)``, the high-pass ``ceil(n / 2)`` with
the float wavelets and ``floor(n / 2)`` with ``cdf53``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.wavelets import (
    DEFAULT_LEVELS,
    HIGH_LAG_0,
    HIGH_LAG_1,
    INTEGER_WAVELET,
    check_wavelet,
    low_lags,
    max_levels,
)

# The first letter changes fastest: 1 for high along a row, plus 2 for down a column, plus 4 for through the slices.
VOLUME_ORIENTATIONS = tuple("".join(reversed(letters)) for letters in product("LH", repeat=3))

Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class VolumeBand:
    """One subband of a packed volume.

    Attributes:
        orientation: one of :data:`VOLUME_ORIENTATIONS`.
        level: 1 for the finest.
        offset: of its first coefficient, in coefficients from the start of the volume's buffer.
        shape: (slices, rows, cols) in coefficients; each may be 0 with ``cdf53``.
    """

    orientation: str
    level: int
    offset: int
    shape: Shape3

    @property
    def size(self) -> int:
        """Coefficients in the subband."""
        return prod(self.shape)

    @property
    def pywavelets_key(self) -> str:
        """Its name in ``pywt.wavedecn``, such as ``aad``."""
        return self.orientation[::-1].replace("L", "a").replace("H", "d")


@dataclass(frozen=True)
class VolumeLayout:
    """The packed layout of one size of volume, wavelet and depth; get one from :func:`volume_layout_of`.

    Attributes:
        shape: (slices, rows, cols) of the volume, in voxels.
        wavelet: its name.
        levels: number of levels, at least 1.
        subbands: the ``1 + 7 * levels`` subbands in the order of the buffer.
    """

    shape: Shape3
    wavelet: str
    levels: int
    subbands: tuple[VolumeBand, ...]

    @property
    def size(self) -> int:
        """Coefficients of the volume: its voxels, or somewhat more for float wavelets and odd sides."""
        return self.subbands[-1].offset + self.subbands[-1].size

    @property
    def weights(self) -> NDArray[np.float32]:
        """The factor of each subband's magnitudes in the selection, (1 + 7 * levels,) float32, in subband order."""
        return np.array([volume_weight(self.wavelet, s.orientation, s.level) for s in self.subbands], dtype=np.float32)

    def bands_of(self, level: int) -> tuple[VolumeBand, ...]:
        """The seven detail subbands of a level, in the order of the buffer."""
        first = 1 + 7 * (self.levels - level)
        return self.subbands[first : first + 7]


@cache
def volume_weight(wavelet: str, orientation: str, level: int) -> np.float32:
    """The factor of a subband's magnitudes: 1, for ``cdf53`` the L2 norm of its 3-D synthesis basis functions.

    That is the product of three 1-D norms, as :func:`wavestream.kernels.wavelets.cdf53_norm` is one of two, and as
    exact: one square root and one rounding to float32. As there, it depends on the level alone, not on the sides.
    """
    if wavelet != INTEGER_WAVELET:
        return np.float32(1)
    low, _ = low_lags(level)
    centre, neighbour = low_lags(level - 1)
    high = HIGH_LAG_0 * centre + 2 * HIGH_LAG_1 * neighbour
    return np.float32(sqrt(prod(high if letter == "H" else low for letter in orientation)))


def volume_max_levels(slices: int, rows: int, cols: int, wavelet: str) -> int:
    """How many levels a volume can be transformed: :func:`wavestream.kernels.wavelets.max_levels` with three sides.

    Raises:
        ValueError: unknown wavelet, or a side below 1.
    """
    sides = sorted((int(slices), int(rows), int(cols)))
    if sides[0] < 1:
        raise ValueError(f"expected a volume of at least 1x1x1 voxels, got {slices}x{rows}x{cols}")
    # Float wavelets look at the smallest side, cdf53 at the largest.
    return max_levels(sides[0], sides[2], wavelet)


def volume_default_levels(slices: int, rows: int, cols: int, wavelet: str) -> int:
    """The number of levels used when none is given."""
    return min(DEFAULT_LEVELS, volume_max_levels(slices, rows, cols, wavelet))


def volume_low_shapes(shape: Shape3, levels: int) -> list[Shape3]:
    """(slices, rows, cols) of a volume and of its low-pass after each level: ``levels + 1`` shapes."""
    shapes = [shape]
    for _ in range(levels):
        slices, rows, cols = shapes[-1]
        shapes.append(((slices + 1) // 2, (rows + 1) // 2, (cols + 1) // 2))
    return shapes


@lru_cache(maxsize=256)
def volume_layout_of(slices: int, rows: int, cols: int, wavelet: str, levels: int) -> VolumeLayout:
    """The packed layout of a volume of ``slices`` x ``rows`` x ``cols`` voxels after ``levels`` levels.

    Only geometry: whether the wavelet allows so many levels is :func:`volume_max_levels`' to say.

    Raises:
        ValueError: unknown wavelet, a side or the number of levels below 1.
    """
    check_wavelet(wavelet)
    if min(slices, rows, cols, levels) < 1:
        raise ValueError(
            f"expected at least 1x1x1 voxels and 1 level, got {slices}x{rows}x{cols} voxels and {levels} levels"
        )
    shapes = volume_low_shapes((slices, rows, cols), levels)
    subbands = [VolumeBand("LLL", levels, 0, shapes[levels])]
    offset = subbands[0].size
    for level in range(levels, 0, -1):
        low, high = shapes[level], shapes[level]
        if wavelet == INTEGER_WAVELET:
            above = shapes[level - 1]
            high = (above[0] // 2, above[1] // 2, above[2] // 2)
        for orientation in VOLUME_ORIENTATIONS[1:]:
            on_cols, on_rows, on_slices = (high if letter == "H" else low for letter in orientation)
            band = VolumeBand(orientation, level, offset, (on_slices[0], on_rows[1], on_cols[2]))
            subbands.append(band)
            offset += band.size
    return VolumeLayout((slices, rows, cols), wavelet, levels, tuple(subbands))


def kept_count_of_volume(keep: float, slices: int, rows: int, cols: int) -> int:
    """K, the number of coefficients (ties aside) that ``keep`` leaves of a volume."""
    return max(1, round(float(keep) * int(slices) * int(rows) * int(cols)))
