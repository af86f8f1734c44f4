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

from wavestream.kernels.cpu.compiler import inlined
from wavestream.kernels.cpu.lanes import LANES
from wavestream.kernels.cpu.maxima import GROUP, first_groups_of
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.layout import layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET

_ALIGNMENT = 64
_LINES = 8
_HISTOGRAM_SIZE = 2048
_MOST_TAPS = 16
# Samples kept free on each side of a line for its extension; a filter of 16 taps needs 5. A cache line's worth.
MARGIN = LANES


class Workspace(NamedTuple):
    """Scratch arrays, each large enough for the largest image; ``Any`` is the transform's dtype, float32 or int32.

    Attributes:
        plane: flat, the image as float32; of no size for ``cdf53``.
        packed: flat, its coefficients, and from ``zeros`` on a row of zeros.
        half, quarter: flat, low-pass planes of odd and of even levels.
        lines: (8, width), single rows with room for their extension.
        starts: (4, rows of a subband and more), where the rows begin that vertical filters meet, boundaries included.
        maxima: flat, of each group of coefficients (:mod:`wavestream.kernels.cpu.maxima`).
        flags: flat, 1 for each row of each subband that holds anything but zeros.
        candidates, histogram: flat, of the selection.
        zeros: index into ``packed``.
    """

    plane: NDArray[Any]
    packed: NDArray[Any]
    half: NDArray[Any]
    quarter: NDArray[Any]
    lines: NDArray[Any]
    starts: NDArray[np.int64]
    maxima: NDArray[np.uint32]
    flags: NDArray[np.uint8]
    candidates: NDArray[np.uint32]
    histogram: NDArray[np.uint32]
    zeros: int


class Scratch(NamedTuple):
    """What the transforms need of a :class:`Workspace`, as pointers; ``zeros`` counts from the coefficients."""

    half: Any
    quarter: Any
    lines: Any
    width: int
    starts: Any
    many: int
    maxima: Any
    zeros: int


@inlined
def scratch_of(work, zeros):
    """The pointers of a workspace."""
    return Scratch(
        pointer_to(work.half),
        pointer_to(work.quarter),
        pointer_to(work.lines),
        work.lines.shape[1],
        pointer_to(work.starts),
        work.starts.shape[1],
        pointer_to(work.maxima),
        zeros,
    )


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
    width = LANES * ((2 * half_cols + 6 * MARGIN) // LANES | 1)
    zeros = LANES * -(-size // LANES)
    packed = aligned_empty((zeros + width,), dtype)
    packed[zeros:] = 0
    return Workspace(
        plane=aligned_empty((0 if integer else rows * cols,), dtype),
        packed=packed,
        half=aligned_empty((half_rows * half_cols,), dtype),
        quarter=aligned_empty((((half_rows + 1) // 2) * ((half_cols + 1) // 2),), dtype),
        lines=aligned_empty((_LINES, width), dtype),
        starts=np.zeros((4, half_rows + _MOST_TAPS), np.int64),
        # One row more takes those of low-pass planes that are transformed further.
        maxima=aligned_empty(
            (LANES * (_most_groups(rows, cols, wavelet, levels) + half_cols // GROUP + 1),), np.uint32
        ),
        # Every level may round its rows up by one.
        flags=np.zeros(4 * (rows + 2 * levels), np.uint8),
        candidates=aligned_empty((size + LANES,), np.uint32),
        histogram=aligned_empty((_HISTOGRAM_SIZE,), np.uint32),
        zeros=zeros,
    )


def _most_groups(rows: int, cols: int, wavelet: str, levels: int) -> int:
    """The most groups of coefficients that an image of up to this size and depth has."""
    return max(int(first_groups_of(layout_of(rows, cols, wavelet, depth).table)[-1]) for depth in range(1, levels + 1))


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
