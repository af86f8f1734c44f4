"""Writing the small parts of a store: Zarr groups and their attributes, and the columns of table and labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wavestream.engine.durable import sync_tree, write_durably
from wavestream.engine.pixel_codecs import ZSTD_LEVEL
from wavestream.engine.schema import Column

Labels = Mapping[str, tuple[NDArray[Any], Sequence[str] | None]]
"""Label column -> (N,) values, and its categories, or None for numbers."""


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a folder a Zarr group with these attributes, or give a group these attributes instead of those it has."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    write_durably(folder / "zarr.json", json.dumps(metadata, indent=2).encode())


def write_columns(
    store: Path, table: Mapping[str, NDArray[Any]], described: Mapping[str, Column], labels: Labels
) -> None:
    """Write the groups ``table`` and ``labels`` of a store anew, and flush them to disk.

    Args:
        store: folder of the store.
        table: column -> (N, ...) values.
        described: column -> what it means.
        labels: the label columns.
    """
    for group in ("table", "labels"):
        shutil.rmtree(store / group, ignore_errors=True)
        write_group(store / group, {})
    for name, values in table.items():
        attributes: dict[str, Any] = {"meaning": described[name].meaning}
        if described[name].categories:
            attributes["categories"] = list(described[name].categories)
        _write_column(store / "table" / name, values, attributes)
    for name, (values, categories) in labels.items():
        attributes = {} if categories is None else {"categories": list(categories)}
        _write_column(store / "labels" / name, values, attributes)
    for group in ("table", "labels"):
        sync_tree(store / group)


def current_version() -> str:
    """The version of wavestream that is running, for the header of what it writes."""
    try:
        return version("wavestream")
    except PackageNotFoundError:
        return "unknown"


def _write_column(path: Path, values: NDArray[Any], attributes: dict[str, Any]) -> None:
    array = zarr.create_array(
        path,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        compressors=ZstdCodec(level=ZSTD_LEVEL),
        filters=None,
        fill_value=0,
        attributes=attributes,
    )
    array[:] = values
