"""Which backend an array belongs to, found from the array itself, and new arrays of the same kind.

NumPy arrays go to the CPU kernels. Anything with ``__cuda_array_interface__`` (CuPy, torch on a CUDA device, Numba)
goes to the CUDA kernels. CuPy and torch are never imported here: an array of theirs proves that they already are.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


def is_cuda(array: Any) -> bool:
    """Whether ``array`` lives on a CUDA device (or is one of Numba's simulated device arrays)."""
    return hasattr(array, "__cuda_array_interface__") or bool(getattr(array, "__cuda_ndarray__", False))


def backend_of(**arrays: Any) -> str:
    """The backend, ``"cpu"`` or ``"cuda"``, that all of the named arrays belong to; None values are left out.

    Raises:
        TypeError: an argument is no array of either kind, or host and device arrays are mixed.
    """
    found: dict[str, str] = {}
    for name, array in arrays.items():
        if array is None:
            continue
        if is_cuda(array):
            found[name] = "cuda"
        elif isinstance(array, np.ndarray):
            found[name] = "cpu"
        else:
            raise TypeError(
                f"{name}: expected a NumPy array or a CUDA array (CuPy, torch on a CUDA device, Numba), got "
                f"{type(array).__module__}.{type(array).__qualname__}; convert it with numpy.asarray()"
            )
    if len(set(found.values())) > 1:
        kinds = ", ".join(f"{name} on the {'device' if kind == 'cuda' else 'host'}" for name, kind in found.items())
        raise TypeError(f"expected all arrays on the host or all on the device, got {kinds}; move them to one place")
    return next(iter(found.values()))


def dtype_of(array: Any) -> np.dtype[Any]:
    """The NumPy dtype of a NumPy or CUDA array (torch's own dtypes included)."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__cuda_array_interface__"):
        return np.dtype(array.dtype)
    return np.dtype(array.__cuda_array_interface__["typestr"])


def is_contiguous(array: Any) -> bool:
    """Whether a NumPy or CUDA array is laid out in C order without gaps."""
    if isinstance(array, np.ndarray):
        return bool(array.flags.c_contiguous)
    interface = getattr(array, "__cuda_array_interface__", None)
    strides = array.strides if interface is None else interface.get("strides")
    if strides is None or 0 in array.shape:
        return True
    expected = dtype_of(array).itemsize
    for length, stride in zip(reversed(tuple(array.shape)), reversed(tuple(strides)), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


def require_contiguous(name: str, array: Any) -> None:
    """Raise ValueError unless ``array``, the argument ``name``, is C-contiguous."""
    if not is_contiguous(array):
        raise ValueError(f"{name}: expected a C-contiguous array, got one with gaps or another order; pass a copy")


def require_shape(name: str, array: Any, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Raise ValueError or TypeError unless ``array``, the argument ``name``, has this shape and dtype."""
    if tuple(array.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(array.shape)}")
    if dtype_of(array) != np.dtype(dtype):
        raise TypeError(f"{name}: expected dtype {np.dtype(dtype)}, got {dtype_of(array)}")


def require_output(array: Any, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Raise unless ``array``, the argument ``out``, can take a result of this shape and dtype."""
    require_shape("out", array, shape, dtype)
    require_contiguous("out", array)
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ValueError("out: expected a writable array, got a read-only one; pass a copy")


def require_apart(name: str, array: Any, out: Any, *, or_same: bool = False) -> None:
    """Raise ValueError if ``out`` overlaps the argument ``name`` on the host, other than being it if ``or_same``."""
    if not isinstance(array, np.ndarray):
        return
    if or_same and array.ctypes.data == out.ctypes.data and array.strides == out.strides:
        return
    if np.may_share_memory(array, out):
        raise ValueError(f"out: expected an array apart from {name}, got one that overlaps it; pass another array")


def empty_like_kind(array: Any, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """An uninitialised C-contiguous array of the same library and device as ``array``.

    NumPy for NumPy, CuPy for CuPy, torch for torch, and a Numba device array for every other CUDA array.
    """
    dtype = np.dtype(dtype)
    if not is_cuda(array):
        return np.empty(shape, dtype)
    library = type(array).__module__.partition(".")[0]
    if library == "cupy":
        with array.device:
            return sys.modules["cupy"].empty(shape, dtype)
    if library == "torch":
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=array.device)
    from numba import cuda

    return cuda.device_array(shape, dtype)


class _Memory:
    """The memory of an array, offered to NumPy as writable."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def plain(array: Any) -> Any:
    """``array``; a NumPy subclass such as ``memmap``, or a read-only array, as a plain array over the same memory.

    Numba compiles everything once more for arrays that are read-only; the kernels write to none of their inputs.
    """
    if not isinstance(array, np.ndarray):
        return array
    return np.asarray(array) if array.flags.writeable else np.asarray(_Memory(array))


def add_batch_axis(array: Any) -> Any:
    """``array`` of shape (rows, cols) as a view of shape (1, rows, cols)."""
    return array.reshape((1, *array.shape))
