"""The packed layout against the shapes that PyWavelets returns, and the meaning of the subbands' names."""

from __future__ import annotations

import numpy as np
import pytest
import pywt

from wavestream.kernels.layout import ORIENTATIONS, layout_of
from wavestream.kernels.reference import forward_reference
from wavestream.kernels.wavelets import WAVELETS, max_levels

SIZES = [(16, 16), (17, 31), (97, 101), (64, 257), (224, 224), (1, 1), (1, 9), (9, 1), (2, 3)]


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_subbands_lie_one_after_the_other(rows: int, cols: int, wavelet: str) -> None:
    for levels in range(1, max_levels(rows, cols, wavelet) + 1):
        layout = layout_of(rows, cols, wavelet, levels)
        end = 0
        for subband in layout.subbands:
            assert subband.offset == end
            end += subband.rows * subband.cols
        assert layout.size == end
        assert [subband.name for subband in layout.subbands[:4]] == [f"{name}{levels}" for name in ORIENTATIONS]
        assert len(layout.subbands) == 1 + 3 * levels
        if wavelet == "cdf53":
            assert layout.size == rows * cols


@pytest.mark.parametrize("wavelet", ["haar", "db3", "bior4.4"])
@pytest.mark.parametrize(("rows", "cols"), SIZES[:5])
def test_shapes_are_those_of_pywavelets(rows: int, cols: int, wavelet: str) -> None:
    levels = max_levels(rows, cols, wavelet)
    if levels == 0:
        pytest.skip(f"{rows}x{cols} is too small for {wavelet}")
    coefficients = pywt.wavedec2(np.zeros((rows, cols)), wavelet, mode="periodization", level=levels)
    expected = [coefficients[0].shape]
    for horizontal, vertical, diagonal in coefficients[1:]:
        expected += [vertical.shape, horizontal.shape, diagonal.shape]
    layout = layout_of(rows, cols, wavelet, levels)
    assert [(subband.rows, subband.cols) for subband in layout.subbands] == expected


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_names_say_first_the_filter_along_the_row(wavelet: str) -> None:
    stripes = np.tile(np.array([0, 100], dtype=np.int32), (8, 4))
    for image, expected in ((stripes, "HL"), (stripes.T, "LH"), (stripes ^ stripes.T, "HH")):
        layout = layout_of(8, 8, wavelet, 1)
        packed = forward_reference(np.ascontiguousarray(image), wavelet, 1)
        energy = {s.orientation: np.abs(packed[s.offset : s.offset + s.size]).sum() for s in layout.subbands[1:]}
        assert energy[expected] > 0
        assert sum(energy.values()) == pytest.approx(energy[expected])


@pytest.mark.parametrize("wavelet", ["db2", "cdf53"])
def test_table_repeats_the_subbands(wavelet: str) -> None:
    layout = layout_of(37, 22, wavelet, 2)
    for row, subband in zip(layout.table, layout.subbands, strict=True):
        assert tuple(row) == (
            subband.level, ORIENTATIONS.index(subband.orientation), subband.offset, subband.rows, subband.cols
        )  # fmt: skip
    assert layout.low_shapes.tolist() == [[37, 22], [19, 11], [10, 6]]
    assert len(layout.weights) == len(layout.subbands)
    assert (layout.weights == 1).all() == (wavelet != "cdf53")


def test_bad_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0x4 pixels and 1 levels"):
        layout_of(0, 4, "haar", 1)
    with pytest.raises(ValueError, match="unknown wavelet"):
        layout_of(4, 4, "coif1", 1)
