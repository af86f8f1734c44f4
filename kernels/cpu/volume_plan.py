"""Where everything lies in a packed volume, as arrays for compiled code, and how its work is cut up."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.lanes import LANES
from wavestream.kernels.cpu.maxima import GROUP, first_groups_of
from wavestream.kernels.volume_layout import VolumeLayout, volume_low_shapes

# Columns of VolumePlan.bands. FLAGS, GROUPS: where the subband's row flags and its groups of maxima begin.
OFFSET, SLICES, ROWS, COLS, FLAGS, GROUPS = range(6)

# Coefficients of a piece, which fit the first-level cache and are few enough to share a volume among all threads.
PIECE = 8192
# A range of rows costs as many rows more as the filters are long: no range is shorter than this many output rows.
_SHORTEST_RANGE = 8
_RANGES_PER_THREAD = 4


class VolumePlan(NamedTuple):
    """The tables of one size of volume, wavelet and depth.

    Attributes:
        bands: (levels, 8, 6) offset, slices, rows, columns, first row flag and first group of each subband, the finest
            level first, in the order of ``VOLUME_ORIENTATIONS``; the offset of the low-pass counts from the start of
            its own buffer, and each slice of a low-pass that is transformed further has the groups of one row.
        band_weights: (levels, 8) of the magnitudes in each.
        shapes: (levels + 1, 3) of the volume and of its low-pass after each level.
        pieces: (pieces, 5) runs of whole rows of a subband, in the columns of ``Layout.table``
            (:mod:`wavestream.kernels.layout`); they cover all coefficients.
        weights: (pieces,) of the magnitudes in each.
        first_flags, first_groups: (pieces,) where the flags of each piece's rows and its groups of maxima begin.
        low_pieces: how many of the pieces are the low-pass.
        flags: rows of all subbands.
        groups: of all subbands and of a low-pass that is transformed further.
        zeros: where a row of zeros follows the coefficients.
    """

    bands: NDArray[np.int64]
    band_weights: NDArray[np.float32]
    shapes: NDArray[np.int64]
    pieces: NDArray[np.int64]
    weights: NDArray[np.float32]
    first_flags: NDArray[np.int64]
    first_groups: NDArray[np.int64]
    low_pieces: int
    flags: int
    groups: int
    zeros: int


@lru_cache(maxsize=16)
def volume_plan(chosen: VolumeLayout) -> VolumePlan:
    """The plan for a layout."""
    bands = np.zeros((chosen.levels, 8, 6), dtype=np.int64)
    band_weights = np.ones((chosen.levels, 8), dtype=np.float32)
    shapes = np.array(volume_low_shapes(chosen.shape, chosen.levels), dtype=np.int64)
    bands[:, 0, SLICES : COLS + 1] = shapes[1:]
    pieces: list[tuple[int, int, int, int, int]] = []
    weights: list[np.float32] = []
    flags: list[int] = []
    flag = group = 0
    for index, (band, weight) in enumerate(zip(chosen.subbands, chosen.weights, strict=True)):
        place = (band.level - 1, 1 + (index - 1) % 7 if index else 0)
        bands[place] = (band.offset, *band.shape, flag, group)
        band_weights[place] = weight
        rows, cols = band.shape[0] * band.shape[1], band.shape[2]
        at_a_time = max(1, PIECE // max(1, cols))
        for row in range(0, rows, at_a_time):
            count = min(at_a_time, rows - row)
            pieces.append((band.level, 0, band.offset + row * cols, count, cols))
            weights.append(weight)
            flags.append(flag + row)
        flag += rows
        group += rows * -(-cols // GROUP)
    # The maxima of a low-pass that is transformed further are noted, too, and of no use.
    bands[:-1, 0, GROUPS] = group
    table = np.array(pieces, dtype=np.int64)
    return VolumePlan(
        bands,
        band_weights,
        shapes,
        table,
        np.array(weights, dtype=np.float32),
        np.array(flags, dtype=np.int64),
        first_groups_of(table)[:-1],
        -(-int(shapes[-1, 0] * shapes[-1, 1]) // max(1, PIECE // int(shapes[-1, 2]))),
        flag,
        group + int(shapes[1, 0]) * -(-int(shapes[1, 2]) // GROUP),
        LANES * -(-chosen.size // LANES),
    )


def row_ranges(slices: int, rows: int, threads: int) -> int:
    """Into how many ranges the ``rows`` of each of ``slices`` slices are cut, so that every thread finds work."""
    wanted = -(-threads * _RANGES_PER_THREAD // max(1, slices))
    return max(1, min(wanted, rows // _SHORTEST_RANGE))
