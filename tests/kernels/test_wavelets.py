"""Filter banks and depths against PyWavelets, 5/3 norms against the published table and against the basis itself."""

from __future__ import annotations

import numpy as np
import pytest
import pywt

from wavestream.kernels.wavelets import (
    DEFAULT_LEVELS,
    WAVELETS,
    cdf53_norm,
    cdf53_norms,
    check_wavelet,
    default_levels,
    filter_bank,
    max_levels,
)

FLOAT_WAVELETS = [wavelet for wavelet in WAVELETS if wavelet != "cdf53"]

# OpenJPEG, dwt.c, opj_dwt_norms: levels 0, 1, 2, ... for LL; 1, 2, ... for the others. The deeper ones were
# computed there with less precision.
OPENJPEG_NORMS = {
    "LL": (1.000, 1.500, 2.750, 5.375, 10.68, 21.34, 42.67, 85.33, 170.7, 341.3),
    "HL": (1.038, 1.592, 2.919, 5.703, 11.33, 22.64, 45.25, 90.48, 180.9),
    "LH": (1.038, 1.592, 2.919, 5.703, 11.33, 22.64, 45.25, 90.48, 180.9),
    "HH": (0.7186, 0.9218, 1.586, 3.043, 6.019, 12.01, 24.00, 47.97, 95.93),
}


@pytest.mark.parametrize("wavelet", FLOAT_WAVELETS)
def test_filters_are_those_of_pywavelets(wavelet: str) -> None:
    bank, expected = filter_bank(wavelet), pywt.Wavelet(wavelet)
    assert (bank.dec_lo, bank.dec_hi) == (tuple(expected.dec_lo), tuple(expected.dec_hi))
    assert (bank.rec_lo, bank.rec_hi) == (tuple(expected.rec_lo), tuple(expected.rec_hi))
    assert bank.length == expected.dec_len


@pytest.mark.parametrize("wavelet", FLOAT_WAVELETS)
def test_depth_is_that_of_pywavelets(wavelet: str) -> None:
    for side in range(1, 300):
        expected = pywt.dwt_max_level(side, pywt.Wavelet(wavelet))
        assert max_levels(side, 300, wavelet) == max_levels(300, side, wavelet) == expected


@pytest.mark.parametrize(
    ("rows", "cols", "levels"),
    [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 2, 2), (4, 4, 2), (5, 1, 3), (224, 224, 8), (512, 1, 9)],
)
def test_cdf53_goes_down_to_one_sample(rows: int, cols: int, levels: int) -> None:
    assert max_levels(rows, cols, "cdf53") == max_levels(cols, rows, "cdf53") == levels


def test_default_depth_is_bounded_by_the_size() -> None:
    assert default_levels(512, 512, "haar") == DEFAULT_LEVELS == 5
    assert default_levels(16, 16, "haar") == 4
    assert default_levels(16, 16, "db8") == 0


@pytest.mark.parametrize("orientation", OPENJPEG_NORMS)
def test_norms_are_the_published_ones(orientation: str) -> None:
    for index, expected in enumerate(OPENJPEG_NORMS[orientation]):
        found = cdf53_norm(orientation, index if orientation == "LL" else index + 1)
        assert found == pytest.approx(expected, rel=1.2e-3)
        assert isinstance(found, np.float32)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_norms_are_those_of_the_basis(level: int) -> None:
    """The synthesis functions themselves: the 5/3 filters, iterated; 2-D ones are products, so are their norms."""

    def raise_level(function: np.ndarray) -> np.ndarray:
        upsampled = np.zeros(2 * len(function) - 1)
        upsampled[::2] = function
        return np.convolve(upsampled, [0.5, 1, 0.5])

    low, high = np.array([0.5, 1, 0.5]), np.array([-1, -2, 6, -2, -1]) / 8
    for _ in range(level - 1):
        low, high = raise_level(low), raise_level(high)
    expected = {"LL": low @ low, "HL": np.sqrt((low @ low) * (high @ high)), "HH": high @ high}
    for orientation, norm in expected.items():
        assert cdf53_norm(orientation, level) == pytest.approx(norm, rel=1e-7)


def test_norms_come_in_the_order_of_the_layout() -> None:
    expected = [2.75, *[1.5922174] * 2, 0.921875, *[1.0383279] * 2, 0.71875]
    np.testing.assert_allclose(cdf53_norms(2), expected, rtol=1e-7)
    assert cdf53_norms(2).dtype == np.float32


def test_unknown_wavelet_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"unknown wavelet 'db9'.*haar, db2.*cdf53"):
        check_wavelet("db9")
    with pytest.raises(ValueError, match="integer lifting"):
        filter_bank("cdf53")
    with pytest.raises(ValueError, match="at least 1x1 pixels, got 0x5"):
        max_levels(0, 5, "haar")
