"""Float wavelets backward: packed coefficients of one image to its pixels.

Per level and pair of output rows: combine rows of the bands down the columns, then interleave along the row in the
first-level cache. Rows of a subband that hold only zeros, most of them after a harsh threshold, are left out.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inner, merged
from wavestream.kernels.cpu.filters import MARGIN, synthesise_columns, synthesise_row, wrap_row
from wavestream.kernels.cpu.pixels import store_row
from wavestream.kernels.layout import COLS, OFFSET, ROWS


@inner
def inverse_level(
    lo, hi, none, ll, ll_start, packed, base, bands, flags, first_flag, rows, cols,
    out, start, stride, low, high, lines, starts,
):  # fmt: skip
    """One level: a low-pass plane and three subbands to ``rows`` x ``cols`` samples, stored as the dtype of ``out``.

    ``none`` is a filter without taps. ``flags[first_flag:]`` says which rows of HL, LH and HH (one subband after the
    other) hold anything but zeros. ``lines`` and ``starts`` are scratch.
    """
    half = len(lo) // 2
    # Taps 2 * i and 2 * i + 1 meet the same coefficients at samples 2 * pair - skew and the next one.
    skew, centre = 1 - half % 2, (half - 1) // 2
    low_rows, low_cols = bands[0, ROWS], bands[0, COLS]
    width = low_cols + 2 * MARGIN
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    lows, highs, line = lines[0], lines[1], lines[2]
    ll_starts, lh_starts, hl_starts, hh_starts = starts[0], starts[1], starts[2], starts[3]
    first, second = MARGIN, width + MARGIN
    for pair in range(low_rows):
        any_hl = any_lh = any_hh = np.uint8(0)
        for tap in range(half):
            # No wanted row is further than one period outside: max_levels sees to it.
            row = pair + centre - tap
            row += low_rows if row < 0 else (-low_rows if row >= low_rows else 0)
            at = row * low_cols
            ll_starts[tap], lh_starts[tap] = ll_start + at, lh + at
            hl_starts[tap], hh_starts[tap] = hl + at, hh + at
            any_hl |= flags[first_flag + row]
            any_lh |= flags[first_flag + low_rows + row]
            any_hh |= flags[first_flag + 2 * low_rows + row]
        if any_lh:
            synthesise_columns(lo, hi, ll, ll_starts, packed, lh_starts, lows, first, second, low_cols)
        else:
            synthesise_columns(lo, none, ll, ll_starts, packed, lh_starts, lows, first, second, low_cols)
        if any_hh:
            synthesise_columns(lo, hi, packed, hl_starts, packed, hh_starts, highs, first, second, low_cols)
        elif any_hl:
            synthesise_columns(lo, none, packed, hl_starts, packed, hh_starts, highs, first, second, low_cols)
        for which in range(2):
            row = 2 * pair - skew + which
            row += 2 * low_rows if row < 0 else 0
            if row >= rows:
                continue
            origin = which * width + MARGIN
            wrap_row(lows, origin, low_cols, half // 2)
            if any_hl or any_hh:
                wrap_row(highs, origin, low_cols, half // 2)
                synthesise_row(lo, hi, lows, origin + centre, highs, origin + centre, line, low_cols)
            else:
                synthesise_row(lo, none, lows, origin + centre, highs, origin + centre, line, low_cols)
            line[2 * low_cols] = line[0]
            store_row(line, skew, out, start + row * stride, cols, low, high)


@merged
def inverse_image(
    lo, hi, none, packed, base, table, shapes, levels, flags, first_flags,
    out, start, stride, low, high, half, quarter, lines, starts,
):  # fmt: skip
    """All levels of one image from ``packed[base:]`` to ``out[start:]``, rows ``stride`` apart.

    ``shapes`` (levels + 1, 2) are the sizes of the image and of each low-pass plane. ``first_flags`` holds, per row of
    the table, the index of its flags. ``low`` and ``high`` clip integer pixels.
    ``half``, ``quarter``, ``lines`` and ``starts`` are scratch.
    """
    ll, ll_start, zero = packed, base, np.int64(0)
    for level in range(levels, 0, -1):
        index = 1 + 3 * (levels - level)
        bands = table[index:]
        rows, cols = shapes[level - 1, 0], shapes[level - 1, 1]
        first_flag = first_flags[index]
        if level == 1:
            inverse_level(
                lo, hi, none, ll, ll_start, packed, base, bands, flags, first_flag, rows, cols,
                out, start, stride, low, high, lines, starts,
            )  # fmt: skip
            break
        plane = quarter if level % 2 else half
        inverse_level(
            lo, hi, none, ll, ll_start, packed, base, bands, flags, first_flag, rows, cols,
            plane, zero, cols, low, high, lines, starts,
        )  # fmt: skip
        ll, ll_start = plane, zero
