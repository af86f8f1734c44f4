"""Where the subbands of every image of a batch lie, worked out on the host once per call and read by all kernels.

A batch may hold images of different sizes and depths in one launch: each kernel finds what it needs in two int64
tables, ``images`` (batch, 10) and ``levels`` (deepest level, batch, 10), whose columns are named here. Offsets count
elements from the start of the buffer they point into, over the whole batch, and exceed 32 bits in a large one. The
images need not lie in one buffer: see :mod:`wavestream.kernels.cuda.ragged`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.layout import Layout, layout_of, low_shapes

# Columns of Geometry.images. COUNT: coefficients to keep, 0 for an image that is copied; LOWEST, HIGHEST: value range;
# CANVAS_ROWS, CANVAS_COLS: of the canvas in whose top-left corner the image lies; SOURCE, VALUES, RESULT: offsets of
# the canvas among the pixels, the reconstructed values and the pixels of the result.
COUNT, IMAGE_ROWS, IMAGE_COLS, LOWEST, HIGHEST, CANVAS_ROWS, CANVAS_COLS, SOURCE, VALUES, RESULT = range(10)

# Columns of Geometry.levels. ROWS, COLS: size of what the level transforms, 0 where the image has no such level;
# PITCH: its elements per row; IMAGE: its offset among the pixels (finest level) or the intermediate low-passes; TARGET:
# the same for what the inverse makes, which may be another buffer at the finest level;
# LOW: offset of its own low-pass, which lies packed at the coarsest level (LAST = 1) and among the intermediate ones
# elsewhere; HL, LH, HH: offsets of the details in the packed coefficients.
ROWS, COLS, PITCH, IMAGE, TARGET, LOW, LAST, HL, LH, HH = range(10)

IMAGE_COLUMNS = 10
LEVEL_COLUMNS = 10

Shapes = tuple[tuple[int, ...], ...]


class Room(Protocol):
    """What a :class:`~wavestream.kernels.cuda.workspace.Workspace` allocates for; hashable, equal where it fits.

    Attributes:
        batch: images.
        tables: shapes of the int64 tables, those of the images and of the levels (or subbands) first.
        packed: coefficients of an image, on the average; ``coefficients_size``: of all.
        lows_size: elements of the intermediate low-passes of all images.
        values_size: pixels of all canvases.
    """

    @property
    def batch(self) -> int: ...
    @property
    def tables(self) -> Shapes: ...
    @property
    def packed(self) -> int: ...
    @property
    def coefficients_size(self) -> int: ...
    @property
    def lows_size(self) -> int: ...
    @property
    def values_size(self) -> int: ...


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

    @property
    def tables(self) -> Shapes:
        """Shapes of ``images`` and ``levels``."""
        return image_tables(self.batch, self.levels)

    @property
    def coefficients_size(self) -> int:
        """Coefficients of all images."""
        return self.batch * self.packed

    @property
    def lows_size(self) -> int:
        """Elements of the intermediate low-passes of all images."""
        return self.batch * self.lows

    @property
    def values_size(self) -> int:
        """Pixels of all canvases."""
        return self.batch * self.rows * self.cols


def image_tables(batch: int, levels: int) -> Shapes:
    """Shapes of the tables ``images`` and ``levels``."""
    return (batch, IMAGE_COLUMNS), (levels, batch, LEVEL_COLUMNS)


class Planned(Protocol):
    """Tables in one buffer, as a workspace uploads them, and the room they were made for."""

    @property
    def capacity(self) -> Room: ...
    @property
    def plan(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class Geometry:
    """The two tables, in one buffer, and the room they were made for.

    Attributes:
        capacity: of the buffers the offsets point into.
        depth: levels of the deepest image.
        plan: (batch * 10 + depth * batch * 10,) int64: ``images``, then ``levels``.
    """

    capacity: Room
    depth: int
    plan: NDArray[np.int64]

    @property
    def images(self) -> NDArray[np.int64]:
        """(batch, 10) view of the plan."""
        return self.plan[: self.capacity.batch * IMAGE_COLUMNS].reshape(self.capacity.batch, IMAGE_COLUMNS)

    @property
    def levels(self) -> NDArray[np.int64]:
        """(levels, batch, 10) view of the plan, the finest level first."""
        first = self.capacity.batch * IMAGE_COLUMNS
        return self.plan[first:].reshape(self.depth, self.capacity.batch, LEVEL_COLUMNS)

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
    geometry = empty_geometry(capacity, capacity.levels)
    fill_images(geometry, sizes, counts, value_range)
    fill_levels(geometry, wavelet, sizes, levels, counts)
    _place(geometry, capacity)
    return geometry


def fill_images(
    geometry: Geometry, sizes: NDArray[np.int32], counts: NDArray[np.int64], value_range: NDArray[np.int64]
) -> None:
    """Write the columns of ``images`` that do not depend on where the images lie; arguments as above."""
    geometry.images[:, COUNT] = counts
    geometry.images[:, IMAGE_ROWS : IMAGE_COLS + 1] = sizes
    geometry.images[:, LOWEST : HIGHEST + 1] = value_range


def fill_levels(
    geometry: Geometry,
    wavelet: str,
    sizes: NDArray[np.int32],
    levels: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Write ``levels`` with offsets relative to each image's own part of each buffer; arguments as above."""
    table = geometry.levels
    for index in np.flatnonzero(counts):
        rows, cols, depth = int(sizes[index, 0]), int(sizes[index, 1]), int(levels[index])
        table[:depth, index] = _levels_of(rows, cols, wavelet, depth)


