"""Contexts of coefficients and of blocks on the device (``docs/format.md``, section 5).

A subband's part of a tile is a plane of int32 coefficients with zeros around it (``Tiling.parts``), so neighbours are
read without looking at the borders; a coefficient that is not known is 0, which it is to the contexts in any case.
"""

from __future__ import annotations

from numba import cuda, int32, int64, uint64

from wavestream.kernels.cuda.layer_plan import BLOCKS, HIGH, PLANE, STRIDE, WIDE
from wavestream.kernels.layers import BLOCK, BLOCK_FLAG, LL_SIGN

_LARGE_NEIGHBOUR = 4
_PARENT_STEPS = (1, 4, 12)
_LARGEST_ENERGY = 15


@cuda.jit(device=True)
def size_at(planes, place):
    """The magnitude of a coefficient."""
    value = int64(planes[uint64(place)])
    return -value if value < 0 else value


@cuda.jit(device=True)
def energy_class(planes, at, stride, diagonal, scale):
    """The class of the magnitudes around a coefficient, 0 to 15."""
    north, above = size_at(planes, at - stride), size_at(planes, at - 2 * stride)
    corners = size_at(planes, at - stride - 1) + size_at(planes, at - stride + 1)
    later = size_at(planes, at - 1) + size_at(planes, at + 1) + size_at(planes, at + stride)
    if diagonal:
        lower = size_at(planes, at + stride - 1) + size_at(planes, at + stride + 1)
        total = 2 * (north + corners + later) + above + lower
    else:
        total = 4 * north + 2 * above + corners + later
    total = total >> scale
    if total < 2:
        return total
    octave = int64(31 - cuda.clz(int32(total)))
    return min(2 * octave + ((total >> (octave - 1)) & 1), int64(_LARGEST_ENERGY))


@cuda.jit(device=True)
def parent_class(planes, at, stride, scale):
    """The class of the magnitudes of a coefficient's parent and around it, 0 to 3."""
    around = size_at(planes, at - stride) + size_at(planes, at + stride)
    around += size_at(planes, at - 1) + size_at(planes, at + 1)
    total = (4 * size_at(planes, at) + around) >> (scale + 1)
    found = int64(0)
    for step in _PARENT_STEPS:
        found += int64(total >= step)
    return found


@cuda.jit(device=True)
def sign_class(north, scale):
    """Which context a sign has by the coefficient above it, 0 to 4."""
    size = (-north if north < 0 else north) >> scale
    if size == 0:
        return int64(0)
    return int64(1 if size < _LARGE_NEIGHBOUR else 3) + int64(north < 0)


@cuda.jit(device=True)
def known_class(planes, at, stride, high, wide):
    """0 where all coefficients of a block are 0, 1 for one or two that are not, 2 for more."""
    count = int64(0)
    for y in range(high):
        for x in range(wide):
            count += int64(planes[uint64(at + y * stride + x)] != 0)
        if count > 2:
            return int64(2)
    return int64(1 if count > 0 else 0)


@cuda.jit(device=True)
def block_context(image, part, parent, top, block, flags):
    """The context of one block's flag.

    Args:
        image: a ``layer_memory.Image``.
        part, parent: rows of the part and of its parent in ``image.parts``, -1 without a parent.
        top, block: first row of the block, and its number in the row of blocks.
        flags: number of flags 1 among the three blocks above.
    """
    parts, planes = image.parts, image.planes
    stride, wide = parts[part, STRIDE], parts[part, WIDE]
    across = (wide + BLOCK - 1) // BLOCK
    known, over = int64(0), int64(0)
    if image.active[uint64(image.block + parts[part, BLOCKS] + top // BLOCK * across + block)] != 0:
        at = image.plane + parts[part, PLANE] + top * stride + block * BLOCK
        high, width = min(int64(BLOCK), parts[part, HIGH] - top), min(int64(BLOCK), wide - block * BLOCK)
        known = known_class(planes, at, stride, high, width)
    if parent >= 0:
        half = BLOCK // 2
        stride = parts[parent, STRIDE]
        high = min(int64(half), parts[parent, HIGH] - top // 2)
        width = min(int64(half), parts[parent, WIDE] - block * half)
        across = (parts[parent, WIDE] + BLOCK - 1) // BLOCK
        if high > 0 and width > 0:
            here = parts[parent, BLOCKS] + top // (2 * BLOCK) * across + block // 2
            if image.active[uint64(image.block + here)] != 0:
                at = image.plane + parts[parent, PLANE] + top // 2 * stride + block * half
                over = known_class(planes, at, stride, high, width)
    return BLOCK_FLAG + 9 * min(flags, int64(2)) + 3 * known + over


@cuda.jit(device=True)
def around_ll(planes, at, stride, y, x, high, wide, lowest, highest):
    """What is known around a coefficient of LL.

    How many of its 8 neighbours, how many of the 4 beside it, the magnitude that they suggest within ``lowest`` to
    ``highest``, and how many more of them are positive than negative.

    Neighbours that are 0 are known if they come before it in a layer that leaves nothing out (``lowest`` is 0).
    """
    many, beside, balance = int64(0), int64(0), int64(0)
    straight, oblique, corner = int64(0), int64(0), int64(0)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            inside = y + dy >= 0 and y + dy < high and x + dx >= 0 and x + dx < wide
            if (dy != 0 or dx != 0) and inside:
                value = int64(planes[uint64(at + dy * stride + dx)])
                before = dy < 0 or (dy == 0 and dx < 0)
                if value != 0 or (lowest == 0 and before):
                    many += 1
                    balance += int64(value > 0) - int64(value < 0)
                    if dy == 0 or dx == 0:
                        beside += 1
                        straight += -value if value < 0 else value
                        corner += int64(before)
                    else:
                        oblique += -value if value < 0 else value
                        corner += 4 if dy < 0 and dx < 0 else 0
    guess = int64(lowest)
    if corner == 6:
        north, west = size_at(planes, at - stride), size_at(planes, at - 1)
        between = north + west - size_at(planes, at - stride - 1)
        guess = min(max(between, min(north, west)), max(north, west))
    elif beside > 0:
        guess = (straight + (beside >> 1)) // beside
    elif many > 0:
        guess = (oblique + (many >> 1)) // many
    return many, beside, min(max(guess, lowest), highest), balance


@cuda.jit(device=True)
def ll_sign_context(balance):
    """Context of the sign of a coefficient of LL."""
    return LL_SIGN + (0 if balance == 0 else (1 if balance > 0 else 2))
