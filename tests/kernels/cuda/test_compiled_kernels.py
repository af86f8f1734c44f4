"""The compiled kernels give the right numbers: PTX for sm_90, run on the CPU in blocks of the size a device gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_battery import check_inject, check_selection, check_transform, random_images

from wavestream.kernels import WAVELETS, layout_of
from wavestream.kernels.validation import smallest_side
from wavestream.kernels.wavelets import default_levels

FLOAT_WAVELETS = WAVELETS[:-1]
INTEGERS = ("uint8", "uint16", "int16", "int32")


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_transform_of_the_smallest_image(machine: Any, wavelet: str) -> None:
    side = smallest_side(wavelet)
    check_transform(machine, wavelet, (side, side), "int32" if wavelet == "cdf53" else "float32")


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_transform_of_a_prime_by_odd_image(machine: Any, wavelet: str) -> None:
    check_transform(
        machine, wavelet, (67, 2 * smallest_side(wavelet) + 71), "int32" if wavelet == "cdf53" else "float32"
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 40), (37, 1), (2, 2), (3, 3), (5, 4)])
def test_cdf53_of_degenerate_images(machine: Any, shape: tuple[int, int]) -> None:
    check_transform(machine, "cdf53", shape, "int32")
    check_inject(machine, random_images((2, *shape), "int32"), [0.3, 0.01], "cdf53")


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16", "float32"])
def test_inject_of_every_dtype(machine: Any, dtype: str) -> None:
    images = random_images((3, 41, 36), dtype)
    check_inject(machine, images, [0.1, 1.0, 0.01], "bior4.4")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_inject_with_cdf53_of_every_dtype(machine: Any, dtype: str) -> None:
    check_inject(machine, random_images((3, 41, 36), dtype), [0.1, 1.0, 0.01], "cdf53")


@pytest.mark.parametrize("wavelet", FLOAT_WAVELETS)
@pytest.mark.parametrize("in_place", [False, True])
def test_inject_of_a_batch_of_one(machine: Any, wavelet: str, in_place: bool) -> None:
    side = smallest_side(wavelet)
    check_inject(machine, random_images((1, side + 1, side + 34), "float32"), [0.05], wavelet, in_place=in_place)


@pytest.mark.parametrize(
    ("wavelet", "dtype"), [("haar", "float32"), ("bior4.4", "uint8"), ("cdf53", "int32"), ("cdf53", "uint16")]
)
@pytest.mark.parametrize("in_place", [False, True])
def test_mixed_sizes_in_a_canvas(machine: Any, wavelet: str, dtype: str, in_place: bool) -> None:
    sizes = [(80, 90), (18, 90), (80, 19), (37, 53), (36, 18)]
    images = random_images((5, 80, 90), dtype)
    check_inject(machine, images, [0.1, 0.01, 0.5, 1.0, 0.001], wavelet, sizes=sizes, in_place=in_place)


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
def test_values_are_clipped_to_their_range(machine: Any, wavelet: str) -> None:
    images = random_images((2, 40, 40), "int16")
    ranges = [(-2048, 4095), (0, 255)]
    images[1] = np.clip(images[1], 0, 255)
    check_inject(machine, images, [0.02, 0.02], wavelet, value_range=ranges)


@pytest.mark.parametrize("wavelet", ["haar", "bior4.4", "cdf53"])
def test_constant_and_tied_images(machine: Any, wavelet: str) -> None:
    images = np.zeros((4, 40, 48), dtype=np.uint8)
    images[1] = 7
    images[2, ::8] = 200
    images[3, 20, 24] = 1
    check_inject(machine, images, [0.1, 0.001, 0.01, 1e-9], wavelet)


def _coefficients(kind: str, size: int, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(3)
    packed = rng.standard_normal((3, size)) * np.exp(rng.standard_normal((3, size)) * 8)
    if kind == "ties":
        packed = rng.integers(-3, 4, (3, size)).astype(float)
    elif kind == "zeros":
        packed[:] = 0
    elif kind == "extremes":
        # Denormal and huge magnitudes, and neighbours that differ in the last bit.
        packed = np.resize([1e-45, -1e-40, 3e38, 1.0, np.nextafter(np.float32(1), np.float32(2)), -0.0], (3, size))
    return np.clip(packed, -(2**30), 2**30).astype(dtype) if dtype == np.int32 else packed.astype(dtype)


@pytest.mark.parametrize("wavelet", ["db3", "cdf53"])
@pytest.mark.parametrize("kind", ["random", "ties", "zeros", "extremes"])
def test_selection_is_exact(machine: Any, wavelet: str, kind: str) -> None:
    shape = (61, 94)
    layout = layout_of(*shape, wavelet, default_levels(*shape, wavelet))
    packed = _coefficients(kind, layout.size, np.int32 if wavelet == "cdf53" else np.float32)
    for keeps in ([1e-9, 0.001, 0.01], [0.1, 0.5, 1.0]):
        check_selection(machine, packed, keeps, shape, wavelet)


def test_selection_spread_over_many_blocks(machine: Any) -> None:
    shape = (200, 330)
    layout = layout_of(*shape, "haar", default_levels(*shape, "haar"))
    packed = _coefficients("random", layout.size, np.float32)
    check_selection(machine, packed, [0.0001, 0.02, 0.7], shape, "haar")


@pytest.mark.parametrize("wavelet", ["haar", "bior4.4"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_becomes_nan(machine: Any, wavelet: str, dtype: str, wrong: float) -> None:
    from wavestream.kernels import inject

    images = random_images((4, 40, 41), dtype)
    images[0, 3, 7] = images[2, 39, 30] = images[3, 39, 40] = wrong
    sizes = [(40, 41), (40, 41), (40, 41), (39, 40)]
    found = machine.to_host(inject(machine.to_device(images), [0.1, 0.1, 1.0, 0.1], wavelet, sizes=sizes))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    np.testing.assert_array_equal(found[2], images[2])
    assert np.isfinite(found[3, :39, :40]).all()
    np.testing.assert_array_equal(found[3, 39], images[3, 39])


def test_the_order_of_threads_does_not_matter(machine: Any) -> None:
    machine.reverse = True
    check_inject(machine, random_images((2, 67, 90), "float32"), [0.1, 0.01], "bior4.4")
    check_inject(machine, random_images((2, 67, 90), "int16"), [0.1, 0.01], "cdf53")


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
def test_more_images_than_a_grid_holds(machine: Any, monkeypatch: pytest.MonkeyPatch, wavelet: str) -> None:
    from wavestream.kernels.cuda import launch

    monkeypatch.setattr(launch, "MAX_GRID_SIDE", 2)
    check_inject(machine, random_images((5, 19, 20), "uint8"), [0.1, 0.01, 0.2, 0.05, 0.3], wavelet)


def test_a_workspace_is_reused_and_old_ones_go(machine: Any) -> None:
    from wavestream.kernels import inject
    from wavestream.kernels.cuda import workspace

    images = machine.to_device(random_images((2, 20, 21), "uint8"))
    first = machine.to_host(inject(images, 0.1, "haar"))
    (kept,) = workspace._kept.values()
    np.testing.assert_array_equal(machine.to_host(inject(images, 0.1, "haar")), first)
    assert list(workspace._kept.values()) == [kept]
    for rows in range(3, 3 + workspace.KEPT_WORKSPACES):
        inject(machine.to_device(random_images((1, rows, 9), "uint8")), 0.1, "haar")
    assert len(workspace._kept) == workspace.KEPT_WORKSPACES
    assert kept not in workspace._kept.values()
