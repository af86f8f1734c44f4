"""One step along a line of samples, as device functions: a low/high pair from a window of samples, and back.

A tile in shared memory is transformed first along one axis and then along the other by the same functions: sample ``j``
of a window lies at ``base + (j & 1) * odd + (j >> 1) * pair``, so that a line may run down a column or along a row
whose even and odd samples are kept apart (which spares a strided read).

Float wavelets are filters with PyWavelets' ``periodization`` boundary, in float32. ``cdf53`` is the lifting of
ITU-T T.800 (JPEG 2000 Part 1), F.3.8 and F.4.8, written without intermediate storage: with whole-sample symmetric
extension of the samples, the high-pass coefficients extend themselves.

Places in shared memory are cast to uint32 where they are used: Numba would test a signed one for being negative at
every access, and compute it in 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, float32, int32, int64, uint32

from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank

Device = Callable[..., Any]


@dataclass(frozen=True)
class AnalysisLine:
    """How pair ``k`` of coefficients is made: of the ``span`` samples from ``2 * k - lead`` on.

    Attributes:
        lead, span: the window.
        dtype: Numba type of samples and coefficients.
        extend: (index, length) -> the index, inside the line, of the sample that stands at ``index``.
        analyse: (samples, base, odd, pair) -> (low, high).
    """

    lead: int
    span: int
    dtype: Any
    extend: Device
    analyse: Device


@dataclass(frozen=True)
class SynthesisLine:
    """How samples ``2 * k`` and ``2 * k + 1`` are made: of the ``span`` coefficient pairs from ``k - lead`` on.

    Attributes:
        lead, span: the window.
        dtype: Numba type of samples and coefficients.
        extend_low, extend_high: (index, length of the samples' line) -> the index, inside the subband, of the
            coefficient that stands at ``index``; -1 for a coefficient that is 0 because the subband is empty.
        synthesise: (coefficients, base of the low ones, base of the high ones, stride) -> (even sample, odd sample).
    """

    lead: int
    span: int
    dtype: Any
    extend_low: Device
    extend_high: Device
    synthesise: Device


@cuda.jit(device=True)
def _mirror(index, length):
    """Whole-sample symmetric extension; a line of one sample repeats it."""
    if length == 1:
        return 0
    last = length - 1
    while index < 0 or index > last:
        index = -index if index < 0 else 2 * last - index
    return index


@cuda.jit(device=True)
def _wrap(index, period):
    while index < 0:
        index += period
    while index >= period:
        index -= period
    return index


def analysis_line(wavelet: str) -> AnalysisLine:
    """The analysis step of a wavelet."""
    return _lifting_analysis() if wavelet == INTEGER_WAVELET else _filter_analysis(wavelet)


def synthesis_line(wavelet: str) -> SynthesisLine:
    """The synthesis step of a wavelet."""
    return _lifting_synthesis() if wavelet == INTEGER_WAVELET else _filter_synthesis(wavelet)


def _filter_analysis(wavelet: str) -> AnalysisLine:
    bank = filter_bank(wavelet)
    length = bank.length
    # Coefficient k sums dec[j] * x[2 * k + length / 2 - j]: along the window the taps run backwards.
    low_taps = np.array(bank.dec_lo[::-1], dtype=np.float32)
    high_taps = np.array(bank.dec_hi[::-1], dtype=np.float32)

    @cuda.jit(device=True)
    def extend(index, size):
        # An odd line repeats its last sample, then the whole repeats.
        return min(_wrap(index, size + (size & 1)), size - 1)

    @cuda.jit(device=True)
    def analyse(samples, base, odd, pair):
        low_tap = cuda.const.array_like(low_taps)
        high_tap = cuda.const.array_like(high_taps)
        low = float32(0.0)
        high = float32(0.0)
        for j in range(length):
            sample = samples[uint32(base + (j & 1) * odd + (j >> 1) * pair)]
            low += low_tap[j] * sample
            high += high_tap[j] * sample
        return low, high

    return AnalysisLine(length // 2 - 1, length, float32, extend, analyse)


def _filter_synthesis(wavelet: str) -> SynthesisLine:
    bank = filter_bank(wavelet)
    half = bank.length // 2
    # Sample 2 * k + parity sums rec[2 * shift + parity + half - 1] * coefficient[k - shift] over every tap there is.
    lead = half // 2
    span = 2 * lead + 1

    def taps_of(filters: tuple[float, ...], parity: int) -> np.ndarray:
        places = [2 * (lead - t) + parity + half - 1 for t in range(span)]
        return np.array([filters[p] if 0 <= p < bank.length else 0.0 for p in places], dtype=np.float32)

    even_low_taps, odd_low_taps = taps_of(bank.rec_lo, 0), taps_of(bank.rec_lo, 1)
    even_high_taps, odd_high_taps = taps_of(bank.rec_hi, 0), taps_of(bank.rec_hi, 1)

    @cuda.jit(device=True)
    def extend(index, size):
        return _wrap(index, (size + 1) >> 1)

    @cuda.jit(device=True)
    def synthesise(coefficients, low_base, high_base, stride):
        even_low_tap = cuda.const.array_like(even_low_taps)
        odd_low_tap = cuda.const.array_like(odd_low_taps)
        even_high_tap = cuda.const.array_like(even_high_taps)
        odd_high_tap = cuda.const.array_like(odd_high_taps)
        even = float32(0.0)
        odd = float32(0.0)
        for t in range(span):
            low = coefficients[uint32(low_base + t * stride)]
            high = coefficients[uint32(high_base + t * stride)]
            even += even_low_tap[t] * low
            even += even_high_tap[t] * high
            odd += odd_low_tap[t] * low
            odd += odd_high_tap[t] * high
        return even, odd

    return SynthesisLine(lead, span, float32, extend, extend, synthesise)


def _lifting_analysis() -> AnalysisLine:
    @cuda.jit(device=True)
    def analyse(samples, base, odd, pair):
        # Samples 2k - 2 ... 2k + 2; 64-bit, so that nothing overflows before the result is stored.
        first = int64(samples[uint32(base)])
        second = int64(samples[uint32(base + odd)])
        centre = int64(samples[uint32(base + pair)])
        fourth = int64(samples[uint32(base + odd + pair)])
        fifth = int64(samples[uint32(base + 2 * pair)])
        before = second - ((first + centre) >> 1)
        high = fourth - ((centre + fifth) >> 1)
        low = centre + ((before + high + 2) >> 2)
        return int32(low), int32(high)

    return AnalysisLine(2, 5, int32, _mirror, analyse)


def _lifting_synthesis() -> SynthesisLine:
    @cuda.jit(device=True)
    def extend_low(index, size):
        return _mirror(2 * index, size) >> 1

    @cuda.jit(device=True)
    def extend_high(index, size):
        return -1 if size == 1 else _mirror(2 * index + 1, size) >> 1

    @cuda.jit(device=True)
    def synthesise(coefficients, low_base, high_base, stride):
        # Pairs k - 1, k, k + 1; the next even sample is needed for the odd one.
        low = int64(coefficients[uint32(low_base + stride)])
        next_low = int64(coefficients[uint32(low_base + 2 * stride)])
        before = int64(coefficients[uint32(high_base)])
        high = int64(coefficients[uint32(high_base + stride)])
        after = int64(coefficients[uint32(high_base + 2 * stride)])
        even = low - ((before + high + 2) >> 2)
        next_even = next_low - ((high + after + 2) >> 2)
        odd = high + ((even + next_even) >> 1)
        return int32(even), int32(odd)

    return SynthesisLine(1, 3, int32, extend_low, extend_high, synthesise)
