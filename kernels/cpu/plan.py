"""What to do with each image of a batch, laid out for compiled code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.threshold import first_flags_of
from wavestream.kernels.layout import layout_of
from wavestream.kernels.select import kept_counts


class Plan(NamedTuple):
    """What to do with each image of a batch, as arrays for compiled code.

    Attributes:
        sizes: (batch, 2) rows and columns.
        levels: (batch,).
        counts: (batch,) K; 0 where the image is only copied.
        limits: (batch, 2) lowest and highest pixel value; unused for float images.
        which: (batch,) index of the image's layout among the distinct ones.
        tables: (distinct, subbands, 5) layout tables, of the deepest image; shallower ones use the first rows.
        shapes: (distinct, levels + 1, 2) sizes of the image and its low-pass planes.
        weights: (distinct, subbands).
        first_flags: (distinct, subbands + 1).
    """

    sizes: NDArray[np.int32]
    levels: NDArray[np.int32]
    counts: NDArray[np.int64]
    limits: NDArray[np.int32]
    which: NDArray[np.int64]
    tables: NDArray[np.int64]
    shapes: NDArray[np.int64]
    weights: NDArray[np.float32]
    first_flags: NDArray[np.int64]

    def only(self, index: int) -> Plan:
        """The plan for the batch of one that holds just this image."""
        one = slice(index, index + 1)
        return self._replace(
            sizes=self.sizes[one],
            levels=self.levels[one],
            counts=self.counts[one],
            limits=self.limits[one],
            which=self.which[one],
        )


def make_plan(
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    limits: NDArray[np.int32] | None,
) -> Plan:
    """The plan of a batch; arguments as in :func:`wavestream.kernels.cpu.inject.inject_cpu`."""
    distinct, which = np.unique(np.column_stack([sizes, levels]), axis=0, return_inverse=True)
    deepest = int(levels.max())
    tables = np.zeros((len(distinct), 1 + 3 * deepest, 5), dtype=np.int64)
    shapes = np.zeros((len(distinct), deepest + 1, 2), dtype=np.int64)
    weights = np.zeros((len(distinct), 1 + 3 * deepest), dtype=np.float32)
    for index, (rows, cols, depth) in enumerate(distinct.tolist()):
        layout = layout_of(rows, cols, wavelet, depth)
        tables[index, : 1 + 3 * depth] = layout.table
        shapes[index, : depth + 1] = layout.low_shapes
        weights[index, : 1 + 3 * depth] = layout.weights
    return Plan(
        sizes=sizes,
        levels=levels,
        counts=np.where(keep == 1, 0, kept_counts(keep, sizes)),
        limits=np.zeros((len(keep), 2), dtype=np.int32) if limits is None else limits,
        which=which.reshape(-1).astype(np.int64),
        tables=tables,
        shapes=shapes,
        weights=weights,
        first_flags=first_flags_of(tables),
    )
