"""The launches of a batch: one, or, for images that are too large, tiles before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavestream.kernels.cuda.fused.budget import BINS, WORD
from wavestream.kernels.cuda.fused.choice import Choice
from wavestream.kernels.cuda.fused.launch import Launch
from wavestream.kernels.cuda.fused.source import (
    TILE_THREADS,
    TILES,
    WHOLE,
    WHOLE_KERNEL,
    tile_definitions,
    whole_definitions,
)
from wavestream.kernels.layout import low_shapes
from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank

# Pairs of coefficients per tile, as in tiles.cu.
TILE_ROWS, TILE_COLS = 16, 32
BEGIN_BLOCKS = 64


@dataclass(frozen=True)
class Canvas:
    """A batch in memory.

    Attributes:
        batch, rows, cols: shape of the canvases.
        source, result: Numba views of them, flat; may be the same memory.
        table: (batch, 6) int64 on the device, as :class:`~wavestream.kernels.cuda.fused.plan.FusedPlan`.
    """

    batch: int
    rows: int
    cols: int
    source: Any
    result: Any
    table: Any

    @property
    def names(self) -> tuple[str, str]:
        """Names of the pixel types."""
        return np.dtype(self.source.dtype).name, np.dtype(self.result.dtype).name


def room_of(rows: int, cols: int, peeled: int) -> int:
    """Words of workspace per image: four planes for each level that is done by tiles."""
    return 4 * int(low_shapes(rows, cols, peeled)[1:].prod(axis=1).sum()) if peeled else 0


def whole_step(choice: Choice, wavelet: str, canvas: Canvas) -> Launch:
    """The launch that does it all."""
    numbers = _whole_numbers(choice, canvas.batch, canvas.rows, canvas.cols, canvas.rows * canvas.cols)
    return _whole(
        choice, wavelet, canvas.names, (_from(canvas.source), _from(canvas.result), _from(canvas.table), *numbers)
    )


def peeled_steps(
    choice: Choice, wavelet: str, canvas: Canvas, rooms: Any, histograms: Any, thresholds: Any
) -> Iterator[Launch]:
    """The launches of a batch of which some levels are done by tiles.

    Args:
        choice: how, with ``peeled`` at least 1.
        wavelet: its name.
        canvas: the batch.
        rooms: workspace of :func:`room_of` words per image, float32 or int32.
        histograms: workspace, (batch * 2048,) int32.
        thresholds: workspace, (batch,), 4 bytes each.
    """
    shapes = [(int(rows), int(cols)) for rows, cols in low_shapes(canvas.rows, canvas.cols, choice.peeled)]
    pixels, room = canvas.rows * canvas.cols, room_of(canvas.rows, canvas.cols, choice.peeled)
    starts = [0, *(room_of(canvas.rows, canvas.cols, level) for level in range(1, choice.peeled))]
    clear = (_from(histograms), np.int32(canvas.batch * BINS))
    yield _tiles(wavelet, canvas, 0, "begin", (BEGIN_BLOCKS, 1, 1), 0, clear)
    for level in range(choice.peeled):
        low_rows, low_cols = shapes[level + 1]
        analysis = (
            _from(canvas.source) if level == 0 else _from(rooms, starts[level - 1]),
            _from(rooms, starts[level]),
            _from(histograms),
            _from(canvas.table),
            np.int32(level),
            np.int64(pixels if level == 0 else room),
            np.int32(shapes[level][1]),
            np.int64(room),
            np.int32(low_rows),
            np.int32(low_cols),
        )
        grid = _grid(low_rows, low_cols, canvas.batch)
        yield _tiles(wavelet, canvas, level, "analyse_tiles", grid, _tile_bytes(wavelet, analysis=True), analysis)
    low = _from(rooms, starts[-1])
    whole = (
        *(low, low, _from(canvas.table)),
        *_whole_numbers(choice, canvas.batch, *shapes[-1], room),
        *(_from(rooms), _from(histograms), _from(thresholds)),
        *(np.int32(canvas.rows), np.int32(canvas.cols)),
    )
    yield _whole(choice, wavelet, ("coefficient", "coefficient"), whole)
    for level in reversed(range(choice.peeled)):
        low_rows, low_cols = shapes[level + 1]
        synthesis = (
            _from(rooms, starts[level]),
            _from(canvas.source) if level == 0 else _from(rooms, starts[level - 1]),
            _from(canvas.result) if level == 0 else _from(rooms, starts[level - 1]),
            _from(thresholds),
            _from(canvas.table),
            np.int32(level),
            np.int64(pixels if level == 0 else room),
            np.int32(shapes[level][1]),
            np.int32(shapes[level][0]),
            np.int64(room),
            np.int32(low_rows),
            np.int32(low_cols),
        )
        grid = _grid(low_rows, low_cols, canvas.batch)
        yield _tiles(wavelet, canvas, level, "synthesise_tiles", grid, _tile_bytes(wavelet, analysis=False), synthesis)


def _from(array: Any, first: int = 0) -> tuple[Any, int]:
    return array, first


def _whole_numbers(choice: Choice, batch: int, rows: int, cols: int, stride: int) -> tuple[Any, ...]:
    sides = (np.int32(side) for side in (batch, rows, cols))
    return (*sides, np.int64(stride), np.int32(choice.part.slab), np.int32(choice.in_work))


def _whole(choice: Choice, wavelet: str, names: tuple[str, str], arguments: tuple[Any, ...]) -> Launch:
    macros = whole_definitions(wavelet, *names, choice.threads, choice.cluster, choice.part.pitch, choice.peeled)
    batch = int(arguments[3])
    grid = (batch * choice.cluster, 1, 1)
    return Launch(
        WHOLE,
        tuple(macros.items()),
        WHOLE_KERNEL,
        grid,
        choice.threads,
        choice.cluster,
        choice.part.shared_bytes,
        arguments,
    )


def _tiles(
    wavelet: str, canvas: Canvas, level: int, kernel: str, grid: tuple[int, int, int], shared: int, arguments: Any
) -> Launch:
    names = canvas.names if level == 0 else ("coefficient", "coefficient")
    macros = tile_definitions(wavelet, *names, level == 0)
    return Launch(TILES, tuple(macros.items()), kernel, grid, TILE_THREADS, 1, shared, arguments)


def _grid(low_rows: int, low_cols: int, batch: int) -> tuple[int, int, int]:
    return -(-low_cols // TILE_COLS), -(-low_rows // TILE_ROWS), batch


def _tile_bytes(wavelet: str, analysis: bool) -> int:
    """Dynamic shared memory of a block, as laid out in tiles.cu."""
    if wavelet == INTEGER_WAVELET:
        span = 5
    else:
        taps = filter_bank(wavelet).length
        span = taps if analysis else 4 * (taps // 4) + 2
    rows, pitch = 2 * TILE_ROWS + span - 2, (2 * TILE_COLS + span - 2) | 1
    if analysis:
        return (rows * pitch + 2 * TILE_ROWS * pitch + BINS) * WORD
    return (rows * pitch + rows * (2 * TILE_COLS + 1)) * WORD
