"""The layered codec: lossless on hostile images, of every type; where the pixels go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from format_images import (
    MAKERS,
    Maker,
    checkerboard,
    injected,
    noise,
    same,
    smooth,
)
from format_stream import DTYPES, Reader, read_header

from wavestream.engine.layers import (
    DEFAULT_FRACTIONS,
    CodecError,
    decode_image,
    encode_image,
    header_of,
)

ODD_FRACTIONS = (0.0123457, 0.25)
SIZES = ((1, 1), (1, 2), (2, 1), (1, 97), (101, 1), (2, 2), (7, 5), (31, 37), (64, 64), (97, 131))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_whole_is_lossless(maker: Maker, dtype: str) -> None:
    for size in SIZES:
        image = maker(*size, dtype)
        same(decode_image(encode_image(image)), image)


@pytest.mark.parametrize(("maker", "dtype"), [(noise, "uint16"), (smooth, "int16"), (checkerboard, "uint8")])
def test_long_images_are_lossless(maker: Maker, dtype: str) -> None:
    for size in ((4097, 3), (3, 4097)):
        image = maker(*size, dtype)
        same(decode_image(encode_image(image)), image)


@pytest.mark.parametrize("value_range", [(-1000, 3000), (-7, -7), (0, 1), (-65536, 65535), (-65536, -65535)])
def test_value_ranges(value_range: tuple[int, int]) -> None:
    random = np.random.default_rng(8)
    image = random.integers(*value_range, (29, 31), endpoint=True).astype(np.int32)
    stream = encode_image(image, value_range)
    assert header_of(stream).value_range == value_range
    same(decode_image(stream), image)
    for keep in (0.001, 0.01, 0.1):
        same(decode_image(stream, keep), injected(image, keep, value_range=value_range))


@pytest.mark.parametrize("levels", range(1, 9))
def test_every_number_of_levels(levels: int) -> None:
    image = smooth(300, 260, "uint8")
    stream = encode_image(image, levels=levels)
    assert header_of(stream).levels == levels
    same(decode_image(stream), image)
    same(decode_image(stream, 0.01), injected(image, 0.01, levels))


@pytest.mark.parametrize(
    "fractions", [(), (0.5,), ODD_FRACTIONS, (1e-7, 0.9999999), tuple(i / 10 for i in range(1, 8))]
)
def test_other_fractions(fractions: tuple[float, ...]) -> None:
    image = smooth(53, 47, "int16")
    stream = encode_image(image, fractions=fractions)
    assert header_of(stream).fractions == fractions
    same(decode_image(stream), image)
    for keep in (*fractions, 0.3):
        same(decode_image(stream, keep), injected(image, keep))


def test_images_that_lie_oddly_in_memory() -> None:
    image = smooth(80, 60, "uint16")
    stream = encode_image(image)
    for view in (np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2], image[::-1][::-1], image.astype(">u2")):
        assert encode_image(view) == stream
    before = image.copy()
    encode_image(image)
    same(image, before)


def test_streams_are_the_same_every_time() -> None:
    image = smooth(80, 60, "uint16")
    assert encode_image(image) == encode_image(image)
    assert isinstance(encode_image(image), bytes)


def test_out_is_written_in_its_corner_and_nowhere_else() -> None:
    image = smooth(45, 38, "uint16")
    stream = encode_image(image)
    for canvas in (np.full((60, 100), 4242, np.uint16), np.full((45, 38), 4242, np.uint16)):
        for reduction, keep in ((0, 1.0), (2, 1.0), (0, 0.01), (1, 0.02)):
            canvas[...] = 4242
            rows, cols = -(-45 >> reduction), -(-38 >> reduction)
            assert decode_image(stream, keep, reduction, out=canvas) is canvas
            same(canvas[:rows, :cols], decode_image(stream, keep, reduction))
            assert (canvas[rows:] == 4242).all()
            assert (canvas[:, cols:] == 4242).all()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((44, 38), np.uint16),
        np.zeros((45, 37), np.uint16),
        np.zeros((60, 10), np.uint16),
        np.zeros((45, 38), np.int16),
        np.zeros((45, 38), np.float64),
        np.zeros((45, 38, 1), np.uint16),
        np.zeros((45, 76), np.uint16)[:, ::2],
        np.zeros((45, 38), np.uint16, order="F"),
        np.broadcast_to(np.uint16(0), (45, 38)),
        np.frombuffer(bytes(2 * 45 * 38), np.uint16).reshape(45, 38),
    ],
)
def test_outs_that_do_not_fit_are_refused(out: np.ndarray) -> None:
    stream = encode_image(smooth(45, 38, "uint16"))
    with pytest.raises((CodecError, ValueError, TypeError)):
        decode_image(stream, out=out)


def test_many_threads_decode_at_once() -> None:
    images = [smooth(50 + 7 * index, 90 - 5 * index, "uint16", seed=index) for index in range(8)]
    streams = [encode_image(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            for found, image in zip(pool.map(decode_image, streams), images, strict=True):
                same(found, image)
            again = pool.map(encode_image, images)
            assert list(again) == streams


def test_header() -> None:
    header = header_of(encode_image(smooth(45, 38, "int16"), (-32768, 32767)))
    assert (header.rows, header.cols, header.levels) == (45, 38, 5)
    assert header.dtype == np.int16
    assert header.value_range == (-32768, 32767)
    assert header.fractions == DEFAULT_FRACTIONS


def test_the_header_of_an_ordinary_image_is_small() -> None:
    stream = encode_image(smooth(512, 512))
    reader = Reader(stream)
    read_header(reader)
    assert reader.at == 14
