"""inject() on the CPU against PyWavelets in float64 and the exact integer reference."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from wavestream.kernels import WAVELETS, inject, layout_of, max_levels
from wavestream.kernels.reference import forward_reference, inject_reference, inverse_reference
from wavestream.kernels.select import kept_count
from wavestream.kernels.wavelets import default_levels

FLOAT_WAVELETS = [wavelet for wavelet in WAVELETS if wavelet != "cdf53"]
INTEGERS = ["uint8", "uint16", "int16", "int32"]
# Every dtype with a float wavelet and with cdf53; few pairs, for each is compiled on its own.
KINDS = [
    ("bior4.4", "uint8"),
    *(("db2", dtype) for dtype in ("uint16", "int16", "int32", "float16", "float32")),
    *(("cdf53", dtype) for dtype in INTEGERS),
]
SIZES = [(16, 16), (17, 31), (97, 101), (64, 257), (224, 224)]
HOSTILE = [(1, 1), (1, 37), (37, 1), (2, 2), (17, 31), (97, 101), (64, 257), (4097, 3), (224, 224)]
KEEPS = (0.1, 0.01, 0.001, 0.0001)

Picture = Callable[..., np.ndarray]
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], str]


def smallest(wavelet: str) -> tuple[int, int]:
    """The smallest image that the wavelet allows."""
    side = next(side for side in range(1, 64) if max_levels(side, side, wavelet))
    return side, side


def right_results(image: np.ndarray, keep: float, wavelet: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every image that is right, as (in float64, as plain float32 PyWavelets computes it).

    There is one, unless float32 cannot tell which of a few coefficients reaches the threshold: then there is one for
    each way of keeping enough of those few. All the others are kept or dropped as float64 says.
    """
    rows, cols = image.shape
    layout = layout_of(rows, cols, wavelet, default_levels(rows, cols, wavelet))
    exact = forward_reference(image.astype(np.float64), wavelet, layout.levels)
    plain = forward_reference(image, wavelet, layout.levels)
    count = kept_count(keep, rows, cols)
    threshold = np.sort(np.abs(exact))[-count]
    # Errors grow with the coefficient: only those of coefficients like the threshold matter to it.
    doubt = 2 * np.abs(plain - exact)[np.abs(exact) <= 2 * threshold].max()
    surely = np.abs(exact) > threshold + doubt
    perhaps = np.flatnonzero(np.abs(np.abs(exact) - threshold) <= doubt)
    assert len(perhaps) <= 5, "this image cannot tell a right selection from a wrong one; draw another"
    results = []
    for size in range(count - np.count_nonzero(surely), len(perhaps) + 1):
        for chosen in combinations(perhaps, size):
            kept = surely.copy()
            kept[list(chosen)] = True
            pair = (exact * kept, plain * kept)
            results.append(tuple(inverse_reference(half, image.shape, wavelet, layout.levels) for half in pair))
    return results


@pytest.mark.parametrize("wavelet", FLOAT_WAVELETS)
def test_float_artifacts_are_as_exact_as_pywavelets_in_float32(
    wavelet: str, picture: Picture, complaint: Measure
) -> None:
    for rows, cols in [*SIZES, smallest(wavelet)]:
        if not max_levels(rows, cols, wavelet):
            continue
        image = picture(rows, cols)
        np.testing.assert_array_equal(inject(image, 1, wavelet), image)
        for keep in KEEPS:
            found = inject(image, keep, wavelet)
            complaints = [complaint(found, plain, exact) for exact, plain in right_results(image, keep, wavelet)]
            assert "" in complaints, f"{rows}x{cols}, keep {keep}: {complaints}"


