"""The container of the ``wavestream.layers`` codec: header, lengths and checksums (``docs/format.md``, section 3)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import google_crc32c
import numpy as np

from wavestream.engine.errors import CodecError
from wavestream.kernels.layers import (
    DEFAULT_FRACTIONS,
    MOST_LAYERS,
    MOST_LEVELS,
    MOST_REDUCTIONS,
    MOST_TILES,
    SMALLEST_TILE,
    varint,
)
from wavestream.kernels.wavelets import INTEGER_WAVELET, max_levels

MAGIC = b"WL"
VERSION = 1
PIXEL_TYPES = ("uint8", "int8", "uint16", "int16", "int32")
# Units in which the fractions of the layers are written.
FRACTION_UNITS = 10**7
MOST_PIXELS = 1 << 28
LARGEST_SIDE = (1 << 16) - 1
LOWEST_VALUE, HIGHEST_VALUE = -(1 << 16), (1 << 16) - 1
# Each layer's segments, as columns: an image has at most this many reductions, and itself.
SEGMENTS = MOST_REDUCTIONS + 1


@dataclass(frozen=True)
class LayersHeader:
    """What a stream says of its image.

    Attributes:
        rows, cols: of the image, in pixels.
        dtype: of its pixels.
        value_range: lowest and highest value that a pixel may take.
        levels: of the transform.
        fractions: of the coefficients up to each layer but the last, ascending.
        tile: (rows, cols) of a tile in pixels.
        size: bytes of the header.
    """

    rows: int
    cols: int
    dtype: np.dtype[Any]
    value_range: tuple[int, int]
    levels: int
    fractions: tuple[float, ...]
    tile: tuple[int, int]
    size: int

    @property
    def reductions(self) -> int:
        """How often the image can be halved by reading less: 1 to 3."""
        return min(self.levels, MOST_REDUCTIONS)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.fractions) + 1


@dataclass(frozen=True)
class Layer:
    """One layer of a stream.

    Attributes:
        threshold: lowest weighted magnitude; 0 for the last layer.
        start: first byte of its header.
        checksums_at: first byte of its checksums.
        segments: (first byte, one past the last) of each segment: one, or ``reductions + 1``.
        checksums: CRC-32C of each segment.
    """

    threshold: float
    start: int
    checksums_at: int
    segments: tuple[tuple[int, int], ...]
    checksums: tuple[int, ...]

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.segments[-1][1]

    def segments_for(self, reductions: int, reduction: int) -> int:
        """How many of the segments an image at ``2**-reduction`` of its size takes."""
        return 1 if len(self.segments) == 1 else reductions + 1 - reduction


class _Bytes:
    """Takes numbers out of a stream; every error names the byte."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at

    def take(self, count: int, what: str) -> bytes:
        if self.at + count > len(self.data):
            raise CodecError(f"the stream ends at byte {len(self.data)}: expected {what} at byte {self.at}")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def varint(self, what: str) -> int:
        value, first = 0, self.at
        for shift in range(0, 35, 7):
            byte = self.take(1, what)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if value >= 1 << 32:
                    break
                return value
        raise CodecError(f"expected {what} below 2^32 at byte {first}, found a longer number")

    def number(self, what: str, low: int, high: int) -> int:
        first, value = self.at, self.varint(what)
        if not low <= value <= high:
            raise CodecError(f"expected {what} from {low} to {high} at byte {first}, found {value}")
        return value


