"""Rounding and clipping of results to integer pixels, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from wavestream.kernels.cpu.pixels import store_row


@njit
def _store(row: np.ndarray, out: np.ndarray, low: int, high: int) -> None:
    store_row(row, 0, out, 0, len(row), low, high)


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
    _store(row, out, low, high)
    np.testing.assert_array_equal(out, np.clip(np.rint(row), low, high).astype(dtype))


def test_int32_range_is_wide() -> None:
    row = np.array([-(2.0**24), 2.0**24 + 2, 16777213.5, -8388607.5], np.float32)
    out = np.zeros(4, np.int32)
    _store(row, out, -(2**31), 2**31 - 1)
    np.testing.assert_array_equal(out, np.rint(row).astype(np.int32))


def test_integers_are_clipped_and_floats_left_alone() -> None:
    row = np.array([-5, 0, 7, 300, 70000, -(2**31), 2**31 - 1], np.int32)
    out = np.zeros(7, np.uint8)
    _store(row, out, 0, 255)
    np.testing.assert_array_equal(out, [0, 0, 7, 255, 255, 0, 255])
    floats = np.array([0.1, np.nan, -np.inf, 1e30], np.float32)
    stored = np.zeros(4, np.float32)
    _store(floats, stored, 0, 255)
    np.testing.assert_array_equal(stored, floats)
