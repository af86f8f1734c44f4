"""The K-th largest magnitude, exactly, on the integer bits of float32 magnitudes (which sort like the numbers).

A sample of the magnitudes says between which two values the K-th largest almost surely lies. The transform has noted
the largest magnitudes of each group of coefficients; groups that reach the lower value are read, the magnitudes in
between collected, those above counted, and the one sought is found among the few by radix, a byte at a time. The
counts prove the bracket right; if it is wrong, which costs time but nothing else, all magnitudes go through the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import entry, inner
from wavestream.kernels.cpu.lanes import (
    LANES,
    any_of,
    at_least,
    compress,
    count_of,
    fill,
    largest_bits,
    subtract,
)
from wavestream.kernels.cpu.maxima import (
    GROUP,
    INFINITY_BITS,
    bits_of,
    first_groups_of,
    float_of,
    note_maxima,
    weighted_bits,
)
from wavestream.kernels.cpu.memory import load, load_first, pointer_to, store
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.cpu.workspace import workspace_for
from wavestream.kernels.layout import COLS, OFFSET, ROWS, Layout

_HIGHEST = np.uint32(0x7FFFFFFF)
# Below so many magnitudes all are collected: a sample is not worth its while.
_SAMPLE_FROM = 4096
_SAMPLE_EVERY = 32
_LARGEST_SAMPLE = 4096
# The sample is sorted by sign (none), exponent and 3 bits of the mantissa.
_TOP_SHIFT, _TOP_DIGITS = 20, 2048
_DIGIT_BITS = 8
_DIGIT = (1 << _DIGIT_BITS) - 1


@inner
def _clear(histogram, count):
    for index in range(0, count, LANES):
        store(histogram, index, fill(np.int32(0)))


@inner
def _find_digit(histogram, largest_digit, wanted):
    """The digit of the ``wanted``-th largest value, and how many values of larger digits there are."""
    above = 0
    for digit in range(largest_digit, -1, -1):
        here = np.int64(histogram[digit])
        if above + here >= wanted:
            return digit, above
        above += here
    return 0, above


@inner
def _radix_kth(values, count, width, wanted, histogram):
    """The ``wanted``-th largest of ``values[:count]``, all up to ``width``; they are moved about."""
    shift = 0
    while width >> shift > _DIGIT:
        shift += 1
    prefix, mask = 0, np.int64(_DIGIT)
    while True:
        _clear(histogram, _DIGIT + 1)
        for index in range(count):
            histogram[np.int64(values[index] >> np.uint32(shift)) & mask] += np.uint32(1)
        digit, above = _find_digit(histogram, mask, wanted)
        wanted -= above
        prefix = prefix * (mask + 1) + digit
        if shift == 0:
            return np.uint32(prefix)
        filled = 0
        for index in range(count):
            value = values[index]
            values[filled] = value
            filled += np.int64(np.int64(value >> np.uint32(shift)) == prefix)
        count = filled
        bits = min(shift, _DIGIT_BITS)
        shift, mask = shift - bits, np.int64((1 << bits) - 1)


@inner
def _bracket(packed, base, table, weights, count, wanted, histogram):
    """Two values, (low, high), between which the ``wanted``-th largest magnitude lies, judged from a sample.

    ``low`` is never 0: zeros, often many, need no search.
    """
    sample = min(_LARGEST_SAMPLE, count // _SAMPLE_EVERY)
    # An odd step, lest it keep to the same few columns of a subband.
    step = (count // sample - 1) | 1
    _clear(histogram, _TOP_DIGITS)
    place, seen, largest = 0, 0, 0
    for band in range(len(table)):
        end = table[band, OFFSET] + table[band, ROWS] * table[band, COLS]
        while place < end:
            bits = bits_of(np.float32(abs(packed[base + place])) * weights[band])
            digit = np.int64(bits >> np.uint32(_TOP_SHIFT))
            histogram[digit] += np.uint32(1)
            largest = max(largest, digit)
            place += step
            seen += 1
    rank = wanted * seen / count
    margin = 4.0 * np.sqrt(rank) + 2.0
    digit, _ = _find_digit(histogram, largest, min(seen, np.int64(rank + margin) + 1))
    low = np.uint32(max(digit << _TOP_SHIFT, 1))
    high = _HIGHEST
    if rank > margin:
        digit, _ = _find_digit(histogram, largest, np.int64(rank - margin))
        high = np.uint32(((digit + 1) << _TOP_SHIFT) - 1)
    return low, high


@inner
def collect(packed, base, table, weights, maxima, groups, low, high, candidates):
    """Collect the magnitudes from ``low`` to ``high``, less ``low``.

    Returns how many there are, how many are above, and whether all are finite.
    """
    lowest, width, over = fill(low), fill(np.uint32(high - low)), fill(np.uint32(high + np.uint32(1)))
    most = fill(np.uint32(0))
    found, above = 0, 0
    for band in range(len(table)):
        cols, weight = table[band, COLS], weights[band]
        start, group = base + table[band, OFFSET], groups[band]
        for _ in range(table[band, ROWS]):
            for first in range(0, cols, GROUP):
                here = load(maxima, group * LANES)
                group += 1
                most = largest_bits(most, here)
                if not any_of(at_least(here, lowest)):
                    continue
                for x in range(first, min(first + GROUP, cols), LANES):
                    bits = weighted_bits(load_first(packed, start + x, cols - x), weight)
                    if any_of(at_least(bits, lowest)):
                        over_low = subtract(bits, lowest)
                        inside = at_least(width, over_low)
                        store(candidates, found, compress(over_low, inside))
                        found += count_of(inside)
                        above += count_of(at_least(bits, over))
            start += cols
    return found, above, not any_of(at_least(most, fill(INFINITY_BITS)))


@inner
def kth_largest(packed, base, table, weights, maxima, groups, count, wanted, candidates, histogram):
    """The ``wanted``-th largest weighted magnitude of the ``count`` coefficients at ``packed[base:]``.

    ``maxima`` and ``groups`` are the transform's. Returns it as float32, and whether all magnitudes are finite.
    """
    low, high = np.uint32(1), _HIGHEST
    if count >= _SAMPLE_FROM:
        low, high = _bracket(packed, base, table, weights, count, wanted, histogram)
    found, above, finite = collect(packed, base, table, weights, maxima, groups, low, high, candidates)
    if wanted <= above or (wanted > above + found and low > 1):
        low, high = np.uint32(1), _HIGHEST
        found, above, finite = collect(packed, base, table, weights, maxima, groups, low, high, candidates)
    if wanted > above + found:
        # What has not been collected, and is not above, is 0.
        return np.float32(0.0), finite
    return float_of(np.uint32(low + _radix_kth(candidates, found, high - low, wanted - above, histogram))), finite


@entry
def _kth_range(coefficients, counts, thresholds, table, weights, groups, begin, end, work):
    """Thresholds of images ``begin`` to ``end`` of a batch of packed coefficients."""
    size = coefficients.shape[1]
    packed, maxima = pointer_to(coefficients), pointer_to(work.maxima)
    candidates, histogram = pointer_to(work.candidates), pointer_to(work.histogram)
    for index in range(begin, end):
        base = index * size
        note_maxima(packed, base, table, weights, maxima, groups)
        thresholds[index], _ = kth_largest(
            packed, base, table, weights, maxima, groups, size, counts[index], candidates, histogram
        )


def kth_magnitude_cpu(
    coefficients: NDArray[Any],
    counts: NDArray[np.int64],
    thresholds: NDArray[np.float32],
    layout: Layout,
    threads: int | None = None,
) -> None:
    """The ``counts``-th largest weighted magnitude of each image, as :mod:`wavestream.kernels.select` defines it.

    Args:
        coefficients: (batch, layout.size) packed, float32, int32 for ``cdf53``.
        counts: (batch,) K of each image.
        thresholds: (batch,) receives the result.
        layout: of the images.
        threads: CPU threads; None for all of this process.
    """
    table, weights = layout.table, layout.weights
    groups = first_groups_of(table)

    def work_on(begin: int, end: int) -> None:
        work = workspace_for(layout.rows, layout.cols, layout.wavelet, layout.levels)
        _kth_range(coefficients, counts, thresholds, table, weights, groups, begin, end, work)

    run_ranges(work_on, len(coefficients), layout.size, threads)
