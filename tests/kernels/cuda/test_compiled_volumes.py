"""The compiled kernels on volumes: PTX for sm_90, run on the CPU in blocks of the size a device gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_battery import check_volumes, random_images

from wavestream.kernels import inject_volumes
from wavestream.kernels.cuda import launch, workspace
from wavestream.kernels.cuda.geometry import COLS as SLICE_COLS
from wavestream.kernels.cuda.geometry import HH, HL, LAST, LEVEL_COLUMNS, LH, LOW
from wavestream.kernels.cuda.geometry import ROWS as SLICE_ROWS
from wavestream.kernels.cuda.volume_geometry import VolumeCapacity, volume_geometry
from wavestream.kernels.volume_layout import volume_layout_of


@pytest.mark.parametrize(
    ("wavelet", "shape"), [("haar", (9, 40, 37)), ("db3", (37, 10, 23)), ("bior4.4", (18, 19, 41))]
)
@pytest.mark.parametrize("in_place", [False, True])
def test_float_artifacts(
    machine: Any, volume_artifact: Any, wavelet: str, shape: tuple[int, int, int], in_place: bool
) -> None:
    volumes = random_images((3, *shape), "float32")
    check_volumes(machine, volumes, [0.1, 1.0, 0.01], wavelet, volume_artifact, in_place=in_place)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (1, 1, 40), (1, 37, 1), (9, 1, 1), (2, 2, 2), (1, 33, 34), (35, 1, 36), (7, 11, 13), (40, 9, 17)],
)
def test_cdf53_of_hostile_sizes(machine: Any, volume_artifact: Any, shape: tuple[int, int, int]) -> None:
    check_volumes(machine, random_images((2, *shape), "int32"), [0.3, 0.01], "cdf53", volume_artifact)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16"])
def test_every_dtype(machine: Any, volume_artifact: Any, dtype: str) -> None:
    volumes = random_images((2, 7, 21, 19), dtype, seed=3)
    check_volumes(machine, volumes, [0.05, 1.0], "db2", volume_artifact)
    if dtype != "float16":
        ranges = [(10, 90), (0, 255)]
        check_volumes(machine, volumes, [0.05, 0.5], "cdf53", volume_artifact, value_range=ranges)


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("wavelet", ["db2", "cdf53"])
def test_integer_results_stored_as_floats(machine: Any, volume_artifact: Any, wavelet: str, stored: str) -> None:
    volumes = random_images((2, 7, 21, 19), "uint8", seed=3)
    check_volumes(machine, volumes, [0.05, 1.0], wavelet, volume_artifact, stored=stored)


def test_a_volume_that_is_not_finite_becomes_nan(machine: Any) -> None:
    volumes = random_images((3, 5, 21, 19), "float32")
    volumes[0, 4, 20, 18] = volumes[2, 0, 0, 0] = np.inf
    found = machine.to_host(inject_volumes(machine.to_device(volumes), [0.1, 0.1, 1.0], "haar"))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    np.testing.assert_array_equal(found[2], volumes[2])


def test_the_order_of_threads_and_the_size_of_a_grid_do_not_matter(
    machine: Any, volume_artifact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.reverse = True
    monkeypatch.setattr(launch, "MAX_GRID_SIDE", 2)
    check_volumes(machine, random_images((5, 7, 11, 12), "int16"), [0.1, 0.01, 0.2, 1, 0.3], "cdf53", volume_artifact)
    check_volumes(machine, random_images((3, 7, 11, 12), "float32"), [0.1, 0.02, 0.2], "db2", volume_artifact)


def test_a_workspace_is_reused(machine: Any) -> None:
    volumes = machine.to_device(random_images((2, 5, 9, 8), "uint8"))
    first = machine.to_host(inject_volumes(volumes, 0.1, "haar"))
    (kept,) = workspace._kept.values()
    buffers = dict(kept._buffers)
    np.testing.assert_array_equal(machine.to_host(inject_volumes(volumes, 0.1, "haar")), first)
    assert list(workspace._kept.values()) == [kept]
    assert kept._buffers == buffers


@pytest.mark.parametrize("wavelet", ["db2", "cdf53"])
def test_the_slices_subbands_cover_the_packed_coefficients_once(wavelet: str) -> None:
    """Every coefficient of every volume belongs to one slice of one subband, and to one band of the selection."""
    layout = volume_layout_of(13, 22, 19, wavelet, 2)
    capacity = VolumeCapacity(3, layout)
    geometry = volume_geometry(capacity, np.array([5, 0, 5]), np.zeros((3, 2), np.int64))
    ends = np.cumsum([np.prod(shape) for shape in capacity.tables])
    tables = [
        part.reshape(shape) for part, shape in zip(np.split(geometry.plan, ends[:-1]), capacity.tables, strict=True)
    ]
    touched = np.zeros(capacity.coefficients_size, int)
    for level in range(2):
        for slice_ in tables[3 + level].reshape(-1, LEVEL_COLUMNS):
            rows, cols = slice_[SLICE_ROWS], slice_[SLICE_COLS]
            low_rows, low_cols = (rows + 1) // 2, (cols + 1) // 2
            high_rows, high_cols = (rows // 2, cols // 2) if wavelet == "cdf53" else (low_rows, low_cols)
            sizes = {HL: low_rows * high_cols, LH: high_rows * low_cols, HH: high_rows * high_cols}
            if slice_[LAST]:
                sizes[LOW] = low_rows * low_cols
            for column, size in sizes.items():
                touched[slice_[column] : slice_[column] + size] += 1
    expected = np.repeat([1, 0, 1], layout.size)
    np.testing.assert_array_equal(touched, expected)
    touched[:] = 0
    for offset, size in tables[1].reshape(-1, 2):
        touched[offset : offset + size] += 1
    np.testing.assert_array_equal(touched, expected)
