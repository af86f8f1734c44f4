"""How the CPU kernels are compiled: a cache that notices every change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wavestream.kernels.cpu import compiler


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
