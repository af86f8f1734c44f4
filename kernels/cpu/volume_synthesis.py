"""Float wavelets backward: one level of a volume, any range of its row pairs.

Per pair of output slices and pair of rows: combine the subbands' rows through the slices into rings of rows, these, as
in an image, down the columns and along the row, all in cache. Rows of a subband that hold only zeros are left out, or
read where there are zeros.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import entry, inlined, inner
from wavestream.kernels.cpu.filtering import extend_line, synthesise_columns, synthesise_line
from wavestream.kernels.cpu.lanes import LANES, fill
from wavestream.kernels.cpu.memory import ROWS_AHEAD, advance, pointer_to, store
from wavestream.kernels.cpu.volume_analysis import wrapped
from wavestream.kernels.cpu.volume_plan import COLS, FLAGS, OFFSET, ROWS, SLICES
from wavestream.kernels.cpu.volume_workspace import scratch_of_rows
from wavestream.kernels.cpu.workspace import MARGIN


@inlined
def _ring(band, beside, half):
    """The first row of the ring of one in-slice subband and one of the two output slices."""
    return (2 * band + beside) * half


@inner
def _combine_slices(lo, hi, none, ll, packed, zeros, bands, flags, row, slot, scratch):
    """The row ``row`` of both output slices and all four in-slice subbands, into the rings at ``slot``.

    ``scratch.starts`` holds the slices of the subbands to combine.
    """
    half = len(lo) // 2
    depths = scratch.starts
    low_starts, high_starts = advance(depths, 2 * scratch.many), advance(depths, 3 * scratch.many)
    low_rows, low_cols = bands[0, ROWS], bands[0, COLS]
    rings, width = scratch.rings, scratch.width
    for band in range(4):
        first, second = (_ring(band, 0, half) + slot) * width, (_ring(band, 1, half) + slot) * width
        any_low, any_high = band == 0, False
        for index in range(half):
            line = depths[index] * low_rows + row
            at = line * low_cols
            low_starts[index] = high_starts[index] = zeros
            if band == 0 or flags[bands[band, FLAGS] + line]:
                low_starts[index] = bands[band, OFFSET] + at
                any_low = True
            if flags[bands[4 + band, FLAGS] + line]:
                high_starts[index] = bands[4 + band, OFFSET] + at
                any_high = True
        lows = packed if band else ll
        if any_high:
            synthesise_columns(lo, hi, lows, low_starts, packed, high_starts, rings, first, second, low_cols)
        elif any_low:
            synthesise_columns(lo, none, lows, low_starts, packed, high_starts, rings, first, second, low_cols)
        else:
            for x in range(0, low_cols, LANES):
                store(rings, first + x, fill(np.float32(0.0)))
                store(rings, second + x, fill(np.float32(0.0)))
        scratch.made[band * half + slot] = any_low or any_high


@inner
def _synthesise_rows(
    lo, hi, none, ll, packed, zeros, bands, flags, out, slices, rows, cols, limits, depth, first, last, scratch
):  # fmt: skip
    """Row pairs ``first`` to ``last`` of slice pair ``depth``."""
    half = len(lo) // 2
    # Taps 2 * i and 2 * i + 1 meet the same coefficients at samples 2 * pair - skew and the next one.
    skew, centre = 1 - half % 2, (half - 1) // 2
    low_slices, low_rows, low_cols = bands[0, SLICES], bands[0, ROWS], bands[0, COLS]
    lines, rings, width, made = scratch.lines, scratch.rings, scratch.width, scratch.made
    lows, highs = MARGIN, MARGIN + 2 * width
    depths, window = scratch.starts, advance(scratch.starts, scratch.many)
    for index in range(half):
        depths[index] = wrapped(depth + centre - half + 1 + index, low_slices)
    for index in range(2 * half):
        window[index] = (index % half) * width
    unknown = first + centre - half + 1
    for pair in range(first, last):
        newest = pair + centre
        for logical in range(unknown, newest + 1):
            _combine_slices(
                lo, hi, none, ll, packed, zeros, bands, flags, wrapped(logical, low_rows), logical % half, scratch
            )  # fmt: skip
        unknown = newest + 1
        any_hl = any_lh = any_hh = False
        for slot in range(half):
            any_hl |= made[half + slot] != 0
            any_lh |= made[2 * half + slot] != 0
            any_hh |= made[3 * half + slot] != 0
        starts = advance(window, (newest + 1) % half)
        for beside in range(2):
            place = wrapped(2 * depth - skew + beside, 2 * low_slices)
            if place >= slices:
                continue
            ll_ring = advance(rings, _ring(0, beside, half) * width)
            hl_ring = advance(rings, _ring(1, beside, half) * width)
            lh_ring = advance(rings, _ring(2, beside, half) * width)
            hh_ring = advance(rings, _ring(3, beside, half) * width)
            if any_lh:
                synthesise_columns(lo, hi, ll_ring, starts, lh_ring, starts, lines, lows, lows + width, low_cols)
            else:
                synthesise_columns(lo, none, ll_ring, starts, lh_ring, starts, lines, lows, lows + width, low_cols)
            if any_hh:
                synthesise_columns(lo, hi, hl_ring, starts, hh_ring, starts, lines, highs, highs + width, low_cols)
            elif any_hl:
                synthesise_columns(lo, none, hl_ring, starts, hh_ring, starts, lines, highs, highs + width, low_cols)
            for which in range(2):
                row = wrapped(2 * pair - skew + which, 2 * low_rows)
                if row >= rows:
                    continue
                line, into = which * width, (place * rows + row) * cols
                ahead = into + ROWS_AHEAD * cols
                if half > 1:
                    extend_line(lines, lows + line, low_cols)
                if any_hl or any_hh:
                    if half > 1:
                        extend_line(lines, highs + line, low_cols)
                    synthesise_line(lo, hi, lines, lows + line, highs + line, out, into, ahead, cols, limits)
                else:
                    synthesise_line(lo, none, lines, lows + line, highs + line, out, into, ahead, cols, limits)


@entry
def synthesise_volume(
    lo, hi, none, ll, packed, zeros, bands, flags, out, shape, limits, ranges, begin, end, work
):  # fmt: skip
    """Units ``begin`` to ``end`` of one level backward, numbered as in ``analyse_volume``.

    ``out`` is flat, of ``shape`` (slices, rows, cols); ``limits`` are those of ``store_pixels``. ``packed[zeros:]`` is
    a row of zeros.
    """
    low_rows, scratch = bands[0, ROWS], scratch_of_rows(work)
    for unit in range(begin, end):
        depth, part = unit // ranges, unit % ranges
        first, last = low_rows * part // ranges, low_rows * (part + 1) // ranges
        _synthesise_rows(
            lo, hi, none, pointer_to(ll), pointer_to(packed), zeros, bands, flags, pointer_to(out),
            shape[0], shape[1], shape[2], limits, depth, first, last, scratch,
        )  # fmt: skip
