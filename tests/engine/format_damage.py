"""Streams that docs/format.md calls damaged, one for each rule, every CRC right unless the CRC is the rule."""

from __future__ import annotations

import struct
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
from format_encoder import encode, resealed, varint, with_body
from format_entropy import BLOCK_FLAGS, COEFFICIENTS, LL_VALUES, read_tables
from format_stream import Reader, layers_of, read_header
from format_symbols import Choices, Recorder, pack

FRACTIONS = (1_000, 10_000, 100_000, 1_000_000)
_ROW, _COL = np.mgrid[0:24, 0:20]
IMAGE = ((np.sin(_ROW / 5) + np.cos(_COL / 7) + 2) * 60 + _ROW * _COL % 7).astype(np.uint8)


def _encoded() -> bytes:
    return encode(
        IMAGE, (0, 255), FRACTIONS, 3, choices=lambda layer, segment: Choices(shared=64, interleaved=2), short=False
    )


STREAM = _encoded()


def header_size(stream: bytes = STREAM) -> int:
    reader = Reader(stream)
    read_header(reader)
    return reader.at


def with_header(**changes: int) -> bytes:
    """STREAM with fields of its header changed."""
    fields = {"rows": 24, "cols": 20, "tile_rows": 8, "tile_cols": 8, "low": 0, "span": 255, "layers": 5}
    fractions = [changes.pop(f"fraction_{i}", fraction) for i, fraction in enumerate(FRACTIONS)]
    packed = changes.pop("packed", 3)
    version = changes.pop("version", 1)
    assert changes.keys() <= fields.keys()
    numbers = [*(fields | changes).values(), *fractions]
    head = b"WL" + bytes([version, packed]) + b"".join(varint(number) for number in numbers)
    return resealed(head + STREAM[header_size() :])


def with_threshold(layer: int, value: float) -> bytes:
    start = header_size() if layer == 0 else list(layers_of(STREAM))[layer].start
    return resealed(STREAM[: start + 1] + struct.pack("<f", value) + STREAM[start + 5 :])


def with_segment(layer: int, segment: int, change: Callable[[bytes], bytes]) -> bytes:
    """STREAM with the body of a segment changed."""
    return with_body(STREAM, layer, segment, change)


def with_lie(context: int, value: int) -> bytes:
    """A stream whose encoder wrote, the first time it had another value than 0 for a context, ``value``."""
    told = False

    def lying(self: Recorder, contexts: list[int], signs: list[int], wanted: list[int]) -> list[int]:
        nonlocal told
        written = list(wanted)
        for place, true in enumerate(wanted):
            if contexts[place] >= context and true != 0 and not told:
                written[place], told = value, True
        values(self, contexts, signs, written)
        return wanted

    values = Recorder.values
    with patch.object(Recorder, "values", lying):
        stream = _encoded()
    assert told
    return stream


def _flipped(place: int) -> bytes:
    return STREAM[:place] + bytes([STREAM[place] ^ 1]) + STREAM[place + 1 :]


def _tables(body: bytes) -> tuple[bytes, bytes]:
    """A segment's bytes up to the end of its tables (all contexts share one), and the rest."""
    reader = Reader(body, 1)
    read_tables(reader, BLOCK_FLAGS)
    return body[: reader.at], body[reader.at :]


def _with_tables(*fields: tuple[int, int]) -> Callable[[bytes], bytes]:
    """Other tables for a segment without LL."""
    return lambda body: body[:1] + pack(list(fields)) + _tables(body)[1]


ALL_LEFT = ((0, 1), (1, 1))
LONG_RUN = ((0, 6), (0, 2), (0, 4), (1, 1), (11, 4))  # one level, for 28 contexts of 27
LONGER_RUN = ((0, 6), (0, 32))
SIXTEEN_LEVELS = ((0, 6), *ALL_LEFT, (0, 6), *ALL_LEFT, (0, 4), (15, 4), *[(0, 6)] * 16, *ALL_LEFT)


def _low_state(body: bytes) -> bytes:
    tables, tile = _tables(body)
    return tables + b"\xff\xff\0\0" + tile[4:]


