"""inject_volumes() on the CPU against PyWavelets' wavedecn in float64 and the exact integer reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wavestream.kernels import inject_volumes
from wavestream.kernels.cpu import volumes as cpu_volumes
from wavestream.kernels.volume_layout import volume_max_levels
from wavestream.kernels.volume_reference import inject_volume_reference

# Filters of 2, 4, 10 and 16 taps: half of them odd and even in number.
FLOAT_WAVELETS = ["haar", "db2", "bior4.4", "db8"]
INTEGERS = ["uint8", "uint16", "int16", "int32"]
HOSTILE = [(1, 1, 1), (1, 1, 9), (1, 7, 1), (5, 1, 1), (2, 2, 2), (1, 17, 31), (6, 1, 40), (7, 11, 13), (40, 33, 50)]
KEEPS = (0.1, 0.01, 0.001)

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], str]


def scan(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """A smooth body with an edge and noise; 12 bits, 8 for uint8."""
    rng = np.random.default_rng([*shape, seed])
    z, y, x = np.meshgrid(*(np.linspace(0, 1, side) for side in shape), indexing="ij")
    volume = (
        np.sin(9 * x + seed) + np.cos(8 * y * (1 + z)) + 1.5 * ((x - 0.4) ** 2 + (y - 0.5) ** 2 + (z - 0.5) ** 2 < 0.1)
    )
    volume = (volume + 2) / 5.5 * 0.9 + 0.1 * rng.random(shape)
    if np.dtype(dtype).kind == "f":
        return (volume * 4 - 2).astype(dtype)
    scale = 255 if dtype == "uint8" else 4095
    return np.clip(np.rint(volume * scale), 0, scale).astype(dtype)


def smallest(wavelet: str) -> int:
    return next(side for side in range(1, 64) if volume_max_levels(side, side, side, wavelet))


@pytest.mark.parametrize("wavelet", FLOAT_WAVELETS)
def test_float_artifacts_are_as_exact_as_pywavelets_in_float32(
    wavelet: str, complaint: Measure, volume_artifact: Any
) -> None:
    side = smallest(wavelet)
    for shape in [(side, side, side), (side, side + 5, 2 * side + 30), (31, 18, 37), (2 * side + 7, 64, 29)]:
        if not volume_max_levels(*shape, wavelet):
            continue
        volume = scan(shape)
        np.testing.assert_array_equal(inject_volumes(volume, 1, wavelet), volume)
        for keep in KEEPS:
            found = inject_volumes(volume, keep, wavelet)
            exact, plain = volume_artifact(volume, keep, wavelet)
            assert complaint(found, plain, exact) == "", f"{shape}, keep {keep}"


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_integer_artifacts_are_the_rounded_and_clipped_ones(dtype: str, volume_artifact: Any) -> None:
    volume = scan((21, 40, 35), dtype)
    low, high = int(volume.min()) + 9, int(volume.max()) - 9
    for keep in KEEPS:
        exact, plain = volume_artifact(volume, keep, "db2")
        doubt = 0.5 + max(2e-6 * float(np.abs(exact).max()), 2 * np.abs(exact - plain).max())
        for limits in (None, (low, high)):
            found = inject_volumes(volume, keep, "db2", value_range=limits)
            bounds = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
            assert found.dtype == volume.dtype
            assert np.abs(found - np.clip(exact, *bounds)).max() <= doubt
            assert bounds[0] <= found.min() <= found.max() <= bounds[1]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_cdf53_artifacts_are_the_reference_bit_for_bit(dtype: str) -> None:
    limits = np.iinfo(dtype if dtype != "int32" else "int16")
    for shape in HOSTILE:
        noise = np.random.default_rng(shape).integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        volumes = np.stack([scan(shape, dtype), noise, np.full_like(noise, limits.min), noise // 64 * 64])
        for keep in (1, 0.7, *KEEPS):
            for bounds in (None, (40, 99)):
                expected = [inject_volume_reference(volume, keep, "cdf53", None, bounds) for volume in volumes]
                np.testing.assert_array_equal(inject_volumes(volumes, keep, "cdf53", value_range=bounds), expected)
        deepest = volume_max_levels(*shape, "cdf53")
        expected = [inject_volume_reference(volume, 0.05, "cdf53", deepest) for volume in volumes]
        np.testing.assert_array_equal(inject_volumes(volumes, 0.05, "cdf53", deepest), expected)


def test_the_selection_is_exact_where_a_sample_misleads() -> None:
    """More coefficients than are sampled: in most volumes all large ones lie between the samples."""
    rng = np.random.default_rng(5)
    volumes = np.zeros((4, 40, 64, 66), np.int16)
    volumes[0, :, :, 1::2] = rng.integers(-2000, 2000, (40, 64, 33))
    volumes[1, 20:22] = rng.integers(-2000, 2000, (2, 64, 66))
    volumes[2] = 7
    volumes[3, ::8, ::8, ::6] = np.arange(40 * 11).reshape(5, 8, 11)
    for keep in (0.9, 0.3, 0.02, 0.001, 1e-6):
        expected = [inject_volume_reference(volume, keep, "cdf53") for volume in volumes]
        np.testing.assert_array_equal(inject_volumes(volumes, keep, "cdf53"), expected)


@pytest.mark.parametrize(("wavelet", "dtype"), [("haar", "float32"), ("cdf53", "int16")])
def test_the_number_of_threads_changes_nothing(wavelet: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_volumes, "_SHARED_FROM", 0)
    # Few slices and many rows, so that slices are cut into ranges of rows; enough voxels that threads are used at all.
    for shape in [(5, 301, 203), (64, 70, 75)]:
        volume = scan(shape, dtype)
        expected = inject_volumes(volume, 0.02, wavelet, threads=1)
        if wavelet == "cdf53":
            np.testing.assert_array_equal(expected, inject_volume_reference(volume, 0.02, wavelet))
        for threads in (2, 3, 16, None):
            np.testing.assert_array_equal(inject_volumes(volume, 0.02, wavelet, threads=threads), expected)


@pytest.mark.parametrize(("wavelet", "dtype"), [("haar", "float32"), ("cdf53", "int16")])
def test_small_volumes_are_done_side_by_side_with_the_same_result(wavelet: str, dtype: str) -> None:
    volumes = np.stack([scan((64, 70, 75), dtype) // part for part in (1, 2, 3, 5, 7)]).astype(dtype)
    keep = [0.02, 1.0, 0.3, 0.001, 0.1]
    assert cpu_volumes._threads_per_volume(5, volumes[0].size, 3) == 1
    expected = [inject_volumes(volume, part, wavelet, threads=1) for volume, part in zip(volumes, keep, strict=True)]
    for threads in (2, 3, 16):
        np.testing.assert_array_equal(inject_volumes(volumes, keep, wavelet, threads=threads), expected)


def test_large_volumes_are_shared_by_all_threads_and_so_are_few() -> None:
    assert cpu_volumes._threads_per_volume(32, 300 * 512 * 512, 16) == 16
    assert cpu_volumes._threads_per_volume(1, 96 * 256 * 256, 16) == 16
    assert cpu_volumes._threads_per_volume(32, 96 * 256 * 256, 16) == 1
    assert cpu_volumes._threads_per_volume(1, 64 * 64 * 64, 16) == 1
