"""The caller's arrays, device and stream as Numba takes them; nothing here waits for any of them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from wavestream.kernels.arrays import dtype_of
from wavestream.kernels.cuda.launch import is_simulated
from wavestream.kernels.validation import name_samples


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
def queue_of(array: Any, **others: Any) -> Iterator[Queue]:
    """Make the array's device current and find the stream to work in.

    The stream is the one its ``__cuda_array_interface__`` names (CuPy names its current stream); for a torch tensor
    torch's current stream of its device; the default stream otherwise.

    Args:
        array: says where to work.
        others: arguments by name, arrays or lists of them, which have to be at the same place: whatever another stream
            has still to do with an array would not be waited for.

    Raises:
        RuntimeError: there is no CUDA device to work on.
        ValueError: one of the others lies on another device, or names another stream.
    """
    require_device()
    if is_simulated():
        yield Queue(0, 0, 0)
        return
    device = _device_of(array)
    with cuda.gpus[device]:
        pointer = _stream_pointer(array)
        for name, given in others.items():
            for index, other in enumerate(given if isinstance(given, list | tuple) else [given]):
                place = f"sample {index}" if isinstance(given, list | tuple) else "it"
                _require_place(other, device, pointer, name, place)
        yield Queue(device, pointer, _stream_at(device, pointer))


def view_of(array: Any) -> Any:
    """A Numba view of any CUDA array, without a copy and without waiting for its stream."""
    if is_simulated() or isinstance(array, cuda.cudadrv.devicearray.DeviceNDArray):
        return array
    return cuda.as_cuda_array(array, sync=False)


def addresses_of(arrays: Sequence[Any]) -> NDArray[np.int64]:
    """Where the memory of each array begins: (count,) int64.

    Raises:
        ValueError: one of them does not begin a whole number of elements away from the first.
    """
    found = np.array([_address_of(array) for array in arrays], dtype=np.int64)
    skewed = np.flatnonzero((found - found[0]) % dtype_of(arrays[0]).itemsize)
    if skewed.size:
        raise ValueError(
            f"images: expected memory aligned to the dtype, got address {found[skewed[0]]:#x} in "
            f"{name_samples(skewed)}; pass a copy"
        )
    return found


def span_of(arrays: Sequence[Any]) -> Any:
    """One flat Numba view from the lowest address to the highest end of arrays of one dtype.

    What lies between the arrays belongs to others: only their own elements may be touched through it.
    """
    first, dtype = addresses_of(arrays), dtype_of(arrays[0])
    ends = first + [dtype.itemsize * prod(array.shape) for array in arrays]
    lowest = int(first.min())
    size = (int(ends.max()) - lowest) // dtype.itemsize
    if is_simulated():
        memory = (ctypes.c_uint8 * (size * dtype.itemsize)).from_address(lowest)
        return type(arrays[0])(np.ctypeslib.as_array(memory).view(dtype))
    return cuda.as_cuda_array(_Span(lowest, size, dtype, tuple(arrays)), sync=False)


class _Span:
    """Device memory as ``__cuda_array_interface__`` shows it; keeps its owners alive."""

    def __init__(self, address: int, size: int, dtype: np.dtype[Any], owners: tuple[Any, ...]) -> None:
        self.owners = owners
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": dtype.str,
            "data": (address, False),
            "version": 3,
        }


def _address_of(array: Any) -> int:
    if is_simulated():
        return int(array.ctypes.data)
    return int(array.__cuda_array_interface__["data"][0])


def _require_place(array: Any, device: int, pointer: int, name: str, place: str) -> None:
    """Raise ValueError unless the array lies on the device and names its stream or none."""
    if _device_of(array) != device:
        raise ValueError(
            f"{name}: expected all arrays on CUDA device {device}, that of the first, got {place} on device "
            f"{_device_of(array)}; move it there"
        )
    named = _named_stream(array)
    # 0 and 1 are two handles of the default stream.
    if named is not None and max(named, 1) != max(pointer, 1):
        raise ValueError(
            f"{name}: expected all arrays in the stream of the first, {pointer:#x}, got {place} in stream {named:#x}; "
            "work in one stream"
        )


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


def _named_stream(array: Any) -> int | None:
    """The stream that the array belongs to, or None where it does not say."""
    if type(array).__module__.partition(".")[0] == "torch":
        return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream)
    named = array.__cuda_array_interface__.get("stream")
    return None if named is None else int(named)


def _stream_pointer(array: Any) -> int:
    return _named_stream(array) or 0


@lru_cache(maxsize=64)
def _stream_at(device: int, pointer: int) -> Any:
    """Numba's object for the caller's stream; the same each time, because Numba caches launches by it."""
    return cuda.external_stream(pointer)
