"""Encode packed coefficients into the segments of their layers (``docs/format.md``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels import layout
from wavestream.kernels.cpu.compiler import entry, inlined, inner
from wavestream.kernels.cpu.layer_states import sign_share
from wavestream.kernels.cpu.layer_statistics import choose_tables, token_of
from wavestream.kernels.cpu.layer_symbols import BEGINS, PLAIN, SIGNED, Symbols, list_band, list_ll, symbol_pointers
from wavestream.kernels.cpu.layer_workspace import coder_of, layer_workspace_for
from wavestream.kernels.cpu.memory import advance, pointer_to
from wavestream.kernels.cpu.progress import announced
from wavestream.kernels.layers import (
    BITS_OF_RANGE,
    BLOCK_FLAG,
    COL,
    CONTEXTS,
    HIGH,
    LL_FLAG,
    LOWEST_STATE,
    MOST_STATES,
    PLANE,
    PRECISION,
    ROW,
    STRIDE,
    TOKENS,
    WIDE,
    Tiling,
    varint,
)

LH, HH = layout.ORIENTATIONS.index("LH"), layout.ORIENTATIONS.index("HH")
_LONG_BITS = BITS_OF_RANGE[2] // 2
# A state costs about two bytes: one for each so many bytes of a stream.
_BYTES_PER_STATE = 384
# A layer smaller than this is one segment: its finer parts cost less than the bytes that keep them apart.
_UNDIVIDED_BELOW = 700


@entry
def _scatter(packed, bands, parts, full, planes_size, work):
    """Packed coefficients into planes, and zeros into those of ``work``: nothing is known yet."""
    target, coder = pointer_to(full), coder_of(work)
    for index in range(planes_size):
        target[index] = np.int32(0)
        coder.planes[index] = np.int32(0)
    for tile in range(len(parts)):
        for band in range(len(bands)):
            part, cols = parts[tile, band], bands[band, layout.COLS]
            start = bands[band, layout.OFFSET] + part[ROW] * cols + part[COL]
            across, down = (cols, 1) if bands[band, layout.ORIENTATION] == LH else (1, cols)
            for y in range(part[HIGH]):
                for x in range(part[WIDE]):
                    target[part[PLANE] + y * part[STRIDE] + x] = packed[start + y * down + x * across]


@inner
def _scale_of(full, planes, parts, first_band, last_band, lows):
    """The shift that brings the magnitudes of a segment to a few units."""
    total = many = 0
    for tile in range(len(parts)):
        for band in range(first_band, last_band):
            part = parts[tile, band]
            for y in range(part[HIGH]):
                row = part[PLANE] + y * part[STRIDE]
                for x in range(part[WIDE]):
                    total += abs(np.int64(full[row + x])) if planes[row + x] == 0 else 0
                    many += planes[row + x] == 0
    mean, scale = total // max(many, 1), 0
    lowest = 0
    for band in range(first_band, last_band):
        lowest += np.int64(lows[band])
    if lowest > 0:
        mean = lowest // (last_band - first_band)
    while mean >> (scale + 1):
        scale += 1
    return min(scale, 15)


@entry
def _list_segment(
    full, bands, parts, lows, highs, first_band, last_band, first_active, active, symbols, ends, found, work
):
    """The symbols of one segment of one layer, those of tile ``t`` up to ``ends[t]``. Returns the scale.

    ``found[t]`` receives how many coefficients of the tile are in the layer and not 0.
    """
    coder, source, blocks, listed = coder_of(work), pointer_to(full), pointer_to(active), symbol_pointers(symbols)
    scale = _scale_of(source, coder.planes, parts, first_band, last_band, lows)
    count = 0
    for tile in range(len(parts)):
        found[tile] = 0
        for band in range(first_band, last_band):
            part, low, high = parts[tile, band], np.int64(lows[band]), np.int64(highs[band])
            if part[HIGH] == 0 or high < low:
                continue
            if band == 0:
                count, some = list_ll(coder, source, part, low, high, listed, count)
            else:
                over = band - 3 if band > 3 else 0
                parent = parts[tile, over] if over else parts[tile, over] * 0
                count, some = list_band(
                    coder, source, part, parent, bands[band, layout.ORIENTATION] == HH, low, scale,
                    advance(blocks, first_active[tile * len(bands) + band]),
                    advance(blocks, first_active[tile * len(bands) + over]), listed, count,
                )  # fmt: skip
            found[tile] += some
        ends[tile] = count
    return scale


@inlined
def _put_word(state, words, at):
    words[at - 1] = np.uint16(state & 0xFFFF)
    return state >> 16, at - 1


@inlined
def _put_range(coder, index, start, share, words, at):
    """Undo the taking of a symbol with ``share`` slots from ``start`` on: words are written from the end backwards."""
    state = np.int64(coder.states[index])
    if state >= share << (32 - PRECISION):
        state, at = _put_word(state, words, at)
    whole = np.int64(np.uint32(state) // np.uint32(share))
    coder.states[index] = np.uint32((whole << PRECISION) + state - whole * share + start)
    return at


@inlined
def _put_token(coder, index, context, token, words, at):
    place = TOKENS * context + token
    start, share = np.int64(coder.starts[place]), np.int64(coder.frequencies[place])
    return _put_range(coder, index, start, share, words, at)


@inlined
def _put_signed(coder, index, context, token, sign, negative, words, at):
    place = TOKENS * context + token
    start, share = np.int64(coder.starts[place]), np.int64(coder.frequencies[place])
    if token > 0:
        positive = sign_share(share, np.int64(coder.frequencies[TOKENS * sign]))
        if negative:
            start += positive
            share -= positive
        else:
            share = positive
    return _put_range(coder, index, start, share, words, at)


@inlined
def _put_raw(coder, index, value, bits, words, at):
    state = np.int64(coder.states[index])
    if state >> (32 - bits):
        state, at = _put_word(state, words, at)
    coder.states[index] = np.uint32((state << bits) | value)
    return at


@inner
def _put_group(coder, symbols, first, count, words, at):
    """One group, in the reverse of the order in which it is taken."""
    any_raw = False
    for index in range(count):
        context, value = np.int64(symbols.contexts[first + index]), abs(np.int64(symbols.values[first + index]))
        token, more, bits = value, 0, 0
        if symbols.kinds[first + index] & (BEGINS - 1) != PLAIN:
            token, more, bits = token_of(value, coder.shifts[context])
            any_raw |= bits > 0 or (token > 0 and coder.shifts[context] > 0)
        coder.tokens[index], coder.raw[index], coder.unfinished[index] = np.int32(token), more, bits
    if any_raw:
        at = _put_raw_parts(coder, symbols, first, count, words, at)
    for index in range(count - 1, -1, -1):
        context, token = np.int64(symbols.contexts[first + index]), np.int64(coder.tokens[index])
        if symbols.kinds[first + index] & (BEGINS - 1) == SIGNED:
            sign, negative = np.int64(symbols.signs[first + index]), symbols.values[first + index] < 0
            at = _put_signed(coder, index, context, token, sign, negative, words, at)
        else:
            at = _put_token(coder, index, context, token, words, at)
    return at


@inner
def _put_raw_parts(coder, symbols, first, count, words, at):
    """The raw bits of a group, in the reverse of the order in which they are taken."""
    for index in range(count - 1, -1, -1):
        if coder.unfinished[index] > _LONG_BITS:
            at = _put_raw(coder, index, coder.raw[index] >> _LONG_BITS, coder.unfinished[index] - _LONG_BITS, words, at)
    for index in range(count - 1, -1, -1):
        bits = min(coder.unfinished[index], _LONG_BITS)
        if bits:
            at = _put_raw(coder, index, coder.raw[index] & ((1 << bits) - 1), bits, words, at)
    for index in range(count - 1, -1, -1):
        plain = symbols.kinds[first + index] & (BEGINS - 1) == PLAIN
        shift = 0 if plain else coder.shifts[np.int64(symbols.contexts[first + index])]
        if shift and coder.tokens[index] > 0:
            low = (abs(np.int64(symbols.values[first + index])) - 1) & ((1 << shift) - 1)
            at = _put_raw(coder, index, low, shift, words, at)
    return at


@entry
def _put_tile(symbols, begin, end, together, words, firsts, work):
    """One tile's stream: its states in ``work``, its words at the end of ``words``, from the index returned on."""
    coder, listed, target = coder_of(work), symbol_pointers(symbols), pointer_to(words)
    many, index = 0, 0
    for place in range(begin, end):
        if listed.kinds[place] & BEGINS or index == together:
            firsts[many] = place
            many += 1
            index = 0
        index += 1
    for state in range(together):
        coder.states[state] = np.uint32(LOWEST_STATE)
    at, last = len(words), end
    for group in range(many - 1, -1, -1):
        first = np.int64(firsts[group])
        at = _put_group(coder, listed, first, last - first, target, at)
        last = first
    return at


