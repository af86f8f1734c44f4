"""Sections 4 and 5 of docs/format.md: tables of tokens, and the rANS states that read with them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from math import exp

from format_stream import Reader, require

# The first context of each kind, and one past the last of all; those of kinds in VALUES have whole tables.
LL_FLAGS, LL_SIGNS, LL_VALUES, BLOCK_FLAGS, SIGNS, COEFFICIENTS, CONTEXTS = KINDS = (0, 9, 12, 16, 43, 53, 117)
VALUES = (LL_VALUES, COEFFICIENTS)
HAZARDS = [round(65536 / (1 + exp(8 - level / 4))) for level in range(63)]
CERTAINLY = 63
EXTRA_BITS = {13: (12, (2,)), 14: (16, (4,)), 15: (32, (9, 9))}


class BitReader:
    """Bits from the lowest of each byte up."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.held, self.count = reader, 0, 0

    def take(self, bits: int) -> int:
        value = 0
        for place in range(bits):
            if self.count == 0:
                self.held, self.count = self.reader.take(1)[0], 8
            value |= (self.held & 1) << place
            self.held, self.count = self.held >> 1, self.count - 1
        return value

    def run(self, left: int) -> int:
        """How many of the ``left`` contexts of a kind have a table."""
        if self.take(1):
            return 1
        if self.take(1):
            return left
        zeros = 0
        while self.take(1) == 0:
            zeros += 1
            require(zeros < 7, "a run of more contexts than there are")
        run = 1 + (1 << zeros | self.take(zeros))
        require(run <= left, "a run of more contexts than there are")
        return run


@dataclass(frozen=True)
class Table:
    """Frequencies of 16 tokens; of flags all but two are 0, and so is k."""

    frequencies: tuple[int, ...]
    k: int = 0

    @property
    def starts(self) -> list[int]:
        return [sum(self.frequencies[:token]) for token in range(16)]


def share(whole: int, level: int) -> int:
    """What hazard ``level`` leaves of ``whole``."""
    return (whole * (65536 if level == CERTAINLY else HAZARDS[level]) + 32768) >> 16


def table_of_values(k: int, levels: list[int]) -> Table:
    frequencies, rest = [0] * 16, 4096
    for token in range(15):
        level = levels[min(token, len(levels) - 1)]
        if level == CERTAINLY:
            frequencies[token] = rest
            return Table(tuple(frequencies), k)
        least = 1 if token == 0 else 2
        frequencies[token] = min(max(share(rest, level), least), rest - 2 * (15 - token))
        rest -= frequencies[token]
    frequencies[15] = rest
    return Table(tuple(frequencies), k)


def table_of_flags(level: int) -> Table:
    zero = min(max(share(4096, level), 1), 4095)
    return Table((zero, 4096 - zero, *[0] * 14))


def split(size: int, sign: Table) -> int:
    """How much of a token's frequency is for the positive sign."""
    return min(max((size * sign.frequencies[0] + 2048) >> 12, 1), size - 1)


def read_tables(reader: Reader, first: int) -> dict[int, Table]:
    """The table of every context from ``first`` on, the first of a kind."""
    bits, tables = BitReader(reader), {}
    for kind, end in pairwise(KINDS):
        context = max(kind, first)
        while context < end:
            table = read_value_table(bits) if kind in VALUES else table_of_flags(bits.take(6))
            run = bits.run(end - context)
            tables |= dict.fromkeys(range(context, context + run), table)
            context += run
    return tables


def read_value_table(bits: BitReader) -> Table:
    k, hazards = bits.take(4), bits.take(4) + 1
    require(hazards <= 15, "16 hazard levels")
    return table_of_values(k, [bits.take(6) for _ in range(hazards)])


class TileDecoder:
    """The entropy decoder. ``symbols`` is what the scan below asks for its flags, signs and values."""

    def __init__(self, data: bytes, tables: dict[int, Table], interleaved: int) -> None:
        require(len(data) >= 4 * interleaved and len(data) % 2 == 0, f"a tile of {len(data)} bytes")
        self.tables, self.interleaved = tables, interleaved
        self.states = list(struct.unpack_from(f"<{interleaved}I", data))
        self.words = list(struct.unpack(f"<{len(data) // 2 - 2 * interleaved}H", data[4 * interleaved :]))[::-1]
        require(min(self.states) >= 1 << 16, "a state below 2^16")

    def _set(self, i: int, state: int) -> None:
        if state < 1 << 16:
            require(len(self.words) > 0, "a word was expected")
            state = state << 16 | self.words.pop()
        self.states[i] = state

    def _token(self, i: int, table: Table, sign: Table | None = None) -> tuple[int, bool]:
        """A token, and whether its sign is negative (False without one)."""
        slot = self.states[i] % 4096
        token = max(t for t, start in enumerate(table.starts) if start <= slot and table.frequencies[t] > 0)
        start, size, negative = table.starts[token], table.frequencies[token], False
        if token > 0 and sign is not None:
            positive = split(size, sign)
            negative = slot >= start + positive
            start, size = (start + positive, size - positive) if negative else (start, positive)
        self._set(i, size * (self.states[i] >> 12) + slot - start)
        return token, negative

    def _raw(self, i: int, bits: int) -> int:
        value = self.states[i] & ((1 << bits) - 1)
        if bits > 0:
            self._set(i, self.states[i] >> bits)
        return value

    def flags(self, contexts: list[int], _wanted: list[int] | None = None) -> list[int]:
        """A 0 or 1 for each context, coded in groups: of flags, and of the signs of LL."""
        found = []
        for start in range(0, len(contexts), self.interleaved):
            group = contexts[start : start + self.interleaved]
            found += [self._token(i, self.tables[context])[0] for i, context in enumerate(group)]
        return found

    def values(self, contexts: list[int], signs: list[int], _wanted: list[int] | None = None) -> list[int]:
        """A value v, negative where its sign is, for each context, in groups; ``signs``: contexts, none for LL."""
        found: list[int] = []
        for start in range(0, len(contexts), self.interleaved):
            group = slice(start, start + self.interleaved)
            found += self._group([self.tables[context] for context in contexts[group]], signs[group])
        return found

    def _group(self, tables: list[Table], signs: list[int]) -> list[int]:
        tokens = [self._token(i, table, self.tables[signs[i]] if signs else None) for i, table in enumerate(tables)]
        coded = [(i, token) for i, (token, _) in enumerate(tokens) if token > 0]
        lows = {i: self._raw(i, tables[i].k) for i, _ in coded}
        upper = {i: EXTRA_BITS[token][0] if token > 12 else token - 1 for i, token in coded}
        for phase in (0, 1):
            for i, token in coded:
                if token > 12 and phase < len(EXTRA_BITS[token][1]):
                    upper[i] += self._raw(i, EXTRA_BITS[token][1][phase]) << (9 * phase)
        values = [0] * len(tables)
        for i, _ in coded:
            value = 1 + (upper[i] << tables[i].k) + lows[i]
            values[i] = -value if tokens[i][1] else value
        return values

    def finish(self) -> None:
        require(
            not self.words and all(state == 1 << 16 for state in self.states),
            "a tile that does not end where it should",
        )
