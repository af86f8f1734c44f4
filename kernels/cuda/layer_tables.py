"""The kernel that reads what all tiles of a segment share: token tables, and where each tile's stream lies.

``docs/format.md``, section 4. One thread walks the bits and the lengths, which follow from one another; the
frequencies, which are most of the work, are made by all.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import cuda, int32, int64, uint8, uint16, uint64

from wavestream.kernels.cuda.layer_plan import FIRST_BAND, IMAGE, LENGTH, NUMBER, START, STREAMS, TILES
from wavestream.kernels.layers import (
    BLOCK_FLAG,
    CERTAIN,
    CONTEXTS,
    HAZARDS,
    IS_VALUE,
    KINDS,
    MOST_STATES,
    PRECISION,
    TOKENS,
)

# What is wrong with a segment: the texts are wavestream.kernels.cpu.layer_decoder.DAMAGES, in this order.
FIRST_BYTE, TABLES, LENGTHS, STREAM_LENGTH, STREAM, END, STATE = range(1, 8)
# The status of an image is its first wrong segment's number, times this, and what is wrong there; or WHOLE.
SEGMENT_STEP = 16
WHOLE = (1 << 31) - 1
# Bytes that may be read beyond the end of the last segment.
READ_BEYOND = 8

_WHOLE_RANGE = 1 << PRECISION
_MOST_LOG_STATES = MOST_STATES.bit_length() - 1
_MOST_ZEROS = 7


@cuda.jit(device=True)
def report(status, image, number, wrong):
    """Note what is wrong with a segment of an image, unless something is wrong with one before it."""
    cuda.atomic.min(status, image, int32(SEGMENT_STEP * number + wrong))


@cuda.jit(device=True)
def bits_at(data, bit, count):
    """``count`` bits, at most 8, from bit number ``bit`` on, lowest first."""
    byte = bit >> 3
    pair = int64(data[uint64(byte)]) | (int64(data[uint64(byte + 1)]) << 8)
    return (pair >> (bit & 7)) & ((1 << count) - 1)


@cuda.jit(device=True)
def read_run(data, bit, final, rest):
    """For how many contexts, out of ``rest``, a table holds; returns it (0: damage), and the bit after it."""
    if bit + 2 > final:
        return 0, bit
    if bits_at(data, bit, 1) == 1:
        return 1, bit + 1
    if bits_at(data, bit + 1, 1) == 1:
        return rest, bit + 2
    bit += 2
    zeros = 0
    while bit < final and zeros < _MOST_ZEROS and bits_at(data, bit, 1) == 0:
        bit += 1
        zeros += 1
    if bit + 1 + zeros > final:
        return 0, bit
    return ((1 << zeros) | bits_at(data, bit + 1, zeros)) + 1, bit + 1 + zeros


@cuda.jit(device=True)
def find_tables(data, start, end, first, kinds, are_values, places, counts, shifts):
    """Find the tables of all contexts from ``first`` on, which begin at ``data[start]``.

    Of each context: the bit of its first hazard level, counted from ``start``, how many levels there are (0 for a
    flag), and the shift. Returns the byte after the tables, -1 where they are damaged or do not fit.
    """
    origin, final = 8 * start, 8 * end
    bit, context = origin, int64(first)
    for kind in range(len(KINDS) - 1):
        stop = int64(kinds[kind + 1])
        while context < stop:
            shift, count = int64(0), int64(1)
            if are_values[kind] != 0:
                if bit + 8 > final:
                    return int64(-1)
                shift, count = bits_at(data, bit, 4), bits_at(data, bit + 4, 4) + 1
                bit += 8
            if count > TOKENS - 1 or bit + 6 * count > final:
                return int64(-1)
            levels = bit - origin
            run, bit = read_run(data, bit + 6 * count, final, stop - context)
            if run == 0 or context + run > stop:
                return int64(-1)
            for other in range(context, context + run):
                places[other] = levels
                counts[other] = count if are_values[kind] != 0 else 0
                shifts[other] = shift
            context += run
    return (bit + 7) >> 3


@cuda.jit(device=True)
def set_starts(data, bit, count, hazards, starts, at):
    """Where each token of a table begins; ``count`` hazard levels from ``bit`` on, 0 for a flag, which has one."""
    rest, place = int64(_WHOLE_RANGE), int64(0)
    for token in range(TOKENS):
        level = bits_at(data, bit + 6 * min(token, max(count - 1, 0)), 6)
        share = rest
        if count == 0:
            chance = int64(65536) if level == CERTAIN else int64(hazards[level])
            if token == 0:
                share = min(max((_WHOLE_RANGE * chance + 32768) >> 16, 1), _WHOLE_RANGE - 1)
        elif token < TOKENS - 1 and level != CERTAIN:
            share = (rest * int64(hazards[level]) + 32768) >> 16
            share = min(max(share, 2 if token > 0 else 1), rest - 2 * (TOKENS - 1 - token))
        # Tokens that cannot come begin beyond every slot.
        starts[uint64(at + token)] = uint16(place if rest > 0 else _WHOLE_RANGE)
        place += share
        rest -= share


@cuda.jit(device=True)
def read_length(data, at, end):
    """A varint; returns it, and the byte after it, -1 where it does not end or exceeds 32 bits."""
    value, shift = int64(0), int64(0)
    while shift < 35 and at < end:
        byte = int64(data[uint64(at)])
        value |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            return value, (at if value < 1 << 32 else int64(-1))
    return value, int64(-1)


@cuda.jit(device=True)
def find_streams(data, at, end, tiles, streams, first):
    """Where each tile's stream begins, counted from the end of the lengths, and how long it is.

    Returns the byte after the lengths, -1 where they do not fit.
    """
    used = int64(0)
    for tile in range(tiles - 1):
        length, at = read_length(data, at, end)
        if at < 0:
            return int64(-1)
        streams[uint64(2 * (first + tile))] = used
        streams[uint64(2 * (first + tile) + 1)] = length
        used += length
    if at + used > end:
        return int64(-1)
    streams[uint64(2 * (first + tiles - 1))] = used
    streams[uint64(2 * (first + tiles - 1) + 1)] = end - at - used
    return at


@cache
def tables_kernel() -> Any:
    """The kernel (data, segments, starts, shifts, streams, bases, status): a block for each segment.

    ``data`` uint8, with :data:`READ_BEYOND` bytes after the last segment; ``segments`` as in ``layer_plan``. For each
    segment it writes ``starts`` (segments * contexts * tokens) uint16, where the range of each token begins, ``shifts``
    (segments * contexts) uint8, ``bases`` (segments,) int64, where the first tile's stream begins, -1 for a damaged
    segment, and ``streams``, for each tile two int64: where its stream begins from there, and its length. ``status``
    (batch,) int32 receives what is wrong.
    """
    hazard_table = HAZARDS.astype(np.int32)
    kind_table = KINDS.astype(np.int32)
    value_table = IS_VALUE.astype(np.int32)

    @cuda.jit
    def read_tables(data, segments, starts, shifts, streams, bases, status):
        hazards = cuda.const.array_like(hazard_table)
        kinds = cuda.const.array_like(kind_table)
        are_values = cuda.const.array_like(value_table)
        places = cuda.shared.array(CONTEXTS, int32)
        counts = cuda.shared.array(CONTEXTS, int32)
        found_shifts = cuda.shared.array(CONTEXTS, int32)
        after = cuda.shared.array(1, int64)
        number = cuda.blockIdx.x
        while number < segments.shape[0]:
            start = segments[number, START]
            end = start + segments[number, LENGTH]
            first = int64(0 if segments[number, FIRST_BAND] == 0 else BLOCK_FLAG)
            if cuda.threadIdx.x == 0:
                wrong = 0
                at = int64(-1)
                if data[uint64(start)] >> 4 > _MOST_LOG_STATES:
                    wrong = FIRST_BYTE
                else:
                    at = find_tables(data, start + 1, end, first, kinds, are_values, places, counts, found_shifts)
                    wrong = TABLES if at < 0 else 0
                base = int64(-1)
                if wrong == 0:
                    base = find_streams(data, at, end, segments[number, TILES], streams, segments[number, STREAMS])
                    wrong = LENGTHS if base < 0 else 0
                if wrong != 0:
                    report(status, segments[number, IMAGE], segments[number, NUMBER], wrong)
                bases[number] = base
                after[0] = base
            cuda.syncthreads()
            if after[0] >= 0:
                context = first + cuda.threadIdx.x
                while context < CONTEXTS:
                    bit = 8 * (start + 1) + places[context]
                    set_starts(data, bit, counts[context], hazards, starts, TOKENS * (CONTEXTS * number + context))
                    shifts[uint64(CONTEXTS * number + context)] = uint8(found_shifts[context])
                    context += cuda.blockDim.x
            # The next segment's tables take the place of these.
            cuda.syncthreads()
            number += cuda.gridDim.x

    return read_tables
