"""Reading symbols: interleaved rANS states in groups (``docs/format.md``, section 5; Duda, arXiv:1311.2540).

Within a group no state waits for another, so the processor works on several at once; the only thing passed on from one
symbol to the next is the place of the next word.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner
from wavestream.kernels.cpu.lanes import at_least, count_of, fill
from wavestream.kernels.cpu.layer_contexts import COLUMN_SHIFT, CONTEXT_MASK, SIGN_MASK, SIGN_SHIFT
from wavestream.kernels.cpu.layer_tables import SHARE_SHIFT, START_MASK, SYMBOLS_AT, UNFINISHED_SHIFT
from wavestream.kernels.cpu.memory import advance, load
from wavestream.kernels.layers import BITS_OF_RANGE, FIRST_OF_RANGE, LOWEST_STATE, MOST_STATES, PRECISION, TOKENS

# Where the tokens and the unfinished of a group lie, after its states.
TOKENS_AT, UNFINISHED_AT, RAW_AT = MOST_STATES, 2 * MOST_STATES, 3 * MOST_STATES + 1
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
    state = coder.states[index]
    slot = state & _SLOT
    token = count_of(at_least(fill(np.int32(slot)), load(coder.starts, TOKENS * context))) - 1
    place = TOKENS * context + token
    state = np.int64(coder.frequencies[place]) * (state >> PRECISION) + slot - np.int64(coder.starts[place])
    state, at = _renewed(state, coder.words, at)
    coder.states[index] = state
    return token, at


@inlined
def take_raw(coder, index, bits, at):
    """The next ``bits`` raw bits of state ``index``; returns them, and the place of the next word."""
    state = coder.states[index]
    value = state & ((1 << bits) - 1)
    state, at = _renewed(state >> bits, coder.words, at)
    coder.states[index] = state
    return value, at


@inlined
def _take_ranges(coder, count, at):
    """The raw bits of those of ``count`` unfinished tokens that stand for ranges: they become ``u + 1``."""
    longest = 0
    for number in range(count):
        index = coder.unfinished[number]
        token = coder.tokens[index]
        if token > _PLAIN_TOKENS:
            which = token - _PLAIN_TOKENS - 1
            more, at = take_raw(coder, index, _SHORT_BITS[which], at)
            # Half known, those of the longest range wait as negative numbers.
            coder.tokens[index] = -1 - more if token == _LONGEST else _RANGES[which] + more + 1
            longest |= np.int64(token == _LONGEST)
    if longest:
        for number in range(count):
            index = coder.unfinished[number]
            if coder.tokens[index] < 0:
                more, at = take_raw(coder, index, _LONG_BITS, at)
                coder.tokens[index] = _RANGES[2] - coder.tokens[index] + (more << _LONG_BITS)
    return at


@inlined
def sign_share(share, positive):
    """The part of a token's frequency that is a positive sign's, whose own frequency in its context is ``positive``."""
    return min(max((share * positive + _HALF) >> PRECISION, 1), share - 1)


@inner
def take_coefficients(coder, first, count, at, plane, row, signs, base, most):
    """One group of coefficients: entries ``first`` to ``first + count`` of a row, written to ``plane[row:]``.

    ``signs`` points at the frequencies of the first context of their signs, ``base`` is added to values above 0.
    Returns the place of the next word, -1 for a magnitude above ``most``.
    """
    # Pointers that lie at fixed distances from one another leave registers free.
    states, starts = coder.states, coder.starts
    tokens, waiting = advance(states, TOKENS_AT), advance(states, UNFINISHED_AT)
    symbols, entries, line = advance(starts, SYMBOLS_AT), advance(coder.entries, first), advance(plane, row)
    largest, unfinished = np.int64(0), 0
    for index in range(count):
        entry, state = np.int64(entries[index]), states[index]
        context, slot = entry & CONTEXT_MASK, state & _SLOT
        token = count_of(at_least(fill(np.int32(slot)), load(starts, TOKENS * context))) - 1
        symbol = np.int64(symbols[TOKENS * context + token])
        share, over = (symbol >> SHARE_SHIFT) & START_MASK, slot - (symbol & START_MASK)
        # Without branches, as no processor can predict them: a coefficient of 0 has a positive sign for certain.
        some = np.int64(token > 0)
        positive = np.int64(signs[TOKENS * ((entry >> SIGN_SHIFT) & SIGN_MASK)])
        split = share + some * (sign_share(share, positive) - share)
        negative = np.int64(over >= split)
        size = split + negative * (share - 2 * split)
        state, at = _renewed(size * (state >> PRECISION) + over - negative * split, coder.words, at)
        states[index], tokens[index], waiting[unfinished] = state, token, index
        largest = max(largest, token)
        magnitude = token + some * base
        unfinished += symbol >> UNFINISHED_SHIFT
        line[entry >> COLUMN_SHIFT] = np.int32((magnitude ^ -negative) + negative)
    largest += base
    if unfinished:
        most_of_these, at = _take_raw_parts(coder, first, unfinished, at, plane, row, base)
        largest = max(largest, most_of_these)
    return at if largest <= most else -1


@inner
def _take_raw_parts(coder, first, count, at, plane, row, base):
    """The raw bits of ``count`` unfinished coefficients; returns their largest magnitude, the next word's place."""
    entries, largest = coder.entries, np.int64(0)
    for number in range(count):
        index = coder.unfinished[number]
        shift = coder.shifts[np.int64(entries[first + index]) & CONTEXT_MASK]
        coder.raw[index], at = take_raw(coder, index, shift, at)
    at = _take_ranges(coder, count, at)
    for number in range(count):
        index = coder.unfinished[number]
        entry = np.int64(entries[first + index])
        shift, place = coder.shifts[entry & CONTEXT_MASK], row + (entry >> COLUMN_SHIFT)
        magnitude = ((coder.tokens[index] - 1) << shift) + coder.raw[index] + 1 + base
        largest = max(largest, magnitude)
        plane[place] = np.int32(-magnitude if plane[place] < 0 else magnitude)
    return largest, at


@inner
def take_flags(coder, count, together, at, contexts, flags):
    """``count`` flags in groups of ``together``; returns the place of the next word, -1 for a token that is no flag."""
    largest = 0
    for first in range(0, count, together):
        for index in range(min(together, count - first)):
            token, at = take_token(coder, index, contexts[first + index], at)
            flags[first + index] = token
            largest = max(largest, token)
    return at if largest <= 1 else -1


@inner
def take_value(coder, context, at):
    """One value without a sign, a group of its own; returns it, and the place of the next word."""
    token, at = take_token(coder, 0, context, at)
    if token == 0:
        return 0, at
    coder.tokens[0], coder.unfinished[0] = token, 0
    shift = coder.shifts[context]
    low, at = take_raw(coder, 0, shift, at)
    at = _take_ranges(coder, 1, at)
    return ((coder.tokens[0] - 1) << shift) + low + 1, at