def uniform_geometry(capacity: Capacity, layout: Layout, counts: NDArray[np.int64] | None = None) -> Geometry:
    """The tables of a batch of equal images that fill the canvas; their counts where a selection needs them."""
    geometry = empty_geometry(capacity, capacity.levels)
    geometry.images[:, COUNT] = 1 if counts is None else counts
    geometry.images[:, IMAGE_ROWS] = layout.rows
    geometry.images[:, IMAGE_COLS] = layout.cols
    table = geometry.levels
    table[:] = _levels_of(layout.rows, layout.cols, layout.wavelet, layout.levels)[:, np.newaxis]
    _place(geometry, capacity)
    return geometry


def empty_geometry(capacity: Room, depth: int) -> Geometry:
    """Tables of nothing but zeros for a batch whose deepest image has ``depth`` levels."""
    size = capacity.batch * (IMAGE_COLUMNS + depth * LEVEL_COLUMNS)
    return Geometry(capacity, depth, np.zeros(size, dtype=np.int64))


@lru_cache(maxsize=4096)
def _levels_of(rows: int, cols: int, wavelet: str, levels: int) -> NDArray[np.int64]:
    """(levels, 10) table of one image, its offsets relative to the image's own part of each buffer."""
    layout = layout_of(rows, cols, wavelet, levels)
    shapes = layout.low_shapes
    sizes = shapes.prod(axis=1)
    table = np.zeros((levels, LEVEL_COLUMNS), dtype=np.int64)
    table[:, ROWS] = shapes[:levels, 0]
    table[:, COLS] = shapes[:levels, 1]
    table[:, PITCH] = shapes[:levels, 1]
    low_ends = np.cumsum(sizes[1:levels])
    table[1:, IMAGE] = low_ends - sizes[1:levels]
    table[1:, TARGET] = table[1:, IMAGE]
    table[:-1, LOW] = table[1:, IMAGE]
    table[-1, LAST] = 1
    for band in layout.subbands[1:]:
        table[band.level - 1, {"HL": HL, "LH": LH, "HH": HH}[band.orientation]] = band.offset
    table.flags.writeable = False
    return table


def _place(geometry: Geometry, capacity: Capacity) -> None:
    """Make the offsets of every image absolute, and give the finest level the pitch of the canvas."""
    index = np.arange(capacity.batch, dtype=np.int64)
    pixels = index * capacity.rows * capacity.cols
    geometry.images[:, CANVAS_ROWS : CANVAS_COLS + 1] = capacity.rows, capacity.cols
    geometry.images[:, SOURCE : RESULT + 1] = pixels[:, np.newaxis]
    place_levels(geometry.levels, index * capacity.packed, index * capacity.lows, pixels, pixels)
    geometry.levels[0, :, PITCH] = capacity.cols


def place_levels(
    table: NDArray[np.int64],
    packed: NDArray[np.int64],
    lows: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> None:
    """Add to the offsets of each image where its part of each buffer begins: (batch,) each."""
    table[0, :, IMAGE] += sources
    table[0, :, TARGET] += targets
    table[1:, :, IMAGE] += lows
    table[1:, :, TARGET] += lows
    table[:, :, LOW] += np.where(table[:, :, LAST] == 1, packed, lows)
    table[:, :, HL:] += packed[:, np.newaxis]
