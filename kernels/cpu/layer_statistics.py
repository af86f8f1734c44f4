"""Choose the tables of a segment: shifts and hazard levels that make tables and symbols together short."""

from __future__ import annotations

import numpy as np

from wavestream.kernels.cpu.compiler import entry, inner
from wavestream.kernels.cpu.layer_symbols import BEGINS, PLAIN, SIGNED, symbol_pointers
from wavestream.kernels.cpu.layer_tables import set_table, write_table
from wavestream.kernels.cpu.layer_workspace import coder_of
from wavestream.kernels.layers import (
    BITS_OF_RANGE,
    CERTAIN,
    CONTEXTS,
    FIRST_OF_RANGE,
    HAZARDS,
    IS_VALUE,
    KINDS,
    LARGEST_SHIFT,
    TOKENS,
)

_RANGES = np.array(FIRST_OF_RANGE, dtype=np.int64)
_BITS = np.array(BITS_OF_RANGE, dtype=np.int64)
_PLAIN_TOKENS = FIRST_OF_RANGE[0]
_BEYOND = FIRST_OF_RANGE[2] + (1 << BITS_OF_RANGE[2])
_PROBABILITIES = HAZARDS / 65536.0
_BITS_IF, _BITS_IF_NOT = -np.log2(_PROBABILITIES), -np.log2(1.0 - _PROBABILITIES)
# Bits of a table besides its hazard levels: shift, count, and about two for the number of contexts.
_TABLE_BITS, _LEVEL_BITS, _FLAG_TABLE_BITS = 10.0, 6.0, 8.0
# Values up to three times this, less the shift, have tokens of their own.
_FEW = 3


@inner
def token_of(value, shift):
    """Token of a value, its raw bits within a range, and how many these are."""
    if value == 0:
        return 0, 0, 0
    u = (value - 1) >> shift
    if u < _PLAIN_TOKENS:
        return u + 1, 0, 0
    which = 0
    while which < 2 and u >= _RANGES[which + 1]:
        which += 1
    return _PLAIN_TOKENS + 1 + which, u - _RANGES[which], _BITS[which]


@inner
def _level_of(hits, among):
    """The hazard level nearest to ``hits`` out of ``among``."""
    if hits == among:
        return CERTAIN if among else 0
    if hits == 0:
        return 0
    odds = np.log(hits / (among - hits))
    return min(max(np.int64(np.round(4.0 * (odds + 8.0))), 0), CERTAIN - 1)


@inner
def _bits_of(hits, among, level):
    return 0.0 if level == CERTAIN else hits * _BITS_IF[level] + (among - hits) * _BITS_IF_NOT[level]


@inner
def _best_table(histogram, is_value, levels):
    """The hazard levels that code 16 counts in the fewest bits, their own included: how many, and the bits."""
    if not is_value:
        both = histogram[0] + histogram[1]
        levels[0] = _level_of(histogram[0], both)
        return 1, _bits_of(histogram[0], both, levels[0]) + _FLAG_TABLE_BITS
    rest = 0
    for token in range(TOKENS):
        rest += histogram[token]
    # What is left from each token on, and how often these tokens are passed over in all.
    before, best, best_count = 0.0, np.inf, 1
    for count in range(1, TOKENS):
        hits = among = 0
        left = rest
        for token in range(count - 1, TOKENS - 1):
            hits += histogram[token]
            among += left
            left -= histogram[token]
        bits = before + _bits_of(hits, among, _level_of(hits, among)) + _TABLE_BITS + _LEVEL_BITS * count
        if bits < best:
            best, best_count = bits, count
        level = _level_of(histogram[count - 1], rest)
        before += _bits_of(histogram[count - 1], rest, level)
        rest -= histogram[count - 1]
        if rest == 0:
            break
    rest = 0
    for token in range(TOKENS):
        rest += histogram[token]
    hits = among = 0
    for token in range(TOKENS - 1):
        if token < best_count - 1:
            levels[token] = _level_of(histogram[token], rest)
        else:
            hits += histogram[token]
            among += rest
        rest -= histogram[token]
    levels[best_count - 1] = _level_of(hits, among)
    return best_count, best


