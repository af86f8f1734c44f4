"""The reversible 5/3 lifting of JPEG 2000 Part 1 (ITU-T T.800, Annex F), int32, forward and backward.

With whole-sample symmetric extension and ``>>`` rounding towards minus infinity::

    high[n] = x[2n + 1] - ((x[2n] + x[2n + 2]) >> 1)          x[2n]     = low[n] - ((high[n - 1] + high[n] + 2) >> 2)
    low[n]  = x[2n] + ((high[n - 1] + high[n] + 2) >> 2)      x[2n + 1] = high[n] + ((x[2n] + x[2n + 2]) >> 1)

Forward, columns come before rows; backward, rows before columns, so that every rounding is undone. A signal of one
sample stays as it is.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner, merged
from wavestream.kernels.cpu.lanes import (
    LANES,
    add,
    evens,
    fill,
    first_only,
    largest_bits,
    odds,
    shift_in,
    shift_right,
    subtract,
    zip_high,
    zip_low,
)
from wavestream.kernels.cpu.maxima import GROUP, weighted_bits
from wavestream.kernels.cpu.memory import ROWS_AHEAD, load, load_first, prefetch, store, store_first
from wavestream.kernels.cpu.pixels import store_pixels
from wavestream.kernels.cpu.workspace import MARGIN
from wavestream.kernels.layout import COLS, OFFSET, ROWS


@inlined
def mean(before, after):
    return shift_right(add(before, after), 1)


@inlined
def quarter(before, after):
    return shift_right(add(add(before, after), fill(np.int32(2))), 2)


@inlined
def _lift_lanes(source, here, middle, below, lines, high, x, count, first, last):
    """Sixteen low and high coefficients down the columns; the high line before gives way to this one."""
    centre, before = load_first(source, here + x, count), load(lines, high + x)
    detail = before
    if not last:
        detail = subtract(load_first(source, middle + x, count), mean(centre, load_first(source, below + x, count)))
        store(lines, high + x, detail)
    return add(centre, quarter(detail if first else before, detail)), detail


@inlined
def lift_columns(source, here, stride, below, lines, high, low_line, high_line, width, cols, first, last):
    """Lift down the columns: the rows at ``here``, one ``stride`` on, and ``below`` to one low and one high line.

    ``lines[high:]`` holds the high line before this one and receives this one. Both bands go to ``low_line`` and
    ``high_line`` split: the even samples there, the odd ones ``width`` further on. ``first``: there is no high line
    before, this one stands for it. ``last``: there is no middle row, and the high line before stands for this one.
    """
    middle, ahead = here + stride, here + ROWS_AHEAD * stride
    for x in range(0, cols, 2 * LANES):
        for line in (ahead, ahead + stride):
            prefetch(source, line + x)
            prefetch(source, line + x + LANES)
        low_a, high_a = _lift_lanes(source, here, middle, below, lines, high, x, cols - x, first, last)
        low_b, high_b = _lift_lanes(source, here, middle, below, lines, high, x + LANES, cols - x - LANES, first, last)
        at = x // 2
        store(lines, low_line + at, evens(low_a, low_b))
        store(lines, low_line + width + at, odds(low_a, low_b))
        store(lines, high_line + at, evens(high_a, high_b))
        store(lines, high_line + width + at, odds(high_a, high_b))


@inlined
def split_row(source, start, lines, even, odd, cols):
    """One row as it is, split into even and odd samples."""
    for x in range(0, cols, 2 * LANES):
        a, b = load_first(source, start + x, cols - x), load_first(source, start + x + LANES, cols - x - LANES)
        store(lines, even + x // 2, evens(a, b))
        store(lines, odd + x // 2, odds(a, b))


@inner
def lift_line(
    lines, even, odd, low, low_start, low_cols, high, high_start, high_cols, low_weight, high_weight,
    maxima, low_group, high_group,
):  # fmt: skip
    """One split line to ``low_cols`` low and ``high_cols`` high coefficients, whose maxima are noted."""
    end = low_cols - 1
    lines[even + low_cols] = lines[even + end]
    if high_cols < low_cols:
        # The high sample that is missing at the end repeats the last one: choose the odd sample that makes it so.
        repeated = lines[even + end]
        if high_cols:
            repeated += lines[odd + end - 1] - ((lines[even + end - 1] + lines[even + end]) >> 1)
        lines[odd + end] = repeated
    before = fill(np.int32(lines[odd] - ((lines[even] + lines[even + 1]) >> 1)))
    for group in range(0, low_cols, GROUP):
        low_bits, high_bits = fill(np.int32(0)), fill(np.int32(0))
        for x in range(group, min(group + GROUP, low_cols), LANES):
            centre = load(lines, even + x)
            detail = subtract(load(lines, odd + x), mean(centre, load(lines, even + x + 1)))
            smooth = add(centre, quarter(shift_in(before, detail), detail)) if high_cols else centre
            before = detail
            store_first(low, low_start + x, smooth, low_cols - x)
            store_first(high, high_start + x, detail, high_cols - x)
            low_bits = largest_bits(low_bits, first_only(weighted_bits(smooth, low_weight), low_cols - x))
            high_bits = largest_bits(high_bits, first_only(weighted_bits(detail, high_weight), high_cols - x))
        store(maxima, low_group * LANES + group // LANES, low_bits)
        if group < high_cols:
            store(maxima, high_group * LANES + group // LANES, high_bits)


@inner
def lift_level(
    source, start, stride, rows, low, low_start, packed, base, bands, lines, width,
    weights, low_weight, maxima, groups, low_group, low_groups,
):  # fmt: skip
    """One level forward: ``rows`` rows of samples to a low-pass plane and three subbands of ``packed``.

    Arguments as for :func:`wavestream.kernels.cpu.analysis.forward_level`; ``weights`` are those of the three bands.
    """
    low_rows, low_cols, high_rows, high_cols = bands[0, ROWS], bands[1, COLS], bands[1, ROWS], bands[0, COLS]
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    of_low, of_high = (low_cols + GROUP - 1) // GROUP, (high_cols + GROUP - 1) // GROUP
    high, low_line, high_line = MARGIN, MARGIN + width, MARGIN + 3 * width
    cols = low_cols + high_cols
    for row in range(low_rows):
        here = start + 2 * row * stride
        if high_rows:
            below = here + (2 * stride if 2 * row + 2 < rows else 0)
            lift_columns(
                source, here, stride, below, lines, high, low_line, high_line, width, cols,
                row == 0, row == high_rows,
            )  # fmt: skip
        else:
            split_row(source, here, lines, low_line, low_line + width, cols)
        lift_line(
            lines, low_line, low_line + width, low, low_start + row * low_cols, low_cols,
            packed, hl + row * high_cols, high_cols, low_weight, weights[0],
            maxima, low_group + row * low_groups, groups[0] + row * of_high,
        )  # fmt: skip
        if row < high_rows:
            lift_line(
                lines, high_line, high_line + width, packed, lh + row * low_cols, low_cols,
                packed, hh + row * high_cols, high_cols, weights[1], weights[2],
                maxima, groups[1] + row * of_low, groups[2] + row * of_high,
            )  # fmt: skip


@inner
def _unlift_line(low, low_start, low_cols, high, high_start, high_cols, any_high, lines, out, even):
    """One line from its low and high coefficients; the latter are all zero unless ``any_high``."""
    end = low_cols - 1
    any_high = any_high and high_cols > 0
    before = fill(np.int32(high[high_start] if any_high else 0))
    for x in range(0, low_cols, LANES):
        smooth = load_first(low, low_start + x, low_cols - x)
        if any_high:
            detail = load_first(high, high_start + x, high_cols - x)
            smooth = subtract(smooth, quarter(shift_in(before, detail), detail))
            before = detail
        store(lines, even + x, smooth)
    if any_high and high_cols < low_cols:
        lines[even + end] = low[low_start + end] - ((2 * high[high_start + end - 1] + 2) >> 2)
    lines[even + low_cols] = lines[even + end]
    for x in range(0, low_cols, LANES):
        here = load(lines, even + x)
        between = mean(here, load(lines, even + x + 1))
        if any_high:
            between = add(between, load_first(high, high_start + x, high_cols - x))
        store(lines, out + 2 * x, zip_low(here, between))
        store(lines, out + 2 * x + LANES, zip_high(here, between))


@inlined
def _unlift_columns(lines, low, before, detail, last, out, here, stride, cols, first, whole, limits):
    """Undo the lifting down the columns: the row at ``out[here]`` and, unless ``first``, the one above it.

    ``low``, ``before`` and ``detail`` are the low line and the high lines before and of this row; ``lines[last:]`` is
    the even row before this one and gives way to this one. ``whole``: there is no high line at all.
    """
    above, ahead = here - stride, here + ROWS_AHEAD * stride
    for x in range(0, cols, LANES):
        prefetch(out, ahead + x)
        prefetch(out, ahead + stride + x)
        top, over = load(lines, low + x), load(lines, before + x)
        if not whole:
            top = subtract(top, quarter(over, load(lines, detail + x)))
        if not first:
            store_pixels(out, above + x, add(over, mean(load(lines, last + x), top)), cols - x, limits)
        store(lines, last + x, top)
        store_pixels(out, here + x, top, cols - x, limits)


@inner
def unlift_rows(
    low, low_start, low_flag, packed, hl, lh, hh, flags, hl_flag, lh_flag, hh_flag, low_rows, low_cols, high_rows,
    high_cols, first, last, out, start, stride, limits, lines, width, zeros,
):  # fmt: skip
    """Row pairs ``first`` to ``last`` of a plane backward; a pair is an even row and the odd one before it.

    ``low``, and ``hl``, ``lh`` and ``hh`` of ``packed``, are the four bands; ``flags[hl_flag:]`` and so on say which of
    their rows hold anything but zeros. The low band has no flags where ``low_flag`` is negative; else it is in
    ``packed``. The last pair takes along the odd row after it. Results are stored as the dtype of ``out``.
    """
    cols = low_cols + high_cols
    smooth, above, even = MARGIN, MARGIN + width, MARGIN + 2 * width
    detail, before = MARGIN + 3 * width, MARGIN + 4 * width
    # The first odd row needs the even row before it, which is stored once more, as it is; that one needs the high line
    # before it.
    begin = max(first - 1, 0)
    for row in range(max(begin - 1, 0), last):
        before, detail = detail, before
        if row == high_rows:
            detail = before
        elif flags[lh_flag + row] or flags[hh_flag + row]:
            _unlift_line(
                packed, lh + row * low_cols if flags[lh_flag + row] else zeros, low_cols,
                packed, hh + row * high_cols, high_cols, flags[hh_flag + row] != 0, lines, detail, even,
            )  # fmt: skip
        else:
            for x in range(0, cols, LANES):
                store(lines, detail + x, fill(np.int32(0)))
        if row < begin:
            continue
        low_row = low_start + row * low_cols if low_flag < 0 or flags[low_flag + row] else zeros
        _unlift_line(
            low, low_row, low_cols, packed, hl + row * high_cols, high_cols, flags[hl_flag + row] != 0,
            lines, smooth, even,
        )  # fmt: skip
        here = start + 2 * row * stride
        _unlift_columns(
            lines, smooth, detail if row == 0 else before, detail, above, out, here, stride, cols,
            row == begin, high_rows == 0, limits,
        )  # fmt: skip
    if last == low_rows and high_rows == low_rows:
        bottom = start + (2 * low_rows - 1) * stride
        for x in range(0, cols, LANES):
            store_pixels(out, bottom + x, add(load(lines, detail + x), load(lines, above + x)), cols - x, limits)


@inlined
def _unlift_level(low, low_start, packed, base, bands, flags, out, start, stride, limits, scratch):
    """One level backward: a low-pass plane and three subbands to rows stored as the dtype of ``out``.

    Arguments as for :func:`wavestream.kernels.cpu.synthesis.inverse_level`.
    """
    low_rows, high_rows = bands[0, ROWS], bands[1, ROWS]
    unlift_rows(
        low, low_start, -1, packed, base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET],
        flags, 0, low_rows, low_rows + high_rows, low_rows, bands[1, COLS], high_rows, bands[0, COLS], 0, low_rows,
        out, start, stride, limits, scratch.lines, scratch.width, scratch.zeros,
    )  # fmt: skip


@merged
def lift_image(source, start, stride, rows, cols, table, levels, packed, base, weights, groups, scratch):
    """All levels of one image, whose first pixel is ``source[start]``, into ``packed[base:]``.

    Arguments as for :func:`wavestream.kernels.cpu.analysis.forward_image`; ``weights`` are those of the table's rows.
    """
    last = groups[len(table)]
    index = 1 + 3 * (levels - 1)
    of_low = (table[0, COLS] + GROUP - 1) // GROUP
    low, low_start, low_group, low_groups = scratch.half, 0, last, 0
    if levels == 1:
        low, low_start, low_group, low_groups = packed, base, groups[0], of_low
    lift_level(
        source, start, stride, rows, low, low_start, packed, base, table[index:], scratch.lines, scratch.width,
        weights[index:], weights[0], scratch.maxima, groups[index:], low_group, low_groups,
    )  # fmt: skip
    for level in range(2, levels + 1):
        rows, cols, plane = table[index, ROWS], table[index + 1, COLS], low
        index -= 3
        low = scratch.half if level % 2 else scratch.quarter
        if level == levels:
            low, low_start, low_group, low_groups = packed, base, groups[0], of_low
        lift_level(
            plane, 0, cols, rows, low, low_start, packed, base, table[index:], scratch.lines, scratch.width,
            weights[index:], weights[0], scratch.maxima, groups[index:], low_group, low_groups,
        )  # fmt: skip


@merged
def unlift_image(packed, base, table, shapes, levels, flags, first_flags, out, start, stride, limits, scratch):
    """All levels of one image from ``packed[base:]`` to ``out[start:]``, rows ``stride`` apart.

    Arguments as for :func:`wavestream.kernels.cpu.synthesis.inverse_image`.
    """
    low, low_start = packed, base
    for level in range(levels, 1, -1):
        index = 1 + 3 * (levels - level)
        plane = scratch.quarter if level % 2 else scratch.half
        _unlift_level(
            low, low_start, packed, base, table[index:], flags[first_flags[index] :],
            plane, 0, shapes[level - 1, 1], None, scratch,
        )  # fmt: skip
        low, low_start = plane, 0
    index = 1 + 3 * (levels - 1)
    _unlift_level(
        low, low_start, packed, base, table[index:], flags[first_flags[index] :],
        out, start, stride, limits, scratch,
    )  # fmt: skip
