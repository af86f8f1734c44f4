"""docs/format.md as a program: a second decoder of the wavestream.layers bitstream, written from the document alone.

It is slow, and shares no code with the product. Section numbers are those of the document. Arrays are (rows, cols);
those of subbands LH are transposed ("scan orientation"), as the document has it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from math import exp, sqrt

import numpy as np

DTYPES = ("uint8", "int8", "uint16", "int16", "int32")
MAGNITUDES = 1 << 22
MAX_PIXELS = 1 << 28
MAX_TILES = 1 << 16
MIN_TILE = 64
DEFAULT_FRACTIONS = (1_000, 10_000, 100_000, 1_000_000)
# The first context of each kind, and one past the last of all; those of kinds in VALUES have whole tables.
LL_FLAGS, LL_SIGNS, LL_VALUES, BLOCK_FLAGS, SIGNS, COEFFICIENTS, CONTEXTS = KINDS = (0, 9, 12, 16, 43, 53, 117)
VALUES = (LL_VALUES, COEFFICIENTS)
PARENT_STEPS = (1, 4, 12)
HAZARDS = [round(65536 / (1 + exp(8 - level / 4))) for level in range(63)]
CERTAINLY = 63
EXTRA_BITS = {13: (12, (2,)), 14: (16, (4,)), 15: (32, (9, 9))}


class Damaged(Exception):
    """The stream is not one that the document allows."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise Damaged(message)