def damaged_streams() -> dict[str, tuple[bytes, str]]:
    """What is wrong -> (stream, what the model's error says)."""
    layers = list(layers_of(STREAM))
    after = layers[1].start
    headers = {
        "version 2": {"version": 2},
        "0 levels": {"packed": 0},
        "9 levels": {"packed": 9},
        "6 levels of 24 x 20 pixels": {"packed": 6},
        "pixel type 5": {"packed": 0x53},
        "0 x 20 pixels": {"rows": 0},
        "24 x 65536 pixels": {"cols": 65536},
        "65535 x 65535 pixels": {"rows": 65535, "cols": 65535},
        "tiles of 0 x 64": {"tile_rows": 0},
        "tiles of 64 x 56": {"tile_cols": 7},
        "too many tiles of 64 x 64": {"rows": 19201, "cols": 13953},
        "value range of -1 to 254": {"low": 1},
        "value range of 0 to 256": {"span": 256},
        "value range of 0 to 131072": {"span": 131072, "packed": 0x43},
        "value range of -65537 to -65536": {"low": 131073, "span": 1, "packed": 0x43},
        "9 layers": {"layers": 9},
        r"fractions \(0,": {"fraction_0": 0},
        r"fractions \(1000, 1000,": {"fraction_1": 1000},
        "10000000": {"fraction_3": 10_000_000},
    }
    streams = {name: (with_header(**changes), name) for name, changes in headers.items()}
    streams |= {
        "magic": (b"WM" + STREAM[2:], "magic"),
        "long varint": (STREAM[:4] + b"\x80\x80\x80\x80\x80\x00" + STREAM[5:], "more than 5 bytes"),
        "large varint": (STREAM[:4] + b"\xff\xff\xff\xff\x7f" + STREAM[5:], "a varint of"),
        "threshold that grows": (with_threshold(1, float(layers[0].threshold) * 2), "threshold"),
        "infinite threshold": (with_threshold(0, np.inf), "threshold"),
        "threshold that is no number": (with_threshold(0, np.nan), "threshold"),
        "negative threshold": (with_threshold(0, -1.0), "threshold"),
        "threshold of minus zero": (with_threshold(3, -0.0), "threshold"),
        "3 segments": (STREAM[:after] + b"\x03" + STREAM[after + 1 :], "3 segments in layer 2"),
        "1 segment": (
            STREAM[:after] + b"\x01" + STREAM[after + 1 :],
            "one segment in layer 2, after a layer with more",
        ),
        "0 segments": (STREAM[:after] + b"\x00" + STREAM[after + 1 :], "0 segments in layer 2"),
        "flipped header": (_flipped(header_size() + 2), "CRC of segment 0"),
        "flipped CRC": (_flipped(layers[4].crc_at + 4), "CRC of segment 0"),
        "flipped segment": (_flipped(layers[4].spans[2][0]), "CRC of segment 2"),
        "ends early": (STREAM[:-1], "segment 3 ends at byte"),
        "ends in a header": (STREAM[: layers[3].crc_at], "expected 16 bytes"),
        "log2 S": (with_segment(4, 3, lambda body: bytes([body[0] | 0x60]) + body[1:]), "log2 S of 7"),
        "bit 7": (with_segment(4, 3, lambda body: bytes([body[0] | 0x80]) + body[1:]), "log2 S of 9"),
        "segment of one byte": (with_segment(4, 3, lambda body: body[:1]), "expected 1 bytes"),
        "16 levels": (with_segment(4, 3, _with_tables(*SIXTEEN_LEVELS)), "16 hazard"),
        "long run": (with_segment(4, 3, _with_tables(*LONG_RUN)), "a run of more contexts"),
        "longer run": (with_segment(4, 3, _with_tables(*LONGER_RUN)), "a run of more contexts"),
        "low state": (with_segment(4, 3, _low_state), "a state below"),
        "odd tile": (with_segment(4, 3, lambda body: body[:-1]), "a tile of"),
        "tile without states": (with_segment(4, 3, lambda body: _tables(body)[0] + bytes(6)), "a tile of 6"),
        "word missing": (with_segment(4, 3, lambda body: body[:-2]), "a word was expected"),
        "word too many": (with_segment(4, 3, lambda body: body + b"\0\0"), "does not end where it should"),
        "LL value of 0": (with_lie(LL_VALUES, 0), "a value of 0 in LL"),
        "LL magnitude of 2^22": (with_lie(LL_VALUES, 1 << 23), "a magnitude of"),
        "magnitude of an earlier layer": (with_lie(COEFFICIENTS, -5000), "a magnitude of"),
    }
    return streams
