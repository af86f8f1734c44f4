"""How the CPU kernels are compiled: the promise that arrays do not overlap, and a cache that notices every change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import typeof

from wavestream.kernels.cpu import compiler


def _scale(source: np.ndarray, out: np.ndarray) -> None:
    for index in range(len(source)):
        out[index] = 2 * source[index]


def _noalias_arguments(compiled: Any) -> int:
    definitions = [line for line in next(iter(compiled.inspect_llvm().values())).splitlines() if "define" in line]
    return max(line.count("noalias") for line in definitions)


def test_only_leaves_promise_that_arrays_do_not_overlap() -> None:
    arrays = np.arange(5.0), np.zeros(5)
    counts = []
    for decorate in (compiler.leaf, compiler.inner):
        compiled = decorate(_scale)
        compiled.compile(tuple(typeof(array) for array in arrays))
        counts.append(_noalias_arguments(compiled))
    assert counts[0] > counts[1]


def test_cache_is_keyed_by_the_source_of_all_kernels() -> None:
    def entry_point(values: np.ndarray) -> None:
        values[0] = 1

    compiled: Any = compiler.entry(entry_point)
    assert compiled.py_func.__qualname__.endswith(f"entry_point_{compiler.SOURCE_HASH}")
    assert compiler.SOURCE_HASH in compiled._cache._impl.filename_base


def test_functions_that_cannot_be_cached_are_compiled_all_the_same() -> None:
    namespace: dict[str, Callable[..., None]] = {}
    exec("def fill(values):\n    values[:] = 7", namespace)
    values = np.zeros(3)
    compiler.entry(namespace["fill"])(values)
    assert values.tolist() == [7, 7, 7]
