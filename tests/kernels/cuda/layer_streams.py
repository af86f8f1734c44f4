"""Layered images for the tests of the CUDA decoder, and what every way of running it must do with them.

The streams are those of the product's encoder, and those that only the plain encoder of the format's tests writes. The
oracle is the CPU decoder, which has a battery of its own against the model of ``docs/format.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from format_encoder import Choices, encode, with_body
from format_mutations import mutated

from wavestream.engine.bitstream import read_header, read_layer
from wavestream.engine.layers import CodecError, decode_image, encode_image, header_of
from wavestream.engine.layers_cuda import decode_batch

DTYPES = ("uint8", "int8", "uint16", "int16", "int32")
SIZES = ((1, 1), (1, 7), (9, 20), (17, 23), (66, 70))
KEEPS = (0.01, 1.0, 0.1, 0.05, 1.0)
_FRACTIONS = (1_000, 10_000, 100_000, 1_000_000)


def limits_of(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return max(int(limits.min), -65536), min(int(limits.max), 65535)


def picture(shape: tuple[int, int], dtype: str, seed: int = 0) -> np.ndarray:
    """Waves with noise of the whole range, an edge, and in one corner noise of the whole range."""
    low, high = limits_of(dtype)
    random = np.random.default_rng([*shape, seed])
    row, col = np.mgrid[0 : shape[0], 0 : shape[1]]
    image = (np.sin(row / 7) + np.cos(col / 5) + (row > col) + 2) / 5 + random.normal(0, 0.02, shape)
    corner = tuple(-(-side // 3) for side in shape)
    image[: corner[0], : corner[1]] = random.random(corner)
    return np.clip(np.rint(low + image * (high - low)), low, high).astype(dtype)


def plain_stream(image: np.ndarray, levels: int = 3, states: int = 0, one_segment: int = 2) -> bytes:
    """A stream of the plain encoder: tiles of 64, other choices in every segment (``states``: 0 for other numbers)."""

    def choices(layer: int, segment: int) -> Choices:
        return Choices(
            scale=layer + segment,
            interleaved=states or 1 << (layer + 2 * segment) % 6,
            k=layer,
            hazards=3 + 4 * segment,
            shared=40,
            explicit=layer == 2,
        )

    return encode(
        image, limits_of(str(image.dtype)), _FRACTIONS, levels, tile=(64, 64), one_segment=one_segment, choices=choices
    )


def expected_canvas(stream: bytes, keep: float, reduction: int, canvas: tuple[int, int]) -> np.ndarray:
    image = decode_image(stream, keep, reduction)
    expected = np.zeros(canvas, image.dtype)
    expected[: image.shape[0], : image.shape[1]] = image
    return expected


def decoded(
    backend: Any, streams: Sequence[bytes], keeps: Sequence[float], reduction: int, canvas: tuple[int, int]
) -> np.ndarray:
    """The batch as the device decodes it, into a canvas that held something else before."""
    out = backend.to_device(np.full((len(streams), *canvas), 77, header_of(streams[0]).dtype))
    decode_batch(streams, keeps, reduction, out)
    return np.asarray(backend.to_host(out))


def check_batch(backend: Any, streams: Sequence[bytes], keeps: Sequence[float], reduction: int = 0) -> None:
    """The batch on the device is, bit for bit, what the CPU decodes, in canvases somewhat larger than the largest."""
    headers = [header_of(stream) for stream in streams]
    rows, cols = (max(getattr(header, side) for header in headers) for side in ("rows", "cols"))
    canvas = -(-rows >> reduction) + 2, -(-cols >> reduction) + 1
    found = decoded(backend, streams, keeps, reduction, canvas)
    for image, stream, keep in zip(found, streams, keeps, strict=True):
        np.testing.assert_array_equal(image, expected_canvas(stream, keep, reduction, canvas))


def filled_segments(stream: bytes) -> list[tuple[int, int]]:
    """(layer, segment) of each segment that is not empty."""
    header, layers = read_header(stream), []
    for _ in range(header.layers):
        layers.append(read_layer(memoryview(stream), header, layers))
    return [
        (number, index) for number, layer in enumerate(layers) for index, (a, b) in enumerate(layer.segments) if b > a
    ]


def check_mutations(backend: Any, streams: Sequence[bytes], count: int, seed: int) -> None:
    """Streams that were changed within a segment, every checksum right, decode to the CPU's pixels or are refused."""
    refused = 0
    for number in range(count):
        random = np.random.default_rng([seed, number])
        stream = streams[random.integers(len(streams))]
        places = filled_segments(stream)
        place = places[random.integers(len(places))]
        stream = with_body(stream, *place, lambda body, random=random: mutated(body, random))
        header = header_of(stream)
        keep, reduction = random.choice([0.001, 0.1, 0.5, 1.0]), int(random.integers(2))
        canvas = -(-header.rows >> reduction), -(-header.cols >> reduction)
        try:
            expected = expected_canvas(stream, keep, reduction, canvas)
        except CodecError:
            expected = None
        try:
            found = decoded(backend, [stream], [keep], reduction, canvas)[0]
        except CodecError:
            found = None
            refused += 1
        assert (found is None) == (expected is None), f"mutation {number} of seed {seed}"
        if expected is not None:
            np.testing.assert_array_equal(found, expected, err_msg=f"mutation {number} of seed {seed}")
    # Both happen often, or the mutations would show nothing.
    assert count // 10 < refused < count - count // 10, f"{refused} of {count} refused"


def product_streams(dtype: str, sizes: Sequence[tuple[int, int]] = SIZES) -> list[bytes]:
    return [encode_image(picture(size, dtype, seed)) for seed, size in enumerate(sizes)]
