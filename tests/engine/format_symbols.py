"""What an encoder for tests does with the symbols of a segment: records them, fits tables, writes rANS backwards."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log2

import numpy as np
from format_entropy import (
    CERTAINLY,
    EXTRA_BITS,
    HAZARDS,
    KINDS,
    VALUES,
    Table,
    split,
    table_of_flags,
    table_of_values,
)


@dataclass(frozen=True)
class Choices:
    """What an encoder is free to choose for a segment.

    Attributes:
        k: of all tables (more where values need it); None: the least that the values of a run allow.
        hazards: levels per table.
        shared: contexts per table, at most; a table is of one kind.
        counted: write the length of a run as a number even if it is all that is left.
        certain: use level 63 where no higher token occurs.
        explicit: code tiles that hold nothing.
    """

    scale: int = 0
    interleaved: int = 1
    k: int | None = None
    hazards: int = 15
    shared: int = 1
    counted: bool = False
    certain: bool = True
    explicit: bool = False


@dataclass(frozen=True)
class Group:
    """Symbols that are coded together: flags, or values with the contexts of their signs, if they have signs."""

    contexts: list[int]
    wanted: list[int]
    signs: list[int] | None = None

    def with_contexts(self, contexts: range) -> list[int]:
        """The flags, values and signs (1: negative) that were coded in these contexts."""
        found = [value for context, value in zip(self.contexts, self.wanted, strict=True) if context in contexts]
        if self.signs:
            signs = zip(self.signs, self.wanted, strict=True)
            found += [int(value < 0) for context, value in signs if value != 0 and context in contexts]
        return found


class Recorder:
    """Stands where the entropy decoder stands: writes down what it is asked for."""

    def __init__(self, interleaved: int) -> None:
        self.interleaved = interleaved
        self.groups: list[Group] = []

    def flags(self, contexts: list[int], wanted: list[int]) -> list[int]:
        for start in range(0, len(contexts), self.interleaved):
            group = slice(start, start + self.interleaved)
            self.groups.append(Group(contexts[group], wanted[group]))
        return wanted

    def values(self, contexts: list[int], signs: list[int], wanted: list[int]) -> list[int]:
        for start in range(0, len(contexts), self.interleaved):
            group = slice(start, start + self.interleaved)
            self.groups.append(Group(contexts[group], wanted[group], signs[group]))
        return wanted


def token_of(value: int, k: int) -> tuple[int, list[tuple[int, int]]]:
    """A value's token, and the (bits, count) after its k low bits."""
    if value == 0:
        return 0, []
    u = (abs(value) - 1) >> k
    if u < 12:
        return u + 1, []
    token = 13 if u < 16 else 14 if u < 32 else 15
    base, counts = EXTRA_BITS[token]
    u -= base
    assert u < 1 << sum(counts), "k too small"
    extra = []
    for count in counts:
        extra.append((u & ((1 << count) - 1), count))
        u >>= count
    return token, extra


def hazard_level(reaching: int, equal: int, choices: Choices) -> int:
    """The level nearest to the share of ``equal`` in ``reaching``."""
    if reaching == equal and choices.certain:
        return CERTAINLY
    share = min(max(65536 * equal / max(1, reaching), 1), 65535)
    return min(
        range(63),
        key=lambda level: abs(log2(HAZARDS[level] / share)) + abs(log2((65536 - HAZARDS[level]) / (65536 - share))),
    )


def fitted(groups: list[Group], contexts: range, choices: Choices) -> tuple[int, list[int]]:
    """k and hazard levels for the values that these contexts have."""
    values = [value for group in groups for value in group.with_contexts(contexts)]
    largest = max(map(abs, values), default=0)
    least = max(0, ((largest - 1) // (32 + (1 << 18))).bit_length())
    k = least if choices.k is None else max(least, choices.k)
    tokens = [token_of(value, k)[0] for value in values]
    levels = []
    for index in range(choices.hazards):
        stop = 15 if index == choices.hazards - 1 else index + 1
        reaching = sum(min(token, stop - 1) - index + 1 for token in tokens if token >= index)
        equal = sum(index <= token < stop for token in tokens)
        levels.append(hazard_level(reaching, equal, choices))
    return k, levels


def fitted_flags(groups: list[Group], contexts: range, choices: Choices) -> int:
    flags = [flag for group in groups for flag in group.with_contexts(contexts)]
    return hazard_level(len(flags), flags.count(0), choices)


def pack(fields: list[tuple[int, int]]) -> bytes:
    held = length = 0
    for value, bits in fields:
        held |= value << length
        length += bits
    return held.to_bytes(-(-length // 8), "little")


def run_fields(run: int, left: int, choices: Choices) -> list[tuple[int, int]]:
    if run == 1:
        return [(1, 1)]
    if run == left and not choices.counted:
        return [(0, 1), (1, 1)]
    low_bits = (run - 1).bit_length() - 1
    return [(0, 2), (0, low_bits), (1, 1), (run - 1 - (1 << low_bits), low_bits)]


def tables_of(groups: list[Group], first: int, choices: Choices) -> tuple[bytes, dict[int, Table]]:
    fields: list[tuple[int, int]] = []
    tables = {}
    for kind, end in pairwise(KINDS):
        for start in range(max(kind, first), end, choices.shared):
            contexts = range(start, min(end, start + choices.shared))
            if kind in VALUES:
                k, levels = fitted(groups, contexts, choices)
                fields += [(k, 4), (len(levels) - 1, 4), *((level, 6) for level in levels)]
                table = table_of_values(k, levels)
            else:
                level = fitted_flags(groups, contexts, choices)
                table = table_of_flags(level)
                fields.append((level, 6))
            fields += run_fields(len(contexts), end - start, choices)
            tables |= dict.fromkeys(contexts, table)
    return pack(fields), tables


def symbols_of(groups: list[Group], tables: dict[int, Table]) -> list[tuple[int, int, int, int]]:
    """(state, start, frequency, 0) of tokens and (state, bits, 0, count) of raw bits, in the decoder's order."""
    symbols = []

    for group in groups:
        shifts = [0 if group.signs is None else tables[context].k for context in group.contexts]
        coded = [token_of(value, k) for value, k in zip(group.wanted, shifts, strict=True)]
        for i, (context, (token, _)) in enumerate(zip(group.contexts, coded, strict=True)):
            start, size = tables[context].starts[token], tables[context].frequencies[token]
            assert size > 0, "a token that its table does not have"
            if group.signs and token > 0:
                positive = split(size, tables[group.signs[i]])
                start, size = (start + positive, size - positive) if group.wanted[i] < 0 else (start, positive)
            symbols.append((i, start, size, 0))
        if group.signs is None:
            continue
        for i, (value, k) in enumerate(zip(group.wanted, shifts, strict=True)):
            if value != 0 and k > 0:
                symbols.append((i, (abs(value) - 1) & ((1 << k) - 1), 0, k))
        for phase in (0, 1):
            symbols += [(i, *_raw(extra[phase])) for i, (_, extra) in enumerate(coded) if len(extra) > phase]
    return symbols


def _raw(bits: tuple[int, int]) -> tuple[int, int, int]:
    return bits[0], 0, bits[1]


def rans(symbols: list[tuple[int, int, int, int]], interleaved: int) -> bytes:
    states, words = [1 << 16] * interleaved, []
    for i, start, frequency, bits in reversed(symbols):
        state = states[i]
        if state >= (frequency << 20 if frequency else 1 << (32 - bits)):
            words.append(state & 0xFFFF)
            state >>= 16
        states[i] = (state // frequency << 12) + state % frequency + start if frequency else state << bits | start
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()
