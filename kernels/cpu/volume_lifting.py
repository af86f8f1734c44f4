"""The reversible 5/3 lifting of a volume, one level forward or backward, any range of its rows.

Forward through the slices, down the columns, along the rows; backward in reverse, so that every rounding is undone.
Through the slices, whole-sample symmetric extension of the samples extends the coefficients, too: each output needs
only the five mirrored samples around it, and no unit of work waits for another. The slices come last backward, when
their neighbours have to be complete: they are a pass of their own, over a buffer of the volume's size.
"""

from __future__ import annotations

from wavestream.kernels.cpu.compiler import entry, inlined, inner
from wavestream.kernels.cpu.lanes import LANES, add, subtract
from wavestream.kernels.cpu.lifting import lift_columns, lift_line, mean, quarter, split_row, unlift_rows
from wavestream.kernels.cpu.maxima import GROUP
from wavestream.kernels.cpu.memory import advance, load_first, pointer_to, store
from wavestream.kernels.cpu.pixels import store_pixels
from wavestream.kernels.cpu.volume_plan import COLS, FLAGS, GROUPS, OFFSET, ROWS, SLICES
from wavestream.kernels.cpu.volume_workspace import scratch_of_rows
from wavestream.kernels.cpu.workspace import MARGIN

_WINDOW = 5
# Rows of a ring: three are needed at a time.
_RING = 4


@inlined
def _mirrored(index, length):
    """Whole-sample symmetric extension by up to a few samples."""
    if length == 1:
        return 0 * index
    last = length - 1
    while index < 0 or index > last:
        index = -index if index < 0 else 2 * last - index
    return index


@inlined
def _lift_slices(source, planes, alone, rings, low, high, cols):
    """One row of five slices, at ``planes``, to one of the low-pass and one of the high-pass through the slices.

    ``alone``: there is one slice, which stays as it is.
    """
    first, second, third, fourth, fifth = planes[0], planes[1], planes[2], planes[3], planes[4]
    for x in range(0, cols, LANES):
        centre = load_first(source, third + x, cols - x)
        smooth = centre
        if not alone:
            before, after = load_first(source, first + x, cols - x), load_first(source, fifth + x, cols - x)
            over = subtract(load_first(source, second + x, cols - x), mean(before, centre))
            detail = subtract(load_first(source, fourth + x, cols - x), mean(centre, after))
            smooth = add(centre, quarter(over, detail))
            store(rings, high + x, detail)
        store(rings, low + x, smooth)


@inner
def _lift_rows(
    source, slices, rows, cols, ll, packed, bands, weights, last_level, maxima, depth, first, last, scratch
):  # fmt: skip
    """Rows ``first`` to ``last`` of slice ``depth`` of all eight subbands."""
    low_rows, low_cols = bands[0, ROWS], bands[0, COLS]
    high_slices, high_rows, high_cols = bands[4, SLICES], bands[2, ROWS], bands[1, COLS]
    of_low, of_high = (low_cols + GROUP - 1) // GROUP, (high_cols + GROUP - 1) // GROUP
    lines, rings, width, planes = scratch.lines, scratch.rings, scratch.width, scratch.starts
    # The high lines before this row of both halves, then the lines made of this row.
    low_line, high_line = MARGIN + 2 * width, MARGIN + 4 * width
    for sample in range(_WINDOW):
        planes[sample] = _mirrored(2 * depth - 2 + sample, slices) * rows * cols
    # The row before the first leaves the high line that the first one needs.
    begin = max(first - 1, 0)
    unknown = 2 * begin
    for row in range(begin, last):
        for logical in range(unknown, 2 * row + 3):
            at, slot = _mirrored(logical, rows) * cols, logical % _RING
            _lift_slices(
                advance(source, at), planes, slices == 1, rings, slot * width, (_RING + slot) * width, cols
            )  # fmt: skip
        unknown = 2 * row + 3
        for half in range(2 if depth < high_slices else 1):
            ring, before = advance(rings, half * _RING * width), MARGIN + half * width
            # The row between them follows the first: the ring is of even length.
            here, below = 2 * row % _RING, (2 * row + 2) % _RING
            if high_rows:
                lift_columns(
                    ring, here * width, width, below * width, lines, before, low_line, high_line, width, cols,
                    row == begin, row == high_rows,
                )  # fmt: skip
            else:
                split_row(ring, here * width, lines, low_line, low_line + width, cols)
            if row < first:
                continue
            lll, hll, lhl, hhl = 4 * half, 4 * half + 1, 4 * half + 2, 4 * half + 3
            line = depth * low_rows + row
            low_group = bands[lll, GROUPS] + (line if half or last_level else depth) * of_low
            lift_line(
                lines, low_line, low_line + width, packed if half else ll, bands[lll, OFFSET] + line * low_cols,
                low_cols, packed, bands[hll, OFFSET] + line * high_cols, high_cols, weights[lll], weights[hll],
                maxima, low_group, bands[hll, GROUPS] + line * of_high,
            )  # fmt: skip
            if row < high_rows:
                line = depth * high_rows + row
                lift_line(
                    lines, high_line, high_line + width, packed, bands[lhl, OFFSET] + line * low_cols, low_cols,
                    packed, bands[hhl, OFFSET] + line * high_cols, high_cols, weights[lhl], weights[hhl],
                    maxima, bands[lhl, GROUPS] + line * of_low, bands[hhl, GROUPS] + line * of_high,
                )  # fmt: skip


