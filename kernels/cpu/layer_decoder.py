"""Decode the segments of an image's layers into coefficients, and these into pixels (``docs/format.md``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels import layout
from wavestream.kernels.cpu.compiler import entry, inner
from wavestream.kernels.cpu.layer_contexts import (
    around_ll,
    block_contexts,
    list_row,
    open_blocks,
    set_parents,
    sign_context,
)
from wavestream.kernels.cpu.layer_states import take_coefficients, take_flags, take_token, take_value
from wavestream.kernels.cpu.layer_tables import read_tables
from wavestream.kernels.cpu.layer_workspace import LayerWorkspace, coder_of, layer_workspace_for
from wavestream.kernels.cpu.lifting import unlift_image
from wavestream.kernels.cpu.memory import advance, pointer_to
from wavestream.kernels.cpu.progress import announced
from wavestream.kernels.cpu.workspace import scratch_of, workspace_for
from wavestream.kernels.layers import (
    BLOCK,
    BLOCK_FLAG,
    COL,
    HIGH,
    LL_FLAG,
    LL_VALUE,
    LOWEST_STATE,
    PLANE,
    ROW,
    SIGN,
    SIGN_CONTEXTS,
    STRIDE,
    TOKENS,
    WIDE,
    Tiling,
)
from wavestream.kernels.wavelets import INTEGER_WAVELET

# What can be wrong with a segment, in the order of the codes 1, 2, ... that the compiled decoder gives.
DAMAGES = (
    "its first byte is not allowed",
    "its tables do not fit into it",
    "the lengths of its tiles do not fit into it",
    "a tile's stream has an impossible length",
    "a tile's stream ends too early or holds a value out of range",
    "a tile's stream does not end as it should",
    "a tile's stream begins with an impossible state",
)
_FIRST_BYTE, _TABLES, _LENGTHS, _LENGTH, _STREAM, _END, _STATE = range(1, 8)

LH, HH = layout.ORIENTATIONS.index("LH"), layout.ORIENTATIONS.index("HH")

# Columns of the segments that the decoder is given.
START, LENGTH, LAYER, FIRST_BAND, LAST_BAND = range(5)


@inner
def _decode_ll(coder, part, low, high, at, end):
    """The coefficients of LL in one tile. Returns the place of the next word, -1 where something is wrong."""
    rows, cols, stride, plane = part[HIGH], part[WIDE], part[STRIDE], coder.planes
    for y in range(rows):
        if at > end:
            return -1
        for x in range(cols):
            place = part[PLANE] + y * stride + x
            if plane[place] != 0:
                continue
            many, beside, guess, balance = around_ll(plane, place, stride, y, x, rows, cols, low, high)
            if low > 0:
                flag, at = take_token(coder, 0, LL_FLAG + many, at)
                if flag > 1:
                    return -1
                if flag == 0:
                    continue
            if at > end:
                return -1
            value, at = take_value(coder, LL_VALUE + min(3, beside), at)
            folded = value - 1
            near = min(guess - low, high - guess)
            if folded > 2 * near:
                over = folded - near
                magnitude = guess + over if guess - low < high - guess else guess - over
            else:
                magnitude = guess + (folded + 1) // 2 if folded & 1 else guess - folded // 2
            if value == 0 or magnitude < low or magnitude > high:
                return -1
            negative = 0
            if magnitude > 0:
                negative, at = take_token(coder, 0, sign_context(balance), at)
                if negative > 1:
                    return -1
            plane[place] = np.int32(-magnitude if negative else magnitude)
    return at


@inner
def _decode_band(coder, part, parent, diagonal, low, high, scale, together, at, end, active, parent_active):
    """The coefficients of a subband other than LL in one tile.

    ``active`` and ``parent_active`` point at the bytes of its blocks, and of its parent's.

    Returns the place of the next word, -1 where something is wrong.
    """
    rows, cols, stride, plane = part[HIGH], part[WIDE], part[STRIDE], coder.planes
    blocks = (cols + BLOCK - 1) // BLOCK
    base = max(np.int64(low) - 1, 0)
    signs = advance(coder.frequencies, TOKENS * (SIGN + (SIGN_CONTEXTS if diagonal else 0)))
    flags, above = coder.flags, advance(coder.flags, coder.many)
    for block in range(blocks + 2):
        above[block] = 0
    for top in range(0, rows, BLOCK):
        if at > end:
            return -1
        block_contexts(plane, part, top, above, active, parent, parent_active, coder.contexts)
        at = take_flags(coder, blocks, together, at, coder.contexts, advance(flags, 1))
        if at < 0:
            return -1
        some = open_blocks(coder, flags, blocks, cols, advance(active, top // BLOCK * blocks))
        flags, above = above, flags
        if not some:
            continue
        for y in range(top, min(top + BLOCK, rows)):
            row = part[PLANE] + y * stride
            set_parents(coder, parent, y, cols, scale)
            listed = list_row(
                plane, row, stride, cols, diagonal, scale, coder.parents, coder.idle, coder.columns, coder.entries
            )
            for first in range(0, listed, together):
                if at > end:
                    return -1
                at = take_coefficients(coder, first, min(together, listed - first), at, plane, row, signs, base, high)
                if at < 0:
                    return -1
    return at


@inner
def _load_words(data, start, length, coder, states):
    """States and words of a stream; returns how many words there are, -1 for a state that no encoder leaves."""
    for index in range(states):
        byte = start + 4 * index
        low = np.int64(data[byte]) | (np.int64(data[byte + 1]) << 8)
        state = low | (np.int64(data[byte + 2]) << 16) | (np.int64(data[byte + 3]) << 24)
        if state < LOWEST_STATE:
            return -1
        coder.states[index] = np.uint32(state)
    count, first = length // 2 - 2 * states, start + 4 * states
    for index in range(count):
        coder.words[index] = np.uint16(data[first + 2 * index]) | (np.uint16(data[first + 2 * index + 1]) << 8)
    return count


@inner
def _ended_well(coder, states):
    wrong = 0
    for index in range(states):
        wrong |= np.int64(coder.states[index]) ^ LOWEST_STATE
    return wrong == 0


@inner
def _read_length(data, at, end):
    """A varint; returns it, and the byte after it, -1 where it does not end or exceeds 32 bits."""
    value = 0
    for index in range(5):
        if at >= end:
            return 0, -1
        byte = np.int64(data[at])
        value |= (byte & 127) << (7 * index)
        at += 1
        if byte < 128:
            return value, at if value < 1 << 32 else -1
    return 0, -1


@inner
def _decode_segment(data, segment, bands, parts, lows, highs, first_active, active, lengths, levels, coder):
    """One segment of all tiles. Returns 0, or what is wrong."""
    start, end, layer = segment[START], segment[START] + segment[LENGTH], segment[LAYER]
    first_band, last_band = segment[FIRST_BAND], segment[LAST_BAND]
    head = np.int64(data[start])
    if head >> 4 > 5:
        return _FIRST_BYTE
    scale, together = head & 15, 1 << (head >> 4)
    first_context = LL_FLAG if first_band == 0 else BLOCK_FLAG
    at = read_tables(
        data, start + 1, end, first_context, levels, coder.starts, coder.frequencies, coder.symbols, coder.shifts
    )
    if at < 0:
        return _TABLES
    tiles, used = len(parts), 0
    for tile in range(tiles - 1):
        lengths[tile], at = _read_length(data, at, end)
        if at < 0:
            return _LENGTHS
        used += lengths[tile]
    lengths[tiles - 1] = end - at - used
    if lengths[tiles - 1] < 0:
        return _LENGTHS
    for tile in range(tiles):
        length = lengths[tile]
        if length == 0:
            continue
        if length < 4 * together or length % 2:
            return _LENGTH
        words = _load_words(data, at, length, coder, together)
        if words < 0:
            return _STATE
        at += length
        place = 0
        for band in range(first_band, last_band):
            part = parts[tile, band]
            low, high = lows[layer, band], highs[layer, band]
            if part[HIGH] == 0 or high < low:
                continue
            if band == 0:
                place = _decode_ll(coder, part, low, high, place, words)
            else:
                # Without a parent, LL's part with no size stands for it.
                over = band - 3 if band > 3 else 0
                parent = parts[tile, over] if over else parts[tile, over] * 0
                place = _decode_band(
                    coder, part, parent, bands[band, layout.ORIENTATION] == HH, low, high, scale, together, place,
                    words, advance(active, first_active[tile * len(bands) + band]),
                    advance(active, first_active[tile * len(bands) + over]),
                )  # fmt: skip
            if place < 0:
                return _STREAM
        if place != words or not _ended_well(coder, together):
            return _END
    return 0


@inner
def _flag_rows(part, orientation, flags, active):
    """Flag the rows of a packed subband that are not all zero in a tile; ``flags`` points at those of the part."""
    high, wide = part[HIGH], part[WIDE]
    across = (wide + BLOCK - 1) // BLOCK
    for top in range(0, high, BLOCK):
        for left in range(0, wide, BLOCK):
            if active[top // BLOCK * across + left // BLOCK]:
                begin, end = (left, min(left + BLOCK, wide)) if orientation == LH else (top, min(top + BLOCK, high))
                for row in range(begin, end):
                    flags[row] = np.uint8(1)


@inner
def _copy_part(planes, part, transposed, packed, start, cols, flags):
    """Copy a tile's part of a subband into the packed one, at ``start``, but for rows without a flag."""
    high, wide, stride, plane = part[HIGH], part[WIDE], part[STRIDE], part[PLANE]
    if transposed:
        for x in range(wide):
            if flags[x]:
                for y in range(high):
                    packed[start + x * cols + y] = planes[plane + y * stride + x]
    else:
        for y in range(high):
            if flags[y]:
                for x in range(wide):
                    packed[start + y * cols + x] = planes[plane + y * stride + x]


