"""Scratch memory of one thread for coding layers, kept between calls and grown when a larger image comes."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import inlined
from wavestream.kernels.cpu.layer_contexts import COLUMN_SHIFT
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.cpu.workspace import aligned_empty
from wavestream.kernels.layers import BLOCK, CONTEXTS, MOST_STATES, TOKENS, Tiling

# Rows of lines: 32 are read and written beyond the last column, and a parent has two children.
_BESIDE = 64


class LayerWorkspace(NamedTuple):
    """Scratch arrays.

    Attributes:
        planes: int32, coefficients of all tiles with room around (``Tiling.parts``).
        words: uint16, one stream.
        starts, frequencies, symbols: int32, 16 tokens for each context.
        shifts: int64, of each context.
        levels: hazard levels of one table.
        states: uint32, of a group.
        tokens, found, values: int32, of the symbols of a group: tokens, their entry in ``symbols``, coefficients.
        raw, unfinished: int64, raw bits of the symbols of a group, and which of them have any.
        entries, parents, idle, columns: int32 lines, see ``layer_contexts``.
        contexts: int64, of a row of blocks.
        flags: int64 lines of a row of blocks and the one above, and room.
        active: uint8, for each block of a part of a subband whether it holds anything but zeros.
    """

    planes: NDArray[np.int32]
    words: NDArray[np.uint16]
    starts: NDArray[np.int32]
    frequencies: NDArray[np.int32]
    symbols: NDArray[np.int32]
    shifts: NDArray[np.int64]
    levels: NDArray[np.uint8]
    states: NDArray[np.uint32]
    tokens: NDArray[np.int32]
    found: NDArray[np.int32]
    values: NDArray[np.int32]
    raw: NDArray[np.int64]
    unfinished: NDArray[np.int64]
    entries: NDArray[np.int32]
    parents: NDArray[np.int32]
    idle: NDArray[np.int32]
    columns: NDArray[np.int32]
    contexts: NDArray[np.int64]
    flags: NDArray[np.int64]
    many: int


class Coder(NamedTuple):
    """The same as pointers, which compiled code reads and writes without looking at bounds."""

    planes: Any
    words: Any
    starts: Any
    frequencies: Any
    symbols: Any
    shifts: Any
    states: Any
    tokens: Any
    found: Any
    values: Any
    raw: Any
    unfinished: Any
    entries: Any
    parents: Any
    idle: Any
    columns: Any
    contexts: Any
    flags: Any
    many: int


@inlined
def coder_of(work):
    """The pointers of a workspace."""
    return Coder(
        pointer_to(work.planes),
        pointer_to(work.words),
        pointer_to(work.starts),
        pointer_to(work.frequencies),
        pointer_to(work.symbols),
        pointer_to(work.shifts),
        pointer_to(work.states),
        pointer_to(work.tokens),
        pointer_to(work.found),
        pointer_to(work.values),
        pointer_to(work.raw),
        pointer_to(work.unfinished),
        pointer_to(work.entries),
        pointer_to(work.parents),
        pointer_to(work.idle),
        pointer_to(work.columns),
        pointer_to(work.contexts),
        pointer_to(work.flags),
        work.many,
    )


class _Kept(threading.local):
    """What this thread has allocated."""

    def __init__(self) -> None:
        self.work: LayerWorkspace | None = None


_kept = _Kept()


def layer_workspace_for(tiling: Tiling, stream: int) -> LayerWorkspace:
    """This thread's scratch memory for images of a tiling and streams of up to ``stream`` bytes.

    The last one again if it is large enough, else a new one.
    """
    widest = tiling.widest + _BESIDE
    # A damaged stream is noticed after the group, the row of flags or the row of LL that went beyond its end.
    words = stream // 2 + 4 * MOST_STATES + widest
    kept = _kept.work
    if kept is None or kept.planes.size < tiling.planes_size or len(kept.columns) < widest or kept.words.size < words:
        _kept.work = None
        if kept is not None:
            widest, words = max(widest, len(kept.columns)), max(words, kept.words.size)
        kept = _kept.work = _allocate(max(tiling.planes_size, 0 if kept is None else kept.planes.size), widest, words)
    return kept


def _allocate(planes: int, widest: int, words: int) -> LayerWorkspace:
    blocks = widest // BLOCK + 3
    return LayerWorkspace(
        planes=aligned_empty((planes,), np.int32),
        words=aligned_empty((words,), np.uint16),
        starts=aligned_empty((CONTEXTS * TOKENS,), np.int32),
        frequencies=aligned_empty((CONTEXTS * TOKENS,), np.int32),
        symbols=aligned_empty((CONTEXTS * TOKENS,), np.int32),
        shifts=np.zeros(CONTEXTS, np.int64),
        levels=np.zeros(TOKENS, np.uint8),
        states=aligned_empty((MOST_STATES,), np.uint32),
        tokens=aligned_empty((MOST_STATES,), np.int32),
        found=aligned_empty((MOST_STATES,), np.int32),
        values=aligned_empty((MOST_STATES,), np.int32),
        raw=np.zeros(MOST_STATES, np.int64),
        unfinished=np.zeros(MOST_STATES + 1, np.int64),
        entries=np.zeros(widest, np.int32),
        parents=np.zeros(widest, np.int32),
        idle=np.zeros(widest, np.int32),
        columns=np.arange(widest, dtype=np.int32) << COLUMN_SHIFT,
        contexts=np.zeros(blocks, np.int64),
        flags=np.zeros(2 * blocks, np.int64),
        many=blocks,
    )
