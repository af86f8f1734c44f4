"""Images too large for a cluster: their finest levels by tiles, the rest in shared memory; CUDA C++ on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_battery import check_inject, random_images
from fused_backend import ShimBackend

from wavestream.kernels import inject
from wavestream.kernels.cuda.inject import inject_cuda
from wavestream.kernels.reference import inject_reference


@pytest.fixture
def backend(machine: Any, monkeypatch: pytest.MonkeyPatch) -> ShimBackend:
    return ShimBackend(machine, monkeypatch)


def names(backend: ShimBackend) -> list[str]:
    return [launch.kernel for launch in backend.launches]


@pytest.mark.parametrize(
    ("wavelet", "dtype", "shape", "peeled", "cluster"),
    [
        ("haar", "float32", (131, 97), 1, 1),
        ("bior4.4", "float32", (150, 201), 1, 2),
        ("bior4.4", "float16", (150, 201), 2, 1),
        ("db8", "float32", (120, 121), 1, 1),
        ("cdf53", "uint16", (131, 97), 1, 2),
        ("cdf53", "uint16", (131, 97), 2, 1),
        ("cdf53", "uint16", (1, 150), 2, 1),
    ],
)
@pytest.mark.parametrize("in_place", [False, True])
def test_levels_by_tiles(
    backend: ShimBackend, wavelet: str, dtype: str, shape: tuple[int, int], peeled: int, cluster: int, in_place: bool
) -> None:
    backend.spread(shape, wavelet, cluster, peeled)
    check_inject(backend, random_images((2, *shape), dtype), [0.1, 0.01], wavelet, in_place=in_place)
    tiles = ["analyse_tiles"] * peeled, ["synthesise_tiles"] * peeled
    assert names(backend) == ["begin", *tiles[0], "inject", *tiles[1]]


@pytest.mark.parametrize(("wavelet", "dtype"), [("haar", "float32"), ("cdf53", "uint16")])
def test_mixed_sizes_in_a_canvas(backend: ShimBackend, wavelet: str, dtype: str) -> None:
    sizes = [(131, 97), (40, 97), (131, 41), (70, 97), (37, 40)]
    backend.spread((131, 97), wavelet, 1, 1)
    check_inject(backend, random_images((5, 131, 97), dtype), [0.1, 0.01, 0.5, 1.0, 0.001], wavelet, sizes=sizes)
    assert "analyse_tiles" in names(backend)


def test_an_image_that_is_not_finite_becomes_nan(backend: ShimBackend) -> None:
    images = random_images((4, 131, 97), "float32")
    images[0, 3, 7] = images[2, 70, 30] = images[3, 130, 96] = np.nan
    sizes = [(131, 97), (131, 97), (131, 97), (130, 96)]
    backend.spread((131, 97), "haar", 1, 1)
    found = backend.to_host(inject(backend.to_device(images), [0.1, 0.1, 1.0, 0.1], "haar", sizes=sizes))
    assert "synthesise_tiles" in names(backend)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    np.testing.assert_array_equal(found[2], images[2])
    assert np.isfinite(found[3, :130, :96]).all()
    np.testing.assert_array_equal(found[3, 130], images[3, 130])


def test_the_same_bits_with_and_without_tiles(backend: ShimBackend) -> None:
    images = random_images((1, 131, 97), "float32")
    found = []
    for peeled in (0, 1):
        backend.spread((131, 97), "haar", 1, peeled)
        found.append(backend.to_host(inject(backend.to_device(images), 0.02, "haar")))
    np.testing.assert_array_equal(found[0], found[1])


def test_integer_images_as_floats(backend: ShimBackend) -> None:
    images = random_images((2, 131, 97), "uint16")
    backend.spread((131, 97), "cdf53", 1, 1)
    sizes, levels = np.array([(131, 97), (90, 70)], np.int32), np.array([5, 5], np.int32)
    limits = np.tile(np.array([100, 3000], np.int32), (2, 1))
    found = []
    for dtype in ("uint16", "float32"):
        out = backend.to_device(np.zeros(images.shape, dtype))
        inject_cuda(backend.to_device(images), np.array([0.02, 1.0]), "cdf53", levels, sizes, limits, out, "fused")
        found.append(backend.to_host(out))
    np.testing.assert_array_equal(found[0], found[1].astype("uint16"))
    np.testing.assert_array_equal(found[0][1], images[1])
    np.testing.assert_array_equal(found[0][0], inject_reference(images[0], 0.02, "cdf53", 5, (100, 3000)))
    assert len(names(backend)) == 8
