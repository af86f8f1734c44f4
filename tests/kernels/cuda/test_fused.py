"""The fused kernel gives the right numbers: its CUDA C++ on the CPU, every access checked, in blocks and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_battery import check_inject, random_images
from fused_backend import HOPPER, ShimBackend

from wavestream.kernels import WAVELETS, inject
from wavestream.kernels.reference import inject_reference
from wavestream.kernels.validation import smallest_side

# Filters of other lengths than these, and the lifting, are compiled in the tests that are marked slow.
QUICK = ("haar", "db2", "db3", "db7", "db8", "bior4.4", "cdf53")


@pytest.fixture
def backend(machine: Any, monkeypatch: pytest.MonkeyPatch) -> ShimBackend:
    return ShimBackend(machine, monkeypatch)


def dtype_for(wavelet: str) -> str:
    return "int16" if wavelet == "cdf53" else "float32"


@pytest.mark.parametrize("wavelet", [w if w in QUICK else pytest.param(w, marks=pytest.mark.slow) for w in WAVELETS])
def test_the_smallest_image_and_a_prime_by_odd_one(backend: ShimBackend, wavelet: str) -> None:
    side = smallest_side(wavelet)
    for shape, in_place in (((side, side), True), ((67, 2 * side + 71), False)):
        # Half of the wavelets in one block, half in two.
        backend.spread(shape, wavelet, 1 + WAVELETS.index(wavelet) % 2)
        check_inject(backend, random_images((2, *shape), dtype_for(wavelet)), [0.1, 0.01], wavelet, in_place=in_place)
    assert len(backend.launches) == 2


@pytest.mark.parametrize(
    ("wavelet", "cluster"), [("bior4.4", 1), ("bior4.4", 4), ("db8", 2), ("cdf53", 1), ("cdf53", 8)]
)
def test_an_image_in_a_cluster_of_blocks(backend: ShimBackend, wavelet: str, cluster: int) -> None:
    shape = (255, 60)
    backend.spread(shape, wavelet, cluster)
    check_inject(backend, random_images((1, *shape), dtype_for(wavelet)), [0.03], wavelet, in_place=True)
    assert [launch.cluster for launch in backend.launches] == [cluster]


@pytest.mark.parametrize(
    ("shape", "wavelet", "dtype", "cluster"),
    [
        ((68, 150), "bior4.4", "float32", 8),
        pytest.param((512, 512), "bior4.4", "float32", 8, marks=pytest.mark.slow),
        pytest.param((224, 224), "db4", "uint8", 8, marks=pytest.mark.slow),
        pytest.param((300, 513), "cdf53", "uint16", 8, marks=pytest.mark.slow),
        pytest.param((544, 544), "haar", "float16", 8, marks=pytest.mark.slow),
    ],
)
def test_launches_as_on_a_device(
    backend: ShimBackend, shape: tuple[int, int], wavelet: str, dtype: str, cluster: int
) -> None:
    backend.limits = HOPPER
    backend.threads = backend.pitch = None
    check_inject(backend, random_images((1, *shape), dtype), [0.01], wavelet)
    assert [(launch.threads, launch.cluster) for launch in backend.launches] == [(1024, cluster)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 40), (37, 1), (2, 2), (3, 3), (5, 4)])
def test_cdf53_of_degenerate_images(backend: ShimBackend, shape: tuple[int, int]) -> None:
    check_inject(backend, random_images((2, *shape), "uint16"), [0.3, 0.01], "cdf53")


@pytest.mark.parametrize(
    ("wavelet", "dtype"),
    [("bior4.4", dtype) for dtype in ("uint8", "float16", "float32")]
    + [("cdf53", dtype) for dtype in ("uint8", "uint16", "int16")],
)
def test_every_dtype(backend: ShimBackend, wavelet: str, dtype: str) -> None:
    # A row of 36 pixels is loaded four at a time, one of 41 pixel by pixel.
    for shape in ((41, 36), (36, 41)):
        check_inject(backend, random_images((3, *shape), dtype), [0.1, 1.0, 0.01], wavelet)


@pytest.mark.parametrize(("wavelet", "result"), [("bior4.4", "float16"), ("cdf53", "float32")])
def test_integer_images_as_floats(backend: ShimBackend, wavelet: str, result: str) -> None:
    from wavestream.kernels.cuda.inject import inject_cuda

    images = random_images((2, 40, 44), "uint8")
    sizes = np.array([[40, 44], [37, 33]], dtype=np.int32)
    limits = np.array([[0, 255], [20, 200]], dtype=np.int32)
    found = []
    for dtype in ("uint8", result):
        out = backend.to_device(np.zeros(images.shape, dtype))
        levels = np.array([1, 1], dtype=np.int32)
        inject_cuda(backend.to_device(images), np.array([0.1, 0.2]), wavelet, levels, sizes, limits, out, "fused")
        found.append(backend.to_host(out))
    np.testing.assert_array_equal(found[1], found[0].astype(result))
    np.testing.assert_array_equal(found[0][1, 37:], images[1, 37:])
    np.testing.assert_array_equal(
        found[0][1, :37, :33], inject_reference(images[1, :37, :33], 0.2, wavelet, 1, (20, 200))
    )


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("wavelet", "dtype", "cluster"), [("haar", "float32", 1), ("bior4.4", "float32", 4), ("cdf53", "uint8", 4)]
)
def test_mixed_sizes_in_a_canvas(backend: ShimBackend, wavelet: str, dtype: str, cluster: int, in_place: bool) -> None:
    backend.spread((80, 90), wavelet, cluster)
    sizes = [(80, 90), (18, 90), (80, 19), (37, 53), (36, 18)]
    images = random_images((5, 80, 90), dtype)
    check_inject(backend, images, [0.1, 0.01, 0.5, 1.0, 0.001], wavelet, sizes=sizes, in_place=in_place)


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
def test_values_are_clipped_to_their_range(backend: ShimBackend, wavelet: str) -> None:
    images = random_images((2, 40, 40), "uint8")
    images[1] = np.clip(images[1], 40, 99)
    check_inject(backend, images, [0.02, 0.02], wavelet, value_range=[(0, 255), (40, 99)])


@pytest.mark.parametrize(("wavelet", "cluster"), [("bior4.4", 1), ("cdf53", 1), ("cdf53", 4)])
def test_constant_and_tied_images(backend: ShimBackend, wavelet: str, cluster: int) -> None:
    images = np.zeros((4, 72, 48), dtype=np.uint8)
    images[1] = 7
    images[2, ::8] = 200
    images[3, 40, 24] = 1
    backend.spread((72, 48), wavelet, cluster)
    check_inject(backend, images, [0.1, 0.001, 0.01, 1e-9], wavelet)


@pytest.mark.parametrize("cluster", [1, 4])
def test_the_selection_is_exact_for_any_keep(backend: ShimBackend, cluster: int) -> None:
    """Every bit of the integer result depends on the threshold, and ties abound."""
    keeps = [1e-9, 0.001, 0.01, 0.1, 0.3, 0.7, 0.999]
    images = random_images((7, 61, 94), "uint8")
    images[3:] //= 16
    backend.spread((61, 94), "cdf53", cluster)
    check_inject(backend, images, keeps, "cdf53")


def test_the_selection_is_exact_for_every_count(backend: ShimBackend) -> None:
    """The K-th is once the first and once the last that a thread, or a bin, has."""
    images = np.tile(random_images((1, 8, 18), "uint8"), (144, 1, 1))
    check_inject(backend, images, [count / 144 for count in range(1, 145)], "cdf53")


@pytest.mark.parametrize(("dtype", "cluster"), [("float32", 1), ("float32", 4), ("float16", 1)])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_becomes_nan(backend: ShimBackend, dtype: str, wrong: float, cluster: int) -> None:
    images = random_images((4, 72, 41), dtype)
    images[0, 3, 7] = images[2, 71, 30] = images[3, 71, 40] = wrong
    sizes = [(72, 41), (72, 41), (72, 41), (71, 40)]
    backend.spread((72, 41), "bior4.4", cluster)
    found = backend.to_host(inject(backend.to_device(images), [0.1, 0.1, 1.0, 0.1], "bior4.4", sizes=sizes))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    np.testing.assert_array_equal(found[2], images[2])
    assert np.isfinite(found[3, :71, :40]).all()
    np.testing.assert_array_equal(found[3, 71], images[3, 71])


@pytest.mark.parametrize(("wavelet", "shape"), [("bior4.4", (130, 70)), ("cdf53", (97, 130))])
def test_the_order_of_threads_does_not_matter(backend: ShimBackend, wavelet: str, shape: tuple[int, int]) -> None:
    images = random_images((1, *shape), dtype_for(wavelet))
    backend.spread(shape, wavelet, 4)
    found = []
    for order in ("forward", "reverse", "shuffled"):
        backend.order = order
        found.append(backend.to_host(inject(backend.to_device(images), 0.02, wavelet)))
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_blocks_and_clusters_give_the_same_bits(backend: ShimBackend) -> None:
    images = random_images((1, 97, 66), "float32")
    found = []
    for cluster in (1, 4):
        backend.spread((97, 66), "bior4.4", cluster)
        found.append(backend.to_host(inject(backend.to_device(images), 0.02, "bior4.4")))
    np.testing.assert_array_equal(found[0], found[1])


def test_the_multipass_kernels_select_the_same(backend: ShimBackend) -> None:
    """Both sum in the same order; what rounds otherwise is the inverse."""
    from wavestream.kernels.cuda.inject import inject_cuda

    images = backend.to_device(random_images((1, 97, 66), "float32"))
    arguments = np.array([0.02]), "bior4.4", np.array([3], np.int32), np.array([[97, 66]], np.int32), None
    found = []
    for path in ("fused", "multipass"):
        out = backend.to_device(np.zeros((1, 97, 66), np.float32))
        inject_cuda(images, *arguments, out, path)
        found.append(backend.to_host(out))
    assert len(backend.launches) == 1
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2e-6)
