"""The battery for the fused kernel on a real device: every class, and the same selection as the multi-pass kernels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_battery import check_inject, random_images

from wavestream.kernels import WAVELETS
from wavestream.kernels.cuda.device import queue_of
from wavestream.kernels.cuda.fused import launch
from wavestream.kernels.cuda.fused.choice import Batch, Choice, Limits, choose
from wavestream.kernels.cuda.inject import inject_cuda
from wavestream.kernels.validation import smallest_side
from wavestream.kernels.wavelets import default_levels

pytestmark = pytest.mark.gpu

DTYPES = ("uint8", "uint16", "int16", "float16", "float32")
# One image per block of each size; clusters because the batch is small, and because the image is large; tiles.
SHAPES = [
    (300, 64, 61),
    (200, 128, 128),
    (160, 224, 224),
    (32, 224, 224),
    (3, 257, 190),
    (2, 512, 512),
    (2, 1024, 1000),
    (1, 1501, 2049),
]


@pytest.fixture
def backend() -> SimpleNamespace:
    cupy = pytest.importorskip("cupy")
    return SimpleNamespace(to_device=cupy.asarray, to_host=lambda array: array.get())


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[launch.Launch]:
    """All launches of the fused kernels."""
    made: list[launch.Launch] = []
    run = launch.run

    def record(step: launch.Launch, queue: Any) -> None:
        made.append(step)
        run(step, queue)

    monkeypatch.setattr(launch, "run", record)
    return made


def fits(backend: Any, shape: tuple[int, int, int], wavelet: str) -> bool:
    with queue_of(backend.to_device(np.zeros(1, np.float32))) as queue:
        limits = launch.limits_of(queue)
    batch, rows, cols = shape
    levels = default_levels(rows, cols, wavelet)
    what = Batch(batch, rows, cols, levels, levels, wavelet, "uint16", "uint16")
    return isinstance(limits, Limits) and isinstance(choose(limits, what), Choice)


@pytest.mark.parametrize("wavelet", ["haar", "bior4.4", "db8", "cdf53"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_class(backend: Any, launches: list[launch.Launch], shape: tuple[int, int, int], wavelet: str) -> None:
    if not fits(backend, shape, wavelet):
        pytest.skip("images of this size do not fit this device's shared memory")
    images = random_images(shape, "int16" if wavelet == "cdf53" else "float32")
    keeps = np.resize([0.01, 0.1, 0.001, 1.0, 0.3], len(images)).tolist()
    # The oracle takes its time: a few images of each batch.
    few = slice(None, None, max(1, len(images) // 5))
    source = backend.to_device(images)
    check_inject(backend, images[few], keeps[few], wavelet)
    assert launches
    found = {}
    for path in ("fused", "multipass"):
        out = backend.to_device(np.zeros_like(images))
        levels = np.full(len(images), default_levels(*shape[1:], wavelet), dtype=np.int32)
        sizes = np.tile(np.array(shape[1:], dtype=np.int32), (len(images), 1))
        limits = None
        if wavelet == "cdf53":
            limits = np.tile(np.array([-(2**15), 2**15 - 1], np.int32), (len(images), 1))
        inject_cuda(source, np.array(keeps), wavelet, levels, sizes, limits, out, path)
        found[path] = backend.to_host(out)
    if wavelet == "cdf53":
        np.testing.assert_array_equal(found["fused"], found["multipass"])
    else:
        np.testing.assert_allclose(found["fused"], found["multipass"], atol=1e-5)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_every_wavelet_and_dtype(backend: Any, launches: list[launch.Launch], wavelet: str) -> None:
    side = smallest_side(wavelet)
    for dtype in DTYPES[:3] if wavelet == "cdf53" else DTYPES:
        for shape, in_place in (((2, side, side), True), ((3, 67, 2 * side + 71), False)):
            check_inject(backend, random_images(shape, dtype), [0.1, 0.01, 1.0][: shape[0]], wavelet, in_place=in_place)
    assert launches


def test_mixed_sizes_in_a_canvas(backend: Any, launches: list[launch.Launch]) -> None:
    rng = np.random.default_rng(1)
    sizes = [(int(rows), int(cols)) for rows, cols in rng.integers(18, 190, (33, 2))]
    images = random_images((33, 190, 190), "uint16")
    check_inject(backend, images, [float(keep) for keep in rng.choice([0.1, 0.01, 0.001, 1], 33)], "db4", sizes=sizes)
    assert launches


def test_the_same_bits_every_time(backend: Any, launches: list[launch.Launch]) -> None:
    images = random_images((40, 190, 190), "float32")
    levels, sizes = np.full(40, 4, np.int32), np.full((40, 2), 190, np.int32)
    results = set()
    for _ in range(20):
        out = backend.to_device(np.zeros_like(images))
        inject_cuda(backend.to_device(images), np.full(40, 0.01), "bior4.4", levels, sizes, None, out, "fused")
        results.add(backend.to_host(out).tobytes())
    assert len(results) == 1
    assert len(launches) == 20
