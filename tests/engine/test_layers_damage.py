"""Damaged, cut and impossible streams and arguments: the codec's own error, which says what and where."""

from __future__ import annotations

import numpy as np
import pytest
from format_damage import damaged_streams
from format_images import (
    same,
    smooth,
)
from format_stream import layers_of

from wavestream.engine.layers import (
    DEFAULT_FRACTIONS,
    CodecError,
    decode_image,
    encode_image,
    header_of,
    segment_ends,
)

DAMAGE = damaged_streams()
# What the error must name, so that it was this rule that found the damage and not one that came later.
HEADER_ERRORS = {
    "version 2": "version 1 at byte 2, found 2",
    "0 levels": "levels .* at byte 3",
    "9 levels": "levels .* at byte 3",
    "6 levels of 24 x 20 pixels": "levels .* at byte 3",
    "pixel type 5": "pixel type .* at byte 3",
    "0 x 20 pixels": "rows .* at byte 4, found 0",
    "24 x 65536 pixels": "columns .* at byte 5, found 65536",
    "65535 x 65535 pixels": "268435456 pixels",
    "tiles of 0 x 64": "tiles .* at byte 6, found 0",
    "tiles of 64 x 56": "tiles .* at byte 7, found 7",
    "too many tiles of 64 x 64": "65536 tiles",
    "value range of -1 to 254": "-1, 254",
    "value range of 0 to 256": "0, 256",
    "value range of 0 to 131072": "131072",
    "value range of -65537 to -65536": "lowest value",
    "9 layers": "number of layers .* found 9",
    r"fractions \(0,": "fraction .* found 0",
    r"fractions \(1000, 1000,": "ascending fractions",
    "10000000": "fraction .* found 10000000",
    "magic": "57 4C.* at byte 0",
    "long varint": "at byte 4, found a longer number",
    "large varint": "at byte 4, found a longer number",
    "threshold that grows": "layer 2: .*threshold .* at byte .* order",
    "infinite threshold": "layer 1: .*threshold .* at byte .* found inf",
    "threshold that is no number": "layer 1: .*threshold .* at byte .* found nan",
    "negative threshold": "layer 1: .*threshold .* at byte .* found -1",
    "threshold of minus zero": "layer 4: .*threshold .* at byte .* found -0",
    "3 segments": "layer 2: .* segments at byte .* found 3",
    "1 segment": "layer 2: .* segments at byte .* found 1",
    "0 segments": "layer 2: .* segments at byte .* found 0",
    "flipped header": "layer 1, segment 1 .* checksum",
    "flipped CRC": "layer 5, segment 1 .* checksum",
    "flipped segment": "layer 5, segment 3 .* checksum",
    "ends early": "layer 5, segment 4: .* ends at byte",
    "ends in a header": "ends at byte .* layer 4",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(name: str) -> None:
    message = HEADER_ERRORS.get(name, r"layer \d, the segment at bytes \d+ to \d+: ")
    with pytest.raises(CodecError, match=message):
        decode_image(DAMAGE[name][0])


@pytest.mark.parametrize("size", [(1, 1), (33, 40), (200, 160)])
def test_a_prefix_decodes_from_its_end_on_and_not_one_byte_earlier(size: tuple[int, int]) -> None:
    image = smooth(*size, "uint16")
    stream = encode_image(image)
    ends = segment_ends(stream)
    deepest = min(3, header_of(stream).levels)
    for layer, keep in enumerate((*DEFAULT_FRACTIONS, 1.0)):
        for reduction in range(deepest + 1):
            end = int(ends[layer, 3 - reduction])
            same(decode_image(stream[:end], keep, reduction), decode_image(stream, keep, reduction))
            with pytest.raises(CodecError, match=r"byte") as found:
                decode_image(stream[: end - 1], keep, reduction)
            assert str(end - 1) in str(found.value)


def test_every_prefix_that_is_too_short_is_refused() -> None:
    image = smooth(20, 24)
    stream = encode_image(image)
    for length in range(len(stream)):
        with pytest.raises(CodecError):
            decode_image(stream[:length])
        with pytest.raises(CodecError):
            segment_ends(stream[:length] if length < 20 else b"")


def test_every_flipped_byte_is_found() -> None:
    image = smooth(24, 20)
    stream = encode_image(image)
    for place in range(len(stream)):
        for mask in (0x01, 0x80):
            damaged = bytearray(stream)
            damaged[place] ^= mask
            with pytest.raises(CodecError):
                decode_image(bytes(damaged))


def test_errors_say_where() -> None:
    stream = bytearray(encode_image(smooth(100, 100)))
    start, _ = list(layers_of(bytes(stream)))[4].spans[3]
    stream[start + 5] ^= 4
    with pytest.raises(CodecError, match="layer 5") as found:
        decode_image(bytes(stream))
    assert "checksum" in str(found.value) or "CRC" in str(found.value)
    same(decode_image(bytes(stream), 0.1), decode_image(encode_image(smooth(100, 100)), 0.1))


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (np.zeros((4, 4), np.float32), {}, "float32"),
        (np.zeros((4, 4), np.uint32), {}, "uint32"),
        (np.zeros((4, 4), bool), {}, "bool"),
        (np.zeros(4, np.uint8), {}, r"\(4,\)|dimension"),
        (np.zeros((2, 4, 4), np.uint8), {}, r"\(2, 4, 4\)|dimension"),
        (np.zeros((0, 4), np.uint8), {}, r"0"),
        (np.zeros((1, 65536), np.uint8), {}, "65536"),
        (np.zeros((4, 4), np.uint8), {"value_range": (1, 9)}, "0"),
        (np.full((4, 4), 9, np.uint8), {"value_range": (0, 8)}, "9"),
        (np.zeros((4, 4), np.uint8), {"value_range": (-1, 8)}, "-1"),
        (np.zeros((4, 4), np.uint8), {"value_range": (0, 256)}, "256"),
        (np.zeros((4, 4), np.uint8), {"value_range": (8, 0)}, "8"),
        (np.full((4, 4), 65536, np.int32), {}, "65536"),
        (np.full((4, 4), -65537, np.int32), {}, "65537"),
        (np.zeros((4, 4), np.uint8), {"fractions": (0.1, 0.01)}, "0.01"),
        (np.zeros((4, 4), np.uint8), {"fractions": (0.1, 0.1)}, "0.1"),
        (np.zeros((4, 4), np.uint8), {"fractions": (0.0, 0.1)}, "0"),
        (np.zeros((4, 4), np.uint8), {"fractions": (0.1, 1.0)}, "1"),
        (np.zeros((4, 4), np.uint8), {"fractions": (1 / 3,)}, "0.333"),
        (np.zeros((4, 4), np.uint8), {"fractions": tuple(i / 10 for i in range(1, 9))}, "8"),
        (np.zeros((4, 4), np.uint8), {"levels": 0}, "0"),
        (np.zeros((600, 600), np.uint8), {"levels": 9}, "9"),
    ],
)
def test_what_cannot_be_encoded_is_refused(image: np.ndarray, arguments: dict, message: str) -> None:
    with pytest.raises((CodecError, ValueError, TypeError), match=message):
        encode_image(image, **arguments)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5, float("nan")])
def test_keeps_outside_0_to_1_are_refused(keep: float) -> None:
    stream = encode_image(smooth(8, 8))
    with pytest.raises((CodecError, ValueError), match="keep"):
        decode_image(stream, keep)


@pytest.mark.parametrize("reduction", [-1, 4, 9])
def test_reductions_that_there_are_not_are_refused(reduction: int) -> None:
    stream = encode_image(smooth(64, 64))
    with pytest.raises((CodecError, ValueError), match="reduction"):
        decode_image(stream, 1.0, reduction)
