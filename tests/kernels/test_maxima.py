"""The maxima that the transforms note as they write: those of the coefficients, and bounds of every group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numba import njit

from wavestream.kernels import forward, max_levels
from wavestream.kernels.cpu.lanes import LANES
from wavestream.kernels.cpu.maxima import GROUP, first_groups_of, note_maxima
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.cpu.workspace import workspace_for
from wavestream.kernels.layout import COLS, OFFSET, ROWS, Layout, layout_of
from wavestream.kernels.reference import weighted_magnitudes

SIZES = [(1, 1), (1, 37), (37, 1), (2, 2), (17, 31), (64, 66), (33, 515), (40, 1100)]


@njit
def _note(packed, table, weights, maxima, groups):
    note_maxima(pointer_to(packed), 0, table, weights, pointer_to(maxima), groups)


def expected_maxima(packed: np.ndarray, layout: Layout) -> np.ndarray:
    """(groups, 16) bits of the largest magnitudes, in NumPy."""
    magnitudes = weighted_magnitudes(packed, layout).astype(np.float32)
    found = []
    for band in layout.table:
        values = magnitudes[band[OFFSET] : band[OFFSET] + band[ROWS] * band[COLS]].reshape(band[ROWS], band[COLS])
        padded = np.pad(values, ((0, 0), (0, -band[COLS] % GROUP)))
        found.append(padded.reshape(-1, LANES, LANES).max(axis=1))
    return np.concatenate(found).view(np.uint32)


@pytest.mark.parametrize(("rows", "cols"), SIZES)
@pytest.mark.parametrize("wavelet", ["haar", "db2", "cdf53"])
def test_transforms_note_the_maxima_of_what_they_write(
    wavelet: str, rows: int, cols: int, picture: Callable[..., np.ndarray]
) -> None:
    most = max_levels(rows, cols, wavelet)
    if most == 0:
        with pytest.raises(ValueError, match="too small"):
            forward(picture(rows, cols, "int16"), wavelet)
        return
    image = picture(rows, cols, "int16")
    image = image if wavelet == "cdf53" else image.astype(np.float32)
    for levels in {1, min(3, most)}:
        layout = layout_of(rows, cols, wavelet, levels)
        groups = first_groups_of(layout.table)
        maxima = workspace_for(rows, cols, wavelet, levels).maxima
        maxima[:] = 0xFFFFFFFF
        packed = forward(image, wavelet, levels, threads=1).reshape(-1)
        expected = expected_maxima(packed, layout)
        assert groups[-1] == len(expected)
        noted = maxima[: LANES * groups[-1]].reshape(-1, LANES)
        np.testing.assert_array_equal(noted, expected)
        again = np.full_like(noted, 7)
        _note(packed, layout.table, layout.weights, again.reshape(-1), groups)
        np.testing.assert_array_equal(again, expected)
