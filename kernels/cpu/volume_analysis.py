"""Float wavelets forward: one level of a volume, any range of its output rows.

Per output slice and row: filter through the slices straight from the source rows into two rings of rows (low-pass and
high-pass), then, as an image is, down the columns within each ring and along the lines, all in cache. A unit of work
is a range of rows of one output slice, so that a volume of few slices still occupies every thread.
"""

from __future__ import annotations

from wavestream.kernels.cpu.analysis import extend_split
from wavestream.kernels.cpu.compiler import entry, inlined, inner
from wavestream.kernels.cpu.filtering import analyse_columns, analyse_line, analyse_planes
from wavestream.kernels.cpu.maxima import GROUP
from wavestream.kernels.cpu.memory import advance, pointer_to
from wavestream.kernels.cpu.volume_plan import COLS, GROUPS, OFFSET, ROWS, SLICES
from wavestream.kernels.cpu.volume_workspace import scratch_of_rows
from wavestream.kernels.cpu.workspace import MARGIN


@inlined
def wrapped(index, period):
    """``index`` inside the period; no wanted row or slice is further than one period outside (max_levels)."""
    return index + period if index < 0 else (index - period if index >= period else index)


@inner
def _analyse_rows(
    lo, hi, source, slices, rows, cols, ll, packed, bands, last_level, maxima, depth, first, last, scratch
):  # fmt: skip
    """Rows ``first`` to ``last`` of slice ``depth`` of all eight subbands."""
    taps = len(lo)
    half = taps // 2
    low_slices, low_rows, low_cols = bands[0, SLICES], bands[0, ROWS], bands[0, COLS]
    lines, rings, width = scratch.lines, scratch.rings, scratch.width
    low_even, low_odd, high_even, high_odd = MARGIN, MARGIN + width, MARGIN + 2 * width, MARGIN + 3 * width
    planes, window = scratch.starts, advance(scratch.starts, scratch.many)
    for index in range(taps):
        wanted = wrapped(2 * depth + index + 1 - half, 2 * low_slices)
        planes[index] = min(wanted, slices - 1) * rows * cols
    for index in range(2 * taps):
        window[index] = (index % taps) * width
    per_row = (low_cols + GROUP - 1) // GROUP
    unknown = 2 * first + 1 - half
    for row in range(first, last):
        newest = 2 * row + half
        for logical in range(unknown, newest + 1):
            begin = min(wrapped(logical, 2 * low_rows), rows - 1) * cols
            slot = logical % taps
            analyse_planes(
                lo, hi, advance(source, begin), planes, rings, slot * width, (taps + slot) * width, cols
            )  # fmt: skip
        unknown = newest + 1
        line = depth * low_rows + row
        at, group = line * low_cols, line * per_row
        for high in range(2):
            ring, starts = advance(rings, high * taps * width), advance(window, (newest + 1) % taps)
            analyse_columns(
                lo, hi, ring, starts, None, 0, lines, low_even, low_odd, high_even, high_odd, cols
            )  # fmt: skip
            extend_split(taps, lines, low_even, low_odd, cols, low_cols)
            extend_split(taps, lines, high_even, high_odd, cols, low_cols)
            lll, hll, lhl, hhl = 4 * high, 4 * high + 1, 4 * high + 2, 4 * high + 3
            low_group = bands[lll, GROUPS] + (group if high or last_level else depth * per_row)
            analyse_line(
                lo, hi, lines, low_even, low_odd, packed if high else ll, bands[lll, OFFSET] + at,
                packed, bands[hll, OFFSET] + at, low_cols, maxima, low_group, bands[hll, GROUPS] + group,
            )  # fmt: skip
            analyse_line(
                lo, hi, lines, high_even, high_odd, packed, bands[lhl, OFFSET] + at, packed, bands[hhl, OFFSET] + at,
                low_cols, maxima, bands[lhl, GROUPS] + group, bands[hhl, GROUPS] + group,
            )  # fmt: skip


@entry
def analyse_volume(
    lo, hi, source, shape, ll, packed, bands, last_level, maxima, ranges, begin, end, work
):  # fmt: skip
    """Units ``begin`` to ``end`` of one level: unit ``depth * ranges + part`` is a range of rows of an output slice.

    ``source`` is flat, of ``shape`` (slices, rows, cols); the low-pass goes to ``ll``, the rest to ``packed``.
    ``maxima`` are noted of what goes to ``packed``: at the ``last_level``, the low-pass, too.
    """
    low_rows, scratch = bands[0, ROWS], scratch_of_rows(work)
    for unit in range(begin, end):
        depth, part = unit // ranges, unit % ranges
        first, last = low_rows * part // ranges, low_rows * (part + 1) // ranges
        _analyse_rows(
            lo, hi, pointer_to(source), shape[0], shape[1], shape[2], pointer_to(ll), pointer_to(packed), bands,
            last_level, pointer_to(maxima), depth, first, last, scratch,
        )  # fmt: skip
