"""Reading symbols: interleaved rANS states in groups (``docs/format.md``, section 5; Duda, arXiv:1311.2540).

Within a group no state waits for another, so the processor works on several at once; the only thing passed on from one
symbol to the next is the place of the next word.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner
from wavestream.kernels.cpu.lanes import (
    LANES,
    add,
    at_least,
    both,
    chosen,
    count_of,
    fill,
    first_only,
    largest,
    largest_bits,
    largest_lane,
    multiply_integers,
    only,
    shift_right,
    shift_right_bits,
    smallest,
    subtract,
)
from wavestream.kernels.cpu.layer_contexts import COLUMN_SHIFT, CONTEXT_MASK, SIGN_MASK, SIGN_SHIFT
from wavestream.kernels.cpu.layer_tables import SHARE_SHIFT, START_MASK, UNFINISHED
from wavestream.kernels.cpu.memory import advance, load, store, store_first
from wavestream.kernels.layers import BITS_OF_RANGE, FIRST_OF_RANGE, LOWEST_STATE, PRECISION, SIGN_CONTEXTS, TOKENS

# Groups of fewer coefficients are taken one by one.
_FEW = 8
_SLOT, _HALF = (1 << PRECISION) - 1, 1 << (PRECISION - 1)
_PLAIN_TOKENS = FIRST_OF_RANGE[0]
_SHORT_BITS = np.array([*BITS_OF_RANGE[:2], BITS_OF_RANGE[2] // 2], dtype=np.int64)
_RANGES = np.array(FIRST_OF_RANGE, dtype=np.int64)
_LONG_BITS = BITS_OF_RANGE[2] // 2
_LONGEST = TOKENS - 1


@inlined
def _renewed(state, words, at):
    """The state with the next word taken in if it has run low, and the place of the word after."""
    low = state < LOWEST_STATE
    full = (state << 16) | np.int64(words[at])
    return (full if low else state), at + np.int64(low)


@inlined
def take_token(coder, index, context, at):
    """The next token of state ``index``; returns it, and the place of the next word."""
    state = np.int64(coder.states[index])
    slot = state & _SLOT
    token = count_of(at_least(fill(np.int32(slot)), load(coder.starts, TOKENS * context))) - 1
    place = TOKENS * context + token
    state = np.int64(coder.frequencies[place]) * (state >> PRECISION) + slot - np.int64(coder.starts[place])
    state, at = _renewed(state, coder.words, at)
    coder.states[index] = np.uint32(state)
    return token, at


@inlined
def take_raw(coder, index, bits, at):
    """The next ``bits`` raw bits of state ``index``; returns them, and the place of the next word."""
    state = np.int64(coder.states[index])
    value = state & ((1 << bits) - 1)
    state, at = _renewed(state >> bits, coder.words, at)
    coder.states[index] = np.uint32(state)
    return value, at


@inlined
def _take_ranges(coder, count, at):
    """The raw bits of those of ``count`` unfinished tokens that stand for ranges: they become ``u + 1``."""
    longest = 0
    for number in range(count):
        index = coder.unfinished[number]
        token = np.int64(coder.tokens[index])
        if token > _PLAIN_TOKENS:
            which = token - _PLAIN_TOKENS - 1
            more, at = take_raw(coder, index, _SHORT_BITS[which], at)
            # Half known, those of the longest range wait as negative numbers.
            coder.tokens[index] = np.int32(-1 - more if token == _LONGEST else _RANGES[which] + more + 1)
            longest |= np.int64(token == _LONGEST)
    if longest:
        for number in range(count):
            index = coder.unfinished[number]
            if coder.tokens[index] < 0:
                more, at = take_raw(coder, index, _LONG_BITS, at)
                coder.tokens[index] = np.int32(_RANGES[2] - np.int64(coder.tokens[index]) + (more << _LONG_BITS))
    return at


@inlined
def sign_share(share, positive):
    """The part of a token's frequency that is a positive sign's, whose own frequency in its context is ``positive``."""
    return min(max((share * positive + _HALF) >> PRECISION, 1), share - 1)


@inlined
def _sign_shares(share, kind, signs):
    """:func:`sign_share` for 16 tokens, whose signs have the contexts ``kind``."""
    one = fill(np.int32(1))
    positive = fill(signs[0])
    for context in range(1, SIGN_CONTEXTS):
        positive = chosen(at_least(kind, fill(np.int32(context))), fill(signs[TOKENS * context]), positive)
    part = shift_right_bits(add(multiply_integers(share, positive), fill(np.int32(_HALF))), PRECISION)
    return smallest(largest(part, one), subtract(share, one))


@inner
def take_coefficients(coder, first, count, at, plane, row, signs, base, most):
    """One group of coefficients: entries ``first`` to ``first + count`` of a row, written to ``plane[row:]``.

    ``signs`` points at the frequencies of the first context of their signs, ``base`` is added to values above 0.
    Returns the place of the next word, -1 for a magnitude above ``most``.
    """
    entries, line = advance(coder.entries, first), advance(plane, row)
    if count < _FEW:
        at, most_of_all = _take_few(coder, count, at, entries, line, signs, base)
    else:
        at, most_of_all = _take_many(coder, count, at, entries, line, signs, base)
    if most_of_all <= most:
        return at
    # Something is out of range, or has raw bits.
    return _take_raw_parts(coder, first, count, at, plane, row, base, most)


@inlined
def _take_few(coder, count, at, entries, line, signs, base):
    """:func:`take_coefficients` one by one; the place of the next word, and the largest magnitude or symbol."""
    most_of_all = np.int64(0)
    for index in range(count):
        entry, state = np.int64(entries[index]), np.int64(coder.states[index])
        context, slot = entry & CONTEXT_MASK, state & _SLOT
        token = count_of(at_least(fill(np.int32(slot)), load(coder.starts, TOKENS * context))) - 1
        symbol = np.int64(coder.symbols[TOKENS * context + token])
        share, over = (symbol >> SHARE_SHIFT) & START_MASK, slot - (symbol & START_MASK)
        # Without branches, as no processor can predict them: a coefficient of 0 has a positive sign for certain.
        some = np.int64(token > 0)
        positive = np.int64(signs[TOKENS * ((entry >> SIGN_SHIFT) & SIGN_MASK)])
        split = share + some * (sign_share(share, positive) - share)
        negative = np.int64(over >= split)
        size = split + negative * (share - 2 * split)
        state, at = _renewed(size * (state >> PRECISION) + over - negative * split, coder.words, at)
        magnitude = token + some * base
        value = np.int32((magnitude ^ -negative) + negative)
        coder.states[index], coder.tokens[index] = np.uint32(state), np.int32(token)
        coder.found[index], coder.values[index] = np.int32(symbol), value
        most_of_all = max(most_of_all, magnitude, symbol & UNFINISHED)
        line[entry >> COLUMN_SHIFT] = value
    return at, most_of_all


@inlined
def _take_many(coder, count, at, entries, line, signs, base):
    """The same as :func:`_take_few`, twice as fast from 8 or so on.

    The search has to be done one by one, and so has taking words; what lies between is done for 16 at once.
    """
    for index in range(count):
        context, slot = np.int64(entries[index]) & CONTEXT_MASK, np.int64(coder.states[index]) & _SLOT
        token = count_of(at_least(fill(np.int32(slot)), load(coder.starts, TOKENS * context))) - 1
        coder.tokens[index] = np.int32(token)
        coder.found[index] = coder.symbols[TOKENS * context + token]
    zero, one = fill(np.int32(0)), fill(np.int32(1))
    most_of_all = zero
    for index in range(0, count, LANES):
        states, tokens = load(coder.states, index), load(coder.tokens, index)
        symbols = first_only(load(coder.found, index), count - index)
        share = both(shift_right(symbols, SHARE_SHIFT), fill(np.int32(START_MASK)))
        over = subtract(both(states, fill(np.int32(_SLOT))), both(symbols, fill(np.int32(START_MASK))))
        kind = both(shift_right(load(entries, index), SIGN_SHIFT), fill(np.int32(SIGN_MASK)))
        some = at_least(tokens, one)
        # A coefficient of 0 has a positive sign for certain.
        split = chosen(some, _sign_shares(share, kind, signs), share)
        negative = at_least(over, split)
        size = chosen(negative, subtract(share, split), split)
        step = multiply_integers(size, shift_right_bits(states, PRECISION))
        store_first(coder.states, index, add(step, subtract(over, only(negative, split))), count - index)
        magnitude = only(some, add(tokens, fill(np.int32(base))))
        store(coder.values, index, chosen(negative, subtract(zero, magnitude), magnitude))
        most_of_all = largest_bits(most_of_all, first_only(magnitude, count - index))
        most_of_all = largest_bits(most_of_all, both(symbols, fill(np.int32(UNFINISHED))))
    for index in range(count):
        state, at = _renewed(np.int64(coder.states[index]), coder.words, at)
        coder.states[index] = np.uint32(state)
        line[np.int64(entries[index]) >> COLUMN_SHIFT] = coder.values[index]
    return at, np.int64(largest_lane(most_of_all))


@inner
def _take_raw_parts(coder, first, count, at, plane, row, base, most):
    """The raw bits of those coefficients of a group that have any; returns as :func:`take_coefficients`."""
    entries, largest_ = coder.entries, np.int64(0)
    unfinished = 0
    for index in range(count):
        coder.unfinished[unfinished] = index
        unfinished += np.int64(coder.found[index] >= UNFINISHED)
        largest_ = max(largest_, abs(np.int64(coder.values[index])))
    for number in range(unfinished):
        index = coder.unfinished[number]
        shift = coder.shifts[np.int64(entries[first + index]) & CONTEXT_MASK]
        coder.raw[index], at = take_raw(coder, index, shift, at)
    at = _take_ranges(coder, unfinished, at)
    for number in range(unfinished):
        index = coder.unfinished[number]
        entry = np.int64(entries[first + index])
        shift, place = coder.shifts[entry & CONTEXT_MASK], row + (entry >> COLUMN_SHIFT)
        magnitude = ((np.int64(coder.tokens[index]) - 1) << shift) + coder.raw[index] + 1 + base
        largest_ = max(largest_, magnitude)
        plane[place] = np.int32(-magnitude if plane[place] < 0 else magnitude)
    return at if largest_ <= most else -1


@inner
def take_flags(coder, count, together, at, contexts, flags):
    """``count`` flags in groups of ``together``; returns the place of the next word, -1 for a token that is no flag."""
    most = 0
    for first in range(0, count, together):
        for index in range(min(together, count - first)):
            token, at = take_token(coder, index, contexts[first + index], at)
            flags[first + index] = token
            most = max(most, token)
    return at if most <= 1 else -1


@inner
def take_value(coder, context, at):
    """One value without a sign, a group of its own; returns it, and the place of the next word."""
    token, at = take_token(coder, 0, context, at)
    if token == 0:
        return 0, at
    coder.tokens[0], coder.unfinished[0] = np.int32(token), 0
    shift = coder.shifts[context]
    low, at = take_raw(coder, 0, shift, at)
    at = _take_ranges(coder, 1, at)
    return ((np.int64(coder.tokens[0]) - 1) << shift) + low + 1, at
