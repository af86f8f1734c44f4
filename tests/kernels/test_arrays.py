"""The backend is found from the array; host and device never mix; results come in the kind of the input."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from wavestream.kernels import forward, hard_threshold, inject, inverse, kth_magnitude
from wavestream.kernels.arrays import (
    backend_of,
    dtype_of,
    empty_like_kind,
    is_contiguous,
    is_cuda,
    plain,
    require_contiguous,
)


class Device:
    """A device array of an unknown library, as far as its interface tells."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__

    def reshape(self, shape: tuple[int, ...]) -> Device:
        return Device(self.array.reshape(shape))


IMAGES = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
PACKED = np.zeros((2, 64), np.float32)


def test_backend_is_found_from_the_array() -> None:
    assert backend_of(images=IMAGES, out=None) == "cpu"
    assert backend_of(images=Device(IMAGES), out=Device(IMAGES)) == "cuda"
    assert not is_cuda(IMAGES)
    assert not is_cuda(torch.zeros(3))
    with pytest.raises(
        TypeError, match=r"images: expected a NumPy array or a CUDA array .*, got torch.Tensor; convert"
    ):
        backend_of(images=torch.zeros(3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: inject(IMAGES, 0.5, "haar", out=Device(IMAGES)),
        lambda: inject(Device(IMAGES), 0.5, "haar", out=IMAGES.copy()),
        lambda: forward(IMAGES, "haar", out=Device(PACKED)),
        lambda: inverse(Device(PACKED), (8, 8), "haar", out=IMAGES.copy()),
        lambda: kth_magnitude(Device(PACKED), 0.5, (8, 8), "haar", out=np.zeros(2, np.float32)),
        lambda: hard_threshold(Device(PACKED), np.zeros(2, np.float32), (8, 8), "haar"),
    ],
)
def test_host_and_device_do_not_mix(call: Any) -> None:
    with pytest.raises(TypeError, match="expected all arrays on the host or all on the device, got"):
        call()


@pytest.mark.parametrize("name", ["keep", "sizes", "value_range"])
def test_parameters_stay_on_the_host(name: str) -> None:
    arguments: dict[str, Any] = {"keep": 0.5, name: Device(np.zeros(2))}
    with pytest.raises(TypeError, match=f"{name}: expected .* on the host, got a CUDA array"):
        inject(IMAGES.astype(np.uint8), wavelet="haar", **arguments)


def test_device_arrays_reach_the_device_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    stub = ModuleType("inject")
    stub.inject_cuda = lambda *arguments: seen.append(arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wavestream.kernels.cuda.inject", stub)
    images, out = Device(IMAGES.astype(np.uint8)), Device(IMAGES.astype(np.uint8))
    assert inject(images, [0.5, 1], "haar", sizes=[(8, 8), (4, 6)], out=out) is out
    source, keep, wavelet, levels, sizes, limits, target = seen[0]
    assert (source, target, wavelet) == (images, out, "haar")
    assert (keep.dtype, keep.tolist()) == (np.float64, [0.5, 1])
    assert (levels.dtype, levels.tolist()) == (np.int32, [3, 2])
    assert (sizes.dtype, sizes.tolist()) == (np.int32, [[8, 8], [4, 6]])
    assert (limits.dtype, limits.tolist()) == (np.int32, [[0, 255]] * 2)
    single = Device(IMAGES[0])
    assert inject(single, 0.5, "haar", out=single) is single
    assert seen[1][0].shape == (1, 8, 8)
    assert seen[1][5] is None


def test_device_arrays_must_be_contiguous() -> None:
    assert is_contiguous(Device(IMAGES))
    assert is_contiguous(Device(IMAGES[:1, :, :]))
    for gappy in (IMAGES[:, :, ::2], IMAGES[:, ::2], IMAGES.transpose(0, 2, 1)):
        assert not is_contiguous(Device(gappy))
        with pytest.raises(ValueError, match="images: expected a C-contiguous array"):
            inject(Device(gappy), 0.5, "haar", out=Device(np.zeros_like(gappy, order="C")))
    with pytest.raises(ValueError, match="here: expected a C-contiguous array"):
        require_contiguous("here", IMAGES[:, :, ::2])


def test_new_arrays_are_of_the_library_of_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(empty_like_kind(IMAGES, (3, 2), np.int32)) is np.ndarray
    made: list[tuple[Any, ...]] = []

    class Queue:
        def __enter__(self) -> None:
            made.append(("device",))

        def __exit__(self, *_: object) -> None: ...

    cupy = ModuleType("cupy")
    cupy.empty = lambda shape, dtype: made.append((shape, dtype)) or "cupy array"  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    array = Device(IMAGES)
    array.device = Queue()  # type: ignore[attr-defined]
    monkeypatch.setattr(Device, "__module__", "cupy.core")
    assert empty_like_kind(array, (3, 2), np.float32) == "cupy array"
    assert made == [("device",), ((3, 2), np.dtype(np.float32))]
    monkeypatch.setattr(Device, "__module__", "torch")
    array.device = "cpu"  # type: ignore[attr-defined]
    tensor: Any = empty_like_kind(array, (3, 2), np.uint16)
    assert (type(tensor), tensor.dtype, tuple(tensor.shape)) == (torch.Tensor, torch.uint16, (3, 2))


def test_dtype_is_numpys_whatever_the_library() -> None:
    assert dtype_of(IMAGES) == np.float32
    array = Device(IMAGES.astype(np.float16))
    array.dtype = torch.float16  # type: ignore[assignment]
    assert dtype_of(array) == np.float16


def test_plain_arrays_share_the_memory() -> None:
    fixed = IMAGES.copy()
    fixed.flags.writeable = False
    same = plain(fixed)
    assert same.ctypes.data == fixed.ctypes.data
    assert same.flags.writeable
    np.testing.assert_array_equal(same, IMAGES)
    assert not fixed.flags.writeable


@pytest.mark.parametrize("name", ["torch", "cupy", "lightning", "nvidia.dali"])
def test_kernels_import_no_framework(name: str) -> None:
    program = f"""
import sys
import wavestream.kernels, wavestream.kernels.artifacts, wavestream.kernels.reference, wavestream.kernels.cpu.inject
import wavestream.kernels.dwt, wavestream.kernels.select, wavestream.kernels.threshold
sys.exit({name!r} in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0


def test_unknown_names_are_answered_with_the_known() -> None:
    import wavestream.kernels as kernels

    with pytest.raises(AttributeError, match=r"no attribute 'injekt'; it has .*inject"):
        kernels.injekt  # noqa: B018
    assert set(kernels.__all__) == set(kernels._HOME) == set(dir(kernels))
