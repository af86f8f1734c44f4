"""The reference for volumes and its layout: against PyWavelets, against impulses sent through the inverse, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import pywt

from wavestream.kernels.reference import forward_reference
from wavestream.kernels.volume_layout import (
    VOLUME_ORIENTATIONS,
    kept_count_of_volume,
    volume_layout_of,
    volume_max_levels,
)
from wavestream.kernels.volume_reference import (
    forward_volume_reference,
    inject_volume_reference,
    inverse_volume_reference,
)
from wavestream.kernels.wavelets import cdf53_norm

HOSTILE = [(1, 1, 1), (1, 1, 2), (2, 1, 1), (1, 13, 1), (2, 2, 2), (3, 5, 1), (7, 11, 13), (17, 4, 6)]


@pytest.mark.parametrize("shape", HOSTILE)
def test_lifting_is_undone_exactly_at_every_depth(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(1).integers(-(2**15), 2**15, shape)
    for levels in range(1, volume_max_levels(*shape, "cdf53") + 1):
        packed = forward_volume_reference(volume, "cdf53", levels)
        assert packed.shape == (volume.size,)
        np.testing.assert_array_equal(inverse_volume_reference(packed, shape, "cdf53", levels), volume)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lifting_by_hand_along_each_axis(axis: int) -> None:
    # The first case of test_reference.BY_HAND.
    shape = [1, 1, 1]
    shape[axis] = 8
    volume = np.array([10, 13, 25, 26, 29, 21, 7, 15]).reshape(shape)
    assert forward_volume_reference(volume, "cdf53", 1).tolist() == [8, 24, 30, 10, -4, -1, 3, 8]


def test_one_slice_has_the_coefficients_of_the_image() -> None:
    image = np.random.default_rng(2).integers(0, 4096, (33, 20))
    expected = forward_reference(image, "cdf53", 3)
    np.testing.assert_array_equal(forward_volume_reference(image[np.newaxis], "cdf53", 3), expected)


def test_slices_are_lifted_before_columns_and_columns_before_rows() -> None:
    """Rounding makes the order part of the definition: equal to 2-D lifting of slices that are lifted already."""
    volume = np.random.default_rng(3).integers(0, 256, (2, 9, 11))
    high = volume[1] - volume[0]
    low = volume[0] + (2 * high + 2) // 4
    packed, layout = forward_volume_reference(volume, "cdf53", 1), volume_layout_of(2, 9, 11, "cdf53", 1)
    half = layout.subbands[4].offset
    np.testing.assert_array_equal(packed[:half], forward_reference(low, "cdf53", 1))
    np.testing.assert_array_equal(packed[half:], forward_reference(high, "cdf53", 1))


@pytest.mark.parametrize("wavelet", ["haar", "db3", "bior4.4"])
def test_packed_coefficients_are_those_of_pywavelets(wavelet: str) -> None:
    volume = np.random.default_rng(4).standard_normal((19, 33, 40))
    lowest, detail = pywt.wavedecn(volume, wavelet, mode="periodization", level=1)
    packed, layout = forward_volume_reference(volume, wavelet, 1), volume_layout_of(19, 33, 40, wavelet, 1)
    # PyWavelets names the axes from the first on: d, high-pass, through the slices is our third letter.
    keys = {"HLL": "aad", "LHL": "ada", "HHL": "add", "LLH": "daa", "HLH": "dad", "LHH": "dda", "HHH": "ddd"}
    assert ("LLL", *keys) == VOLUME_ORIENTATIONS
    for band in layout.subbands:
        expected = lowest if band.orientation == "LLL" else detail[keys[band.orientation]]
        assert band.shape == expected.shape
        np.testing.assert_array_equal(packed[band.offset : band.offset + band.size], expected.ravel())
    np.testing.assert_allclose(inverse_volume_reference(packed, (19, 33, 40), wavelet, 1), volume, atol=1e-12)


def test_weights_are_the_norms_of_the_synthesis_functions() -> None:
    """The norm of what one coefficient becomes: an impulse, large against all rounding, sent through the inverse."""
    shape, levels, impulse = (48, 48, 48), 2, 1 << 24
    layout = volume_layout_of(*shape, "cdf53", levels)
    for band, weight in zip(layout.subbands, layout.weights, strict=True):
        packed = np.zeros(layout.size, dtype=np.int64)
        middle = np.ravel_multi_index([side // 2 for side in band.shape], band.shape)
        packed[band.offset + middle] = impulse
        norm = np.linalg.norm(inverse_volume_reference(packed, shape, "cdf53", levels) / impulse)
        assert weight == pytest.approx(norm, rel=1e-5)
        assert weight.dtype == np.float32


def test_weights_are_products_with_the_images_norms() -> None:
    layout = volume_layout_of(32, 32, 32, "cdf53", 4)
    for band, weight in zip(layout.subbands, layout.weights, strict=True):
        within = float(cdf53_norm(band.orientation[:2], band.level))
        through = float(cdf53_norm(band.orientation[2] * 2, band.level)) ** 0.5
        assert weight == pytest.approx(within * through, rel=3e-7)
    assert (volume_layout_of(32, 32, 32, "haar", 4).weights == 1).all()


def test_depths_look_at_all_three_sides() -> None:
    assert volume_max_levels(4, 512, 512, "haar") == volume_max_levels(512, 4, 512, "haar") == 2
    assert volume_max_levels(8, 9, 512, "bior4.4") == 0
    assert volume_max_levels(1, 1, 1, "cdf53") == 1
    assert volume_max_levels(1, 1, 17, "cdf53") == volume_max_levels(17, 2, 1, "cdf53") == 5


def test_one_count_for_the_whole_volume() -> None:
    assert kept_count_of_volume(0.01, 3, 10, 10) == 3
    assert kept_count_of_volume(0.5, 1, 1, 5) == 2
    assert kept_count_of_volume(1e-9, 3, 10, 10) == 1
    volume = np.zeros((2, 2, 2), np.uint8)
    volume[1] = 80
    # haar: LLL and LLH, 40 * sqrt(8) each, tie; K = 1 keeps both.
    np.testing.assert_array_equal(inject_volume_reference(volume, 1 / 8, "haar", 1), volume)
    volume[0, 0, 0] = 8
    # LLL is now larger than LLH: every voxel becomes the mean.
    assert (inject_volume_reference(volume, 1 / 8, "haar", 1) == 41).all()
    assert (inject_volume_reference(volume, 1 / 8, "haar", 1, (0, 40)) == 40).all()
