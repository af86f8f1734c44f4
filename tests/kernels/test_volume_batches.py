"""inject_volumes() on batches and bad input: a keep per volume, in place, out, callers at once, memory, errors."""

from __future__ import annotations

import re
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from wavestream.kernels import inject_volumes

KINDS = [("haar", "float32"), ("haar", "int16"), ("cdf53", "int16")]
KEEP = [0.1, 1, 0.01]


def volumes_of(dtype: str, shape: tuple[int, ...] = (3, 9, 20, 33), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 900, shape[-1]) + 100 * rng.random(shape) + 50 * rng.random((*shape[:-1], 1))
    return ramp.astype(dtype)


@pytest.mark.parametrize(("wavelet", "dtype"), KINDS)
def test_a_batch_is_its_volumes_wherever_the_result_goes(wavelet: str, dtype: str) -> None:
    volumes = volumes_of(dtype)
    expected = np.stack([inject_volumes(v, keep, wavelet) for v, keep in zip(volumes, KEEP, strict=True)])
    assert expected[0].shape == (9, 20, 33)
    np.testing.assert_array_equal(expected[1], volumes[1])
    assert (expected[0] != volumes[0]).any()
    np.testing.assert_array_equal(inject_volumes(volumes, KEEP, wavelet), expected)
    np.testing.assert_array_equal(volumes, volumes_of(dtype))
    out = np.zeros_like(volumes)
    assert inject_volumes(volumes, KEEP, wavelet, out=out) is out
    np.testing.assert_array_equal(out, expected)
    gaps = np.repeat(volumes, 2, axis=3)[..., ::2]
    np.testing.assert_array_equal(inject_volumes(gaps, KEEP, wavelet), expected)
    assert inject_volumes(volumes, KEEP, wavelet, out=volumes) is volumes
    np.testing.assert_array_equal(volumes, expected)


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize(("wavelet", "dtype"), [kind for kind in KINDS if kind[1] == "int16"])
def test_integer_results_can_be_stored_as_floats(wavelet: str, dtype: str, stored: str) -> None:
    volumes = volumes_of(dtype)
    ranges = [(0, 900), (0, 1), (100, 500)]
    expected = inject_volumes(volumes, KEEP, wavelet, value_range=ranges).astype(stored)
    out = np.full(volumes.shape, np.nan, stored)
    assert inject_volumes(volumes, KEEP, wavelet, value_range=ranges, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_float16_is_computed_in_float32() -> None:
    volumes = (volumes_of("float32") / 100).astype(np.float16)
    expected = inject_volumes(volumes.astype(np.float32), KEEP, "haar").astype(np.float16)
    np.testing.assert_array_equal(inject_volumes(volumes, KEEP, "haar"), expected)
    assert inject_volumes(volumes, KEEP, "haar", out=volumes) is volumes
    np.testing.assert_array_equal(volumes, expected)


@pytest.mark.parametrize(("wavelet", "dtype"), [KINDS[0], KINDS[2]])
def test_many_callers_at_once_get_what_one_gets(wavelet: str, dtype: str) -> None:
    batches = [volumes_of(dtype, (2, 8 + side, 90, side), side) for side in (40, 96, 20, 75)]
    expected = [inject_volumes(batch, 0.05, wavelet, threads=1) for batch in batches]
    with ThreadPoolExecutor(4) as callers:
        for _ in range(3):
            results = list(callers.map(lambda batch: inject_volumes(batch, 0.05, wavelet, threads=3), batches))
            for found, right in zip(results, expected, strict=True):
                np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(("wavelet", "dtype"), KINDS)
def test_memory_is_three_volumes_at_most(wavelet: str, dtype: str) -> None:
    volume = volumes_of(dtype, (64, 128, 128))
    out = np.empty_like(volume)
    peaks = []

    def call() -> None:
        tracemalloc.start()
        inject_volumes(volume, 0.02, wavelet, out=out, threads=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    inject_volumes(volume, 0.02, wavelet, out=out, threads=2)
    # A thread of its own has no buffers yet.
    fresh = threading.Thread(target=call)
    fresh.start()
    fresh.join()
    assert 2 * 4 * volume.size < peaks[0] < 3 * 4 * volume.size


@pytest.mark.parametrize("keep", [1, 0.1])
@pytest.mark.parametrize(("dtype", "bad"), [("float32", np.nan), ("float32", -np.inf), ("float16", np.inf)])
def test_voxels_that_are_not_finite_are_named_and_copied_through(dtype: str, bad: float, keep: float) -> None:
    volumes = volumes_of(dtype)
    expected = inject_volumes(volumes, keep, "haar")
    volumes[0, 0, 0, 0] = volumes[2, 8, 19, 32] = bad
    expected[[0, 2]] = volumes[[0, 2]]
    out = np.zeros_like(volumes)
    with pytest.raises(ValueError, match=r"volumes: expected finite voxels .* got NaN, infinite .* in volumes 0, 2;"):
        inject_volumes(volumes, keep, "haar", out=out)
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="volumes 0, 2;"):
        inject_volumes(volumes, keep, "haar", out=volumes)
    np.testing.assert_array_equal(volumes, expected)


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_int32_voxels_beyond_what_is_exact_are_named(wavelet: str) -> None:
    volumes = np.zeros((3, 4, 4, 4), np.int32)
    volumes[0, 3, 3, 3], volumes[1, 3, 3, 3], volumes[2, 0, 0, 0] = 2**24, 2**24 + 1, -(2**24) - 1
    with pytest.raises(ValueError, match=r"expected voxels within \+-16777216.* larger ones in volumes 1, 2;"):
        inject_volumes(volumes, 0.1, wavelet)
    assert inject_volumes(volumes[:1], 1.0, wavelet)[0, 3, 3, 3] == 2**24


VOLUME = np.zeros((4, 4, 4), np.float32)
BAD = [
    ((VOLUME[0], 0.1), {}, ValueError, r"expected \(batch, slices, rows, cols\) or .* got shape \(4, 4\)"),
    ((VOLUME[:0], 0.1), {}, ValueError, r"expected at least one volume .* got shape \(0, 4, 4\)"),
    ((VOLUME.astype(np.float64), 0.1), {}, TypeError, "expected one of uint8, .* got float64"),
    ((VOLUME, 0.1, "cdf53"), {}, TypeError, "cdf53 is an integer wavelet"),
    (([[[1]]], 0.1), {}, TypeError, "volumes: expected a NumPy array .* got builtins.list"),
    ((VOLUME, 0), {}, ValueError, r"keep: expected a fraction in \(0, 1\], got 0.0"),
    ((VOLUME, [0.1, 0.2]), {}, ValueError, r"keep: expected one number or shape \(1,\)"),
    ((VOLUME, 0.1), {}, ValueError, "a volume of 4x4x4 voxels is too small for bior4.4: expected at least 18 voxels"),
    ((VOLUME, 0.1, "haar", 3), {}, ValueError, "levels: expected 1 to 2 for a volume of 4x4x4 voxels with haar, got 3"),
    ((VOLUME, 0.1, "haar", 1.5), {}, TypeError, "levels: expected an integer or None, got 1.5"),
    ((VOLUME, 0.1, "nonsense"), {}, ValueError, "unknown wavelet 'nonsense'"),
    ((VOLUME, 0.1, "haar"), {"value_range": (0, 1)}, ValueError, "only integer images are clipped"),
    ((VOLUME, 0.1, "haar"), {"threads": 0}, ValueError, "threads: expected at least 1"),
    ((VOLUME, 0.1, "haar"), {"out": VOLUME[:, :, :2]}, ValueError, r"out: expected shape \(4, 4, 4\)"),
    ((VOLUME, 0.1, "haar"), {"out": VOLUME.astype(np.float16)}, TypeError, "out: expected dtype float32, got float16"),
    ((VOLUME, 0.1, "haar"), {"out": VOLUME.transpose()}, ValueError, "out: expected a C-contiguous array"),
    ((VOLUME[:2], 0.1, "haar"), {"out": VOLUME.reshape(-1)[8:40].reshape(2, 4, 4)}, ValueError, "overlaps"),
]


@pytest.mark.parametrize(("arguments", "options", "kind", "message"), BAD, ids=[case[3] for case in BAD])
def test_bad_arguments_are_named(arguments: tuple[Any, ...], options: dict[str, Any], kind: Any, message: str) -> None:
    with pytest.raises(kind) as raised:
        inject_volumes(*arguments, **options)
    assert re.search(message, str(raised.value)), str(raised.value)