def read_header(data: Any) -> LayersHeader:
    """The header of a stream; nothing is allocated by what it says.

    Raises:
        CodecError: no such stream, a version or pixel type that is not known, sizes beyond the format's, or cut short.
    """
    view = memoryview(data).cast("B")
    if bytes(view[:2]) != MAGIC:
        raise CodecError(f"expected a wavestream.layers stream (57 4C) at byte 0, found {bytes(view[:2]).hex(' ')!r}")
    stream = _Bytes(view, 2)
    version, kind = stream.take(2, "version and pixel type")
    if version != VERSION:
        raise CodecError(f"expected version {VERSION} at byte 2, found {version}: install a newer wavestream")
    levels, code = kind & 15, kind >> 4
    if not 1 <= levels <= MOST_LEVELS or code >= len(PIXEL_TYPES):
        raise CodecError(
            f"expected 1 to {MOST_LEVELS} levels and a pixel type below {len(PIXEL_TYPES)} at byte 3, found {levels} "
            f"and {code}"
        )
    rows, cols = stream.number("rows", 1, LARGEST_SIDE), stream.number("columns", 1, LARGEST_SIDE)
    if rows * cols > MOST_PIXELS:
        raise CodecError(f"expected an image of at most {MOST_PIXELS} pixels, found {rows} x {cols}")
    if levels > max_levels(rows, cols, INTEGER_WAVELET):
        raise CodecError(f"expected fewer levels for {rows} x {cols} pixels at byte 3, found {levels}")
    least = -(-SMALLEST_TILE >> levels)
    sides = [stream.number("a side of the tiles", least, (1 << 32) - 1) for _ in range(2)]
    tile = (sides[0] << levels, sides[1] << levels)
    if -(-rows // tile[0]) * -(-cols // tile[1]) > MOST_TILES:
        raise CodecError(f"expected at most {MOST_TILES} tiles, found {rows} x {cols} pixels in tiles of {tile}")
    folded = stream.number("the lowest value, as zigzag code,", 0, 2 * (HIGHEST_VALUE + 1))
    low = -(folded + 1) // 2 if folded & 1 else folded // 2
    high = low + stream.number("the range of values", 0, HIGHEST_VALUE - LOWEST_VALUE)
    dtype = np.dtype(PIXEL_TYPES[code])
    _check_range((low, high), dtype)
    layers = stream.number("the number of layers", 0, MOST_LAYERS)
    units = [stream.number("a layer's fraction", 1, FRACTION_UNITS - 1) for _ in range(layers - 1)]
    if any(first >= second for first, second in pairwise(units)):
        raise CodecError(f"expected ascending fractions of layers before byte {stream.at}, found {units}")
    fractions = tuple(unit / FRACTION_UNITS for unit in units) if layers else DEFAULT_FRACTIONS
    return LayersHeader(rows, cols, dtype, (low, high), levels, fractions, tile, stream.at)


def _check_range(value_range: tuple[int, int], dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    low, high = max(LOWEST_VALUE, int(limits.min)), min(HIGHEST_VALUE, int(limits.max))
    if not low <= value_range[0] <= value_range[1] <= high:
        raise CodecError(f"expected values of {dtype} within {low} to {high}, found a range of {value_range}")


def write_header(header: LayersHeader) -> bytes:
    """The bytes of a header (whose ``size`` is not looked at).

    Raises:
        CodecError: something that the format cannot say.
    """
    _check_range(header.value_range, header.dtype)
    low, high = header.value_range
    numbers = [
        *(header.rows, header.cols, header.tile[0] >> header.levels, header.tile[1] >> header.levels),
        *(2 * low if low >= 0 else -2 * low - 1, high - low),
        *([0] if header.fractions == DEFAULT_FRACTIONS else [header.layers, *fraction_units(header.fractions)]),
    ]
    kind = header.levels | PIXEL_TYPES.index(header.dtype.name) << 4
    return MAGIC + bytes([VERSION, kind]) + b"".join(varint(number) for number in numbers)


def fraction_units(fractions: Sequence[float]) -> list[int]:
    """The fractions of layers in the format's units.

    Raises:
        CodecError: not ascending within (0, 1), too many, or no multiples of the unit.
    """
    units = [round(fraction * FRACTION_UNITS) for fraction in fractions]
    exact = all(unit / FRACTION_UNITS == fraction for unit, fraction in zip(units, fractions, strict=True))
    ascending = all(first < second for first, second in zip([0, *units], [*units, FRACTION_UNITS], strict=True))
    if not exact or not ascending or len(units) >= MOST_LAYERS:
        raise CodecError(
            f"expected up to {MOST_LAYERS - 1} ascending fractions of layers, multiples of 0.0000001 between 0 and 1, "
            f"got {tuple(fractions)}"
        )
    return units


def write_layer(before: bytes, threshold: float | None, segments: Sequence[bytes]) -> bytes:
    """One layer, after ``before``: the stream's header if it is the first, else nothing. The last has no threshold."""
    head = bytes([len(segments)]) + (b"" if threshold is None else struct.pack("<f", threshold))
    head += b"".join(varint(len(segment)) for segment in segments)
    others = b"".join(struct.pack("<I", google_crc32c.value(segment)) for segment in segments[1:])
    first = google_crc32c.value(before + head + others + segments[0])
    return before + head + struct.pack("<I", first) + others + b"".join(segments)


def read_layer(data: memoryview, header: LayersHeader, before: Sequence[Layer]) -> Layer:
    """The header of a layer; its segments are not touched, and may lie beyond the end of ``data``.

    Args:
        data: the stream.
        header: of the stream.
        before: the layers before it.

    Raises:
        CodecError: cut short, or something that the format does not allow.
    """
    number = len(before)
    start, highest = (before[-1].end, before[-1].threshold) if before else (header.size, math.inf)
    stream = _Bytes(data, start)
    name = f"layer {number + 1}"
    many = stream.take(1, f"{name}'s number of segments")[0]
    # A layer in one piece needs all that was coded before it.
    fewest = len(before[-1].segments) if before else 1
    if many not in (fewest, header.reductions + 1):
        expected = " or ".join(map(str, sorted({fewest, header.reductions + 1})))
        raise CodecError(f"{name}: expected {expected} segments at byte {start}, found {many}")
    threshold = 0.0
    if number < len(header.fractions):
        (threshold,) = struct.unpack("<f", stream.take(4, f"{name}'s threshold"))
        if not (math.isfinite(threshold) and threshold <= highest) or math.copysign(1.0, threshold) < 0:
            raise CodecError(
                f"{name}: expected a threshold from 0 to {highest} at byte {start + 1}, found {threshold}: layers are "
                "out of order"
            )
    lengths = [stream.varint(f"the length of a segment of {name}") for _ in range(many)]
    checksums_at = stream.at
    checksums = struct.unpack(f"<{many}I", stream.take(4 * many, f"{name}'s checksums"))
    segments, at = [], stream.at
    for length in lengths:
        segments.append((at, at + length))
        at += length
    return Layer(threshold, start, checksums_at, tuple(segments), checksums)


def check_layer(data: memoryview, header: LayersHeader, number: int, layer: Layer, segments: int) -> None:
    """Check that the first ``segments`` segments of a layer are there, and their checksums.

    Raises:
        CodecError: cut short, or a checksum is wrong; names the segment and where it lies.
    """
    for index, (start, end) in enumerate(layer.segments[:segments]):
        name = f"layer {number + 1}, segment {index + 1}"
        if end > len(data):
            raise CodecError(f"{name}: expected bytes {start} to {end}, the stream ends at byte {len(data)}")
        begin = (0 if number == 0 else layer.start) if index == 0 else start
        found = google_crc32c.Checksum()
        if index == 0:
            found.update(bytes(data[begin : layer.checksums_at]))
            found.update(bytes(data[layer.checksums_at + 4 : layer.segments[0][0]]))
        found.update(bytes(data[start:end]))
        value = int.from_bytes(found.digest(), "big")
        if value != layer.checksums[index]:
            raise CodecError(
                f"{name} (bytes {begin} to {end}): expected the checksum {layer.checksums[index]:08x}, got {value:08x}"
            )
