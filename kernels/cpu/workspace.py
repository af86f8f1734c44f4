"""Scratch memory of one thread: 64-byte aligned, kept between calls, grown when a larger image comes.

A thread needs a few times the largest image it works on: its coefficients, two low-pass planes, magnitudes and
candidates of the selection, and some rows.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wavestream.kernels.cpu.filters import MARGIN
from wavestream.kernels.layout import layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET

_ALIGNMENT = 64
_LARGEST_FILTER = 16
_LINES = 8
_LINE_SAMPLES = _ALIGNMENT // 4
_HISTOGRAM_SIZE = 2048


class Workspace(NamedTuple):
    """Scratch arrays, each large enough for the largest image; ``Any`` is the transform's dtype, float32 or int32.

    Attributes:
        plane: flat, the image as float32; of no size for ``cdf53``.
        packed: flat, its coefficients; ``packed_bits``: the same memory as integers.
        magnitudes: flat, their weighted magnitudes, where these are not the coefficients themselves;
            ``magnitude_bits``: the same memory as integers.
        half, quarter: flat, low-pass planes of odd and of even levels.
        lines: (8, width), single rows with room for their extension.
        starts: (4, taps), start of each row that a vertical filter combines.
        flags: flat, 1 for each row of each subband that holds anything but zeros.
        marks, candidates, histogram: flat, of the selection; ``histogram_values``: the same memory as float32.
    """

    plane: NDArray[Any]
    packed: NDArray[Any]
    packed_bits: NDArray[np.uint32]
    magnitudes: NDArray[np.float32]
    magnitude_bits: NDArray[np.uint32]
    half: NDArray[Any]
    quarter: NDArray[Any]
    lines: NDArray[Any]
    starts: NDArray[np.int64]
    flags: NDArray[np.uint8]
    marks: NDArray[np.uint32]
    candidates: NDArray[np.uint32]
    histogram: NDArray[np.uint32]
    histogram_values: NDArray[np.float32]


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array that starts on a cache line."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    skip = -raw.ctypes.data % _ALIGNMENT
    return raw[skip : skip + size].view(dtype).reshape(shape)


def allocate(rows: int, cols: int, wavelet: str, levels: int) -> Workspace:
    """Scratch memory for images of up to ``rows`` x ``cols`` pixels and ``levels`` levels."""
    integer = wavelet == INTEGER_WAVELET
    dtype = np.int32 if integer else np.float32
    size = layout_of(rows, cols, wavelet, levels).size
    half_rows, half_cols = (rows + 1) // 2, (cols + 1) // 2
    # Whole cache lines, an odd number of them, so that neighbouring rows do not compete for the same cache sets.
    width = _LINE_SAMPLES * ((2 * half_cols + 4 * MARGIN) // _LINE_SAMPLES | 1) + 2 * _LINE_SAMPLES
    packed, magnitudes = aligned_empty((size,), dtype), aligned_empty((size,), np.float32)
    histogram = aligned_empty((_HISTOGRAM_SIZE,), np.uint32)
    return Workspace(
        plane=aligned_empty((0 if integer else rows * cols,), dtype),
        packed=packed,
        packed_bits=packed.view(np.uint32),
        magnitudes=magnitudes,
        magnitude_bits=magnitudes.view(np.uint32),
        half=aligned_empty((half_rows * half_cols,), dtype),
        quarter=aligned_empty((((half_rows + 1) // 2) * ((half_cols + 1) // 2),), dtype),
        lines=aligned_empty((_LINES, width), dtype),
        starts=np.zeros((4, _LARGEST_FILTER), np.int64),
        # Every level may round its rows up by one.
        flags=np.zeros(4 * (rows + 2 * levels), np.uint8),
        marks=aligned_empty((size // 16 + 1,), np.uint32),
        candidates=aligned_empty((size,), np.uint32),
        histogram=histogram,
        histogram_values=histogram.view(np.float32),
    )


class _Kept(threading.local):
    """What this thread has allocated, by kind of transform, with the (rows, cols, levels) it is large enough for."""

    def __init__(self) -> None:
        self.float: tuple[tuple[int, int, int], Workspace] | None = None
        self.integer: tuple[tuple[int, int, int], Workspace] | None = None


_kept = _Kept()


def workspace_for(rows: int, cols: int, wavelet: str, levels: int) -> Workspace:
    """This thread's scratch memory for such images: the last one again if it is large enough, else a new one."""
    kind = "integer" if wavelet == INTEGER_WAVELET else "float"
    wanted = (rows, cols, levels)
    kept = getattr(_kept, kind)
    if kept is None or any(have < need for have, need in zip(kept[0], wanted, strict=True)):
        # The old one goes first: both at once would be the peak of memory.
        setattr(_kept, kind, None)
        kept = (wanted, allocate(rows, cols, wavelet, levels))
        setattr(_kept, kind, kept)
    return kept[1]
