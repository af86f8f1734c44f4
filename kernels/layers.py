"""The layers of an image's coefficients: where each coefficient belongs, and the model that codes it.

A layer holds the coefficients whose weighted magnitude (:mod:`wavestream.kernels.select`) reaches its threshold, and
not that of a layer before it. The bitstream is specified in ``docs/format.md``; this module holds what all backends
share: constants, the geometry of tiles and segments, and the magnitudes that each layer holds in each subband. The
coding itself is in :mod:`wavestream.kernels.cpu.layer_encoder` and :mod:`wavestream.kernels.cpu.layer_decoder`; the
container around it (header, lengths, checksums) is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.layout import ROWS, Layout, layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET

DEFAULT_FRACTIONS = (0.0001, 0.001, 0.01, 0.1)
MOST_LAYERS = 8
MOST_LEVELS = 8
# Magnitudes are below this; a transform of 17 bits stays below 2**22.
LARGEST_MAGNITUDE = (1 << 22) - 1
MOST_REDUCTIONS = 3
MOST_TILES, SMALLEST_TILE = 1 << 16, 64
# Tilings of more tiles are not kept: each part takes some 50 bytes.
_CACHED_TILES = 64
BLOCK = 8

# Contexts, in the order of their tables: first of each kind, and how many there are.
LL_FLAG, LL_SIGN, LL_VALUE, BLOCK_FLAG, SIGN, COEFFICIENT = 0, 9, 12, 16, 43, 53
CONTEXTS = 117
# Signs have as many contexts in HL and LH together, and as many in HH.
SIGN_CONTEXTS = 5
# Where the contexts of each kind begin, and whether they code values or flags.
KINDS = np.array([LL_FLAG, LL_SIGN, LL_VALUE, BLOCK_FLAG, SIGN, COEFFICIENT, CONTEXTS], dtype=np.int64)
IS_VALUE = np.array([False, False, True, False, False, True])

TOKENS = 16
PRECISION = 12
LOWEST_STATE = 1 << 16
MOST_STATES = 32
LARGEST_SHIFT = 15
# Probabilities of the 63 uncertain hazard levels, in units of 2**-16.
HAZARDS = np.array([round(65536 / (1 + exp(8 - level / 4))) for level in range(63)], dtype=np.int64)
CERTAIN = 63
# A token from 13 on stands for a range of values: the first, and its raw bits.
FIRST_OF_RANGE = (12, 16, 32)
BITS_OF_RANGE = (2, 4, 18)

# Columns of Tiling.parts.
ROW, COL, HIGH, WIDE, PLANE, STRIDE = range(6)
# Room around a tile's part of a subband for the neighbours of its coefficients: above, below, and to the left (which
# is to the right of the row before).
_ABOVE, _BELOW, _BESIDE = 2, 2, 16


@dataclass(frozen=True)
class Tiling:
    """How the coefficients of one image are cut into tiles and segments.

    Attributes:
        layout: of the coefficients.
        tile: (rows, cols) of a tile in pixels, multiples of ``2**levels``.
        tiles: number of tiles.
        parts: (tiles, subbands, 6) int64, the part of each subband that belongs to each tile: first row and column in
            the subband, height and width in scan orientation (``LH`` is transposed; 0 where empty), where its first
            coefficient lies in a buffer of planes with room around, and the distance of its rows there.
        planes_size: elements of that buffer.
        blocks: (tiles * subbands + 1,) int64, number of blocks of 8 x 8 coefficients in all parts before each.
    """

    layout: Layout
    tile: tuple[int, int]
    tiles: int
    parts: NDArray[np.int64]
    planes_size: int
    blocks: NDArray[np.int64]

    @cached_property
    def widest(self) -> int:
        """Columns of the widest part of a subband."""
        return int(self.parts[..., WIDE].max())

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """The subbands, as :attr:`Layout.table`."""
        return self.layout.table

    @cached_property
    def low_shapes(self) -> NDArray[np.int64]:
        """Sizes of the low-pass planes, as :attr:`Layout.low_shapes`."""
        return self.layout.low_shapes

    @cached_property
    def first_flags(self) -> NDArray[np.int64]:
        """Number of rows in all subbands before each, and in all: (subbands + 1,)."""
        return np.concatenate([[0], np.cumsum(self.table[:, ROWS])])

    @property
    def reductions(self) -> int:
        """How often the image can be halved by leaving out segments: 1 to 3."""
        return min(self.layout.levels, MOST_REDUCTIONS)

    def bands_of(self, segment: int) -> tuple[int, int]:
        """The subbands (first, one past the last) of a segment."""
        end = 1 + 3 * (self.layout.levels - self.reductions + segment)
        return (0 if segment == 0 else end - 3), end


def tiling_of(rows: int, cols: int, levels: int, tile: tuple[int, int]) -> Tiling:
    """The tiling of an image of ``rows`` x ``cols`` pixels.

    Args:
        rows, cols, levels: of the image and its transform.
        tile: (rows, cols) of a tile in pixels, multiples of ``2**levels``, at least :data:`SMALLEST_TILE`.
    """
    tiles = -(-rows // tile[0]) * -(-cols // tile[1])
    return (_kept_tiling if tiles <= _CACHED_TILES else _tiling)(rows, cols, levels, tile)


def _tiling(rows: int, cols: int, levels: int, tile: tuple[int, int]) -> Tiling:
    layout = layout_of(rows, cols, INTEGER_WAVELET, levels)
    i, j = np.indices((-(-rows // tile[0]), -(-cols // tile[1]))).reshape(2, -1)
    parts = np.zeros((len(i), len(layout.subbands), 6), np.int64)
    for index, band in enumerate(layout.subbands):
        high, wide = tile[0] >> band.level, tile[1] >> band.level
        row, col = np.minimum(i * high, band.rows), np.minimum(j * wide, band.cols)
        sizes = np.stack([np.minimum(high, band.rows - row), np.minimum(wide, band.cols - col)])
        if band.orientation == "LH":
            sizes = sizes[::-1]
        sizes = np.where(sizes.prod(axis=0) == 0, 0, sizes)
        parts[:, index] = np.stack([row, col, *sizes, row, _BESIDE + -(-sizes[1] // 16) * 16], axis=-1)
    rooms = ((_ABOVE + parts[..., HIGH] + _BELOW) * parts[..., STRIDE]).ravel()
    ends = _BESIDE + np.cumsum(rooms)
    parts[..., PLANE] = (ends - rooms).reshape(parts.shape[:2]) + _ABOVE * parts[..., STRIDE]
    counts = -(-parts[..., HIGH] // BLOCK) * -(-parts[..., WIDE] // BLOCK)
    blocks = np.concatenate([[0], np.cumsum(counts)])
    for array in (parts, blocks):
        array.flags.writeable = False
    # Sixteen at a time are read beyond the last.
    return Tiling(layout, tile, len(parts), parts, int(ends[-1]) + 2 * _BESIDE, blocks)


_kept_tiling = lru_cache(maxsize=256)(_tiling)


def chosen_tile(rows: int, cols: int, levels: int) -> tuple[int, int]:
    """The tile that the encoder takes: equal parts of about 512 pixels a side."""
    unit = 1 << levels

    def side(length: int) -> int:
        return max(-(-length // (max(1, round(length / 512)) * unit)), -(-SMALLEST_TILE // unit)) * unit

    return side(rows), side(cols)


def lowest_magnitudes(thresholds: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """The smallest magnitude in each subband whose weighted magnitude reaches each threshold: (layers, subbands).

    0 for a threshold of 0, which every coefficient reaches; at most :data:`LARGEST_MAGNITUDE` + 1.
    """
    goals = thresholds[:, None]
    beyond = LARGEST_MAGNITUDE + 1
    # float32(m) * weight rises with m, and rounding moves the answer by one at most.
    first = np.minimum(goals / weights.astype(np.float64), beyond).astype(np.int64) - 1
    steps = first[..., None] + np.arange(3)
    misses = (steps.astype(np.float32) * weights[:, None] < goals[..., None]) | (steps < 1)
    return np.where(goals > 0, np.minimum(first + misses.sum(axis=-1), beyond), 0)


def layer_bounds(thresholds: NDArray[np.float32], layout: Layout) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The magnitudes of each layer in each subband, both (layers, subbands) int32, inclusive.

    Args:
        thresholds: (layers,) float32, not ascending, that of a last layer 0.
        layout: of the coefficients.
    """
    low = lowest_magnitudes(thresholds, layout.weights).astype(np.int32)
    high = np.full_like(low, LARGEST_MAGNITUDE)
    high[1:] = low[:-1] - 1
    return low, high


def varint(value: int) -> bytes:
    """A number below 2**32 in seven bits per byte, lowest first."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
