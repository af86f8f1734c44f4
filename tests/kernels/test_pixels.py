"""Rounding and clipping of results to integer pixels, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from wavestream.kernels.cpu.lanes import LANES
from wavestream.kernels.cpu.memory import load_first, pointer_to
from wavestream.kernels.cpu.pixels import image_is_valid, store_pixels


@njit
def _store(row: np.ndarray, out: np.ndarray, limits: tuple[int, int] | None) -> None:
    source, target = pointer_to(row), pointer_to(out)
    for x in range(0, len(row), LANES):
        store_pixels(target, x, load_first(source, x, len(row) - x), len(row) - x, limits)


def _limits(low: int, high: int) -> tuple[np.int32, np.int32]:
    return np.int32(low), np.int32(high)


VALUES = [
    0.5,
    1.5,
    2.5,
    3.5,
    -0.5,
    -1.5,
    -2.5,
    0.49999997,
    254.5,
    255.5,
    65534.5,
    65535.5,
    -32768.5,
    4e4,
    1e9,
    1e30,
    -1e30,
]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("limits", [None, (3, 200)])
def test_floats_are_rounded_half_to_even_and_clipped(dtype: str, limits: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(2)
    row = np.concatenate([VALUES, rng.integers(-70000, 70000, 5000) + 0.5, rng.standard_normal(5000) * 3e4])
    row = row.astype(np.float32)
    low, high = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    out = np.zeros(len(row), dtype)
    expected = np.clip(np.rint(row), low, high).astype(dtype)
    _store(row, out, _limits(low, high))
    np.testing.assert_array_equal(out, expected)
    floats = np.zeros(len(row), np.float32)
    _store(row, floats, _limits(low, high))
    np.testing.assert_array_equal(floats, expected.astype(np.float32))


def test_int32_range_is_wide() -> None:
    row = np.array([-(2.0**24), 2.0**24 + 2, 16777213.5, -8388607.5], np.float32)
    out = np.zeros(4, np.int32)
    _store(row, out, _limits(-(2**31), 2**31 - 1))
    np.testing.assert_array_equal(out, np.rint(row).astype(np.int32))


def test_integers_are_clipped_and_floats_left_alone() -> None:
    row = np.array([-5, 0, 7, 300, 70000, -(2**31), 2**31 - 1], np.int32)
    out = np.zeros(7, np.uint8)
    for target in (out, np.zeros(7, np.float32)):
        _store(row, target, _limits(0, 255))
        np.testing.assert_array_equal(target, [0, 0, 7, 255, 255, 0, 255])
    floats = np.array([0.1, np.nan, -np.inf, 1e30], np.float32)
    stored = np.zeros(4, np.float32)
    _store(floats, stored, None)
    np.testing.assert_array_equal(stored, floats)


@njit
def _is_valid(image: np.ndarray, rows: int, cols: int) -> bool:
    return image_is_valid(pointer_to(image), 0, image.shape[1], rows, cols)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_anywhere_in_the_image_and_nowhere_else(value: float) -> None:
    image = np.full((5, 40), 3e38, np.float32)
    assert _is_valid(image, 4, 37)
    for place in ((0, 0), (3, 36), (2, 17)):
        image[place] = value
        assert not _is_valid(image, 4, 37)
        image[place] = 0
    image[4, :] = value
    image[:, 37:] = value
    assert _is_valid(image, 4, 37)


def test_int32_is_valid_up_to_what_float32_holds_exactly() -> None:
    for value, right in ((2**24, True), (-(2**24), True), (2**24 + 1, False), (-(2**24) - 1, False), (-(2**31), False)):
        assert _is_valid(np.array([[1, value, -5]], np.int32), 1, 3) is right
