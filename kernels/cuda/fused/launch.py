"""The fused kernels through CuPy: what the device offers, a compiled module per class, and launches in a stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from wavestream.kernels.cuda.device import Queue
from wavestream.kernels.cuda.fused.choice import Declined, Limits
from wavestream.kernels.cuda.fused.source import COMPILER_OPTIONS, module_text
from wavestream.kernels.cuda.launch import is_simulated


@dataclass(frozen=True)
class Launch:
    """One launch.

    Attributes:
        file: the source.
        macros: its macros, as pairs.
        kernel: name of the kernel.
        grid: (x, y, z) blocks.
        threads: per block.
        cluster: blocks per cluster, along x; the kernel is compiled for it.
        shared_bytes: dynamic shared memory per block.
        arguments: Numba views for pointers, each with the element at which to begin, and NumPy scalars, in the order
            of the kernel's parameters.
    """

    file: str
    macros: tuple[tuple[str, str], ...]
    kernel: str
    grid: tuple[int, int, int]
    threads: int
    cluster: int
    shared_bytes: int
    arguments: tuple[Any, ...]


def limits_of(queue: Queue) -> Limits | Declined:
    """What the queue's device offers, or why the fused kernels cannot run there at all."""
    if is_simulated():
        return Declined("Numba's simulator runs no CUDA C++")
    if not has_cupy():
        return Declined("CuPy is not installed: pip install 'wavestream[gpu]'")
    return _limits_of_device(queue.device)


@cache
def has_cupy() -> bool:
    """Whether CuPy, which compiles the kernels, is installed."""
    return find_spec("cupy") is not None


def run(launch: Launch, queue: Queue) -> None:
    """Queue a launch."""
    import cupy

    kernel = _kernel(queue.device, launch.file, launch.macros, launch.kernel)
    arguments = tuple(
        argument if isinstance(argument, np.generic) else np.uint64(_address(*argument))
        for argument in launch.arguments
    )
    with cupy.cuda.ExternalStream(queue.pointer, queue.device):
        kernel(launch.grid, (launch.threads,), arguments, shared_mem=launch.shared_bytes)


@cache
def _limits_of_device(index: int) -> Limits:
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(index)
    return Limits(
        multiprocessors=int(properties["multiProcessorCount"]),
        shared_per_block=int(properties["sharedMemPerBlockOptin"]),
        shared_per_multiprocessor=int(properties["sharedMemPerMultiprocessor"]),
        clusters=int(properties["major"]) >= 9,
    )


@cache
def _kernel(index: int, file: str, macros: tuple[tuple[str, str], ...], name: str) -> Any:
    """A compiled kernel on a device, loaded and allowed all the shared memory there is, once."""
    import cupy

    with cupy.cuda.Device(index):
        kernel = _module(index, file, macros).get_function(name)
        kernel.max_dynamic_shared_size_bytes = _limits_of_device(index).shared_per_block
    return kernel


@cache
def _module(index: int, file: str, macros: tuple[tuple[str, str], ...]) -> Any:
    import cupy

    return cupy.RawModule(code=module_text(file, dict(macros)), options=COMPILER_OPTIONS)


def _address(array: Any, first: int) -> int:
    return int(array.__cuda_array_interface__["data"][0]) + first * np.dtype(array.dtype).itemsize
