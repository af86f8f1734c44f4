"""The layered codec against the model of its document, the artifact kernels, and hostile images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import format_decoder as model
import numpy as np
import pytest
from format_damage import damaged_streams
from format_encoder import Choices, encode, transform

from wavestream.engine.layers import (
    DEFAULT_FRACTIONS,
    REDUCTIONS,
    CodecError,
    decode_image,
    encode_image,
    header_of,
    needed_ranges,
    segment_ends,
)
from wavestream.kernels import inject

ODD_FRACTIONS = (0.0123457, 0.25)
KEEPS = (0.00005, 0.0001, 0.0004, 0.001, 0.003, 0.01, 0.05, 0.1, 0.4, 0.999, 1.0)


def whole_range(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return max(int(limits.min), -65536), min(int(limits.max), 65535)


def noise(rows: int, cols: int, dtype: str = "uint8", seed: int = 5) -> np.ndarray:
    low, high = whole_range(dtype)
    return np.random.default_rng(seed).integers(low, high, (rows, cols), endpoint=True).astype(dtype)


def smooth(rows: int, cols: int, dtype: str = "uint8", seed: int = 5) -> np.ndarray:
    """Waves with a little noise, of the whole range: what the codec is for."""
    low, high = whole_range(dtype)
    row, col = np.mgrid[0:rows, 0:cols]
    wave = np.sin(row / 23) + np.cos(col / 17) + np.random.default_rng(seed).normal(0, 0.01, (rows, cols))
    return np.clip(low + (wave + 2) / 4 * (high - low), low, high).astype(dtype)


def checkerboard(rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    low, high = whole_range(dtype)
    return np.where(np.indices((rows, cols)).sum(0) % 2 == 0, low, high).astype(dtype)


def gradient(rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    low, high = whole_range(dtype)
    return np.linspace(low, high, rows * cols).astype(dtype).reshape(rows, cols)


def constant(rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    return np.full((rows, cols), whole_range(dtype)[1], dtype)


DTYPES = ("uint8", "int8", "uint16", "int16", "int32")
SIZES = ((1, 1), (1, 2), (2, 1), (1, 97), (101, 1), (2, 2), (7, 5), (31, 37), (64, 64), (97, 131))
Maker = Callable[..., np.ndarray]
MAKERS = (noise, smooth, checkerboard, gradient, constant)


def injected(
    image: np.ndarray, keep: float, levels: int | None = None, value_range: tuple[int, int] | None = None
) -> np.ndarray:
    """What the artifact kernels make of the whole image (of int8, which they do not take, by way of int16)."""
    if keep == 1:
        return image
    limits = whole_range(str(image.dtype)) if value_range is None else value_range
    pixels = image.astype(np.int16) if image.dtype == np.int8 else image
    return inject(pixels[None], keep, "cdf53", levels, value_range=limits)[0].astype(image.dtype)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def cut_out(stream: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """The bytes of the ranges at their places, garbage between them, and nothing behind them."""
    sparse = bytearray(b"\xa5" * ranges[-1][1])
    for start, stop in ranges:
        sparse[start:stop] = stream[start:stop]
    return bytes(sparse)


# --- lossless ------------------------------------------------------------------------------------------------------


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


# --- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_prefixes_are_the_injected_image(maker: Maker, dtype: str) -> None:
    value_range = whole_range(dtype)
    for size in ((1, 1), (1, 97), (101, 1), (31, 37), (97, 131)):
        image = maker(*size, dtype)
        stream = encode_image(image, value_range)
        ends = segment_ends(stream)
        assert ends.dtype == np.int64
        assert ends.shape == (len(DEFAULT_FRACTIONS) + 1, REDUCTIONS)
        for keep in KEEPS:
            ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep)
            layer = next((i for i, fraction in enumerate(DEFAULT_FRACTIONS) if fraction >= keep), 4)
            assert ranges == [(0, ends[layer, 3])]
            expected = injected(image, keep, value_range=value_range)
            same(decode_image(cut_out(stream, ranges), keep), expected)
            same(decode_image(stream, keep), expected)


def test_keeps_where_half_a_coefficient_is_rounded() -> None:
    """``keep * rows * cols`` falls on halves and beside them: it must be computed as the kernels compute it."""
    for rows, cols in ((7, 5), (3, 15), (15, 3), (35, 1), (11, 25)):
        image = noise(rows, cols, "uint16")
        fractions = tuple(round((count + 0.5) / (rows * cols), 7) for count in (0, 1, 2, 5))
        stream = encode_image(image, fractions=fractions)
        for keep in (*fractions, 0.1, 0.3, 0.7):
            same(decode_image(stream, keep), injected(image, keep))


def reduced(image: np.ndarray, levels: int, keep: float, reduction: int) -> np.ndarray:
    """The kept coefficients by the model's transform, inverted but for the last ``reduction`` levels."""
    bands = transform(image, levels)
    model.drop_below(bands, model.kept(keep, *image.shape))
    return np.clip(model.inverse(bands, reduction), *whole_range(str(image.dtype))).astype(image.dtype)