@pytest.mark.parametrize(("wavelet", "dtype"), [kind for kind in KINDS if kind[0] != "cdf53" and "int" in kind[1]])
def test_integer_artifacts_are_the_rounded_and_clipped_ones(wavelet: str, dtype: str, picture: Picture) -> None:
    for rows, cols in SIZES[2:]:
        image = picture(rows, cols, dtype)
        low, high = int(image.min()) + 9, int(image.max()) - 9
        for keep in KEEPS:
            results = right_results(image.astype(np.float32), keep, wavelet)
            # A result that float32 cannot tell from a half may be rounded either way.
            doubt = 0.5 + max(2e-6 * float(np.abs(results[0][0]).max()), 2 * np.abs(np.subtract(*results[0])).max())
            for limits in (None, (low, high)):
                found = inject(image, keep, wavelet, value_range=limits)
                bounds = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
                assert found.dtype == image.dtype
                errors = [np.abs(found - np.clip(exact, *bounds)).max() for exact, _ in results]
                assert min(errors) <= doubt, f"{rows}x{cols}, keep {keep}, limits {limits}: {errors}"
                assert bounds[0] <= found.min() <= found.max() <= bounds[1]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(("rows", "cols"), HOSTILE)
def test_cdf53_artifacts_are_the_reference_bit_for_bit(rows: int, cols: int, dtype: str, picture: Picture) -> None:
    rng = np.random.default_rng([rows, cols])
    limits = np.iinfo(dtype if dtype != "int32" else "int16")
    noise = rng.integers(limits.min, limits.max, (rows, cols), dtype=dtype, endpoint=True)
    images = np.stack([picture(rows, cols, dtype), noise, np.full_like(noise, limits.min), noise // 64 * 64])
    for keep in (1, 0.7, *KEEPS):
        for bounds in (None, (40, 99)):
            expected = [inject_reference(image, keep, "cdf53", None, bounds) for image in images]
            np.testing.assert_array_equal(inject(images, keep, "cdf53", value_range=bounds), expected)
    deepest = max_levels(rows, cols, "cdf53")
    expected = [inject_reference(image, 0.05, "cdf53", deepest) for image in images]
    np.testing.assert_array_equal(inject(images, 0.05, "cdf53", deepest), expected)


@pytest.mark.parametrize(("wavelet", "dtype"), KINDS)
def test_keep_one_is_a_copy_bit_for_bit(wavelet: str, dtype: str) -> None:
    bits = np.random.default_rng(1).integers(0, 256, (3, 33, 47 * np.dtype(dtype).itemsize), dtype=np.uint8)
    images = bits.view(dtype)
    if dtype.startswith("float"):
        images = np.where(np.isfinite(images), images, -0.0).astype(dtype)
    if dtype == "int32":
        images = images >> 8
    out = inject(images, 1, wavelet, value_range=(3, 5) if np.dtype(dtype).kind != "f" else None)
    assert out is not images
    assert out.tobytes() == images.tobytes()


def test_ties_at_the_threshold_all_stay() -> None:
    # One pixel in each 2x2 block: haar makes four coefficients of equal magnitude from each.
    image = np.zeros((16, 16), np.float32)
    image[::2, ::2] = np.where(np.arange(8) % 2, 8, 4)
    kept_all = inject(image, 16 / 256, "haar", 1)
    # K = 16 of 256, and 128 tie at the largest magnitude: the columns of eights come back whole, the fours vanish.
    np.testing.assert_allclose(kept_all, np.where(image == 8, 8, 0), atol=1e-6)
    integers = image.astype(np.int16)
    np.testing.assert_array_equal(inject(integers, 0.1, "cdf53", 1), inject_reference(integers, 0.1, "cdf53", 1))


def test_float16_is_computed_in_float32(picture: Picture) -> None:
    images = np.stack([picture(40, 50, "float16", seed) for seed in range(3)])
    sizes = np.array([[40, 50], [31, 17], [20, 20]])
    found = inject(images, [0.1, 0.05, 1], "haar", sizes=sizes)
    assert found.dtype == np.float16
    expected = inject(images.astype(np.float32), [0.1, 0.05, 1], "haar", sizes=sizes).astype(np.float16)
    np.testing.assert_array_equal(found, expected)
    in_place = images.copy()
    inject(in_place, [0.1, 0.05, 1], "haar", sizes=sizes, out=in_place)
    np.testing.assert_array_equal(in_place, expected)
