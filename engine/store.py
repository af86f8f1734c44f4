"""Open a store: header, table, labels and frozen split. Pixels are read by :mod:`wavestream.engine.reader`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.schema import FORMAT_VERSION, SPLITS, TABLE, StoreHeader

HEADER_ATTRIBUTE = "wavestream"
_DTYPES = ("uint8", "uint16", "int16", "int32")


class LazyColumns(Mapping[str, NDArray[Any]]):
    """Named arrays, each loaded when it is first asked for and kept."""

    def __init__(self, names: tuple[str, ...], load: Callable[[str], NDArray[Any]]) -> None:
        self._names = names
        self._load = load
        self._loaded: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Store:
    """A finished store, opened for reading; made by :func:`open_store`. Pickles as its path.

    Attributes:
        path: folder of the store.
        header: what the store says of itself.
        table: technical columns, name -> (N,) array (``*_sha256``: (N, 32)); see ``schema.TABLE``.
        labels: label columns, name -> (N,) array: int16 codes (-1 missing) or float64 (NaN missing).
    """

    def __init__(self, path: Path, header: StoreHeader, label_names: tuple[str, ...]) -> None:
        self.path = path
        self.header = header
        self.table: Mapping[str, NDArray[Any]] = LazyColumns(tuple(TABLE), self._load_table)
        self.labels: Mapping[str, NDArray[Any]] = LazyColumns(label_names, self._load_label)

    def __len__(self) -> int:
        return self.header.count

    def __repr__(self) -> str:
        height, width = self.header.canvas
        return f"Store({str(self.path)!r}: {self.header.count} images {height}x{width} {self.header.dtype})"

    def __reduce__(self) -> tuple[Callable[[Path], Store], tuple[Path]]:
        return open_store, (self.path,)

    def split_indices(self, split: str) -> NDArray[np.int64]:
        """Indices of the images in a split (``train``, ``val``, ``test`` or ``none``), ascending: (n,) int64.

        Raises:
            InputError: no such split.
        """
        if split not in SPLITS:
            raise InputError(f"expected a split out of {', '.join(SPLITS)}, got {split!r}")
        return np.flatnonzero(self.table["split"] == SPLITS.index(split)).astype(np.int64)

    def categories(self, name: str) -> tuple[str, ...] | None:
        """The categories of a label column in the order of their codes; None for a numeric column.

        Raises:
            InputError: no such label column.
        """
        self._require_label(name)
        attributes = _open_array(self.path, f"labels/{name}").attrs
        found: Any = attributes.get("categories")
        return None if found is None else tuple(str(value) for value in found)

    def target(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """A label column to classify by.

        Returns:
            codes: (N,) int64, -1 where the label is missing; and the categories that the codes 0, 1, ... stand for.

        Raises:
            InputError: no such label column, or it is numeric.
        """
        categories = self.categories(name)
        if categories is None:
            raise InputError(
                f"expected a categorical label column as target, got the numeric column {name!r} in {self.path}: "
                "bin it into classes in the label CSV and run ingest again, or choose another target"
            )
        codes = self.labels[name].astype(np.int64)
        if codes.size and (codes.min() < -1 or codes.max() >= len(categories)):
            raise StoreError(f"{self.path}: labels/{name} holds codes outside its {len(categories)} categories")
        return codes, categories

    def _require_label(self, name: str) -> None:
        if name not in self.labels:
            known = ", ".join(self.labels) or "none: it was ingested without labels"
            raise InputError(f"no label column {name!r} in {self.path}; it has {known}")

    def _load_table(self, name: str) -> NDArray[Any]:
        column = TABLE[name]
        values = _read_array(self.path, f"table/{name}")
        expected = (self.header.count, *column.shape)
        if values.shape != expected or values.dtype != np.dtype(column.dtype):
            raise StoreError(
                f"{self.path}: table/{name} is {values.dtype} {values.shape}, expected {column.dtype} {expected}; "
                "the store is damaged: ingest again"
            )
        return values

    def _load_label(self, name: str) -> NDArray[Any]:
        values = _read_array(self.path, f"labels/{name}")
        if values.shape != (self.header.count,):
            raise StoreError(f"{self.path}: labels/{name} has shape {values.shape}, expected ({self.header.count},)")
        return values


def open_store(path: str | Path) -> Store:
    """Open a store for reading.

    Raises:
        StoreError: nothing there; not a wavestream store; its ingest did not finish; written by a newer version;
            damaged metadata.
    """
    path = Path(path)
    metadata = _group_metadata(path)
    value = metadata.get("attributes", {}).get(HEADER_ATTRIBUTE)
    if value is None:
        if (path / "images").exists() or _manifest(path).exists():
            raise StoreError(f"{path}: its ingest did not finish: run ingest again with the same input to complete it")
        raise StoreError(f"{path} is a Zarr group but not a wavestream store: expected the attribute 'wavestream'")
    header = _header(path, value)
    group = zarr.open_group(path, mode="r")
    labels = group.get("labels")
    names = tuple(sorted(labels.array_keys())) if isinstance(labels, zarr.Group) else ()
    return Store(path, header, names)


def _group_metadata(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise StoreError(f"no store at {path}: expected the folder that ingest wrote")
    file = path / "zarr.json"
    if not file.is_file():
        if _manifest(path).exists():
            raise StoreError(f"{path}: its ingest did not finish: run ingest again with the same input to complete it")
        raise StoreError(f"{path} is not a wavestream store: it has no zarr.json")
    try:
        metadata = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read ({error}): the store is damaged, ingest again") from error
    if not isinstance(metadata, dict) or metadata.get("node_type") != "group":
        raise StoreError(f"{path} is not a wavestream store: expected a Zarr v3 group in zarr.json")
    return metadata


def _header(path: Path, value: Any) -> StoreHeader:
    """The checked header; the format comes first, as later formats may change everything else."""
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise StoreError(
            f"{path} has format {found}, this version reads up to {FORMAT_VERSION}: install a newer wavestream"
        )
    try:
        header = StoreHeader.from_json(value)
        height, width = header.canvas
        sound = header.format >= 1 and header.count >= 0 and height > 0 and width > 0 and header.dtype in _DTYPES
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: damaged header ({error!r}): ingest again") from error
    if not sound:
        raise StoreError(f"{path}: damaged header {header}: ingest again")
    return header


def _manifest(path: Path) -> Path:
    return path.with_name(path.name + ".manifest")


def _open_array(path: Path, name: str) -> zarr.Array[Any]:
    try:
        return zarr.open_array(path / name, mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: {name} is missing or damaged ({error}): ingest again") from error


def _read_array(path: Path, name: str) -> NDArray[Any]:
    array = _open_array(path, name)
    try:
        return np.asarray(array[...])
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: {name} cannot be read ({error}): ingest again") from error
