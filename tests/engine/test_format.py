"""The model of docs/format.md (format_decoder.py, format_encoder.py) against the kernels' reference; damage."""

from __future__ import annotations

import numpy as np
import pytest
from format_coefficients import MAGNITUDES, lowest_magnitude, subbands_of
from format_damage import FRACTIONS, IMAGE, STREAM, damaged_streams, with_header, with_segment, with_threshold
from format_decoder import decode
from format_encoder import encode
from format_entropy import CERTAINLY, HAZARDS, Table, TileDecoder, split, table_of_flags, table_of_values
from format_stream import Damaged, crc32c, layers_of
from format_symbols import Choices

from wavestream.kernels.layout import layout_of
from wavestream.kernels.reference import (
    forward_reference,
    inject_reference,
    inverse_reference,
    kth_magnitude_reference,
    weighted_magnitudes,
)


def smooth(rows: int, cols: int, dtype: str, low: int, high: int, seed: int = 3) -> np.ndarray:
    """Waves with a little noise, of the whole range."""
    random = np.random.default_rng(seed)
    row, col = np.mgrid[0:rows, 0:cols]
    wave = np.sin(row / 5) + np.cos(col / 7) + random.normal(0, 0.05, (rows, cols))
    return np.clip(low + (wave + 2) / 4 * (high - low), low, high).astype(dtype)


def noise(rows: int, cols: int, dtype: str, low: int, high: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (rows, cols), endpoint=True).astype(dtype)


def odd_choices(layer: int, segment: int) -> Choices:
    """Every k, every S, several numbers of levels and runs."""
    number = 4 * layer + segment
    return Choices(
        number % 7,
        1 << number % 6,
        number % 16,
        1 + number % 15,
        1 + 13 * number % 64,
        bool(number & 1),
        bool(number & 2),
    )


def reduced_reference(
    image: np.ndarray, keep: float, levels: int, reduction: int, value_range: tuple[int, int]
) -> np.ndarray:
    """The kept coefficients, inverted but for the last ``reduction`` levels."""
    layout = layout_of(*image.shape, "cdf53", levels)
    packed = forward_reference(image, "cdf53", levels)
    if keep < 1:
        kept = weighted_magnitudes(packed, layout) >= kth_magnitude_reference(packed, keep, layout)
        packed = np.where(kept, packed, 0)
    rows, cols = (int(side) for side in layout.low_shapes[reduction])
    packed = packed[: rows * cols]
    if reduction == levels:
        small = packed.reshape(rows, cols)
    else:
        small = inverse_reference(packed, (rows, cols), "cdf53", levels - reduction)
    return np.clip(small, *value_range).astype(image.dtype)


IMAGES = {
    "1x1": (noise(1, 1, "uint8", 0, 255), (0, 255), 1, None),
    "1x7": (noise(1, 7, "int8", -128, 127), (-128, 127), 3, None),
    "2x1": (noise(2, 1, "uint16", 0, 65535), (0, 65535), 1, None),
    "9x2 as deep as it goes": (noise(9, 2, "uint8", 0, 255), (0, 255), 4, (64, 64)),
    "13x17 of 16 bits": (noise(13, 17, "uint16", 0, 65535), (0, 65535), 4, None),
    "140x3 in tiles": (smooth(140, 3, "int16", -1024, 3071), (-1024, 3071), 2, (64, 64)),
    "65x129 in tiles": (smooth(65, 129, "uint8", 0, 255), (0, 255), 3, (64, 64)),
    "48x31 of 17 bits": (noise(48, 31, "int32", -65536, 65535), (-65536, 65535), 5, None),
    "constant": (np.full((19, 23), 77, np.uint8), (0, 255), 3, None),
    "zero": (np.zeros((19, 23), np.int16), (-5, 5), 3, None),
    "one value": (np.full((5, 6), -9, np.int8), (-9, -9), 2, None),
    "checkerboard": ((np.indices((20, 20)).sum(0) % 2 * 255).astype(np.uint8), (0, 255), 2, None),
}
images = pytest.mark.parametrize(("image", "value_range", "levels", "tile"), IMAGES.values(), ids=IMAGES.keys())


def test_checksum_and_table_are_those_of_the_document() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, and every list of CRCs
    assert HAZARDS[:4] == [22, 28, 36, 47]
    assert HAZARDS[32] == 32768
    assert HAZARDS[-1] == 65500


@pytest.mark.parametrize("levels", range(1, 9))
def test_norms_are_those_of_the_kernels(levels: int) -> None:
    bands = subbands_of(100, 90, levels)
    expected = layout_of(100, 90, "cdf53", levels)
    np.testing.assert_array_equal([band.weight for band in bands], expected.weights)
    assert [(b.orientation, b.level, b.rows, b.cols) for b in bands] == [
        (s.orientation, s.level, s.rows, s.cols) for s in expected.subbands
    ]


@pytest.mark.parametrize("threshold", [0.0, 1e-30, 0.5, 1.0, 37.25, 9999.5, 3e38])
def test_lowest_magnitudes_divide_as_the_threshold_does(threshold: float) -> None:
    for band in subbands_of(512, 512, 5):
        lowest = lowest_magnitude(np.float32(threshold), band.weight)
        magnitudes = np.arange(max(1, lowest - 3), min(lowest + 3, MAGNITUDES))
        reaching = magnitudes.astype(np.float32) * band.weight >= np.float32(threshold)
        np.testing.assert_array_equal(reaching, magnitudes >= lowest)


