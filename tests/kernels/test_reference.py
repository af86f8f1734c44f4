"""The reference itself: the 5/3 lifting by hand, against OpenJPEG and PyWavelets; the selection rule by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import pywt
from PIL import Image

from wavestream.kernels.layout import layout_of
from wavestream.kernels.reference import (
    forward_reference,
    inject_reference,
    inverse_reference,
    kth_magnitude_reference,
    weighted_magnitudes,
)

# high[n] = x[2n + 1] - floor((x[2n] + x[2n + 2]) / 2), low[n] = x[2n] + floor((high[n - 1] + high[n] + 2) / 4), with
# x[8] = x[6], x[7] = x[5] (odd length) and high[-1] = high[0], worked out on paper.
BY_HAND = [
    ([10, 13, 25, 26, 29, 21, 7, 15], [8, 24, 30, 10], [-4, -1, 3, 8]),
    ([10, 13, 25, 26, 29, 21, 7], [8, 24, 30, 9], [-4, -1, 3]),
    ([5, 9], [7, ], [4]),
    ([-3, 2, 8], [-3, 8], [0]),
    ([7], [7], []),
]  # fmt: skip


@pytest.mark.parametrize(("signal", "low", "high"), BY_HAND)
@pytest.mark.parametrize("axis", [0, 1])
def test_lifting_by_hand(signal: list[int], low: list[int], high: list[int], axis: int) -> None:
    image = np.array(signal).reshape((-1, 1) if axis == 0 else (1, -1))
    assert forward_reference(image, "cdf53", 1).tolist() == low + high


@pytest.mark.parametrize(
    ("shape", "levels"), [((64, 64), 3), ((40, 200), 3), ((97, 101), 1), ((5, 7), 1), ((33, 8), 1)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_low_pass_is_what_openjpeg_decodes_at_reduced_size(shape: tuple[int, int], levels: int, dtype: type) -> None:
    """Bit for bit, all levels: so the order of rows and columns and every rounding are those of the standard."""
    rng = np.random.default_rng(5)
    # Away from the ends of the range, where the decoder clips.
    low, high = (60, 200) if dtype == np.uint8 else (20000, 40000)
    image = rng.integers(low, high, shape).astype(dtype)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG2000", irreversible=False, num_resolutions=levels + 1)
    for level in range(1, levels + 1):
        stream.seek(0)
        with Image.open(stream) as reduced:
            reduced.reduce = level
            expected = np.asarray(reduced)
        subband = layout_of(*shape, "cdf53", level).subbands[0]
        found = forward_reference(image, "cdf53", level)[: subband.size].reshape(subband.rows, subband.cols)
        np.testing.assert_array_equal(found, expected)


def test_all_subbands_follow_the_linear_filters() -> None:
    """PyWavelets' bior2.2 are the 5/3 filters without rounding: low times sqrt(2), high times -1 / sqrt(2)."""
    image = np.random.default_rng(6).integers(-2000, 2000, (64, 96))
    ll, (lh, hl, hh) = pywt.dwt2(image.astype(float), "bior2.2", mode="reflect")
    packed, layout = forward_reference(image, "cdf53", 1), layout_of(64, 96, "cdf53", 1)
    for subband, linear, scale in zip(layout.subbands, (ll, hl, lh, hh), (0.5, -1, -1, 2), strict=True):
        found = packed[subband.offset : subband.offset + subband.size].reshape(subband.rows, subband.cols)
        inner = (slice(1, 1 + subband.rows), slice(1, 1 + subband.cols))
        # Of up to four roundings of at most one each.
        assert np.abs(found - linear[inner] * scale).max() < 3
        assert np.abs(found).max() > 500


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 13), (13, 1), (2, 2), (3, 3), (31, 17), (64, 5)])
def test_lifting_is_undone_exactly(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(7).integers(-(2**15), 2**15, shape)
    deepest = max(1, (max(shape) - 1).bit_length())
    for levels in range(1, deepest + 1):
        packed = forward_reference(image, "cdf53", levels)
        np.testing.assert_array_equal(inverse_reference(packed, shape, "cdf53", levels), image)


def test_packed_coefficients_are_those_of_pywavelets() -> None:
    image = np.random.default_rng(8).standard_normal((33, 20))
    packed, layout = forward_reference(image, "db2", 2), layout_of(33, 20, "db2", 2)
    coarse, (lh, hl, hh), *_ = pywt.wavedec2(image, "db2", mode="periodization", level=2)
    for subband, expected in zip(layout.subbands, (coarse, hl, lh, hh), strict=False):
        np.testing.assert_array_equal(packed[subband.offset : subband.offset + subband.size], expected.ravel())
    np.testing.assert_allclose(inverse_reference(packed, (33, 20), "db2", 2), image, atol=1e-12)


def test_selection_weighs_subbands_by_their_norm() -> None:
    layout = layout_of(4, 4, "cdf53", 1)
    packed = np.array([10, 0, 0, 0, -11, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0])
    weighted = weighted_magnitudes(packed, layout)
    assert weighted.dtype == np.float32
    np.testing.assert_allclose(weighted[[0, 4, 12]], [15.0, 11 * 1.0383279, 20 * 0.71875], rtol=1e-7)
    # 15 (LL), 14.375 (HH), 11.4 (HL): K = 2 of 16.
    assert kth_magnitude_reference(packed, 2 / 16, layout) == np.float32(14.375)


def test_artifact_keeps_ties_rounds_and_clips() -> None:
    image = np.array([[0, 255], [255, 255]], dtype=np.uint8)
    # haar: LL 382.5, and three details of magnitude 127.5, all tied: K = 2 keeps all four.
    np.testing.assert_array_equal(inject_reference(image, 0.5, "haar", 1), image)
    # K = 1 keeps LL: each pixel 191.25.
    assert (inject_reference(image, 0.25, "haar", 1) == 191).all()
    assert (inject_reference(image, 0.25, "haar", 1, (0, 100)) == 100).all()