@pytest.mark.parametrize("maker", MAKERS)
def test_reduced_images(maker: Maker) -> None:
    for (rows, cols), dtype in (((97, 131), "uint8"), ((64, 8), "int16"), ((1, 97), "uint16"), ((33, 9), "int32")):
        image = maker(rows, cols, dtype)
        stream = encode_image(image, whole_range(dtype))
        ends = segment_ends(stream)
        for reduction in range(REDUCTIONS):
            for keep in (0.0001, 0.003, 0.01, 0.1, 0.5, 1.0):
                ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep, reduction)
                found = decode_image(cut_out(stream, ranges), keep, reduction)
                assert found.shape == (-(-rows >> reduction), -(-cols >> reduction))
                same(found, reduced(image, header_of(stream).levels, keep, reduction))


def test_needed_ranges_are_what_the_document_says_and_no_more() -> None:
    image = smooth(128, 128)
    stream = encode_image(image)
    layers = list(model.layers_of(stream))
    ends = segment_ends(stream)
    for index, layer in enumerate(layers):
        stops = [stop for _, stop in layer.spans] * (4 if len(layer.spans) == 1 else 1)
        assert ends[index].tolist() == stops
    assert ends[-1, -1] == len(stream)
    for reduction in range(REDUCTIONS):
        for last, keep in enumerate((*DEFAULT_FRACTIONS, 1.0)):
            needed = set()
            for layer in layers[: last + 1]:
                stop = layer.spans[min(3 - reduction, len(layer.spans) - 1)][1]
                needed |= set(range(layer.start, stop))
            ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep, reduction)
            assert set().union(*(range(*span) for span in ranges)) == needed
            assert all(first[1] < second[0] for first, second in pairwise(ranges))
    # Between two fractions the threshold is that of the whole image.
    assert needed_ranges(ends, DEFAULT_FRACTIONS, 0.05, 2) == [(0, ends[3, 3])]


@pytest.mark.parametrize(("rows", "cols", "levels"), [(1, 1, 1), (3, 3, 2), (9, 9, 1)])
def test_images_with_few_levels_have_fewer_reductions(rows: int, cols: int, levels: int) -> None:
    image = noise(rows, cols)
    stream = encode_image(image, levels=levels)
    ends = segment_ends(stream)
    for column in range(3 - levels):
        np.testing.assert_array_equal(ends[:, column], ends[:, 3 - levels])
    same(decode_image(stream, 1.0, levels), reduced(image, levels, 1.0, levels))
    with pytest.raises(CodecError, match=f"{levels}"):
        decode_image(stream, 1.0, levels + 1)


def test_ties_stay_together() -> None:
    """In a constant image all of LL ties, in a checkerboard every coefficient."""
    for image in (constant(64, 64), checkerboard(64, 64), np.zeros((64, 64), np.uint8)):
        stream = encode_image(image)
        for keep in KEEPS:
            same(decode_image(stream, keep), injected(image, keep))
        assert len(stream) < 400
    layers = list(model.layers_of(encode_image(np.zeros((64, 64), np.uint8))))
    assert [float(layer.threshold) for layer in layers] == [0.0] * 5


# --- the model and the product read each other ---------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
def test_the_model_reads_the_products_streams(maker: Maker) -> None:
    for size, dtype in (
        ((1, 1), "int8"),
        ((1, 33), "uint8"),
        ((29, 1), "int16"),
        ((45, 38), "uint16"),
        ((64, 40), "int32"),
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


# --- damage --------------------------------------------------------------------------------------------------------

DAMAGE = damaged_streams()


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str) -> None:
    with pytest.raises(CodecError) as found:
        decode_image(DAMAGE[name][0])
    assert len(str(found.value)) > 20


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
    start, _ = list(model.layers_of(bytes(stream)))[4].spans[3]
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


# --- where the pixels go -------------------------------------------------------------------------------------------


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
    reader = model.Reader(stream)
    model.read_header(reader)
    assert reader.at <= 32
