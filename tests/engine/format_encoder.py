"""An encoder of the wavestream.layers bitstream for tests: plain, unoptimised, its choices are parameters.

It runs the scan of format_decoder.py with a recorder in the place of the entropy decoder, then makes tables of what was
recorded, then writes rANS backwards. So it can write streams that the product's encoder never would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import log2

import format_decoder as model
import numpy as np
from format_decoder import CERTAINLY, HAZARDS, KINDS, VALUES, Header, Part, Subband, Table


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
    bands = model.subbands_of(*image.shape, levels)
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
    return [largest[model.kept(fraction / 10**7, rows, cols) - 1] for fraction in fractions]


# --- tables --------------------------------------------------------------------------------------------------------


def token_of(value: int, k: int) -> tuple[int, list[tuple[int, int]]]:
    """A value's token, and the (bits, count) after its k low bits."""
    if value == 0:
        return 0, []
    u = (abs(value) - 1) >> k
    if u < 12:
        return u + 1, []
    token = 13 if u < 16 else 14 if u < 32 else 15
    base, counts = model.EXTRA_BITS[token]
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
                table = model.table_of_values(k, levels)
            else:
                level = fitted_flags(groups, contexts, choices)
                table = model.table_of_flags(level)
                fields.append((level, 6))
            fields += run_fields(len(contexts), end - start, choices)
            tables |= dict.fromkeys(contexts, table)
    return pack(fields), tables


# --- rANS ----------------------------------------------------------------------------------------------------------


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
                positive = model.split(size, tables[group.signs[i]])
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


# --- segments, layers, stream --------------------------------------------------------------------------------------


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
        parts = model.parts_of(known, [known[index] for index in chosen], bounds, tile, header.tile)
        for part, index in zip(parts, chosen, strict=True):
            part.truth = truth[index].values[truth[index].part(tile, header.tile)]
        recorder = Recorder(choices.interleaved)
        if choices.explicit or any(holds_something(part) for part in parts):
            model.scan_tile(recorder, parts, choices.scale)  # type: ignore[arg-type]
            recorders.append(recorder)
        else:
            recorders.append(None)
        for part in parts:
            part.known |= part.lo == 0
    if not any(recorders):
        return b""
    first = 0 if known[chosen[0]].orientation == "LL" else model.BLOCK_FLAGS
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
    stream = b"WL" + bytes([1, levels | model.DTYPES.index(str(image.dtype)) << 4])
    named = (0,) if fractions == model.DEFAULT_FRACTIONS and short else (len(fractions) + 1, *fractions)
    for number in (rows, cols, tile[0] >> levels, tile[1] >> levels, zigzag(low), high - low, *named):
        stream += varint(number)
    truth = transform(image, levels)
    known = model.subbands_of(rows, cols, levels)
    given = thresholds_of(truth, fractions, rows, cols) if thresholds is None else thresholds
    lowest = {(band.orientation, band.level): model.MAGNITUDES for band in truth}
    start = 0
    for index, threshold in enumerate([*map(np.float32, given), np.float32(0)]):
        highest = {name: lo - 1 for name, lo in lowest.items()}
        lowest = {(b.orientation, b.level): model.lowest_magnitude(threshold, b.weight) for b in truth}
        bounds = {name: (lo, highest[name]) for name, lo in lowest.items()}
        count = 1 if index < one_segment else header.reductions + 1
        segments = []
        for segment in range(count):
            chosen = [i for i, band in enumerate(truth) if count == 1 or header.segment_of(band) == segment]
            segments.append(encode_segment(header, known, truth, chosen, bounds, choices(index, segment)))
        stream += bytes([count]) + (threshold.tobytes() if index < len(fractions) else b"")
        stream += b"".join(varint(len(segment)) for segment in segments)
        others = b"".join(model.crc32c(segment).to_bytes(4, "little") for segment in segments[1:])
        stream += (
            model.crc32c(stream[start:] + others + segments[0]).to_bytes(4, "little") + others + b"".join(segments)
        )
        start = len(stream)
    return stream


def resealed(data: bytes) -> bytes:
    """A stream with the right CRC for every segment, as far as its headers can be read."""
    sealed = bytearray(data)
    try:
        for layer in model.layers_of(data):
            for segment in reversed(range(len(layer.spans))):
                place = layer.crc_at + 4 * segment
                sealed[place : place + 4] = model.crc32c(layer.covered(bytes(sealed), segment)).to_bytes(4, "little")
    except model.Damaged:
        pass
    return bytes(sealed)


def with_body(stream: bytes, layer: int, segment: int, change: Callable[[bytes], bytes]) -> bytes:
    """A stream with the body of a segment changed, its length and the checksums set right."""
    record = list(model.layers_of(stream))[layer]
    bodies = [stream[start:stop] for start, stop in record.spans]
    before = stream[: record.crc_at - sum(len(varint(len(body))) for body in bodies)]
    bodies[segment] = change(bodies[segment])
    lengths = b"".join(varint(len(body)) for body in bodies)
    return resealed(before + lengths + bytes(4 * len(bodies)) + b"".join(bodies) + stream[record.spans[-1][1] :])
