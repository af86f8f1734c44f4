"""The compiled kernels on images of different sizes, each in memory of its own; and what their host code decides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_battery import check_ragged, random_images

from wavestream.kernels import inject, inject_ragged
from wavestream.kernels.cuda import device, launch, ragged, workspace

SIZES = [(80, 90), (18, 90), (80, 19), (37, 53), (36, 18)]
KEEPS = [0.1, 0.01, 0.5, 1.0, 0.001]


def images_of(dtype: str, sizes: list[tuple[int, int]] = SIZES) -> list[np.ndarray]:
    return [random_images(size, dtype, seed) for seed, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("wavelet", "dtype"),
    [("haar", "float32"), ("bior4.4", "uint8"), ("bior4.4", "float16"), ("cdf53", "int32"), ("cdf53", "uint16")],
)
@pytest.mark.parametrize("in_place", [False, True])
def test_images_of_different_sizes(machine: Any, wavelet: str, dtype: str, in_place: bool) -> None:
    check_ragged(machine, images_of(dtype), KEEPS, wavelet, in_place=in_place)


def test_cdf53_of_hostile_sizes(machine: Any) -> None:
    sizes = [(1, 1), (1, 40), (37, 1), (2, 2), (3, 5), (61, 67)]
    check_ragged(machine, images_of("int16", sizes), [0.3, 0.01, 0.5, 1.0, 0.1, 0.05], "cdf53")


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
def test_integer_results_stored_as_floats(machine: Any, wavelet: str, stored: str) -> None:
    ranges = [(10, 200 + index) for index in range(len(SIZES))]
    check_ragged(machine, images_of("uint8"), KEEPS, wavelet, value_range=ranges, stored=stored)


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_integer_images_on_a_canvas_stored_as_floats(machine: Any, wavelet: str, stored: str) -> None:
    """The kernels' side of it: what lies outside an image, and images that are copied, are converted, too."""
    from wavestream.kernels.cuda.inject import inject_cuda

    images = np.stack([random_images((40, 45), "uint16", seed) for seed in range(3)])
    sizes, keep = np.array([(40, 45), (20, 19), (30, 30)], np.int32), np.array([0.1, 0.3, 1.0])
    limits, levels = np.tile(np.array([5, 3000], np.int32), (3, 1)), np.array([2, 1, 1], np.int32)
    source, expected, out = (machine.to_device(a) for a in (images, images * 0, (images * 0).astype(stored)))
    inject_cuda(source, keep, wavelet, levels, sizes, limits, expected)
    inject_cuda(source, keep, wavelet, levels, sizes, limits, out)
    np.testing.assert_array_equal(machine.to_host(out), machine.to_host(expected).astype(stored))
    assert (machine.to_host(expected)[1, 20:] == images[1, 20:]).all()


def test_the_results_are_those_of_the_images_alone(machine: Any) -> None:
    images = [machine.to_device(image) for image in images_of("float32")]
    for found, image, keep in zip(inject_ragged(images, KEEPS), images, KEEPS, strict=True):
        np.testing.assert_array_equal(machine.to_host(found), machine.to_host(inject(image, keep)))


def test_an_image_that_is_not_finite_becomes_nan(machine: Any) -> None:
    images = images_of("float32")
    images[1][17, 89] = np.nan
    found = [machine.to_host(result) for result in inject_ragged([machine.to_device(i) for i in images], 0.1, "haar")]
    assert [bool(np.isnan(result).all()) for result in found] == [False, True, False, False, False]
    assert all(np.isfinite(found[index]).all() for index in (0, 2, 3, 4))


def test_the_order_of_threads_and_the_size_of_a_grid_do_not_matter(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.reverse = True
    monkeypatch.setattr(launch, "MAX_GRID_SIDE", 2)
    check_ragged(machine, images_of("uint8"), KEEPS, "cdf53")


def test_what_lies_between_the_images_is_not_touched(machine: Any) -> None:
    """The machine fails on any access that is not to the images themselves."""
    memory = np.full(4000, 7, np.int16)
    views = [memory[start : start + 20 * cols].reshape(20, cols) for start, cols in ((100, 30), (1500, 23), (3000, 41))]
    images = [type(machine.to_device(memory))(view) for view in views]
    before, outside = memory.copy(), np.ones(4000, bool)
    for start, cols in ((100, 30), (1500, 23), (3000, 41)):
        outside[start : start + 20 * cols] = False
        memory[start : start + 20 * cols] += np.arange(20 * cols, dtype=np.int16) % 90
    inject_ragged(images, 0.05, "cdf53", out=images)
    np.testing.assert_array_equal(memory[outside], before[outside])
    assert all(len(np.unique(view)) > 3 for view in views)


def test_launches_do_not_grow_with_the_batch(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.cuda.dispatcher import CUDADispatcher

    launched = []
    configured: Any = CUDADispatcher.__getitem__
    monkeypatch.setattr(
        CUDADispatcher, "__getitem__", lambda kernel, shape: launched.append(kernel) or configured(kernel, shape)
    )
    counts = []
    for batch in (1, 5):
        launched.clear()
        inject_ragged([machine.to_device(image) for image in images_of("uint8")[-batch:]], 0.1, "haar", 2)
        counts.append(len(launched))
    assert counts == [12, 12]


def test_a_workspace_serves_batches_of_about_the_same_size(machine: Any) -> None:
    for step in range(4):
        sizes = [(rows - step % 2, cols) for rows, cols in SIZES]
        inject_ragged([machine.to_device(image) for image in images_of("uint8", sizes)], 0.1, "haar", 2)
    assert len(workspace._kept) == 1
    (kept,) = workspace._kept.values()
    assert len(kept._buffers) == 6


def test_sizes_are_rounded_up_by_an_eighth_at_most() -> None:
    found = [ragged.rounded_up(size) for size in range(1, 5000)]
    assert all(size <= rounded <= size * 1.125 for size, rounded in enumerate(found, 1))
    assert len(set(found)) < 90


def _array(address: int) -> Any:
    interface = {"typestr": "<f4", "shape": (9, 9), "data": (address, False), "version": 3}
    return SimpleNamespace(__cuda_array_interface__=interface, shape=(9, 9))


def test_addresses_have_to_be_whole_elements_apart() -> None:
    assert device.addresses_of([_array(1024), _array(512)]).tolist() == [1024, 512]
    with pytest.raises(ValueError, match=r"aligned to the dtype, got address 0x1002 in sample 1"):
        device.addresses_of([_array(1024), _array(4098)])


def test_a_span_reaches_from_the_lowest_address_to_the_highest_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(device.cuda, "as_cuda_array", lambda span, sync: seen.append((span, sync)))
    arrays = [_array(4096), _array(1024), _array(2048)]
    device.span_of(arrays)
    ((span, sync),) = seen
    assert sync is False
    assert span.__cuda_array_interface__ == {
        "shape": ((4096 + 9 * 9 * 4 - 1024) // 4,),
        "typestr": "<f4",
        "data": (1024, False),
        "version": 3,
    }
    assert span.owners == tuple(arrays)
