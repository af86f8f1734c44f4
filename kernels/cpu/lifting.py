"""The reversible 5/3 lifting of JPEG 2000 Part 1 (ITU-T T.800, Annex F), int32, forward and backward.

With whole-sample symmetric extension and ``>>`` rounding towards minus infinity::

    high[n] = x[2n + 1] - ((x[2n] + x[2n + 2]) >> 1)          x[2n]     = low[n] - ((high[n - 1] + high[n] + 2) >> 2)
    low[n]  = x[2n] + ((high[n - 1] + high[n] + 2) >> 2)      x[2n + 1] = high[n] + ((x[2n] + x[2n + 2]) >> 1)

Forward, columns come before rows; backward, rows before columns, so that every rounding is undone. A signal of one
sample stays as it is.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner, leaf, merged
from wavestream.kernels.cpu.filters import MARGIN, split_row
from wavestream.kernels.cpu.pixels import store_row
from wavestream.kernels.layout import COLS, OFFSET, ROWS

_LOWEST, _HIGHEST = np.int32(-(2**31)), np.int32(2**31 - 1)


@leaf
def _predict(before, before_start, middle, middle_start, after, after_start, out, out_start, count):
    """Coefficients of the high-pass: ``middle`` less the mean of its neighbours."""
    a, b, c, to = np.uint64(before_start), np.uint64(middle_start), np.uint64(after_start), np.uint64(out_start)
    for x in range(np.uint64(count)):
        mean = np.int32(np.int32(before[a + x]) + np.int32(after[c + x])) >> np.int32(1)
        out[to + x] = np.int32(middle[b + x]) - np.int32(mean)


@leaf
def _unpredict(before, before_start, middle, middle_start, after, after_start, out, out_start, count):
    """:func:`_predict` undone."""
    a, b, c, to = np.uint64(before_start), np.uint64(middle_start), np.uint64(after_start), np.uint64(out_start)
    for x in range(np.uint64(count)):
        mean = np.int32(before[a + x] + after[c + x]) >> np.int32(1)
        out[to + x] = middle[b + x] + np.int32(mean)


@leaf
def _update(before, before_start, middle, middle_start, after, after_start, out, out_start, count):
    """Coefficients of the low-pass: ``middle`` plus a quarter of the high-pass beside it."""
    a, b, c, to = np.uint64(before_start), np.uint64(middle_start), np.uint64(after_start), np.uint64(out_start)
    for x in range(np.uint64(count)):
        quarter = np.int32(before[a + x] + after[c + x] + np.int32(2)) >> np.int32(2)
        out[to + x] = np.int32(middle[b + x]) + np.int32(quarter)


@leaf
def _downdate(before, before_start, middle, middle_start, after, after_start, out, out_start, count):
    """:func:`_update` undone."""
    a, b, c, to = np.uint64(before_start), np.uint64(middle_start), np.uint64(after_start), np.uint64(out_start)
    for x in range(np.uint64(count)):
        quarter = np.int32(before[a + x] + after[c + x] + np.int32(2)) >> np.int32(2)
        out[to + x] = middle[b + x] - np.int32(quarter)


@leaf
def _merge_row(even, odd, origin, row, count):
    """Interleave: the inverse of ``split_row``."""
    begin = np.uint64(origin)
    for x in range(np.uint64(count)):
        row[x + x] = even[begin + x]
        row[x + x + np.uint64(1)] = odd[begin + x]


@leaf
def _copy_row(source, start, out, out_start, count):
    begin, to = np.uint64(start), np.uint64(out_start)
    for x in range(np.uint64(count)):
        out[to + x] = np.int32(source[begin + x])


@inlined
def _lift_along(row, low_cols, high_cols, low, low_start, high, high_start, even, odd, line):
    """One row to ``low_cols`` low and ``high_cols`` high coefficients."""
    if high_cols == 0:
        low[low_start] = row[0]
        return
    split_row(row, 0, even, odd, MARGIN, low_cols)
    even[MARGIN + low_cols] = even[MARGIN + low_cols - 1]
    _predict(even, MARGIN, odd, MARGIN, even, MARGIN + 1, line, MARGIN, high_cols)
    line[MARGIN - 1] = line[MARGIN]
    line[MARGIN + high_cols] = line[MARGIN + high_cols - 1]
    _update(line, MARGIN - 1, even, MARGIN, line, MARGIN, low, low_start, low_cols)
    _copy_row(line, MARGIN, high, high_start, high_cols)


@inlined
def _unlift_along(low, low_start, low_cols, high, high_start, high_cols, any_high, row, even, odd, line):
    """One row from its low and high coefficients; the latter are all zero unless ``any_high``."""
    if high_cols == 0:
        row[0] = low[low_start]
        return
    if any_high:
        _copy_row(high, high_start, line, MARGIN, high_cols)
        line[MARGIN - 1] = line[MARGIN]
        line[MARGIN + high_cols] = line[MARGIN + high_cols - 1]
        _downdate(line, MARGIN - 1, low, low_start, line, MARGIN, even, MARGIN, low_cols)
    else:
        line[MARGIN : MARGIN + high_cols] = 0
        _copy_row(low, low_start, even, MARGIN, low_cols)
    even[MARGIN + low_cols] = even[MARGIN + low_cols - 1]
    _unpredict(even, MARGIN, line, MARGIN, even, MARGIN + 1, odd, MARGIN, high_cols)
    _merge_row(even, odd, MARGIN, row, low_cols)


@inner
def lift_level(source, start, stride, rows, cols, ll, ll_start, packed, base, bands, lines):
    """One level forward: ``rows`` x ``cols`` samples to a low-pass plane and three subbands of ``packed``."""
    low_rows, low_cols, high_rows, high_cols = bands[0, ROWS], bands[1, COLS], bands[1, ROWS], bands[0, COLS]
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    first, second, low, even, odd, line = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
    high, last_high = first, second
    for row in range(low_rows):
        here = start + 2 * row * stride
        if row < high_rows:
            below = here + 2 * stride if 2 * row + 2 < rows else here
            _predict(source, here, source, here + stride, source, below, high, 0, cols)
            if row == 0:
                last_high = high
        else:
            high = last_high
        if high_rows:
            _update(last_high, 0, source, here, high, 0, low, 0, cols)
        else:
            _copy_row(source, here, low, 0, cols)
        _lift_along(
            low, low_cols, high_cols, ll, ll_start + row * low_cols, packed, hl + row * high_cols, even, odd, line
        )
        if row < high_rows:
            _lift_along(
                high, low_cols, high_cols, packed, lh + row * low_cols, packed, hh + row * high_cols, even, odd, line
            )
            last_high, high = high, second if row % 2 == 0 else first


@inner
def unlift_level(ll, ll_start, packed, base, bands, flags, first_flags, rows, out, start, stride, low, high, lines):
    """One level backward: a low-pass plane and three subbands to ``rows`` rows, stored as the dtype of ``out``."""
    low_rows, low_cols, high_rows, high_cols = bands[0, ROWS], bands[1, COLS], bands[1, ROWS], bands[0, COLS]
    cols = low_cols + high_cols
    hl, lh, hh = base + bands[0, OFFSET], base + bands[1, OFFSET], base + bands[2, OFFSET]
    first, second, third, fourth = lines[0], lines[1], lines[2], lines[3]
    even, odd, line, spare = lines[4], lines[5], lines[6], lines[7]
    detail, last_detail, top, last_top = first, second, third, fourth
    for row in range(low_rows):
        any_high = flags[first_flags[0] + row] != 0
        _unlift_along(
            ll,
            ll_start + row * low_cols,
            low_cols,
            packed,
            hl + row * high_cols,
            high_cols,
            any_high,
            spare,
            even,
            odd,
            line,
        )
        if row < high_rows:
            if flags[first_flags[1] + row] != 0 or flags[first_flags[2] + row] != 0:
                _unlift_along(
                    packed,
                    lh + row * low_cols,
                    low_cols,
                    packed,
                    hh + row * high_cols,
                    high_cols,
                    True,
                    detail,
                    even,
                    odd,
                    line,
                )
            else:
                detail[:cols] = 0
            if row == 0:
                last_detail = detail
        else:
            detail = last_detail
        if high_rows:
            _downdate(last_detail, 0, spare, 0, detail, 0, top, 0, cols)
        else:
            _copy_row(spare, 0, top, 0, cols)
        store_row(top, 0, out, start + 2 * row * stride, cols, low, high)
        if row:
            _unpredict(last_top, 0, last_detail, 0, top, 0, spare, 0, cols)
            store_row(spare, 0, out, start + (2 * row - 1) * stride, cols, low, high)
        if row < high_rows:
            last_detail, detail = detail, second if row % 2 == 0 else first
        last_top, top = top, fourth if row % 2 == 0 else third
    if rows == 2 * low_rows:
        _unpredict(last_top, 0, last_detail, 0, last_top, 0, spare, 0, cols)
        store_row(spare, 0, out, start + (rows - 1) * stride, cols, low, high)


@merged
def lift_image(source, start, stride, rows, cols, table, levels, packed, base, half, quarter, lines):
    """All levels of one image, whose first pixel is ``source[start]``, into ``packed[base:]``.

    ``half``, ``quarter`` and ``lines`` are scratch.
    """
    zero = np.int64(0)
    ll, ll_start = (packed, base) if levels == 1 else (half, zero)
    bands = table[1 + 3 * (levels - 1) :]
    lift_level(source, start, stride, rows, cols, ll, ll_start, packed, base, bands, lines)
    for level in range(2, levels + 1):
        plane = ll
        rows, cols = bands[0, ROWS], bands[1, COLS]
        bands = table[1 + 3 * (levels - level) :]
        if level == levels:
            ll, ll_start = packed, base
        else:
            ll, ll_start = (half if level % 2 else quarter), zero
        lift_level(plane, zero, cols, rows, cols, ll, ll_start, packed, base, bands, lines)


@merged
def unlift_image(
    packed, base, table, shapes, levels, flags, first_flags, out, start, stride, low, high, half, quarter, lines
):
    """All levels of one image from ``packed[base:]`` to ``out[start:]``, rows ``stride`` apart.

    Pixels are clipped to ``low`` to ``high``; ``half``, ``quarter`` and ``lines`` are scratch.
    """
    ll, ll_start, zero = packed, base, np.int64(0)
    for level in range(levels, 1, -1):
        index = 1 + 3 * (levels - level)
        rows, cols = shapes[level - 1, 0], shapes[level - 1, 1]
        plane = quarter if level % 2 else half
        unlift_level(
            ll, ll_start, packed, base, table[index:], flags, first_flags[index:], rows,
            plane, zero, cols, _LOWEST, _HIGHEST, lines,
        )  # fmt: skip
        ll, ll_start = plane, zero
    index = 1 + 3 * (levels - 1)
    unlift_level(
        ll, ll_start, packed, base, table[index:], flags, first_flags[index:], shapes[0, 0],
        out, start, stride, low, high, lines,
    )  # fmt: skip
