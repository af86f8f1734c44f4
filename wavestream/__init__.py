"""wavestream: train medical image classifiers on wavelet-compressed images without writing a compressed dataset."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavestream.bindings.loader import DataLoader as DataLoader
    from wavestream.engine.artifacts import Artifacts as Artifacts
    from wavestream.engine.export import export as export
    from wavestream.engine.ingest import ingest as ingest
    from wavestream.engine.store import open_store as open_store
    from wavestream.engine.transform import Transform as Transform
    from wavestream.kernels import inject as inject

__version__ = "0.1.0"

_HOME = {
    "Artifacts": "wavestream.engine.artifacts",
    "DataLoader": "wavestream.bindings.loader",
    "IngestConfig": "wavestream.engine.ingest",
    "StudyConfig": "wavestream.trainers.study",
    "TrainConfig": "wavestream.trainers.train",
    "Transform": "wavestream.engine.transform",
    "demo": "wavestream.trainers.demo",
    "export": "wavestream.engine.export",
    "ingest": "wavestream.engine.ingest",
    "inject": "wavestream.kernels",
    "open_store": "wavestream.engine.store",
    "study": "wavestream.trainers.study",
    "train": "wavestream.trainers.train",
}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    """Import a main-job name when it is first used, so that ``import wavestream`` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'wavestream' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
