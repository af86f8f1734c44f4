"""Reading symbols: interleaved rANS states in groups (``docs/format.md``, section 5; Duda, arXiv:1311.2540).

Within a group no state waits for another, so the processor works on several at once; the only thing passed on from one
symbol to the next is the place of the next word.
"""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner
from wavestream.kernels.cpu.lanes import at_least, count_of, fill
from wavestream.kernels.cpu.layer_contexts import COLUMN_SHIFT, CONTEXT_MASK, SIGN_MASK, SIGN_SHIFT
from wavestream.kernels.cpu.memory import load
from wavestream.kernels.layers import BITS_OF_RANGE, FIRST_OF_RANGE, LOWEST_STATE, PRECISION, TOKENS

_SLOT = (1 << PRECISION) - 1
_WHOLE = 1 << PRECISION
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
    """The raw bits of tokens that stand for ranges: replaces each token by the ``u`` it stands for, plus 1."""
    for index in range(count):
        token = coder.tokens[index]
        if token > _PLAIN_TOKENS:
            more, at = take_raw(coder, index, _SHORT_BITS[token - _PLAIN_TOKENS - 1], at)
            # Tokens from 16 on are taken for those of 15, with what is known of them so far.
            coder.tokens[index] = _RANGES[token - _PLAIN_TOKENS - 1] + more + 1
            if token == _LONGEST:
                coder.tokens[index] = -1 - more
    for index in range(count):
        if coder.tokens[index] < 0:
            more, at = take_raw(coder, index, _LONG_BITS, at)
            low = -1 - coder.tokens[index]
            coder.tokens[index] = _RANGES[2] + low + (more << _LONG_BITS) + 1
    return at


@inlined
def _take_sign(coder, index, context, certain, at):
    """The next sign of state ``index``, 0 where that is ``certain``; and the place of the next word."""
    state = coder.states[index]
    slot = state & _SLOT
    share = _WHOLE if certain else np.int64(coder.frequencies[TOKENS * context])
    negative = slot >= share
    start, size = (share, _WHOLE - share) if negative else (0, share)
    state, at = _renewed(size * (state >> PRECISION) + slot - start, coder.words, at)
    coder.states[index] = state
    return np.int64(negative), at


@inner
def take_coefficients(coder, first, count, at, plane, row, sign, base, most):
    """One group of coefficients: entries ``first`` to ``first + count`` of a row, written to ``plane[row:]``.

    ``sign`` is the first context of their signs, ``base`` is added to values above 0. Returns the place of the next
    word, -1 for a magnitude above ``most``.
    """
    entries = coder.entries
    shifted = np.int64(0)
    for index in range(count):
        context = np.int64(entries[first + index]) & CONTEXT_MASK
        token, at = take_token(coder, index, context, at)
        coder.tokens[index] = token
        shifted |= coder.shifts[context] | np.int64(token > _PLAIN_TOKENS)
    for index in range(count):
        context = sign + ((np.int64(entries[first + index]) >> SIGN_SHIFT) & SIGN_MASK)
        coder.signs[index], at = _take_sign(coder, index, context, coder.tokens[index] == 0, at)
    largest = np.int64(0)
    if not shifted:
        for index in range(count):
            token = coder.tokens[index]
            magnitude = token + base if token else 0
            largest = max(largest, magnitude)
            column = np.int64(entries[first + index]) >> COLUMN_SHIFT
            plane[row + column] = np.int32(-magnitude if coder.signs[index] else magnitude)
        return at if largest <= most else -1
    for index in range(count):
        shift = coder.shifts[np.int64(entries[first + index]) & CONTEXT_MASK]
        coder.raw[index], at = take_raw(coder, index, shift if coder.tokens[index] > 0 else 0, at)
    at = _take_ranges(coder, count, at)
    for index in range(count):
        entry = np.int64(entries[first + index])
        token = coder.tokens[index]
        magnitude = ((token - 1) << coder.shifts[entry & CONTEXT_MASK]) + coder.raw[index] + 1 + base if token else 0
        largest = max(largest, magnitude)
        plane[row + (entry >> COLUMN_SHIFT)] = np.int32(-magnitude if coder.signs[index] else magnitude)
    return at if largest <= most else -1


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
    coder.tokens[0] = token
    shift = coder.shifts[context]
    low, at = take_raw(coder, 0, shift, at)
    at = _take_ranges(coder, 1, at)
    return ((coder.tokens[0] - 1) << shift) + low + 1, at
