"""The kernel that decodes the tiles of a batch: a block for each tile, through all its layers and segments.

Tiles do not depend on one another, and within one the segments follow in the order of the stream. Whatever the bytes
are, it reads and writes within its arrays and comes to an end: every loop is bounded by the geometry, words beyond the
end of a stream are not read, and all threads notice together that a stream is wrong.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, int32, int64, uint16, uint32, uint64

from wavestream.kernels.cuda.layer_bands import band_functions, decode_ll
from wavestream.kernels.cuda.layer_launch import LayerShapes, bounds_options
from wavestream.kernels.cuda.layer_memory import Group, Image, Words
from wavestream.kernels.cuda.layer_plan import (
    ACTIVE,
    BOUNDS,
    FIRST_BAND,
    FIRST_PART,
    FIRST_SEGMENT,
    HIGH,
    HIGHEST_SIZE,
    JOB_IMAGE,
    LAST_BAND,
    LAST_SEGMENT,
    LINES,
    LOWEST_SIZE,
    NUMBER,
    PACKED,
    PLANES,
    START,
    STREAMS,
    TILE,
)
from wavestream.kernels.cuda.layer_states import word_at
from wavestream.kernels.cuda.layer_tables import END, STATE, STREAM, STREAM_LENGTH, report
from wavestream.kernels.layers import CONTEXTS, LOWEST_STATE, MOST_STATES, TOKENS

# Subbands of a level, and the first one that has a parent.
_BANDS, _FIRST_CHILD = 3, 4


@cache
def decoder_kernel(shapes: LayerShapes) -> Any:
    """The kernel (data, segments, jobs, parts, bounds, starts, shifts, streams, bases, ..., status).

    Args:
        shapes: of its blocks; one warp is what it is made for.

    The kernel's arguments: ``data`` uint8; ``segments``, ``jobs``, ``parts``, ``bounds`` as in ``layer_plan``;
    ``starts``, ``shifts``, ``streams``, ``bases`` as in ``layer_tables``; ``planes`` int32 and ``active`` uint8, zero
    at first; ``lines`` int32 scratch; ``packed`` int32, zero at first, receives the coefficients; ``status`` (batch,)
    int32 what is wrong.
    """
    threads = shapes.threads
    functions = band_functions(threads)
    anyone, decode_band = functions.anyone, functions.decode_band
    table_size = CONTEXTS * TOKENS

    @cuda.jit(device=True)
    def load_tables(group, starts, shifts, number):
        """The tables of a segment into shared memory."""
        # Nobody reads those of the segment before any more.
        cuda.syncthreads()
        index = int64(cuda.threadIdx.x)
        while index < table_size:
            group.starts[index] = starts[uint64(number * table_size + index)]
            index += threads
        index = int64(cuda.threadIdx.x)
        while index < CONTEXTS:
            group.shifts[index] = int32(shifts[uint64(number * CONTEXTS + index)])
            index += threads
        cuda.syncthreads()

    @cuda.jit(device=True)
    def load_states(group, data, start, together):
        """The states of a stream; returns whether all are such as an encoder leaves."""
        low, lane = False, int64(cuda.threadIdx.x)
        while lane < together:
            state = word_at(data, start, 2 * lane) | (word_at(data, start, 2 * lane + 1) << 16)
            group.states[lane] = uint32(state)
            low = low or state < LOWEST_STATE
            lane += threads
        return not anyone(low, group.marks)

    @cuda.jit(device=True)
    def ended_well(group, together):
        other, lane = False, int64(cuda.threadIdx.x)
        while lane < together:
            other = other or group.states[lane] != LOWEST_STATE
            lane += threads
        return not anyone(other, group.marks)

    @cuda.jit(device=True)
    def decode_bands(group, words, together, scale, image, first_part, bands, bounds, bound, after):
        """The subbands ``bands`` of a tile. Returns the next word, -1 where something is wrong."""
        at, band = int64(0), bands[0]
        while at >= 0 and band < bands[1]:
            part = first_part + band
            lowest, highest = bounds[bound + band, LOWEST_SIZE], bounds[bound + band, HIGHEST_SIZE]
            if image.parts[part, HIGH] > 0 and lowest <= highest:
                if band == 0:
                    if cuda.threadIdx.x == 0:
                        after[0] = decode_ll(group, words, at, image, part, lowest, highest)
                    cuda.syncthreads()
                    at = after[0]
                else:
                    parent = int64(-1)
                    if band >= _FIRST_CHILD and image.parts[part - _BANDS, HIGH] > 0:
                        parent = part - _BANDS
                    at = decode_band(group, words, at, together, scale, image, part, parent, lowest, highest)
            band += 1
        return at

    @cuda.jit(**bounds_options(shapes))
    def decode(
        data, segments, jobs, parts, bounds, starts, shifts, streams, bases, planes, active, lines, packed, status
    ):  # fmt: skip
        group = Group(
            cuda.shared.array(table_size, uint16),
            cuda.shared.array(CONTEXTS, int32),
            cuda.shared.array(MOST_STATES, uint32),
            cuda.shared.array(MOST_STATES, int32),
            cuda.shared.array(MOST_STATES, int32),
            cuda.shared.array(MOST_STATES, int32),
            cuda.shared.array(threads, int32),
        )
        after = cuda.shared.array(1, int64)
        job = int64(cuda.blockIdx.x)
        while job < jobs.shape[0]:
            image = Image(
                parts, planes, jobs[job, PLANES], active, jobs[job, ACTIVE], lines, jobs[job, LINES], packed,
                jobs[job, PACKED],
            )  # fmt: skip
            number, wrong = jobs[job, FIRST_SEGMENT], 0
            # A segment with damaged tables, which has no base, is reported already.
            while wrong == 0 and number < jobs[job, LAST_SEGMENT] and bases[number] >= 0:
                stream = segments[number, STREAMS] + jobs[job, TILE]
                start, length = bases[number] + streams[uint64(2 * stream)], streams[uint64(2 * stream + 1)]
                head = int64(data[uint64(segments[number, START])])
                scale, together = head & 15, int64(1) << (head >> 4)
                if length > 0:
                    load_tables(group, starts, shifts, number)
                    words = Words(data, start + 4 * together, (length >> 1) - 2 * together)
                    if words.count < 0 or length & 1 == 1:
                        wrong = STREAM_LENGTH
                    elif not load_states(group, data, start, together):
                        wrong = STATE
                    else:
                        bands = segments[number, FIRST_BAND], segments[number, LAST_BAND]
                        at = decode_bands(
                            group, words, together, scale, image, jobs[job, FIRST_PART], bands, bounds,
                            segments[number, BOUNDS], after,
                        )  # fmt: skip
                        if at < 0:
                            wrong = STREAM
                        elif at != words.count or not ended_well(group, together):
                            wrong = END
                    if wrong != 0 and cuda.threadIdx.x == 0:
                        report(status, jobs[job, JOB_IMAGE], segments[number, NUMBER], wrong)
                number += 1
            job += cuda.gridDim.x

    return decode
