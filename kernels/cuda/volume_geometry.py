"""Where the subbands of a batch of equal volumes lie, as tables for the kernels.

One level of a volume is two steps: through the slices, which :mod:`wavestream.kernels.cuda.volume_depth` does, and
within each slice of the result, which is the 2-D transform of as many images. So the tables are: ``images``, each
volume seen as one image of all its rows; ``bands``, the subbands for selection and threshold; ``depths``, for the step
through the slices; and for each level one table ``levels`` of :mod:`wavestream.kernels.cuda.geometry` whose images are
slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.geometry import (
    CANVAS_COLS,
    CANVAS_ROWS,
    COLS,
    COUNT,
    HH,
    HIGHEST,
    HL,
    IMAGE,
    IMAGE_COLS,
    IMAGE_COLUMNS,
    IMAGE_ROWS,
    LAST,
    LEVEL_COLUMNS,
    LH,
    LOW,
    LOWEST,
    PITCH,
    RESULT,
    ROWS,
    SOURCE,
    TARGET,
    Shapes,
)
from wavestream.kernels.volume_layout import Shape3, VolumeLayout, volume_low_shapes

# Columns of the table of depths: slices and voxels per slice of what the level transforms, 0 slices for a volume that
# is copied; offset of that among the voxels (finest level) or the intermediate low-passes; offset of the buffer
# between the two steps.
DEPTH_SLICES, DEPTH_PLANE, DEPTH_VOLUME, DEPTH_HALFWAY = range(4)
DEPTH_COLUMNS = 4

# Columns of the table of bands: offset and size of each of the eight orientations of a level.
BAND_COLUMNS = 16


@dataclass(frozen=True)
class VolumeCapacity:
    """What the buffers of a batch of equal volumes hold.

    Attributes:
        batch: volumes.
        layout: of each of them.
    """

    batch: int
    layout: VolumeLayout

    @cached_property
    def shapes(self) -> list[Shape3]:
        """The volume's shape and its low-pass's after each level."""
        return volume_low_shapes(self.layout.shape, self.layout.levels)

    def halves(self, level: int) -> tuple[int, int]:
        """Slices of the low-pass and of the high-pass through the slices of a level (0 the finest)."""
        bands = self.layout.bands_of(level + 1)
        # LLH is high-pass through the slices, HLL is not.
        return self.shapes[level + 1][0], bands[3].shape[0]

    @property
    def tables(self) -> Shapes:
        """Shapes of ``images``, ``bands``, ``depths`` and of each level's ``levels``."""
        levels, batch = self.layout.levels, self.batch
        slices = [(1, batch * sum(self.halves(level)), LEVEL_COLUMNS) for level in range(levels)]
        return (batch, IMAGE_COLUMNS), (levels, batch, BAND_COLUMNS), (levels, batch, DEPTH_COLUMNS), *slices

    @property
    def packed(self) -> int:
        """Coefficients of a volume."""
        return self.layout.size

    @property
    def coefficients_size(self) -> int:
        """Coefficients of all volumes."""
        return self.batch * self.layout.size

    @property
    def lows(self) -> int:
        """Elements per volume of the intermediate low-passes."""
        return sum(prod(shape) for shape in self.shapes[1 : self.layout.levels])

    @property
    def lows_size(self) -> int:
        """Elements of the intermediate low-passes of all volumes."""
        return self.batch * self.lows

    @property
    def values_size(self) -> int:
        """Voxels of all volumes."""
        return self.batch * prod(self.layout.shape)

    @property
    def halfway(self) -> int:
        """Elements per volume between the two steps of the finest level, which has the most."""
        _, rows, cols = self.layout.shape
        return sum(self.halves(0)) * rows * cols


@dataclass(frozen=True)
class VolumeGeometry:
    """The tables of :class:`VolumeCapacity`, one after the other in one buffer."""

    capacity: VolumeCapacity
    plan: NDArray[np.int64]


