"""Float wavelets forward: one image to its packed coefficients.

Per level and output row: filter down the columns straight from the source rows (the periodic boundary is in the choice
of rows), then along the two rows so obtained while they are in the first-level cache.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner, merged
from wavestream.kernels.cpu.filters import MARGIN, analyse_columns, analyse_row, split_row, wrap_row
from wavestream.kernels.layout import COLS, OFFSET, ROWS


@inlined
def filter_along(lo, hi, row, cols, even, odd, low, low_start, high, high_start, count):
    """Filter one row of ``cols`` samples into ``count`` low and high ones; an odd row repeats its last sample."""
    row[cols] = row[cols - 1]
    split_row(row, 0, even, odd, MARGIN, count)
    reach = len(lo) // 4
    wrap_row(even, MARGIN, count, reach)
    wrap_row(odd, MARGIN, count, reach)
    analyse_row(lo, hi, even, odd, low, low_start, high, high_start, count)


@inner
def forward_level(lo, hi, source, start, stride, rows, cols, ll, ll_start, packed, base, bands, lines, starts):
    """One level: ``rows`` x ``cols`` samples of ``source`` to a low-pass plane and three subbands of ``packed``.

    ``bands`` holds the three rows HL, LH, HH of the layout's table; ``base`` is where the image starts in ``packed``.
    ``lines`` and ``starts`` are scratch.
    """
    taps = len(lo)
    low_rows, low_cols = bands[0, ROWS], bands[0, COLS]
    period = 2 * low_rows
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    low, high, even, odd, starts = lines[0], lines[1], lines[2], lines[3], starts[0]
    for row in range(low_rows):
        for tap in range(taps):
            # No wanted row is further than one period outside: max_levels sees to it.
            wanted = taps // 2 + 2 * row - tap
            wanted += period if wanted < 0 else (-period if wanted >= period else 0)
            starts[tap] = start + min(wanted, rows - 1) * stride
        analyse_columns(lo, hi, source, starts, low, 0, high, 0, cols)
        at = row * low_cols
        filter_along(lo, hi, low, cols, even, odd, ll, ll_start + at, packed, hl + at, low_cols)
        filter_along(lo, hi, high, cols, even, odd, packed, lh + at, packed, hh + at, low_cols)


@merged
def forward_image(lo, hi, source, start, stride, rows, cols, table, levels, packed, base, half, quarter, lines, starts):
    """All levels of one image, whose first sample is ``source[start]``, into ``packed[base:]``.

    ``half``, ``quarter``, ``lines`` and ``starts`` are scratch.
    """
    zero = np.int64(0)
    for level in range(1, levels + 1):
        bands = table[1 + 3 * (levels - level) :]
        if level == levels:
            ll, ll_start = packed, base
        elif level % 2:
            ll, ll_start = half, zero
        else:
            ll, ll_start = quarter, zero
        forward_level(lo, hi, source, start, stride, rows, cols, ll, ll_start, packed, base, bands, lines, starts)
        source, start = ll, ll_start
        rows, cols = bands[0, ROWS], bands[0, COLS]
        stride = cols
