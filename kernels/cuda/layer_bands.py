"""Decoding the part of one subband in one tile, by the threads of one block (``docs/format.md``, section 5)."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from numba import cuda, int32, int64, uint32, uint64

from wavestream.kernels.cuda.layer_contexts import (
    around_ll,
    energy_class,
    ll_sign_context,
    parent_class,
    sign_class,
)
from wavestream.kernels.cuda.layer_plan import ACROSS, DIAGONAL, DOWN, HIGH, PLACE, PLANE, STRIDE, WIDE
from wavestream.kernels.cuda.layer_states import (
    COLUMN_SHIFT,
    LONG_BITS,
    SHIFT_BITS,
    SIGN_SHIFT,
    UPPER_BITS,
    raw_bits,
    renewed,
    state_functions,
    take_token,
    value_of,
)
from wavestream.kernels.layers import BLOCK, COEFFICIENT, LL_FLAG, LL_VALUE, SIGN, SIGN_CONTEXTS


@cuda.jit(device=True)
def take_value(group, words, at, context, state):
    """One value of LL; returns it, the state, and the number of the next word, -1 where the stream has ended."""
    token, state = take_token(group.starts, context, state)
    state, at = renewed(state, words, at)
    shift = int64(group.shifts[context])
    low, more = int64(0), int64(0)
    for phase in range(UPPER_BITS + 1):
        bits = raw_bits(phase, token, shift)
        if bits > 0 and at >= 0:
            raw = state & ((1 << bits) - 1)
            if phase == SHIFT_BITS:
                low = raw
            elif phase == UPPER_BITS:
                more |= raw << LONG_BITS
            else:
                more = raw
            state, at = renewed(state >> bits, words, at)
    return (value_of(token, shift, low, more) if token > 0 else int64(0)), state, at


@cuda.jit(device=True)
def unfolded(value, guess, lowest, highest):
    """The magnitude that a value of LL stands for: both sides of the guess in turn, while both are allowed."""
    folded = value - 1
    near = min(guess - lowest, highest - guess)
    if folded > 2 * near:
        over = folded - near
        return guess + over if guess - lowest < highest - guess else guess - over
    return guess + (folded + 1) // 2 if folded & 1 == 1 else guess - folded // 2


@cuda.jit(device=True)
def decode_ll(group, words, at, image, part, lowest, highest):
    """The coefficients of LL in one tile, by one thread. Returns the next word, -1 where something is wrong."""
    parts = image.parts
    rows, cols, stride = parts[part, HIGH], parts[part, WIDE], parts[part, STRIDE]
    begin, place = image.plane + parts[part, PLANE], image.target + parts[part, PLACE]
    state = int64(group.states[0])
    for y in range(rows):
        for x in range(cols):
            here = begin + y * stride + x
            if image.planes[uint64(here)] != 0:
                continue
            many, beside, guess, balance = around_ll(image.planes, here, stride, y, x, rows, cols, lowest, highest)
            if lowest > 0:
                flag, state = take_token(group.starts, LL_FLAG + many, state)
                state, at = renewed(state, words, at)
                if at < 0:
                    return int64(-1)
                if flag == 0:
                    continue
            value, state, at = take_value(group, words, at, LL_VALUE + min(int64(3), beside), state)
            magnitude = unfolded(value, guess, lowest, highest)
            if at < 0 or value == 0 or magnitude < lowest or magnitude > highest:
                return int64(-1)
            if magnitude > 0:
                negative, state = take_token(group.starts, ll_sign_context(balance), state)
                state, at = renewed(state, words, at)
                if at < 0:
                    return int64(-1)
                signed = int32(-magnitude if negative == 1 else magnitude)
                image.planes[uint64(here)] = signed
                image.packed[uint64(place + y * parts[part, DOWN] + x * parts[part, ACROSS])] = signed
    group.states[0] = uint32(state)
    return at


@cache
def band_functions(threads: int) -> SimpleNamespace:
    """The device functions ``decode_band`` and ``anyone`` for a block of ``threads`` threads."""
    functions = state_functions(threads)
    anyone, ranks = functions.anyone, functions.ranks
    take_flags, take_coefficients = functions.take_flags, functions.take_coefficients

    @cuda.jit(device=True)
    def list_row(group, image, part, parent, y, scale, flags, entries):
        """List the coefficients of row ``y`` that are to be decoded in ``image.lines[entries]``; returns how many.

        ``image.lines[flags]`` holds the flags of its blocks, after a 0.
        """
        planes, parts = image.planes, image.parts
        cols, stride, diagonal = parts[part, WIDE], parts[part, STRIDE], parts[part, DIAGONAL] == 1
        row, over = image.plane + parts[part, PLANE] + y * stride, int64(0)
        if parent >= 0:
            over = image.plane + parts[parent, PLANE] + (y >> 1) * parts[parent, STRIDE]
        listed, base = int64(0), int64(0)
        while base < cols:
            x, open_ = base + cuda.threadIdx.x, False
            if x < cols and image.lines[uint64(flags + 1 + x // BLOCK)] != 0:
                open_ = planes[uint64(row + x)] == 0
            before, total = ranks(open_, group.marks)
            if open_:
                context = COEFFICIENT + 4 * energy_class(planes, row + x, stride, diagonal, scale)
                if parent >= 0:
                    context += parent_class(planes, over + (x >> 1), parts[parent, STRIDE], scale)
                sign = sign_class(int64(planes[uint64(row + x - stride)]), scale)
                entry = int32((x << COLUMN_SHIFT) | (sign << SIGN_SHIFT) | context)
                image.lines[uint64(entries + listed + before)] = entry
            listed += total
            base += threads
        return listed

    @cuda.jit(device=True)
    def decode_row(group, words, at, together, scale, image, part, parent, y, flags, entries, lowest, highest):
        """The coefficients of one row. Returns the next word, -1 where something is wrong."""
        parts = image.parts
        listed = list_row(group, image, part, parent, y, scale, flags, entries)
        # The list is there for all; what is decoded from here on is no neighbour in this row's contexts.
        cuda.syncthreads()
        first_sign = SIGN + SIGN_CONTEXTS * parts[part, DIAGONAL]
        row = image.plane + parts[part, PLANE] + y * parts[part, STRIDE]
        place = image.target + parts[part, PLACE] + y * parts[part, DOWN]
        wrong, first = False, int64(0)
        while first < listed:
            at, too_large = take_coefficients(
                group, words, at, image, entries + first, min(together, listed - first), first_sign, lowest, highest,
                row, place, parts[part, ACROSS],
            )  # fmt: skip
            wrong = wrong or too_large
            first += together
        if at > words.count or anyone(wrong, group.marks):
            return int64(-1)
        # The row is there for the contexts of the next one, and its list may be overwritten.
        cuda.syncthreads()
        return at

    @cuda.jit(device=True)
    def decode_band(group, words, at, together, scale, image, part, parent, lowest, highest):
        """The coefficients of a subband other than LL in one tile. Returns the next word, -1 where something is wrong.

        ``parent`` is the part of the parent, -1 without one. The tile's scratch takes the flags of two rows of blocks,
        with a 0 before and after each, then the list of a row's coefficients.
        """
        rows = image.parts[part, HIGH]
        blocks = (image.parts[part, WIDE] + BLOCK - 1) // BLOCK
        flags, above, entries = image.line, image.line + blocks + 2, image.line + 2 * (blocks + 2)
        index = int64(cuda.threadIdx.x)
        while index < 2 * (blocks + 2):
            image.lines[uint64(image.line + index)] = 0
            index += threads
        cuda.syncthreads()
        top = int64(0)
        while top < rows:
            some, first = False, int64(0)
            while first < blocks:
                count = min(together, blocks - first)
                at, flagged = take_flags(group, words, at, image, part, parent, top, first, count, above, flags)
                some = some or flagged
                first += together
            if at > words.count:
                return int64(-1)
            # The flags are there for all, and nobody reads those above any more.
            cuda.syncthreads()
            flags, above = above, flags
            y, last = top, min(top + BLOCK, rows)
            if not anyone(some, group.marks):
                y = last
            while y < last:
                at = decode_row(
                    group, words, at, together, scale, image, part, parent, y, above, entries, lowest, highest
                )  # fmt: skip
                if at < 0:
                    return int64(-1)
                y += 1
            top += BLOCK
        return at

    return SimpleNamespace(anyone=anyone, decode_band=decode_band)
