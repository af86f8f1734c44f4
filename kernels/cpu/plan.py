"""What to do with each image of a batch, laid out for compiled code."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.maxima import first_groups_of
from wavestream.kernels.cpu.threshold import first_flags_of
from wavestream.kernels.layout import layout_of
from wavestream.kernels.select import kept_counts
from wavestream.kernels.validation import distinct_rows

# Columns of Plan.tasks.
ROWS, COLS, LEVELS, COUNT, LOWEST, HIGHEST, WHICH = range(7)


class Plan(NamedTuple):
    """What to do with each image of a batch, as arrays for compiled code.

    Attributes:
        tasks: (batch, 7) rows, columns, levels, K (0 where the image is only copied), lowest and highest pixel value
            (unused for float images), index of the image's layout among the distinct ones.
        tables: (distinct, subbands, 5) layout tables, of the deepest image; shallower ones use the first rows.
        shapes: (distinct, levels + 1, 2) sizes of the image and its low-pass planes.
        weights: (distinct, subbands).
        first_flags, first_groups: (distinct, subbands + 1).
    """

    tasks: NDArray[np.int64]
    tables: NDArray[np.int64]
    shapes: NDArray[np.int64]
    weights: NDArray[np.float32]
    first_flags: NDArray[np.int64]
    first_groups: NDArray[np.int64]

    def only(self, index: int) -> Plan:
        """The plan for the batch of one that holds just this image."""
        return self._replace(tasks=self.tasks[index : index + 1])


def make_plan(
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    limits: NDArray[np.int32] | None,
) -> Plan:
    """The plan of a batch; arguments as in :func:`wavestream.kernels.cpu.inject.inject_cpu`."""
    distinct, which = distinct_rows(np.column_stack([sizes, levels]))
    geometry = _geometry(wavelet, tuple(map(tuple, distinct.tolist())))
    tasks = np.zeros((len(keep), 7), dtype=np.int64)
    tasks[:, :2], tasks[:, LEVELS], tasks[:, WHICH] = sizes, levels, which
    tasks[:, COUNT] = np.where(keep == 1, 0, kept_counts(keep, sizes))
    if limits is not None:
        tasks[:, [LOWEST, HIGHEST]] = limits
    return Plan(tasks, *geometry)


@lru_cache(maxsize=64)
def _geometry(wavelet: str, distinct: tuple[tuple[int, int, int], ...]) -> tuple[NDArray[Any], ...]:
    """The arrays of a plan but the tasks, for images of these (rows, cols, levels)."""
    deepest = max(levels for _, _, levels in distinct)
    tables = np.zeros((len(distinct), 1 + 3 * deepest, 5), dtype=np.int64)
    shapes = np.zeros((len(distinct), deepest + 1, 2), dtype=np.int64)
    weights = np.zeros((len(distinct), 1 + 3 * deepest), dtype=np.float32)
    for index, (rows, cols, depth) in enumerate(distinct):
        layout = layout_of(rows, cols, wavelet, depth)
        tables[index, : 1 + 3 * depth] = layout.table
        shapes[index, : depth + 1] = layout.low_shapes
        weights[index, : 1 + 3 * depth] = layout.weights
    return tables, shapes, weights, first_flags_of(tables), first_groups_of(tables)
