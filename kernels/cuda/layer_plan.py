"""What the host works out for a batch of layered images: where their segments, tiles and coefficients lie.

Five int64 tables, whose columns are named here, and the bytes of the segments go to the device in one copy. Offsets of
bytes count from the first of these; all others from the start of the image's own part of each buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels import layers
from wavestream.kernels.cuda.geometry import Capacity, Shapes
from wavestream.kernels.layers import Tiling, tiling_of

# Columns of the segments. START, LENGTH: of its bytes; FIRST_BAND, LAST_BAND: its subbands, the last one exclusive;
# BOUNDS: row of the bounds of subband 0 in its layer; IMAGE: in the batch; NUMBER: among the segments of its image;
# TILES: of the image; STREAMS: number of its first tile's stream among all of the batch.
START, LENGTH, FIRST_BAND, LAST_BAND, BOUNDS, IMAGE, NUMBER, TILES, STREAMS = range(9)
SEGMENT_COLUMNS = 9

# Columns of the jobs, each the work of a block: one tile of one image. JOB_IMAGE, TILE: which; FIRST_SEGMENT,
# LAST_SEGMENT: rows of the image's segments; FIRST_PART: row of the part of subband 0. Where in each buffer begin
# PLANES, ACTIVE and PACKED of the image, and LINES of the tile.
JOB_IMAGE, TILE, FIRST_SEGMENT, LAST_SEGMENT, FIRST_PART, PLANES, ACTIVE, PACKED, LINES = range(9)
JOB_COLUMNS = 9

# Columns of the parts of subbands, in scan orientation. HIGH, WIDE: size; PLANE, STRIDE: first coefficient and distance
# of rows among the planes; BLOCKS: first block; PLACE: of the first coefficient in the packed image;
# DOWN, ACROSS: distances of rows and columns there; DIAGONAL: 1 for HH.
HIGH, WIDE, PLANE, STRIDE, BLOCKS, PLACE, DOWN, ACROSS, DIAGONAL = range(9)
PART_COLUMNS = 9

# Columns of the bounds, a row for each layer and subband: magnitudes, both inclusive.
LOWEST_SIZE, HIGHEST_SIZE = range(2)

# Parts of tilings of more tiles are not kept.
_CACHED_TILES = 64
# Significant bits of the sizes of buffers: batches of about the same size share a workspace.
_SIZE_BITS = 3


@dataclass(frozen=True)
class LayeredImage:
    """One image to decode, as :func:`wavestream.kernels.cpu.layer_decoder.decode_layers_cpu` takes it.

    Attributes:
        data: uint8, the bytes in which the segments lie; in host memory.
        segments: (n, 5) int64 in the order of the stream: first byte, length (above 0), layer (from 0), first subband,
            one past the last.
        tiling: of the image.
        bounds: lowest and highest magnitude, both (layers, subbands) int32.
        value_range: lowest and highest pixel.
        count: coefficients to keep of those decoded, 0 for all; where it is not 0, all subbands have to be decoded.
    """

    data: NDArray[np.uint8]
    segments: NDArray[np.int64]
    tiling: Tiling
    bounds: tuple[NDArray[np.int32], NDArray[np.int32]]
    value_range: tuple[int, int]
    count: int = 0


@dataclass(frozen=True)
class StreamsRoom:
    """What a workspace holds for the streams of a batch: tables, bytes, and what is read from both.

    Attributes:
        batch: images.
        rows: of the tables, rounded up: segments, jobs, parts, bounds.
        streams: of all tiles in all segments, rounded up.
        words: bytes of all segments and some more, in words of 8, rounded up.
    """

    batch: int
    rows: tuple[int, ...]
    streams: int
    words: int

    @property
    def tables(self) -> Shapes:
        """Shapes of segments, jobs, parts, bounds, and of the bytes."""
        columns = (SEGMENT_COLUMNS, JOB_COLUMNS, PART_COLUMNS, 2)
        return *zip(self.rows, columns, strict=True), (self.words,)

    # Nothing of what images need is in this workspace.
    packed = coefficients_size = lows_size = values_size = 0


@dataclass(frozen=True)
class PlanesRoom(Capacity):
    """What a workspace holds for the coefficients and pixels of a batch.

    Attributes:
        planes: coefficients of all tiles with room around, rounded up.
        active: blocks of all tiles, rounded up.
        lines: scratch of all tiles, rounded up.
    """

    planes: int
    active: int
    lines: int


@dataclass(frozen=True)
class StreamsPlan:
    """The tables and bytes of a batch, in one buffer, and the room they were made for.

    Attributes:
        capacity: of the buffers.
        plan: flat int64: segments, jobs, parts, bounds, bytes.
        segments, jobs: how many there are.
        sizes: elements of the planes, blocks, and elements of the lines of all images.
    """

    capacity: StreamsRoom
    plan: NDArray[np.int64]
    segments: int
    jobs: int
    sizes: tuple[int, int, int]


def rounded_up(size: int) -> int:
    """The smallest number from ``size`` on of few significant bits, at least 1."""
    step = 1 << max(0, int(size).bit_length() - _SIZE_BITS)
    return max(1, -(-size // step)) * step


def streams_plan(images: Sequence[LayeredImage], packed: int) -> StreamsPlan:
    """The tables and bytes of a batch.

    Args:
        images: of the batch.
        packed: coefficients of an image's part of that buffer.
    """
    parts, first_parts = _all_parts(images)
    segments, bounds, streams = _segments_of(images)
    jobs, sizes = _jobs_of(images, first_parts, packed)
    size = int(segments[:, LENGTH].sum()) if len(segments) else 0
    tables = (segments, jobs, parts, bounds)
    rows = [rounded_up(len(table)) for table in tables]
    # A few bytes beyond the last are read.
    room = StreamsRoom(len(images), tuple(rows), rounded_up(streams), rounded_up(size // 8 + 2))
    plan = np.empty(sum(prod(shape) for shape in room.tables), np.int64)
    starts = [0, *accumulate(prod(shape) for shape in room.tables)]
    for start, table in zip(starts, tables, strict=False):
        plan[start : start + table.size] = table.ravel()
    _copy_bytes(images, segments, plan[starts[-2] :].view(np.uint8))
    return StreamsPlan(room, plan, len(segments), len(jobs), sizes)


def _copy_bytes(images: Sequence[LayeredImage], segments: NDArray[np.int64], target: NDArray[np.uint8]) -> None:
    place = 0
    for image in images:
        for start, length, *_ in image.segments.tolist():
            target[place : place + length] = image.data[start : start + length]
            place += length
    target[place:] = 0


def _segments_of(images: Sequence[LayeredImage]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The tables of the segments and of the bounds, and how many streams there are."""
    tables, bounds = [], []
    place = row = streams = 0
    for index, image in enumerate(images):
        given, tiles, number = image.segments, image.tiling.tiles, len(image.segments)
        bands = len(image.tiling.layout.subbands)
        table = np.zeros((number, SEGMENT_COLUMNS), np.int64)
        table[:, START] = place + np.cumsum(given[:, 1]) - given[:, 1]
        table[:, LENGTH] = given[:, 1]
        table[:, BOUNDS] = row + given[:, 2] * bands
        table[:, FIRST_BAND : LAST_BAND + 1] = given[:, 3:5]
        table[:, NUMBER] = np.arange(number)
        table[:, [IMAGE, TILES]] = index, tiles
        table[:, STREAMS] = streams + tiles * np.arange(number)
        tables.append(table)
        bounds.append(np.stack(image.bounds, axis=-1).reshape(-1, 2).astype(np.int64))
        place, row, streams = place + int(given[:, 1].sum()), row + len(bounds[-1]), streams + tiles * number
    return np.concatenate(tables), np.concatenate(bounds), streams


