"""Section 3 of docs/format.md: the header, the layers' headers, and what their checksums cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from format_coefficients import Subband

DTYPES = ("uint8", "int8", "uint16", "int16", "int32")
MAX_PIXELS = 1 << 28
MAX_TILES = 1 << 16
MIN_TILE = 64
DEFAULT_FRACTIONS = (1_000, 10_000, 100_000, 1_000_000)


class Damaged(Exception):
    """The stream is not one that the document allows."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise Damaged(message)


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
