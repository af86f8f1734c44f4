"""Float wavelets backward: packed coefficients of one image to its pixels.

Per level and pair of output rows: combine rows of the bands down the columns, then interleave along the row in the
first-level cache. Rows of a subband that hold only zeros, most of them after a harsh threshold, are left out.
"""

from __future__ import annotations

from wavestream.kernels.cpu.compiler import inner, merged
from wavestream.kernels.cpu.filtering import extend_line, synthesise_columns, synthesise_line
from wavestream.kernels.cpu.memory import ROWS_AHEAD, advance
from wavestream.kernels.cpu.workspace import MARGIN
from wavestream.kernels.layout import COLS, OFFSET, ROWS


@inner
def inverse_level(
    lo, hi, none, low, low_start, packed, base, bands, flags, rows, cols, out, start, stride, limits,
    scratch,
):  # fmt: skip
    """One level: a low-pass plane and three subbands to ``rows`` x ``cols`` samples, stored as the dtype of ``out``.

    ``none`` is a filter without taps. ``flags`` say which rows of HL, LH and HH (one subband after the other) hold
    anything but zeros; the others are not read.
    """
    half = len(lo) // 2
    # Taps 2 * i and 2 * i + 1 meet the same coefficients at samples 2 * pair - skew and the next one.
    skew, centre = 1 - half % 2, (half - 1) // 2
    low_rows, low_cols = bands[0, ROWS], bands[0, COLS]
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    lines, width, zeros = scratch.lines, scratch.width, scratch.zeros
    ll_starts, lh_starts = scratch.starts, advance(scratch.starts, scratch.many)
    hl_starts, hh_starts = advance(scratch.starts, 2 * scratch.many), advance(scratch.starts, 3 * scratch.many)
    # The rows that the taps of the first pair meet, and all after them, with the boundary in the map: no row is further
    # than one period outside, max_levels sees to it. Rows that are all zero are read where there are zeros.
    for index in range(low_rows + half - 1):
        row = index + centre - half + 1
        row += low_rows if row < 0 else (-low_rows if row >= low_rows else 0)
        at = row * low_cols
        ll_starts[index] = low_start + at
        hl_starts[index] = hl + at if flags[row] else zeros
        lh_starts[index] = lh + at if flags[low_rows + row] else zeros
        hh_starts[index] = hh + at if flags[2 * low_rows + row] else zeros
    lows, highs = MARGIN, MARGIN + 2 * width
    # Where each band had its last row that is not all zero.
    last_hl = last_lh = last_hh = -half
    for index in range(half - 1):
        last_hl = index if hl_starts[index] != zeros else last_hl
        last_lh = index if lh_starts[index] != zeros else last_lh
        last_hh = index if hh_starts[index] != zeros else last_hh
    for pair in range(low_rows):
        index = pair + half - 1
        last_hl = index if hl_starts[index] != zeros else last_hl
        last_lh = index if lh_starts[index] != zeros else last_lh
        last_hh = index if hh_starts[index] != zeros else last_hh
        any_hl, any_lh, any_hh = last_hl >= pair, last_lh >= pair, last_hh >= pair
        ll_rows, lh_rows = advance(ll_starts, pair), advance(lh_starts, pair)
        hl_rows, hh_rows = advance(hl_starts, pair), advance(hh_starts, pair)
        if any_lh:
            synthesise_columns(lo, hi, low, ll_rows, packed, lh_rows, lines, lows, lows + width, low_cols)
        else:
            synthesise_columns(lo, none, low, ll_rows, packed, lh_rows, lines, lows, lows + width, low_cols)
        if any_hh:
            synthesise_columns(lo, hi, packed, hl_rows, packed, hh_rows, lines, highs, highs + width, low_cols)
        elif any_hl:
            synthesise_columns(lo, none, packed, hl_rows, packed, hh_rows, lines, highs, highs + width, low_cols)
        for which in range(2):
            row = 2 * pair - skew + which
            row += 2 * low_rows if row < 0 else 0
            if row >= rows:
                continue
            line = which * width
            if half > 1:
                extend_line(lines, lows + line, low_cols)
            into = start + row * stride
            if any_hl or any_hh:
                if half > 1:
                    extend_line(lines, highs + line, low_cols)
                synthesise_line(
                    lo, hi, lines, lows + line, highs + line, out, into, into + ROWS_AHEAD * stride, cols, limits
                )
            else:
                synthesise_line(
                    lo, none, lines, lows + line, highs + line, out, into, into + ROWS_AHEAD * stride, cols, limits
                )


@merged
def inverse_image(
    lo, hi, none, packed, base, table, shapes, levels, flags, first_flags, out, start, stride, limits, scratch
):
    """All levels of one image from ``packed[base:]`` to ``out[start:]``, rows ``stride`` apart.

    ``shapes`` (levels + 1, 2) are the sizes of the image and of each low-pass plane. ``first_flags`` holds, per row of
    the table, the index of its flags. ``limits`` are those of the pixels, as ``store_pixels`` takes them.
    """
    low, low_start = packed, base
    for level in range(levels, 1, -1):
        index = 1 + 3 * (levels - level)
        plane = scratch.quarter if level % 2 else scratch.half
        inverse_level(
            lo, hi, none, low, low_start, packed, base, table[index:], flags[first_flags[index] :],
            shapes[level - 1, 0], shapes[level - 1, 1], plane, 0, shapes[level - 1, 1], None,
            scratch,
        )  # fmt: skip
        low, low_start = plane, 0
    index = 1 + 3 * (levels - 1)
    inverse_level(
        lo, hi, none, low, low_start, packed, base, table[index:], flags[first_flags[index] :],
        shapes[0, 0], shapes[0, 1], out, start, stride, limits,
        scratch,
    )  # fmt: skip