# --- integers, bits, checksums -------------------------------------------------------------------------------------


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), RFC 3720."""
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@dataclass
class Reader:
    """Bytes and a place in them."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        require(self.at + count <= len(self.data), f"expected {count} bytes at byte {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                require(value < 1 << 32, f"a varint of {value} before byte {self.at}")
                return value
        raise Damaged(f"a varint of more than 5 bytes before byte {self.at}")


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


# --- 1. coefficients -----------------------------------------------------------------------------------------------


def norm(orientation: str, level: int) -> np.float32:
    def low0(level: int) -> float:
        return (2 * 4**level + 1) / (3 * 2**level)

    def low1(level: int) -> float:
        return (4**level - 1) / (6 * 2**level)

    if orientation == "LL":
        return np.float32(low0(level))
    high = 23 / 32 * low0(level - 1) - 5 / 8 * low1(level - 1)
    return np.float32(high if orientation == "HH" else sqrt(low0(level) * high))


def lowest_magnitude(threshold: np.float32, weight: np.float32) -> int:
    """lo: the smallest m >= 1 with float32(m) * weight >= threshold, 2^22 if none is; 0 for threshold 0."""
    if threshold == 0:
        return 0
    below, reaching = 0, MAGNITUDES
    while reaching - below > 1:
        middle = (below + reaching) // 2
        if np.float32(middle) * weight >= threshold:
            reaching = middle
        else:
            below = middle
    return reaching


def unlift(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """5/3 synthesis along axis 0, T.800 F.3.8.2.1: first the even samples, then from them the odd ones."""
    count = len(low) + len(high)
    if count == 1:
        return low.copy()
    signal = np.empty((count, *low.shape[1:]), np.int64)
    signal[0::2], signal[1::2] = low, high

    def mirrored(place: int) -> int:
        place = abs(place)
        return place if place < count else 2 * (count - 1) - place

    for place in range(0, count, 2):
        signal[place] -= (signal[mirrored(place - 1)] + signal[mirrored(place + 1)] + 2) >> 2
    for place in range(1, count, 2):
        signal[place] += (signal[mirrored(place - 1)] + signal[mirrored(place + 1)]) >> 1
    return signal


def kept(fraction: float, rows: int, cols: int) -> int:
    return max(1, round(fraction * rows * cols))


# --- 2. geometry ---------------------------------------------------------------------------------------------------


@dataclass
class Subband:
    """The coefficients of one subband that are known so far, in scan orientation."""

    orientation: str
    level: int
    rows: int
    cols: int
    values: np.ndarray = field(init=False)
    known: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.cols, self.rows) if self.orientation == "LH" else (self.rows, self.cols)
        self.values = np.zeros(shape, np.int64)
        self.known = np.zeros(shape, bool)

    @property
    def natural(self) -> np.ndarray:
        return self.values.T if self.orientation == "LH" else self.values

    @property
    def weight(self) -> np.float32:
        return norm(self.orientation, self.level)

    def part(self, tile: tuple[int, int], tile_shape: tuple[int, int]) -> tuple[slice, slice]:
        """Where a tile's part lies, in scan orientation."""
        rows, cols = (
            slice(min(index * side >> self.level, size), min((index + 1) * side >> self.level, size))
            for index, side, size in zip(tile, tile_shape, (self.rows, self.cols), strict=True)
        )
        return (cols, rows) if self.orientation == "LH" else (rows, cols)


def subbands_of(rows: int, cols: int, levels: int) -> list[Subband]:
    """LL, then HL, LH, HH of each level from coarse to fine."""
    bands: list[Subband] = []
    for level in range(1, levels + 1):
        low_rows, high_rows, low_cols, high_cols = (rows + 1) // 2, rows // 2, (cols + 1) // 2, cols // 2
        bands = [
            Subband("HL", level, low_rows, high_cols),
            Subband("LH", level, high_rows, low_cols),
            Subband("HH", level, high_rows, high_cols),
            *bands,
        ]
        rows, cols = low_rows, low_cols
    return [Subband("LL", levels, rows, cols), *bands]


# --- 3. the stream -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    rows: int
    cols: int
    dtype: np.dtype
    low: int
    high: int
    levels: int
    tile: tuple[int, int]
    fractions: tuple[int, ...]

    @property
    def reductions(self) -> int:
        """R."""
        return min(self.levels, 3)

    def segment_of(self, band: Subband) -> int:
        return 0 if band.orientation == "LL" else max(0, self.reductions + 1 - band.level)

    @property
    def tiles(self) -> list[tuple[int, int]]:
        down, across = -(-self.rows // self.tile[0]), -(-self.cols // self.tile[1])
        return [(i, j) for i in range(down) for j in range(across)]


@dataclass(frozen=True)
class Layer:
    """Where a layer lies: ``crc_at`` its checksums, ``spans`` its segments."""

    start: int
    threshold: np.float32
    crc_at: int
    spans: tuple[tuple[int, int], ...]

    def covered(self, data: bytes, segment: int) -> bytes:
        """The bytes that a segment's CRC covers."""
        body = data[slice(*self.spans[segment])]
        if segment > 0:
            return body
        return data[self.start : self.crc_at] + data[self.crc_at + 4 : self.crc_at + 4 * len(self.spans)] + body

    def check(self, data: bytes, segment: int) -> None:
        start, stop = self.spans[segment]
        require(stop <= len(data), f"segment {segment} ends at byte {stop}, there are {len(data)}")
        stored = int.from_bytes(data[self.crc_at + 4 * segment : self.crc_at + 4 * segment + 4], "little")
        require(crc32c(self.covered(data, segment)) == stored, f"wrong CRC of segment {segment} at byte {start}")


def read_header(reader: Reader) -> Header:
    require(reader.take(2) == b"WL", "no magic number at byte 0")
    version = reader.take(1)[0]
    require(version == 1, f"version {version}")
    packed = reader.take(1)[0]
    levels, code = packed & 15, packed >> 4
    require(1 <= levels <= 8, f"{levels} levels")
    require(code < len(DTYPES), f"pixel type {code}")
    rows, cols, tile_rows, tile_cols = (reader.varint() for _ in range(4))
    require(1 <= rows <= 65535 and 1 <= cols <= 65535 and rows * cols <= MAX_PIXELS, f"{rows} x {cols} pixels")
    deepest = max(1, (max(rows, cols) - 1).bit_length())
    require(levels <= deepest, f"{levels} levels of {rows} x {cols} pixels")
    zigzag, span = reader.varint(), reader.varint()
    low = -(zigzag + 1) // 2 if zigzag & 1 else zigzag // 2
    dtype = np.dtype(DTYPES[code])
    lowest, highest = max(np.iinfo(dtype).min, -65536), min(np.iinfo(dtype).max, 65535)
    require(span <= 131071 and lowest <= low and low + span <= highest, f"a value range of {low} to {low + span}")
    layers = reader.varint()
    require(0 <= layers <= 8, f"{layers} layers")
    fractions = DEFAULT_FRACTIONS if layers == 0 else tuple(reader.varint() for _ in range(layers - 1))
    require(all(1 <= fraction <= 9999999 for fraction in fractions), f"fractions {fractions}")
    require(all(a < b for a, b in pairwise(fractions)), f"fractions {fractions}")
    tile = (tile_rows << levels, tile_cols << levels)
    require(min(tile) >= MIN_TILE, f"tiles of {tile[0]} x {tile[1]} pixels")
    require(-(-rows // tile[0]) * -(-cols // tile[1]) <= MAX_TILES, f"too many tiles of {tile[0]} x {tile[1]} pixels")
    return Header(rows, cols, dtype, low, low + span, levels, tile, fractions)


def read_layer(reader: Reader, header: Header, start: int, index: int, above: np.float32) -> Layer:
    """The header of layer ``index`` (from 0); the reader then stands at the layer's end."""
    count = reader.take(1)[0]
    require(count in (1, header.reductions + 1), f"{count} segments in layer {index + 1}")
    threshold = np.float32(0)
    if index < len(header.fractions):
        (threshold,) = np.frombuffer(reader.take(4), "<f4")
        require(bool(np.isfinite(threshold)) and not np.signbit(threshold), f"threshold {threshold}")
        require(bool(threshold <= above), f"threshold {threshold} after {above}")
    lengths = [reader.varint() for _ in range(count)]
    crc_at = reader.at
    reader.take(4 * count)
    spans = []
    for length in lengths:
        spans.append((reader.at, reader.at + length))
        reader.at += length
    return Layer(start, threshold, crc_at, tuple(spans))


def layers_of(data: bytes) -> Iterator[Layer]:
    """Every layer of a stream in turn, its own header read but no CRC checked."""
    reader = Reader(data)
    header = read_header(reader)
    start, above, most = 0, np.float32(np.inf), 1
    for index in range(len(header.fractions) + 1):
        layer = read_layer(reader, header, start, index, above)
        segments = len(layer.spans)
        require(segments >= most, f"one segment in layer {index + 1}, after a layer with more")
        yield layer
        start, above, most = reader.at, layer.threshold, segments


# --- 4. tables -----------------------------------------------------------------------------------------------------


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


# --- 5. a tile's stream --------------------------------------------------------------------------------------------


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


@dataclass
class Part:
    """A tile's part of a subband in one layer, in scan orientation. ``truth``, for encoders: all its coefficients."""

    orientation: str
    values: np.ndarray
    known: np.ndarray
    lo: int
    hi: int
    parent: np.ndarray | None = None
    truth: np.ndarray | None = None

    def set(self, y: int, x: int, value: int) -> None:
        require(max(self.lo, 0) <= abs(value) <= self.hi, f"a magnitude of {abs(value)}, not in {self.lo} to {self.hi}")
        self.values[y, x], self.known[y, x] = value, True

    def of_layer(self, y: int, x: int) -> bool:
        assert self.truth is not None
        return self.lo <= abs(int(self.truth[y, x])) <= self.hi


def at(array: np.ndarray, y: int, x: int) -> int:
    """abs(array[y, x]), 0 outside."""
    return abs(int(array[y, x])) if 0 <= y < array.shape[0] and 0 <= x < array.shape[1] else 0


def count_class(count: int) -> int:
    return 0 if count == 0 else 1 if count <= 2 else 2


def block_contexts(part: Part, block_row: int, above: list[int]) -> list[int]:
    contexts = []
    for block in range(-(-part.values.shape[1] // 8)):
        a = min(2, sum(above[max(0, block - 1) : block + 2]))
        inside = part.values[8 * block_row : 8 * block_row + 8, 8 * block : 8 * block + 8]
        b = count_class(np.count_nonzero(inside))
        c = 0
        if part.parent is not None:
            over = part.parent[4 * block_row : 4 * block_row + 4, 4 * block : 4 * block + 4]
            c = count_class(np.count_nonzero(over))
        contexts.append(BLOCK_FLAGS + 9 * a + 3 * b + c)
    return contexts


def coefficient_context(part: Part, y: int, x: int, scale: int) -> int:
    def m(dy: int, dx: int) -> int:
        return at(part.values, y + dy, x + dx)

    if part.orientation == "HH":
        around = 2 * m(-1, 0) + m(-2, 0) + 2 * (m(-1, -1) + m(-1, 1)) + 2 * (m(0, -1) + m(0, 1) + m(1, 0))
        around += m(1, -1) + m(1, 1)
    else:
        around = 4 * m(-1, 0) + 2 * m(-2, 0) + m(-1, -1) + m(-1, 1) + m(0, -1) + m(0, 1) + m(1, 0)
    g = around >> scale
    q = g if g < 2 else min(15, 2 * (g.bit_length() - 1) + (g >> (g.bit_length() - 2) & 1))
    p = 0
    if part.parent is not None:
        i, j = y >> 1, x >> 1
        cross = sum(at(part.parent, *place) for place in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)))
        parent = (4 * at(part.parent, i, j) + cross) >> (scale + 1)
        p = sum(parent >= step for step in PARENT_STEPS)
    return COEFFICIENTS + 4 * q + p


def sign_context(part: Part, y: int, x: int, scale: int) -> int:
    above = int(part.values[y - 1, x]) if y > 0 else 0
    g = abs(above) >> scale
    context = 0 if g == 0 else (1 if g < 4 else 3) + (above < 0)
    return SIGNS + context + (5 if part.orientation == "HH" else 0)


def scan_subband(coder: TileDecoder, part: Part, scale: int) -> None:
    """A part of a subband other than LL."""
    rows, cols = part.values.shape
    above = [0] * -(-cols // 8)
    for block_row in range(-(-rows // 8)):
        lines = range(8 * block_row, min(rows, 8 * block_row + 8))
        above = coder.flags(block_contexts(part, block_row, above), wanted_blocks(part, lines))
        for y in lines:
            places = [x for x in range(cols) if above[x // 8] and not part.known[y, x]]
            contexts = [coefficient_context(part, y, x, scale) for x in places]
            signs = [sign_context(part, y, x, scale) for x in places]
            found = coder.values(contexts, signs, wanted_values(part, y, places))
            for x, value in zip(places, found, strict=True):
                if value != 0 and part.lo > 0:
                    part.set(y, x, value + (part.lo - 1 if value > 0 else 1 - part.lo))
                elif value != 0 or part.lo == 0:
                    part.set(y, x, value)
    if part.lo == 0:
        part.known[...] = True


def wanted_blocks(part: Part, lines: range) -> list[int] | None:
    if part.truth is None:
        return None
    rows, cols = slice(lines.start, lines.stop), part.values.shape[1]
    sizes = np.abs(part.truth[rows])
    holds = (sizes >= max(1, part.lo)) & (sizes <= part.hi)
    return [int(holds[:, x : x + 8].any()) for x in range(0, cols, 8)]


def wanted_values(part: Part, y: int, places: list[int]) -> list[int] | None:
    if part.truth is None:
        return None
    less = max(0, part.lo - 1)
    wanted = []
    for x in places:
        value = int(part.truth[y, x]) if part.of_layer(y, x) else 0
        wanted.append(value - less if value > 0 else value + less if value < 0 else 0)
    return wanted


def prediction_of(part: Part, y: int, x: int) -> tuple[int, int]:
    """(prediction, context) of a magnitude in LL."""

    def known(*places: tuple[int, int]) -> list[int]:
        return [abs(int(part.values[v, u])) for v, u in places if is_known(part, v, u)]

    nearest = known((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x))
    if is_known(part, y, x - 1) and is_known(part, y - 1, x) and is_known(part, y - 1, x - 1):
        west, north, northwest = known((y, x - 1), (y - 1, x), (y - 1, x - 1))
        predicted = min(max(west + north - northwest, min(west, north)), max(west, north))
    else:
        used = nearest or known((y - 1, x - 1), (y - 1, x + 1), (y + 1, x - 1), (y + 1, x + 1))
        predicted = (sum(used) + (len(used) >> 1)) // len(used) if used else part.lo
    return min(max(predicted, part.lo), part.hi), min(3, len(nearest))


def is_known(part: Part, y: int, x: int) -> bool:
    return 0 <= y < part.known.shape[0] and 0 <= x < part.known.shape[1] and bool(part.known[y, x])


def scan_lowest(coder: TileDecoder, part: Part) -> None:
    """A part of LL."""
    for y, x in np.ndindex(*part.values.shape):
        if part.known[y, x]:
            continue
        around = [
            int(part.values[v, u])
            for v in (y - 1, y, y + 1)
            for u in (x - 1, x, x + 1)
            if (v, u) != (y, x) and is_known(part, v, u)
        ]
        truth = None if part.truth is None else int(part.truth[y, x])
        if part.lo > 0:
            wanted = None if truth is None else [int(part.of_layer(y, x))]
            if coder.flags([LL_FLAGS + len(around)], wanted) == [0]:
                continue
        magnitude = scan_lowest_magnitude(coder, part, y, x)
        negative = 0
        if magnitude > 0:
            minus, plus = sum(value < 0 for value in around), sum(value > 0 for value in around)
            context = LL_SIGNS + (0 if minus == plus else 1 if minus < plus else 2)
            (negative,) = coder.flags([context], None if truth is None else [int(truth < 0)])
        part.set(y, x, -magnitude if negative else magnitude)


def scan_lowest_magnitude(coder: TileDecoder, part: Part, y: int, x: int) -> int:
    predicted, context = prediction_of(part, y, x)
    down, up = predicted - part.lo, part.hi - predicted
    both = min(down, up)
    wanted = None
    if part.truth is not None:
        e = abs(int(part.truth[y, x])) - predicted
        wanted = [1 + (abs(e) + both if abs(e) > both else 2 * e - 1 if e > 0 else -2 * e)]
    (v,) = coder.values([LL_VALUES + context], [], wanted)
    require(v > 0, "a value of 0 in LL")
    z = v - 1
    outside = z - both if up > down else both - z
    e = outside if z > 2 * both else (z + 1) // 2 if z % 2 else -(z // 2)
    require(part.lo <= predicted + e <= part.hi, f"a magnitude of {predicted + e}, not in {part.lo} to {part.hi}")
    return predicted + e


def scan_tile(coder: TileDecoder, parts: list[Part], scale: int) -> None:
    for part in parts:
        if part.values.size == 0 or part.lo > part.hi:
            continue
        if part.orientation == "LL":
            scan_lowest(coder, part)
        else:
            scan_subband(coder, part, scale)


def parts_of(
    bands: list[Subband],
    chosen: list[Subband],
    bounds: dict[tuple[str, int], tuple[int, int]],
    tile: tuple[int, int],
    tile_shape: tuple[int, int],
) -> list[Part]:
    """What of the subbands ``chosen`` lies in a tile, with the parents' part in it."""
    by_name = {(band.orientation, band.level): band for band in bands}
    parts = []
    for band in chosen:
        place = band.part(tile, tile_shape)
        above = by_name.get((band.orientation, band.level + 1))
        parent = None if above is None else above.values[above.part(tile, tile_shape)]
        lo, hi = bounds[band.orientation, band.level]
        parts.append(Part(band.orientation, band.values[place], band.known[place], lo, hi, parent))
    return parts


def decode_segment(
    data: bytes,
    header: Header,
    bands: list[Subband],
    chosen: list[Subband],
    bounds: dict[tuple[str, int], tuple[int, int]],
) -> None:
    """One segment, of the subbands ``chosen``."""
    reader = Reader(data)
    first = reader.take(1)[0]
    scale, log_interleaved = first & 15, first >> 4
    require(log_interleaved <= 5, f"log2 S of {log_interleaved}")
    tables = read_tables(reader, 0 if chosen[0].orientation == "LL" else BLOCK_FLAGS)
    tiles = header.tiles
    lengths = [reader.varint() for _ in tiles[:-1]]
    lengths.append(len(data) - reader.at - sum(lengths))
    require(lengths[-1] >= 0, "tiles longer than their segment")
    for tile, length in zip(tiles, lengths, strict=True):
        parts = parts_of(bands, chosen, bounds, tile, header.tile)
        if length > 0:
            decoder = TileDecoder(reader.take(length), tables, 1 << log_interleaved)
            scan_tile(decoder, parts, scale)
            decoder.finish()
        for part in parts:
            part.known |= part.lo == 0


# --- 6. decoding ---------------------------------------------------------------------------------------------------


def decode(data: bytes, keep: float = 1.0, reduction: int = 0) -> np.ndarray:
    """The image at 2^-reduction of its size, of the coefficients that ``keep`` keeps.

    Raises:
        Damaged: the stream is damaged, or ends before what is needed.
        ValueError: ``reduction`` above R.
    """
    data = bytes(data)
    header = read_header(Reader(data))
    if reduction > header.reductions:
        raise ValueError(f"reduction {reduction} of an image with {header.levels} levels")
    stored = [fraction / 10**7 for fraction in header.fractions] + [1.0]
    last = next(index for index, fraction in enumerate(stored) if fraction >= keep)
    finest = reduction if stored[last] == keep else 0
    bands = subbands_of(header.rows, header.cols, header.levels)
    bounds = {(band.orientation, band.level): (MAGNITUDES, MAGNITUDES - 1) for band in bands}
    for layer in islice(layers_of(data), last + 1):
        for band in bands:
            hi = bounds[band.orientation, band.level][0] - 1
            bounds[band.orientation, band.level] = (lowest_magnitude(layer.threshold, band.weight), hi)
        for segment, span in enumerate(layer.spans[: header.reductions - finest + 1]):
            layer.check(data, segment)
            chosen = [band for band in bands if len(layer.spans) == 1 or header.segment_of(band) == segment]
            if span[1] > span[0]:
                decode_segment(data[slice(*span)], header, bands, chosen, bounds)
            elif layer.threshold == 0:
                for band in chosen:
                    band.known[...] = True
    if stored[last] != keep:
        drop_below(bands, kept(keep, header.rows, header.cols))
    return np.clip(inverse(bands, reduction), header.low, header.high).astype(header.dtype)


def drop_below(bands: list[Subband], count: int) -> None:
    """Set to 0 what does not reach the ``count``-th largest weighted magnitude."""
    weighted = [np.abs(band.values).astype(np.float32) * band.weight for band in bands]
    largest = np.sort(np.concatenate([part.ravel() for part in weighted]))[::-1]
    for band, sizes in zip(bands, weighted, strict=True):
        band.values[sizes < largest[count - 1]] = 0


def inverse(bands: list[Subband], reduction: int) -> np.ndarray:
    image = bands[0].natural
    for index in range(1, len(bands), 3):
        hl, lh, hh = (band.natural for band in bands[index : index + 3])
        if bands[index].level > reduction:
            image = unlift(unlift(image.T, hl.T).T, unlift(lh.T, hh.T).T)
    return image
