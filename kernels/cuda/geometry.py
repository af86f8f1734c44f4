"""Where the subbands of every image of a batch lie, worked out on the host once per call and read by all kernels.

A batch may hold images of different sizes and depths in one launch: each kernel finds what it needs in two int64
tables, ``images`` (batch, 5) and ``levels`` (deepest level, batch, 9), whose columns are named here. Offsets count
elements from the start of the buffer they point into, over the whole batch, and exceed 32 bits in a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.layout import Layout, layout_of, low_shapes

# Columns of Geometry.images. COUNT: coefficients to keep, 0 for an image that is copied; LOWEST, HIGHEST: value range.
COUNT, IMAGE_ROWS, IMAGE_COLS, LOWEST, HIGHEST = range(5)

# Columns of Geometry.levels. ROWS, COLS: size of what the level transforms, 0 where the image has no such level;
# PITCH: its elements per row; IMAGE: its offset in the canvas (finest level) or among the intermediate low-passes;
# LOW: offset of its own low-pass, which lies packed at the coarsest level (LAST = 1) and among the intermediate ones
# elsewhere; HL, LH, HH: offsets of the details in the packed coefficients.
ROWS, COLS, PITCH, IMAGE, LOW, LAST, HL, LH, HH = range(9)

IMAGE_COLUMNS = 5
LEVEL_COLUMNS = 9


@dataclass(frozen=True)
class Capacity:
    """What a buffer must hold: the same for every batch that fits the same canvas.

    Attributes:
        batch, rows, cols: shape of the canvas.
        levels: of the deepest image.
        packed: coefficients per image.
        lows: elements per image of the intermediate low-passes (those of every level but the coarsest).
    """

    batch: int
    rows: int
    cols: int
    levels: int
    packed: int
    lows: int


@dataclass(frozen=True)
class Geometry:
    """The two tables, in one buffer, and the capacity they were made for.

    Attributes:
        capacity: of the buffers the offsets point into.
        plan: (batch * 5 + levels * batch * 9,) int64: ``images``, then ``levels``.
    """

    capacity: Capacity
    plan: NDArray[np.int64]

    @property
    def images(self) -> NDArray[np.int64]:
        """(batch, 5) view of the plan."""
        return self.plan[: self.capacity.batch * IMAGE_COLUMNS].reshape(self.capacity.batch, IMAGE_COLUMNS)

    @property
    def levels(self) -> NDArray[np.int64]:
        """(levels, batch, 9) view of the plan, the finest level first."""
        first = self.capacity.batch * IMAGE_COLUMNS
        return self.plan[first:].reshape(self.capacity.levels, self.capacity.batch, LEVEL_COLUMNS)

    def largest_low(self, level: int) -> tuple[int, int]:
        """Rows and columns of the largest low-pass of a level (0 the finest); (0, 0) if no image has the level."""
        table = self.levels[level]
        return (int(table[:, ROWS].max()) + 1) // 2, (int(table[:, COLS].max()) + 1) // 2


def capacity_of(batch: int, rows: int, cols: int, wavelet: str, levels: int) -> Capacity:
    """The capacity for a canvas and a depth; no smaller image, and no shallower transform, needs more."""
    packed = layout_of(rows, cols, wavelet, levels).size
    lows = int(low_shapes(rows, cols, levels)[1:levels].prod(axis=1).sum())
    return Capacity(batch, rows, cols, levels, packed, lows)


def mixed_geometry(
    capacity: Capacity,
    wavelet: str,
    sizes: NDArray[np.int32],
    levels: NDArray[np.int32],
    counts: NDArray[np.int64],
    value_range: NDArray[np.int64],
) -> Geometry:
    """The tables of a batch of different images in one canvas.

    Args:
        capacity: of the buffers.
        wavelet: the same for all images.
        sizes: (batch, 2) rows and columns of each image.
        levels: (batch,) depth of each image.
        counts: (batch,) coefficients to keep; 0 for an image to copy, which then takes part in no transform.
        value_range: (batch, 2) lowest and highest value; ignored for floating-point pixels.
    """
    geometry = _empty_geometry(capacity)
    geometry.images[:, COUNT] = counts
    geometry.images[:, IMAGE_ROWS : IMAGE_COLS + 1] = sizes
    geometry.images[:, LOWEST : HIGHEST + 1] = value_range
    table = geometry.levels
    for index in np.flatnonzero(counts):
        rows, cols, depth = int(sizes[index, 0]), int(sizes[index, 1]), int(levels[index])
        table[:depth, index] = _levels_of(rows, cols, wavelet, depth)
    _place(table, capacity)
    return geometry


def uniform_geometry(capacity: Capacity, layout: Layout, counts: NDArray[np.int64] | None = None) -> Geometry:
    """The tables of a batch of equal images that fill the canvas; their counts where a selection needs them."""
    geometry = _empty_geometry(capacity)
    geometry.images[:, COUNT] = 1 if counts is None else counts
    geometry.images[:, IMAGE_ROWS] = layout.rows
    geometry.images[:, IMAGE_COLS] = layout.cols
    table = geometry.levels
    table[:] = _levels_of(layout.rows, layout.cols, layout.wavelet, layout.levels)[:, np.newaxis]
    _place(table, capacity)
    return geometry


def _empty_geometry(capacity: Capacity) -> Geometry:
    size = capacity.batch * (IMAGE_COLUMNS + capacity.levels * LEVEL_COLUMNS)
    return Geometry(capacity, np.zeros(size, dtype=np.int64))


@lru_cache(maxsize=4096)
def _levels_of(rows: int, cols: int, wavelet: str, levels: int) -> NDArray[np.int64]:
    """(levels, 9) table of one image, its offsets relative to the image's own part of each buffer."""
    layout = layout_of(rows, cols, wavelet, levels)
    shapes = layout.low_shapes
    sizes = shapes.prod(axis=1)
    table = np.zeros((levels, LEVEL_COLUMNS), dtype=np.int64)
    table[:, ROWS] = shapes[:levels, 0]
    table[:, COLS] = shapes[:levels, 1]
    table[:, PITCH] = shapes[:levels, 1]
    low_ends = np.cumsum(sizes[1:levels])
    table[1:, IMAGE] = low_ends - sizes[1:levels]
    table[:-1, LOW] = table[1:, IMAGE]
    table[-1, LAST] = 1
    for band in layout.subbands[1:]:
        table[band.level - 1, {"HL": HL, "LH": LH, "HH": HH}[band.orientation]] = band.offset
    table.flags.writeable = False
    return table


def _place(table: NDArray[np.int64], capacity: Capacity) -> None:
    """Make the offsets of every image absolute, and give the finest level the pitch of the canvas."""
    index = np.arange(capacity.batch, dtype=np.int64)
    table[0, :, PITCH] = capacity.cols
    table[0, :, IMAGE] += index * capacity.rows * capacity.cols
    table[1:, :, IMAGE] += index * capacity.lows
    table[:, :, LOW] += np.where(table[:, :, LAST] == 1, index * capacity.packed, index * capacity.lows)
    table[:, :, HL:] += (index * capacity.packed)[:, np.newaxis]