@entry
def lift_volume(source, shape, ll, packed, bands, weights, last_level, maxima, ranges, begin, end, work):
    """Units ``begin`` to ``end`` of one level, as of :func:`wavestream.kernels.cpu.volume_analysis.analyse_volume`.

    ``weights`` (8,) are those of the subbands.
    """
    low_rows, scratch = bands[0, ROWS], scratch_of_rows(work)
    for unit in range(begin, end):
        depth, part = unit // ranges, unit % ranges
        first, last = low_rows * part // ranges, low_rows * (part + 1) // ranges
        _lift_rows(
            pointer_to(source), shape[0], shape[1], shape[2], pointer_to(ll), pointer_to(packed), bands, weights,
            last_level, pointer_to(maxima), depth, first, last, scratch,
        )  # fmt: skip


@entry
def unlift_slices(ll, packed, zeros, bands, flags, shape, out, ranges, begin, end, work):
    """Rows and columns of one level backward; unit ``slice * ranges + part``: a range of row pairs of one slice.

    ``out`` is flat, of ``shape``: the slices that are low-pass through the slices, then those that are high-pass.
    ``packed[zeros:]`` is a row of zeros.
    """
    low_slices, low_rows, low_cols = bands[0, SLICES], bands[0, ROWS], bands[0, COLS]
    high_rows, high_cols, scratch = bands[2, ROWS], bands[1, COLS], scratch_of_rows(work)
    coefficients = pointer_to(packed)
    for unit in range(begin, end):
        index, part = unit // ranges, unit % ranges
        half = 1 if index >= low_slices else 0
        depth = index - half * low_slices
        lll, hll, lhl, hhl = bands[4 * half], bands[4 * half + 1], bands[4 * half + 2], bands[4 * half + 3]
        on_low, on_high = depth * low_rows, depth * high_rows
        unlift_rows(
            coefficients if half else pointer_to(ll), lll[OFFSET] + on_low * low_cols,
            lll[FLAGS] + on_low if half else -1, coefficients, hll[OFFSET] + on_low * high_cols,
            lhl[OFFSET] + on_high * low_cols, hhl[OFFSET] + on_high * high_cols,
            flags, hll[FLAGS] + on_low, lhl[FLAGS] + on_high, hhl[FLAGS] + on_high,
            low_rows, low_cols, high_rows, high_cols, low_rows * part // ranges, low_rows * (part + 1) // ranges,
            pointer_to(out), index * shape[1] * shape[2], shape[2], None, scratch.lines, scratch.width, zeros,
        )  # fmt: skip


@inner
def _unlift_run(halfway, before, low, high, next_low, after, out, into, beyond, count, two, alone, limits):
    """``count`` samples of two slices side by side, at ``out[into:]`` and, where ``two``, ``out[beyond:]``."""
    for x in range(0, count, LANES):
        left = count - x
        top, detail = load_first(halfway, low + x, left), load_first(halfway, high + x, left)
        if not alone:
            top = subtract(top, quarter(load_first(halfway, before + x, left), detail))
        store_pixels(out, into + x, top, left, limits)
        if two:
            rest = quarter(detail, load_first(halfway, after + x, left))
            next_top = subtract(load_first(halfway, next_low + x, left), rest)
            store_pixels(out, beyond + x, add(detail, mean(top, next_top)), left, limits)


@entry
def unlift_depth(halfway, shape, out, limits, ranges, begin, end, work):
    """The slices of one level backward, from ``unlift_slices``; unit ``pair * ranges + part``: rows of two slices.

    ``out`` is flat, of ``shape``; ``limits`` are those of ``store_pixels``.
    """
    slices, plane, low_slices = shape[0], shape[1] * shape[2], (shape[0] + 1) // 2
    for unit in range(begin, end):
        pair, part = unit // ranges, unit % ranges
        first, last = shape[1] * part // ranges * shape[2], shape[1] * (part + 1) // ranges * shape[2]
        before = low_slices + (_mirrored(2 * pair - 1, slices) >> 1)
        # A single slice has nothing beside it, which is not read then.
        high = low_slices + (_mirrored(2 * pair + 1, slices) >> 1) if slices > 1 else 0
        after = low_slices + (_mirrored(2 * pair + 3, slices) >> 1)
        next_low = _mirrored(2 * pair + 2, slices) >> 1
        _unlift_run(
            pointer_to(halfway), before * plane + first, pair * plane + first, high * plane + first,
            next_low * plane + first, after * plane + first, pointer_to(out), 2 * pair * plane + first,
            (2 * pair + 1) * plane + first, last - first, 2 * pair + 1 < slices, slices == 1, limits,
        )  # fmt: skip
