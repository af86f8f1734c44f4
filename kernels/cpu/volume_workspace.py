"""Scratch memory for volumes: buffers of a volume's size for the calling thread, a few rows for every thread."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import inlined
from wavestream.kernels.cpu.lanes import LANES
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.cpu.volume_plan import VolumePlan
from wavestream.kernels.cpu.workspace import MARGIN, aligned_empty
from wavestream.kernels.volume_layout import VolumeLayout

# Rings of rows: 16 rows of two bands forward, 8 of eight backward.
_RING_ROWS = 64
_LINES = 6
_LARGEST_FILTER = 16


class Rows(NamedTuple):
    """Scratch of one thread: rows of a volume, not volumes.

    Attributes:
        rings: (64, width) the last rows made by a filter through the slices.
        lines: (6, width) single rows with room for their extension.
        starts: (4, 32) starts of the rows that a filter combines.
        made: (32,) whether a row of a ring holds anything but zeros.
    """

    rings: NDArray[Any]
    lines: NDArray[Any]
    starts: NDArray[np.int64]
    made: NDArray[np.uint8]


class RowScratch(NamedTuple):
    """:class:`Rows` as pointers; rows of ``rings`` and ``lines`` are ``width`` apart, of ``starts`` ``many``."""

    rings: Any
    lines: Any
    width: int
    starts: Any
    many: int
    made: Any


@inlined
def scratch_of_rows(rows):
    """The pointers of a thread's rows."""
    return RowScratch(
        pointer_to(rows.rings),
        pointer_to(rows.lines),
        rows.lines.shape[1],
        pointer_to(rows.starts),
        rows.starts.shape[1],
        pointer_to(rows.made),
    )


class Buffers(NamedTuple):
    """Scratch of one call, as int32; the transforms see it as their own type.

    Attributes:
        packed: the coefficients, then a row of zeros.
        spare: as large and more: first float16 voxels as float32, then the selection's candidates, then what the
            inverse makes halfway.
        half, quarter: low-pass volumes of odd and of even levels.
        maxima: of each group of coefficients (:mod:`wavestream.kernels.cpu.maxima`).
        flags: 1 for each row of each subband that holds anything but zeros.
    """

    packed: NDArray[np.int32]
    spare: NDArray[np.int32]
    half: NDArray[np.int32]
    quarter: NDArray[np.int32]
    maxima: NDArray[np.uint32]
    flags: NDArray[np.uint8]


class _Kept(threading.local):
    """What this thread has allocated."""

    def __init__(self) -> None:
        self.buffers: Buffers | None = None
        self.rows: dict[str, Rows] = {}


_kept = _Kept()


def buffers_for(layout: VolumeLayout, plan: VolumePlan) -> Buffers:
    """This thread's buffers: the last ones again if they are large enough, else new ones."""
    lows = [int(shape.prod()) for shape in plan.shapes[1:3]]
    cols = layout.shape[2]
    wanted = (
        plan.zeros + cols,
        layout.size + room_for_candidates(len(plan.pieces)),
        lows[0],
        lows[1] if len(lows) > 1 else 0,
        LANES * plan.groups,
        plan.flags,
    )
    kept = _kept.buffers
    if kept is None or _too_small(kept, wanted):
        # The old ones go first: both at once would be the peak of memory.
        _kept.buffers = kept = None
        packed, spare, half, quarter = (aligned_empty((size,), np.int32) for size in wanted[:4])
        maxima, flags = aligned_empty((wanted[4],), np.uint32), np.empty(wanted[5], np.uint8)
        kept = Buffers(packed, spare, half, quarter, maxima, flags)
        _kept.buffers = kept
    kept.packed[plan.zeros : plan.zeros + cols] = 0
    return kept


def room_for_candidates(piece: int) -> int:
    """How far the candidates of a piece are moved on: 16 are written at a time, also past the last one of a piece."""
    return LANES * piece


def _too_small(buffers: Buffers, wanted: tuple[int, ...]) -> bool:
    arrays: tuple[NDArray[Any], ...] = buffers
    return any(len(have) < need for have, need in zip(arrays, wanted, strict=True))


def rows_for(cols: int, integer: bool) -> Rows:
    """This thread's rows for volumes of up to ``cols`` columns."""
    kind = np.dtype(np.int32 if integer else np.float32)
    # Whole cache lines, an odd number of them, so that neighbouring rows do not compete for the same cache sets.
    width = LANES * ((cols + 6 * MARGIN) // LANES | 1)
    kept = _kept.rows.get(kind.name)
    if kept is None or kept.lines.shape[1] < width:
        kept = Rows(
            rings=aligned_empty((_RING_ROWS, width), kind),
            lines=aligned_empty((_LINES, width), kind),
            starts=np.zeros((4, 2 * _LARGEST_FILTER), np.int64),
            made=np.zeros(2 * _LARGEST_FILTER, np.uint8),
        )
        _kept.rows[kind.name] = kept
    return kept
