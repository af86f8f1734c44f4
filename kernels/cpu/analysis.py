"""Float wavelets forward: one image to its packed coefficients.

Per level and output row: filter down the columns straight from the source rows (the periodic boundary is in the choice
of rows), then along the two lines so obtained while they are in the first-level cache. What the selection wants to know
of each row, its largest magnitudes, is noted as the row is written.
"""

from __future__ import annotations

from wavestream.kernels.cpu.compiler import inlined, inner, merged
from wavestream.kernels.cpu.filtering import analyse_columns, analyse_line, extend_line
from wavestream.kernels.cpu.maxima import GROUP
from wavestream.kernels.cpu.memory import ROWS_AHEAD, advance
from wavestream.kernels.cpu.workspace import MARGIN
from wavestream.kernels.layout import COLS, OFFSET, ROWS


@inlined
def extend_split(taps, lines, even, odd, cols, count):
    """Extend a line that is split into even and odd samples; an odd one repeats its last sample."""
    if cols % 2:
        lines[odd + count - 1] = lines[even + count - 1]
    if taps > 2:
        extend_line(lines, even, count)
        extend_line(lines, odd, count)


@inner
def forward_level(
    lo, hi, source, start, stride, rows, cols, low, low_start, packed, base, bands, lines, width, starts,
    maxima, groups, low_group, low_groups,
):  # fmt: skip
    """One level: ``rows`` x ``cols`` samples of ``source`` to a low-pass plane and three subbands of ``packed``.

    ``bands`` holds the three rows HL, LH, HH of the layout's table, ``groups`` where their maxima start; ``base`` is
    where the image starts in ``packed``. The maxima of the low-pass plane start at ``low_group``, those of its rows
    ``low_groups`` apart. ``lines`` (rows ``width`` apart) and ``starts`` are scratch.
    """
    taps = len(lo)
    low_rows, low_cols = bands[0, ROWS], bands[0, COLS]
    period = 2 * low_rows
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    per_row = (low_cols + GROUP - 1) // GROUP
    low_even, low_odd, high_even, high_odd = MARGIN, MARGIN + width, MARGIN + 2 * width, MARGIN + 3 * width
    # The rows that the taps of the first output row meet, and all after them, with the boundary in the map: no row is
    # further than one period outside, max_levels sees to it.
    for index in range(period + taps - 2):
        wanted = index + 1 - taps // 2
        wanted += period if wanted < 0 else (-period if wanted >= period else 0)
        starts[index] = start + min(wanted, rows - 1) * stride
    for row in range(low_rows):
        ahead = start + (2 * row + taps // 2 + ROWS_AHEAD) * stride
        analyse_columns(
            lo, hi, source, advance(starts, 2 * row), ahead, stride, lines, low_even, low_odd, high_even, high_odd, cols
        )
        extend_split(taps, lines, low_even, low_odd, cols, low_cols)
        extend_split(taps, lines, high_even, high_odd, cols, low_cols)
        at, group = row * low_cols, row * per_row
        analyse_line(
            lo, hi, lines, low_even, low_odd, low, low_start + at, packed, hl + at, low_cols,
            maxima, low_group + row * low_groups, groups[0] + group,
        )  # fmt: skip
        analyse_line(
            lo, hi, lines, high_even, high_odd, packed, lh + at, packed, hh + at, low_cols,
            maxima, groups[1] + group, groups[2] + group,
        )  # fmt: skip


@merged
def forward_image(lo, hi, source, start, stride, rows, cols, table, levels, packed, base, groups, scratch):
    """All levels of one image, whose first sample is ``source[start]``, into ``packed[base:]``.

    ``groups`` holds, per row of the table, where its maxima start, and last how many there are.
    """
    for level in range(1, levels + 1):
        index = 1 + 3 * (levels - level)
        bands = table[index:]
        low, low_start, low_group, low_groups = scratch.half, 0, groups[len(table)], 0
        if level == levels:
            low, low_start, low_group = packed, base, groups[0]
            low_groups = (bands[0, COLS] + GROUP - 1) // GROUP
        elif level % 2 == 0:
            low = scratch.quarter
        forward_level(
            lo, hi, source, start, stride, rows, cols, low, low_start, packed, base, bands,
            scratch.lines, scratch.width, scratch.starts, scratch.maxima, groups[index:], low_group, low_groups,
        )  # fmt: skip
        source, start = low, low_start
        rows, cols = bands[0, ROWS], bands[0, COLS]
        stride = cols
