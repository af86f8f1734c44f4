"""The K-th largest magnitude of a volume against NumPy's sort, also where a sample of the coefficients misleads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from wavestream.kernels.cpu.maxima import note_maxima
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.cpu.volume_plan import VolumePlan, volume_plan
from wavestream.kernels.cpu.volume_select import kth_of_volume
from wavestream.kernels.cpu.volume_workspace import Buffers, buffers_for
from wavestream.kernels.volume_layout import volume_layout_of
from wavestream.kernels.volume_reference import volume_magnitudes

SHAPE = (40, 63, 66)


@njit
def _note_maxima(packed, table, weights, maxima, groups):
    note_maxima(pointer_to(packed), 0, table, weights, pointer_to(maxima), groups)


def note(buffers: Buffers, plan: VolumePlan, dtype: Any) -> None:
    """What the transform would have noted of these coefficients."""
    _note_maxima(buffers.packed.view(dtype), plan.pieces, plan.weights, buffers.maxima, plan.first_groups)


def _coefficients(kind: str, size: int, step: int) -> np.ndarray:
    """Magnitudes up to 2**20; every ``step``-th is in the sample."""
    rng = np.random.default_rng(9)
    packed = rng.integers(-(2**20), 2**20, size)
    sampled = np.arange(size) % step == 0
    if kind == "small ones sampled":
        packed[sampled] //= 1 << 12
    elif kind == "large ones sampled":
        packed[~sampled] //= 1 << 12
    elif kind == "few that are not zero":
        packed[rng.random(size) > 0.001] = 0
    elif kind == "ties":
        packed //= 1 << 18
    return packed


@pytest.mark.parametrize("kind", ["even", "small ones sampled", "large ones sampled", "few that are not zero", "ties"])
@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_the_selection_is_exact(wavelet: str, kind: str) -> None:
    layout = volume_layout_of(*SHAPE, wavelet, 3)
    plan, weighed = volume_plan(layout), wavelet == "cdf53"
    dtype: Any = np.int32 if weighed else np.float32
    packed = _coefficients(kind, layout.size, (layout.size // (1 << 14)) | 1).astype(dtype)
    ordered = np.sort(volume_magnitudes(packed, layout).astype(np.float32))
    buffers = buffers_for(layout, plan)
    for wanted in (1, 2, 50, 1000, 20_000, layout.size // 2, layout.size - 1, layout.size):
        buffers.packed[: layout.size] = packed.view(np.int32)
        note(buffers, plan, dtype)
        for threads in (1, 3):
            kth, finite = kth_of_volume(buffers, plan, layout.size, wanted, weighed, threads)
            assert kth == ordered[-wanted], f"K = {wanted}"
            assert finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_coefficient_that_is_not_finite_is_noticed_anywhere(bad: float) -> None:
    layout = volume_layout_of(*SHAPE, "haar", 3)
    plan = volume_plan(layout)
    buffers = buffers_for(layout, plan)
    packed = buffers.packed.view(np.float32)
    packed[: layout.size] = 1
    for place in (0, 100_001, layout.size - 1):
        packed[place] = bad
        note(buffers, plan, np.float32)
        assert not kth_of_volume(buffers, plan, layout.size, 500, False, 2)[1]
        packed[place] = 1
    note(buffers, plan, np.float32)
    assert kth_of_volume(buffers, plan, layout.size, 500, False, 2) == (1, True)