@pytest.mark.parametrize("hazards", [[0] * 15, [62] * 15, [31], [0, 62], [5, 63], [63], list(range(0, 60, 4))])
def test_frequencies_of_values_leave_room_for_a_sign(hazards: list[int]) -> None:
    frequencies = table_of_values(0, hazards).frequencies
    assert sum(frequencies) == 4096
    last = next((i for i, level in enumerate(hazards) if level == CERTAINLY), 15)
    assert frequencies[0] >= 1
    assert all(size >= 2 for size in frequencies[1 : last + 1])
    assert sum(frequencies[: last + 1]) == 4096


@pytest.mark.parametrize("level", range(64))
def test_flags_and_signs_of_both_kinds_can_always_come(level: int) -> None:
    table = table_of_flags(level)
    assert sum(table.frequencies) == 4096
    assert min(table.frequencies[:2]) >= 1
    for size in (2, 3, 100, 4096):
        assert 1 <= split(size, table) <= size - 1


@images
def test_whole_streams_are_lossless(
    image: np.ndarray, value_range: tuple[int, int], levels: int, tile: tuple[int, int] | None
) -> None:
    plain = encode(image, value_range, FRACTIONS, levels, tile=tile)
    odd = encode(image, value_range, FRACTIONS, levels, tile=tile, one_segment=5, choices=odd_choices)
    for stream in (plain, odd):
        decoded = decode(stream)
        assert decoded.dtype == image.dtype
        np.testing.assert_array_equal(decoded, image)


@images
def test_layers_are_the_injected_image(
    image: np.ndarray, value_range: tuple[int, int], levels: int, tile: tuple[int, int] | None
) -> None:
    stream = encode(image, value_range, FRACTIONS, levels, tile=tile, one_segment=2, choices=odd_choices)
    ends = [layer.spans[-1][1] for layer in layers_of(stream)]
    for keep, end in [
        *((fraction / 10**7, end) for fraction, end in zip(FRACTIONS, ends, strict=False)),
        (0.003, ends[2]),
        (0.5, ends[4]),
    ]:
        expected = inject_reference(image, keep, "cdf53", levels, value_range)
        np.testing.assert_array_equal(decode(stream[:end], keep), expected)
        with pytest.raises(Damaged):
            decode(stream[: end - 1], keep)


@images
def test_reduced_images_are_the_partial_inverse(
    image: np.ndarray, value_range: tuple[int, int], levels: int, tile: tuple[int, int] | None
) -> None:
    stream = encode(image, value_range, FRACTIONS, levels, tile=tile, one_segment=3, choices=odd_choices)
    deepest = min(3, levels)
    for reduction in range(deepest + 1):
        for keep in (0.0001, 0.001, 0.03, 0.1, 1.0):
            expected = reduced_reference(image, keep, levels, reduction, value_range)
            np.testing.assert_array_equal(decode(stream, keep, reduction), expected)
    with pytest.raises(ValueError, match="reduction"):
        decode(stream, 1.0, deepest + 1)


def test_the_streams_of_these_tests_use_all_that_the_format_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token, k and number of states; otherwise the tests above would not show what they seem to."""
    tokens, shifts, states = set(), set(), set()
    take = TileDecoder._token

    def noted(self: TileDecoder, i: int, table: Table, sign: Table | None = None) -> tuple[int, bool]:
        token, negative = take(self, i, table, sign)
        if sign is not None:
            tokens.add((token, negative))
            shifts.add(table.k)
            states.add(self.interleaved)
        return token, negative

    monkeypatch.setattr(TileDecoder, "_token", noted)
    image, value_range, levels, tile = IMAGES["48x31 of 17 bits"]
    for k in range(0, 16, 4):

        def choices(layer: int, segment: int, k: int = k) -> Choices:
            return Choices(interleaved=1 << (layer + segment) % 6, k=k + segment, shared=64)

        decoded = decode(encode(image, value_range, FRACTIONS, levels, tile=tile, choices=choices))
        np.testing.assert_array_equal(decoded, image)
    assert tokens == {(0, False), *((token, negative) for token in range(1, 16) for negative in (False, True))}
    assert shifts == set(range(16))
    assert states == {1, 2, 4, 8, 16, 32}


def test_a_reduced_image_needs_the_coarse_segments_only() -> None:
    image = smooth(40, 56, "uint8", 0, 255)
    stream = bytearray(encode(image, (0, 255), FRACTIONS, 4))
    for layer in layers_of(bytes(stream)):
        for start, stop in layer.spans[3:]:
            stream[start:stop] = bytes(stop - start)
    np.testing.assert_array_equal(decode(bytes(stream), 1.0, 1), reduced_reference(image, 1.0, 4, 1, (0, 255)))
    with pytest.raises(Damaged, match="CRC of segment 3"):
        decode(bytes(stream))


def test_layers_with_equal_thresholds_are_empty() -> None:
    image = smooth(24, 24, "uint8", 0, 255)
    stream = encode(image, (0, 255), FRACTIONS, 3, thresholds=[3e38, 100.0, 100.0, 0.0])
    sizes = [sum(stop - start for start, stop in layer.spans) for layer in layers_of(stream)]
    assert [size > 0 for size in sizes] == [False, True, False, True, False]
    np.testing.assert_array_equal(decode(stream), image)


DAMAGE = damaged_streams()


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str) -> None:
    stream, message = DAMAGE[name]
    with pytest.raises(Damaged, match=message):
        decode(stream)


def test_the_damaged_streams_are_made_of_a_sound_one() -> None:
    np.testing.assert_array_equal(decode(STREAM), IMAGE)
    assert with_header() == STREAM
    assert with_segment(4, 3, lambda body: body) == STREAM
    assert with_threshold(1, float(list(layers_of(STREAM))[1].threshold)) == STREAM


def test_every_flipped_byte_is_found() -> None:
    for place in range(len(STREAM)):
        with pytest.raises(Damaged):
            decode(STREAM[:place] + bytes([STREAM[place] ^ 0x10]) + STREAM[place + 1 :])