def volume_geometry(
    capacity: VolumeCapacity, counts: NDArray[np.int64], value_range: NDArray[np.int64]
) -> VolumeGeometry:
    """The tables of a batch.

    Args:
        capacity: of the buffers.
        counts: (batch,) coefficients to keep; 0 for a volume to copy, which then takes part in no transform.
        value_range: (batch, 2) lowest and highest value; ignored for floating-point voxels.
    """
    tables = [np.zeros(shape, dtype=np.int64) for shape in capacity.tables]
    images, bands, depths = tables[:3]
    slices, rows, cols = capacity.layout.shape
    index = np.arange(capacity.batch, dtype=np.int64)
    images[:, COUNT] = counts
    images[:, [IMAGE_ROWS, CANVAS_ROWS]] = slices * rows
    images[:, [IMAGE_COLS, CANVAS_COLS]] = cols
    images[:, LOWEST : HIGHEST + 1] = value_range
    images[:, SOURCE : RESULT + 1] = (index * prod(capacity.layout.shape))[:, np.newaxis]
    copied = counts == 0
    for level in range(capacity.layout.levels):
        _fill_bands(bands[level], capacity, level)
        _fill_depths(depths[level], capacity, level)
        slices_of_level = tables[3 + level][0].reshape(capacity.batch, -1, LEVEL_COLUMNS)
        _fill_slices(slices_of_level, capacity, level)
        bands[level, copied, 1::2] = 0
        depths[level, copied, DEPTH_SLICES] = 0
        slices_of_level[copied] = 0
    return VolumeGeometry(capacity, np.concatenate([table.ravel() for table in tables]))


def _low_start(capacity: VolumeCapacity, level: int) -> int:
    """Where the low-pass that a level makes lies among a volume's intermediate ones."""
    return sum(prod(shape) for shape in capacity.shapes[1 : level + 1])


def _fill_bands(table: NDArray[np.int64], capacity: VolumeCapacity, level: int) -> None:
    found = [(band.offset, band.size) for band in capacity.layout.bands_of(level + 1)]
    coarsest = capacity.layout.subbands[0]
    lowest = (coarsest.offset, coarsest.size) if coarsest.level == level + 1 else (0, 0)
    table[:] = np.array([lowest, *found], dtype=np.int64).ravel()
    table[:, 0::2] += (np.arange(capacity.batch) * capacity.packed)[:, np.newaxis]


def _fill_depths(table: NDArray[np.int64], capacity: VolumeCapacity, level: int) -> None:
    index = np.arange(capacity.batch, dtype=np.int64)
    slices, rows, cols = capacity.shapes[level]
    table[:, DEPTH_SLICES] = slices
    table[:, DEPTH_PLANE] = rows * cols
    if level == 0:
        table[:, DEPTH_VOLUME] = index * prod(capacity.layout.shape)
    else:
        table[:, DEPTH_VOLUME] = index * capacity.lows + _low_start(capacity, level - 1)
    table[:, DEPTH_HALFWAY] = index * capacity.halfway


def _fill_slices(table: NDArray[np.int64], capacity: VolumeCapacity, level: int) -> None:
    """The 2-D table (batch, slices, 10) of a level: of each volume the low-pass slices, then the high-pass ones."""
    volume = np.arange(capacity.batch, dtype=np.int64)[:, np.newaxis]
    packed = volume * capacity.packed
    low_slices, high_slices = capacity.halves(level)
    _, rows, cols = capacity.shapes[level]
    table[:, :, [ROWS, COLS, PITCH]] = rows, cols, cols
    table[:, :, LAST] = 1
    table[:, :, IMAGE] = volume * capacity.halfway + np.arange(low_slices + high_slices) * rows * cols
    table[:, :, TARGET] = table[:, :, IMAGE]
    bands = {band.orientation: band for band in capacity.layout.bands_of(level + 1)}
    for first, count, letter in ((0, low_slices, "L"), (low_slices, high_slices, "H")):
        part = table[:, first : first + count]
        for column, orientation in ((LOW, "LL"), (HL, "HL"), (LH, "LH"), (HH, "HH")):
            band = bands.get(orientation + letter, capacity.layout.subbands[0])
            part[:, :, column] = packed + band.offset + np.arange(count) * band.shape[1] * band.shape[2]
    if level + 1 < capacity.layout.levels:
        _, low_rows, low_cols = capacity.shapes[level + 1]
        lows = table[:, :low_slices]
        lows[:, :, LAST] = 0
        lows[:, :, LOW] = (
            volume * capacity.lows + _low_start(capacity, level) + np.arange(low_slices) * low_rows * low_cols
        )