@inner
def _gather(coder, bands, count, parts, first_active, active, packed, flags, first_flags):
    """The coefficients of the first ``count`` subbands, from the tiles' planes to the packed layout.

    Rows that are all zero are flagged so and not written: the inverse transform does not read them.
    """
    for index in range(first_flags[count]):
        flags[index] = np.uint8(index < first_flags[1])
    for band in range(1, count):
        for tile in range(len(parts)):
            part = parts[tile, band]
            first_row = first_flags[band] + part[ROW]
            _flag_rows(
                part, bands[band, layout.ORIENTATION], advance(flags, first_row),
                advance(active, first_active[tile * len(bands) + band]),
            )  # fmt: skip
    for band in range(count):
        cols, transposed = bands[band, layout.COLS], bands[band, layout.ORIENTATION] == LH
        for tile in range(len(parts)):
            part = parts[tile, band]
            start = bands[band, layout.OFFSET] + part[ROW] * cols + part[COL]
            _copy_part(
                coder.planes, part, transposed, packed, start, cols, advance(flags, first_flags[band] + part[ROW])
            )


@entry
def _decode_planes(data, segments, bands, parts, lows, highs, first_active, active, lengths, planes_size, work, damage):
    """Decode the segments, in order, into the tiles' planes; ``damage`` receives what is wrong, and where."""
    coder, blocks = coder_of(work), pointer_to(active)
    for index in range(planes_size):
        coder.planes[index] = np.int32(0)
    for index in range(len(active)):
        blocks[index] = np.uint8(0)
    for number in range(len(segments)):
        damage[0] = _decode_segment(
            data, segments[number], bands, parts, lows, highs, first_active, blocks, lengths, work.levels, coder
        )
        damage[1] = number
        if damage[0]:
            return


