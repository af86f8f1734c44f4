"""The K-th largest magnitude against np.partition, on data made to mislead the search."""

from __future__ import annotations

import numpy as np
import pytest

from wavestream.kernels import kth_magnitude, layout_of, max_levels
from wavestream.kernels.reference import forward_reference, kth_magnitude_reference
from wavestream.kernels.select import kept_count, kept_counts

KEEPS = (1.0, 0.9, 0.5, 0.1, 0.03, 0.01, 0.001, 0.0001, 1e-9)
# Below, at and above the size from which a sample is taken; with a rest after the last block.
SHAPES = [(2, 2), (16, 16), (17, 31), (64, 64), (64, 66), (97, 101), (256, 256), (512, 300)]


def hard_cases(size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Coefficients that are unlike a sample of themselves, tied, empty, or extreme."""
    noise = rng.standard_normal(size)
    hidden = np.zeros(size)
    # Large only where a stride of 31 (every 32nd, made odd) does not look.
    hidden[np.arange(size) % 31 != 0] = 1000 + rng.random(np.count_nonzero(np.arange(size) % 31))
    # The search goes by the upper bits: the lowest and the highest number of each of its bins.
    edges = (rng.integers(0x3E0, 0x420, size) << 20) - rng.integers(0, 2, size)
    return {
        "noise": noise,
        "edges of bins": edges.astype(np.uint32).view(np.float32),
        "smallest number": np.where(rng.random(size) < 0.3, 2.0**-149, 0),
        "heavy tail": noise**7,
        "sorted": np.sort(noise),
        "hidden from the sample": hidden,
        "zeros": np.zeros(size),
        "almost all zero": noise * (rng.random(size) < 0.02),
        "few values": np.round(noise * 2),
        "one value": np.full(size, -3.25),
        "denormal": noise * 1e-41,
        "neighbours": 1.0 + rng.integers(0, 3, size) * 2.0**-23,
        "with infinity": np.where(np.arange(size) % 101 == 5, np.inf, noise),
    }


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_threshold_is_the_kth_magnitude(rows: int, cols: int) -> None:
    layout = layout_of(rows, cols, "haar", 1)
    cases = hard_cases(layout.size, np.random.default_rng([rows, cols]))
    packed = np.stack(list(cases.values())).astype(np.float32)
    for keep in KEEPS:
        expected = [kth_magnitude_reference(row, keep, layout) for row in packed]
        found = kth_magnitude(packed, keep, (rows, cols), "haar", 1)
        assert found.dtype == np.float32
        for name, threshold, right in zip(cases, found, expected, strict=True):
            assert threshold == right, f"{name}, keep {keep}: {threshold} instead of {right}"


@pytest.mark.parametrize(("rows", "cols"), [(1, 2), (5, 7), (97, 101), (256, 300)])
def test_cdf53_magnitudes_are_weighted(rows: int, cols: int) -> None:
    rng = np.random.default_rng([rows, cols])
    images = rng.integers(0, 60000, (3, rows, cols), dtype=np.uint16)
    images[1] //= 20000
    levels = min(2, max_levels(rows, cols, "cdf53"))
    layout = layout_of(rows, cols, "cdf53", levels)
    packed = np.stack([forward_reference(image, "cdf53", levels) for image in images]).astype(np.int32)
    for keep in KEEPS:
        expected = np.array([kth_magnitude_reference(row, keep, layout) for row in packed])
        np.testing.assert_array_equal(kth_magnitude(packed, keep, (rows, cols), "cdf53", levels), expected)


def test_every_image_has_its_own_keep_whatever_the_threads() -> None:
    packed = np.random.default_rng(4).standard_normal((9, 128 * 128)).astype(np.float32)
    keep = np.linspace(0.001, 1, 9)
    layout = layout_of(128, 128, "haar", 1)
    expected = [kth_magnitude_reference(row, part, layout) for row, part in zip(packed, keep, strict=True)]
    for threads in (1, 3):
        np.testing.assert_array_equal(kth_magnitude(packed, keep, (128, 128), "haar", 1, threads=threads), expected)


def test_nan_counts_as_the_largest() -> None:
    packed = np.zeros((1, 128 * 128), np.float32)
    packed[0, 7777] = np.nan
    packed[0, 7778] = np.inf
    assert np.isnan(kth_magnitude(packed, 1e-9, (128, 128), "haar", 1)[0])
    assert kth_magnitude(packed, 2 / 128**2, (128, 128), "haar", 1)[0] == np.inf


def test_count_is_rounded_half_to_even_and_at_least_one() -> None:
    assert kept_count(0.5, 5, 1) == 2
    assert kept_count(0.5, 7, 1) == 4
    assert kept_count(0.0001, 10, 10) == 1
    assert kept_count(1, 97, 101) == 9797
    rng = np.random.default_rng(3)
    keep, sizes = rng.random(2000), rng.integers(1, 3000, (2000, 2)).astype(np.int32)
    keep[:500] = rng.integers(1, 10, 500) / 10
    expected = [
        max(1, round(part * rows * cols)) for part, (rows, cols) in zip(keep.tolist(), sizes.tolist(), strict=True)
    ]
    assert kept_counts(keep, sizes).tolist() == expected
    assert [kept_count(part, *size) for part, size in zip(keep, sizes, strict=True)] == expected
