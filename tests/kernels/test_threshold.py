"""The hard threshold: what reaches it stays, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from wavestream.kernels import hard_threshold, layout_of
from wavestream.kernels.reference import weighted_magnitudes


@pytest.mark.parametrize(("wavelet", "dtype"), [("db2", np.float32), ("cdf53", np.int32)])
@pytest.mark.parametrize(("rows", "cols"), [(12, 12), (31, 17), (97, 101)])
def test_coefficients_below_the_threshold_become_zero(wavelet: str, dtype: type, rows: int, cols: int) -> None:
    layout = layout_of(rows, cols, wavelet, 2)
    packed = (np.random.default_rng(rows).standard_normal((4, layout.size)) * 40).astype(dtype)
    weighted = np.stack([weighted_magnitudes(row, layout) for row in packed])
    # The third is the weighted magnitude of coefficients that are there: they stay.
    thresholds = np.array([0, 5, np.median(weighted[2]), 1e9], dtype=np.float32)
    thresholds[2] = weighted[2][np.argmin(np.abs(weighted[2] - thresholds[2]))]
    expected = np.where(weighted >= thresholds[:, np.newaxis], packed, 0)
    for threads in (1, 3):
        found = hard_threshold(packed, thresholds, (rows, cols), wavelet, 2, threads=threads)
        np.testing.assert_array_equal(found, expected)
    assert np.count_nonzero(weighted[2] == thresholds[2]) >= 1
    assert 0 < np.count_nonzero(expected[2]) < layout.size
    assert hard_threshold(packed, thresholds, (rows, cols), wavelet, 2, out=packed) is packed
    np.testing.assert_array_equal(packed, expected)


def test_ties_all_stay_and_nan_goes() -> None:
    packed = np.array([[3, -3, 3, 2.9999998, np.nan, np.inf, -np.inf, 0]] * 2, dtype=np.float32)
    found = hard_threshold(packed, np.array([3, np.nan], np.float32), (2, 4), "haar", 1)
    np.testing.assert_array_equal(found, [[3, -3, 3, 0, 0, np.inf, -np.inf, 0], [0] * 8])


def test_wrong_arguments_are_named() -> None:
    packed = np.zeros((2, 64), np.float32)
    with pytest.raises(ValueError, match=r"thresholds: expected shape \(2,\), got \(3,\)"):
        hard_threshold(packed, np.zeros(3, np.float32), (8, 8), "haar")
    with pytest.raises(TypeError, match="thresholds: expected dtype float32, got float64"):
        hard_threshold(packed, np.zeros(2), (8, 8), "haar")
    with pytest.raises(ValueError, match="overlaps"):
        hard_threshold(
            packed[:1], np.zeros(1, np.float32), (8, 8), "haar", out=packed.reshape(-1)[32:96].reshape(1, 64)
        )
