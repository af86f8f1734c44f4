"""The kernels of the exact K-th largest weighted magnitude: a radix select over the bits of the magnitudes.

A non-negative float32 orders like its bits read as an integer, so the K-th largest is found digit by digit from the
top: 11, 10 and 10 of its 31 bits. Each step counts, per image, the digits of the coefficients that share the digits
found so far, and walks the histogram down from its highest bin to the one that holds the K-th. Nothing is sorted,
nothing is rounded, ties need no order (Alabi et al., "Fast K-selection algorithms for graphics processing units", ACM
JEA 17, 2012). Everything stays on the device.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, int32, uint32, uint64

from wavestream.kernels.cuda.geometry import COUNT
from wavestream.kernels.cuda.intrinsics import float_bits
from wavestream.kernels.cuda.magnitude import extent_of, magnitude_of, weights_of

# (first bit, number of bits) of each digit, highest first; the sign bit of a magnitude is 0.
DIGITS = ((20, 11), (10, 10), (0, 10))
BINS = 2048

# Rows of the state (3, batch) int32: digits found so far; how many coefficients with those digits are still to pass; 1
# where a coefficient of the image is not finite.
FOUND, REMAINING, NOT_FINITE = range(3)
STATE_ROWS = 3

# The highest digit of infinity and NaN, whose exponent bits are all 1, is this or above.
_FIRST_NOT_FINITE = 0x7F800000 >> DIGITS[0][0]


@cuda.jit
def begin_kernel(images, state, histograms):
    """Start a selection: K of each image into the state, zeros into the histograms (digits, batch, bins), flat."""
    stride = cuda.gridDim.x * cuda.blockDim.x
    first = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    image = first
    while image < state.shape[1]:
        state[FOUND, image] = 0
        state[REMAINING, image] = images[image, COUNT]
        state[NOT_FINITE, image] = 0
        image += stride
    place = first
    while place < histograms.shape[0]:
        histograms[uint64(place)] = 0
        place += stride


@cache
def histogram_kernel(lifted: bool, axes: int = 2) -> Any:
    """The kernel (coefficients, levels, state, histograms, digit, shift, width) that counts one digit.

    ``digit`` is its index in :data:`DIGITS`, ``shift`` and ``width`` are its bits. Digit 0 is not counted: it is what
    remains when no other bin holds the K-th, and counting it would make all threads of a block wait for one another in
    images that are mostly 0.
    """
    weight_table = weights_of(lifted, axes)
    magnitude = magnitude_of(lifted)
    extent = extent_of(lifted, axes)
    orientations = 1 << axes

    @cuda.jit
    def histogram(coefficients, levels, state, histograms, digit, shift, width):
        weights = cuda.const.array_like(weight_table)
        bins = cuda.shared.array(BINS, int32)
        stride = cuda.gridDim.x * cuda.blockDim.x
        thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        batch = levels.shape[1]
        mask = (1 << width) - 1
        image = cuda.blockIdx.y
        while image < batch:
            place = cuda.threadIdx.x
            while place < BINS:
                bins[uint32(place)] = 0
                place += cuda.blockDim.x
            cuda.syncthreads()
            found = state[FOUND, image]
            for level in range(levels.shape[0]):
                for orientation in range(orientations):
                    start, size = extent(levels, level, image, orientation)
                    weight = weights[level, orientation]
                    place = thread
                    while place < size:
                        bits = float_bits(magnitude(coefficients[uint64(start + place)], weight)) >> shift
                        bin_ = bits & mask
                        if bin_ != 0 and (bits >> width) == found:
                            cuda.atomic.add(bins, uint32(bin_), 1)
                        place += stride
            cuda.syncthreads()
            place = cuda.threadIdx.x
            while place < BINS:
                counted = bins[uint32(place)]
                if counted != 0:
                    cuda.atomic.add(histograms, uint64((digit * batch + image) * BINS + place), counted)
                place += cuda.blockDim.x
            # No barrier before the next image: each thread clears the bins that it has just read.
            image += cuda.gridDim.y

    return histogram


@cache
def scan_kernel(threads: int) -> Any:
    """The kernel (state, histograms, thresholds, digit, width) that finds one digit: a block of ``threads`` per image.

    ``thresholds`` is the (batch,) float32 result seen as int32: after the last digit it holds the K-th magnitude.
    """
    chunk = BINS // threads

    @cuda.jit
    def scan(state, histograms, thresholds, digit, width):
        sums = cuda.shared.array(threads, int32)
        image = cuda.blockIdx.x
        start = (digit * state.shape[1] + image) * BINS
        total = 0
        for place in range(chunk):
            total += histograms[uint64(start + cuda.threadIdx.x * chunk + place)]
        sums[cuda.threadIdx.x] = total
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            remaining = state[REMAINING, image]
            part = threads - 1
            while part > 0 and sums[part] < remaining:
                remaining -= sums[part]
                part -= 1
            place = (part + 1) * chunk - 1
            while place > part * chunk and histograms[uint64(start + place)] < remaining:
                remaining -= histograms[uint64(start + place)]
                place -= 1
            if digit == 0:
                for high in range(_FIRST_NOT_FINITE, BINS):
                    if histograms[uint64(start + high)] != 0:
                        state[NOT_FINITE, image] = 1
            found = (state[FOUND, image] << width) | place
            state[FOUND, image] = found
            state[REMAINING, image] = remaining
            thresholds[image] = found

    return scan
