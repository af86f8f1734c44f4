"""Contexts of coefficients and of blocks, for the decoder and the encoder alike (``docs/format.md``, section 5).

A subband's part of a tile is a plane of int32 coefficients with room around it; a coefficient that is not known is 0,
which it is to the contexts in any case.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner
from wavestream.kernels.cpu.lanes import (
    LANES,
    absolute,
    add,
    at_least,
    compress,
    count_of,
    fill,
    largest,
    magnitude_bits,
    only,
    shift_left,
    shift_right,
    smallest,
    subtract,
    to_floats,
    zip_high,
    zip_low,
)
from wavestream.kernels.cpu.memory import load, store
from wavestream.kernels.layers import BLOCK, BLOCK_FLAG, COEFFICIENT, HIGH, LL_SIGN, PLANE, STRIDE, WIDE

# An entry of a row's list: the column and the context of the sign, shifted by these, and the context.
COLUMN_SHIFT, SIGN_SHIFT = 12, 8
CONTEXT_MASK, SIGN_MASK = (1 << SIGN_SHIFT) - 1, (1 << (COLUMN_SHIFT - SIGN_SHIFT)) - 1
_LARGE_NEIGHBOUR = 4
_PARENT_STEPS = (1, 4, 12)
# Bits of a float32 above this: twice the exponent and the first bit of the mantissa; less that of 1.
_HALF_OCTAVES, _ONE = 22, 254
_LARGEST_ENERGY = 15


@inlined
def _size(plane, at):
    return absolute(load(plane, at))


@inlined
def _twice(lanes):
    return add(lanes, lanes)


@inlined
def _energies(plane, at, stride, diagonal, scale):
    """The class of the magnitudes around each of 16 coefficients, times four."""
    north, above = _size(plane, at - stride), _size(plane, at - 2 * stride)
    corners = add(_size(plane, at - stride - 1), _size(plane, at - stride + 1))
    later = add(add(_size(plane, at - 1), _size(plane, at + 1)), _size(plane, at + stride))
    if diagonal:
        lower = add(_size(plane, at + stride - 1), _size(plane, at + stride + 1))
        total = add(add(_twice(add(add(north, corners), later)), above), lower)
    else:
        total = add(add(_twice(add(_twice(north), above)), corners), later)
    total = shift_right(total, scale)
    halves = subtract(shift_right(magnitude_bits(to_floats(total)), _HALF_OCTAVES), fill(np.int32(_ONE)))
    energy = largest(halves, smallest(total, fill(np.int32(1))))
    return _twice(_twice(smallest(energy, fill(np.int32(_LARGEST_ENERGY)))))


@inlined
def _sign_contexts(plane, above, scale):
    """Which context each sign has by the coefficient above it, shifted to its place in an entry."""
    north, one = load(plane, above), fill(np.int32(1))
    size = shift_right(absolute(north), scale)
    some = smallest(size, one)
    large = only(at_least(size, fill(np.int32(_LARGE_NEIGHBOUR))), _twice(one))
    negative = smallest(some, absolute(smallest(north, fill(np.int32(0)))))
    # 0 without a neighbour, 1 and 2 for a positive and a negative one, 3 and 4 for large ones.
    return shift_left(add(add(some, large), negative), SIGN_SHIFT)


@inner
def parent_row(plane, at, stride, wide, scale, out):
    """First context of each of ``wide`` children by their parents, which begin at ``plane[at:]``, into ``out``."""
    one = fill(np.int32(1))
    for x in range(0, wide, 2 * LANES):
        place = at + x // 2
        around = add(
            add(_size(plane, place - stride), _size(plane, place + stride)),
            add(_size(plane, place - 1), _size(plane, place + 1)),
        )
        total = shift_right(add(_twice(_twice(_size(plane, place))), around), scale + 1)
        kind = fill(np.int32(COEFFICIENT))
        for step in _PARENT_STEPS:
            kind = add(kind, only(at_least(total, fill(np.int32(step))), one))
        store(out, x, zip_low(kind, kind))
        store(out, x + LANES, zip_high(kind, kind))


@inner
def list_row(plane, at, stride, wide, diagonal, scale, parents, idle, columns, entries):
    """List the coefficients of a row that are to be coded, with their contexts. Returns how many there are.

    ``plane[at:]`` is the row. ``parents`` holds the first context by each parent, ``idle`` 0 for columns in blocks that
    hold something and 1 for all others, up to a multiple of 16, ``columns`` each column's number, shifted.
    """
    zero = fill(np.int32(0))
    listed = 0
    for x in range(0, wide, LANES):
        open_ = at_least(zero, add(_size(plane, at + x), load(idle, x)))
        several = count_of(open_)
        if several:
            context = add(_energies(plane, at + x, stride, diagonal, scale), load(parents, x))
            sign = _sign_contexts(plane, at + x - stride, scale)
            store(entries, listed, compress(add(add(load(columns, x), sign), context), open_))
            listed += several
    return listed


@inner
def _class_of_known(plane, at, stride, high, wide):
    """0 where all coefficients of a block are 0, 1 for one or two that are not, 2 for more."""
    count = 0
    for y in range(high):
        for x in range(wide):
            count += plane[at + y * stride + x] != 0
        if count > 2:
            return 2
    return 1 if count else 0


@inner
def block_contexts(plane, part, top, above, active, parent, parent_active, out):
    """The context of each block's flag, for the row of blocks that begins with row ``top`` of ``part``.

    ``above[1:]`` holds the flags of the row of blocks above, with 0 before and after. ``active`` and ``parent_active``
    tell which blocks of the part and of its parent hold anything but zeros.
    """
    half, wide, stride = BLOCK // 2, part[WIDE], part[STRIDE]
    at, high = part[PLANE] + top * stride, min(BLOCK, part[HIGH] - top)
    blocks, parent_blocks = (wide + BLOCK - 1) // BLOCK, (parent[WIDE] + BLOCK - 1) // BLOCK
    parent_at = parent[PLANE] + top // 2 * parent[STRIDE]
    parent_high = min(half, parent[HIGH] - top // 2)
    for block in range(blocks):
        flags = np.int64(above[block]) + np.int64(above[block + 1]) + np.int64(above[block + 2])
        known = over = 0
        if active[top // BLOCK * blocks + block]:
            known = _class_of_known(plane, at + block * BLOCK, stride, high, min(BLOCK, wide - block * BLOCK))
        width = min(half, parent[WIDE] - block * half)
        if parent_high > 0 and width > 0 and parent_active[top // (2 * BLOCK) * parent_blocks + block // 2]:
            over = _class_of_known(plane, parent_at + block * half, parent[STRIDE], parent_high, width)
        out[block] = BLOCK_FLAG + 9 * min(flags, 2) + 3 * known + over


@inner
def open_blocks(coder, flags, blocks, cols, active):
    """Note which columns of a row of blocks are to be listed: those of blocks with a flag; whether there are any.

    ``flags[1:]`` gets 0 before and after; ``active`` are the bytes of these blocks.
    """
    some = 0
    flags[0] = flags[blocks + 1] = 0
    for block in range(blocks):
        some |= flags[block + 1]
        active[block] |= np.uint8(flags[block + 1])
    if some == 0:
        return False
    for block in range(blocks):
        for x in range(BLOCK * block, BLOCK * block + BLOCK):
            coder.idle[x] = np.int32(1 - flags[block + 1])
    for x in range(cols, cols + LANES):
        coder.idle[x] = np.int32(1)
    return True


@inlined
def set_parents(coder, parent, y, cols, scale):
    """Note the first context of each coefficient of row ``y`` by its parent; rows two and two share their parents."""
    if y % 2 == 0:
        if parent[HIGH]:
            parent_row(
                coder.planes, parent[PLANE] + y // 2 * parent[STRIDE], parent[STRIDE], cols, scale, coder.parents
            )
        else:
            for x in range(0, cols, LANES):
                store(coder.parents, x, fill(np.int32(COEFFICIENT)))


@inlined
def around_ll(plane, at, stride, y, x, high, wide, lowest, highest):
    """What is known around a coefficient of LL.

    How many of its 8 neighbours, how many of the 4 beside it, the magnitude that they suggest within ``lowest`` to
    ``highest``, and how many more of them are positive than negative.

    Neighbours that are 0 are known if they come before it in a layer that leaves nothing out (``lowest`` is 0).
    """
    many = beside = balance = 0
    straight = oblique = corner = 0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if (dy != 0 or dx != 0) and 0 <= y + dy < high and 0 <= x + dx < wide:
                value = np.int64(plane[at + dy * stride + dx])
                before = dy < 0 or (dy == 0 and dx < 0)
                if value != 0 or (lowest == 0 and before):
                    many += 1
                    balance += (value > 0) - (value < 0)
                    if dy == 0 or dx == 0:
                        beside += 1
                        straight += abs(value)
                        corner += before
                    else:
                        oblique += abs(value)
                        corner += 4 * (dy < 0 and dx < 0)
    guess = np.int64(lowest)
    if corner == 6:
        north, west = abs(np.int64(plane[at - stride])), abs(np.int64(plane[at - 1]))
        between = north + west - abs(np.int64(plane[at - stride - 1]))
        guess = min(max(between, min(north, west)), max(north, west))
    elif beside > 0:
        guess = (straight + (beside >> 1)) // beside
    elif many > 0:
        guess = (oblique + (many >> 1)) // many
    return many, beside, min(max(guess, np.int64(lowest)), np.int64(highest)), balance


@inlined
def sign_context(balance):
    """Context of the sign of a coefficient of LL."""
    return LL_SIGN + (0 if balance == 0 else (1 if balance > 0 else 2))
