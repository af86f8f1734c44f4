"""The model of docs/format.md and the codec read each other's streams."""

from __future__ import annotations

from collections.abc import Callable

import format_decoder as model
import numpy as np
import pytest
from format_encoder import encode
from format_images import (
    MAKERS,
    Maker,
    checkerboard,
    constant,
    cut_out,
    injected,
    noise,
    same,
    smooth,
    whole_range,
)
from format_symbols import Choices

from wavestream.engine.layers import (
    DEFAULT_FRACTIONS,
    decode_image,
    encode_image,
    header_of,
    needed_ranges,
    segment_ends,
)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_model_reads_the_products_streams(maker: Maker) -> None:
    for size, dtype in (
        ((1, 1), "int8"),
        ((1, 33), "uint8"),
        ((29, 1), "int16"),
        ((45, 38), "uint16"),
        ((64, 40), "int32"),
        ((1030, 4), "uint8"),
    ):
        image = maker(*size, dtype)
        stream = encode_image(image)
        deepest = min(3, header_of(stream).levels)
        same(model.decode(stream), image)
        for reduction in range(deepest + 1):
            for keep in (0.0001, 0.001, 0.02, 0.1):
                same(model.decode(stream, keep, reduction), decode_image(stream, keep, reduction))


def odd_choices(layer: int, segment: int) -> Choices:
    number = 4 * layer + segment
    return Choices(
        scale=number % 16,
        interleaved=1 << number % 6,
        k=number % 16,
        hazards=1 + number % 15,
        shared=1 + 13 * number % 64,
        counted=bool(number % 3),
        certain=bool(number & 1),
        explicit=bool(number & 2),
    )


FOREIGN = {
    "every choice": (smooth(70, 90, "uint8"), 3, (64, 64), 2, odd_choices),
    "other choices": (smooth(45, 70, "uint16"), 4, None, 3, lambda layer, segment: odd_choices(layer + 2, segment + 1)),
    "one segment everywhere": (smooth(40, 71, "int16"), 2, (64, 64), 5, odd_choices),
    "noise of 17 bits": (noise(40, 33, "int32"), 5, None, 1, odd_choices),
    "no raw bits": (noise(24, 24, "uint16"), 2, None, 0, lambda layer, segment: Choices(k=0, interleaved=4, shared=5)),
    "all raw bits": (
        noise(24, 24, "uint16"),
        2,
        None,
        0,
        lambda layer, segment: Choices(k=15, interleaved=8, shared=5),
    ),
    "as deep as it goes": (noise(3, 5, "uint8"), 3, None, 0, odd_choices),
    "a tile larger than the image": (smooth(30, 30, "uint8"), 3, (256, 1 << 34), 0, odd_choices),
    "a line": (noise(1, 150, "int8"), 3, (64, 64), 3, odd_choices),
    "a column": (smooth(150, 1, "uint8"), 3, (64, 64), 3, odd_choices),
    "rows of tiles": (smooth(200, 6, "uint8"), 1, (66, 64), 0, odd_choices),
    "nothing": (np.zeros((20, 70), np.uint8), 3, (64, 64), 0, odd_choices),
    "constant": (constant(65, 20, "int16"), 3, (64, 64), 1, odd_choices),
    "checkerboard": (checkerboard(33, 70, "uint8"), 3, (64, 64), 0, odd_choices),
}
foreign = pytest.mark.parametrize(
    ("image", "levels", "tile", "one_segment", "choices"), FOREIGN.values(), ids=FOREIGN.keys()
)


@foreign
def test_the_product_reads_streams_that_it_would_not_write(
    image: np.ndarray,
    levels: int,
    tile: tuple[int, int] | None,
    one_segment: int,
    choices: Callable[[int, int], Choices],
) -> None:
    units = (1_000, 10_000, 100_000, 1_000_000)
    value_range = whole_range(str(image.dtype))
    stream = encode(image, value_range, units, levels, tile=tile, one_segment=one_segment, choices=choices)
    same(decode_image(stream), image)
    ends = segment_ends(stream)
    for reduction in range(min(3, levels) + 1):
        for keep in (0.0001, 0.001, 0.004, 0.01, 0.1, 0.6):
            ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep, reduction)
            found = decode_image(cut_out(stream, ranges), keep, reduction)
            same(found, model.decode(stream, keep, reduction))


def test_the_product_reads_equal_and_unreached_thresholds() -> None:
    image = smooth(24, 24)
    for thresholds in ([3e38, 100.0, 100.0, 0.0], [0.0] * 4, [50.0] * 4, [1e-40, 0.0, 0.0, 0.0]):
        for choices in (lambda layer, segment: Choices(shared=64), odd_choices):
            stream = encode(image, (0, 255), (1, 2, 3, 4), 3, thresholds=thresholds, choices=choices)
            same(model.decode(stream), image)
            same(decode_image(stream), image)
            for keep in (1e-7, 2e-7, 3e-7, 4e-7):
                same(decode_image(stream, keep), model.decode(stream, keep))


def test_bytes_behind_a_stream_and_padding_are_no_matter() -> None:
    image = smooth(40, 40)
    stream = encode_image(image)
    same(decode_image(stream + b"anything"), image)
    for buffer in (bytearray(stream), memoryview(stream), np.frombuffer(stream, np.uint8)):
        same(decode_image(buffer), image)
        same(decode_image(buffer, 0.05), injected(image, 0.05))
        assert header_of(buffer) == header_of(stream)
        np.testing.assert_array_equal(segment_ends(buffer), segment_ends(stream))
