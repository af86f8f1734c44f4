"""The caller's arrays, device and stream as Numba takes them; nothing here waits for any of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from numba import cuda

from wavestream.kernels.cuda.launch import is_simulated


@dataclass(frozen=True)
class Queue:
    """Where the work of one call goes.

    Attributes:
        device: index of the CUDA device.
        pointer: the stream's handle; 0 is the default stream.
        stream: the stream as Numba takes it.
    """

    device: int
    pointer: int
    stream: Any


@contextmanager
def queue_of(array: Any) -> Iterator[Queue]:
    """Make the array's device current and find the stream to work in.

    The stream is the one its ``__cuda_array_interface__`` names (CuPy names its current stream); for a torch tensor
    torch's current stream of its device; the default stream otherwise.

    Raises:
        RuntimeError: there is no CUDA device to work on.
    """
    require_device()
    if is_simulated():
        yield Queue(0, 0, 0)
        return
    device = _device_of(array)
    with cuda.gpus[device]:
        pointer = _stream_pointer(array)
        yield Queue(device, pointer, _stream_at(device, pointer))


def view_of(array: Any) -> Any:
    """A Numba view of any CUDA array, without a copy and without waiting for its stream."""
    if is_simulated() or isinstance(array, cuda.cudadrv.devicearray.DeviceNDArray):
        return array
    return cuda.as_cuda_array(array, sync=False)


@cache
def require_device() -> None:
    """Raise RuntimeError, with the reason, where no CUDA device answers."""
    if not cuda.is_available():
        raise RuntimeError(
            "expected a CUDA device, found none: the NVIDIA driver is missing or shows no GPU (see nvidia-smi); "
            "pass NumPy arrays to use the CPU kernels"
        )


def _device_of(array: Any) -> int:
    """Index of the device that holds the array: what torch or CuPy say, else the current one."""
    device = getattr(array, "device", None)
    for name in ("index", "id"):
        index = getattr(device, name, None)
        if isinstance(index, int):
            return index
    return int(cuda.current_context().device.id)


def _stream_pointer(array: Any) -> int:
    pointer = array.__cuda_array_interface__.get("stream")
    if pointer is None and type(array).__module__.partition(".")[0] == "torch":
        pointer = sys.modules["torch"].cuda.current_stream(array.device).cuda_stream
    return int(pointer or 0)


@lru_cache(maxsize=64)
def _stream_at(device: int, pointer: int) -> Any:
    """Numba's object for the caller's stream; the same each time, because Numba caches launches by it."""
    return cuda.external_stream(pointer)
