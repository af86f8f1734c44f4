"""Weighted magnitudes and the hard threshold, subband by subband."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import entry, inner
from wavestream.kernels.cpu.lanes import LANES, any_of, at_least, fill, largest_bits, only, subtract
from wavestream.kernels.cpu.maxima import GROUP, INFINITY_BITS, bits_of, weighted_bits
from wavestream.kernels.cpu.memory import load, load_first, pointer_to, store_first
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.layout import COLS, OFFSET, ROWS, Layout


@inner
def _threshold_row(packed, start, cols, weight, threshold):
    """Set the coefficients of one row below the threshold (bits), and NaN, to 0."""
    lowest, width = fill(threshold), fill(np.uint32(INFINITY_BITS - threshold))
    for x in range(0, cols, LANES):
        lanes = load_first(packed, start + x, cols - x)
        # What is below the threshold wraps around.
        over = subtract(weighted_bits(lanes, weight), lowest)
        store_first(packed, start + x, only(at_least(width, over), lanes), cols - x)


@inner
def threshold_image(packed, base, table, weights, threshold, maxima, groups, flags, first_flags, lows):
    """Threshold the image at ``packed[base]`` in place and flag its rows that are not all zero.

    ``maxima`` and ``groups`` are the transform's: a row that does not reach the threshold is not touched (but in the
    first ``lows`` rows of the table, the low-pass), only its flag is cleared. The flags of subband ``band`` start at
    ``flags[first_flags[band]]``, one per row.
    """
    bits = bits_of(threshold)
    for band in range(len(table)):
        rows, cols, group = table[band, ROWS], table[band, COLS], groups[band]
        start, per_row = base + table[band, OFFSET], (cols + GROUP - 1) // GROUP
        for row in range(rows):
            most = fill(np.uint32(0))
            for index in range(group, group + per_row):
                most = largest_bits(most, load(maxima, index * LANES))
            reached = any_of(at_least(most, fill(bits)))
            flags[first_flags[band] + row] = reached
            # The inverse reads every row of the low-pass, flagged or not.
            if reached or band < lows:
                _threshold_row(packed, start, cols, weights[band], bits)
            start += cols
            group += per_row


@entry
def _threshold_range(coefficients, thresholds, table, weights, begin, end):
    size = coefficients.shape[1]
    packed = pointer_to(coefficients)
    for index in range(begin, end):
        bits = bits_of(max(thresholds[index], np.float32(0.0)))
        for band in range(len(table)):
            count = table[band, ROWS] * table[band, COLS]
            _threshold_row(packed, index * size + table[band, OFFSET], count, weights[band], bits)


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

    def work_on(begin: int, end: int) -> None:
        if out.ctypes.data != coefficients.ctypes.data:
            out[begin:end] = coefficients[begin:end]
        _threshold_range(out, thresholds, table, weights, begin, end)
        out[begin:end][np.isnan(thresholds[begin:end])] = 0

    run_ranges(work_on, len(coefficients), layout.size, threads)
