"""An encoder of the wavestream.layers bitstream for tests: plain, unoptimised, its choices are parameters.

It runs the scan of format_scan.py with a recorder in the place of the entropy decoder. So it can write streams that the
product's encoder never would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from format_coefficients import MAGNITUDES, Subband, kept, lowest_magnitude, subbands_of
from format_decoder import parts_of
from format_entropy import BLOCK_FLAGS
from format_scan import Part, scan_tile
from format_stream import DEFAULT_FRACTIONS, DTYPES, Damaged, Header, crc32c, layers_of
from format_symbols import Choices, Recorder, rans, symbols_of, tables_of


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def lift(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """5/3 analysis along axis 0: (low, high), T.800 F.4.8.1."""
    count = len(signal)
    signal = signal.copy()
    if count == 1:
        return signal, signal[:0]

    def mirrored(place: int) -> int:
        place = abs(place)
        return place if place < count else 2 * (count - 1) - place

    for place in range(1, count, 2):
        signal[place] -= (signal[mirrored(place - 1)] + signal[mirrored(place + 1)]) >> 1
    for place in range(0, count, 2):
        signal[place] += (signal[mirrored(place - 1)] + signal[mirrored(place + 1)] + 2) >> 2
    return signal[0::2], signal[1::2]


def transform(image: np.ndarray, levels: int) -> list[Subband]:
    """The subbands of an image, all of them known."""
    bands = subbands_of(*image.shape, levels)
    lowest = image.astype(np.int64)
    for level in range(1, levels + 1):
        low, high = lift(lowest)
        (lowest, hl), (lh, hh) = (tuple(half.T for half in lift(part.T)) for part in (low, high))
        for band, values in zip(bands[1 + 3 * (levels - level) :], (hl, lh, hh), strict=False):
            band.natural[...] = values
    bands[0].natural[...] = lowest
    return bands


def thresholds_of(bands: list[Subband], fractions: tuple[int, ...], rows: int, cols: int) -> list[np.float32]:
    weighted = [np.abs(band.values.ravel()).astype(np.float32) * band.weight for band in bands]
    largest = np.sort(np.concatenate(weighted))[::-1]
    return [largest[kept(fraction / 10**7, rows, cols) - 1] for fraction in fractions]


def holds_something(part: Part) -> bool:
    assert part.truth is not None
    sizes = np.abs(part.truth)
    return bool(((sizes >= max(1, part.lo)) & (sizes <= part.hi)).any())


def encode_segment(
    header: Header, known: list[Subband], truth: list[Subband], chosen: list[int], bounds: dict, choices: Choices
) -> bytes:
    """Codes the subbands with indices ``chosen``, and enters them in ``known``."""
    recorders: list[Recorder | None] = []
    for tile in header.tiles:
        parts = parts_of(known, [known[index] for index in chosen], bounds, tile, header.tile)
        for part, index in zip(parts, chosen, strict=True):
            part.truth = truth[index].values[truth[index].part(tile, header.tile)]
        recorder = Recorder(choices.interleaved)
        if choices.explicit or any(holds_something(part) for part in parts):
            scan_tile(recorder, parts, choices.scale)  # type: ignore[arg-type]
            recorders.append(recorder)
        else:
            recorders.append(None)
        for part in parts:
            part.known |= part.lo == 0
    if not any(recorders):
        return b""
    first = 0 if known[chosen[0]].orientation == "LL" else BLOCK_FLAGS
    used = [recorder for recorder in recorders if recorder is not None]
    packed, tables = tables_of([group for recorder in used for group in recorder.groups], first, choices)
    streams = [rans(symbols_of(r.groups, tables), choices.interleaved) if r else b"" for r in recorders]
    log_interleaved = choices.interleaved.bit_length() - 1
    lengths = b"".join(varint(len(stream)) for stream in streams[:-1])
    return bytes([choices.scale | log_interleaved << 4]) + packed + lengths + b"".join(streams)


def encode(
    image: np.ndarray,
    value_range: tuple[int, int],
    fractions: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000),
    levels: int = 3,
    *,
    tile: tuple[int, int] | None = None,
    one_segment: int = 0,
    choices: Callable[[int, int], Choices] = lambda layer, segment: Choices(),
    thresholds: list[float] | None = None,
    short: bool = True,
) -> bytes:
    """One image as a stream.

    Args:
        image: (rows, cols) uint8, int8, uint16, int16, or int32.
        fractions: in units of 10^-7.
        tile: its sides in pixels; None: one tile.
        one_segment: number of layers, the first ones, that are stored as one segment.
        choices: for a layer and segment, both from 0.
        thresholds: of all layers but the last, in the place of those that the fractions give.
        short: do not write fractions that are the default.
    """
    rows, cols = image.shape
    if tile is None:
        tile = (max(64, -(-rows >> levels) << levels), max(64, -(-cols >> levels) << levels))
    low, high = value_range
    header = Header(rows, cols, image.dtype, low, high, levels, tile, fractions)
    stream = b"WL" + bytes([1, levels | DTYPES.index(str(image.dtype)) << 4])
    named = (0,) if fractions == DEFAULT_FRACTIONS and short else (len(fractions) + 1, *fractions)
    for number in (rows, cols, tile[0] >> levels, tile[1] >> levels, zigzag(low), high - low, *named):
        stream += varint(number)
    truth = transform(image, levels)
    known = subbands_of(rows, cols, levels)
    given = thresholds_of(truth, fractions, rows, cols) if thresholds is None else thresholds
    lowest = {(band.orientation, band.level): MAGNITUDES for band in truth}
    start = 0
    for index, threshold in enumerate([*map(np.float32, given), np.float32(0)]):
        highest = {name: lo - 1 for name, lo in lowest.items()}
        lowest = {(b.orientation, b.level): lowest_magnitude(threshold, b.weight) for b in truth}
        bounds = {name: (lo, highest[name]) for name, lo in lowest.items()}
        count = 1 if index < one_segment else header.reductions + 1
        segments = []
        for segment in range(count):
            chosen = [i for i, band in enumerate(truth) if count == 1 or header.segment_of(band) == segment]
            segments.append(encode_segment(header, known, truth, chosen, bounds, choices(index, segment)))
        stream += bytes([count]) + (threshold.tobytes() if index < len(fractions) else b"")
        stream += b"".join(varint(len(segment)) for segment in segments)
        others = b"".join(crc32c(segment).to_bytes(4, "little") for segment in segments[1:])
        stream += crc32c(stream[start:] + others + segments[0]).to_bytes(4, "little") + others + b"".join(segments)
        start = len(stream)
    return stream


def resealed(data: bytes) -> bytes:
    """A stream with the right CRC for every segment, as far as its headers can be read."""
    sealed = bytearray(data)
    try:
        for layer in layers_of(data):
            for segment in reversed(range(len(layer.spans))):
                place = layer.crc_at + 4 * segment
                sealed[place : place + 4] = crc32c(layer.covered(bytes(sealed), segment)).to_bytes(4, "little")
    except Damaged:
        pass
    return bytes(sealed)


def with_body(stream: bytes, layer: int, segment: int, change: Callable[[bytes], bytes]) -> bytes:
    """A stream with the body of a segment changed, its length and the checksums set right."""
    record = list(layers_of(stream))[layer]
    bodies = [stream[start:stop] for start, stop in record.spans]
    before = stream[: record.crc_at - sum(len(varint(len(body))) for body in bodies)]
    bodies[segment] = change(bodies[segment])
    lengths = b"".join(varint(len(body)) for body in bodies)
    return resealed(before + lengths + bytes(4 * len(bodies)) + b"".join(bodies) + stream[record.spans[-1][1] :])
