"""The CUDA kernels' tests on machines without a GPU: kernels compiled to PTX run on the CPU (see ``ptx_machine``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

# Siblings are not importable under pytest's importlib mode.
sys.path.insert(0, str(Path(__file__).parent))
# The plain encoder of layers.
sys.path.append(str(Path(__file__).parents[2] / "engine"))

SIMULATED_ARCHITECTURE = (9, 0)


class HostArray:
    """A device array as far as the kernels' host code can tell, in host memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.parts: list[np.ndarray] | None = None

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "size", "strides", "ctypes"):
            return getattr(self.array, name)
        raise AttributeError(name)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__

    def __getitem__(self, place: slice) -> HostArray:
        return HostArray(self.array[place])

    def reshape(self, *shape: Any) -> HostArray:
        shaped = HostArray(self.array.reshape(*shape))
        shaped.parts = self.parts
        return shaped

    def view(self, dtype: Any) -> HostArray:
        return HostArray(self.array.view(dtype))

    def copy_to_device(self, source: np.ndarray, stream: Any = 0) -> None:
        assert source.dtype == self.array.dtype
        self.array[...] = source

    def copy_to_host(self) -> np.ndarray:
        return self.array.copy()


@pytest.fixture(scope="session")
def compile_ptx() -> Callable[[Any, tuple[Any, ...], tuple[int, int]], str]:
    """A function (kernel, signature, compute capability) -> PTX, which needs no driver and compiles nothing twice.

    Numba has public functions for this (``cuda.compile_ptx``), but they type and lower the kernel anew for each
    capability, which is most of the work and gives the same NVVM IR.
    """
    from numba.cuda import compiler, dispatcher

    libraries: dict[Any, Any] = {}
    device = SimpleNamespace(compute_capability=SIMULATED_ARCHITECTURE)

    def compile_once(kernel: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> str:
        key = (kernel, signature)
        if key not in libraries:
            # Device functions are compiled for "the current device" even where the kernel's target is given.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(dispatcher, "get_current_device", lambda: device)
                libraries[key], _ = compiler._compile_pyfunc_with_fixup(
                    kernel.py_func,
                    signature,
                    device=False,
                    cc=SIMULATED_ARCHITECTURE,
                    abi="numba",
                    launch_bounds=kernel.targetoptions.get("launch_bounds"),
                )
        (ptx,) = libraries[key].get_asm_strs(cc=capability)
        return ptx

    return compile_once


@pytest.fixture
def machine(compile_ptx: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The public kernels work on :class:`HostArray`, and run their compiled CUDA code on the CPU.

    Attribute ``reverse`` of the fixture's value sets the order in which the threads of a block run.
    """
    from numba import cuda, typeof
    from numba.cuda.dispatcher import CUDADispatcher
    from ptx_machine import CompiledKernel

    from wavestream.kernels.cuda import device, layers, ragged, workspace
    from wavestream.kernels.cuda.fused import launch as fused_launch

    settings = SimpleNamespace(reverse=False, to_device=lambda a: HostArray(a.copy()), to_host=HostArray.copy_to_host)

    def configured(kernel: Any, configuration: tuple[Any, ...]) -> Callable[..., None]:
        grid, block = (side if isinstance(side, tuple) else (side,) for side in configuration[:2])

        def launch(*arguments: Any) -> None:
            plain = [a.array if isinstance(a, HostArray) else a for a in arguments]
            arrays = [a for a in arguments if isinstance(a, HostArray)]
            parts = {a.array.ctypes.data: a.parts for a in arrays if a.parts is not None}
            signature = tuple(typeof(argument) for argument in plain)
            ptx = compile_ptx(kernel, signature, SIMULATED_ARCHITECTURE)
            if ptx not in _translated:
                _translated[ptx] = CompiledKernel(ptx)
            _translated[ptx].run(grid, block, plain, settings.reverse, parts)

        return launch

    def span_of(arrays: Sequence[HostArray]) -> HostArray:
        span = device.span_of(arrays)
        span.parts = [array.array for array in arrays]
        return span

    monkeypatch.setattr(ragged, "span_of", span_of)
    monkeypatch.setattr(CUDADispatcher, "__getitem__", configured)
    monkeypatch.setattr(cuda, "device_array", lambda shape, dtype: HostArray(_garbage(shape, dtype)))
    monkeypatch.setattr(device, "require_device", lambda: None)
    monkeypatch.setattr(device, "is_simulated", lambda: True)
    monkeypatch.setattr(workspace, "is_simulated", lambda: True)
    monkeypatch.setattr(layers, "is_simulated", lambda: True)
    monkeypatch.setattr(fused_launch, "is_simulated", lambda: True)
    workspace.release_workspaces()
    yield settings
    workspace.release_workspaces()


_translated: dict[str, Any] = {}


def _garbage(shape: Any, dtype: Any) -> np.ndarray:
    """Uninitialised memory that shows when it is read: large numbers, NaN for floats."""
    array = np.empty(shape, dtype)
    array.view(np.uint8)[...] = 0x7F
    return array
