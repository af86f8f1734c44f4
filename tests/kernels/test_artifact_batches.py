"""inject() on batches: canvases, a keep per image, in place, out, threads, many callers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from wavestream.kernels import inject

KINDS = [("haar", "float32"), ("cdf53", "int16")]
SIZES = np.array([(97, 101), (2, 2), (64, 101), (97, 33), (17, 31), (30, 44), (97, 101), (5, 64)])
KEEP = np.array([0.1, 0.5, 1, 0.01, 0.05, 0.001, 0.2, 0.3])
EMPTY = {"float32": np.nan, "int16": -12345}

Picture = Callable[..., np.ndarray]


@pytest.fixture
def canvas(picture: Picture) -> Callable[[str], np.ndarray]:
    """Images of ``SIZES`` in the top-left corners of canvases that are otherwise filled with something impossible."""

    def draw(dtype: str) -> np.ndarray:
        images = np.full((len(SIZES), 97, 101), EMPTY[dtype], dtype=dtype)
        for seed, (image, (rows, cols)) in enumerate(zip(images, SIZES, strict=True)):
            image[:rows, :cols] = picture(rows, cols, dtype, seed)
        return images

    return draw


@pytest.mark.parametrize(("wavelet", "dtype"), KINDS)
def test_images_on_canvases_equal_separate_calls(wavelet: str, dtype: str, canvas: Callable[[str], np.ndarray]) -> None:
    images = canvas(dtype)
    expected = images.copy()
    for image, (rows, cols), keep in zip(expected, SIZES, KEEP, strict=True):
        image[:rows, :cols] = inject(image[:rows, :cols], keep, wavelet)
    assert any((part != whole).any() for part, whole in zip(expected[3:5], images[3:5], strict=True))
    for threads in (1, 2, 3, 8, None):
        np.testing.assert_array_equal(inject(images, KEEP, wavelet, sizes=SIZES, threads=threads), expected)
    np.testing.assert_array_equal(images, canvas(dtype))
    out = np.zeros_like(images)
    assert inject(images, KEEP, wavelet, sizes=SIZES, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert inject(images, KEEP, wavelet, sizes=SIZES, out=images) is images
    np.testing.assert_array_equal(images, expected)


def test_each_image_has_its_own_depth_and_value_range(picture: Picture) -> None:
    images = np.stack([picture(64, 64, "int16", seed) for seed in range(3)])
    ranges = np.array([(0, 4095), (500, 3000), (1000, 1000)])
    found = inject(images, 0.02, "cdf53", value_range=ranges)
    for result, image, (low, high) in zip(found, images, ranges, strict=True):
        np.testing.assert_array_equal(result, inject(image, 0.02, "cdf53", value_range=(low, high)))
        assert low <= result.min() <= result.max() <= high
    shallow, deep = (inject(images, 0.02, "cdf53", levels) for levels in (1, 6))
    assert (shallow != deep).any()


@pytest.mark.parametrize(("wavelet", "dtype"), KINDS)
def test_one_image_needs_no_batch_axis(wavelet: str, dtype: str, picture: Picture) -> None:
    image = picture(40, 50, dtype)
    found = inject(image, 0.05, wavelet)
    assert found.shape == (40, 50)
    np.testing.assert_array_equal(found, inject(image[np.newaxis], [0.05], wavelet)[0])
    assert inject(image, 0.05, wavelet, out=image) is image
    np.testing.assert_array_equal(image, found)


def test_gaps_and_subclasses_are_read_for_their_pixels(picture: Picture, tmp_path: Path) -> None:
    image = picture(40, 50)
    expected = inject(image, 0.05, "haar")
    np.testing.assert_array_equal(inject(np.repeat(image, 2, axis=1)[:, ::2], 0.05, "haar"), expected)
    np.testing.assert_array_equal(inject(np.asfortranarray(image), 0.05, "haar"), expected)
    np.testing.assert_array_equal(inject(image[::-1], 0.05, "haar"), inject(image[::-1].copy(), 0.05, "haar"))
    image.flags.writeable = False
    np.testing.assert_array_equal(inject(image, 0.05, "haar"), expected)
    unaligned = np.frombuffer(b"\0" + image.tobytes(), np.float32, offset=1).reshape(40, 50)
    np.testing.assert_array_equal(inject(unaligned, 0.05, "haar"), expected)
    mapped = np.memmap(tmp_path / "pixels", np.float32, "w+", shape=(40, 50))
    mapped[...] = image
    assert inject(mapped, 0.05, "haar", out=mapped) is mapped
    np.testing.assert_array_equal(mapped, expected)


@pytest.mark.parametrize(("wavelet", "dtype"), KINDS)
def test_many_callers_at_once_get_what_one_gets(wavelet: str, dtype: str, picture: Picture) -> None:
    batches = [
        np.stack([picture(side, side + 3, dtype, seed) for seed in range(12)]) for side in (40, 64, 96, 128, 97, 150)
    ]
    expected = [inject(batch, 0.05, wavelet, threads=1) for batch in batches]
    with ThreadPoolExecutor(6) as callers:
        for _ in range(5):
            results = list(callers.map(lambda batch: inject(batch, 0.05, wavelet, threads=3), batches))
            for found, right in zip(results, expected, strict=True):
                np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("keep", [1, 0.1])
@pytest.mark.parametrize(("dtype", "bad"), [("float32", np.nan), ("float32", -np.inf), ("float16", np.inf)])
def test_pixels_that_are_not_finite_are_named_and_copied_through(
    dtype: str, bad: float, keep: float, picture: Picture
) -> None:
    images = np.stack([picture(33, 47, dtype, seed) for seed in range(6)])
    expected = inject(images, keep, "haar")
    images[2, 0, 0] = images[4, 32, 46] = images[5, 31, 46] = bad
    expected[[2, 4, 5]] = images[[2, 4, 5]]
    sizes = np.array([(33, 47)] * 5 + [(31, 47)])
    expected[5, :31] = inject(images[5, :31], keep, "haar")
    out = np.zeros_like(images)
    with pytest.raises(ValueError, match=r"expected finite pixels .* got NaN, infinite .* in samples 2, 4;"):
        inject(images, keep, "haar", sizes=sizes, out=out)
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="samples 2, 4;"):
        inject(images, keep, "haar", sizes=sizes, out=images)
    np.testing.assert_array_equal(images, expected)


def test_finite_pixels_whose_sums_overflow_are_named() -> None:
    images = np.zeros((2, 32, 32), np.float32)
    images[1] = 3e38
    with pytest.raises(ValueError, match="sample 1;"):
        inject(images, 0.1, "haar")


@pytest.mark.parametrize("wavelet", ["db2", "cdf53"])
def test_int32_pixels_beyond_what_is_exact_are_named(wavelet: str) -> None:
    images = np.zeros((3, 16, 16), np.int32)
    images[0, 3, 4], images[1, 3, 4], images[2, 15, 15] = 2**24, 2**24 + 1, -(2**24) - 1
    with pytest.raises(ValueError, match=r"expected pixels within \+-16777216.* larger ones in samples 1, 2;"):
        inject(images, 0.1, wavelet)
    assert inject(images[:1], 1.0, wavelet)[0, 3, 4] == 2**24


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("wavelet", ["cdf53", "db2"])
def test_integer_results_can_be_had_as_floats(dtype: str, wavelet: str, picture: Callable[..., np.ndarray]) -> None:
    images = np.stack([picture(40, 53, dtype), picture(40, 53, dtype) // 2, picture(40, 53, dtype) // 3])
    keep = [0.05, 1.0, 0.5]
    expected = inject(images, keep, wavelet, 2)
    for floats in (np.float32, np.float16):
        out = np.full(images.shape, -7, floats)
        assert inject(images, keep, wavelet, 2, out=out) is out
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(out, expected.astype(floats))


def test_float_results_have_the_dtype_of_the_images(picture: Callable[..., np.ndarray]) -> None:
    image = picture(16, 16, "int16").astype(np.float32)
    for wrong in (np.float16, np.int16):
        with pytest.raises(TypeError, match="out: expected dtype float32"):
            inject(image, 0.1, "haar", out=np.zeros(image.shape, wrong))