@inner
def _choose_shifts(symbols, count, shifts):
    """A shift for each context after the mean of its values; returns the raw bits that this takes."""
    sums, many, most = np.zeros(CONTEXTS), np.zeros(CONTEXTS), np.zeros(CONTEXTS, np.int64)
    for index in range(count):
        value, kind = abs(np.int64(symbols.values[index])), symbols.kinds[index] & (BEGINS - 1)
        if kind != PLAIN and value:
            context = np.int64(symbols.contexts[index])
            sums[context] += value - 1
            many[context] += 1
            most[context] = max(most[context], value - 1)
    raw = 0.0
    for context in range(CONTEXTS):
        shift, mean = 0, sums[context] / max(many[context], 1.0)
        while shift < LARGEST_SHIFT and mean >= 2 * _FEW << shift:
            shift += 1
        while most[context] >> shift >= _BEYOND:
            shift += 1
        shifts[context] = shift
        raw += many[context] * shift
    return raw


@inner
def _choose_runs(first, last, is_value, histograms, shifts, levels, out, bit, coder):
    """Tables for the contexts ``first`` to ``last``, neighbours sharing one where that is shorter.

    Returns the bit after them, and about how many bits tables and symbols take.
    """
    begin, total = first, 0.0
    merged, sum_, cost = np.zeros(TOKENS, np.int64), np.zeros(TOKENS, np.int64), 0.0
    for context in range(first, last + 1):
        joins = context < last
        if joins and histograms[context].sum() and merged.sum():
            for token in range(TOKENS):
                sum_[token] = merged[token] + histograms[context, token]
            _, alone = _best_table(histograms[context], is_value, levels)
            _, together = _best_table(sum_, is_value, levels)
            joins = shifts[context] == shifts[begin] and together <= cost + alone
        if joins:
            if not merged.sum():
                shifts[begin] = shifts[context]
            for token in range(TOKENS):
                merged[token] += histograms[context, token]
            shifts[context] = shifts[begin]
            _, cost = _best_table(merged, is_value, levels)
            continue
        number, cost = _best_table(merged, is_value, levels)
        total += cost
        bit = write_table(out, bit, is_value, shifts[begin], levels, number, context - begin, last - begin)
        for other in range(begin, context):
            set_table(is_value, levels, number, coder.starts, coder.frequencies, TOKENS * other)
        if context < last:
            begin = context
            for token in range(TOKENS):
                merged[token] = histograms[context, token]
            _, cost = _best_table(merged, is_value, levels)
    return bit, total


@entry
def choose_tables(symbols, count, first_context, out, work):
    """Tables for ``count`` symbols, written as bits into ``out`` and as frequencies into ``work``.

    Returns how many bits the tables take, and about how many bits tables and symbols take together.
    """
    coder, shifts, levels = coder_of(work), work.shifts, work.levels
    listed = symbol_pointers(symbols)
    total = _choose_shifts(listed, count, shifts)
    histograms = np.zeros((CONTEXTS, TOKENS), np.int64)
    for index in range(count):
        context, value = np.int64(listed.contexts[index]), abs(np.int64(listed.values[index]))
        if listed.kinds[index] & (BEGINS - 1) == PLAIN:
            histograms[context, value] += 1
        else:
            token, _, bits = token_of(value, shifts[context])
            histograms[context, token] += 1
            if token and listed.kinds[index] & (BEGINS - 1) == SIGNED:
                histograms[np.int64(listed.signs[index]), np.int64(listed.values[index] < 0)] += 1
            total += bits
    bit = 0
    for kind in range(len(KINDS) - 1):
        if KINDS[kind] >= first_context:
            bit, cost = _choose_runs(
                KINDS[kind], KINDS[kind + 1], IS_VALUE[kind], histograms, shifts, levels, out, bit, coder
            )
            total += cost
    return bit, total
