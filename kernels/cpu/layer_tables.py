"""Token tables: frequencies from hazard levels, and the bits that transmit them (``docs/format.md``, section 4)."""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import inlined, inner
from wavestream.kernels.layers import CERTAIN, FIRST_OF_RANGE, HAZARDS, IS_VALUE, KINDS, PRECISION, TOKENS

_WHOLE = 1 << PRECISION
# What a coefficient's token needs in one number: where its range starts, its frequency, and whether raw bits follow.
SHARE_SHIFT, START_MASK, UNFINISHED = 13, (1 << 13) - 1, 1 << 26
_PLAIN_TOKENS = FIRST_OF_RANGE[0]


@inner
def set_flag_frequencies(level, starts, frequencies, at):
    """Frequencies of the two tokens of a flag, and where each begins; as :func:`set_frequencies`."""
    share = (_WHOLE * _chance(level) + 32768) >> 16
    share = min(max(share, 1), _WHOLE - 1)
    for token in range(TOKENS):
        starts[at + token] = np.int32(_WHOLE)
        frequencies[at + token] = np.int32(0)
    starts[at], starts[at + 1] = np.int32(0), np.int32(share)
    frequencies[at], frequencies[at + 1] = np.int32(share), np.int32(_WHOLE - share)


@inlined
def _chance(level):
    return 65536 if level == CERTAIN else HAZARDS[level]


@inner
def set_frequencies(levels, count, starts, frequencies, at):
    """Frequencies of the 16 tokens of a value, and where each begins, from ``count`` hazard levels.

    Both go to index ``at`` and the 15 after it. Tokens that cannot come begin at 4096, beyond every slot. Those above 0
    have a frequency of 2 or more, so that the sign can have a part of it.
    """
    rest, place = _WHOLE, 0
    for token in range(TOKENS):
        level = np.int64(levels[min(token, count - 1)])
        share = rest
        if token < TOKENS - 1 and level != CERTAIN:
            share = (rest * HAZARDS[level] + 32768) >> 16
            share = min(max(share, 2 if token else 1), rest - 2 * (TOKENS - 1 - token))
        if rest == 0:
            share, place = 0, _WHOLE
        starts[at + token] = place
        frequencies[at + token] = share
        place += share
        rest -= share


@inner
def note_symbols(starts, frequencies, shift, symbols, at):
    """Note the tokens of one table of coefficients as ``take_coefficients`` takes them, at index ``at`` and after."""
    for token in range(TOKENS):
        unfinished = token > 0 and (shift > 0 or token > _PLAIN_TOKENS)
        start, share = np.int64(starts[at + token]), np.int64(frequencies[at + token])
        symbols[at + token] = np.int32(start | share << SHARE_SHIFT | (UNFINISHED if unfinished else 0))


@inner
def set_table(is_value, levels, count, starts, frequencies, at):
    """Frequencies of a table, and where each token begins, from ``count`` hazard levels."""
    if is_value:
        set_frequencies(levels, count, starts, frequencies, at)
    else:
        set_flag_frequencies(levels[0], starts, frequencies, at)


@inner
def take_bits(data, bit, count):
    """``count`` bits from bit number ``bit`` on, lowest first; the caller keeps within ``data``."""
    value = 0
    for index in range(count):
        here = bit + index
        value |= ((np.int64(data[here >> 3]) >> (here & 7)) & 1) << index
    return value


@inner
def _read_run(data, bit, final, rest):
    """For how many contexts, out of ``rest``, a table holds; returns it (0: damage), and the bit after it."""
    if bit + 2 > final:
        return 0, bit
    if take_bits(data, bit, 1):
        return 1, bit + 1
    if take_bits(data, bit + 1, 1):
        return rest, bit + 2
    bit += 2
    zeros = 0
    while bit < final and zeros < 7 and take_bits(data, bit, 1) == 0:
        bit += 1
        zeros += 1
    if bit + 1 + zeros > final:
        return 0, bit
    return ((1 << zeros) | take_bits(data, bit + 1, zeros)) + 1, bit + 1 + zeros


@inner
def read_tables(data, start, end, first, levels, starts, frequencies, symbols, shifts):
    """The tables of all contexts from ``first`` on, from ``data[start:end]``.

    Returns the byte after them, or -1 where they are damaged or do not fit.
    """
    bit, final = 8 * start, 8 * end
    context = first
    for kind in range(len(KINDS) - 1):
        if KINDS[kind] < first:
            continue
        while context < KINDS[kind + 1]:
            shift, count = 0, 1
            if IS_VALUE[kind]:
                if bit + 8 > final:
                    return -1
                shift, count = take_bits(data, bit, 4), take_bits(data, bit + 4, 4) + 1
                bit += 8
            if count > TOKENS - 1 or bit + 6 * count > final:
                return -1
            for index in range(count):
                levels[index] = take_bits(data, bit + 6 * index, 6)
            bit += 6 * count
            run, bit = _read_run(data, bit, final, KINDS[kind + 1] - context)
            if run == 0 or context + run > KINDS[kind + 1]:
                return -1
            for other in range(context, context + run):
                set_table(IS_VALUE[kind], levels, count, starts, frequencies, TOKENS * other)
                note_symbols(starts, frequencies, shift, symbols, TOKENS * other)
                shifts[other] = shift
            context += run
    return (bit + 7) // 8


@inner
def put_bits(data, bit, value, count):
    """Write ``count`` bits at bit number ``bit`` into bytes that are 0."""
    for index in range(count):
        here = bit + index
        data[here >> 3] |= np.uint8(((value >> index) & 1) << (here & 7))


@inner
def write_table(data, bit, is_value, shift, levels, count, run, rest):
    """Write one table for ``run`` out of ``rest`` contexts at bit number ``bit``; returns the bit after it."""
    if is_value:
        put_bits(data, bit, shift, 4)
        put_bits(data, bit + 4, count - 1, 4)
        bit += 8
    else:
        count = 1
    for index in range(count):
        put_bits(data, bit + 6 * index, np.int64(levels[index]), 6)
    bit += 6 * count
    if run == 1:
        put_bits(data, bit, 1, 1)
        return bit + 1
    if run == rest:
        put_bits(data, bit, 2, 2)
        return bit + 2
    bit += 2
    zeros = 0
    while (run - 1) >> (zeros + 1):
        zeros += 1
    bit += zeros
    put_bits(data, bit, 1, 1)
    put_bits(data, bit + 1, run - 1 - (1 << zeros), zeros)
    return bit + 1 + zeros