def encode_layers_cpu(
    packed: NDArray[np.int32], tiling: Tiling, bounds: tuple[NDArray[np.int32], NDArray[np.int32]]
) -> list[list[bytes]]:
    """Encode the coefficients of one image.

    Args:
        packed: (layout.size,) int32, magnitudes up to ``LARGEST_MAGNITUDE``.
        tiling: of the image.
        bounds: lowest and highest magnitude of each layer, both (layers, subbands) int32; those of the last begin at 0.

    Returns:
        the segments of each layer: one, or ``tiling.reductions + 1``; empty where they hold nothing.
    """
    with announced("layers (encoder)"):
        encoder = _Encoder(packed, tiling)
        return [encoder.layer(low, high) for low, high in zip(*bounds, strict=True)]


class _Encoder:
    """What is known after each layer, and scratch memory, while an image is encoded."""

    def __init__(self, packed: NDArray[np.int32], tiling: Tiling) -> None:
        self.tiling = tiling
        self.bands = tiling.table
        self.work = layer_workspace_for(tiling, 0)
        self.divided = False
        self.full = np.empty(tiling.planes_size, np.int32)
        self.active = np.zeros(int(tiling.blocks[-1]), np.uint8)
        _scatter(packed, self.bands, tiling.parts, self.full, tiling.planes_size, self.work)
        # Each coefficient has a symbol at most, in LL three; each block has one.
        most = packed.size + 2 * tiling.layout.subbands[0].size + int(tiling.blocks[-1])
        self.symbols = Symbols(
            contexts=np.empty(most, np.uint8),
            signs=np.empty(most, np.uint8),
            values=np.empty(most, np.int32),
            kinds=np.empty(most, np.uint8),
        )
        self.firsts = np.empty(most, np.uint32)

    def layer(self, low: NDArray[np.int32], high: NDArray[np.int32]) -> list[bytes]:
        """The segments of the next layer."""
        whole = (0, len(self.bands))
        if not self.divided:
            planes = self.work.planes[: self.tiling.planes_size]
            known, active = planes.copy(), self.active.copy()
            undivided = self._segment(*whole, low, high)
            # Later layers are divided, too: one in one piece needs all that comes before it.
            self.divided = len(undivided) >= _UNDIVIDED_BELOW
            if not self.divided:
                return [undivided]
            planes[:], self.active = known, active
        segments = range(self.tiling.reductions + 1)
        return [self._segment(*self.tiling.bands_of(index), low, high) for index in segments]

    def _segment(self, first: int, last: int, low: NDArray[np.int32], high: NDArray[np.int32]) -> bytes:
        tiles = self.tiling.tiles
        ends, found = np.zeros(tiles, np.int64), np.zeros(tiles, np.int64)
        scale = _list_segment(
            self.full, self.bands, self.tiling.parts, low, high, first, last, self.tiling.blocks, self.active,
            self.symbols, ends, found, self.work,
        )  # fmt: skip
        if not found.any():
            return b""
        tables = np.zeros(16 * CONTEXTS, np.uint8)
        first_context = LL_FLAG if first == 0 else BLOCK_FLAG
        bits, cost = choose_tables(self.symbols, int(ends[-1]), first_context, tables, self.work)
        together = 1
        while together < MOST_STATES and 2 * together * _BYTES_PER_STATE <= cost / 8 / np.count_nonzero(found):
            together *= 2
        begins = np.concatenate([[0], ends[:-1]])
        streams = [
            self._tile(int(begin), int(end), together) if some else b""
            for begin, end, some in zip(begins, ends, found, strict=True)
        ]
        head = bytes([scale | (together.bit_length() - 1) << 4]) + tables[: -(-bits // 8)].tobytes()
        return head + b"".join(varint(len(stream)) for stream in streams[:-1]) + b"".join(streams)

    def _tile(self, begin: int, end: int, together: int) -> bytes:
        # A symbol takes four words at most.
        words = np.empty(4 * (end - begin), np.uint16)
        at = _put_tile(self.symbols, begin, end, together, words, self.firsts, self.work)
        states = self.work.states[:together].astype("<u4").tobytes()
        return states + words[at:].astype("<u2").tobytes()
