"""List the symbols of a segment in the order in which a decoder takes them (``docs/format.md``, section 5).

The same walk as :mod:`wavestream.kernels.cpu.layer_decoder`, with the coefficients known: what the decoder reads, this
writes down, and what the decoder knows at that moment is all that contexts are made of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import inlined, inner
from wavestream.kernels.cpu.layer_contexts import (
    COLUMN_SHIFT,
    CONTEXT_MASK,
    SIGN_MASK,
    SIGN_SHIFT,
    around_ll,
    block_contexts,
    list_row,
    open_blocks,
    set_parents,
    sign_context,
)
from wavestream.kernels.cpu.memory import advance, pointer_to
from wavestream.kernels.layers import BLOCK, HIGH, LL_FLAG, LL_VALUE, PLANE, SIGN, SIGN_CONTEXTS, STRIDE, WIDE

# Kinds of symbols: a token alone, a value with a sign, one without; and on top of it that a group begins.
PLAIN, SIGNED, UNSIGNED, BEGINS = 0, 1, 2, 4


class Symbols(NamedTuple):
    """The symbols of a segment, in the order in which they are taken: contexts, value and kind of each."""

    contexts: NDArray[np.uint8]
    signs: NDArray[np.uint8]
    values: NDArray[np.int32]
    kinds: NDArray[np.uint8]


class SymbolPointers(NamedTuple):
    """The same as pointers: passing arrays on, symbol by symbol, would be counting references half of the time."""

    contexts: Any
    signs: Any
    values: Any
    kinds: Any


@inlined
def symbol_pointers(symbols):
    """The pointers of symbols."""
    return SymbolPointers(
        pointer_to(symbols.contexts),
        pointer_to(symbols.signs),
        pointer_to(symbols.values),
        pointer_to(symbols.kinds),
    )


@inner
def _put(symbols, count, context, value, kind, sign=0):
    symbols.contexts[count] = np.uint8(context)
    symbols.signs[count] = np.uint8(sign)
    symbols.values[count] = np.int32(value)
    symbols.kinds[count] = np.uint8(kind)
    return count + 1


@inner
def list_ll(coder, full, part, low, high, symbols, count):
    """The symbols of LL in one tile, appended at ``count``; returns where they end, and how many coefficients they hold
    that are not 0."""
    rows, cols, stride, plane = part[HIGH], part[WIDE], part[STRIDE], coder.planes
    found = 0
    for y in range(rows):
        for x in range(cols):
            place = part[PLANE] + y * stride + x
            if plane[place] != 0:
                continue
            many, beside, guess, balance = around_ll(plane, place, stride, y, x, rows, cols, low, high)
            value = np.int64(full[place])
            magnitude = abs(value)
            if low > 0:
                count = _put(symbols, count, LL_FLAG + many, magnitude >= low, PLAIN | BEGINS)
                if magnitude < low:
                    continue
            over, near = magnitude - guess, min(guess - low, high - guess)
            folded = 2 * over - 1 if over > 0 else -2 * over
            if abs(over) > near:
                folded = abs(over) + near
            count = _put(symbols, count, LL_VALUE + min(3, beside), folded + 1, UNSIGNED | BEGINS)
            if magnitude > 0:
                count = _put(symbols, count, sign_context(balance), value < 0, PLAIN | BEGINS)
                found += 1
            plane[place] = np.int32(value)
    return count, found


@inner
def _list_flags(full, plane, part, top, low, flags, contexts, symbols, count):
    """The flags of a row of blocks; returns where they end."""
    cols, stride = part[WIDE], part[STRIDE]
    for block in range((cols + BLOCK - 1) // BLOCK):
        held = 0
        for y in range(top, min(top + BLOCK, part[HIGH])):
            row = part[PLANE] + y * stride
            for x in range(BLOCK * block, min(BLOCK * block + BLOCK, cols)):
                held |= plane[row + x] == 0 and full[row + x] != 0 and abs(full[row + x]) >= low
        flags[block] = held
        count = _put(symbols, count, contexts[block], held, PLAIN | (BEGINS if block == 0 else 0))
    return count


@inner
def list_band(coder, full, part, parent, diagonal, low, scale, active, parent_active, symbols, count):
    """The symbols of a subband other than LL in one tile, appended at ``count``; returns as :func:`list_ll`."""
    rows, cols, stride, plane = part[HIGH], part[WIDE], part[STRIDE], coder.planes
    blocks = (cols + BLOCK - 1) // BLOCK
    base, first_sign = max(np.int64(low) - 1, 0), SIGN + (SIGN_CONTEXTS if diagonal else 0)
    found = 0
    flags, above = coder.flags, advance(coder.flags, coder.many)
    for block in range(blocks + 2):
        above[block] = 0
    for top in range(0, rows, BLOCK):
        block_contexts(plane, part, top, above, active, parent, parent_active, coder.contexts)
        count = _list_flags(full, plane, part, top, low, advance(flags, 1), coder.contexts, symbols, count)
        some = open_blocks(coder, flags, blocks, cols, advance(active, top // BLOCK * blocks))
        flags, above = above, flags
        if not some:
            continue
        for y in range(top, min(top + BLOCK, rows)):
            row = part[PLANE] + y * stride
            set_parents(coder, parent, y, cols, scale)
            listed = list_row(
                plane, row, stride, cols, diagonal, scale, coder.parents, coder.idle, coder.columns, coder.entries
            )
            for index in range(listed):
                entry = np.int64(coder.entries[index])
                place = row + (entry >> COLUMN_SHIFT)
                value = np.int64(full[place])
                if abs(value) >= low and value != 0:
                    plane[place] = np.int32(value)
                    value += -base if value > 0 else base
                    found += 1
                else:
                    value = 0
                sign = first_sign + ((entry >> SIGN_SHIFT) & SIGN_MASK)
                begins = BEGINS if index == 0 else 0
                count = _put(symbols, count, entry & CONTEXT_MASK, value, SIGNED | begins, sign)
    return count, found