def _jobs_of(
    images: Sequence[LayeredImage], first_parts: Sequence[int], packed: int
) -> tuple[NDArray[np.int64], tuple[int, int, int]]:
    """The table of the jobs; elements of the planes, blocks, and elements of the lines of all images."""
    tables = []
    planes = active = lines = segment = 0
    for index, image in enumerate(images):
        tiling, tiles = image.tiling, np.arange(image.tiling.tiles)
        widest = int(tiling.parts[..., layers.WIDE].max())
        line = widest + 2 * (-(-widest // layers.BLOCK) + 2)
        table = np.zeros((len(tiles), JOB_COLUMNS), np.int64)
        table[:, TILE] = tiles
        table[:, FIRST_PART] = first_parts[index] + tiles * len(tiling.layout.subbands)
        table[:, LINES] = lines + tiles * line
        table[:, [JOB_IMAGE, FIRST_SEGMENT, LAST_SEGMENT]] = index, segment, segment + len(image.segments)
        table[:, [PLANES, ACTIVE, PACKED]] = planes, active, index * packed
        tables.append(table)
        segment += len(image.segments)
        planes += tiling.planes_size
        active += int(tiling.blocks[-1])
        lines += line * len(tiles)
    return np.concatenate(tables), (planes, active, lines)


def _all_parts(images: Sequence[LayeredImage]) -> tuple[NDArray[np.int64], list[int]]:
    """The parts of all tilings, each once, and the row of each image's first one."""
    rows: dict[tuple[int, int, int, tuple[int, int]], int] = {}
    tables, size = [], 0
    for image in images:
        shape = image.tiling.layout
        key = (shape.rows, shape.cols, shape.levels, image.tiling.tile)
        if key not in rows:
            few = image.tiling.tiles <= _CACHED_TILES
            tables.append((_kept_parts if few else _parts)(*key))
            rows[key] = size
            size += len(tables[-1])
    shapes = [(image.tiling.layout, image.tiling.tile) for image in images]
    return np.concatenate(tables), [rows[shape.rows, shape.cols, shape.levels, tile] for shape, tile in shapes]


def _parts(rows: int, cols: int, levels: int, tile: tuple[int, int]) -> NDArray[np.int64]:
    """The parts of one tiling, (tiles * subbands, 9)."""
    tiling = tiling_of(rows, cols, levels, tile)
    given, subbands = tiling.parts, tiling.layout.subbands
    table = np.zeros((*given.shape[:2], PART_COLUMNS), np.int64)
    for column, source in ((HIGH, layers.HIGH), (WIDE, layers.WIDE), (PLANE, layers.PLANE), (STRIDE, layers.STRIDE)):
        table[..., column] = given[..., source]
    table[..., BLOCKS] = tiling.blocks[:-1].reshape(given.shape[:2])
    for index, band in enumerate(subbands):
        steps = (1, band.cols) if band.orientation == "LH" else (band.cols, 1)
        table[:, index, [DOWN, ACROSS]] = steps
        table[:, index, DIAGONAL] = band.orientation == "HH"
        table[:, index, PLACE] = band.offset + given[:, index, layers.ROW] * band.cols + given[:, index, layers.COL]
    table.flags.writeable = False
    return table.reshape(-1, PART_COLUMNS)


_kept_parts = lru_cache(maxsize=256)(_parts)