@entry
def _rebuild_coefficients(bands, parts, first_active, active, first_flags, packed, flags, work):
    """The decoded coefficients, packed."""
    _gather(
        coder_of(work), bands, len(bands), parts, first_active, pointer_to(active), pointer_to(packed),
        pointer_to(flags), first_flags,
    )  # fmt: skip


@entry
def _rebuild_image(
    bands, count, parts, first_active, active, first_flags, shapes, levels, out, width, limits, work, other
):
    """The decoded coefficients as pixels of ``out`` (flat), rows ``width`` apart."""
    coder, packed, target = coder_of(work), pointer_to(other.packed), pointer_to(out)
    flags = pointer_to(other.flags)
    _gather(coder, bands, count, parts, first_active, pointer_to(active), packed, flags, first_flags)
    if levels == 0:
        rows, cols = shapes[0, 0], shapes[0, 1]
        for y in range(rows):
            for x in range(cols):
                target[y * width + x] = min(max(packed[y * cols + x], limits[0]), limits[1])
    else:
        unlift_image(
            packed, 0, bands[:count], shapes, levels, other.flags, first_flags, target, 0, width, limits,
            scratch_of(other, other.zeros),
        )  # fmt: skip


def decode_layers_cpu(
    data: NDArray[np.uint8],
    segments: NDArray[np.int64],
    tiling: Tiling,
    bounds: tuple[NDArray[np.int32], NDArray[np.int32]],
    reduction: int,
    value_range: tuple[int, int],
    out: NDArray[Any],
) -> tuple[int, int]:
    """Decode segments and write the image, clipped, into the top-left corner of ``out``.

    Args:
        data: bytes in which the segments lie.
        segments: (n, 5) int64 in the order of the stream: first byte, length (above 0), layer (from 0), first subband,
            one past the last.
        tiling: of the image.
        bounds: lowest and highest magnitude, both (layers, subbands) int32.
        reduction: the image is wanted at ``2**-reduction`` of its size, at most ``tiling.reductions``.
        value_range: lowest and highest pixel.
        out: (rows, cols) C-contiguous uint8, uint16, int16 or int32, at least as large as the reduced image.

    Returns:
        (0, 0), or the number of what is wrong, from 1 (:data:`DAMAGES`), and the index of the segment in which it is;
        ``out`` is then left as it was.
    """
    active, damage, work = _decoded(data, segments, tiling, bounds)
    if damage[0]:
        return int(damage[0]), int(damage[1])
    rows, cols, depth = tiling.layout.rows, tiling.layout.cols, tiling.layout.levels
    levels = depth - reduction
    limits = (np.int32(value_range[0]), np.int32(value_range[1]))
    with announced(f"layers {out.dtype}"):
        _rebuild_image(
            tiling.table, 1 + 3 * levels, tiling.parts, tiling.blocks, active, tiling.first_flags,
            tiling.low_shapes[reduction:], levels, out.reshape(-1), out.shape[1], limits, work,
            workspace_for(rows, cols, INTEGER_WAVELET, depth),
        )  # fmt: skip
    return 0, 0


