"""Arrays in, arrays out: wavelet transform, exact selection, thresholding and artifact injection, on CPU and CUDA."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavestream.kernels.artifacts import inject as inject
    from wavestream.kernels.dwt import forward as forward
    from wavestream.kernels.dwt import inverse as inverse
    from wavestream.kernels.layout import layout_of as layout_of
    from wavestream.kernels.ragged import inject_ragged as inject_ragged
    from wavestream.kernels.select import kth_magnitude as kth_magnitude
    from wavestream.kernels.threshold import hard_threshold as hard_threshold
    from wavestream.kernels.volumes import inject_volumes as inject_volumes
    from wavestream.kernels.wavelets import DEFAULT_LEVELS as DEFAULT_LEVELS
    from wavestream.kernels.wavelets import WAVELETS as WAVELETS
    from wavestream.kernels.wavelets import max_levels as max_levels

_HOME = {
    "DEFAULT_LEVELS": "wavelets",
    "WAVELETS": "wavelets",
    "forward": "dwt",
    "hard_threshold": "threshold",
    "inject": "artifacts",
    "inject_ragged": "ragged",
    "inject_volumes": "volumes",
    "inverse": "dwt",
    "kth_magnitude": "select",
    "layout_of": "layout",
    "max_levels": "wavelets",
}

__all__ = [
    "DEFAULT_LEVELS",
    "WAVELETS",
    "forward",
    "hard_threshold",
    "inject",
    "inject_ragged",
    "inject_volumes",
    "inverse",
    "kth_magnitude",
    "layout_of",
    "max_levels",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import wavestream.kernels`` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'wavestream.kernels' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"wavestream.kernels.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
