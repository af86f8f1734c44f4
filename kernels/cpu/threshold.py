"""Weighted magnitudes and the hard threshold, subband by subband."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import entry, inner, leaf
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.layout import COLS, OFFSET, ROWS, Layout


@leaf
def _weigh(coefficients, start, weight, magnitudes, into, count):
    begin, target = np.uint64(start), np.uint64(into)
    for x in range(np.uint64(count)):
        magnitudes[target + x] = np.float32(abs(coefficients[begin + x])) * weight


@inner
def weigh_image(coefficients, base, table, weights, magnitudes):
    """Weighted magnitudes, float32, of the image at ``coefficients[base]``."""
    for band in range(len(table)):
        offset, size = table[band, OFFSET], table[band, ROWS] * table[band, COLS]
        _weigh(coefficients, base + offset, weights[band], magnitudes, offset, size)


@leaf
def _keep_band(coefficients, start, rows, cols, weight, threshold, flags, first_flag):
    """Set every coefficient of one subband below the threshold to 0; flag each row where any is left that is not 0."""
    width, zero = np.uint64(cols), coefficients.dtype.type(0)
    begin, flag = np.uint64(start), np.uint64(first_flag)
    for row in range(np.uint64(rows)):
        left = np.uint8(0)
        for x in range(width):
            value = coefficients[begin + x]
            value = value if np.float32(abs(value)) * weight >= threshold else zero
            coefficients[begin + x] = value
            left |= np.uint8(value != zero)
        flags[flag + row] = left
        begin += width


@inner
def threshold_image(coefficients, base, table, weights, threshold, flags, first_flags):
    """Threshold the image at ``coefficients[base]`` in place and flag its rows that are not all zero.

    The flags of subband ``band`` start at ``flags[first_flags[band]]``, one per row.
    """
    for band in range(len(table)):
        start, rows, cols = base + table[band, OFFSET], table[band, ROWS], table[band, COLS]
        _keep_band(coefficients, start, rows, cols, weights[band], threshold, flags, first_flags[band])


@entry
def _threshold_range(coefficients, thresholds, table, weights, begin, end, flags, first_flags):
    size = coefficients.shape[1]
    flat = coefficients.reshape(-1)
    for index in range(begin, end):
        threshold_image(flat, index * size, table, weights, thresholds[index], flags, first_flags)


def first_flags_of(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each subband's row flags start, and one past the last: (..., subbands + 1) of (..., subbands, 5)."""
    rows = table[..., ROWS]
    return np.concatenate([np.zeros_like(rows[..., :1]), np.cumsum(rows, axis=-1)], axis=-1)


def hard_threshold_cpu(
    coefficients: NDArray[Any],
    thresholds: NDArray[np.float32],
    out: NDArray[Any],
    layout: Layout,
    threads: int | None = None,
) -> None:
    """Set coefficients below their image's threshold to 0, as :mod:`wavestream.kernels.threshold` defines it.

    Args:
        coefficients: (batch, layout.size) packed, float32, int32 for ``cdf53``.
        thresholds: (batch,) in weighted coefficient units.
        out: receives the result; may be ``coefficients``.
        layout: of the images.
        threads: CPU threads; None for all of this process.
    """
    table, weights = layout.table, layout.weights
    first_flags = first_flags_of(table)

    def work_on(begin: int, end: int) -> None:
        flags = np.empty(first_flags[-1], dtype=np.uint8)
        if out.ctypes.data != coefficients.ctypes.data:
            out[begin:end] = coefficients[begin:end]
        _threshold_range(out, thresholds, table, weights, begin, end, flags, first_flags)

    run_ranges(work_on, len(coefficients), layout.size, threads)
