"""How the CPU kernels are compiled: Numba, no GIL, results cached on disk until any kernel source changes.

``entry`` compiles what Python calls, the others what only compiled code calls: ``inner`` as a function of its own,
``inlined`` and ``merged`` into their callers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_ENTRY_OPTIONS: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
# What only compiled code calls needs no way in from Python or C, and compiles a third faster without.
_INNER_OPTIONS: Any = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
INLINE_OPTIONS: Any = {**_INNER_OPTIONS, "forceinline": True}


def _source_hash() -> str:
    """A hash of the kernels' sources: Numba's cache looks only at the file of the function that it caches."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.parent.glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


SOURCE_HASH = _source_hash()


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls; cached under a name that changes when any kernel source changes."""
    function.__qualname__ = f"{function.__qualname__}_{SOURCE_HASH}"
    compiled: Callable[..., Any]
    try:
        compiled = njit(**_ENTRY_OPTIONS, cache=True)(function)
    except RuntimeError:
        # Neither this package's folder nor the user's cache folder can be written to.
        compiled = njit(**_ENTRY_OPTIONS)(function)
    return compiled


def inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only compiled functions call."""
    compiled: Callable[..., Any] = njit(**_INNER_OPTIONS)(function)
    return compiled


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a short function into its caller: passing an array costs seven words and counting a reference."""
    compiled: Callable[..., Any] = njit(**_INNER_OPTIONS, forceinline=True)(function)
    return compiled


def merged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as a part of its one caller: LLVM optimises it once, not again with every caller around it."""
    compiled: Callable[..., Any] = njit(**_INNER_OPTIONS, inline="always")(function)
    return compiled
