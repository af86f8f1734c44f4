"""CUDA C++ kernels on the CPU: compile a source with the host shim, and launch it on NumPy arrays.

A thread is a fibre that runs until it has to wait for others. Every access to memory is checked: outside the arrays
and the block's shared memory, unaligned, or racing with another thread's access (the same bytes, one of them a write,
no barrier in between) is an error, as are barriers that not all threads reach. A race is found in any order of threads;
the orders ``reverse`` and ``shuffled`` show what depends on the order in other ways. Shared memory starts as garbage.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from host_shim.compilation import compile_module, source_line

ORDERS = ("forward", "reverse", "shuffled")
MAX_SHARED_BYTES = 227 * 1024
MAX_BLOCK_THREADS = 1024
MAX_CLUSTER = 16
NUMBER, INPUT, OUTPUT = range(3)


class AddressError(IndexError):
    """An access outside the arrays and shared memory, or an unaligned one."""


class BarrierError(RuntimeError):
    """A barrier or warp function that not all of its threads reach together."""


class RaceError(RuntimeError):
    """Two threads at the same bytes, at least one writing, and nothing that orders them."""


class OperationError(ArithmeticError):
    """An operation that CUDA and C++ leave undefined: a shift too far, an index outside a local array, a cast."""


FAILURES = {1: AddressError, 2: BarrierError, 3: RaceError, 4: OperationError}


class _Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("cluster", ctypes.c_uint32),
        ("order", ctypes.c_uint32),
        ("seed", ctypes.c_uint32),
        ("check_races", ctypes.c_uint32),
        ("shared_bytes", ctypes.c_uint64),
    )


class _Range(ctypes.Structure):
    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("writable", ctypes.c_bool),
        ("traces", ctypes.c_void_p),
    )


class HostModule:
    """A CUDA source compiled for the CPU.

    Args:
        source: the source text, or the paths of files that are compiled one after the other as one source.
        defines: macros and their values.
        functions: the kernels to launch; names, or template instances such as ``fused<4, float>``.
        checked: check every access and operation; without it kernels run faster and nothing is noticed but barriers.
        portable: switch threads with ucontext, as on other processors than x86-64.

    Skips the test where there is no C++ compiler. Raises RuntimeError with the compiler's words if the source is wrong.
    """

    def __init__(
        self,
        source: str | Sequence[Path],
        defines: Mapping[str, object] | None = None,
        functions: Sequence[str] = (),
        *,
        checked: bool = True,
        portable: bool = False,
    ) -> None:
        self._library_path = compile_module(source, defines or {}, functions, checked, portable)
        self._library = ctypes.CDLL(str(self._library_path))
        self._library.shim_message.restype = ctypes.c_char_p
        self._library.shim_failed_at.restype = ctypes.c_uint64
        self._functions = {name: number for number, name in enumerate(functions)}

    def launch(
        self,
        name: str,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        shared_bytes: int,
        *arguments: np.ndarray | np.generic,
        cluster: int = 1,
        order: str = "forward",
        seed: int = 0,
        check_races: bool = True,
        reachable: Sequence[np.ndarray] = (),
    ) -> None:
        """Run a kernel to its end.

        Args:
            name: one of ``functions``.
            grid, block: (x, y, z), or fewer.
            shared_bytes: dynamic shared memory per block.
            arguments: a NumPy array for a pointer, a NumPy scalar for a number of the same size.
            cluster: blocks per cluster, along x.
            order: in which the threads take their turns: ``forward``, ``reverse`` or ``shuffled``.
            seed: of the shuffled order.
            check_races: look for races (of a checked module; it takes most of the time). Reported without cause are
                blocks that pass data on through global memory, ordered by atomics, and threads that are ordered only
                by way of a third one at two named barriers.
            reachable: further arrays that the kernel reaches through pointers stored in memory.

        Raises:
            AddressError, BarrierError, RaceError, OperationError: what the kernel did wrong.
            ValueError: a launch that a device would refuse.
            TypeError: arguments that do not fit the kernel.
        """
        launch = _launch(grid, block, cluster, order, seed, check_races, shared_bytes)
        number = self._functions[name]
        kinds, sizes = self._parameters(number)
        pointers, kept = _values(name, arguments, kinds, sizes)
        ranges = _ranges([*zip(arguments, kinds, strict=True), *((array, OUTPUT) for array in reachable)])
        call = ctypes.cast(self._library[f"shim_call_{number}"], ctypes.c_void_p)
        failure = self._library.shim_launch(call, pointers, ctypes.byref(launch), ranges, len(ranges))
        del kept
        if failure:
            message = self._library.shim_message().decode(errors="replace")
            place = source_line(self._library_path, self._library.shim_failed_at())
            raise FAILURES[failure](f"{name}: {message}" + (f" ({place})" if place else ""))

    def _parameters(self, number: int) -> tuple[list[int], list[int]]:
        kinds, sizes = (ctypes.c_int * 64)(), (ctypes.c_int * 64)()
        count = self._library[f"shim_describe_{number}"](kinds, sizes)
        return list(kinds[:count]), list(sizes[:count])


def _launch(
    grid: int | Sequence[int],
    block: int | Sequence[int],
    cluster: int,
    order: str,
    seed: int,
    check_races: bool,
    shared_bytes: int,
) -> _Launch:
    sides = [(*((side,) if isinstance(side, int) else side), 1, 1, 1)[:3] for side in (grid, block)]
    threads = int(np.prod(sides[1]))
    if min(*sides[0], *sides[1]) < 1 or threads > MAX_BLOCK_THREADS:
        raise ValueError(f"expected at least one block of 1 to {MAX_BLOCK_THREADS} threads, got {sides[0]}, {sides[1]}")
    if not 1 <= cluster <= MAX_CLUSTER or sides[0][0] % cluster:
        raise ValueError(f"expected a cluster of 1 to {MAX_CLUSTER} blocks that divides {sides[0][0]}, got {cluster}")
    if not 0 <= shared_bytes <= MAX_SHARED_BYTES:
        raise ValueError(f"expected at most {MAX_SHARED_BYTES} bytes of shared memory, got {shared_bytes}")
    return _Launch(
        *((ctypes.c_uint32 * 3)(*s) for s in sides), cluster, ORDERS.index(order), seed, check_races, shared_bytes
    )


def _values(
    name: str, arguments: Sequence[Any], kinds: Sequence[int], sizes: Sequence[int]
) -> tuple[ctypes.Array[ctypes.c_void_p], list[Any]]:
    """Pointers to the kernel's arguments, and what they point to."""
    if len(arguments) != len(kinds):
        raise TypeError(f"{name}: expected {len(kinds)} arguments, got {len(arguments)}")
    kept: list[Any] = []
    for place, (argument, kind, size) in enumerate(zip(arguments, kinds, sizes, strict=True)):
        if (kind == NUMBER) != isinstance(argument, np.generic) or (
            kind != NUMBER and not isinstance(argument, np.ndarray)
        ):
            wanted = "a NumPy scalar" if kind == NUMBER else "a NumPy array"
            raise TypeError(f"{name}: argument {place}: expected {wanted}, got {type(argument).__name__}")
        if kind == NUMBER and argument.itemsize != size:
            raise TypeError(f"{name}: argument {place}: expected {size} bytes, got {argument.dtype}")
        if kind == OUTPUT and not argument.flags.writeable:
            raise TypeError(f"{name}: argument {place}: expected a writeable array")
        if kind != NUMBER and not argument.flags.c_contiguous:
            raise TypeError(f"{name}: argument {place}: expected a C-contiguous array")
        kept.append(np.array(argument) if kind == NUMBER else np.array(argument.ctypes.data, dtype=np.uint64))
    return (ctypes.c_void_p * len(kept))(*(value.ctypes.data for value in kept)), kept


def _ranges(arrays: Sequence[tuple[Any, int]]) -> ctypes.Array[_Range]:
    """Where the kernel may reach; memory that is given both as input and as output is one writable range."""
    spans = [(a.ctypes.data, a.ctypes.data + a.nbytes, kind == OUTPUT) for a, kind in arrays if kind != NUMBER]
    merged: list[tuple[int, int, bool]] = []
    for begin, end, writable in sorted(spans):
        if merged and begin < merged[-1][1]:
            before = merged.pop()
            begin, end, writable = before[0], max(before[1], end), writable or before[2]
        merged.append((begin, end, writable))
    return (_Range * len(merged))(*(_Range(begin, end, writable, None) for begin, end, writable in merged))
