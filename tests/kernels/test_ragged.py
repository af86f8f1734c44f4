"""inject_ragged() on the CPU: equal to inject() of each image; where results may go; bad input."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wavestream.kernels import inject, inject_ragged
from wavestream.kernels.reference import inject_reference

SIZES = [(97, 101), (2, 2), (64, 101), (300, 233), (17, 31), (1, 44), (97, 101), (5, 1)]
KEEP = [0.1, 0.5, 1, 0.01, 0.05, 0.1, 0.2, 0.3]

Picture = Callable[..., np.ndarray]


@pytest.fixture
def pictures(picture: Picture) -> Callable[[str, str], list[np.ndarray]]:
    """Images of ``SIZES``, without those that a float wavelet cannot transform."""

    def draw(wavelet: str, dtype: str) -> list[np.ndarray]:
        sizes = [size for size in SIZES if wavelet == "cdf53" or min(size) > 1]
        return [picture(*size, dtype, seed) for seed, size in enumerate(sizes)]

    return draw


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_cdf53_artifacts_are_the_reference_bit_for_bit(dtype: str, pictures: Any) -> None:
    images = pictures("cdf53", dtype)
    ranges = [(0, 40 + 30 * index) for index in range(len(images))]
    found = inject_ragged(images, KEEP, "cdf53", value_range=ranges)
    for result, image, keep, limits in zip(found, images, KEEP, ranges, strict=True):
        np.testing.assert_array_equal(result, inject_reference(image, keep, "cdf53", None, limits))


@pytest.mark.parametrize(("wavelet", "dtype"), [("haar", "float32"), ("haar", "float16"), ("cdf53", "int16")])
def test_the_batch_is_its_images_wherever_the_results_go(wavelet: str, dtype: str, pictures: Any) -> None:
    images = pictures(wavelet, dtype)
    keeps = KEEP[: len(images)]
    expected = [inject(image, keep, wavelet) for image, keep in zip(images, keeps, strict=True)]
    assert any((part != whole).any() for part, whole in zip(expected, images, strict=True))

    def same(found: Any) -> None:
        for one, right in zip(found, expected, strict=True):
            assert one.dtype == right.dtype
            np.testing.assert_array_equal(one, right)

    for threads in (1, 2, 5, None):
        same(inject_ragged(tuple(images), keeps, wavelet, threads=threads))
    # One array for all results, one after the other, is as good as one array each.
    memory = np.zeros(sum(image.size for image in images), dtype)
    ends = np.cumsum([image.size for image in images])
    out = [memory[end - image.size : end].reshape(image.shape) for image, end in zip(images, ends, strict=True)]
    returned = inject_ragged(images, keeps, wavelet, out=out)
    assert all(one is other for one, other in zip(returned, out, strict=True))
    same(out)
    same(inject_ragged([np.asfortranarray(image) for image in images], keeps, wavelet))
    same(inject_ragged(images, keeps, wavelet, out=[np.empty_like(images[0]), *images[1:]]))
    np.testing.assert_array_equal(images[1], expected[1])


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_integer_results_can_be_stored_as_floats(stored: str, pictures: Any) -> None:
    images = pictures("cdf53", "int16")
    expected = [result.astype(stored) for result in inject_ragged(images, KEEP, "cdf53")]
    out = [np.full(image.shape, np.nan, stored) for image in images]
    for found, right in zip(inject_ragged(images, KEEP, "cdf53", out=out), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_pixels_that_are_not_finite_are_named_and_copied_through(pictures: Any) -> None:
    images = pictures("haar", "float32")
    expected = inject_ragged(images, 0.1, "haar")
    for index in (1, 4):
        images[index][0, 1] = np.inf
        expected[index] = images[index].copy()
    out = [np.zeros_like(image) for image in images]
    with pytest.raises(ValueError, match=r"expected finite pixels .* got NaN, infinite .* in samples 1, 4;"):
        inject_ragged(images, 0.1, "haar", out=out)
    for found, right in zip(out, expected, strict=True):
        np.testing.assert_array_equal(found, right)


IMAGES = [np.zeros((4, 5), np.float32), np.zeros((6, 8), np.float32)]
ONE = np.zeros(68, np.float32)
BAD: list[tuple[Any, dict[str, Any], Any, str]] = [
    ([], {}, ValueError, "images: expected at least one image, got none"),
    ([IMAGES[0], IMAGES[1].tolist()], {}, TypeError, r"images \(sample 1\): .* got builtins.list"),
    ([IMAGES[0], IMAGES], {}, TypeError, r"images \(sample 1\): expected a NumPy array"),
    ([IMAGES[0], IMAGES[1][None]], {}, ValueError, r"got shape \(1, 6, 8\) at sample 1"),
    ([IMAGES[0], IMAGES[1][:0]], {}, ValueError, r"got shape \(0, 8\) at sample 1"),
    ([IMAGES[0], IMAGES[1].astype("f2")], {}, TypeError, "one dtype, float32 like the first, got float16 at sample 1"),
    (IMAGES, {"keep": [0.1]}, ValueError, r"keep: expected one number or shape \(2,\)"),
    (IMAGES, {"levels": 3}, ValueError, "samples? 0.*levels: expected 1 to 2 for an image of 4x5"),
    (IMAGES, {"wavelet": "db8"}, ValueError, "sample 0: an image of 4x5 pixels is too small for db8"),
    (IMAGES, {"value_range": (0, 1)}, ValueError, "only integer images are clipped"),
    (IMAGES, {"out": IMAGES[:1]}, ValueError, "out: expected 2 arrays, one for each image, got 1"),
    (IMAGES, {"out": IMAGES[::-1]}, ValueError, r"sample 0: out: expected shape \(4, 5\), got \(6, 8\)"),
    (IMAGES, {"out": [i.astype("f2") for i in IMAGES]}, TypeError, "out: expected dtype float32, got float16"),
    (IMAGES, {"out": [IMAGES[0], np.zeros((6, 8), "f2")]}, TypeError, "sample 1: out: expected dtype float32"),
    (IMAGES, {"out": [np.zeros((5, 4), "f4").T, IMAGES[1]]}, ValueError, "sample 0: out: expected a C-contiguous"),
    (IMAGES, {"out": [ONE[:20].reshape(4, 5), ONE[19:67].reshape(6, 8)]}, ValueError, "sample 0 overlapping out of"),
    ([IMAGES[0], IMAGES[0]], {"out": [IMAGES[0], IMAGES[1].ravel()[:20].reshape(4, 5)]}, ValueError,
     "sample 0 overlapping images of sample 1"),
]  # fmt: skip


@pytest.mark.parametrize(("images", "options", "kind", "message"), BAD, ids=[case[3] for case in BAD])
def test_bad_arguments_are_named(images: Any, options: dict[str, Any], kind: Any, message: str) -> None:
    with pytest.raises(kind) as raised:
        inject_ragged(images, **({"keep": 0.1, "wavelet": "haar"} | options))
    assert re.search(message, str(raised.value)), str(raised.value)


def test_an_image_may_come_twice() -> None:
    image = np.arange(400, dtype=np.float32).reshape(20, 20) % 7
    twice = inject_ragged([image, image], [0.1, 0.5], "haar")
    for found, keep in zip(twice, (0.1, 0.5), strict=True):
        np.testing.assert_array_equal(found, inject(image, keep, "haar"))


def test_a_list_given_to_inject_is_told_where_to_go() -> None:
    images = [np.zeros((8, 8), np.float32), np.zeros((4, 6), np.float32)]
    with pytest.raises(TypeError, match="got a list of 2; stack them, or call inject_ragged"):
        inject(images, 0.5, "haar")
