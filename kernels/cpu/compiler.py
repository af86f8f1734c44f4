"""How the CPU kernels are compiled: Numba, no GIL, multiply-add contraction allowed, results cached on disk.

``entry`` compiles what Python calls, ``leaf`` the innermost loops. A leaf's array arguments are promised not to overlap
where one of them is written, so that LLVM vectorises loops over many rows without testing each pair of pointers. Numba
has that flag but no public option for it; where it cannot be set, leaves are compiled without the promise, and slower.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager

# No "nnan" or "ninf": NaN and infinity must survive to be found. No "reassoc": one order of summation everywhere.
_FASTMATH = {"contract"}


class _NoOverlap(CompilerBase):
    """Numba's compiler with the ``noalias`` flag set."""

    def define_pipelines(self) -> list[PassManager]:
        if hasattr(self.state.flags, "noalias"):
            self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


_ENTRY_OPTIONS: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
# What only compiled code calls needs no way in from Python or C, and compiles a third faster without.
_INNER_OPTIONS: Any = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
LEAF_OPTIONS: Any = {**_INNER_OPTIONS, "fastmath": _FASTMATH, "pipeline_class": _NoOverlap}


def _source_hash() -> str:
    """A hash of the kernels' sources: Numba's cache looks only at the file of the function that it caches."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.parent.glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


SOURCE_HASH = _source_hash()


def entry(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function that Python calls; cached under a name that changes when any kernel source changes."""
    function.__qualname__ = f"{function.__qualname__}_{SOURCE_HASH}"
    compiled: Callable[..., None]
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


def leaf(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an innermost loop whose array arguments do not overlap where one is written."""
    compiled: Callable[..., Any] = njit(**LEAF_OPTIONS)(function)
    return compiled
