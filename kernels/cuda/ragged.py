"""Artifact injection of images of different sizes, each in memory of its own, as one batch on the device.

There is no canvas and nothing is copied into one: the kernels take one flat view of the device's address space, which
begins at the lowest address of any image, and the tables of :mod:`wavestream.kernels.cuda.geometry` hold where each
image begins in it. Those columns are the batch's pointer array. The number of launches is that of
:mod:`wavestream.kernels.cuda.inject`, whatever the batch holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.arrays import dtype_of
from wavestream.kernels.cuda.device import addresses_of, queue_of, span_of
from wavestream.kernels.cuda.geometry import (
    CANVAS_COLS,
    CANVAS_ROWS,
    RESULT,
    SOURCE,
    VALUES,
    Geometry,
    Shapes,
    capacity_of,
    empty_geometry,
    fill_images,
    fill_levels,
    image_tables,
    place_levels,
)
from wavestream.kernels.cuda.inject import launch_injection, limits_of, values_are_result
from wavestream.kernels.cuda.workspace import workspace_of
from wavestream.kernels.select import kept_counts

# Significant bits of a buffer's size: batches of about the same size share a workspace, an eighth larger at most.
_SIZE_BITS = 4


@dataclass(frozen=True)
class RaggedCapacity:
    """What the buffers of a ragged batch hold: totals over all images, rounded up so that other batches fit, too.

    Attributes:
        batch: images.
        levels: of the deepest image.
        coefficients_size: packed coefficients.
        lows_size: elements of the intermediate low-passes.
        values_size: pixels.
    """

    batch: int
    levels: int
    coefficients_size: int
    lows_size: int
    values_size: int

    @property
    def tables(self) -> Shapes:
        """Shapes of ``images`` and ``levels``."""
        return image_tables(self.batch, self.levels)

    @property
    def packed(self) -> int:
        """Coefficients of an image, on the average."""
        return -(-self.coefficients_size // self.batch)


def rounded_up(size: int) -> int:
    """The smallest number from ``size`` on of at most ``_SIZE_BITS`` significant bits."""
    step = 1 << max(0, int(size).bit_length() - _SIZE_BITS)
    return -(-size // step) * step


def ragged_geometry(
    wavelet: str,
    sizes: NDArray[np.int32],
    levels: NDArray[np.int32],
    counts: NDArray[np.int64],
    value_range: NDArray[np.int64],
    sources: NDArray[np.int64],
    results: NDArray[np.int64],
    in_result: bool,
) -> Geometry:
    """The tables of a batch of images that lie anywhere.

    Args:
        wavelet, sizes, levels, counts, value_range: as for
            :func:`wavestream.kernels.cuda.geometry.mixed_geometry`.
        sources, results: (batch,) where each image and its result begin, in elements of the views they are read and
            written through.
        in_result: the inverse writes into the results, not into a buffer.
    """
    batch, deepest = len(sizes), int(levels.max())
    pixels = sizes.astype(np.int64).prod(axis=1)
    packed, lows = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
    # Room for images that are only copied, too: which they are may change from call to call.
    for index, (rows, cols) in enumerate(sizes.tolist()):
        one = capacity_of(1, rows, cols, wavelet, int(levels[index]))
        packed[index], lows[index] = one.packed, one.lows
    totals = (rounded_up(int(part.sum())) for part in (packed, lows, pixels))
    geometry = empty_geometry(RaggedCapacity(batch, deepest, *totals), deepest)
    fill_images(geometry, sizes, counts, value_range)
    fill_levels(geometry, wavelet, sizes, levels, counts)
    values = results if in_result else _starts(pixels)
    geometry.images[:, CANVAS_ROWS : CANVAS_COLS + 1] = sizes
    geometry.images[:, [SOURCE, VALUES, RESULT]] = np.column_stack([sources, values, results])
    place_levels(geometry.levels, _starts(packed), _starts(lows), sources, values)
    return geometry


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each part begins when they lie one after the other."""
    return np.cumsum(sizes) - sizes


def inject_ragged_cuda(
    images: list[Any],
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    value_range: NDArray[np.int32] | None,
    out: list[Any],
) -> None:
    """Give each image the artifact of its keep, in the stream of the first image.

    What becomes of images that are not finite is said at :func:`wavestream.kernels.cuda.inject.inject_cuda`.

    Args:
        images: (rows, cols) each, C-contiguous, of one pixel dtype; integers for ``cdf53``.
        keep: (batch,) in (0, 1], on the host; images with keep 1 are copied.
        wavelet: its name.
        levels: (batch,) depth of each image.
        sizes: (batch, 2) rows and columns of each image.
        value_range: (batch, 2) lowest and highest value of integer images; None for floating-point images.
        out: arrays like ``images``, each apart from all the others or its own image; float32 or float16 for integer
            images, too.

    Raises:
        RuntimeError: no CUDA device.
        ValueError: the arrays lie on different devices or belong to different streams.
    """
    with queue_of(images[0], images=images, out=out) as queue:
        counts = np.where(keep == 1, 0, kept_counts(keep, sizes))
        sources, results = addresses_of(images), addresses_of(out)
        source, target = dtype_of(images[0]), dtype_of(out[0])
        geometry = ragged_geometry(
            wavelet,
            sizes,
            levels,
            counts,
            limits_of(value_range, len(images)),
            (sources - sources.min()) // source.itemsize,
            (results - results.min()) // target.itemsize,
            values_are_result(target, wavelet),
        )
        largest = int(sizes[:, 0].max()), int(sizes[:, 1].max())
        with workspace_of(geometry.capacity, queue) as workspace:
            launch_injection(span_of(images), span_of(out), wavelet, geometry, largest, workspace, queue)
