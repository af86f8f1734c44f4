"""The K-th largest magnitude, exactly, on the integer bits of float32 magnitudes (which sort like the numbers).

A sample of the magnitudes says between which two values the K-th largest almost surely lies. One pass that runs 16
magnitudes at a time counts those above and marks the blocks that hold any in between; those few are collected, and the
one sought is found among them by radix (11, 10 and 10 bits). The counts prove the bracket right; if it is wrong, which
costs time but nothing else, all magnitudes go through the radix search.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import entry, inner, leaf
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.cpu.threshold import weigh_image
from wavestream.kernels.cpu.workspace import workspace_for
from wavestream.kernels.layout import Layout

_SIGN_OFF = np.uint32(0x7FFFFFFF)
_BLOCK = 16
_GROUP = _BLOCK * _BLOCK
# Below so many magnitudes the radix search is done before a sample is worth its while.
_SAMPLE_FROM = 4096
_SAMPLE_EVERY = 32
_LARGEST_SAMPLE = 4096
_TOP_BITS = 20


@leaf
def _mark_blocks(bits, start, groups, low, width, marks):
    """Mark each block that holds a magnitude from ``low`` to ``low + width``.

    Returns how many magnitudes are above, and the largest.

    A block is the 16 magnitudes ``j, j + 16, ...`` of a group of 256, so that 16 blocks are looked at side by side.
    """
    begin = np.uint64(start)
    largest, above = np.uint32(0), np.uint32(0)
    for group in range(np.uint64(groups)):
        first = begin + group * np.uint64(_GROUP)
        for lane in range(np.uint64(_BLOCK)):
            inside = np.uint32(0)
            for step in range(np.uint64(_BLOCK)):
                value = np.uint32(bits[first + step * np.uint64(_BLOCK) + lane] & _SIGN_OFF)
                largest = value if value > largest else largest
                # Below the bracket the difference wraps around and is large, too.
                over = np.uint32(value - low)
                inside |= np.uint32(1) if over <= width else np.uint32(0)
                above = np.uint32(above + (np.uint32(1) if value > low + width else np.uint32(0)))
            marks[group * np.uint64(_BLOCK) + lane] = inside
    return np.int64(above), largest


@inner
def _gather_marked(bits, start, groups, marks, low, width, candidates):
    """Collect the magnitudes from ``low`` to ``low + width`` of the marked blocks; returns how many."""
    begin, filled = np.uint64(start), np.uint64(0)
    for block in range(np.uint64(groups * _BLOCK)):
        if marks[block] == 0:
            continue
        first = begin + (block // np.uint64(_BLOCK)) * np.uint64(_GROUP) + block % np.uint64(_BLOCK)
        for step in range(np.uint64(_BLOCK)):
            value = np.uint32(bits[first + step * np.uint64(_BLOCK)] & _SIGN_OFF)
            candidates[filled] = value
            filled += np.uint64(np.uint32(value - low) <= width)
    return np.int64(filled)


@inner
def _count_digits(values, start, step, count, shift, mask, histogram):
    """Histogram of one radix digit of every ``step``-th of ``count`` magnitudes."""
    histogram[: mask + 1] = 0
    begin, stride = np.uint64(start), np.uint64(step)
    for index in range(np.uint64(count)):
        digit = ((values[begin + index * stride] & _SIGN_OFF) >> np.uint32(shift)) & np.uint32(mask)
        histogram[np.uint64(digit)] += np.uint32(1)


@inner
def _find_digit(histogram, largest_digit, wanted):
    """The digit of the ``wanted``-th largest value, and how many values of larger digits there are."""
    above = 0
    for digit in range(largest_digit, -1, -1):
        here = np.int64(histogram[np.uint64(digit)])
        if above + here >= wanted:
            return digit, above
        above += here
    return 0, above


@inner
def _gather_digit(values, start, count, shift, prefix, candidates):
    """Collect the values whose bits from ``shift`` up are ``prefix``; ``candidates`` may be ``values`` itself."""
    begin, filled = np.uint64(start), np.uint64(0)
    wanted = np.uint32(prefix)
    for index in range(np.uint64(count)):
        value = values[begin + index] & _SIGN_OFF
        candidates[filled] = value
        filled += np.uint64((value >> np.uint32(shift)) == wanted)
    return np.int64(filled)


@inner
def _radix_kth(values, start, count, wanted, candidates, histogram):
    """The ``wanted``-th largest magnitude of ``values[start : start + count]``.

    ``candidates`` is overwritten; it may be ``values`` where ``start`` is 0.
    """
    _count_digits(values, start, 1, count, _TOP_BITS, 2047, histogram)
    prefix, above = _find_digit(histogram, 2047, wanted)
    wanted -= above
    count = _gather_digit(values, start, count, _TOP_BITS, prefix, candidates)
    for shift in (10, 0):
        _count_digits(candidates, 0, 1, count, shift, 1023, histogram)
        digit, above = _find_digit(histogram, 1023, wanted)
        wanted -= above
        prefix = (prefix << 10) | digit
        if shift:
            count = _gather_digit(candidates, 0, count, shift, prefix, candidates)
    return np.uint32(prefix)


@inner
def _bracket(bits, start, count, wanted, histogram):
    """Two values, (low, high), between which the ``wanted``-th largest magnitude lies, judged from a sample.

    ``low`` is never 0: zeros, often many, need no search.
    """
    sample = min(_LARGEST_SAMPLE, count // _SAMPLE_EVERY)
    # An odd step, lest it keep to the same few columns of a subband.
    step = (count // sample - 1) | 1
    _count_digits(bits, start, step, sample, _TOP_BITS, 2047, histogram)
    rank = wanted * sample / count
    margin = 4.0 * np.sqrt(rank) + 2.0
    digit, _ = _find_digit(histogram, 2047, min(sample, np.int64(rank + margin) + 1))
    low = np.uint32(max(digit << _TOP_BITS, 1))
    high = _SIGN_OFF
    if rank > margin:
        digit, _ = _find_digit(histogram, 2047, np.int64(rank - margin))
        high = np.uint32(((digit + 1) << _TOP_BITS) - 1)
    return low, high


@inner
def kth_largest(bits, start, count, wanted, marks, candidates, histogram):
    """Bits of the ``wanted``-th largest magnitude of ``bits[start : start + count]``, and of the largest.

    NaN counts as larger than infinity.
    """
    low, high = np.uint32(1), _SIGN_OFF
    if count >= _SAMPLE_FROM:
        low, high = _bracket(bits, start, count, wanted, histogram)
    width = np.uint32(high - low)
    groups = count // _GROUP
    above, largest = _mark_blocks(bits, start, groups, low, width, marks)
    found = _gather_marked(bits, start, groups, marks, low, width, candidates)
    for index in range(np.uint64(start + groups * _GROUP), np.uint64(start + count)):
        value = np.uint32(bits[index] & _SIGN_OFF)
        largest = value if value > largest else largest
        if value > high:
            above += 1
        elif value >= low:
            candidates[np.uint64(found)] = value
            found += 1
    if wanted > above + found and low == 1:
        return np.uint32(0), largest
    if above < wanted <= above + found:
        return _radix_kth(candidates, 0, found, wanted - above, candidates, histogram), largest
    return _radix_kth(bits, start, count, wanted, candidates, histogram), largest


@entry
def _kth_range(coefficients, counts, thresholds, table, weights, begin, end, work):
    """Thresholds of images ``begin`` to ``end`` of a batch of packed coefficients."""
    size = coefficients.shape[1]
    for index in range(begin, end):
        weigh_image(coefficients[index], 0, table, weights, work.magnitudes)
        kth, _ = kth_largest(work.magnitude_bits, 0, size, counts[index], work.marks, work.candidates, work.histogram)
        work.histogram[0] = kth
        thresholds[index] = work.histogram_values[0]


def kth_magnitude_cpu(
    coefficients: NDArray[np.float32] | NDArray[np.int32],
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

    def work_on(begin: int, end: int) -> None:
        work = workspace_for(layout.rows, layout.cols, layout.wavelet, layout.levels)
        _kth_range(coefficients, counts, thresholds, table, weights, begin, end, work)

    run_ranges(work_on, len(coefficients), layout.size, threads)