def decode_coefficients_cpu(
    data: NDArray[np.uint8],
    segments: NDArray[np.int64],
    tiling: Tiling,
    bounds: tuple[NDArray[np.int32], NDArray[np.int32]],
    out: NDArray[np.int32],
) -> tuple[int, int]:
    """Decode segments to packed coefficients, ``out`` (layout.size,) int32; else as :func:`decode_layers_cpu`."""
    active, damage, work = _decoded(data, segments, tiling, bounds)
    if not damage[0]:
        out[:] = 0
        flags = np.empty(int(tiling.first_flags[-1]), np.uint8)
        _rebuild_coefficients(tiling.table, tiling.parts, tiling.blocks, active, tiling.first_flags, out, flags, work)
    return int(damage[0]), int(damage[1])


def _decoded(
    data: NDArray[np.uint8],
    segments: NDArray[np.int64],
    tiling: Tiling,
    bounds: tuple[NDArray[np.int32], NDArray[np.int32]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], LayerWorkspace]:
    """The segments decoded into this thread's planes: which blocks hold something, what is wrong, and the planes."""
    work = layer_workspace_for(tiling, len(data))
    active = np.empty(int(tiling.blocks[-1]), np.uint8)
    damage, lengths = np.zeros(2, np.int64), np.zeros(tiling.tiles, np.int64)
    with announced("layers"):
        _decode_planes(
            data, segments, tiling.table, tiling.parts, *bounds, tiling.blocks, active, lengths,
            tiling.planes_size, work, damage,
        )  # fmt: skip
    return active, damage, work
