"""The transform and its inverse on the CPU: float wavelets against PyWavelets, cdf53 bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wavestream.kernels import forward, inverse, layout_of, max_levels
from wavestream.kernels.reference import forward_reference, inverse_reference

# One filter bank of each kind: shortest, half length even and odd, longest, with taps that are zero.
TRANSFORMED = ["haar", "db3", "db8", "bior4.4"]
SIZES = [(16, 16), (17, 31), (30, 30), (97, 101), (64, 257), (224, 224)]
HOSTILE = [(1, 1), (1, 2), (2, 1), (1, 37), (37, 1), (2, 2), (3, 3), (5, 4), (31, 17), (97, 101), (4097, 3), (3, 4097)]
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], str]


@pytest.mark.parametrize("wavelet", TRANSFORMED)
def test_transform_is_as_exact_as_pywavelets_in_float32(
    wavelet: str, picture: Callable[..., np.ndarray], complaint: Measure
) -> None:
    for rows, cols in SIZES:
        deepest = max_levels(rows, cols, wavelet)
        image = picture(rows, cols)
        for levels in {1, deepest} - {0} if deepest else ():
            exact = forward_reference(image.astype(np.float64), wavelet, levels)
            plain = forward_reference(image, wavelet, levels)
            assert plain.dtype == np.float32
            found = forward(image, wavelet, levels)
            assert not complaint(found, plain, exact)
            # Back from the same float32 coefficients, so that the two errors are not added up.
            restored = inverse(found, (rows, cols), wavelet, levels)
            exact = inverse_reference(found.astype(np.float64), (rows, cols), wavelet, levels)
            assert not complaint(restored, inverse_reference(found, (rows, cols), wavelet, levels), exact)


@pytest.mark.parametrize("wavelet", TRANSFORMED)
def test_smallest_image_that_the_wavelet_allows(
    wavelet: str, picture: Callable[..., np.ndarray], complaint: Measure
) -> None:
    side = next(side for side in range(1, 64) if max_levels(side, side, wavelet))
    for rows, cols in ((side, side), (side, side + 1), (side + 1, side)):
        image = picture(rows, cols)
        exact = forward_reference(image.astype(np.float64), wavelet, 1)
        assert not complaint(forward(image, wavelet), forward_reference(image, wavelet, 1), exact)


@pytest.mark.parametrize(("rows", "cols"), HOSTILE)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_cdf53_is_the_reference_bit_for_bit_and_reversible(rows: int, cols: int, dtype: str) -> None:
    rng = np.random.default_rng([rows, cols])
    limits = np.iinfo(dtype if dtype != "int32" else "int16")
    noise = rng.integers(limits.min, limits.max, (rows, cols), dtype=dtype, endpoint=True)
    extremes = rng.choice(np.array([limits.min, limits.max], dtype=dtype), (rows, cols))
    checkerboard = np.where(np.indices((rows, cols)).sum(0) % 2, limits.min, limits.max).astype(dtype)
    images = np.stack([noise, extremes, checkerboard])
    for levels in {1, min(2, max_levels(rows, cols, "cdf53")), max_levels(rows, cols, "cdf53")}:
        packed = forward(images, "cdf53", levels)
        assert packed.dtype == np.int32
        np.testing.assert_array_equal(packed, [forward_reference(image, "cdf53", levels) for image in images])
        restored = inverse(packed, (rows, cols), "cdf53", levels)
        np.testing.assert_array_equal(restored, images)


def test_cdf53_at_the_largest_pixels_does_not_overflow() -> None:
    image = np.where(np.indices((64, 64)).sum(0) % 2, -(2**24), 2**24).astype(np.int32)
    image[::5, ::7] *= -1
    packed = forward(image, "cdf53", 6)
    np.testing.assert_array_equal(packed, forward_reference(image, "cdf53", 6))
    np.testing.assert_array_equal(inverse(packed, image.shape, "cdf53", 6), image)


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_integer_pixels_are_taken_as_they_are(wavelet: str, dtype: str) -> None:
    limits = np.iinfo(dtype if dtype != "int32" else "int16")
    image = np.linspace(limits.min, limits.max, 24 * 20).astype(dtype).reshape(24, 20)
    as_computed = image.astype(np.float32 if wavelet == "haar" else np.int32)
    np.testing.assert_array_equal(forward(image, wavelet, 2), forward(as_computed, wavelet, 2))
    expected = forward_reference(image.astype(np.float64 if wavelet == "haar" else np.int64), wavelet, 2)
    np.testing.assert_allclose(forward(image, wavelet, 2), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_float16_is_transformed_in_float32(picture: Callable[..., np.ndarray]) -> None:
    images = np.stack([picture(20, 24, "float16", seed) for seed in range(3)])
    np.testing.assert_array_equal(forward(images, "haar"), forward(images.astype(np.float32), "haar"))


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_batch_equals_its_elements_for_any_number_of_threads(wavelet: str, picture: Callable[..., np.ndarray]) -> None:
    images = np.stack([picture(97, 101, "int16", seed) for seed in range(21)])
    packed = np.stack([forward(image, wavelet) for image in images])
    restored = np.stack([inverse(row, (97, 101), wavelet) for row in packed])
    for threads in (1, 2, 5, None):
        np.testing.assert_array_equal(forward(images, wavelet, threads=threads), packed)
        np.testing.assert_array_equal(inverse(packed, (97, 101), wavelet, threads=threads), restored)


def test_results_go_where_out_says(picture: Callable[..., np.ndarray]) -> None:
    image = picture(32, 40)
    size = layout_of(32, 40, "haar", 3).size
    packed, restored = np.empty((1, size), np.float32), np.empty((1, 32, 40), np.float32)
    assert forward(image[np.newaxis], "haar", 3, out=packed) is packed
    assert inverse(packed, (32, 40), "haar", 3, out=restored) is restored
    np.testing.assert_allclose(restored[0], image, atol=1e-5)
    # A view with gaps is read in place of its pixels, not of its memory.
    np.testing.assert_array_equal(forward(np.repeat(image, 2, axis=1)[:, ::2], "haar", 3), packed[0])


def test_wrong_arguments_are_named(picture: Callable[..., np.ndarray]) -> None:
    image = picture(32, 40)
    with pytest.raises(ValueError, match=r"expected \(batch, rows, cols\) or \(rows, cols\), got shape \(5,\)"):
        forward(np.zeros(5, np.float32), "haar")
    with pytest.raises(TypeError, match="cdf53 is an integer wavelet"):
        forward(image, "cdf53")
    with pytest.raises(ValueError, match="expected 1 to 5 for an image of 32x40 pixels with haar, got 6"):
        forward(image, "haar", 6)
    with pytest.raises(ValueError, match=r"out: expected shape \(1280,\), got \(1279,\)"):
        forward(image, "haar", 3, out=np.empty(1279, np.float32))
    with pytest.raises(ValueError, match="apart from images"):
        forward(image, "haar", 3, out=image.reshape(-1))
    with pytest.raises(ValueError, match=r"coefficients: expected shape \(1280,\), got \(1281,\)"):
        inverse(np.zeros(1281, np.float32), (32, 40), "haar", 3)
    with pytest.raises(TypeError, match="coefficients: expected dtype int32, got float32"):
        inverse(np.zeros(1280, np.float32), (32, 40), "cdf53")
